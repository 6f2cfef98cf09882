"""What only the transport over a plain session has: its way with a request, its clock, its pool."""

import asyncio
import socket
import ssl
import threading
from itertools import chain
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import example, given
from hypothesis import strategies as st

from tests.contract.libraries import (
    CERTIFICATE,
    LIBRARIES,
    LIMITS,
    Run,
    endpoint,
    happened,
    running,
    server_context,
)
from tests.contract.loopback import (
    GET,
    KEY,
    POST,
    WAIT_S,
    Body,
    Connection,
    Loopback,
    Plan,
    answering,
    head,
    wire,
)
from transports import (
    AiohttpTransport,
    Cut,
    Endpoint,
    PlainSession,
    Timeouts,
    aiohttp_transport,
    plain_session,
    reply_headers,
)

LARGE = Plan("POST", "/v1/x", Body("audio/wav", bytes(16 * 1024 * 1024) + b"end"))
MEDIUM = Plan("POST", "/v1/x", Body("audio/wav", bytes(1000 * 1024) + b"end"))
"""Small enough to be handed over at once."""


@pytest.fixture(params=sorted(name for name in LIBRARIES if "plain" in name))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on each event loop."""
    return running(LIBRARIES[request.param])


def connected(**options: Any) -> PlainSession:
    return PlainSession(aiohttp.TCPConnector(**options))


def narrow(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that takes little at once."""
    sock = socket.socket(*address[:3])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return sock


def silent(connection: Connection) -> None:
    connection.request()
    connection.until_closed()


def test_tls_with_a_certificate_that_is_trusted(run: Run) -> None:
    body = b"abc" * 99_999

    async def test() -> None:
        async with connected(ssl=ssl.create_default_context(cafile=CERTIFICATE)) as session:
            for host in ("127.0.0.1", "localhost"):
                address = server.url.replace("127.0.0.1", host)
                transport = AiohttpTransport(session, Endpoint(address, timeouts=LIMITS))
                for _ in range(2):
                    assert (await transport.send(POST)).body == body
        assert server.connections == 2

    with Loopback(answering(wire(body)), tls=server_context()) as server:
        run(test)


def test_ipv6(run: Run) -> None:
    async def test() -> None:
        async with connected() as session:
            assert (await AiohttpTransport(session, endpoint(server)).send(POST)).body == b"abc"
        assert server.requests[0].headers["host"] == server.url.removeprefix("http://")

    with Loopback(answering(wire(b"abc")), host="::1") as server:
        run(test)


def test_a_request_says_what_it_must_and_the_endpoint_the_rest(run: Run) -> None:
    theirs = {
        "Content-Length": "9", "TRANSFER-ENCODING": "chunked", "connection": "upgrade", "Upgrade": "x", "TE": "x",
        "Host": "virtual.example", "User-Agent": "mine", "accept": "text/plain", "X-Mine": "1", "X-%s": "%d",
    }  # fmt: skip

    async def test() -> None:
        async with connected() as session:
            await AiohttpTransport(session, Endpoint(server.url + "/p?q#f", timeouts=LIMITS)).send(GET)
            await AiohttpTransport(session, endpoint(server, headers=theirs)).send(POST)
            await AiohttpTransport(session, endpoint(server)).send(Plan("POST", "/v1/%d%2F#f", None))

    with Loopback(answering(wire(b""))) as server:
        run(test)
    own = {
        "accept-encoding": "gzip, deflate",
        "content-type": "application/json",
        "user-agent": "bifrost-vllm",
    }
    plain, with_theirs, without_body = server.requests
    assert (plain.target, plain.headers) == (
        "/p?q",
        own | {"accept": "*/*", "host": server.url.removeprefix("http://")},
    )
    assert with_theirs.headers == own | {
        "accept": "text/plain", "host": "virtual.example", "user-agent": "mine", "x-mine": "1", "x-%s": "%d",
        "content-length": "13", "authorization": f"Bearer {KEY}",
    }  # fmt: skip
    del own["content-type"]
    assert (without_body.target, without_body.headers) == (
        "/v1/%d%2F",
        own
        | {
            "accept": "*/*", "host": server.url.removeprefix("http://"), "content-length": "0",
            "authorization": f"Bearer {KEY}",
        },
    )  # fmt: skip


def test_a_connector_that_keeps_no_connection_says_so(run: Run) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(wire(b"abc"))
        connection.until_closed()

    async def test() -> None:
        async with connected(force_close=True) as session:
            transport = AiohttpTransport(session, endpoint(server))
            assert [(await transport.send(POST)).body for _ in range(2)] == [b"abc"] * 2

    with Loopback(script) as server:
        run(test)
        assert server.connections == 2
    assert [request.headers["connection"] for request in server.requests] == ["close"] * 2
    assert [request.body for request in server.requests] == [b'{"model":"m"}'] * 2


