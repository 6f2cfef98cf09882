"""What a chat request becomes on the wire, and what the ledger says of it."""

from collections.abc import Mapping

import pytest

from translate import Body, Call, Failure, Plan, chat, documents
from translate.parameters import chat_fields
from translate.plan import Note

USER: Mapping[str, object] = {"role": "user", "content": "hi"}
CALL = Call("chat_completion")
STREAM = Call("chat_completion_stream")


def body_of(request: Mapping[str, object], call: Call = CALL) -> object:
    plan = chat.plan(request, call)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert (plan.method, plan.path, plan.body.content_type) == (
        "POST",
        "/v1/chat/completions",
        "application/json",
    )
    return documents.decode(plan.body.data)


def sent(call: Call = CALL, **params: object) -> dict[str, object]:
    """The body for one user message with these parameters, less model and messages."""
    body = body_of({"provider": "vllm", "model": "m", "input": [USER], "params": params}, call)
    assert isinstance(body, dict)
    assert body.pop("model") == "m"
    assert body.pop("messages") == [USER]
    return body


def noted(call: Call = CALL, **params: object) -> list[tuple[str, str, str]]:
    notes: list[Note] = []
    chat_fields(params, call.request_type == "chat_completion_stream", call, notes)
    return [(note.param, note.action, note.detail) for note in notes]


def test_a_plain_request_is_three_values() -> None:
    plan = chat.plan({"provider": "vllm", "model": "org/m", "input": [USER]}, CALL)
    assert plan == (
        "POST",
        "/v1/chat/completions",
        Body("application/json", b'{"model":"org/m","messages":[{"role":"user","content":"hi"}]}'),
    )


def test_a_path_can_be_given() -> None:
    plan = chat.plan({"model": "m", "input": [USER]}, Call("chat_completion", path="/custom"))
    assert isinstance(plan, Plan)
    assert plan.path == "/custom"


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        ({"provider": "vllm", "model": "org/m"}, "org/m"),
        ({"provider": "vllm", "model": "vllm/m"}, "vllm/m"),
        ({"model": "vllm/org/m"}, "org/m"),
        ({"model": "vllm//models/x"}, "/models/x"),
        ({"provider": "", "model": "VLLM/x"}, "VLLM/x"),
    ],
)
def test_the_model_loses_its_provider_only_when_it_carries_one(
    request_: Mapping[str, object], model: str
) -> None:
    body = body_of({**request_, "input": [USER]})
    assert body == {"model": model, "messages": [USER]}


def test_unknown_parameters_go_through_in_their_order_and_spelling() -> None:
    flat = documents.decode(
        b'{"model":"vllm/m","messages":[{"role":"user","content":"hi","x":1}],"top_k":-1,"temperature":1.50,'
        b'"chat_template_kwargs":{"enable_thinking":false,"a":null},"min_p":0.0,"seed":9007199254740993,'
        b'"stop_token_ids":[2],"x_new":5}'
    )
    assert isinstance(flat, dict)
    request = chat.from_flat(flat)
    assert not isinstance(request, Failure)
    plan = chat.plan(request, CALL)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert plan.body.data == (
        b'{"model":"m","messages":[{"role":"user","content":"hi","x":1}],"top_k":-1,"temperature":1.50,'
        b'"chat_template_kwargs":{"enable_thinking":false,"a":null},"min_p":0.0,"seed":9007199254740993,'
        b'"stop_token_ids":[2],"x_new":5}'
    )


