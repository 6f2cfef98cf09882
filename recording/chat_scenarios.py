"""The questions that are put to vLLM as chat.

Client requests name the model as a gateway's client does. What the model says
to them is in ``dialogues``: a question that is changed here has to be learnt
there. No two questions are the same request, or a replay would not know which
answer to give.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from translate.plan import Body, Plan

from .dialogues import (
    CLOCK,
    EARLIER_THOUGHT,
    HANDBOOK,
    ONE_RESULT,
    REFRAIN,
    TWO_RESULTS,
    WEATHER,
    Message,
    system,
    user,
)
from .scenarios import Expected, Forms, FromClient, Scenario, ToServer, refused
from .server import CHAT, EMBED

PATH: Final = "/v1/chat/completions"
JSON: Final = "application/json"
PLAIN: Final[Forms] = ("chat_completion",)
STREAMED: Final[Forms] = ("chat_completion_stream",)
BOTH: Final = PLAIN + STREAMED
NO_THOUGHT: Final[Mapping[str, object]] = {"chat_template_kwargs": {"enable_thinking": False}}
CITY: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
PARIS: Final = '{"city": "Paris"}'
HAIKU: Final = "Write a haiku about the sea."
TWO_CITIES: Final = "What is the weather in Paris and Rome?"


def client(messages: str | Sequence[Message], **parameters: object) -> FromClient:
    """A client's request, at temperature 0 unless it says otherwise."""
    asked = [user(messages)] if isinstance(messages, str) else list(messages)
    return FromClient({"model": f"vllm/{CHAT.name}", "messages": asked, "temperature": 0} | parameters)


def quick(messages: str | Sequence[Message], **parameters: object) -> FromClient:
    """The same, with thinking switched off."""
    return client(messages, **parameters, **NO_THOUGHT)


def server(messages: Sequence[object] | None, **parameters: object) -> ToServer:
    """A body for the server itself."""
    asked = {} if messages is None else {"messages": messages}
    return ToServer({"model": CHAT.name} | asked | parameters)


ANSWERS: Final = (
    Scenario("hello", client("Hello"), Expected(finish="stop", said="I greet back.\n\n\nHello!"), BOTH),
    Scenario(
        "without_thinking",
        quick("Hello"),
        Expected(finish="stop", said="Hello! How can I help you today?"),
        BOTH,
    ),
    Scenario(
        "effort_none", client("Hello", reasoning_effort="none"), Expected(finish="stop", said="Hello!"), BOTH
    ),
    Scenario(
        "effort_low", client("Hello", reasoning_effort="low"), Expected(finish="stop", said="I greet"), BOTH
    ),
    Scenario(
        "thought_left_out",
        client("Hello", include_reasoning=False),
        Expected(finish="stop", said="\n\nHello!"),
        BOTH,
    ),
    Scenario(
        "thought_on_a_budget",
        client(HAIKU, thinking_token_budget=3),
        Expected(finish="stop", said="\nFive,"),
        BOTH,
    ),
    Scenario(
        "capital",
        client("What is the capital of France?"),
        Expected(finish="stop", said="is Paris.\n\n\nThe"),
        BOTH,
    ),
    Scenario(
        "system_prompt",
        client([system("You are a pirate."), user("Hello")]),
        Expected(finish="stop", said="Ahoy, matey!"),
        BOTH,
    ),
    Scenario(
        "content_parts",
        quick(
            [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Describe"}, {"type": "text", "text": "the sea"}],
                }
            ]
        ),
        Expected(finish="stop", said="Two lines came in"),
        BOTH,
    ),
    Scenario(
        "mixed_scripts",
        client("Say hello to the world."),
        Expected(finish="stop", said="你好, мир — naïve"),
        BOTH,
    ),
    Scenario("two_turns", quick([*EARLIER_THOUGHT]), Expected(finish="stop", said="Italy is Rome."), BOTH),
    Scenario(
        "two_turns_with_thought",
        client([*EARLIER_THOUGHT]),
        Expected(finish="stop", said="is Rome.\n\n\nThe"),
        BOTH,
    ),
    Scenario(
        "cached_prompt",
        quick([system(HANDBOOK), user("Where are the whales?")]),
        Expected(finish="stop", said="Shelf 6", body='"cached_tokens":128'),
        BOTH,
        again=True,
    ),
)