def test_the_answer_to_head_has_no_body(run: Run) -> None:
    async def test() -> None:
        async with connected() as session:
            transport = AiohttpTransport(session, endpoint(server))
            for _ in range(2):
                reply = await transport.send(Plan("HEAD", "/x", None))
                assert reply[:3] == (200, {"content-length": "9"}, b"")
                assert reply.cut is None
        assert server.connections == 1

    with Loopback(answering(head("Content-Length: 9"))) as server:
        run(test)


def test_interim_answers_are_passed_over(run: Run) -> None:
    async def test() -> None:
        async with connected() as session:
            reply = await AiohttpTransport(session, endpoint(server)).send(POST)
            assert (reply.status, reply.body) == (200, b"abc")

    early = head(status="100 Continue") + head("Link: </x>", status="103 Early Hints")
    with Loopback(answering(early + wire(b"abc"))) as server:
        run(test)


def test_a_change_of_protocol_is_an_answer_without_a_body(run: Run) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Upgrade: x", "Connection: Upgrade", status="101 Switching Protocols") + b"xyz")
        connection.until_closed()

    async def test() -> None:
        async with connected() as session:
            reply = await AiohttpTransport(session, endpoint(server)).send(POST)
            assert (reply.status, reply.body, reply.cut) == (101, b"", None)
            assert await happened(server.client_closed)

    with Loopback(script) as server:
        run(test)


def test_an_answer_that_nobody_asked_for_is_nobodys(run: Run) -> None:
    told = threading.Event()
    scripts = [answering(wire(b"second"))]

    def spoils(connection: Connection) -> None:
        connection.request()
        connection.send(wire(b"first"))
        assert told.wait(WAIT_S)
        connection.send(wire(b"late", status="408 Request Timeout"))
        connection.until_closed()

    def script(connection: Connection) -> None:
        scripts.pop()(connection)

    scripts.append(spoils)

    async def test() -> None:
        async with connected() as session:
            transport = AiohttpTransport(session, endpoint(server))
            assert (await transport.send(POST)).body == b"first"
            (((protocol, _),),) = session._connector._conns.values()
            told.set()
            while not len(protocol):
                assert protocol.is_connected()
                await asyncio.sleep(0.001)
            assert (await transport.send(POST)).body == b"second"
            assert await happened(server.client_closed)

    with Loopback(script) as server:
        run(test)
        assert server.connections == 2


class TestLimits:
    """One timer serves all."""

    def test_each_request_has_its_own(self, run: Run) -> None:
        async def ask(session: PlainSession, **limits: float) -> Cut | None:
            timeouts = Timeouts(**{"first_byte_s": 20.0, **limits})
            return (await AiohttpTransport(session, endpoint(server, timeouts=timeouts)).send(POST)).cut

        async def test() -> None:
            async with connected() as session:
                async with asyncio.TaskGroup() as group:
                    first = group.create_task(ask(session, first_byte_s=0.2))
                    second = group.create_task(ask(session, first_byte_s=0.1))
                    third = group.create_task(ask(session, total_s=0.3))
                assert first.result() == Cut("timeout", "first byte: no answer within 0.2 s", "first byte")
                assert second.result() == Cut("timeout", "first byte: no answer within 0.1 s", "first byte")
                assert third.result() == Cut("timeout", "total: not complete within 0.3 s", "total")

        with Loopback(silent) as server:
            run(test)

    def test_the_total_holds_while_others_have_all_connections(self, run: Run) -> None:
        async def test() -> None:
            async with connected(limit=1) as session:
                timeouts = Timeouts(connect_s=0.1, first_byte_s=20, total_s=0.2)
                transport = AiohttpTransport(session, endpoint(server))
                async with transport.stream(POST):
                    hurried = AiohttpTransport(session, endpoint(server, timeouts=timeouts))
                    reply = await hurried.send(POST)
                    assert reply.cut == Cut("timeout", "total: not complete within 0.2 s", "total")

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(head("Content-Length: 9"))
            connection.until_closed()

        with Loopback(script) as server:
            run(test)
            assert server.connections == 1

    @pytest.mark.parametrize("plan", [MEDIUM, LARGE], ids=["medium", "large"])
    def test_the_first_byte_is_not_due_before_all_is_sent(self, run: Run, plan: Plan) -> None:
        pause = threading.Event()

        def script(connection: Connection) -> None:
            connection._receive()
            pause.wait(0.3)
            while not connection._buffer.endswith(b"end") and connection._receive():
                pass
            connection.send(wire(b"fine"))
            connection.until_closed()

        async def test() -> None:
            async with connected(socket_factory=narrow) as session:
                timeouts = Timeouts(first_byte_s=0.2)
                reply = await AiohttpTransport(session, endpoint(server, timeouts=timeouts)).send(plan)
                assert (reply.body, reply.cut) == (b"fine", None)

        with Loopback(script) as server:
            run(test)

    def test_without_limits_an_answer_may_take_its_time(self, run: Run) -> None:
        async def test() -> None:
            async with connected() as session:
                none = Timeouts(None, None, None, None)
                assert (
                    await AiohttpTransport(session, endpoint(server, timeouts=none)).send(POST)
                ).body == b"abc"
                assert session._timer is None

        with Loopback(answering(wire(b"abc"))) as server:
            run(test)