@pytest.mark.parametrize(
    ("params", "body", "notes"),
    [
        pytest.param(
            {"max_tokens": 5},
            {"max_completion_tokens": 5},
            [("max_tokens", "renamed", "max_completion_tokens")],
            id="max_tokens is renamed",
        ),
        pytest.param(
            {"max_tokens": 5, "max_completion_tokens": 9},
            {"max_completion_tokens": 9},
            [("max_tokens", "dropped", "max_completion_tokens is set")],
            id="never both, and no floor",
        ),
        pytest.param({"max_completion_tokens": 1}, {"max_completion_tokens": 1}, [], id="no floor of 16"),
        pytest.param({"stop": "x"}, {"stop": "x"}, [], id="stop as text"),
        pytest.param({"user": "u" * 100}, {"user": "u" * 100}, [], id="a long user"),
        pytest.param(
            {"stop": None, "response_format": {"type": "json_schema", "json_schema": {"default": None}}},
            {"response_format": {"type": "json_schema", "json_schema": {"default": None}}},
            [("stop", "dropped", "null")],
            id="nulls are dropped at the top only",
        ),
        pytest.param(
            {"stream_options": {"include_usage": True}},
            {},
            [("stream_options", "dropped", "the answer is not streamed")],
            id="stream_options without a stream",
        ),
        pytest.param(
            {"temperature": float("inf"), "extra_params": {"x": float("nan")}},
            {},
            [
                ("temperature", "dropped", "not a finite number, for which JSON has no spelling"),
                ("x", "dropped", "not a finite number, for which JSON has no spelling"),
            ],
            id="numbers that JSON cannot spell",
        ),
        pytest.param({"stream": True}, {}, [("stream", "dropped", "the operation decides it")], id="stream"),
        pytest.param(
            {"extra_params": {"top_k": 1, "temperature": 2, "a": {"b": 1}}, "temperature": 1, "a": {"c": 2}},
            {"temperature": 2, "a": {"c": 2, "b": 1}, "top_k": 1},
            [("temperature", "dropped", "extra_params sets it as well")],
            id="extra_params win, objects are merged",
        ),
        pytest.param(
            {"temperature": 1, "extra_params": {"extra_body": {"top_k": 1, "temperature": 2, "n": None}}},
            {"temperature": 1, "top_k": 1},
            [
                ("extra_body", "converted", "its members moved to the top level"),
                ("extra_body.temperature", "dropped", "temperature is set at the top level"),
                ("n", "dropped", "null"),
            ],
            id="extra_body is flattened, explicit keys win",
        ),
        pytest.param(
            {"extra_params": {"model": "other", "messages": []}},
            {},
            [
                ("model", "dropped", "the request itself names it"),
                ("messages", "dropped", "the request itself names it"),
            ],
            id="extras cannot replace model or messages",
        ),
        pytest.param({"reasoning_effort": "xhigh"}, {"reasoning_effort": "xhigh"}, [], id="effort unchanged"),
        pytest.param(
            {"reasoning": {"effort": "minimal", "max_tokens": 5, "display": "x"}},
            {"reasoning_effort": "minimal"},
            [
                ("reasoning.max_tokens", "dropped", "reasoning_effort is set"),
                ("reasoning.effort", "renamed", "reasoning_effort"),
                ("reasoning.display", "dropped", "vLLM has no such parameter"),
            ],
            id="the reasoning object",
        ),
        pytest.param(
            {"reasoning_max_tokens": 100, "max_tokens": 101},
            {"reasoning_effort": "high", "max_completion_tokens": 101},
            [
                ("reasoning_max_tokens", "converted", "reasoning_effort high"),
                ("max_tokens", "renamed", "max_completion_tokens"),
            ],
            id="an effort from a budget",
        ),
        pytest.param(
            {"reasoning": {"enabled": False}},
            {},
            [("reasoning.enabled", "dropped", "vLLM has no such parameter")],
            id="reasoning without effort or budget",
        ),
        pytest.param(
            {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
            {},
            [
                ("tools", "dropped", "empty"),
                ("tool_choice", "dropped", "there are no tools"),
                ("parallel_tool_calls", "dropped", "there are no tools"),
            ],
            id="no tools",
        ),
        pytest.param(
            {"tools": None, "tool_choice": "auto"},
            {},
            [
                ("tools", "dropped", "null"),
                ("tool_choice", "dropped", "there are no tools"),
                ("tools", "dropped", "empty"),
            ],
            id="tools is null",
        ),
        pytest.param(
            {"tool_choice": "any", "tools": [{"type": "function", "function": {"name": "f"}}]},
            {"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            [("tool_choice", "converted", "any became required")],
            id="any tool",
        ),
        pytest.param(
            {
                "tools": [
                    {"type": "web_search_20250305"},
                    {
                        "type": "function",
                        "cache_control": {},
                        "function": {
                            "name": "f",
                            "parameters": {"type": "object", "b": 1, "a": 2},
                            "input_examples": [],
                        },
                    },
                ]
            },
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"type": "object", "b": 1, "a": 2}},
                    }
                ]
            },
            [
                ("tools[1].cache_control", "dropped", "not part of OpenAI's format"),
                ("tools[1].function.input_examples", "dropped", "not part of OpenAI's format"),
                ("tools[0]", "dropped", "a tool that the provider runs itself"),
            ],
            id="what other providers add to tools",
        ),
        pytest.param(
            {"store": True, "verbosity": "low", "prompt_cache_key": "k"},
            {},
            [
                ("store", "dropped", "vLLM has no such parameter"),
                ("verbosity", "dropped", "vLLM has no such parameter"),
                ("prompt_cache_key", "dropped", "vLLM has no such parameter"),
            ],
            id="OpenAI's own",
        ),
        pytest.param(
            {"extra_params": {"guided_json": {"type": "object"}, "structured_outputs": {"x": 1}}},
            {"structured_outputs": {"x": 1, "json": {"type": "object"}}},
            [("guided_json", "renamed", "structured_outputs.json")],
            id="guided decoding",
        ),
        pytest.param(
            {"guided_choice": ["a"], "structured_outputs": {"choice": ["b"]}},
            {"structured_outputs": {"choice": ["b"]}},
            [("guided_choice", "dropped", "structured_outputs.choice is set")],
            id="the new name wins",
        ),
    ],
)
def test_parameters(
    params: dict[str, object], body: Mapping[str, object], notes: list[tuple[str, str, str]]
) -> None:
    assert sent(CALL, **params) == body
    assert [*dict.fromkeys(noted(CALL, **params))] == notes


