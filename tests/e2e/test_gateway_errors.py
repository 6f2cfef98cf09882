"""What goes wrong, and how the client is told: one JSON shape, the right status, no secret."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from routing.config import Config, Key, Network
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    DONE,
    HELLO,
    Exchange,
    Script,
    Upstream,
    chunk,
    delta,
    frame,
    head,
    reply,
    stream,
    stream_head,
)

CHAT = "/v1/chat/completions"


def stamped(error: Mapping[str, object], request_type: str = "chat_completion") -> Mapping[str, object]:
    """The whole document of an error that a server's answer led to."""
    return {
        "is_bifrost_error": False,
        **error,
        "extra_fields": {
            "routing_info": {"provider": "vllm", "model": "m", "key": "k"},
            "provider": "vllm",
            "original_model_requested": "m",
            "resolved_model_used": "m",
            "request_type": request_type,
            "latency": 0,
        },
    }


def settled(document: Any) -> Any:
    fields = document["extra_fields"]
    return {**document, "extra_fields": {**fields, "latency": 0}}


def without_latency(document: Any) -> Any:
    return {**document, "extra_fields": {**document["extra_fields"], "latency": 0}}


SHAPES: list[Any] = [
    pytest.param(
        reply(
            {"error": {"message": "no such model", "type": "NotFoundError", "param": None, "code": 404}}, 404
        ),
        404,
        {"message": "no such model", "type": "NotFoundError", "code": "404"},
        id="nested, numeric code as text",
    ),
    pytest.param(
        reply(
            {"object": "error", "message": "bad", "type": "BadRequestError", "param": "x", "code": 400}, 400
        ),
        400,
        {"message": "bad", "type": "BadRequestError", "param": "x", "code": "400"},
        id="flat",
    ),
    pytest.param(reply({"error": "Unauthorized"}, 401), 401, {"message": "Unauthorized"}, id="a text"),
    pytest.param(reply({"detail": "Not Found"}, 404), 404, {"message": "Not Found"}, id="detail"),
    pytest.param(
        reply({"detail": [{"loc": ["body", "messages", 1], "msg": "wrong", "type": "t"}]}, 422),
        422,
        {
            "message": "messages[1]: wrong",
            "type": "invalid_request_error",
            "param": "messages[1]",
            "error": '[{"loc":["body","messages",1],"msg":"wrong","type":"t"}]',
        },
        id="a list of details",
    ),
    pytest.param(reply({"message": "so it is"}, 500), 500, {"message": "so it is"}, id="a message"),
    pytest.param(
        reply("<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html"),
        502,
        {
            "message": "HTML response received from provider",
            "error": "<html><body><h1>502 Bad Gateway</h1></body></html>",
        },
        id="HTML",
    ),
    pytest.param(
        reply("Internal Server Error", 500, "text/plain"),
        500,
        {"message": "provider API error: Internal Server Error"},
        id="plain text",
    ),
    pytest.param(reply(b"", 503), 503, {"message": "provider server error (503)"}, id="nothing"),
    pytest.param(
        reply({"error": {"message": "This model's maximum context length is 8 tokens.", "code": 400}}, 400),
        400,
        {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"},
        id="context overflow",
    ),
]


@pytest.mark.parametrize(("script", "status", "error"), SHAPES)
def test_an_error_keeps_its_status_and_all_that_it_said(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    script: Script,
    status: int,
    error: dict[str, object],
) -> None:
    upstream.answers(script, script)
    for ask, request_type in ((ASK, "chat_completion"), (ASK_STREAM, "chat_completion_stream")):
        answer = http.post(url + CHAT, json=ask)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert settled(answer.json()) == stamped({"status_code": status, "error": error}, request_type)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        pytest.param(
            {"object": "error", "message": "no image", "type": "BadRequestError", "param": None, "code": 400},
            400,
            {"message": "no image", "type": "BadRequestError", "code": "400"},
            id="flat",
        ),
        pytest.param(
            {"error": {"message": "busy", "code": "429"}},
            429,
            {"message": "busy", "code": "429"},
            id="digits",
        ),
        pytest.param({"error": "broken"}, 502, {"message": "broken"}, id="no status at all"),
    ],
)
def test_a_200_that_holds_an_error_is_an_error(
    url: str, upstream: Upstream, http: requests.Session, body: object, status: int, error: object
) -> None:
    upstream.answers(reply(body), reply(body))
    for ask, request_type in ((ASK, "chat_completion"), (ASK_STREAM, "chat_completion_stream")):
        answer = http.post(url + CHAT, json=ask)
        assert answer.status_code == status
        assert settled(answer.json()) == stamped({"status_code": status, "error": error}, request_type)