def test_closing_it_cuts_what_is_under_way(run: Run) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Content-Length: 9") + b"abc")
        connection.until_closed()

    async def test() -> None:
        session = connected()
        transport = AiohttpTransport(session, endpoint(server))
        async with transport.stream(POST) as (_, pieces):
            assert (await anext(pieces)).data == b"abc"
            await session.close()
            cut = (await anext(pieces)).cut
            assert cut is not None
            assert cut.kind == "read"
        assert session.closed
        with pytest.raises(RuntimeError, match="the session is closed"):
            await transport.send(POST)
        assert await happened(server.client_closed)

    with Loopback(script) as server:
        run(test)


def test_it_remembers_no_more_than_so_many_servers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_session, "_MOST_ORIGINS", 2)

    async def test() -> None:
        async with connected() as session:
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"):
                address = server.url.replace("127.0.0.1", host)
                await AiohttpTransport(session, Endpoint(address, timeouts=LIMITS)).send(POST)
                assert len(session._openers) <= 2

    with Loopback(answering(wire(b"abc"))) as server:
        run(test)


class TestWhatAiohttpHas:
    """The names of aiohttp that it does not document."""

    def test_the_installed_one_has_it_all(self) -> None:
        assert PlainSession.is_supported()

    @pytest.mark.parametrize("name", ["read", "writing_paused", "set_response_params", "set_exception"])
    def test_without_a_name_it_says_so(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        (owner,) = [each for each in ResponseHandler.__mro__ if name in vars(each)][:1]
        monkeypatch.delattr(owner, name)
        shadowed = [each for each in ResponseHandler.__mro__ if name in vars(each)]
        for each in shadowed:
            monkeypatch.delattr(each, name)
        assert not PlainSession.is_supported()

    def test_with_another_signature_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aiohttp.BaseConnector, "connect", lambda self, request: None)
        assert not PlainSession.is_supported()

    def test_a_body_is_whole_without_a_look_into_the_buffer(self) -> None:
        content = SimpleNamespace(
            is_eof=lambda: True, exception=lambda: None, total_bytes=3, read_nowait=lambda: b"abc"
        )
        answer: Any = SimpleNamespace(content=content, connection=None)
        assert aiohttp_transport._whole(answer, {"content-length": "3"}, 9) == b"abc"
        content._buffer = [b"a", b"b"]
        assert aiohttp_transport._whole(answer, {"content-length": "3"}, 9) == b"abc"
        content._buffer = [b"x", b"yz"]
        assert aiohttp_transport._whole(answer, {"content-length": "3"}, 9) == b"xyz"


NAMES = st.sampled_from([b"Date", b"X-One", b"x-one", b"\xc0", b"A\nB", b""])
VALUES = st.binary(max_size=6) | st.sampled_from([b" a ", b"a\r\n b", b"a\n", b"\r", b"\xa0a\x85"])


@given(raw=st.lists(st.tuples(NAMES, VALUES), max_size=5))
@example(raw=[])
@example(raw=[(b"", b"")])
@example(raw=[(b"a\nb", b"c"), (b"d", b"e")])
def test_headers_are_read_the_same_in_one_go(raw: list[tuple[bytes, bytes]]) -> None:
    answer: Any = SimpleNamespace(raw_headers=tuple(raw))
    latin = [tuple(text.decode("latin-1") for text in pair) for pair in raw]
    expected = reply_headers([(name, value) for name, value in latin])
    seen = aiohttp_transport._headers(answer)
    assert list(seen.items()) == list(expected.items())
    assert set(chain.from_iterable(seen.items())) == set(chain.from_iterable(expected.items()))
