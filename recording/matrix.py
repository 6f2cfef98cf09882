"""What every version of vLLM is asked, so that their answers can be laid side by side."""

from typing import Final

QUESTIONS: Final = (
    *("chat_completion/hello", "chat_completion_stream/hello"),
    *("chat_completion/capital", "chat_completion_stream/capital"),
    *("chat_completion/system_prompt", "chat_completion/content_parts", "chat_completion/two_turns"),
    *("chat_completion/cut_in_thought", "chat_completion_stream/cut_in_thought"),
    *("chat_completion/cut_in_answer", "chat_completion_stream/cut_in_answer"),
    *("chat_completion/stop_string", "chat_completion_stream/stop_string"),
    *("chat_completion/call_after_thought", "chat_completion/one_call", "chat_completion_stream/one_call"),
    *("chat_completion/two_calls", "chat_completion_stream/two_calls"),
    *("chat_completion/tool_choice_named", "chat_completion_stream/tool_choice_named"),
    *("chat_completion/tool_choice_required", "chat_completion_stream/tool_choice_required"),
    *("chat_completion/tool_result", "chat_completion/json_schema", "chat_completion_stream/json_schema"),
    *("chat_completion/logprobs", "chat_completion_stream/logprobs"),
    *("chat_completion/effort_none", "chat_completion/effort_low", "chat_completion/effort_unknown"),
    *("chat_completion/guided_choice_as_sent", "chat_completion/structured_choice_as_sent"),
    *("chat_completion/thought_as_reasoning", "chat_completion/thought_as_reasoning_content"),
    *("chat_completion/thought_forgotten", "chat_completion/tools_empty", "chat_completion/tool_choice_any"),
    *("chat_completion/tool_choice_without_tools", "chat_completion/arguments_as_object"),
    *("chat_completion/stream_options_alone", "chat_completion/top_logprobs_alone"),
    *("chat_completion/messages_empty", "chat_completion/messages_missing", "chat_completion/not_json"),
    *("chat_completion/unknown_model", "chat_completion_stream/unknown_model"),
    *("chat_completion/prompt_too_long", "chat_completion/temperature_too_high"),
    *("chat_completion/schema_unusable", "chat_completion_stream/schema_unusable"),
    *("chat_completion/wrong_content_type", "chat_completion/wrong_route", "chat_completion/wrong_method"),
    *("chat_completion/unauthorized", "chat_completion/wrong_server"),
    *("text_completion/capital", "text_completion_stream/capital", "text_completion/logprobs"),
    *("text_completion/echo_with_logprobs", "text_completion_stream/echo_with_logprobs"),
    *("text_completion/two_prompts", "text_completion/unknown_model", "text_completion/prompt_missing"),
    *("embedding/base64", "embedding/base64_of_two", "embedding/unknown_model", "embedding/input_missing"),
    *("embedding/wrong_server",),
    *("rerank/three_documents", "rerank/documents_returned", "rerank/first_path", "rerank/second_path"),
    *("rerank/third_path", "rerank/unknown_model", "rerank/query_missing"),
    *("rerank/wrong_server", "rerank/wrong_server_second_path", "list_models/plain"),
)
"""Titles of scenarios, as ``python -m recording`` takes them."""
