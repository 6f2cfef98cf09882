"""Clients that leave: their request to the server ends with them."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    PATIENCE_S,
    Exchange,
    Upstream,
    chunk,
    frame,
    head,
    reply,
    stream_head,
)

CHAT = "/v1/chat/completions"


@contextmanager
def asking(url: str, document: object) -> Iterator[socket.socket]:
    """A connection on which a chat was asked for."""
    body = json.dumps(document).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
        )
        yield client


def received(client: socket.socket, until: bytes) -> bytes:
    data = b""
    while until not in data:
        piece = client.recv(65_536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_before_the_server_has_answered(url: str, upstream: Upstream, ask: dict[str, object]) -> None:
    async def silence(exchange: Exchange) -> None:
        await exchange.client_left()

    upstream.answers(silence)
    with asking(url, ask):
        seen = upstream.request()
    seen.left.wait()


def test_within_the_answer(url: str, upstream: Upstream) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length="100") + b'{"id":')
        halfway.set()
        await exchange.client_left()

    halfway = upstream.signal()
    upstream.answers(half)
    with asking(url, ASK):
        halfway.wait()
    upstream.request().left.wait()


def test_amid_a_stream(url: str, upstream: Upstream) -> None:
    async def begun(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await exchange.client_left()

    upstream.answers(begun)
    with asking(url, ASK_STREAM) as client:
        assert b'"role":"assistant"' in received(client, b"}\n\n")
    upstream.request().left.wait()


def test_amid_a_stream_that_does_not_pause(url: str, upstream: Upstream) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(stream_head())
        try:
            while True:
                await exchange.send(chunk(frame(HELLO[1])))
        except ConnectionError:
            exchange.seen.left.set()
            raise

    upstream.answers(endless)
    with asking(url, ASK_STREAM) as client:
        received(client, b"}\n\n")
    upstream.request().left.wait()


def test_a_gateway_that_was_left_serves_the_next(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    async def silence(exchange: Exchange) -> None:
        await exchange.client_left()

    upstream.answers(silence, reply(COMPLETION))
    with asking(url, ASK):
        seen = upstream.request()
    seen.left.wait()
    assert http.post(url + CHAT, json=ASK).status_code == 200
