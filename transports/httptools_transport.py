"""The transport over httptools: asynchronous, its connections from a pool of its own.

It does what the transport over aiohttp does, at less than half the cost, and
nothing besides: no proxy, no cookies, no ``.netrc``.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import compress
from types import TracebackType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from .base import (
    DRAIN_BYTES,
    DRAIN_S,
    AsyncStream,
    Cut,
    Endpoint,
    Piece,
    PlanLike,
    Reply,
    request_headers,
)
from .connection_pool import ConnectionPool, Origin
from .decoding import ContentDecoder, UndecodableError
from .faults import (
    INVALID_ADDRESS,
    NAME_NOT_FOUND,
    UNSENDABLE_HEADER,
    VALUE,
    is_printable,
    is_token,
    phrase,
    timed_out,
    too_large,
    unsendable,
)
from .http_connection import Connection

_STALE_S: Final = 1.0  # a server that had closed the connection says so at once
_DEFAULTS: Final = (("Accept", "*/*"), ("User-Agent", "bifrost-vllm"))
_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What a request says of itself and of its connection; the endpoint's headers have no part in that."""


class _Address(NamedTuple):
    """What an endpoint's ``url`` means: ``host`` as the header says it, ``prefix`` of every path."""

    origin: Origin
    host: str
    prefix: str


class HttptoolsTransport:
    """Sends plans over the connections of a pool, which stays the caller's to close.

    With ``resend_stale``, a request that went into a connection used before
    and came back within a second without a byte is sent once more, on a new
    connection: the server had closed the old one, which HTTP cannot tell
    beforehand.
    """

    __slots__ = ("_endpoint", "_pool", "_resend_stale")

    def __init__(self, pool: ConnectionPool, endpoint: Endpoint, resend_stale: bool = False) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._resend_stale = resend_stale

    async def send(self, plan: PlanLike) -> Reply:
        """The whole answer."""
        started, total_s = time.monotonic(), self._endpoint.timeouts.total_s
        total_at = math.inf if total_s is None else asyncio.get_running_loop().time() + total_s
        answer = await self._open(plan, False, total_at)
        if isinstance(answer, Cut):
            return Reply(0, {}, b"", _ms_since(started), answer)
        head = answer.connection.answer
        status, headers = head.status, head.headers
        body, cut = await _Pieces(answer, started).whole(self._endpoint.reply_limit)
        return Reply(status, headers, body, _ms_since(started), cut)

    def stream(self, plan: PlanLike) -> "_Streaming":
        """The answer as it comes. Leaving the context before its end closes the connection."""
        return _Streaming(lambda: self._open(plan, True, math.inf))

    async def _open(self, plan: PlanLike, streaming: bool, total_at: float) -> "_Exchange | Cut":
        """The exchange once the head of its answer is there."""
        request = self._request(plan, streaming)
        if isinstance(request, Cut):
            return request
        connection = self._pool.take(request.origin)
        if connection is not None:
            asked_at = time.monotonic()
            cut = await self._ask(connection, request, total_at)
            if cut is None:
                return _Exchange(self._pool, request.origin, connection)
            stale = cut.kind == "read" and connection.silent and time.monotonic() - asked_at <= _STALE_S
            if not (stale and self._resend_stale):
                return cut
        fresh = await self._connect(request.origin, total_at)
        if isinstance(fresh, Cut):
            return fresh
        cut = await self._ask(fresh, request, total_at)
        return _Exchange(self._pool, request.origin, fresh) if cut is None else cut

    def _request(self, plan: PlanLike, streaming: bool) -> "_Request | Cut":
        address = _address(self._endpoint.url)
        if address is None or not plan.path.startswith("/") or not is_printable(plan.path):
            return Cut("connect", INVALID_ADDRESS)
        headers = request_headers(self._endpoint, plan, streaming)
        values = tuple(headers.values())
        lines = _lines(tuple(headers))
        if lines is None or not all(map(VALUE.fullmatch, values)):
            return UNSENDABLE_HEADER
        return _Request(plan, address, lines.written(values, address.host))

    async def _ask(self, connection: Connection, request: "_Request", total_at: float) -> Cut | None:
        """Why there is no answer, not even its head."""
        try:
            await connection.ask(
                request.head, request.blocks, request.bodiless, self._endpoint.timeouts, total_at
            )
        except BaseException:
            connection.close()
            raise
        if connection.answer.status:  # what broke off after it shows when the body is read
            return None
        connection.close()
        return connection.cut

    async def _connect(self, origin: Origin, total_at: float) -> Connection | Cut:
        limits, now = self._endpoint.timeouts, asyncio.get_running_loop().time()
        connect_at = math.inf if limits.connect_s is None else now + limits.connect_s
        limit_at = min(connect_at, total_at)
        timer = asyncio.timeout_at(None if math.isinf(limit_at) else limit_at)
        try:
            async with timer:
                return await self._pool.connect(origin)
        except UnicodeError:  # the name is longer than names are
            return Cut("connect", NAME_NOT_FOUND)
        except OSError as error:
            if timer.expired():
                if total_at < connect_at:
                    return timed_out("total", limits.total_s)
                return timed_out("connect", limits.connect_s)
            if isinstance(error, TimeoutError):  # the system's own
                return timed_out("connect", None)
            return Cut("connect", phrase(error))


