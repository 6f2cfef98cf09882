"""What becomes of a chat completion on its way to a response."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.openai_schema import assert_response
from translate import Call, Failure, responses
from translate.plan import ReplyLike
from transports.base import Cut, Reply

CALL = Call("responses", routing_info={"key": "gpu-a"})
USAGE = {
    "prompt_tokens": 20,
    "total_tokens": 30,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 16, "created_cache_tokens": 4, "multimodal_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
COUNTS = {
    "input_tokens": 20,
    "input_tokens_details": {
        "cached_tokens": 16,
        "created_cache_tokens": 4,
        "cached_read_tokens": 16,
        "cached_write_tokens": 4,
        "cache_write_tokens": 4,
    },
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 30,
}
EXTRA = {
    "request_type": "responses",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "org/m", "key": "gpu-a"},
    "original_model_requested": "org/m",
    "resolved_model_used": "org/m",
    "latency": 7,
    "chunk_index": 0,
}
DEFAULTS: Mapping[str, object] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def request(**params: object) -> Mapping[str, object]:
    return {"provider": "vllm", "model": "org/m", "input": "hi", "params": params}


def answered(reply: ReplyLike, call: Call = CALL, **params: object) -> Any:
    outcome = responses.parse(request(**params), reply, 7, call)
    return outcome.error if isinstance(outcome, Failure) else json.loads(json.dumps(outcome))


def parsed(document: object, call: Call = CALL, **params: object) -> Any:
    """The response, which satisfies OpenAI's schema."""
    out = answered(Reply(200, {}, json.dumps(document).encode(), 7), call, **params)
    assert_response(out)
    return out


def completion(message: object, finish_reason: object = "stop", **more: object) -> dict[str, object]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None, **more}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "served"}
    return {**head, "choices": [choice]}


def said(message: Mapping[str, object], finish_reason: object = "stop", **more: object) -> Any:
    """The items of the answer to a message."""
    out = parsed(completion({"role": "assistant", **message}, finish_reason, **more))
    return out["output"]


def output_text(text: str, place: int = 0, status: str = "completed") -> dict[str, object]:
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return message(content, place=place, status=status)


