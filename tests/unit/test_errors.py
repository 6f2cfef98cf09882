"""Every shape of error that servers send, and what becomes of it."""

from collections.abc import Mapping

import pytest

from translate import Call, errors
from translate.plan import CutKind, Failure
from transports.base import Cut, Reply

NO_HEADERS: Mapping[str, str] = {}


def failure(
    status: int | None, field: Mapping[str, object], is_bifrost_error: bool = False
) -> Mapping[str, object]:
    return {"is_bifrost_error": is_bifrost_error, "error": field} | (
        {} if status is None else {"status_code": status}
    )


@pytest.mark.parametrize(
    ("status", "body", "field"),
    [
        pytest.param(
            404,
            b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}',
            {
                "message": "The model `x` does not exist.",
                "type": "NotFoundError",
                "code": "404",
                "param": "model",
            },
            id="nested",
        ),
        pytest.param(
            400,
            b'{"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400}',
            {"message": "bad", "type": "BadRequestError", "code": "400"},
            id="flat, vLLM before 0.10",
        ),
        pytest.param(401, b'{"error":"Unauthorized"}', {"message": "Unauthorized"}, id="a text"),
        pytest.param(404, b'{"detail":"Not Found"}', {"message": "Not Found"}, id="detail as text"),
        pytest.param(
            422,
            b'{"detail":[{"loc":["body","messages",1,"role"],"msg":"Field required","type":"missing"}]}',
            {
                "message": "messages[1].role: Field required",
                "type": "invalid_request_error",
                "param": "messages[1].role",
                "error": '[{"loc":["body","messages",1,"role"],"msg":"Field required","type":"missing"}]',
            },
            id="detail as a list",
        ),
        pytest.param(500, b'{"message":"boom"}', {"message": "boom"}, id="a message alone"),
        pytest.param(
            503,
            b'{"error":{"message":" ","type":"Service Unavailable","code":503}}',
            {
                "message": "provider API error (status 503)",
                "type": "Service Unavailable",
                "code": "503",
                "error": '{"error":{"message":" ","type":"Service Unavailable","code":503}}',
            },
            id="a blank message",
        ),
        pytest.param(
            400,
            b'{"reason":"odd"}',
            {"message": "provider API error (status 400)", "error": '{"reason":"odd"}'},
            id="an object of another kind",
        ),
        pytest.param(
            502,
            b"<html><body><h1>Bad Gateway</h1></body></html>",
            {
                "message": "HTML response received from provider",
                "error": "<html><body><h1>Bad Gateway</h1></body></html>",
            },
            id="a web page",
        ),
        pytest.param(
            500, b"Internal Server Error", {"message": "provider API error: Internal Server Error"}, id="text"
        ),
        pytest.param(400, b'["no"]', {"message": 'provider API error: ["no"]'}, id="an array"),
        pytest.param(500, b"", {"message": "provider server error (500)"}, id="nothing, 500"),
        pytest.param(
            401,
            b"",
            {"message": "authentication failed: unauthorized (401) - check your API key"},
            id="nothing, 401",
        ),
        pytest.param(
            418,
            b" ",
            {"message": "empty response received from provider (HTTP 418)"},
            id="nothing, other status",
        ),
        pytest.param(
            400,
            b'{"error":{"message":"This model\'s maximum context length is 1024 tokens. However...","code":400}}',
            {
                "message": "This model's maximum context length is 1024 tokens. However...",
                "code": "context_length_exceeded",
            },
            id="the context is too long",
        ),
        pytest.param(
            400,
            b'{"error":{"message":{"a":1},"type":7,"code":true,"param":{"b":2}}}',
            {"message": '{"a":1}', "type": "7", "code": "true", "param": {"b": 2}},
            id="members of the wrong type",
        ),
        pytest.param(
            403,
            b'{"error":{"message":"key Bearer sk-abc123 refused at http://me:pw@host/"}}',
            {"message": "key Bearer *** refused at http://***@host/"},
            id="secrets are blotted out",
        ),
    ],
)
def test_an_error_status_keeps_what_its_body_said(
    status: int, body: bytes, field: Mapping[str, object]
) -> None:
    assert errors.from_reply(Reply(status, NO_HEADERS, body)).error == failure(status, field)


