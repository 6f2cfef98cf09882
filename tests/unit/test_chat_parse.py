"""What becomes of a whole answer."""

import json
from collections.abc import Mapping

import pytest

from translate import Call, Failure, chat
from transports.base import Cut, Reply

REQUEST: Mapping[str, object] = {
    "provider": "vllm",
    "model": "org/m",
    "input": [{"role": "user", "content": "hi"}],
}
CALL = Call("chat_completion", routing_info={"key": "gpu-a"})
JSON = {"content-type": "application/json"}


def parsed(document: object, status: int = 200, call: Call = CALL) -> Mapping[str, object] | Failure:
    return chat.parse(REQUEST, Reply(status, JSON, json.dumps(document).encode(), 7), 7, call)


def completion(message: object, **choice: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "org/m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None, **choice}],
    }


EXTRA = {
    "request_type": "chat_completion",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "org/m", "key": "gpu-a"},
    "original_model_requested": "org/m",
    "resolved_model_used": "org/m",
    "latency": 7,
    "chunk_index": 0,
}


def answer(message: object, notes: object = None, **choice: object) -> dict[str, object]:
    return {
        **completion(message, **choice),
        "system_fingerprint": "",
        "extra_fields": {**EXTRA, "translation_notes": notes} if notes else EXTRA,
    }


def test_a_whole_answer_of_vllm() -> None:
    upstream = completion(
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"a": 1}'}},
            ],
            "reasoning": "thinking",
        },
        finish_reason="tool_calls",
        stop_reason=None,
        token_ids=[1, 2],
    )
    upstream |= {
        "service_tier": None,
        "system_fingerprint": "fp",
        "usage": {
            "prompt_tokens": 20,
            "total_tokens": 30,
            "completion_tokens": 10,
            "prompt_tokens_details": {
                "cached_tokens": 16,
                "created_cache_tokens": 0,
                "multimodal_tokens": None,
            },
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        "prompt_logprobs": None,
        "prompt_token_ids": [3],
        "kv_transfer_params": None,
    }
    assert parsed(upstream) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "org/m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "reasoning": "thinking",
                    "reasoning_content": "thinking",
                    "reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "thinking"}],
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        },
                        {
                            "index": 1,
                            "id": "c2",
                            "type": "function",
                            "function": {"name": "g", "arguments": '{"a": 1}'},
                        },
                    ],
                },
                "finish_reason": "tool_calls",
                "logprobs": None,
                "token_ids": [1, 2],
            }
        ],
        "system_fingerprint": "fp",
        "usage": {
            "prompt_tokens": 20,
            "total_tokens": 30,
            "completion_tokens": 10,
            "prompt_tokens_details": {
                "cached_tokens": 16,
                "created_cache_tokens": 0,
                "cached_read_tokens": 16,
                "cache_write_tokens": 0,
            },
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        "prompt_token_ids": [3],
        "extra_fields": EXTRA,
    }


def thoughts(text: str) -> dict[str, object]:
    return {
        "reasoning": text,
        "reasoning_content": text,
        "reasoning_details": [{"index": 0, "type": "reasoning.text", "text": text}],
    }


@pytest.mark.parametrize(
    ("message", "normalised"),
    [
        pytest.param(
            {"role": "assistant", "content": "x", "tool_calls": []},
            {"role": "assistant", "content": "x"},
            id="no calls",
        ),
        pytest.param(
            {"role": "assistant", "content": "x", "reasoning_content": "t"},
            {"role": "assistant", "content": "x", **thoughts("t")},
            id="the older name",
        ),
        pytest.param(
            {"role": "assistant", "content": "", "reasoning": None},
            {"role": "assistant", "content": ""},
            id="empty is not null",
        ),
        pytest.param(
            {"role": "assistant", "new": {"a": None}},
            {"role": "assistant", "content": None, "new": {"a": None}},
            id="fields of tomorrow",
        ),
    ],
)
def test_messages(message: object, normalised: object) -> None:
    assert parsed(completion(message)) == answer(normalised)


def test_of_two_different_thoughts_the_newer_name_counts() -> None:
    outcome = parsed(
        completion({"role": "assistant", "content": "x", "reasoning": "a", "reasoning_content": "b"})
    )
    note = {
        "param": "choices[0].message.reasoning_content",
        "action": "dropped",
        "detail": "reasoning says something else",
    }
    assert outcome == answer({"role": "assistant", "content": "x", **thoughts("a")}, notes=[note])


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": "x"}])
def test_a_choice_without_a_message_is_no_answer(choice: object) -> None:
    outcome = parsed({"choices": [choice]})
    assert isinstance(outcome, Failure)
    assert outcome.error["error"] == {
        "message": "failed to unmarshal response from provider API",
        "error": "choices[0].message is missing",
    }


