"""Embeddings: what is sent, and what becomes of the vectors."""

import json
from collections.abc import Mapping

import pytest

from translate import Call, Document, Failure, documents, embeddings
from transports.base import Reply

CALL = Call("embedding")
VERBATIM = Call("embedding", verbatim=True)
EXTRA = {
    "request_type": "embedding",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "org/m"},
    "original_model_requested": "org/m",
    "resolved_model_used": "org/m",
    "latency": 7,
    "chunk_index": 0,
}


def sent(flat: Mapping[str, object]) -> object:
    request = embeddings.from_flat({"model": "vllm/org/m", **flat})
    assert not isinstance(request, Failure)
    plan = embeddings.plan(request, CALL)
    if isinstance(plan, Failure):
        return plan.error["error"]
    assert plan.body is not None
    assert plan[:2] == ("POST", "/v1/embeddings")
    return json.loads(plan.body.data)


@pytest.mark.parametrize("source", ["a", "", ["a", "b"], [1, 2], [[1, 2], [3]]], ids=json.dumps)
def test_an_input_is_sent_as_it_is(source: object) -> None:
    assert sent({"input": source}) == {"model": "org/m", "input": source}


def test_every_parameter_is_sent() -> None:
    flat = {
        "input": "a", "encoding_format": "float", "dimensions": 5, "user": "u", "truncate_prompt_tokens": -1,
        "embed_dtype": "float16", "priority": 3, "normalize": False,
    }  # fmt: skip
    assert sent(flat) == {"model": "org/m", **flat}


def test_a_conversation_needs_no_input() -> None:
    assert sent({"messages": [{"role": "user", "content": "a"}]}) == {
        "model": "org/m",
        "messages": [{"role": "user", "content": "a"}],
    }


@pytest.mark.parametrize(
    ("flat", "message", "param"),
    [
        ({}, "input is required for embeddings", "input"),
        ({"input": []}, "input is required for embeddings", "input"),
        ({"input": 5}, "input must be text or an array", "input"),
        ({"input": {"a": 1}}, "input must be text or an array", "input"),
        (
            {"input": "a", "encoding_format": "bytes"},
            "encoding_format bytes cannot be answered in JSON",
            "encoding_format",
        ),
    ],
)
def test_what_cannot_be_sent(flat: Mapping[str, object], message: str, param: str) -> None:
    assert sent(flat) == {"message": message, "type": "invalid_request_error", "param": param}


def parsed(body: bytes, params: Mapping[str, object] | None = None, call: Call = CALL) -> Document | Failure:
    request = {"model": "org/m", "input": ["a"], "params": params or {}}
    return embeddings.parse(request, Reply(200, {"content-type": "application/json"}, body, 7), 7, call)


def rows(answer: Document | Failure) -> object:
    """The rows as a client reads them."""
    assert not isinstance(answer, Failure)
    data = documents.encode(answer["data"])
    assert isinstance(data, bytes)
    return json.loads(data)


def notes(answer: Document | Failure) -> object:
    assert not isinstance(answer, Failure)
    fields = answer["extra_fields"]
    assert isinstance(fields, dict)
    return fields.get("translation_notes")


ANSWER = (
    b'{"id":"embd-1","object":"list","created":5,"model":"up/m","data":['
    b'{"index":0,"object":"embedding","embedding":[0.10,-1E-5,1.0000000000000000001]}],'
    b'"usage":{"prompt_tokens":2,"total_tokens":2,"completion_tokens":0,"prompt_tokens_details":null}}'
)


@pytest.mark.parametrize("call", [CALL, VERBATIM], ids=["lists", "verbatim"])
def test_a_whole_answer_to_the_last_digit(call: Call) -> None:
    answer = parsed(ANSWER, call=call)
    expected = (
        b'{"object":"list","data":[{"index":0,"object":"embedding",'
        b'"embedding":[0.10,-1E-5,1.0000000000000000001]}],"model":"up/m","id":"embd-1","created":5,'
        b'"usage":{"prompt_tokens":2,"total_tokens":2,"completion_tokens":0},"extra_fields":'
    )
    assert documents.encode(answer) == expected + json.dumps(EXTRA, separators=(",", ":")).encode() + b"}"


def test_a_library_gets_plain_lists() -> None:
    answer = parsed(ANSWER)
    assert not isinstance(answer, Failure)
    assert answer["data"] == [{"index": 0, "object": "embedding", "embedding": [0.1, -1e-05, 1.0]}]