def test_a_status_that_is_no_error_becomes_502() -> None:
    outcome = errors.from_reply(Reply(204, NO_HEADERS)).error
    assert outcome == failure(502, {"message": "empty response received from provider (HTTP 204)"})


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": {"message": "m", "code": 404}}, 404),
        ({"error": {"message": "m", "code": "429"}}, 429),
        ({"error": {"message": "m", "code": 404}, "status_code": 503}, 503),
        ({"error": {"message": "m", "code": None}}, 502),
        ({"error": {"message": "m", "code": "CONTEXT"}}, 502),
        ({"error": {"message": "m", "code": 200}}, 502),
        ({"error": {"message": "m", "code": 10**30}}, 502),
        ({"error": "m"}, 502),
        ({"object": "error", "message": "m", "code": 400}, 400),
        ({"detail": "m"}, 502),
        ({"message": "m"}, 502),
        ({"error": {"message": "m"}, "choices": []}, 502),
        ({"error": ["m"]}, 502),
        ({"error": {"reason": "m"}}, 502),
        ({"error": None}, 502),
    ],
)
def test_a_200_that_holds_an_error(document: Mapping[str, object], status: int) -> None:
    outcome = errors.from_document(document, "choices")
    assert isinstance(outcome, Failure)
    assert outcome.error.get("status_code") == status
    assert outcome.error["error"]["message"] in {"m", '["m"]', "provider reported an error without a message"}


@pytest.mark.parametrize(
    "document",
    [
        {"choices": []},
        {"error": None, "choices": []},
        {"error": {}, "choices": []},
        {"error": "", "choices": []},
        {"message": "m", "detail": "d", "choices": []},
        {},
    ],
)
def test_a_200_that_holds_none(document: Mapping[str, object]) -> None:
    assert errors.from_document(document, "choices") is None


@pytest.mark.parametrize(
    ("kind", "status", "message", "error_type", "is_bifrost_error"),
    [
        (
            "connect",
            502,
            "network error occurred while connecting to provider API (DNS lookup, connection refused, etc.): why",
            "provider_connection_failed",
            False,
        ),
        (
            "read",
            502,
            "failed to execute HTTP request to provider API: why",
            "provider_connection_failed",
            False,
        ),
        ("timeout", 504, "request timed out: why", "request_timed_out", True),
        ("cancelled", 499, "request cancelled: why", "request_cancelled", True),
    ],
)
def test_cuts(kind: CutKind, status: int, message: str, error_type: str, is_bifrost_error: bool) -> None:
    outcome = errors.from_cut(Cut(kind, "why")).error
    assert outcome == failure(status, {"message": message, "type": error_type}, is_bifrost_error)


def test_a_stamped_failure_says_which_request_it_answers() -> None:
    call = Call("chat_completion", original_model="fast", routing_info={"key": "gpu-a"})
    stamped = errors.stamp(errors.invalid("no", "messages"), call, "org/m", latency=3)
    assert stamped.error == {
        "is_bifrost_error": False,
        "error": {"message": "no", "type": "invalid_request_error", "param": "messages"},
        "status_code": 400,
        "extra_fields": {
            "routing_info": {"provider": "vllm", "model": "org/m", "key": "gpu-a"},
            "provider": "vllm",
            "original_model_requested": "fast",
            "resolved_model_used": "org/m",
            "request_type": "chat_completion",
            "latency": 3,
        },
    }


def test_unsupported_operations_answer_as_bifrost_does() -> None:
    outcome = errors.unsupported("image_generation").error
    assert outcome == {
        "is_bifrost_error": False,
        "error": {
            "message": "image_generation is not supported by vllm provider",
            "code": "unsupported_operation",
        },
        "extra_fields": {"request_type": "image_generation", "provider": "vllm"},
    }
    assert errors.http_status(outcome) == 400


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (errors.missing_url(), 500),
        (errors.invalid("x"), 400),
        (errors.truncated(), 502),
        (errors.rejected("x", 301), 502),
        (errors.rejected("x", 599), 599),
    ],
)
def test_the_status_given_to_the_client(outcome: Failure, status: int) -> None:
    assert errors.http_status(outcome.error) == status


def test_long_texts_are_quoted_in_part() -> None:
    outcome = errors.rejected("x" * (errors.LONGEST_TEXT + 5), 500)
    assert outcome.error["error"]["message"] == "x" * errors.LONGEST_TEXT + "... (5 more characters)"