def test_an_error_as_first_event_is_a_plain_http_error(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    said = {"message": "queue is full", "type": "ServiceUnavailableError", "param": None, "code": 503}
    upstream.answers(stream({"error": said}, DONE, retry_after="7"))
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "7"
    error = {"message": "queue is full", "type": "ServiceUnavailableError", "code": "503"}
    assert without_latency(answer.json()) == stamped(
        {"status_code": 503, "error": error}, "chat_completion_stream"
    )


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        pytest.param([DONE], "provider ended the stream without sending any event", id="only [DONE]"),
        pytest.param([], "provider closed the stream before sending a completion marker", id="nothing"),
    ],
)
def test_a_stream_without_events_is_a_plain_http_error(
    url: str, upstream: Upstream, http: requests.Session, payloads: list[bytes], message: str
) -> None:
    upstream.answers(stream(*payloads))
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert answer.status_code == 502
    assert answer.json()["error"]["message"].startswith(message)


def test_a_stream_that_is_no_stream_is_an_error(url: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(reply("<html><body>login</body></html>", 200, "text/html"))
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert answer.status_code == 502
    assert answer.json()["error"]["message"].startswith("provider returned non-SSE response")


@pytest.mark.parametrize("status", [429, 503])
def test_overload_keeps_its_retry_after(
    url: str, upstream: Upstream, http: requests.Session, status: int
) -> None:
    script = reply(
        {"error": {"message": "full", "code": status}}, status, retry_after="3", connection="close"
    )
    upstream.answers(script, script)
    for ask in (ASK, ASK_STREAM):
        answer = http.post(url + CHAT, json=ask)
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "3")
        assert answer.headers.get("connection") is None
    assert len(upstream.seen) == 2


def last_of(answer: requests.Response) -> tuple[list[Any], Any]:
    """The events of a stream but the last, and the last."""
    assert answer.status_code == 200
    frames = answer.text.split("\n\n")
    assert frames.pop() == ""
    *payloads, last = [json.loads(text.removeprefix("data: ")) for text in frames]
    return payloads, last


