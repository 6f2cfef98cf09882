"""What becomes of a Responses request on its way to a chat completion."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from translate import Call, Failure, Plan, responses
from transports.base import Reply

CALL = Call("responses")
STREAMED = Call("responses_stream")
ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "name": "get_weather", "description": "d", "parameters": {"b": 1, "a": 2}}
CLOCK = {"type": "function", "name": "get_time", "parameters": None, "strict": False}
NESTED_WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "d", "parameters": {"b": 1, "a": 2}},
}
NESTED_CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": None, "strict": False}}


def bridged(flat: Mapping[str, object], call: Call = CALL) -> tuple[Any, list[Any]]:
    """The body that is sent, and the ledger."""
    request = responses.from_flat({"model": "vllm/m", **flat})
    assert not isinstance(request, Failure)
    plan = responses.plan(request, call)
    assert isinstance(plan, Plan), plan
    assert plan[:2] == ("POST", "/v1/chat/completions")
    assert plan.body is not None
    response = responses.parse(request, Reply(200, {}, ANSWER), 0, call)
    assert not isinstance(response, Failure)
    fields: Any = response["extra_fields"]
    notes = [tuple(note.values()) for note in fields.get("translation_notes", ())]
    return json.loads(plan.body.data), notes


def refused(flat: Mapping[str, object]) -> tuple[str, object]:
    """Message and place of the error."""
    request = responses.from_flat({"model": "vllm/m", "input": "hi", **flat})
    assert not isinstance(request, Failure)
    failure = responses.plan(request, CALL)
    assert isinstance(failure, Failure)
    error = failure.error
    assert error.get("status_code") == 400
    assert error["is_bifrost_error"] is False
    assert error["error"].get("type") == "invalid_request_error"
    assert error.get("extra_fields") == {
        "routing_info": {"provider": "vllm", "model": "m"},
        "provider": "vllm",
        "original_model_requested": "m",
        "resolved_model_used": "m",
        "request_type": "responses",
    }
    return error["error"]["message"], error["error"].get("param")


def say(role: str, *content: object) -> dict[str, object]:
    return {"type": "message", "role": role, "content": list(content)}


def text(words: str, kind: str = "input_text") -> dict[str, object]:
    return {"type": kind, "text": words}


def call(call_id: str, arguments: object = "{}", name: str = "f", **more: object) -> dict[str, object]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def result(call_id: str, output: object = "18") -> dict[str, object]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def thought(*texts: str, **more: object) -> dict[str, object]:
    content = [{"type": "reasoning_text", "text": words} for words in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": content, **more}


def chat_call(call_id: str, arguments: str = "{}", name: str = "f") -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(
    content: object, reasoning: str | None = None, calls: Sequence[object] = ()
) -> dict[str, object]:
    thoughts = {} if reasoning is None else {"reasoning": reasoning, "reasoning_content": reasoning}
    return {"role": "assistant", "content": content, **thoughts, **({"tool_calls": calls} if calls else {})}


def tool(call_id: str, content: object = "18") -> dict[str, object]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


NO_PLACE = "a chat has no place for it"
AN_ID = [("input[].id", "dropped", NO_PLACE)]
LEFT_BEHIND: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "image, file, audio and video": [
        ("input[].content[].detail", "dropped", "null"),
        ("input[].content[].file_id", "dropped", "null"),
    ],
    "an answer as it came": [
        ("input[].content[].annotations", "dropped", NO_PLACE),
        ("input[].content[].logprobs", "dropped", NO_PLACE),
        *AN_ID,
        ("input[].status", "dropped", NO_PLACE),
        ("input[].phase", "dropped", "null"),
    ],
    "what the provider says of an item stays behind, what nobody knows goes along": [
        ("input[].status", "dropped", NO_PLACE),
        *AN_ID,
        ("input[].caller", "dropped", NO_PLACE),
        ("input[].namespace", "dropped", "null"),
    ],
    "two calls of one turn, results in another order": AN_ID,
    "one call after another": AN_ID,
    "a thought between calls is of the same turn": AN_ID,
    "thought, text and call are one turn": AN_ID,
    "several thoughts": AN_ID,
    "a turn of thought alone is not moved to the next": AN_ID,
}
"""Notes, by the name of the test."""


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        pytest.param("Hello", [{"role": "user", "content": "Hello"}], id="text"),
        pytest.param("", [{"role": "user", "content": ""}], id="no text"),
        pytest.param([USER], [USER], id="a message without a type"),
        pytest.param(
            [say("user", text("a"))], [{"role": "user", "content": "a"}], id="a lone text part is text"
        ),
        pytest.param(
            [say("user", text("a"), text("b"))],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            id="several parts stay parts",
        ),
        pytest.param(
            [
                say(
                    "user",
                    text("look"),
                    {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                    {"type": "input_image", "image_url": "https://x.example/a.png", "detail": None, "file_id": None},
                    {"type": "input_file", "file_data": "data:text/plain;base64,AA", "filename": "a.txt"},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "input_video", "video_url": "https://x.example/a.mp4", "uuid": "u1"},
                )
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
                        {"type": "file", "file": {"file_data": "data:text/plain;base64,AA", "filename": "a.txt"}},
                        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                        {"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}, "uuid": "u1"},
                    ],
                }
            ],
            id="image, file, audio and video",
        ),
        pytest.param(
            [say("user", {"type": "input_image", "image_url": {"url": "https://x.example/a.png", "x": 1}})],
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png", "x": 1}}],
                }
            ],
            id="an image in the form of chat completions",
        ),
        pytest.param(
            [say("user", {"type": "audio_url", "audio_url": {"url": "x"}, "uuid": None}, {"type": "future", "a": [None]})],
            [
                {
                    "role": "user",
                    "content": [{"type": "audio_url", "audio_url": {"url": "x"}, "uuid": None}, {"type": "future", "a": [None]}],
                }
            ],
            id="parts that only the server knows",
        ),
        pytest.param(
            [
                USER,
                {
                    "id": "msg_1",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
                    "phase": None,
                },
                USER,
            ],
            [USER, assistant("Hello"), USER],
            id="an answer as it came",
        ),
        pytest.param(
            [USER, say("assistant", {"type": "refusal", "refusal": "no"}), USER],
            [USER, assistant([{"type": "refusal", "refusal": "no"}]), USER],
            id="a refusal",
        ),
        pytest.param(
            [USER, say("assistant"), USER, {"role": "assistant", "content": None}],
            [USER, assistant(""), USER, assistant("")],
            id="an answer of no words",
        ),
        pytest.param(
            [USER, call("A", '{"city": "Paris"}'), result("A")],
            [USER, assistant(None, calls=[chat_call("A", '{"city": "Paris"}')]), tool("A")],
            id="a call and its result",
        ),
        pytest.param(
            [USER, thought("hm"), call("A"), call("B"), result("B", "2"), result("A", "1")],
            [USER, assistant(None, "hm", [chat_call("A"), chat_call("B")]), tool("B", "2"), tool("A", "1")],
            id="two calls of one turn, results in another order",
        ),
        pytest.param(
            [USER, call("A"), result("A"), thought("so"), call("B"), result("B"), say("assistant", text("done", "output_text"))],
            [
                USER,
                assistant(None, calls=[chat_call("A")]),
                tool("A"),
                assistant(None, "so", [chat_call("B")]),
                tool("B"),
                assistant("done"),
            ],
            id="one call after another",
        ),
        pytest.param(
            [USER, call("A"), thought("hm"), call("B")],
            [USER, assistant(None, "hm", [chat_call("A"), chat_call("B")])],
            id="a thought between calls is of the same turn",
        ),
        pytest.param(
            [USER, thought("hm"), say("assistant", text("wait", "output_text")), call("A"), result("A")],
            [USER, assistant("wait", "hm", [chat_call("A")]), tool("A")],
            id="thought, text and call are one turn",
        ),
        pytest.param(
            [USER, say("assistant", text("a", "output_text")), {"role": "assistant", "content": "b"}],
            [USER, assistant([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])],
            id="texts in a row are one turn",
        ),
        pytest.param(
            [USER, thought("a", "b"), thought("", summary=[{"type": "summary_text", "text": "c"}]), say("assistant", text("d"))],
            [USER, assistant("d", "a\nb\nc")],
            id="several thoughts",
        ),
        pytest.param(
            [USER, {"type": "reasoning", "content": "plain"}, {"role": "assistant", "content": "x"}],
            [USER, assistant("x", "plain")],
            id="a thought that is plain text",
        ),
        pytest.param(
            [USER, thought("cut off in thought"), USER],
            [USER, assistant("", "cut off in thought"), USER],
            id="a turn of thought alone is not moved to the next",
        ),
        pytest.param(
            [USER, call("A"), result("A", [text("18"), {"type": "input_image", "image_url": "https://x.example/a.png"}])],
            [
                USER,
                assistant(None, calls=[chat_call("A")]),
                tool("A", [{"type": "text", "text": "18"}, {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]),
            ],
            id="a result of parts",
        ),
        pytest.param(
            [USER, call("A"), result("A", [text("18")])],
            [USER, assistant(None, calls=[chat_call("A")]), tool("A", "18")],
            id="a result of one text part",
        ),
        pytest.param(
            [
                call("A", status="completed", id="fc_1", caller={"type": "direct"}, namespace=None, extra_content={"google": 1}),
                {**result("A"), "id": "fco_1", "status": "completed", "x_vendor": 1},
            ],
            [
                assistant(None, calls=[{**chat_call("A"), "extra_content": {"google": 1}}]),
                {**tool("A"), "x_vendor": 1},
            ],
            id="what the provider says of an item stays behind, what nobody knows goes along",
        ),
        pytest.param(
            [{"role": "system", "content": "s"}, {**USER, "name": "ada"}],
            [{"role": "system", "content": "s"}, {**USER, "name": "ada"}],
            id="roles and names",
        ),
    ],
)  # fmt: skip
def test_input(items: object, messages: Sequence[object], request: pytest.FixtureRequest) -> None:
    notes = LEFT_BEHIND.get(request.node.callspec.id, [])
    assert bridged({"input": items}) == ({"model": "m", "messages": messages}, notes)


@pytest.mark.parametrize(
    ("flat", "messages", "notes"),
    [
        pytest.param(
            {"input": [{"role": "developer", "content": "d"}, USER]},
            [{"role": "system", "content": "d"}, USER],
            [("input[0].role", "converted", "developer became system")],
            id="developer",
        ),
        pytest.param(
            {"input": "hi", "instructions": "be brief"},
            [{"role": "system", "content": "be brief"}, USER],
            [],
            id="instructions",
        ),
        pytest.param({"input": "hi", "instructions": ""}, [USER], [], id="no instructions"),
        pytest.param(
            {"input": [{"type": "reasoning"}], "instructions": "be brief"},
            [{"role": "system", "content": "be brief"}],
            [],
            id="instructions alone",
        ),
        pytest.param(
            {"input": [USER, {"role": "system", "content": "s"}], "instructions": "be brief"},
            [{"role": "system", "content": "be brief"}, USER, {"role": "system", "content": "s"}],
            [],
            id="a later system message is left alone",
        ),
        pytest.param(
            {"input": [{"role": "system", "content": "s"}, USER], "instructions": "be brief"},
            [{"role": "system", "content": "be brief\n\ns"}, USER],
            [("instructions", "converted", "joined to the system message with which input begins")],
            id="instructions and a system message are one",
        ),
        pytest.param(
            {"input": [say("system", text("s"), text("t")), USER], "instructions": "be brief"},
            [
                {
                    "role": "system",
                    "content": [
                        {"type": "text", "text": "be brief"},
                        {"type": "text", "text": "s"},
                        {"type": "text", "text": "t"},
                    ],
                },
                USER,
            ],
            [("instructions", "converted", "joined to the system message with which input begins")],
            id="instructions and a system message of parts",
        ),
        pytest.param(
            {"input": [call("A", {"b": 1, "a": 2}), call("B", ""), call("C", None)]},
            [assistant(None, calls=[chat_call("A", '{"b":1,"a":2}'), chat_call("B"), chat_call("C")])],
            [
                ("input[0].arguments", "converted", "a value became its JSON text"),
                ("input[1].arguments", "defaulted", "an empty object"),
                ("input[2].arguments", "defaulted", "an empty object"),
            ],
            id="arguments that are no text",
        ),
        pytest.param(
            {"input": [call("A"), result("A", {"b": 1, "a": 2}), result("A", None)]},
            [assistant(None, calls=[chat_call("A")]), tool("A", '{"b":1,"a":2}'), tool("A", "")],
            [
                ("input[1].output", "converted", "a value became its JSON text"),
                ("input[2].output", "defaulted", "an empty text"),
            ],
            id="results that are no text",
        ),
        pytest.param(
            {"input": [call("A"), say("assistant", text("x")), call("B")]},
            [assistant("x", calls=[chat_call("A"), chat_call("B")])],
            [("input[1]", "converted", "a chat has text before calls, not after them")],
            id="text between calls",
        ),
        pytest.param(
            {"input": [{**thought("a", encrypted_content="gAAA"), "summary": [{"text": "b"}]}, {**USER, "phase": "commentary"}]},
            [assistant("", "a"), USER],
            [
                ("input[0].encrypted_content", "dropped", "only the provider that made it can read it"),
                ("input[0].summary", "dropped", "content says it in full"),
                *AN_ID,
                ("input[1].phase", "dropped", "vLLM has no phases"),
            ],
            id="thoughts of another provider",
        ),
        pytest.param(
            {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, USER]},
            [USER],
            [("input[0].encrypted_content", "dropped", "only the provider that made it can read it")],
            id="a thought that nobody here can read",
        ),
        pytest.param(
            {"input": [say("user", {**text("a"), "cache_control": {}, "prompt_cache_breakpoint": {}})]},
            [{"role": "user", "content": "a"}],
            [
                ("input[0].content[0].prompt_cache_breakpoint", "dropped", "not part of OpenAI's format"),
                ("input[0].content[0].cache_control", "dropped", "not part of OpenAI's format"),
            ],
            id="marks for other providers' caches",
        ),
        pytest.param(
            {"input": [call("c" * 60 + "_ts_" + "s" * 40)]},
            [assistant(None, calls=[chat_call("c" * 60)])],
            [("input[0].call_id", "repaired", "the thought signature was cut off")],
            id="an id with a signature in it",
        ),
    ],
)  # fmt: skip
def test_input_with_notes(flat: Mapping[str, object], messages: object, notes: object) -> None:
    assert bridged(flat) == ({"model": "m", "messages": messages}, notes)


@pytest.mark.parametrize(
    ("given", "fields", "notes"),
    [
        pytest.param(
            {"temperature": 0.5, "top_k": -1, "top_p": 0.9, "chat_template_kwargs": {"z": None}, "user": "u" * 100,
             "metadata": {"a": "b"}, "service_tier": "auto", "safety_identifier": "s", "seed": 9007199254740993},
            {"temperature": 0.5, "top_k": -1, "top_p": 0.9, "chat_template_kwargs": {"z": None}, "user": "u" * 100,
             "metadata": {"a": "b"}, "service_tier": "auto", "safety_identifier": "s", "seed": 9007199254740993},
            [],
            id="parameters of chats and of vLLM, in their order",
        ),
        pytest.param(
            {"max_output_tokens": 3},
            {"max_completion_tokens": 3},
            [("max_output_tokens", "renamed", "max_completion_tokens")],
            id="max_output_tokens, however small",
        ),
        pytest.param(
            {"max_tokens": 1, "max_output_tokens": 3, "max_completion_tokens": 2},
            {"max_completion_tokens": 3},
            [
                ("max_tokens", "dropped", "max_output_tokens is set"),
                ("max_output_tokens", "renamed", "max_completion_tokens"),
                ("max_completion_tokens", "dropped", "max_output_tokens is set"),
            ],
            id="three spellings of a limit",
        ),
        pytest.param(
            {"reasoning": {"effort": "low", "summary": None}}, {"reasoning_effort": "low"},
            [("reasoning.effort", "renamed", "reasoning_effort"), ("reasoning.summary", "dropped", "null")],
            id="reasoning effort"
        ),
        pytest.param(
            {"top_logprobs": 2, "top_p": 1},
            {"top_logprobs": 2, "logprobs": True, "top_p": 1},
            [("logprobs", "defaulted", "true, since top_logprobs is set")],
            id="top_logprobs want logprobs",
        ),
        pytest.param({"top_logprobs": 0}, {"top_logprobs": 0}, [], id="no top_logprobs"),
        pytest.param(
            {"top_logprobs": 2, "logprobs": True}, {"top_logprobs": 2, "logprobs": True}, [], id="both said"
        ),
        pytest.param(
            {"include": ["message.output_text.logprobs", "reasoning.encrypted_content", None]},
            {"logprobs": True},
            [
                ("include[0]", "renamed", "logprobs"),
                ("include[1]", "dropped", "vLLM has no such part of an answer"),
                ("include[2]", "dropped", "vLLM has no such part of an answer"),
            ],
            id="include",
        ),
        pytest.param(
            {"text": {"format": {"type": "json_schema", "name": "s", "schema": {"z": None, "a": 1}, "strict": True}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"z": None, "a": 1}, "strict": True}}},
            [("text.format", "renamed", "response_format")],
            id="a schema for the answer",
        ),
        pytest.param(
            {"text": {"format": {"type": "json_object"}, "verbosity": "low"}, "response_format": {"type": "text"}},
            {"response_format": {"type": "json_object"}},
            [
                ("text.verbosity", "dropped", "vLLM has no such parameter"),
                ("text.format", "renamed", "response_format"),
                ("response_format", "dropped", "text.format is set"),
            ],
            id="JSON of any form",
        ),
        pytest.param(
            {"text": {"format": {"type": "structural_tag", "format": {}}}},
            {"response_format": {"type": "structural_tag", "format": {}}},
            [("text.format", "renamed", "response_format")],
            id="a form that only the server knows",
        ),
        pytest.param({"text": {"format": None}, "response_format": {"type": "text"}}, {"response_format": {"type": "text"}}, [],
                     id="no form in particular"),
        pytest.param(
            {"tools": [WEATHER, CLOCK], "tool_choice": "auto", "parallel_tool_calls": False},
            {"tools": [NESTED_WEATHER, NESTED_CLOCK], "tool_choice": "auto", "parallel_tool_calls": False},
            [],
            id="tools",
        ),
        pytest.param({"tools": [NESTED_WEATHER]}, {"tools": [NESTED_WEATHER]}, [], id="a tool in the form of a chat"),
        pytest.param(
            {"tools": [{**WEATHER, "eager_input_streaming": True}]},
            {"tools": [NESTED_WEATHER]},
            [("tools[0].function.eager_input_streaming", "dropped", "not part of OpenAI's format")],
            id="a tool with something of another provider's",
        ),
        pytest.param(
            {"tools": [{**WEATHER, "defer_loading": True}]},
            {"tools": [{**NESTED_WEATHER, "function": {**NESTED_WEATHER["function"], "defer_loading": True}}]},
            [],
            id="a tool that may be loaded later",
        ),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}},
            {"tools": [NESTED_WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            [],
            id="a named tool",
        ),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            {"tools": [NESTED_WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            [],
            id="a named tool in the form of a chat",
        ),
        *(
            pytest.param(
                {"tools": [WEATHER], "tool_choice": choice}, {"tools": [NESTED_WEATHER], "tool_choice": choice}, [], id=choice
            )
            for choice in ("none", "required", "something new")
        ),
        pytest.param(
            {"tools": [WEATHER, CLOCK], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]}},
            {"tools": [NESTED_CLOCK], "tool_choice": "required"},
            [("tool_choice", "converted", "only the tools that are allowed are sent")],
            id="some of the tools",
        ),
        pytest.param(
            {"tool_choice": "auto", "parallel_tool_calls": True},
            {},
            [("tool_choice", "dropped", "there are no tools"), ("parallel_tool_calls", "dropped", "there are no tools")],
            id="a choice without tools",
        ),
        pytest.param(
            {"tools": None, "tool_choice": {"type": "function", "name": "f"}},
            {},
            [("tools", "dropped", "null"), ("tool_choice", "dropped", "there are no tools")],
            id="a choice among no tools",
        ),
        pytest.param(
            {"background": False, "truncation": "disabled"},
            {},
            [
                ("background", "dropped", "nothing is done in the background"),
                ("truncation", "dropped", "vLLM refuses a prompt that is too long"),
            ],
            id="what is done anyway",
        ),
        pytest.param(
            {"truncation": "auto", "max_tool_calls": 2, "context_management": [], "moderation": {"model": "x"},
             "stream_options": {"include_obfuscation": False}, "previous_response_id": None},
            {},
            [
                ("previous_response_id", "dropped", "null"),
                ("truncation", "dropped", "vLLM refuses a prompt that is too long"),
                ("max_tool_calls", "dropped", "it counts calls of tools that a provider runs itself"),
                ("context_management", "dropped", "vLLM has no such parameter"),
                ("moderation", "dropped", "vLLM has no such parameter"),
                ("stream_options", "dropped", "every stream ends with usage, and nothing in it is obfuscated"),
            ],
            id="what does not change the answer",
        ),
        pytest.param(
            {"extra_body": {"top_k": 5, "max_output_tokens": 3}},
            {"top_k": 5, "max_completion_tokens": 3},
            [
                ("extra_body", "converted", "its members moved to the top level"),
                ("max_output_tokens", "renamed", "max_completion_tokens"),
            ],
            id="extra_body",
        ),
        pytest.param(
            {"n": 1, "extra_params": {"x": 1}}, {"n": 1, "extra_params": {"x": 1}}, [], id="names that mean nothing here"
        ),
    ],
)  # fmt: skip
def test_parameters(given: Mapping[str, object], fields: Mapping[str, object], notes: object) -> None:
    body, told = bridged({"input": "hi", **given})
    assert list(body) == ["model", "messages", *fields]
    assert (body, told) == ({"model": "m", "messages": [USER], **fields}, notes)


def test_the_rules_of_a_chat_hold_and_are_noted_once() -> None:
    given = {"store": True, "tools": [], "tool_choice": "auto", "guided_choice": ["a"], "temperature": None}
    assert bridged({"input": "hi", **given}) == (
        {"model": "m", "messages": [USER], "structured_outputs": {"choice": ["a"]}},
        [
            ("temperature", "dropped", "null"),
            ("guided_choice", "renamed", "structured_outputs.choice"),
            ("store", "dropped", "vLLM has no such parameter"),
            ("tools", "dropped", "empty"),
            ("tool_choice", "dropped", "there are no tools"),
        ],
    )


def test_a_stream_asks_for_usage() -> None:
    body, _ = bridged({"input": "hi", "stream": True}, STREAMED)
    assert body == {
        "model": "m",
        "messages": [USER],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_bifrost_request_has_its_parameters_apart() -> None:
    request = {
        "provider": "vllm",
        "model": "org/m",
        "input": [USER],
        "params": {"max_output_tokens": 5, "instructions": "i", "extra_params": {"top_k": 1}},
        "fallbacks": ["vllm/other"],
    }
    plan = responses.plan(request, Call("responses", path="/custom"))
    assert isinstance(plan, Plan)
    assert plan.path == "/custom"
    assert plan.body is not None
    assert json.loads(plan.body.data) == {
        "model": "org/m",
        "messages": [{"role": "system", "content": "i"}, USER],
        "max_completion_tokens": 5,
        "top_k": 1,
    }


def test_what_a_client_sends_for_hello_is_what_a_chat_sends() -> None:
    plan = responses.plan({"model": "tiny/chat", "input": "Hello", "params": {"temperature": 0}}, CALL)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert plan.body.data == (
        b'{"model":"tiny/chat","messages":[{"role":"user","content":"Hello"}],"temperature":0}'
    )


REFUSED_ITEMS = [
    "computer_call", "computer_call_output", "web_search_call", "file_search_call", "custom_tool_call",
    "custom_tool_call_output", "code_interpreter_call", "local_shell_call", "mcp_call", "mcp_list_tools",
    "image_generation_call", "tool_search_call", "additional_tools", "compaction", "program",
]  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED_ITEMS)
def test_items_that_a_chat_cannot_hold(kind: str) -> None:
    message = f"input items of type {kind} are not supported by vllm provider"
    assert refused({"input": [USER, {"type": kind, "id": "x"}]}) == (message, "input[1].type")


@pytest.mark.parametrize(
    ("flat", "message", "param"),
    [
        ({"input": None}, "input is required for responses", "input"),
        ({"input": []}, "input is required for responses", "input"),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}]}, "input says nothing", "input"),
        ({"input": {"role": "user"}}, "input must be text or an array of items, got an object", "input"),
        ({"input": ["hi"]}, "input[0] must be an object, got text", "input[0]"),
        ({"input": [{"id": "msg_1"}]}, "input[0] has neither a type nor a role", "input[0].type"),
        ({"input": [USER, {"type": "item_reference", "id": "rs_1"}]}, "input items of type item_reference are not supported by vllm provider: nothing is stored here, send the item itself, as clients do with store: false", "input[1].type"),
        ({"input": [{"type": 5}]}, "input items of type a number are not supported by vllm provider", "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role must be user, assistant, system or developer", "input[0].role"),
        ({"input": [{"type": "message"}]}, "input[0].role must be user, assistant, system or developer", "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content is required", "input[0].content"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content must be text or an array of parts, got a number", "input[0].content"),
        ({"input": [say("user", "x")]}, "input[0].content[0] must be an object, got text", "input[0].content[0]"),
        ({"input": [say("user", {"text": "x"})]}, "input[0].content[0].type is required", "input[0].content[0].type"),
        ({"input": [say("user", {"type": "input_text"})]}, "input[0].content[0].text must be text", "input[0].content[0].text"),
        ({"input": [say("user", {"type": "refusal"})]}, "input[0].content[0].refusal must be text", "input[0].content[0].refusal"),
        ({"input": [USER, say("user", {"type": "input_image", "file_id": "f"})]}, "input[1].content[0].file_id: vLLM has no files, send image_url", "input[1].content[0].file_id"),
        ({"input": [say("user", {"type": "input_image"})]}, "input[0].content[0].image_url is required", "input[0].content[0].image_url"),
        ({"input": [say("user", {"type": "input_file", "file_url": "u"})]}, "input[0].content[0].file_url: vLLM has no files, send file_data", "input[0].content[0].file_url"),
        ({"input": [say("user", {"type": "input_audio"})]}, "input[0].content[0].input_audio must be an object", "input[0].content[0].input_audio"),
        ({"input": [say("user", {"type": "computer_screenshot"})]}, "content of type computer_screenshot is not supported by vllm provider", "input[0].content[0].type"),
        ({"input": [{"role": "assistant", "content": "x", "tool_calls": []}]}, "input[0].tool_calls must be an item of its own", "input[0].tool_calls"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id is required", "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "A"}]}, "input[0].name is required", "input[0].name"),
        ({"input": [call("A", namespace="crm")]}, "input[0].namespace: vLLM has no namespaces of tools", "input[0].namespace"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id is required", "input[0].call_id"),
        ({"input": [result("A", [{"type": "input_file", "file_id": "f"}])]}, "input[0].output[0].file_id: vLLM has no files, send file_data", "input[0].output[0].file_id"),
        ({"input": [{"type": "reasoning", "content": 5}]}, "input[0].content must be an array of parts, got a number", "input[0].content"),
        ({"input": [{"type": "reasoning", "summary": ["x"]}]}, "input[0].summary[0].text must be text", "input[0].summary[0].text"),
        ({"instructions": ["x"]}, "instructions must be text, got an array", "instructions"),
        ({"previous_response_id": "resp_1"}, "previous_response_id is not supported by vllm provider: nothing is stored here, send the whole conversation as input", "previous_response_id"),
        ({"conversation": {"id": "c"}}, "conversation is not supported by vllm provider: nothing is stored here, send the whole conversation as input", "conversation"),
        ({"prompt": {"id": "p"}}, "prompt is not supported by vllm provider: there are no stored prompts here, send instructions and input", "prompt"),
        ({"background": True}, "background is not supported by vllm provider: nothing is stored here", "background"),
        ({"n": 2}, "n must be 1: a response is one answer", "n"),
        ({"tools": {}}, "tools must be an array, got an object", "tools"),
        ({"tools": ["x"]}, "tools[0] must be an object, got text", "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].type is required", "tools[0].type"),
        ({"tools": [WEATHER, {"type": "web_search"}]}, "tools of type web_search are not supported by vllm provider", "tools[1].type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools of type custom are not supported by vllm provider", "tools[0].type"),
        ({"tools": [{"type": "function", "name": " "}]}, "tools[0].name is required", "tools[0].name"),
        ({"tools": [WEATHER], "tool_choice": 5}, "tool_choice must be text or an object, got a number", "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "file_search"}}, "tool_choice of this type is not supported by vllm provider", "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice.name must be the name of one of the tools", "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name must be the name of one of the tools", "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "some"}}, "tool_choice.mode must be auto or required", "tool_choice.mode"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools must be an array of tools", "tool_choice.tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": ["x"]}}, "tool_choice.tools[0] must be an object, got text", "tool_choice.tools[0]"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp"}]}}, "tool_choice.tools[0] must be a function", "tool_choice.tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [{"name": "g"}]}}, "tool_choice.tools[0].name must be the name of one of the tools", "tool_choice.tools[0].name"),
        ({"text": "x"}, "text must be an object, got text", "text"),
        ({"text": {"format": {}}}, "text.format must be an object with a type", "text.format"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name must be text", "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema must be an object", "text.format.schema"),
        ({"reasoning": "low"}, "reasoning must be an object", "reasoning"),
        ({"extra_body": "x"}, "extra_body must be an object, got text", "extra_body"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_with_its_place(
    flat: Mapping[str, object], message: str, param: str
) -> None:
    assert refused(flat) == (message, param)


@pytest.mark.parametrize(
    ("request_", "message", "param"),
    [
        ({"model": "", "input": "hi"}, "model is required", "model"),
        ({"model": "m", "input": "hi", "params": []}, "params must be an object", "params"),
        ({"model": "m", "input": [{"role": "user", "content": b"x"}]}, "input[0].content must be text or an array of parts, got bytes", "input[0].content"),
        ({"model": "m", "input": [USER, {**USER, "content": [{"type": "text", "text": "x", "odd": object()}]}], "params": {"instructions": "i"}}, "the request is not JSON: a value of type object is not JSON", "input[1].content[0].odd"),
        ({"model": "m", "input": "hi", "params": {"top_k": object()}}, "the request is not JSON: a value of type object is not JSON", "top_k"),
    ],
)  # fmt: skip
def test_a_request_of_a_program_is_refused_alike(
    request_: Mapping[str, object], message: str, param: str
) -> None:
    failure = responses.plan(request_, CALL)
    assert isinstance(failure, Failure)
    assert (failure.error["error"]["message"], failure.error["error"].get("param")) == (message, param)
