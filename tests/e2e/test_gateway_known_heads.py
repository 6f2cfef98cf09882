"""Requests that begin like earlier ones, which are not read anew."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

import gateway
from routing.access_log import Log
from routing.auth import Auth
from routing.request_heads import RequestHead
from routing.settings import Config, Key
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    PATIENCE_S,
    Exchange,
    LoopThread,
    Upstream,
    chunk,
    frame,
    reply,
    stream,
    stream_head,
)
from tests.e2e.test_gateway_framing import post
from tests.e2e.test_gateway_leaving import received
from tests.e2e.test_gateway_life_cycle import STOPPING


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The heads that are read: their methods."""
    read, seen = gateway.Gateway.read, []

    def noticed(self: gateway.Gateway, request: web.BaseRequest) -> RequestHead:
        seen.append(request.method)
        return read(self, request)

    monkeypatch.setattr(gateway.Gateway, "read", noticed)
    return seen


class Running:
    """A gateway, its port, and how to stop it."""

    def __init__(self, thread: LoopThread, config: Config) -> None:
        self.app = gateway.application(config)
        self._thread = thread
        self._server = gateway.listening(self.app, "127.0.0.1", 0, 0.01)
        self.port = thread.run(self._server.__aenter__())
        self._runs = True

    def stop(self) -> None:
        if self._runs:
            self._runs = False
            self._thread.run(self._server.__aexit__(None, None, None))

    def client(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)


def config(upstream: Upstream, **members: object) -> Config:
    return Config((Key("k", "k", url=upstream.url, models=("*",)),), **members)  # type: ignore[arg-type]


@pytest.fixture
def start(loop_thread: LoopThread) -> Iterator[Callable[[Config], Running]]:
    running: list[Running] = []

    def started(config: Config) -> Running:
        running.append(Running(loop_thread, config))
        return running[-1]

    yield started
    for one in running:
        one.stop()


def ask(document: object, *lines: bytes) -> bytes:
    body = json.dumps(document).encode()
    return post(*lines, b"Content-Length: %d" % len(body), body=body)


def answered(client: socket.socket) -> tuple[int, object]:
    """The status and the document of the next answer."""
    head, _, body = received(client, b"\r\n\r\n").partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(65_536)
    return int(head.split()[1]), json.loads(body)


def taught(running: Running, upstream: Upstream, *lines: bytes) -> None:
    upstream.answers(reply(COMPLETION))
    with running.client() as client:
        client.sendall(ask(ASK, *lines))
        assert answered(client)[0] == 200


def test_on_any_connection(start: Callable[[Config], Running], upstream: Upstream, reads: list[str]) -> None:
    running = start(config(upstream))
    taught(running, upstream)
    upstream.answers(reply(COMPLETION), reply(COMPLETION), stream(*HELLO), reply(COMPLETION))
    with running.client() as client:
        for content in ("hi", "hello " * 20):
            client.sendall(ask({**ASK, "messages": [{"role": "user", "content": content}]}))
            status, document = answered(client)
            assert (status, document["object"]) == (200, "chat.completion")  # type: ignore[index]
        client.sendall(ask(ASK_STREAM))
        assert received(client, b"0\r\n\r\n").endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        client.sendall(ask(ASK, b"X-Other: 1"))
        assert answered(client)[0] == 200
    assert reads == ["POST", "POST"]
    assert [len(seen.document["messages"][0]["content"]) for seen in upstream.seen[1:3]] == [2, 120]
    served = 'http_requests_total{method="POST",path="/v1/chat/completions",status="200"} 5.0'
    assert served in running.app[gateway.GATEWAY].metrics.text().decode()


@pytest.mark.parametrize("document", [ASK, ASK_STREAM])
def test_a_client_that_leaves(
    start: Callable[[Config], Running], upstream: Upstream, reads: list[str], document: object
) -> None:
    async def silence(exchange: Exchange) -> None:
        await exchange.client_left()

    running = start(config(upstream))
    taught(running, upstream)
    upstream.answers(silence)
    with running.client() as client:
        client.sendall(ask(document))
        seen = upstream.request(1)
    seen.left.wait()
    assert reads == ["POST"]


def test_a_gateway_that_stops(
    start: Callable[[Config], Running], upstream: Upstream, reads: list[str]
) -> None:
    async def begun(exchange: Exchange) -> None:
        if exchange.seen.document.get("stream"):
            await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await exchange.client_left()

    running = start(config(upstream))
    taught(running, upstream)
    upstream.answers(begun, begun)
    with running.client() as plain, running.client() as streamed, running.client() as idle:
        plain.sendall(ask(ASK))
        upstream.request(1)
        streamed.sendall(ask(ASK_STREAM))
        received(streamed, b"}\n\n")
        running.stop()
        assert answered(plain) == (503, STOPPING)
        rest = received(streamed, b"0\r\n\r\n")
        assert json.loads(rest.partition(b"data: ")[2].partition(b"\n\n")[0]) == STOPPING
        for client in (plain, streamed, idle):
            assert client.recv(1) == b""
    assert reads == ["POST"]


def test_another_configuration_understands_them_anew(
    start: Callable[[Config], Running], upstream: Upstream, loop_thread: LoopThread, reads: list[str]
) -> None:
    running = start(config(upstream))
    taught(running, upstream)

    async def reload() -> None:
        running.app[gateway.GATEWAY].configure(config(upstream, auth=Auth(("client-canary-2",))))

    upstream.answers(reply(COMPLETION), reply(COMPLETION))
    with running.client() as before:
        for _ in range(2):
            before.sendall(ask(ASK))
            assert answered(before)[0] == 200
        loop_thread.run(reload())
        before.sendall(ask(ASK))
        assert answered(before)[0] == 401
    for _ in range(2):
        with running.client() as client:
            client.sendall(ask(ASK))
            assert answered(client)[0] == 401
    assert reads == ["POST", "POST"]


def test_heads_whose_length_matters_are_always_read(
    start: Callable[[Config], Running], upstream: Upstream, reads: list[str]
) -> None:
    running = start(config(upstream, log=Log(headers=("content-length",))))
    for _ in range(2):
        taught(running, upstream)
    assert reads == ["POST", "POST"]