CUT_SHORT: Final = (
    Scenario("cut_at_once", client(HAIKU, max_tokens=1), Expected(finish="length"), BOTH),
    Scenario(
        "cut_in_thought", client(HAIKU, max_tokens=6), Expected(finish="length", said="Five, seven,"), BOTH
    ),
    Scenario(
        "cut_in_answer",
        quick(HAIKU, max_tokens=8),
        Expected(finish="length", said="Salt wind on grey waves\n"),
        BOTH,
    ),
    Scenario(
        "cut_in_call",
        quick(TWO_CITIES, tools=[WEATHER], max_completion_tokens=17),
        Expected(finish="length", said="get_weather"),
        BOTH,
    ),
    Scenario(
        "context_reached",
        quick(REFRAIN),
        Expected(finish="length", said="the sea, the sea, ", body='"total_tokens":1024'),
        BOTH,
    ),
    Scenario(
        "stop_string",
        quick("Count to five.", stop=["3", "never"]),
        Expected(finish="stop", said="1, 2, ", body='"stop_reason":"3"'),
        BOTH,
    ),
    Scenario(
        "stop_string_kept",
        quick("Count to five.", stop="3", include_stop_str_in_output=True),
        Expected(finish="stop", said="1, 2, 3", body='"stop_reason":"3"'),
        BOTH,
    ),
    Scenario(
        "stop_token",  # 14 is the comma
        quick("Count to five.", stop_token_ids=[14]),
        Expected(finish="stop", said="1", body='"stop_reason":14'),
        BOTH,
    ),
)

TOOLS: Final = (
    Scenario(
        "call_after_thought",
        client("What is the weather in Paris?", tools=[WEATHER]),
        Expected(finish="tool_calls", said=f"get_weather{PARIS}", body=r'"reasoning":"\n'),
        BOTH,
    ),
    Scenario(
        "one_call",
        quick("What is the weather in Paris?", tools=[WEATHER]),
        Expected(finish="tool_calls", said=f"get_weather{PARIS}"),
        BOTH,
    ),
    Scenario(
        "two_calls",
        quick(TWO_CITIES, tools=[WEATHER]),
        Expected(finish="tool_calls", said=f'get_weather{PARIS}get_weather{{"city": "Rome"}}'),
        BOTH,
    ),
    Scenario(
        "two_calls_forbidden",
        quick(TWO_CITIES, tools=[WEATHER], parallel_tool_calls=False),
        Expected(finish="tool_calls", said=f"get_weather{PARIS}"),
        BOTH,
    ),
    Scenario(
        "text_before_call",
        quick("Check Paris, and tell me first.", tools=[WEATHER]),
        Expected(finish="tool_calls", said=f"Let me check the weather.\nget_weather{PARIS}"),
        BOTH,
    ),
    Scenario(
        "call_without_arguments",
        quick("What time is it?", tools=[WEATHER, CLOCK], tool_choice="auto"),
        Expected(finish="tool_calls", said="get_time{}"),
        BOTH,
    ),
    Scenario(
        "tools_unused", client("Hello", tools=[WEATHER]), Expected(finish="stop", said="Ask me about"), BOTH
    ),
    Scenario(
        "tool_choice_none",
        quick("What is the weather in Paris?", tools=[WEATHER], tool_choice="none"),
        Expected(finish="stop", said='<tool_call>\n{"name": "get_weather"'),
        BOTH,
    ),
    Scenario(
        "tool_choice_named",  # vLLM says "stop" here
        quick(
            "Use the tool for Lima.",
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            max_completion_tokens=60,
        ),
        Expected(finish="stop", said='get_weather{"city": "Lima"}'),
        BOTH,
    ),
    Scenario(
        "tool_choice_required",
        client(
            "You must call for Oslo.",
            tools=[WEATHER],
            tool_choice="required",
            max_completion_tokens=60,
        ),
        Expected(finish="tool_calls", said='To Oslo.\nget_weather{"city": "Oslo"}'),
        BOTH,
    ),
    Scenario(
        "tool_result",
        client([*ONE_RESULT], tools=[WEATHER]),
        Expected(finish="stop", said="It is 18 degrees and clear in Paris."),
        BOTH,
    ),
    Scenario(
        "two_tool_results",
        quick([*TWO_RESULTS], tools=[WEATHER]),
        Expected(finish="stop", said="Paris: 18 and clear. Rome: 25 and sunny."),
        BOTH,
    ),
)

