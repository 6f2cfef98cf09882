"""A server on the loopback that does exactly what a test tells it, good or bad, and the clients under test."""

import asyncio
import socket
import ssl
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import aiohttp
import requests

import transports
from transports import Endpoint, FoldLike, Piece, PlanLike, Reply, Stream

WAIT_S = 20.0
"""Longer than anything takes; a test that waits so long has failed."""

KEY = "sk-loopback-4f1d"


class Body(NamedTuple):
    content_type: str
    data: bytes
    rest: tuple[bytes, ...] = ()


class Plan(NamedTuple):
    method: str = "POST"
    path: str = "/v1/chat/completions"
    body: Body | None = Body("application/json", b'{"model":"m"}')


GET = Plan("GET", "/v1/models", None)
POST = Plan()


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection, seen from the server."""

    def __init__(self, sock: socket.socket, server: "Loopback") -> None:
        self._sock = sock
        self._server = server
        self._buffer = bytearray()
        self._idle = threading.Event()

    def request(self, pace_s: float = 0.0) -> Request | None:
        """The next request, or None when the client has closed. With a pace, its body is read that slowly."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._receive():
                return None
            if pace_s:
                self._idle.wait(pace_s)
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        method, target, _ = start.split(" ")
        request = Request(method, target, headers, bytes(body))
        self._server.requests.append(request)
        self._server.requested.set()
        return request

    def swallow(self) -> int:
        """Read a request with a length and keep nothing of it; the number of bytes of its body."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        (length,) = [
            int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
        ]
        taken = len(self._buffer)
        self._buffer.clear()
        while taken < length and self._receive():
            taken += len(self._buffer)
            self._buffer.clear()
        return taken

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def pause(self, seconds: float) -> None:
        """Send nothing for some time."""
        if seconds:
            self._idle.wait(seconds)

    def reset(self) -> None:
        """End the connection with RST in place of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def until_closed(self) -> None:
        """Wait for the client to close; tell the test by ``server.client_closed``."""
        with suppress(ConnectionError):
            while self._sock.recv(65536):
                pass
        self._server.client_closed.set()

    def _receive(self) -> bool:
        data = self._sock.recv(256 * 1024)
        self._buffer += data
        return bool(data)


class Loopback:
    """Listens on a port of its own, and runs ``script`` in a thread for each connection."""

    def __init__(
        self,
        script: Callable[[Connection], object],
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.requested = threading.Event()
        self.client_closed = threading.Event()
        self._script = script
        self._errors: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        acceptor = threading.Thread(target=self._accept)
        self._threads.append(acceptor)
        acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)
        if self._errors and kind is None:
            raise self._errors[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.settimeout(WAIT_S)
            self._socks.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                if self._tls:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                with sock:
                    self._script(Connection(sock, self))
            except OSError:
                pass  # the client left, as it may
            except Exception as error:
                self._errors.append(error)


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, "")).encode("latin-1")


