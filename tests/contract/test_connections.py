"""What becomes of connections: used again after a whole answer, closed at once after any other."""

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.contract.libraries import LIBRARIES, LIMITS, Library, within
from tests.contract.loopback import (
    GET,
    KEY,
    POST,
    WAIT_S,
    AsyncClient,
    BlockingClient,
    Client,
    Connect,
    Connection,
    Loopback,
    Made,
    Plan,
    answering,
    head,
    requests_client,
    streamed,
    wire,
)
from transports import (
    AiohttpTransport,
    AsyncTransport,
    ConnectionPool,
    Cut,
    Endpoint,
    HttptoolsTransport,
    RequestsTransport,
)

DONE = b"data: [DONE]\n\n"


class UntilDone:
    """A fold whose events are its bytes, and that has ended after ``[DONE]``."""

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self.ended = False
        self._on_end = on_end

    def feed(self, data: bytes, at_ms: int = 0) -> list[bytes]:
        if DONE in data:
            self.ended = True
            self._on_end()
        return [data]

    def close(self, at_ms: int = 0, cut: Cut | None = None) -> list[bytes]:
        return []


def test_a_connection_is_used_again_after_a_whole_answer(connect: Connect) -> None:
    with Loopback(answering(wire(b"abc"))) as server:
        client = connect(server.url)
        assert [client.send(POST).body, streamed(client, POST).body, client.send(GET).body] == [b"abc"] * 3
        assert server.connections == 1


def test_a_connection_is_used_again_when_the_fold_ended_before_the_body(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("requests_transport", "aiohttp_transport", "httptools_transport"):
        monkeypatch.setattr(f"transports.{module}.DRAIN_S", WAIT_S)  # for machines that are slow
    ended = threading.Event()

    def script(connection: Connection) -> None:
        while connection.request():
            connection.send(head("Transfer-Encoding: chunked"))
            connection.chunk(DONE)
            assert ended.wait(WAIT_S)
            connection.chunk(b"")

    with Loopback(script) as server:
        client = connect(server.url)
        for _ in range(3):
            ended.clear()
            with client.stream(POST) as stream:
                assert client.fold(stream, UntilDone(ended.set)) == [DONE]
        assert len(server.requests) == 3
        assert server.connections == 1


ENDLESS = {
    "silent": lambda connection: None,
    "more than the drain takes": lambda connection: connection.chunk(b": ping\n\n" * 40_000),
}


@pytest.mark.parametrize("more", ENDLESS.values(), ids=ENDLESS)
def test_a_body_that_does_not_end_after_done_is_given_up(
    connect: Connect, more: Callable[[Connection], None]
) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Transfer-Encoding: chunked"))
        connection.chunk(DONE)
        try:
            more(connection)
        finally:
            connection.until_closed()

    with Loopback(script) as server:
        client = connect(server.url)
        with client.stream(POST) as stream:
            assert client.fold(stream, UntilDone())[0].startswith(DONE[:5])
            assert server.client_closed.wait(WAIT_S)
            assert list(stream.pieces) == []


def endless(connection: Connection) -> None:
    """Two events, and then nothing; waits for the client to leave."""
    connection.request()
    connection.send(head("Transfer-Encoding: chunked"))
    connection.chunk(b"data: 1\n\n")
    connection.until_closed()


def test_leaving_a_stream_early_closes_its_connection(connect: Connect) -> None:
    with Loopback(endless) as server:
        client = connect(server.url)
        with client.stream(POST) as (_, pieces):
            next(pieces)
            assert not server.client_closed.is_set()
        assert server.client_closed.wait(WAIT_S)
        assert list(pieces) == []


def test_leaving_a_stream_unread_closes_its_connection(connect: Connect) -> None:
    with Loopback(endless) as server:
        client = connect(server.url)
        with client.stream(POST):
            pass
        assert server.client_closed.wait(WAIT_S)


def test_a_whole_answer_that_nobody_reads_does_not_come_with_the_next(connect: Connect) -> None:
    answers = [wire(b"unread"), wire(b"fine")]

    def script(connection: Connection) -> None:
        while connection.request():
            connection.send(answers.pop(0))

    with Loopback(script) as server:
        client = connect(server.url)
        with client.stream(POST) as (reply, _):
            assert reply.status == 200
        assert client.send(POST).body == b"fine"
        assert len(server.requests) == 2


def small_pool(library: str, endpoint: Endpoint) -> Client:
    """A client that has no more than two connections, and waits for one."""
    if library == "requests":
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", HTTPAdapter(pool_maxsize=2, pool_block=True))
        return BlockingClient(RequestsTransport(session, endpoint), session)

    def make() -> Made:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2))
        return session, AiohttpTransport(session, endpoint)

    return AsyncClient(make)