def test_old_servers_keep_their_names_for_guided_decoding() -> None:
    call = Call("chat_completion", structured_outputs="legacy")
    params: dict[str, object] = {"guided_json": {"type": "object"}}
    assert sent(call, **params) == params
    assert noted(call, **params) == []


@pytest.mark.parametrize(
    ("options", "wire", "notes"),
    [
        (None, {"include_usage": True}, []),
        ({"continuous_usage_stats": True}, {"continuous_usage_stats": True, "include_usage": True}, []),
        (
            {"include_usage": False},
            {"include_usage": True},
            [("stream_options.include_usage", "converted", "true: the final chunk carries usage")],
        ),
    ],
)
def test_a_stream_asks_for_usage(
    options: object, wire: Mapping[str, object], notes: list[tuple[str, str, str]]
) -> None:
    params = {} if options is None else {"stream_options": options}
    assert sent(STREAM, **params) == {"stream": True, "stream_options": wire}
    assert noted(STREAM, **params) == notes


@pytest.mark.parametrize(
    ("budget", "most", "effort"),
    [
        (0, None, "none"),
        (-1, None, "none"),
        (1024, None, "low"),
        (2048, None, "medium"),
        (4096, None, "high"),
        (9999, None, "high"),
        (5, 0, "medium"),
        (5, 1, "high"),
    ],
)
def test_the_effort_of_a_budget(budget: int, most: int | None, effort: str) -> None:
    params: dict[str, object] = {"reasoning_max_tokens": budget}
    if most is not None:
        params["max_completion_tokens"] = most
    assert sent(CALL, **params)["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        pytest.param(
            {"role": "developer", "content": "d"}, {"role": "developer", "content": "d"}, id="developer"
        ),
        pytest.param(
            {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
            {"role": "assistant", "content": "4", "reasoning_content": "2+2", "reasoning": "2+2"},
            id="reasoning under both names",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "reasoning": "t", "reasoning_details": [{"text": "t"}]},
            {"role": "assistant", "content": None, "reasoning": "t", "reasoning_content": "t"},
            id="details are not sent",
        ),
        pytest.param(
            {"role": "assistant", "reasoning_details": [{"type": "x"}, {"text": "t"}]},
            {"role": "assistant", "reasoning": "t", "reasoning_content": "t"},
            id="reasoning from details",
        ),
        pytest.param(
            {"role": "user", "content": "u", "reasoning": "r"},
            {"role": "user", "content": "u", "reasoning": "r"},
            id="only the assistant reasons",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": [],
                "tool_calls": [
                    {"id": "a", "index": 0, "function": {"name": "f", "arguments": {"b": 1, "a": 2}}},
                    {"id": "b", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            {
                "role": "assistant",
                "content": [],
                "tool_calls": [
                    {"id": "a", "index": 0, "function": {"name": "f", "arguments": '{"b":1,"a":2}'}},
                    {"id": "b", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            id="arguments as an object",
        ),
        pytest.param(
            {
                "role": "tool",
                "tool_call_id": "c" * 60 + "_ts_" + "s" * 900,
                "content": "21",
                "is_error": False,
            },
            {"role": "tool", "tool_call_id": "c" * 60, "content": "21"},
            id="a signature in the id, and is_error",
        ),
        pytest.param(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
                    {"type": "audio_url", "audio_url": {"url": "data:"}, "uuid": "u1"},
                    {"type": "file", "file": {"file_data": "x", "file_type": "pdf"}, "citations": {}},
                    "plain",
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "audio_url", "audio_url": {"url": "data:"}, "uuid": "u1"},
                    {"type": "file", "file": {"file_data": "x"}},
                    "plain",
                ],
            },
            id="parts are opaque but for what others add",
        ),
    ],
)
def test_messages(message: Mapping[str, object], wire: Mapping[str, object]) -> None:
    assert body_of({"model": "m", "input": [message]}) == {"model": "m", "messages": [wire]}


