"""What only the transport over httptools has: its pool, its way with a request, its second try."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

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
from transports import ConnectionPool, Cut, Endpoint, HttptoolsTransport, Reply, Timeouts

NO_ANSWER = Cut("read", "the server closed the connection without an answer")
LARGE = Plan("POST", "/v1/x", Body("audio/wav", bytes(16 * 1024 * 1024)))


@pytest.fixture(params=sorted(name for name in LIBRARIES if "httptools" in name))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test on each event loop."""
    return running(LIBRARIES[request.param])


def test_tls_with_a_certificate_that_is_trusted(run: Run) -> None:
    body = b"abc" * 99_999

    async def test() -> None:
        async with ConnectionPool(ssl.create_default_context(cafile=CERTIFICATE)) as pool:
            for host in ("127.0.0.1", "localhost"):
                address = server.url.replace("127.0.0.1", host)
                transport = HttptoolsTransport(pool, Endpoint(address, timeouts=LIMITS))
                for _ in range(2):
                    assert (await transport.send(POST)).body == body
                async with transport.stream(POST) as (_, pieces):
                    assert b"".join([piece.data async for piece in pieces]) == body
        assert server.connections == 2

    with Loopback(answering(wire(body)), tls=server_context()) as server:
        run(test)


def test_ipv6(run: Run) -> None:
    async def test() -> None:
        async with ConnectionPool() as pool:
            assert (await HttptoolsTransport(pool, endpoint(server)).send(POST)).body == b"abc"
        assert server.requests[0].headers["host"] == server.url.removeprefix("http://")

    with Loopback(answering(wire(b"abc")), host="::1") as server:
        run(test)


def test_a_request_says_what_it_must_and_the_endpoint_the_rest(run: Run) -> None:
    theirs = {
        "Content-Length": "9", "TRANSFER-ENCODING": "chunked", "connection": "upgrade", "Upgrade": "x", "TE": "x",
        "Host": "virtual.example", "User-Agent": "mine", "accept": "text/plain", "X-Mine": "1",
    }  # fmt: skip

    async def test() -> None:
        async with ConnectionPool() as pool:
            await HttptoolsTransport(pool, Endpoint(server.url + "/p?q#f", timeouts=LIMITS)).send(GET)
            await HttptoolsTransport(pool, endpoint(server, headers=theirs)).send(POST)
            await HttptoolsTransport(pool, endpoint(server)).send(Plan("POST", "/v1/x#f", None))
            escaped = endpoint(server, api_key="", headers={"X-%s": "%d", "Te%": "", "Authorization": "mine"})
            for value in ("%d", "%%"):
                escaped = replace(escaped, headers={**escaped.headers, "X-%s": value})
                await HttptoolsTransport(pool, escaped).send(Plan("POST", "/v1/%d%2F", Body("a/%s", b"{}")))

    with Loopback(answering(wire(b""))) as server:
        run(test)
    own = {
        "accept-encoding": "gzip, deflate",
        "content-type": "application/json",
        "user-agent": "bifrost-vllm",
    }
    authorized = {"authorization": f"Bearer {KEY}"}
    plain, with_theirs, without_body, *escaped = server.requests
    assert (plain.target, plain.headers) == (
        "/p?q",
        own | {"accept": "*/*", "host": server.url.removeprefix("http://")},
    )
    assert with_theirs.headers == own | authorized | {
        "accept": "text/plain", "host": "virtual.example", "user-agent": "mine", "x-mine": "1", "content-length": "13",
    }  # fmt: skip
    del own["content-type"]
    assert (without_body.target, without_body.headers) == (
        "/v1/x",
        own
        | authorized
        | {"accept": "*/*", "host": server.url.removeprefix("http://"), "content-length": "0"},
    )
    for request, value in zip(escaped, ("%d", "%%"), strict=True):
        assert (request.target, request.headers) == (
            "/v1/%d%2F",
            own
            | {
                "accept": "*/*", "host": server.url.removeprefix("http://"), "content-length": "2",
                "content-type": "a/%s", "x-%s": value, "te%": "", "authorization": "mine",
            },
        )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "path", "detail"),
    [
        ("http://127.0.0.1:1", "v1/x", "the address is not valid"),
        ("http://127.0.0.1:1", "@127.0.0.2/", "the address is not valid"),
        ("http://127.0.0.1:1", "/v1/\r\nX: y", "the address is not valid"),
        (f"http://{'a' * 64}.example", "/v1/x", "host name not found"),
    ],
)
def test_an_address_that_cannot_be_asked(run: Run, url: str, path: str, detail: str) -> None:
    async def test() -> None:
        async with ConnectionPool() as pool:
            reply = await HttptoolsTransport(pool, Endpoint(url)).send(Plan("GET", path, None))
            assert reply.cut == Cut("connect", detail)

    run(test)