@pytest.mark.parametrize("call", [CALL, VERBATIM], ids=["lists", "verbatim"])
def test_vectors_come_in_the_order_of_the_inputs(call: Call) -> None:
    body = b'{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[[0],[2]],"more":1.50}]}'
    assert rows(parsed(body, call=call)) == [
        {"index": 0, "object": "embedding", "embedding": [[0], [2]], "more": 1.5},
        {"index": 1, "object": "embedding", "embedding": [1]},
    ]


NUMBERS = b'{"data":[{"index":0,"embedding":[1.0,-2.5]}]}'
BASE64 = b'{"data":[{"index":0,"embedding":"AACAPwAAIMA="}]}'


@pytest.mark.parametrize("call", [CALL, VERBATIM], ids=["lists", "verbatim"])
@pytest.mark.parametrize(
    ("asked", "body", "embedding", "note"),
    [
        ("float", NUMBERS, [1.0, -2.5], None),
        ("base64", BASE64, "AACAPwAAIMA=", None),
        ("base64", NUMBERS, "AACAPwAAIMA=", "the server did not answer in base64"),
        ("float", BASE64, [1.0, -2.5], "the server did not answer in float"),
        (None, BASE64, [1.0, -2.5], "the server did not answer in float"),
    ],
)
def test_vectors_come_in_the_form_that_was_asked_for(
    asked: str | None, body: bytes, embedding: object, note: str | None, call: Call
) -> None:
    answer = parsed(body, {"encoding_format": asked} if asked else {}, call)
    assert rows(answer) == [{"index": 0, "object": "embedding", "embedding": embedding}]
    assert notes(answer) == (
        [{"param": "data[].embedding", "action": "converted", "detail": note}] if note is not None else None
    )


@pytest.mark.parametrize(
    ("asked", "embedding"),
    [
        ("float", "AAA="),
        ("float", "no!"),
        ("base64", [1e300]),
        ("base64", [[1.0]]),
        ("base64", ["x"]),
        ("base64", {}),
    ],
)
def test_a_vector_that_has_no_other_form_stays_as_it_came(asked: str, embedding: object) -> None:
    body = json.dumps({"data": [{"index": 0, "embedding": embedding}]}).encode()
    answer = parsed(body, {"encoding_format": asked}, VERBATIM)
    assert rows(answer) == [{"index": 0, "object": "embedding", "embedding": embedding}]
    assert notes(answer) == [
        {
            "param": "data[].embedding",
            "action": "repaired",
            "detail": f"left as it came: it cannot become {asked}",
        }
    ]


def test_numbers_of_another_width_are_not_converted() -> None:
    answer = parsed(BASE64, {"encoding_format": "float", "embed_dtype": "float16"})
    assert rows(answer) == [{"index": 0, "object": "embedding", "embedding": "AACAPwAAIMA="}]
    assert notes(answer) is None


@pytest.mark.parametrize("call", [CALL, VERBATIM], ids=["lists", "verbatim"])
def test_what_is_not_a_number_becomes_null(call: Call) -> None:
    body = b'{"data":[{"index":0,"embedding":[NaN,1]}]}'
    assert rows(parsed(body, call=call)) == [{"index": 0, "object": "embedding", "embedding": [None, 1]}]


@pytest.mark.parametrize("call", [CALL, VERBATIM], ids=["lists", "verbatim"])
@pytest.mark.parametrize(
    ("body", "status", "message", "cause"),
    [
        (b'{"error":{"message":"no","code":400}}', 400, "no", None),
        (b'{"object":"error","message":"no","code":400}', 400, "no", None),
        (b'{"error":{"message":"no"},"data":[]}', 502, "no", None),
        (b"{}", None, "failed to unmarshal response from provider API", "data is missing"),
        (b'{"data":{}}', None, "failed to unmarshal response from provider API", "data is missing"),
        (
            b'{"data":[[]]}',
            None,
            "failed to unmarshal response from provider API",
            "data[0].embedding is missing",
        ),
        (
            b'{"data":[{"embedding":null}]}',
            None,
            "failed to unmarshal response from provider API",
            "data[0].embedding is missing",
        ),
    ],
)
def test_answers_that_are_errors(
    body: bytes, status: int | None, message: str, cause: str | None, call: Call
) -> None:
    outcome = parsed(body, call=call)
    assert isinstance(outcome, Failure)
    error = outcome.error
    assert (error.get("status_code"), error["error"]["message"], error["error"].get("error")) == (
        status,
        message,
        cause,
    )