@pytest.mark.parametrize("library", ["aiohttp", "requests"])
def test_a_hundred_streams_left_early_do_not_use_up_the_pool(library: str) -> None:
    with Loopback(endless) as server:
        client = small_pool(library, Endpoint(server.url, timeouts=LIMITS))
        for _ in range(100):
            with client.stream(POST) as (_, pieces):
                next(pieces)
        client.close()
        assert server.connections == 100


def leave_with(error: Exception, client: Client) -> None:
    with client.stream(POST) as (_, pieces):
        next(pieces)
        raise error


def test_an_error_of_the_reader_passes_through_and_closes(connect: Connect) -> None:
    for error in (aiohttp.ClientConnectionResetError("theirs"), requests.ConnectionError("theirs")):
        with Loopback(endless) as server:
            client = connect(server.url)
            with pytest.raises(type(error)) as raised:
                leave_with(error, client)
            assert raised.value is error
            assert server.client_closed.wait(WAIT_S)


def test_a_session_serves_on_after_every_trouble(connect: Connect) -> None:
    scripts = [Connection.reset, endless, answering(wire(b"fine"))]

    def script(connection: Connection) -> None:
        scripts.pop(0)(connection)

    with Loopback(script) as server:
        client = connect(server.url)
        assert client.send(POST).cut is not None
        with client.stream(POST) as (_, pieces):
            next(pieces)
        assert client.send(POST).body == b"fine"


@pytest.mark.parametrize("plan", [GET, POST], ids=["GET", "POST"])
def test_a_stale_connection_is_a_cut_and_not_a_second_try(connect: Connect, plan: Plan) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(wire(b"abc"))
        connection.request()

    with Loopback(script) as server:
        client = connect(server.url)
        assert client.send(plan).body == b"abc"
        reply = client.send(plan)
        assert reply.cut == Cut("read", "the server closed the connection without an answer")
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_an_overloaded_server_is_asked_once(connect: Connect, status: str) -> None:
    with Loopback(answering(wire(b"", "Retry-After: 0", status=status))) as server:
        assert connect(server.url).send(POST).headers["retry-after"] == "0"
        assert len(server.requests) == 1


def test_each_transport_prints_without_its_endpoint() -> None:
    endpoint = Endpoint("http://secret.example", KEY, {"X-Secret": "secret"})

    async def shown() -> list[str]:
        async with aiohttp.ClientSession() as session, ConnectionPool() as pool:
            return [repr(AiohttpTransport(session, endpoint)), repr(HttptoolsTransport(pool, endpoint))]

    for text in (
        *asyncio.run(shown()),
        repr(RequestsTransport(requests.Session(), endpoint)),
        repr(endpoint),
    ):
        assert KEY not in text
        assert "secret" not in text


def test_cookies_of_the_session_go_along() -> None:
    with Loopback(answering(wire(b"", "Set-Cookie: server=7; Path=/"))) as server:
        client = requests_client(Endpoint(server.url))
        client.send(POST)
        client.send(POST)
        client.close()
    assert [request.headers.get("cookie") for request in server.requests] == [None, "server=7"]


MakeWith = Callable[[Endpoint, bool, dict[str, str]], Client]


