"""routing.failures: what a failed request says of the key that was used."""

from typing import Any

import pytest

from routing.failures import (
    RATE_LIMIT_TEXTS,
    Failed,
    FailureClass,
    classify,
    ends_the_chain,
    is_rate_limit,
    reason,
    retry_after_s,
)
from routing.refusals import first_event_late
from translate import errors
from transports.base import Cut, Reply


def said(status: int | None, message: str = "", **more: object) -> Failed:
    """What a server answered."""
    error: dict[str, Any] = {"is_bifrost_error": False, "error": {"message": message, **more}}
    return Failed(error if status is None else {**error, "status_code": status})


CONTEXT = "This model's maximum context length is 1024 tokens."
UNKNOWN_MODEL = "The model `x` does not exist."


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        *(
            pytest.param(said(status, "boom"), "transient", id=str(status))
            for status in (500, 502, 503, 504, 529)
        ),
        pytest.param(said(401, "Unauthorized"), "credential", id="401"),
        pytest.param(said(403, "forbidden"), "credential", id="403"),
        pytest.param(said(402, "pay"), "quota", id="402"),
        pytest.param(said(429, "slow down"), "rate_limit", id="429"),
        pytest.param(
            said(429, "You exceeded your current quota", code="insufficient_quota"),
            "quota",
            id="429 of an exhausted account",
        ),
        pytest.param(said(500, "x", type="insufficient_quota"), "transient", id="500 stays transient"),
        pytest.param(
            said(503, "too many requests waiting"), "rate_limit", id="503 with a text of a rate limit"
        ),
        pytest.param(said(401, "rate limit"), "credential", id="401 with a text of a rate limit"),
        pytest.param(said(403, "rate limit"), "credential", id="403 with a text of a rate limit"),
        pytest.param(
            said(400, "bad", type="rate_limit_error"), "rate_limit", id="400 of a rate limit's type"
        ),
        pytest.param(
            said(400, "input: 'explain what a rate limit is'", type="BadRequestError"),
            "caller_fault",
            id="400 that quotes a request about rate limits",
        ),
        pytest.param(said(422, "limit exceeded"), "caller_fault", id="422 with a text of a rate limit"),
        pytest.param(
            said(404, UNKNOWN_MODEL, type="NotFoundError", code="404"), "model_access", id="vLLM's 404"
        ),
        pytest.param(said(404, "Model x not found"), "model_access", id="a 404 that names the model"),
        pytest.param(said(403, "no", code="model_not_found"), "model_access", id="403 of the model's code"),
        pytest.param(said(404, "The model x has been removed"), "model_gone", id="404 of a retired model"),
        pytest.param(said(410, "gone"), "model_gone", id="410"),
        pytest.param(said(404, "Not Found"), "unknown", id="404 of the route"),
        pytest.param(said(404, "resource not found (404)"), "unknown", id="404 without a body"),
        pytest.param(
            said(404, "no such file", param="file_id"), "caller_fault", id="404 of something else named"
        ),
        pytest.param(said(404, "no such file", param=["a"]), "caller_fault", id="404 with an odd param"),
        pytest.param(
            said(403, "no", code="unsupported_country_region_territory"),
            "region_blocked",
            id="a region block",
        ),
        *(
            pytest.param(said(status, "no"), "caller_fault", id=f"{status}")
            for status in (400, 409, 413, 415, 422)
        ),
        pytest.param(
            said(400, CONTEXT, type="BadRequestError", code="context_length_exceeded"),
            "caller_fault",
            id="a context that is too long",
        ),
        pytest.param(
            said(400, "empty response received from provider (HTTP 400)"), "unknown", id="400, empty"
        ),
        pytest.param(said(400, "HTML response received from provider"), "unknown", id="400, a web page"),
        pytest.param(said(400, "provider API error: nginx"), "unknown", id="400, not JSON"),
        pytest.param(said(400, "", type="BadRequestError"), "caller_fault", id="400 that says only its type"),
        pytest.param(said(400, "", code="400"), "caller_fault", id="400 that says only its code"),
        pytest.param(said(418, "teapot"), "unknown", id="418"),
        pytest.param(said(None, "no keys found"), "unknown", id="no status"),
        pytest.param(Failed({}), "unknown", id="an empty document"),
        pytest.param(
            Failed({"error": "text", "status_code": "500"}), "unknown", id="a document of another shape"
        ),
        pytest.param(Failed({"error": {"message": 5, "type": [], "code": {}}}), "unknown", id="odd members"),
        pytest.param(
            Failed({"is_bifrost_error": True, "status_code": 500, "error": {"message": "x"}}),
            "unknown",
            id="an error of our own",
        ),
        pytest.param(Failed(first_event_late(15)), "transient", id="a first event that did not come"),
        pytest.param(
            Failed(
                {"is_bifrost_error": True, "status_code": 504, "error": {"message": "x"}}, unreachable=True
            ),
            "transient",
            id="a connection that took too long",
        ),
    ],
)
def test_classes(failed: Failed, expected: FailureClass) -> None:
    assert classify(failed) == expected


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (Cut("connect", "connection refused"), "transient"),
        (Cut("read", "connection reset"), "transient"),
        (Cut("timeout", "no answer within 300 s"), "unknown"),
        (Cut("cancelled", "client left"), "cancelled"),
    ],
)
def test_a_broken_exchange_as_the_translators_tell_it(cut: Cut, expected: FailureClass) -> None:
    assert classify(Failed(errors.from_cut(cut).error)) == expected


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b'{"error":"Unauthorized"}', 401, "credential"),
        (
            b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}',
            404,
            "model_access",
        ),
        (b'{"detail":"Not Found"}', 404, "unknown"),
        (b"", 404, "unknown"),
        (b"", 503, "transient"),
        (b"<html><body>Bad Gateway</body></html>", 502, "transient"),
        (
            b'{"error":{"message":"max_tokens must be at least 1","type":"BadRequestError","code":400}}',
            400,
            "caller_fault",
        ),
        (b'{"detail":[{"loc":["body","n"],"msg":"must be an integer","type":"int"}]}', 422, "caller_fault"),
    ],
)
def test_a_refusal_as_the_translators_tell_it(body: bytes, status: int, expected: FailureClass) -> None:
    assert classify(Failed(errors.from_reply(Reply(status, {}, body)).error)) == expected