def test_an_error_amid_a_stream_is_its_last_frame(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    said = {"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}
    upstream.answers(stream(*HELLO[:2], {"error": said}, DONE))
    payloads, last = last_of(http.post(url + CHAT, json=ASK_STREAM))
    assert len(payloads) == 2
    error = {"message": "engine died", "type": "InternalServerError", "code": "500"}
    expected = stamped({"status_code": 500, "error": error}, "chat_completion_stream")
    assert without_latency(last) == expected


@pytest.mark.parametrize("how", ["ended", "closed", "reset", "garbled"])
def test_a_stream_that_breaks_off_ends_with_an_error(
    url: str, upstream: Upstream, http: requests.Session, how: str
) -> None:
    delivered = upstream.signal()

    async def script(exchange: Exchange) -> None:
        await exchange.send(stream_head())
        for payload in HELLO[:2]:
            await exchange.send(chunk(frame(payload)))
        await delivered.happened()
        match how:
            case "ended":
                await exchange.send(chunk(b""))
            case "closed":
                exchange.hang_up()
            case "reset":
                exchange.reset()
            case _:
                await exchange.send(b"not a chunk size\r\n")
                exchange.hang_up()

    upstream.answers(script)
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        pieces = answer.iter_content(None)
        body = b""
        while body.count(b"\n\n") < 2:
            body += next(pieces)
        delivered.set()
        body += b"".join(pieces)
    last = json.loads(body.split(b"\n\n")[2].removeprefix(b"data: "))
    assert body.count(b"\n\n") == 3
    assert (last["status_code"], last["error"]["type"]) == (502, "provider_connection_failed")
    assert last["error"]["code"] == "stream_truncated"
    assert last["error"]["message"].startswith(
        "provider closed the stream before sending a completion marker"
    )


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_server_that_is_not_there(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    url = serve(Config((Key("k", "k", url="http://127.0.0.1:1", models=("*",)),)))
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code == 502
    document = answer.json()
    assert document["error"]["type"] == "provider_connection_failed"
    assert document["error"]["message"].startswith("network error occurred while connecting to provider API")
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_server_that_hangs_up_without_an_answer(
    url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    async def script(exchange: Exchange) -> None:
        exchange.hang_up()

    upstream.answers(script)
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "provider_connection_failed"
    assert len(upstream.seen) == 1  # the connection was new: not tried again


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_stale_connection_is_replaced_once_and_silently(
    url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    healthy = reply(COMPLETION) if ask is ASK else stream(*HELLO)

    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    upstream.answers(reply(COMPLETION), reset, healthy)
    assert http.post(url + CHAT, json=ASK).status_code == 200
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code == 200
    assert [seen.connection for seen in upstream.seen] == [1, 1, 2]
    assert upstream.seen[1].body == upstream.seen[2].body


def test_a_stale_connection_is_replaced_only_once(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    upstream.answers(reply(COMPLETION), reset, reset)
    assert http.post(url + CHAT, json=ASK).status_code == 200
    assert http.post(url + CHAT, json=ASK).status_code == 502
    assert len(upstream.seen) == 3


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_connection_that_breaks_within_the_answer_is_not_tried_again(
    url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length="100") + b"{")
        exchange.hang_up()

    upstream.answers(reply(COMPLETION), half)
    assert http.post(url + CHAT, json=ASK).status_code == 200
    assert http.post(url + CHAT, json=ask).status_code == 502
    assert len(upstream.seen) == 2


async def silence(exchange: Exchange) -> None:
    await exchange.client_left()


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_server_that_says_nothing_in_time(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    key = Key("k", "k", url=upstream.url, models=("*",))
    url = serve(Config((key,), network=Network(request_timeout_s=0.2)))
    upstream.answers(silence)
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "request_timed_out"
    upstream.request().left.wait()


def test_a_stream_that_falls_silent(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    async def stalled(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await exchange.client_left()

    key = Key("k", "k", url=upstream.url, models=("*",))
    url = serve(Config((key,), network=Network(stream_idle_timeout_s=0.1)))
    upstream.answers(stalled)
    payloads, last = last_of(http.post(url + CHAT, json=ASK_STREAM))
    assert len(payloads) == 1
    assert (last["status_code"], last["error"]["type"]) == (504, "request_timed_out")
    upstream.request().left.wait()


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_key_without_address_is_named_as_the_fault(
    serve: Serve, http: requests.Session, ask: dict[str, object]
) -> None:
    url = serve(Config((Key("k", "k", models=("*",)),)))
    for answer in (http.post(url + CHAT, json=ask), http.get(f"{url}/v1/models")):
        assert answer.status_code == 500
        document = answer.json()
        assert document["is_bifrost_error"] is True
        assert document["error"] == {"message": "no base URL configured: set vllm_key_config.url on the key"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vllm/x", "no keys found that support model: x"),
        ("x", "could not auto resolve a provider for the request, please specify a provider explicitly"),
    ],
)
def test_a_model_that_no_key_serves(serve: Serve, http: requests.Session, model: str, message: str) -> None:
    url = serve(Config((Key("k", "k", url="http://127.0.0.1:1", models=("m",)),)))
    answer = http.post(url + CHAT, json={**ASK, "model": model})
    assert answer.status_code == 400
    assert answer.json() == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {"message": message, "error": message},
        "extra_fields": {
            "routing_info": {"provider": "vllm", "model": "x"},
            "provider": "vllm",
            "original_model_requested": "x",
            "resolved_model_used": "x",
            "request_type": "chat_completion",
        },
    }


SECRET = "key-canary-1"  # the value of the key of the fixture


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
@pytest.mark.parametrize(
    "script",
    [
        reply({"error": {"message": f"bad key {SECRET}", "param": {SECRET: [SECRET]}}}, 401, x_echo=SECRET),
        reply({"error": {"message": "Authorization: Bearer x1y2z3 is wrong"}}, 401),
        reply(f"denied: Bearer {SECRET}", 403, "text/plain"),
        reply({"error": {"message": SECRET, "code": 400}}),
    ],
)
def test_no_secret_reaches_the_client(
    url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object], script: Script
) -> None:
    upstream.answers(script)
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code >= 400
    everything = f"{answer.text}{dict(answer.headers)}"
    assert SECRET not in everything
    assert "x1y2z3" not in everything
    assert "***" in answer.text


def test_no_secret_reaches_the_client_amid_a_stream(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(stream(delta("x"), {"error": {"message": f"the key {SECRET} has expired"}}))
    _, last = last_of(http.post(url + CHAT, json=ASK_STREAM))
    assert last["error"]["message"] == "the key *** has expired"


INSIDES = {
    "error": {"message": "Traceback (most recent call last): secret.py", "type": "InternalServerError"}
}


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_the_insides_of_a_server_are_no_clients_business(
    url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    upstream.answers(reply(INSIDES, 500), stream(*HELLO[:2], INSIDES))
    answer = http.post(url + CHAT, json=ask)
    assert answer.json()["error"] == {"message": "internal server error", "type": "InternalServerError"}
    amid = http.post(url + CHAT, json=ASK_STREAM).text.split("\n\n")[-2]
    told = json.loads(amid.removeprefix("data: "))["error"]
    assert (told["message"], told["type"]) == ("internal server error", "InternalServerError")