STRUCTURED: Final = (
    Scenario(
        "json_object",
        quick("Give me Paris as JSON.", response_format={"type": "json_object"}, max_tokens=40),
        Expected(finish="stop", said='{"city": "Paris", "country": "France"}'),
        BOTH,
    ),
    Scenario(
        "json_schema",
        client(
            "Give me Paris as JSON.",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": CITY, "strict": True},
            },
            max_tokens=40,
        ),
        Expected(finish="stop", said=f"An object with two keys.\n{PARIS}"),
        BOTH,
    ),
    Scenario(
        "structured_choice",
        quick("Is the sea blue or red?", structured_outputs={"choice": ["red", "blue"]}),
        Expected(finish="stop", said="blue"),
        BOTH,
    ),
    Scenario(
        "structured_regex",
        quick(
            "Write me an address.",
            structured_outputs={"regex": r"[a-z]{1,8}@example\.(com|org)"},
            max_tokens=24,
        ),
        Expected(finish="stop", said="ada@example.org"),
        BOTH,
    ),
    Scenario(
        "structured_json",
        quick("Give me Paris as JSON.", structured_outputs={"json": CITY}, max_tokens=24),
        Expected(finish="stop", said=PARIS),
        BOTH,
    ),
    Scenario(
        "structured_grammar",
        quick(
            "Is the sea blue or red?",
            structured_outputs={"grammar": 'root ::= "blue" | "red"'},
            max_tokens=24,
        ),
        Expected(finish="stop", said="blue"),
        PLAIN,
    ),
    Scenario(
        "guided_choice",
        quick("Is the sea blue or red?", guided_choice=["red", "blue"], seed=1),
        Expected(finish="stop", said="blue"),
        BOTH,
    ),
)

EXTRAS: Final = (
    Scenario(
        "two_choices",
        quick("Name a colour.", n=2, seed=5, temperature=1.0),
        Expected(finish="stop", said=".", body='"index":1'),
        BOTH,
    ),
    Scenario(
        "two_choices_with_calls",
        quick(TWO_CITIES, tools=[WEATHER], n=2, seed=5, temperature=0.1),
        Expected(finish="tool_calls", said="get_weather", body='"index":1'),
        BOTH,
    ),
    Scenario(
        "logprobs",
        quick("What is the capital of France?", logprobs=True, top_logprobs=3),
        Expected(finish="stop", said="is Paris.", body='"top_logprobs":[{'),
        BOTH,
    ),
    Scenario(
        "logprobs_of_bytes",  # a token that is part of a letter
        quick("Say hello to the world.", logprobs=True, top_logprobs=0, max_completion_tokens=12),
        Expected(finish="length", said="🚀✨", body='"bytes":['),
        BOTH,
    ),
    Scenario("prompt_logprobs", quick("Hello", prompt_logprobs=1), Expected(body='"rank":1'), PLAIN),
    Scenario(
        "sampling",
        client(
            "Hello",
            temperature=0.7,
            top_p=0.9,
            top_k=20,
            min_p=0.05,
            repetition_penalty=1.05,
            presence_penalty=0.1,
            frequency_penalty=0.1,
            seed=42,
            min_tokens=2,
            logit_bias={"3": 1.5},
            max_completion_tokens=40,
            user="ada",
        ),
        Expected(said="\n"),
        BOTH,
    ),
    Scenario(
        "token_ids",
        quick("Hello", return_token_ids=True),
        Expected(finish="stop", body='"prompt_token_ids":['),
        BOTH,
    ),
    Scenario(
        "prompt_text",
        quick("Hello", return_prompt_text=True, max_completion_tokens=3),
        Expected(finish="length", body=r'"prompt_text":"<|im_start|>user\nHello'),
        BOTH,
    ),
    Scenario(
        "usage_on_every_chunk",
        quick("Hello", stream_options={"include_usage": True, "continuous_usage_stats": True}, stream=True),
        Expected(finish="stop", said="Hello!", body='"completion_tokens":1,'),
        STREAMED,
    ),
    Scenario(
        "several_tokens_a_chunk",
        client(HAIKU, stream_interval=5),
        Expected(finish="stop", said="Salt wind on grey waves\nthe tide keeps its old promise\nmoonlight"),
        STREAMED,
    ),
)