def test_calls_without_id_or_type_get_them() -> None:
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"function": {"name": "f", "arguments": {"b": 1, "a": 2}}},
            {"function": {"name": "g"}},
        ],
    }
    assert parsed(completion(message)) == answer(
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1_0_0",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"b":1,"a":2}'},
                },
                {
                    "index": 1,
                    "id": "call_1_0_1",
                    "type": "function",
                    "function": {"name": "g", "arguments": ""},
                },
            ],
        },
        notes=[
            {
                "param": "choices[0].message.tool_calls[0].function.arguments",
                "action": "converted",
                "detail": "a value became its JSON text",
            },
            *(
                {
                    "param": f"choices[0].message.tool_calls[{index}].{name}",
                    "action": "defaulted",
                    "detail": detail,
                }
                for index in (0, 1)
                for name, detail in (("id", "the server sent none"), ("type", "function"))
            ),
        ],
    )


def test_tool_calls_without_a_call_is_stop() -> None:
    outcome = parsed(completion({"role": "assistant", "content": "x"}, finish_reason="tool_calls"))
    assert outcome == answer(
        {"role": "assistant", "content": "x"},
        notes=[
            {
                "param": "choices[0].finish_reason",
                "action": "repaired",
                "detail": "tool_calls without a call became stop",
            }
        ],
    )


def test_notes_of_the_request_ride_on_the_answer() -> None:
    request = {**REQUEST, "params": {"max_tokens": 5}}
    body = json.dumps(completion({"role": "assistant", "content": "x"})).encode()
    outcome = chat.parse(request, Reply(200, JSON, body, 7), 7, CALL)
    assert outcome == answer(
        {"role": "assistant", "content": "x"},
        notes=[{"param": "max_tokens", "action": "renamed", "detail": "max_completion_tokens"}],
    )


def test_what_was_sent_and_received_comes_along_when_asked() -> None:
    call = Call("chat_completion", raw_request=True, raw_response=True)
    upstream = completion({"role": "assistant", "content": "x"})
    outcome = parsed(upstream, call=call)
    assert not isinstance(outcome, Failure)
    assert outcome["extra_fields"] == {
        **EXTRA,
        "routing_info": {"provider": "vllm", "model": "org/m"},
        "raw_request": {"model": "org/m", "messages": [{"role": "user", "content": "hi"}]},
        "raw_response": upstream,
    }


def failed(error: object, is_bifrost_error: bool = False, **more: object) -> dict[str, object]:
    fields = {name: EXTRA[name] for name in EXTRA if name != "chunk_index"}
    return {"is_bifrost_error": is_bifrost_error, "error": error, "extra_fields": fields, **more}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(
            Reply(200, JSON, b'{"error":{"code":404,"message":"The model `x` does not exist."}}'),
            failed({"message": "The model `x` does not exist.", "code": "404"}, status_code=404),
            id="200 that holds an error",
        ),
        pytest.param(
            Reply(
                503,
                JSON,
                b'{"error":{"message":"busy","type":"Service Unavailable","param":null,"code":503}}',
            ),
            failed({"message": "busy", "type": "Service Unavailable", "code": "503"}, status_code=503),
            id="an error status",
        ),
        pytest.param(
            Reply(200, JSON, b'{"choices":[]}'),
            failed(
                {
                    "message": "failed to unmarshal response from provider API",
                    "error": "choices is missing or empty",
                },
                is_bifrost_error=True,
            ),
            id="no choices",
        ),
        pytest.param(
            Reply(200, JSON, b"[]"),
            failed(
                {
                    "message": "failed to unmarshal response from provider API",
                    "error": "expected an object, got an array",
                },
                is_bifrost_error=True,
            ),
            id="not an object",
        ),
        pytest.param(
            Reply(200, JSON, b" "),
            failed({"message": "empty response received from provider"}, is_bifrost_error=True),
            id="nothing",
        ),
        pytest.param(
            Reply(200, {"content-type": "text/html"}, b"<p>hello"),
            failed({"message": "HTML response received from provider", "error": "<p>hello"}, status_code=502),
            id="a web page",
        ),
        pytest.param(
            Reply(0, {}, b"", 7, Cut("timeout", "first byte: no answer within 600 s")),
            failed(
                {
                    "message": "request timed out: first byte: no answer within 600 s",
                    "type": "request_timed_out",
                },
                is_bifrost_error=True,
                status_code=504,
            ),
            id="no answer",
        ),
        pytest.param(
            Reply(200, JSON, b'{"choi', 7, Cut("read", "the body ended early")),
            failed(
                {
                    "message": "failed to execute HTTP request to provider API: the body ended early",
                    "type": "provider_connection_failed",
                },
                status_code=502,
            ),
            id="half an answer",
        ),
    ],
)
def test_failures(reply: Reply, error: object) -> None:
    outcome = chat.parse(REQUEST, reply, 7, CALL)
    assert isinstance(outcome, Failure)
    assert outcome.error == error