@pytest.mark.parametrize(
    ("status", "expected"), [(500, 500), ("500", None), (True, None), (500.0, None), (None, None)]
)
def test_a_status_is_an_integer(status: object, expected: int | None) -> None:
    assert Failed({"status_code": status}).status == expected


def test_a_client_that_left_shows_by_status_or_by_type() -> None:
    assert classify(said(499, "x")) == "cancelled"
    assert classify(said(500, "x", type="request_cancelled")) == "cancelled"
    assert classify(said(404, "I found no model")) == "unknown"


def test_a_stream_that_ended_before_its_first_event_is_the_servers_fault() -> None:
    assert classify(Failed(errors.empty_stream().error)) == "transient"
    assert classify(Failed(errors.truncated().error)) == "transient"
    assert classify(Failed(errors.unreadable("no choices").error)) == "unknown"


@pytest.mark.parametrize("text", RATE_LIMIT_TEXTS)
def test_texts_of_a_rate_limit(text: str) -> None:
    assert is_rate_limit(said(500, f"Sorry: {text.upper()}!"))
    assert is_rate_limit(said(None, "", type=text))
    assert is_rate_limit(said(None, "", code=text))


@pytest.mark.parametrize(
    "text", ["rate", "limit", "quota", "throttle", "", "the limit", "rates", "limits per se", "quotas"]
)
def test_words_that_are_no_rate_limit(text: str) -> None:
    assert not is_rate_limit(said(500, text))


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        pytest.param(said(400, "messages: field required", type="invalid_request_error"), True, id="400"),
        pytest.param(said(422, "unprocessable", type="invalid_request_error"), True, id="422"),
        pytest.param(said(413, "too large"), False, id="413 stays open to another server"),
        pytest.param(said(409, "conflict"), False, id="409"),
        pytest.param(Failed({"status_code": 400}), False, id="400 without a word"),
        pytest.param(said(400, "no", code="invalid_api_key"), False, id="400 that is a bad key"),
        pytest.param(said(429, "slow down"), False, id="429"),
        pytest.param(said(404, UNKNOWN_MODEL), False, id="404"),
        pytest.param(said(500, "boom"), False, id="500"),
    ],
)
def test_a_refusal_of_the_request_itself(failed: Failed, expected: bool) -> None:
    assert ends_the_chain(failed) is expected


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (said(401, "x"), "authentication_error"),
        (said(402, "x"), "billing_error"),
        (said(429, "x"), "rate_limit_error"),
        (said(404, UNKNOWN_MODEL), "model_access_error"),
        (said(410, "x"), "model_retired_error"),
        (said(403, "x", code="unsupported_country_region_territory"), "region_blocked_error"),
        (said(400, "x", type="BadRequestError"), "BadRequestError"),
        (said(500, "x"), "unknown"),
        (Failed(errors.from_cut(Cut("connect", "refused")).error), "provider_connection_failed"),
    ],
)
def test_the_reason_that_logs_tell(failed: Failed, expected: str) -> None:
    assert reason(failed, classify(failed)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3.0),
        (" 12 ", 12.0),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("1.5", None),
        ("-1", None),
        ("²", None),
        ("999999999", 999_999_999.0),
        ("9999999999", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value) == expected


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        pytest.param("Wed, 21 Oct 2026 07:30:00 GMT", NOW, 120.0, id="later"),
        pytest.param("Thu, 22 Oct 2026 07:28:00 GMT", NOW, 86_400.0, id="the next day"),
        pytest.param("Wednesday, 21-Oct-26 07:28:10 GMT", NOW, 10.0, id="RFC 850"),
        pytest.param("Wed Oct 21 07:28:10 2026", NOW, 10.0, id="asctime"),
        pytest.param("Wed, 21 Oct 2026 07:28:10 GMT", "Wed Oct 21 07:28:00 2026", 10.0, id="two forms"),
        pytest.param(NOW, NOW, 0.0, id="now"),
        pytest.param("Wed, 21 Oct 2026 07:00:00 GMT", NOW, 0.0, id="in the past"),
        pytest.param("Wed, 21 Oct 2026 07:30:00 GMT", None, None, id="a server without a clock"),
        pytest.param("Wed, 21 Oct 2026 07:30:00 GMT", "yesterday", None, id="a clock that cannot be read"),
        pytest.param("Wed, 21 Oct 2026 07:28:60 GMT", NOW, 59.0, id="a leap second"),
        pytest.param("Wed Oct  7 00:00:00 2026", "Tue, 06 Oct 2026 00:00:00 GMT", 86_400.0, id="a short day"),
        pytest.param(NOW, "Sunday, 06-Nov-94 08:49:37 GMT", 1_008_455_903.0, id="a year in two digits"),
        pytest.param("Wed, 31 Feb 2026 07:30:00 GMT", NOW, None, id="no such day"),
        pytest.param("Wed, 21 Okt 2026 07:30:00 GMT", NOW, None, id="no such month"),
        pytest.param("Wed, 21 Oct 2026 07:30:00 +0100", NOW, None, id="another zone, which HTTP has not"),
        pytest.param("soon", NOW, None, id="words"),
        pytest.param("5", NOW, 5.0, id="seconds need no clock"),
    ],
)
def test_retry_after_a_point_in_time(value: str, date: str | None, expected: float | None) -> None:
    assert retry_after_s(value, date) == expected
