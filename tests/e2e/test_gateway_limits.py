"""What the gateway refuses before it asks anybody, and how much it can bear."""

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator

import aiohttp
import pytest
import requests

from routing.config import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    DONE,
    HELLO,
    PATIENCE_S,
    Exchange,
    Upstream,
    chunk,
    delta,
    frame,
    reply,
    stream_head,
)

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"[]", "expected an object, got an array", id="an array"),
        pytest.param(b"null", "expected an object, got null", id="null"),
        pytest.param(b'"text"', "expected an object, got text", id="a text"),
        pytest.param(b'{"model":"vllm/m",', None, id="cut off"),
        pytest.param(b'{"temperature":NaN}', "NaN is not JSON", id="NaN"),
        pytest.param(b'{"a":"\xff"}', None, id="not UTF-8"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="too deep"),
        pytest.param(b"model=m", None, id="a form"),
    ],
)
def test_a_body_that_is_no_json_object(
    url: str, upstream: Upstream, http: requests.Session, body: bytes, reason: str | None
) -> None:
    answer = http.post(url + CHAT, data=body)
    assert answer.status_code == 400
    document = answer.json()
    if reason is None:
        reason = document["error"]["error"]
        assert reason
    assert document == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {"message": "Invalid request payload", "error": reason},
    }
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("document", "message", "param"),
    [
        pytest.param(
            {**ASK, "stream": "true"}, "stream must be true or false", "stream", id="stream is a text"
        ),
        pytest.param({**ASK, "stream": 1}, "stream must be true or false", "stream", id="stream is a number"),
        pytest.param({"messages": []}, "model is required", "model", id="no model"),
        pytest.param({**ASK, "model": 5}, "model must be text", "model", id="model is a number"),
        pytest.param(
            {"model": "vllm/m"}, "messages is required for chat completion", "messages", id="no messages"
        ),
    ],
)
def test_a_request_that_cannot_be_understood(
    url: str, upstream: Upstream, http: requests.Session, document: object, message: str, param: str
) -> None:
    answer = http.post(url + CHAT, json=document)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error == {"message": message, "type": "invalid_request_error", "param": param}
    assert upstream.seen == []


def in_pieces(body: bytes) -> Iterator[bytes]:
    yield body[:10]
    yield body[10:]


@pytest.fixture
def small(serve: Serve, upstream: Upstream) -> str:
    """The address of a gateway that takes bodies of up to 200 bytes."""
    return serve(Config((Key("k", "k", url=upstream.url, models=("*",)),), request_limit=200))


@pytest.mark.parametrize("coding", ["plain", "chunked", "gzip"])
def test_a_body_over_the_limit(small: str, upstream: Upstream, http: requests.Session, coding: str) -> None:
    body = json.dumps({**ASK, "user": "x" * 200}).encode()
    match coding:
        case "chunked":
            answer = http.post(small + CHAT, data=in_pieces(body))
        case "gzip":
            data = gzip.compress(body)
            assert len(data) < 200
            answer = http.post(small + CHAT, data=data, headers={"content-encoding": "gzip"})
        case _:
            answer = http.post(small + CHAT, data=body)
    assert answer.status_code == 413
    assert answer.json() == {
        "is_bifrost_error": False,
        "status_code": 413,
        "error": {
            "message": "request body exceeds max allowed size of 200 bytes",
            "type": "invalid_request_error",
        },
    }
    assert upstream.seen == []


def test_a_body_at_the_limit(small: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(reply(COMPLETION))
    body = json.dumps({**ASK, "user": ""}).encode()
    body = body.replace(b'"user": ""', b'"user": "%b"' % (b"x" * (200 - len(body))))
    assert len(body) == 200
    assert http.post(small + CHAT, data=body).status_code == 200


def test_a_compressed_body(url: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(reply(COMPLETION))
    data = gzip.compress(json.dumps(ASK).encode())
    assert http.post(url + CHAT, data=data, headers={"content-encoding": "gzip"}).status_code == 200
    assert upstream.request().document == {**ASK, "model": "m"}


def test_a_body_that_is_not_compressed_as_it_says(url: str, http: requests.Session) -> None:
    answer = http.post(url + CHAT, data=b"not gzip at all", headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.pop("error")
    assert error == {"message": "invalid compressed request body"}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "no such route: /"),
        ("POST", "/v1/chat/completion", 404, "no such route: /v1/chat/completion"),
        ("GET", f"{CHAT}/", 404, f"no such route: {CHAT}/"),
        ("GET", CHAT, 405, f"GET is not allowed for {CHAT}"),
        ("POST", "/v1/models", 405, "POST is not allowed for /v1/models"),
        ("DELETE", "/health", 405, "DELETE is not allowed for /health"),
    ],
)
def test_a_route_that_does_not_exist(
    url: str, http: requests.Session, method: str, path: str, status: int, message: str
) -> None:
    answer = http.request(method, url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "is_bifrost_error": False,
        "status_code": status,
        "error": {"message": message, "type": "invalid_request_error"},
    }
    allowed = {CHAT: "POST", "/v1/models": "GET", "/health": "GET,HEAD"}
    assert answer.headers.get("allow") == (allowed[path] if status == 405 else None)


def test_fifty_streams_at_once(url: str, upstream: Upstream) -> None:
    everybody = upstream.signal()

    async def script(exchange: Exchange) -> None:
        """Nobody gets an answer before all have asked, and nobody the second event before all have the first."""
        if len(upstream.seen) == 50:
            everybody.set()
        await everybody.happened()
        await exchange.send(stream_head())
        for payload in HELLO:
            await exchange.send(chunk(frame(payload)))
        await exchange.send(chunk(b""))

    async def ask(session: aiohttp.ClientSession) -> str:
        async with session.post(url + CHAT, json=ASK_STREAM) as answer:
            return await answer.text()

    async def ask_all() -> list[str]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(ask(session) for _ in range(50)))

    upstream.always_answers(script)
    bodies = asyncio.run(asyncio.wait_for(ask_all(), PATIENCE_S))
    assert [body.endswith("data: [DONE]\n\n") for body in bodies] == [True] * 50
    assert {body.count("\n\n") for body in bodies} == {5}
    assert upstream.connections == 50


def test_a_client_that_does_not_read_holds_the_server_back(url: str, upstream: Upstream) -> None:
    stalled = upstream.signal()
    text = "x" * 65_536

    async def script(exchange: Exchange) -> None:
        await exchange.send(stream_head())
        for _ in range(600):
            sending = asyncio.ensure_future(exchange.send(chunk(frame(delta(text)))))
            done, _pending = await asyncio.wait({sending}, timeout=0.3)
            if not done:
                stalled.set()
            await sending
        await exchange.send(chunk(frame(delta("", finish="stop"))) + chunk(frame(DONE)) + chunk(b""))

    upstream.answers(script)
    body = json.dumps(ASK_STREAM).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (CHAT.encode(), len(body), body)
        )
        stalled.wait()
        received = bytearray()
        while piece := client.recv(1 << 20):
            received += piece
    assert received.count(text.encode()) == 600
    assert b"data: [DONE]\n\n" in received[-100:]