def message(*content: object, place: int = 0, status: str = "completed") -> dict[str, object]:
    return {
        "id": f"msg_1_{place}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def reasoning(text: str, place: int = 0, status: str = "completed") -> dict[str, object]:
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": f"rs_1_{place}", "type": "reasoning", "status": status, "summary": [], "content": content}


def function_call(
    call_id: str, place: int, name: str = "f", arguments: str = "{}", status: str = "completed"
) -> dict[str, object]:
    return {
        "id": f"fc_1_{place}",
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def chat_call(
    call_id: object, arguments: object = "{}", name: str = "f", **more: object
) -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def test_a_whole_answer_of_vllm() -> None:
    upstream = completion(
        {
            "role": "assistant",
            "content": "Let me look.",
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": [chat_call("c1"), chat_call("c2", '{"a": 1}', "g")],
            "reasoning": "thinking",
        },
        finish_reason="tool_calls",
        stop_reason=None,
        token_ids=None,
    )
    upstream |= {
        "service_tier": None,
        "system_fingerprint": None,
        "usage": USAGE,
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    }
    assert parsed(upstream) == {
        "id": "resp_1",
        "object": "response",
        "created_at": 5,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "served",
        "output": [
            reasoning("thinking"),
            output_text("Let me look.", 1),
            function_call("c1", 2),
            function_call("c2", 3, "g", '{"a": 1}'),
        ],
        "service_tier": None,
        **DEFAULTS,
        "usage": COUNTS,
        "stop_reason": "tool_calls",
        "extra_fields": EXTRA,
    }


def test_the_response_repeats_the_request() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"b": 1, "a": 2}, "strict": True, "x_vendor": 1}
    nested = {"type": "function", "function": {"name": "g", "description": "d"}}
    schema = {"type": "json_schema", "name": "s", "schema": {"z": 1, "a": 2}, "strict": False}
    out = parsed(
        completion({"content": "x"}),
        instructions="be brief",
        max_output_tokens=5,
        max_tool_calls=2,
        metadata={"a": "b"},
        parallel_tool_calls=False,
        prompt_cache_key="k",
        reasoning={"effort": "high", "summary": "auto"},
        safety_identifier="s",
        temperature=0.5,
        top_p=1,
        top_logprobs=2,
        text={"format": schema, "verbosity": "low"},
        tools=[tool, nested],
        tool_choice={"type": "function", "name": "g"},
        truncation="auto",
        user="ada",
        presence_penalty=0.1,
        frequency_penalty=-0.1,
    )
    assert {name: out[name] for name in DEFAULTS} == {
        "background": False,
        "frequency_penalty": -0.1,
        "instructions": "be brief",
        "max_output_tokens": 5,
        "max_tool_calls": 2,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "presence_penalty": 0.1,
        "previous_response_id": None,
        "prompt_cache_key": "k",
        "reasoning": {"effort": "high", "summary": "auto"},
        "safety_identifier": "s",
        "store": False,
        "temperature": 0.5,
        "text": {"format": {**schema, "description": None}},
        "tool_choice": {"type": "function", "name": "g"},
        "tools": [
            {"type": "function", "name": "f", "description": None, "parameters": {"b": 1, "a": 2}, "strict": True},
            {"type": "function", "name": "g", "description": "d", "parameters": None, "strict": None},
        ],
        "top_logprobs": 2,
        "top_p": 1,
        "truncation": "auto",
        "user": "ada",
    }  # fmt: skip
    assert list(out["text"]["format"]["schema"]) == ["z", "a"]


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        ({"temperature": "hot", "top_p": True, "top_logprobs": "2", "max_output_tokens": 1.5}, {}),
        ({"reasoning": {"effort": "utmost", "summary": 5}, "user": 5, "truncation": "odd"}, {}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low", "summary": None}}),
        ({"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "json_object"}}}),
        ({"text": {"format": {"type": "structural_tag"}}}, {}),
        ({"tool_choice": "required"}, {}),
        ({"tool_choice": {"type": "function", "name": "f"}, "tools": []}, {}),
        ({"temperature": 1e400, "presence_penalty": float("nan")}, {}),
    ],
)
def test_only_what_the_schema_has_room_for_is_repeated(
    given: Mapping[str, Any], repeated: Mapping[str, object]
) -> None:
    out = parsed(completion({"content": "x"}), **given)
    assert {name: out[name] for name in DEFAULTS} == {**DEFAULTS, **repeated}


TOOL = {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}


@pytest.mark.parametrize(
    ("choice", "repeated"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        ({"type": "any"}, "required"),
        ("something new", "auto"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_every_choice_among_tools_is_repeated(choice: object, repeated: object) -> None:
    out = parsed(completion({"content": "x"}), tools=[{"type": "function", "name": "f"}], tool_choice=choice)
    assert (out["tools"], out["tool_choice"]) == ([TOOL], repeated)


@pytest.mark.parametrize(
    ("spoken", "items"),
    [
        pytest.param({"content": "Hi"}, [output_text("Hi")], id="text"),
        pytest.param({"content": "Hi", "reasoning_content": "hm"}, [reasoning("hm"), output_text("Hi", 1)], id="thought and text"),
        pytest.param({"content": None, "reasoning": "hm"}, [reasoning("hm")], id="a thought alone"),
        pytest.param({"content": None}, [output_text("")], id="nothing"),
        pytest.param({"content": ""}, [output_text("")], id="no words"),
        pytest.param({}, [output_text("")], id="no content"),
        pytest.param({"content": "", "tool_calls": [chat_call("c")]}, [function_call("c", 0)], id="a call beside no words"),
        pytest.param({"content": "\n\n", "tool_calls": [chat_call("c")]}, [output_text("\n\n"), function_call("c", 1)], id="a call after blanks"),
        pytest.param({"content": None, "refusal": "no"}, [message({"type": "refusal", "refusal": "no"})], id="a refusal"),
        pytest.param(
            {"content": "Well,", "refusal": "no", "reasoning": "hm", "tool_calls": [chat_call("c")]},
            [
                reasoning("hm"),
                message(
                    {"type": "output_text", "text": "Well,", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": "no"},
                    place=1,
                ),
                function_call("c", 2),
            ],
            id="all at once",
        ),
        pytest.param({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, [output_text("ab")], id="text in parts"),
        pytest.param({"content": None, "tool_calls": [chat_call("c", {"b": 1, "a": 2})]}, [function_call("c", 0, arguments='{"b":1,"a":2}')], id="arguments as an object"),
    ],
)  # fmt: skip
def test_items(spoken: Mapping[str, object], items: object) -> None:
    assert said(spoken) == items


@pytest.mark.parametrize(
    ("reason", "status", "details", "item_status"),
    [
        ("stop", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("repetition", "completed", None, "completed"),
        ("length", "incomplete", {"reason": "max_output_tokens"}, "incomplete"),
        ("content_filter", "incomplete", {"reason": "content_filter"}, "incomplete"),
        ("guardrail_intervened", "incomplete", {"reason": "content_filter"}, "incomplete"),
    ],
)
def test_how_it_ended(reason: str, status: str, details: object, item_status: str) -> None:
    out = parsed(completion({"content": "x", "tool_calls": [chat_call("c")]}, reason))
    assert (out["status"], out["incomplete_details"], out["error"]) == (status, details, None)
    assert out["output"] == [output_text("x"), function_call("c", 1, status=item_status)]
    assert out["stop_reason"] == reason


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_server_gave_up(reason: str) -> None:
    out = parsed(completion({"content": "Hel"}, reason))
    assert out["status"] == "failed"
    assert out["error"] == {"code": "server_error", "message": f"the server ended the answer: {reason}"}
    assert out["output"] == [output_text("Hel", status="incomplete")]


def test_an_answer_without_a_reason_to_end() -> None:
    out = parsed(completion({"content": "x"}, None))
    assert out["status"] == "completed"
    assert "stop_reason" not in out


def test_an_answer_cut_before_its_first_word_is_incomplete() -> None:
    out = parsed(completion({"content": None}, "length"))
    assert out["output"] == [output_text("", status="incomplete")]


def test_calls_are_made_fit_for_clients() -> None:
    calls = [chat_call("c", ""), chat_call("c"), chat_call(None), {"id": "d", "function": None}]
    out = parsed(completion({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"))
    assert out["output"] == [
        function_call("c", 0),
        function_call("call_1_1", 1),
        function_call("call_1_0_2", 2),
        function_call("d", 3, name=""),
    ]
    assert out["extra_fields"]["translation_notes"] == [
        {"param": "output[1].call_id", "action": "repaired", "detail": "the server's was not unique"},
        {"param": "output[0].arguments", "action": "defaulted", "detail": "the server sent none"},
        {"param": "output[3].arguments", "action": "defaulted", "detail": "the server sent none"},
        {
            "param": "choices[0].message.tool_calls[2].id",
            "action": "defaulted",
            "detail": "the server sent none",
        },
        {"param": "choices[0].message.tool_calls[3].type", "action": "defaulted", "detail": "function"},
    ]


def test_a_call_that_was_cut_is_left_as_it_is() -> None:
    assert said({"content": None, "tool_calls": [chat_call("c", ""), chat_call("d", "")]}, "length") == [
        function_call("c", 0),
        function_call("d", 1, arguments="", status="incomplete"),
    ]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, None),
        ({}, None),
        (
            {"prompt_tokens": 3, "completion_tokens": 2},
            {
                "input_tokens": 3,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 5,
            },
        ),
        (
            {
                "prompt_tokens": 3.0,
                "total_tokens": 9,
                "prompt_tokens_details": None,
                "completion_tokens_details": 5,
            },
            {
                "input_tokens": 3,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 6,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 9,
            },
        ),
    ],
)
def test_usage(usage: object, counts: object) -> None:
    assert parsed({**completion({"content": "x"}), "usage": usage})["usage"] == counts


def token(
    text: str, logprob: float = -0.5, spelled: list[int] | None = None, **more: object
) -> dict[str, object]:
    spelled = list(text.encode()) if spelled is None else spelled
    return {"token": text, "logprob": logprob, "bytes": spelled, "top_logprobs": [], **more}


def logprobs_of(text: str, tokens: list[Any], **message: object) -> tuple[Any, Any]:
    """The tokens beside the text, and those that found no place."""
    upstream = completion({"content": text, **message}, logprobs={"content": tokens})
    out = parsed(upstream)
    of_text = [
        part["logprobs"]
        for item in out["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    ]
    kept = out["extra_fields"].get("chat_completion", {}).get("choices", [{}])[0]
    return of_text, kept.get("logprobs", {}).get("content", [])


def test_tokens_are_those_of_the_text() -> None:
    think, hm, end, hi, eos = (token(text) for text in ("<think>", "hi", "</think>", "hi", "<|im_end|>"))
    assert logprobs_of("hi", [think, hm, end, hi, eos], reasoning="hi") == ([[hi]], [think, hm, end, eos])
    text, mark, arguments = token("x"), token("<tool_call>"), token("x")
    assert logprobs_of("x", [text, mark, arguments], tool_calls=[chat_call("c", "x")]) == (
        [[text]],
        [mark, arguments],
    )


def test_tokens_that_are_part_of_a_letter() -> None:
    whole = token("你", spelled=list("你".encode()))
    rest, other = token("", spelled=[]), token("b")
    assert logprobs_of("你", [rest, whole, rest, rest, other]) == ([[whole, rest, rest]], [rest, other])


def test_a_token_that_a_stop_string_cut() -> None:
    assert logprobs_of("a", [token("ab")]) == ([[token("ab")]], [])


def test_tokens_that_are_not_the_text() -> None:
    odd = token("zzz")
    assert logprobs_of("a", [odd]) == ([[odd]], [])
    assert logprobs_of("a", [odd], reasoning="b") == ([[]], [odd])


def test_tokens_in_the_form_of_a_response() -> None:
    alternatives = [
        {"token": "a", "logprob": -1, "bytes": None, "x": 1},
        {"token": "b", "logprob": None, "bytes": [98]},
        "odd",
    ]
    spoken = {"token": "a", "logprob": -0.5, "top_logprobs": alternatives, "x_vendor": 1}
    text = {
        "token": "a",
        "bytes": [97],
        "logprob": -0.5,
        "top_logprobs": [{"token": "a", "bytes": [97], "logprob": -1}],
    }
    assert logprobs_of("a", [spoken]) == ([[text]], [])


@pytest.mark.parametrize(
    "odd", [{"token": 5, "logprob": -1}, {"token": "a", "logprob": None}, {"token": "a", "logprob": True}]
)
def test_tokens_that_a_response_has_no_room_for(odd: object) -> None:
    assert logprobs_of("a", [odd]) == ([[]], [odd])
    assert logprobs_of("a", ["no token"]) == ([[]], [])


def test_what_has_no_place_in_a_response_stays_where_the_chat_had_it() -> None:
    citation = {"type": "url_citation", "url_citation": {"url": "u"}}
    picture = {"type": "image_url", "image_url": {"url": "u"}}
    encrypted = [{"type": "reasoning.encrypted", "data": "x"}]
    upstream = completion(
        {
            "role": "assistant",
            "content": ["a", picture],
            "annotations": [citation],
            "reasoning": "hm",
            "reasoning_details": encrypted,
            "tool_calls": [chat_call("c"), chat_call("d", extra_content={"google": 1})],
            "refusal": {"odd": 1},
        },
        stop_reason=151645,
        token_ids=[1, 2],
    )
    upstream |= {
        "system_fingerprint": "fp",
        "service_tier": "odd",
        "prompt_token_ids": [3],
        "kv_transfer_params": {"k": None},
        "output": "no output of ours",
    }
    out = parsed(upstream)
    assert out["service_tier"] is None
    assert out["output"] == [
        reasoning("hm"), output_text("a", 1), function_call("c", 2), function_call("d", 3)
    ]  # fmt: skip
    assert out["extra_fields"] == {
        **EXTRA,
        "chat_completion": {
            "system_fingerprint": "fp",
            "service_tier": "odd",
            "prompt_token_ids": [3],
            "kv_transfer_params": {"k": None},
            "output": "no output of ours",
            "choices": [
                {
                    "index": 0,
                    "stop_reason": 151645,
                    "token_ids": [1, 2],
                    "message": {
                        "annotations": [citation],
                        "reasoning_details": encrypted,
                        "content": [picture],
                        "tool_calls": [{"index": 1, "extra_content": {"google": 1}}],
                        "refusal": {"odd": 1},
                    },
                }
            ],
        },
    }


def test_a_second_choice_that_nobody_asked_for() -> None:
    first = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    second = {"index": 1, "message": {"role": "assistant", "content": "b"}}
    upstream = {**completion({}), "choices": [first, second]}
    out = parsed(upstream)
    assert out["output"] == [output_text("a")]
    assert out["extra_fields"]["translation_notes"] == [
        {"param": "choices", "action": "dropped", "detail": "a response is one answer"}
    ]


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"id": None, "created": None, "model": None}, ("resp_0", 0, "org/m")),
        ({"id": 5, "created": "x", "model": ["x"]}, ("resp_0", 0, "")),
        ({"id": "chatcmpl-" + "x" * 100, "created": 10**400, "model": "m"}, (f"resp_{'x' * 64}", 0, "m")),
        ({"id": "req-7", "created": 1.0, "model": "m"}, ("resp_req-7", 1, "m")),
    ],
)
def test_a_reply_that_does_not_say_who_it_is(
    identity: Mapping[str, object], expected: tuple[object, ...]
) -> None:
    out = parsed({**completion({"content": "x"}), **identity})
    assert (out["id"], out["created_at"], out["model"]) == expected
    assert out["output"][0]["id"] == f"msg_{out['id'].removeprefix('resp_')}_0"


def test_what_was_sent_and_received_comes_along_when_asked() -> None:
    upstream = completion({"content": "x"})
    out = parsed(upstream, Call("responses", raw_request=True, raw_response=True), max_output_tokens=3)
    assert out["extra_fields"]["raw_request"] == {
        "model": "org/m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 3,
    }
    assert out["extra_fields"]["raw_response"] == upstream


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (Reply(400, {}, b'{"error":{"message":"so it is","code":400}}'), 400, "so it is"),
        (Reply(200, {}, b'{"error":{"message":"so it is","code":503}}'), 503, "so it is"),
        (
            Reply(401, {}, b'{"error":"Unauthorized"}'),
            401,
            "Unauthorized",
        ),
        (Reply(200, {}, b'{"choices":[]}'), None, "failed to unmarshal response from provider API"),
        (Reply(200, {}, b'{"choices":[{"index":0}]}'), None, "failed to unmarshal response from provider API"),
        (Reply(200, {}, b"{}"), None, "failed to unmarshal response from provider API"),
        (Reply(0, {}, b"", 7, Cut("timeout", "first byte after 5 s")), 504, "request timed out: first byte after 5 s"),
    ],
)  # fmt: skip
def test_an_error_is_the_error_of_a_chat(reply: Reply, status: object, message: str) -> None:
    error = answered(reply)
    assert error.get("status_code") == status
    assert error["error"]["message"] == message
    assert error["extra_fields"]["request_type"] == "responses"
    assert error["extra_fields"]["latency"] == 7
    assert error["extra_fields"]["routing_info"] == {"provider": "vllm", "model": "org/m", "key": "gpu-a"}


def test_an_answer_to_a_request_that_cannot_be_sent() -> None:
    reply = Reply(200, {}, json.dumps(completion({"content": "x"})).encode())
    outcome = responses.parse({"model": "m", "input": [], "params": {"background": True}}, reply, 0, CALL)
    assert not isinstance(outcome, Failure)
    assert outcome["output"] == [output_text("x")]