def test_the_answer_to_head_has_no_body(run: Run) -> None:
    async def test() -> None:
        async with ConnectionPool() as pool:
            reply = await HttptoolsTransport(pool, endpoint(server)).send(Plan("HEAD", "/x", None))
            assert reply[:3] == (200, {"content-length": "9"}, b"")
            assert reply.cut is None

    with Loopback(answering(head("Content-Length: 9"))) as server:
        run(test)


def test_a_small_write_is_not_held_back(run: Run) -> None:
    """Nagle's algorithm would cost 40 ms a request."""

    async def test() -> None:
        async with ConnectionPool() as pool:
            await HttptoolsTransport(pool, endpoint(server)).send(POST)
            (connection,) = pool._open
            sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with Loopback(answering(wire(b""))) as server:
        run(test)


class TestThePool:
    def test_an_idle_connection_is_closed_in_time(self, run: Run) -> None:
        async def test() -> None:
            async with ConnectionPool(idle_s=0.05) as pool:
                transport = HttptoolsTransport(pool, endpoint(server))
                for expected in (1, 2):
                    assert (await transport.send(POST)).cut is None
                    assert await happened(server.client_closed)
                    server.client_closed.clear()
                    assert server.connections == expected

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(wire(b""))
            connection.until_closed()

        with Loopback(script) as server:
            run(test)

    def test_connections_of_a_burst_are_all_closed_in_time(self, run: Run) -> None:
        everyone = threading.Barrier(9)
        left = threading.Semaphore(0)

        def script(connection: Connection) -> None:
            connection.request()
            everyone.wait(WAIT_S)
            connection.send(wire(b""))
            connection.until_closed()
            left.release()

        async def test() -> None:
            async with ConnectionPool(idle_s=0.05) as pool:
                transport = HttptoolsTransport(pool, endpoint(server))
                replies = await asyncio.gather(*(transport.send(POST) for _ in range(9)))
                assert [reply.cut for reply in replies] == [None] * 9
                for _ in range(9):
                    assert await asyncio.to_thread(left.acquire, timeout=WAIT_S)
                assert not pool._open

        with Loopback(script) as server:
            run(test)

    def test_what_the_server_closed_or_spoke_into_is_not_used_again(self, run: Run) -> None:
        """Closed in peace, reset, and an answer that nobody asked for."""
        told = threading.Semaphore(0)
        ends: list[Callable[[Connection], None]] = [
            lambda connection: None,
            Connection.reset,
            lambda connection: connection.send(wire(b"late", status="408 Request Timeout")),
        ]

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(wire(b"abc"))
            assert told.acquire(timeout=WAIT_S)
            if ends:
                ends.pop(0)(connection)

        async def test() -> None:
            async with ConnectionPool() as pool:
                transport = HttptoolsTransport(pool, endpoint(server))
                for expected in range(1, 5):
                    assert (await transport.send(POST)).body == b"abc"
                    assert server.connections == expected
                    (connection,) = pool._open
                    told.release()
                    while not connection.lost:  # noqa: ASYNC110 - a connection has no event for it
                        await asyncio.sleep(0.001)

        with Loopback(script) as server:
            run(test)

    def test_more_than_an_answer_is_not_taken_for_the_next(self, run: Run) -> None:
        async def test() -> None:
            async with ConnectionPool() as pool:
                transport = HttptoolsTransport(pool, endpoint(server))
                for expected in (1, 2):
                    assert (await transport.send(POST))[:3:2] == (200, b"abc")
                    assert server.connections == expected

        with Loopback(answering(wire(b"abc") + wire(b"surplus", status="404 No"))) as server:
            run(test)

    def test_closing_it_cuts_what_is_under_way(self, run: Run) -> None:
        async def test() -> None:
            pool = ConnectionPool()
            transport = HttptoolsTransport(pool, endpoint(server))
            async with transport.stream(POST) as (_, pieces):
                assert (await anext(pieces)).data == b"abc"
                await pool.close()
                assert (await anext(pieces)).cut == Cut("read", "the body ended early")
            assert pool.closed
            with pytest.raises(RuntimeError, match="the pool is closed"):
                await transport.send(POST)
            assert await happened(server.client_closed)

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(head("Content-Length: 9") + b"abc")
            connection.until_closed()

        with Loopback(script) as server:
            run(test)