class TestCredentials:
    """Who may say who we are."""

    @pytest.fixture(autouse=True)
    def _netrc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login someone password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

    @pytest.fixture(params=["aiohttp", "requests"])
    def session_with(self, request: pytest.FixtureRequest) -> MakeWith:
        """Makes a client whose session reads ``.netrc``, or has headers of its own."""

        def client(endpoint: Endpoint, netrc: bool, headers: dict[str, str]) -> Client:
            if request.param == "requests":
                session = requests.Session()
                session.trust_env = netrc
                session.headers.update(headers)
                return BlockingClient(RequestsTransport(session, endpoint), session)

            def make() -> Made:
                session = aiohttp.ClientSession(trust_env=netrc, headers=headers)
                return session, AiohttpTransport(session, endpoint)

            return AsyncClient(make)

        return client

    @pytest.mark.parametrize(
        ("netrc", "headers"), [(True, {}), (False, {"Authorization": "Bearer no"})], ids=["netrc", "headers"]
    )
    def test_a_sessions_credentials_neither_add_to_the_key_nor_replace_it(
        self, session_with: MakeWith, netrc: bool, headers: dict[str, str]
    ) -> None:
        with Loopback(answering(wire(b""))) as server:
            for key in ("", KEY):
                client = session_with(Endpoint(server.url, key), netrc, headers)
                assert client.send(POST).cut is None
                client.close()
        without, with_key = (request.headers.get("authorization") for request in server.requests)
        assert (without, with_key) == (None, f"Bearer {KEY}")

    def test_credentials_in_the_address_or_the_session_are_not_sent(self, connect: Connect) -> None:
        with Loopback(answering(wire(b""))) as server:
            address = server.url.replace("//", "//user:word@")
            connect(address, api_key="").send(POST)
            connect(address).send(POST)
        without, with_key = (request.headers.get("authorization") for request in server.requests)
        assert (without, with_key) == (None, f"Bearer {KEY}")

    def test_the_endpoints_headers_do_not_replace_the_transports(self, connect: Connect) -> None:
        headers = {"authorization": "Bearer no", "content-TYPE": "text/no", "accept": "no/no", "X-Mine": "1"}
        with Loopback(answering(wire(b""))) as server:
            streamed(connect(server.url, headers=headers), POST)
        sent = server.requests[0].headers
        assert sent["authorization"] == f"Bearer {KEY}"
        assert sent["content-type"] == "application/json"
        assert sent["accept"] == "text/event-stream"
        assert sent["x-mine"] == "1"