class _Request:
    """A request as it goes out. Not a tuple, which would print the key."""

    __slots__ = ("blocks", "bodiless", "head", "origin")

    def __init__(self, plan: PlanLike, address: _Address, lines: str) -> None:
        self.origin = address.origin
        self.bodiless = plan.method == "HEAD"
        body = plan.body
        self.blocks: Sequence[bytes] = () if body is None else (body.data, *body.rest)
        target = address.prefix + plan.path
        if "#" in target:
            target = target.partition("#")[0]
        length = ""
        if body is not None:
            size = sum(map(len, self.blocks)) if body.rest else len(body.data)
            length = f"Content-Length: {size}\r\n"
        elif plan.method not in {"GET", "HEAD"}:
            length = "Content-Length: 0\r\n"
        self.head = f"{plan.method} {target} HTTP/1.1\r\n{lines}{length}\r\n".encode("ascii")


class _Lines(NamedTuple):
    """How the headers of these names are written, apart from their values.

    ``kept`` tells which values are sent at all, when some are not.
    """

    template: str
    names_host: bool
    kept: Sequence[bool] | None

    def written(self, values: Sequence[str], host: str) -> str:
        if self.kept is not None:
            values = tuple(compress(values, self.kept))
        lines = self.template % tuple(values)
        return lines if self.names_host else f"{lines}Host: {host}\r\n"


@lru_cache(maxsize=256)
def _lines(names: tuple[str, ...]) -> _Lines | None:
    """The lines for headers of these names; ``None`` when one of them is no name."""
    if not all(map(is_token, names)):
        return None
    lowered = [name.lower() for name in names]
    kept = [name not in _FRAMING for name in lowered]
    lines = [name.replace("%", "%%") + ": %s\r\n" for name in compress(names, kept)]
    lines += [f"{name}: {value}\r\n" for name, value in _DEFAULTS if name.lower() not in lowered]
    return _Lines("".join(lines), "host" in lowered, None if all(kept) else kept)


class _Exchange(NamedTuple):
    """An answer whose head is there, and the way of its connection back into the pool."""

    pool: ConnectionPool
    origin: Origin
    connection: Connection


class _Streaming:
    """One streamed exchange, as a context."""

    __slots__ = ("_open", "_pieces")

    def __init__(self, open_: Callable[[], Awaitable[_Exchange | Cut]]) -> None:
        self._open = open_
        self._pieces: _Pieces | None = None

    async def __aenter__(self) -> AsyncStream:
        started = time.monotonic()
        answer = await self._open()
        if isinstance(answer, Cut):
            return AsyncStream(Reply(0, {}, b"", _ms_since(started), answer), _no_pieces())
        self._pieces = _Pieces(answer, started)
        head = answer.connection.answer
        return AsyncStream(Reply(head.status, head.headers, b"", _ms_since(started)), self._pieces)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pieces is not None:
            self._pieces.close()


class _Pieces(AsyncIterator[Piece]):
    """The body of one answer, one piece for what came since the last one was taken."""

    __slots__ = ("_connection", "_decoder", "_ended", "_origin", "_pool", "_started")

    def __init__(self, exchange: _Exchange, started: float) -> None:
        self._pool, self._origin, self._connection = exchange
        self._started, self._ended = started, False
        encoding = self._connection.answer.headers.get("content-encoding")
        self._decoder = ContentDecoder(encoding) if encoding else None

    async def __anext__(self) -> Piece:
        if self._ended:
            raise StopAsyncIteration
        try:
            data = await self._next()
            cut = None if data else self._connection.cut
        except UndecodableError as error:
            data, cut = b"", Cut("read", str(error))
        if not data:
            self.close()
            if cut is None:
                raise StopAsyncIteration
        return Piece(data, _ms_since(self._started), cut)

    async def whole(self, limit: int) -> tuple[bytes, Cut | None]:
        """All of the body, or its first ``limit`` bytes, and how it broke off."""
        parts: list[bytes] = []
        size, cut = 0, None
        try:
            while size <= limit and (data := await self._next()):
                parts.append(data)
                size += len(data)
            cut = too_large(limit) if size > limit else self._connection.cut
        except UndecodableError as error:
            cut = Cut("read", str(error))
        finally:
            self.close()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return body[:limit], cut

    async def finish(self) -> None:
        """Read what is left, if it is little and comes soon, so that the connection can be used again."""
        allowance = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_S):
                while allowance > 0 and not self._ended and (wire := await self._connection.read()):
                    allowance -= len(wire)
        except TimeoutError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back, which closes it when the body is not at its end."""
        if not self._ended:
            self._ended = True
            self._pool.give_back(self._origin, self._connection)

    async def _next(self) -> bytes:
        """The next bytes without their encoding; none at the end, good or bad."""
        connection, decoder = self._connection, self._decoder
        if decoder is None:
            return await connection.read()
        data = decoder.take()
        while not data and (wire := await connection.read()):
            data = decoder.feed(wire)
        if not data and connection.cut is None:
            decoder.close()
        return data


@lru_cache(maxsize=256)
def _address(url: str) -> _Address | None:
    """What an address means, if it is valid."""
    base = Endpoint(url).join("")
    if unsendable(base, {}):
        return None
    parts = urlsplit(base)
    tls = parts.scheme == "https"
    usual_port = 443 if tls else 80
    host, port = parts.hostname or "", parts.port or usual_port
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host
    prefix = base.partition("://")[2].removeprefix(parts.netloc)
    return _Address(
        Origin(tls, host, port),
        shown if port == usual_port else f"{shown}:{port}",
        prefix if not prefix or prefix.startswith("/") else f"/{prefix}",
    )


async def _no_pieces() -> AsyncIterator[Piece]:
    nothing: tuple[Piece, ...] = ()
    for piece in nothing:
        yield piece


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