UNUSABLE: Final = client(
    "Hello",
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "odd", "schema": {"type": "nothing"}},
    },
)

REFUSALS: Final = (
    Scenario(
        "unknown_model",
        FromClient({"model": "vllm/tiny/nothing", "messages": [user("Hello")]}),
        refused("does not exist", 404),
        BOTH,
    ),
    Scenario(
        "temperature_too_high", client("Hello", temperature=3), refused("temperature must be in [0, 2]"), BOTH
    ),
    Scenario("top_logprobs_alone", client("Hello", top_logprobs=2), refused("`logprobs` must be set"), PLAIN),
    Scenario("choices_without_chance", client("Hello", n=2), refused("greedy sampling"), PLAIN),
    Scenario(
        "max_tokens_too_many", client("Hello", max_tokens=5000), refused("cannot be greater than"), PLAIN
    ),
    Scenario("prompt_too_long", client("the sea " * 560), refused("maximum context length"), BOTH),
    Scenario("schema_unusable", UNUSABLE, refused("Invalid type: nothing"), PLAIN),
    Scenario(  # noticed only when the stream has begun
        "schema_unusable", UNUSABLE, Expected(200, body="Invalid type: nothing"), STREAMED
    ),
    Scenario(
        "image_to_a_text_model",
        client(
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
                }
            ]
        ),
        refused("not a multimodal model"),
        PLAIN,
    ),
    Scenario(
        "temperature_not_a_number",
        server([user("Hello")], temperature="hot"),
        refused("body.temperature"),
        BOTH,
    ),
    Scenario(
        "effort_unknown", server([user("Hello")], reasoning_effort="utmost"), refused("literal_error"), PLAIN
    ),
    Scenario("tools_empty", server([user("Hello")], tools=[]), refused("`tools` must not be"), PLAIN),
    Scenario(
        "tool_choice_any",
        server([user("Hello")], tools=[WEATHER], tool_choice="any"),
        refused("Invalid value for `tool_choice`"),
        PLAIN,
    ),
    Scenario(
        "tool_choice_without_tools",
        server([user("Hello")], tool_choice="auto"),
        refused("`tools` must be set"),
        PLAIN,
    ),
    Scenario(
        "arguments_as_object",
        server(
            [
                user("What is the weather in Paris?"),
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": {"city": "Paris"}},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "18"},
            ]
        ),
        refused("string_type"),
        PLAIN,
    ),
    Scenario(
        "stream_options_alone",
        server([user("Hello")], stream_options={"include_usage": True}),
        refused("Stream options can only be"),
        PLAIN,
    ),
    Scenario("message_without_role", server([{"content": "Hello"}]), refused("11 validation errors"), PLAIN),
    Scenario("messages_missing", server(None), refused("body.messages"), BOTH),
    Scenario("messages_empty", server([]), refused("empty conversation"), PLAIN),
    Scenario("lone_surrogate", server([user("Hi \ud83d there")]), refused("TextEncodeInput"), PLAIN),
    Scenario("not_json", Plan("POST", PATH, Body(JSON, b'{"model":')), refused("json_invalid"), PLAIN),
    Scenario("not_utf8", Plan("POST", PATH, Body(JSON, b'{"model":"\xff"}')), refused('{"detail":'), PLAIN),
    Scenario("not_an_object", Plan("POST", PATH, Body(JSON, b"[]")), refused("model_attributes_type"), PLAIN),
    Scenario(
        "wrong_content_type",
        Plan(
            "POST",
            PATH,
            Body("text/plain", json.dumps({"model": CHAT.name, "messages": [user("Hello")]}).encode()),
        ),
        refused("Unsupported Media Type"),
        PLAIN,
    ),
    Scenario("wrong_route", Plan("POST", "/v1/nothing", Body(JSON, b"{}")), refused("Not Found", 404), PLAIN),
    Scenario(
        "wrong_route",
        Plan("POST", "/v1/nothing", Body(JSON, b'{"stream":true}')),
        refused("Not Found", 404),
        STREAMED,
    ),
    Scenario(
        "wrong_server",
        FromClient({"model": f"vllm/{EMBED.name}", "messages": [user("Hello")]}),
        refused("Not Found", 404),
        BOTH,
        elsewhere=EMBED,
    ),
    Scenario("wrong_method", Plan("GET", PATH), refused("Method Not Allowed", 405), PLAIN),
)