def once(connection: Connection) -> None:
    """Answers one request, and closes the connection on the next one."""
    connection.request()
    connection.send(wire(b"first"))
    connection.request()


def once_then_reset(connection: Connection) -> None:
    once(connection)
    connection.reset()


def once_and_a_bit(connection: Connection) -> None:
    once(connection)
    connection.send(b"HTTP/1.1 2")


def once_then_silent(connection: Connection) -> None:
    once(connection)
    connection.until_closed()


fine = answering(wire(b"fine"))
FINE = Reply(200, {"content-length": "4"}, b"fine")
STALE = {
    "closed": ([once, fine], True, FINE),
    "reset": ([once_then_reset, fine], True, FINE),
    "closed on the second try, too": ([once, Connection.request], True, Reply(0, {}, cut=NO_ANSWER)),
    "closed after some bytes": ([once_and_a_bit], True, Reply(0, {}, cut=NO_ANSWER)),
    "silent": (
        [once_then_silent],
        True,
        Reply(0, {}, cut=Cut("timeout", "first byte: no answer within 0.2 s", "first byte")),
    ),
    "not to be sent twice": ([once], False, Reply(0, {}, cut=NO_ANSWER)),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["send", "stream"])
@pytest.mark.parametrize(("scripts", "resend", "expected"), STALE.values(), ids=STALE)
def test_a_request_into_a_stale_connection_is_sent_once_more_if_so_wished(
    run: Run,
    streaming: bool,
    scripts: Sequence[Callable[[Connection], object]],
    resend: bool,
    expected: Reply,
) -> None:
    waiting = list(scripts)

    async def test() -> None:
        async with ConnectionPool() as pool:
            timeouts = Timeouts(first_byte_s=0.2 if once_then_silent in scripts else 20)
            transport = HttptoolsTransport(pool, endpoint(server, timeouts=timeouts), resend_stale=resend)
            assert (await transport.send(POST)).body == b"first"
            if streaming:
                async with transport.stream(POST) as (start, pieces):
                    reply = start._replace(body=b"".join([piece.data async for piece in pieces]))
            else:
                reply = await transport.send(POST)
            assert reply._replace(elapsed_ms=0) == expected

    def script(connection: Connection) -> None:
        waiting.pop(0)(connection)

    with Loopback(script) as server:
        run(test)
        assert server.connections == len(scripts)