def wire(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """A whole answer with a length."""
    return head(*lines, f"Content-Length: {len(body)}", status=status) + body


def answering(*answers: bytes) -> Callable[[Connection], None]:
    """A script that gives one answer to each request, the last one for ever."""

    def script(connection: Connection) -> None:
        left = list(answers)
        while connection.request():
            connection.send(left.pop(0) if len(left) > 1 else left[0])

    return script


class Client(Protocol):
    """A transport, made blocking where it is not, so that one test serves all."""

    def send(self, plan: PlanLike) -> Reply: ...
    def stream(self, plan: PlanLike) -> AbstractContextManager[Stream]: ...
    def fold(self, stream: Stream, into: FoldLike[bytes]) -> list[bytes]: ...
    def close(self) -> None: ...


class BlockingClient:
    """Over requests, or over recordings."""

    def __init__(self, transport: transports.Transport, session: requests.Session | None = None) -> None:
        self._session = session
        self._transport = transport

    def send(self, plan: PlanLike) -> Reply:
        return self._transport.send(plan)

    def stream(self, plan: PlanLike) -> AbstractContextManager[Stream]:
        return self._transport.stream(plan)

    def fold(self, stream: Stream, into: FoldLike[bytes]) -> list[bytes]:
        return list(transports.fold(stream.pieces, into))

    def close(self) -> None:
        if self._session:
            self._session.close()


Made = tuple[
    aiohttp.ClientSession | transports.PlainSession | transports.ConnectionPool, transports.AsyncTransport
]
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class AsyncClient:
    """Over an asynchronous library: each call runs the loop until it is done."""

    def __init__(self, make: Callable[[], Made], loop_factory: MakeLoop | None = None) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._session, self._transport = self._runner.run(_made(make))

    def send(self, plan: PlanLike) -> Reply:
        return self._runner.run(self._transport.send(plan))

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        context = self._transport.stream(plan)
        answer = self._runner.run(_awaited(context.__aenter__()))
        try:
            yield Stream(answer.head, _Blocking(self._runner, answer.pieces))
        except BaseException:
            self._runner.run(_awaited(context.__aexit__(*sys.exc_info())))
            raise
        self._runner.run(_awaited(context.__aexit__(None, None, None)))

    def fold(self, stream: Stream, into: FoldLike[bytes]) -> list[bytes]:
        assert isinstance(stream.pieces, _Blocking)
        return self._runner.run(_listed(transports.fold_async(stream.pieces.inner, into)))

    def close(self) -> None:
        assert not self._session.closed
        self._runner.run(self._session.close())
        self._runner.close()


class _Blocking(Iterator[Piece]):
    def __init__(self, runner: asyncio.Runner, inner: AsyncIterator[Piece]) -> None:
        self._runner = runner
        self.inner = inner

    def __next__(self) -> Piece:
        try:
            piece: Piece = self._runner.run(_awaited(anext(self.inner)))
        except StopAsyncIteration:
            raise StopIteration from None
        return piece


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _made(make: Callable[[], Made]) -> Made:
    return make()


async def _listed(events: AsyncIterator[bytes]) -> list[bytes]:
    return [event async for event in events]


def requests_client(endpoint: Endpoint) -> Client:
    session = requests.Session()
    session.trust_env = False
    return BlockingClient(transports.RequestsTransport(session, endpoint), session)


def aiohttp_client(endpoint: Endpoint) -> Client:
    def make() -> Made:
        session = aiohttp.ClientSession()
        return session, transports.AiohttpTransport(session, endpoint)

    return AsyncClient(make)


def plain_client(endpoint: Endpoint, loop_factory: MakeLoop | None = None) -> Client:
    def make() -> Made:
        session = transports.PlainSession(aiohttp.TCPConnector())
        return session, transports.AiohttpTransport(session, endpoint)

    return AsyncClient(make, loop_factory)


def httptools_client(endpoint: Endpoint, loop_factory: MakeLoop | None = None) -> Client:
    def make() -> Made:
        pool = transports.ConnectionPool()
        return pool, transports.HttptoolsTransport(pool, endpoint)

    return AsyncClient(make, loop_factory)


Connect = Callable[..., Client]
"""Makes a client of an address and of other settings of ``Endpoint``."""

MAKERS: dict[str, Callable[[Endpoint], Client]] = {
    "requests": requests_client,
    "aiohttp": aiohttp_client,
    "aiohttp, plain": plain_client,
    "httptools": httptools_client,
}
if sys.platform != "win32":  # where there is no uvloop
    import uvloop

    MAKERS["aiohttp, plain, on uvloop"] = lambda endpoint: plain_client(endpoint, uvloop.new_event_loop)
    MAKERS["httptools on uvloop"] = lambda endpoint: httptools_client(endpoint, uvloop.new_event_loop)


def streamed(client: Client, plan: PlanLike) -> Reply:
    """A stream, put together as ``send`` would."""
    with client.stream(plan) as (reply, pieces):
        got = list(pieces)
    cut = got[-1].cut if got else reply.cut
    return untimed(reply._replace(body=b"".join(piece.data for piece in got), cut=cut))


def untimed(reply: Reply) -> Reply:
    return reply._replace(elapsed_ms=0)