def remembering(**thought: object) -> ToServer:
    """The model says one token; how many it was given tells whether its earlier thought was read."""
    earlier = {"role": "assistant", "content": "It is Paris.", **thought}
    asked = [user("What is the capital of France?"), earlier, user("And of Italy?")]
    return server(asked, temperature=0, max_completion_tokens=1)


CAPITAL: Final = [user("What is the capital of France?")]
THOUGHT: Final = "The user asks about France. I know that one."

AS_SENT: Final = (  # what one version reads and another overlooks
    Scenario(
        "guided_choice_as_sent",
        server(CAPITAL, temperature=0, guided_choice=["Rome", "Oslo"], **NO_THOUGHT),
        Expected(finish="stop", said="The capital of France is Paris."),
        PLAIN,
    ),
    Scenario(
        "structured_choice_as_sent",
        server(CAPITAL, temperature=0, structured_outputs={"choice": ["Rome", "Oslo"]}, **NO_THOUGHT),
        Expected(finish="stop"),
        PLAIN,
    ),
    Scenario("thought_as_reasoning", remembering(reasoning=THOUGHT), Expected(finish="length"), PLAIN),
    Scenario(
        "thought_as_reasoning_content",
        remembering(reasoning_content=THOUGHT),
        Expected(finish="length"),
        PLAIN,
    ),
    Scenario("thought_forgotten", remembering(), Expected(finish="length"), PLAIN),
)

ENDLESS: Final = quick(HAIKU, ignore_eos=True, max_completion_tokens=900)

TROUBLE: Final = (
    Scenario(
        "unauthorized", client("Hello", user="nobody"), refused("Unauthorized", 401), BOTH, setting="locked"
    ),
    Scenario("overloaded", quick("Hello", user="one of many"), refused("busy", 503), BOTH, setting="crowded"),
    Scenario("engine_killed", ENDLESS, Expected(500, body='"code":500'), PLAIN, setting="doomed"),
    Scenario(
        "engine_killed",
        ENDLESS,
        Expected(200, said="Salt wind", body='"code": 500'),
        STREAMED,
        setting="doomed",
    ),
)

SCENARIOS: Final = (
    *ANSWERS,
    *CUT_SHORT,
    *TOOLS,
    *STRUCTURED,
    *EXTRAS,
    *REFUSALS,
    *AS_SENT,
    *TROUBLE,
)