def test_a_server_that_takes_its_time_to_close_may_have_done_the_work(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.httptools_transport._STALE_S", 0.0)

    async def test() -> None:
        async with ConnectionPool() as pool:
            transport = HttptoolsTransport(pool, endpoint(server), resend_stale=True)
            assert (await transport.send(POST)).body == b"first"
            assert (await transport.send(POST)).cut == NO_ANSWER

    with Loopback(once) as server:
        run(test)
        assert server.connections == 1


class TestUploads:
    """Requests that are larger than what a socket takes at once."""

    def test_a_server_that_stops_reading_is_a_cut(self, run: Run) -> None:
        over = threading.Event()

        def script(connection: Connection) -> None:
            connection._receive()
            assert over.wait(WAIT_S)

        async def test() -> None:
            async with ConnectionPool() as pool:
                timeouts = Timeouts(first_byte_s=0.2)
                reply = await HttptoolsTransport(pool, endpoint(server, timeouts=timeouts)).send(LARGE)
                assert reply.cut == Cut("timeout", "sending: request not taken within 0.2 s", "sending")
            over.set()

        with Loopback(script) as server:
            run(test)

    def test_a_reset_while_a_request_is_sent_is_a_cut(self, run: Run) -> None:
        def script(connection: Connection) -> None:
            connection._receive()
            connection.reset()

        async def test() -> None:
            async with ConnectionPool() as pool:
                reply = await HttptoolsTransport(pool, endpoint(server)).send(LARGE)
                assert reply == Reply(0, {}, b"", reply.elapsed_ms, Cut("read", "connection reset"))

        with Loopback(script) as server:
            run(test)

    def test_cancelling_it_closes(self, run: Run) -> None:
        begun = threading.Event()
        over = threading.Event()

        def script(connection: Connection) -> None:
            connection._receive()
            begun.set()
            assert over.wait(WAIT_S)
            connection.until_closed()

        async def test() -> None:
            async with ConnectionPool() as pool:
                task = asyncio.create_task(HttptoolsTransport(pool, endpoint(server)).send(LARGE))
                assert await happened(begun)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                over.set()
                assert await happened(server.client_closed)
                assert not pool._open

        with Loopback(script) as server:
            run(test)


def test_cancelling_a_tls_handshake_closes(run: Run) -> None:
    def script(connection: Connection) -> None:
        assert connection._receive()
        greeted.set()
        connection.until_closed()

    greeted = threading.Event()

    async def test() -> None:
        async with ConnectionPool() as pool:
            transport = HttptoolsTransport(pool, Endpoint(server.url.replace("http:", "https:")))
            task = asyncio.create_task(transport.send(POST))
            assert await happened(greeted)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await happened(server.client_closed)

    with Loopback(script) as server:
        run(test)


def test_cancelling_the_rest_of_a_body_closes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.httptools_transport.DRAIN_S", WAIT_S)

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Transfer-Encoding: chunked"))
        connection.chunk(b"data: [DONE]\n\n")
        connection.until_closed()

    async def test() -> None:
        async with (
            ConnectionPool() as pool,
            HttptoolsTransport(pool, endpoint(server)).stream(POST) as stream,
        ):
            await anext(stream.pieces)
            finishing: Any = stream.pieces
            task = asyncio.create_task(finishing.finish())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await happened(server.client_closed)

    with Loopback(script) as server:
        run(test)


def test_a_body_that_nobody_reads_waits_at_the_server(run: Run) -> None:
    """Reading pauses while there is much to be read, and goes on when it has been read."""
    total = 64 * 1024 * 1024

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head(f"Content-Length: {total}"))
        for _ in range(64):
            connection.send(bytes(total // 64))

    async def test() -> None:
        async with (
            ConnectionPool() as pool,
            HttptoolsTransport(pool, endpoint(server)).stream(POST) as stream,
        ):
            connection = next(iter(pool._open))
            largest = size = 0
            while not connection._paused:  # noqa: ASYNC110 - a connection has no event for it
                await asyncio.sleep(0.001)
            async for piece in stream.pieces:
                largest, size = max(largest, len(piece.data)), size + len(piece.data)
                await asyncio.sleep(0)
            assert size == total
            assert largest <= 1024 * 1024

    with Loopback(script) as server:
        run(test)


def test_nothing_prints_what_a_request_holds(run: Run) -> None:
    async def test() -> None:
        async with ConnectionPool() as pool:
            transport = HttptoolsTransport(pool, endpoint(server))
            streaming = transport.stream(POST)
            async with streaming as stream:
                told = repr([transport, streaming, stream.pieces, pool, *pool._open])
            assert KEY not in told
            assert "127.0.0.1" not in told

    with Loopback(answering(wire(b"abc"))) as server:
        run(test)