@pytest.mark.parametrize(
    ("request_", "message", "param"),
    [
        ({}, "model is required", "model"),
        ({"model": " ", "input": [USER]}, "model is required", "model"),
        ({"model": "m"}, "messages is required for chat completion", "messages"),
        ({"model": "m", "input": []}, "messages is required for chat completion", "messages"),
        ({"model": "m", "input": {}}, "messages must be an array, got an object", "messages"),
        ({"model": "m", "input": [USER, "x"]}, "messages[1] must be an object, got text", "messages[1]"),
        (
            {"model": "m", "input": [USER, {"role": "user", "content": 5}]},
            "messages[1].content must be text, an array of parts or null, got a number",
            "messages[1].content",
        ),
        ({"model": "m", "input": [USER], "params": []}, "params must be an object", "params"),
        (
            {"model": "m", "input": [USER], "params": {"extra_params": 1}},
            "extra_params must be an object",
            "extra_params",
        ),
        (
            {"model": "m", "input": [USER], "params": {"extra_params": {"extra_body": "{}"}}},
            "extra_body must be an object, got text",
            "extra_body",
        ),
        (
            {
                "model": "m",
                "input": [USER],
                "params": {"reasoning": {"effort": "low"}, "reasoning_effort": "low"},
            },
            "reasoning_effort and reasoning.effort cannot both be set",
            "reasoning_effort",
        ),
        (
            {"model": "m", "input": [USER], "params": {"reasoning": "low"}},
            "reasoning must be an object",
            "reasoning",
        ),
    ],
)
def test_bad_requests_name_the_place(request_: Mapping[str, object], message: str, param: str) -> None:
    outcome = chat.plan(request_, CALL)
    assert isinstance(outcome, Failure)
    assert outcome.error["error"] == {"message": message, "type": "invalid_request_error", "param": param}
    assert outcome.error.get("status_code") == 400
    assert outcome.error.get("extra_fields", {})["request_type"] == "chat_completion"


def test_stream_options_must_be_an_object_on_a_stream() -> None:
    outcome = chat.plan({"model": "m", "input": [USER], "params": {"stream_options": 1}}, STREAM)
    assert isinstance(outcome, Failure)
    assert outcome.error["error"].get("param") == "stream_options"


def test_a_value_that_is_not_json_is_named() -> None:
    outcome = chat.plan({"model": "m", "input": [USER], "params": {"x": [object()]}}, CALL)
    assert isinstance(outcome, Failure)
    assert outcome.error["error"] == {
        "message": "the request is not JSON: a value of type object is not JSON",
        "type": "invalid_request_error",
        "param": "x[0]",
    }


def test_the_flat_form_is_taken_apart() -> None:
    flat = {
        "model": "vllm/org/m",
        "temperature": 1,
        "messages": [USER],
        "top_k": 3,
        "stream": True,
        "fallbacks": ["vllm/b"],
        "max_tokens": 4,
        "extra_body": {"min_p": 0},
    }
    assert chat.from_flat(flat) == {
        "provider": "vllm",
        "model": "org/m",
        "input": [USER],
        "params": {"temperature": 1, "top_k": 3, "max_tokens": 4, "extra_body": {"min_p": 0}},
        "fallbacks": ["vllm/b"],
    }


def test_a_flat_key_that_is_named_extra_params_is_a_key_like_any_other() -> None:
    request = chat.from_flat({"model": "vllm/m", "messages": [USER], "extra_params": {"top_k": 1}})
    assert not isinstance(request, Failure)
    assert body_of(request) == {"model": "m", "messages": [USER], "extra_params": {"top_k": 1}}


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({}, "model is required"),
        ({"model": None}, "model is required"),
        ({"model": "vllm/"}, "model is required"),
        ({"model": 5}, "model must be text"),
    ],
)
def test_a_flat_request_needs_a_model(flat: Mapping[str, object], message: str) -> None:
    outcome = chat.from_flat(flat)
    assert isinstance(outcome, Failure)
    assert outcome.error["error"] == {"message": message, "type": "invalid_request_error", "param": "model"}