class TestOnlyAsync:
    """What has no blocking counterpart."""

    def test_a_path_is_not_spelled_anew(self, library: Library) -> None:
        """requests does that before it has a say: %41 becomes A."""

        async def asked(server: Loopback, transport: AsyncTransport) -> None:
            await transport.send(POST._replace(path="/v1/%41%2fb?x=%7E"))
            server.client_closed.set()

        with Loopback(answering(wire(b""))) as server:
            within(library, server, asked)
        (request,) = server.requests
        assert request.target == "/v1/%41%2fb?x=%7E"

    def test_cancelling_a_call_propagates_and_closes(self, library: Library) -> None:
        async def cancelled(server: Loopback, transport: AsyncTransport) -> None:
            task = asyncio.create_task(transport.send(POST))
            await asyncio.to_thread(server.requested.wait, WAIT_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        def script(connection: Connection) -> None:
            connection.request()
            connection.until_closed()

        with Loopback(script) as server:
            within(library, server, cancelled)

    def test_cancelling_the_wait_for_a_piece_propagates_and_closes(self, library: Library) -> None:
        async def cancelled(server: Loopback, transport: AsyncTransport) -> None:
            first = asyncio.Event()

            async def read() -> None:
                async with transport.stream(POST) as (_, pieces):
                    async for _ in pieces:
                        first.set()

            task = asyncio.create_task(read())
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with Loopback(endless) as server:
            within(library, server, cancelled)

    def test_a_limit_of_the_caller_is_the_callers(self, library: Library) -> None:
        async def limited(server: Loopback, transport: AsyncTransport) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await transport.send(POST)

        with Loopback(endless) as server:
            within(library, server, limited)

    def test_105_streams_at_once_all_get_their_headers(self, library: Library) -> None:
        everyone = threading.Barrier(105)

        def script(connection: Connection) -> None:
            connection.request()
            everyone.wait(WAIT_S)
            connection.send(wire(b"abc"))

        async def crowd(url: str) -> list[int]:
            async with library.opened(Endpoint(url, timeouts=LIMITS)) as (_, transport):

                async def one() -> int:
                    async with transport.stream(POST) as (reply, _):
                        return reply.status

                return await asyncio.gather(*(one() for _ in range(105)))

        with Loopback(script) as server, asyncio.Runner(loop_factory=library.loop_factory) as runner:
            assert runner.run(crowd(server.url)) == [200] * 105

    def test_what_came_before_a_break_is_read_after_it(self, library: Library) -> None:
        confirmed = threading.Event()

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(head("Content-Length: 99") + b"first")
            assert confirmed.wait(WAIT_S)
            connection.send(b", second")

        async def late(server: Loopback, transport: AsyncTransport) -> None:
            async with transport.stream(POST) as (_, pieces):
                got = [await anext(pieces)]
                confirmed.set()
                has_broken = library.noticed(pieces)
                while not has_broken():  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0.001)
                got += [piece async for piece in pieces]
            assert [piece.data for piece in got] == [b"first", b", second", b""]
            assert got[-1].cut == Cut("read", "the body ended early")
            server.client_closed.set()

        with Loopback(script) as server:
            within(library, server, late)

    def test_a_connection_reset_in_the_pool_is_no_news(self, library: Library) -> None:
        confirmed, read = threading.Event(), threading.Event()

        def script(connection: Connection) -> None:
            connection.request()
            connection.send(head("Transfer-Encoding: chunked"))
            connection.chunk(b"abc")
            assert confirmed.wait(WAIT_S)
            connection.chunk(b"")
            assert read.wait(WAIT_S)
            connection.reset()

        news: list[dict[str, object]] = []

        async def left(server: Loopback, transport: AsyncTransport) -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: news.append(context))
            for _ in range(2):  # the pool lets go of the first when it looks for a second
                confirmed.clear()
                read.clear()
                async with transport.stream(POST) as (_, pieces):
                    await anext(pieces)
                    is_gone = library.gone(pieces)
                    confirmed.set()
                    assert [piece async for piece in pieces] == []
                    read.set()
                while not is_gone():  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0.001)
            server.client_closed.set()

        with Loopback(script) as server:
            within(library, server, left)
        gc.collect()
        assert news == []

    def test_a_connection_keeps_nothing_of_what_it_served(self) -> None:
        confirmed = threading.Semaphore(0)

        def script(connection: Connection) -> None:
            while connection.request():
                connection.send(head("Content-Length: 2") + b"a")
                assert confirmed.acquire(timeout=WAIT_S)
                connection.send(b"b")

        async def served(server: Loopback, transport: AsyncTransport) -> None:
            waiting = []
            for _ in range(5):
                async with transport.stream(POST) as (_, pieces):
                    await anext(pieces)
                    protocol = pieces._watched  # type: ignore[attr-defined]
                    confirmed.release()
                    assert [piece.data async for piece in pieces] == [b"b"]
                waiting.append(len(protocol.closed._callbacks))
            assert waiting == [1] * 5
            server.client_closed.set()

        with Loopback(script) as server:
            within(LIBRARIES["aiohttp"], server, served)
            assert server.connections == 1

    def test_a_session_that_raises_for_statuses_does_not(self) -> None:
        def make() -> Made:
            session = aiohttp.ClientSession(raise_for_status=True, auto_decompress=True)
            return session, AiohttpTransport(session, Endpoint(server.url))

        with Loopback(answering(wire(b"no", status="404 Not Found"))) as server:
            client = AsyncClient(make)
            assert client.send(POST)[::2] == (404, b"no", None)
            client.close()
