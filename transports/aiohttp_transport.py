"""The transport over aiohttp: asynchronous, its connections from the session's connector."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, compress
from types import MappingProxyType
from typing import Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from .base import (
    DRAIN_BYTES,
    DRAIN_S,
    AsyncStream,
    BodyLike,
    Cut,
    Endpoint,
    Piece,
    PlanLike,
    Reply,
    Timeouts,
    Upload,
    own_headers,
    reply_headers,
    upload,
)
from .decoding import ContentDecoder, UndecodableError
from .faults import (
    ENDED_EARLY,
    INVALID_ADDRESS,
    NAME_NOT_FOUND,
    NO_ANSWER,
    NOT_HTTP,
    UNSENDABLE_HEADER,
    broken_body,
    is_token,
    phrase,
    sendable_values,
    timed_out,
    too_large,
    unsendable,
)
from .plain_session import LONGEST_LINE, Exchange, PlainSession
from .request_head import template

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_Answer = aiohttp.ClientResponse | Exchange
_TICK_S: Final = 0.001  # the clock of a loop may tick in milliseconds


class AiohttpTransport:
    """Sends plans through a session, which stays the caller's to close.

    A ``ClientSession`` gives its connector (pool, TLS), its proxies, its
    headers and its cookies. Its middlewares are not called, and its
    credentials, those in ``.netrc`` included, are not used: ``Authorization``
    is the endpoint's alone. A ``PlainSession`` gives its connector, and costs a
    third of that. A connector that has a limit makes the call wait, without a
    timeout but that of the total.
    """

    __slots__ = ("_endpoint", "_session")

    def __init__(self, session: aiohttp.ClientSession | PlainSession, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint

    async def send(self, plan: PlanLike) -> Reply:
        """The whole answer."""
        started, endpoint = time.monotonic(), self._endpoint
        limit, total_s = endpoint.reply_limit, endpoint.timeouts.total_s
        total_at = math.inf if total_s is None else asyncio.get_running_loop().time() + total_s
        answer = await self._open(plan, False, total_at)
        if isinstance(answer, Cut):
            return Reply(0, _NO_HEADERS, b"", _ms_since(started), answer)
        headers = _headers(answer)
        cut = None
        if (whole := _whole(answer, headers, limit)) is None:
            pieces = _Pieces(answer, headers, started, endpoint.timeouts, total_at)
            whole, cut = await _collected(pieces, limit)
        return Reply(answer.status, headers, whole, _ms_since(started), cut)

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:
        """The answer as it comes. Leaving the context before its end closes the connection."""
        started = time.monotonic()
        answer = await self._open(plan, True, math.inf)
        if isinstance(answer, Cut):
            yield AsyncStream(Reply(0, {}, b"", _ms_since(started), answer), _no_pieces())
            return
        headers = _headers(answer)
        pieces = _Pieces(answer, headers, started, self._endpoint.timeouts)
        try:
            yield AsyncStream(Reply(answer.status, headers, b"", _ms_since(started)), pieces)
        finally:
            pieces.close()

    async def _open(self, plan: PlanLike, streaming: bool, total_at: float) -> _Answer | Cut:
        """The answer when its head is there. ``total_at`` is the time of the loop when that must be."""
        endpoint, body = self._endpoint, plan.body
        given = endpoint.headers
        body_type = None if body is None else body.content_type
        form = _form(
            endpoint.url, endpoint.api_key, tuple(given), plan.method, plan.path, body_type, streaming
        )
        if isinstance(form, Cut):
            return form
        values = sendable_values(given, form.kept)
        if values is None:
            return UNSENDABLE_HEADER
        limits, session = endpoint.timeouts, self._session
        if isinstance(session, PlainSession):
            blocks = () if body is None else (body.data, *body.rest)
            size = sum(map(len, blocks))
            head = (form.template % (*values, size)).encode("ascii")
            try:
                return await session.ask(form.origin, head, blocks, size, form.bodiless, limits, total_at)
            except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                return _no_head(error, limits, total_at)
        total = asyncio.timeout_at(None if total_at == math.inf else total_at)
        try:
            async with total:
                return await _requested(session, plan.method, form, values, body, limits)
        except TimeoutError:
            if not total.expired():
                raise
            return timed_out("total", limits.total_s)


async def _requested(
    session: aiohttp.ClientSession,
    method: str,
    form: "_Form",
    values: tuple[str, ...],
    body: BodyLike | None,
    limits: Timeouts,
) -> _Answer | Cut:
    headers = dict(zip(form.names, values, strict=True))
    headers.update(form.own)
    data = upload(body) if body else None
    if isinstance(data, Upload):
        headers["Content-Length"] = str(len(data))  # or aiohttp would use the chunked coding
    # Set where the request is complete: beside other credentials aiohttp refuses this header.
    credentials = {k: headers.pop(k) for k in form.credentials}

    async def send_once(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.popall("Authorization", None)
        if credentials:
            request.headers.update(credentials)
        try:
            return await handler(request)
        except (aiohttp.ClientError, OSError) as error:
            # As it is, aiohttp would repeat a GET on a new connection.
            raise _SendingError from error

    try:
        return await session.request(
            method,
            form.url,
            data=data,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            timeout=_client_timeout(limits.connect_s, limits.first_byte_s),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            middlewares=(send_once,),
        )
    except _SendingError as error:
        return _no_head(error.__cause__ or error, limits)
    except (aiohttp.ClientError, OSError) as error:
        return _no_head(error, limits)


@dataclass(frozen=True, slots=True, repr=False)
class _Form:
    """A request but for the values of the endpoint's headers, which ``names`` are for.

    ``kept`` tells which of the values are sent, when not all are, and
    ``credentials`` which of the headers hold the key. Not printed for its sake.
    ``template`` is the head as it is written over a ``PlainSession``; it takes
    the values and the length of the body. ``bodiless`` says that the answer
    will have no body.
    """

    url: URL
    names: Sequence[str]
    kept: Sequence[bool] | None
    own: Mapping[str, str]
    credentials: Sequence[str]
    origin: URL
    template: str
    bodiless: bool


@lru_cache(maxsize=512)
def _form(
    url: str,
    api_key: str,
    names: tuple[str, ...],
    method: str,
    path: str,
    body_type: str | None,
    streaming: bool,
) -> _Form | Cut:
    """What requests like this one have in common, or why they cannot be sent."""
    address = Endpoint(url).join(path)
    own = own_headers(api_key, names, method, body_type, streaming)
    given = names if own.kept is None else tuple(compress(names, own.kept))
    if fault := unsendable(address, own.headers):
        return fault
    if not all(map(is_token, given)):
        return UNSENDABLE_HEADER
    credentials = [name for name in (*given, *own.headers) if name.lower() == "authorization"]
    try:
        link = URL(address, encoded=True)
        origin = link.origin()
    except ValueError:
        return Cut("connect", INVALID_ADDRESS)
    host = link.host_port_subcomponent or ""
    head = template(method, link.raw_path_qs, host, given, own, body_type is not None)
    return _Form(link, given, own.kept, own.headers, credentials, origin, head, method == "HEAD")


@lru_cache(maxsize=64)
def _client_timeout(connect_s: float | None, first_byte_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=connect_s, sock_read=first_byte_s)


def _headers(answer: _Answer) -> Mapping[str, str]:
    """The raw bytes, because as text aiohttp gives UTF-8 with surrogates."""
    raw = answer.raw_headers
    text = b"\n".join(chain.from_iterable(raw)).decode("latin-1")
    parts = text.split("\n")
    if len(parts) == 2 * len(raw) and "\r" not in text:  # nothing is folded
        headers = dict(zip(map(str.lower, parts[::2]), map(str.strip, parts[1::2]), strict=True))
        if len(headers) == len(raw):  # nothing is repeated
            return headers
    return reply_headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw])


def _whole(answer: _Answer, headers: Mapping[str, str], limit: int) -> bytes | None:
    """The body, if all of it came with the headers and nothing about it needs a closer look."""
    content = answer.content
    if not content.is_eof() or content.exception() is not None or content.total_bytes > limit:
        return None
    if "content-encoding" in headers or _ends_with_connection(headers):
        return None
    body = b"".join(getattr(content, "_buffer", ()))
    if len(body) != content.total_bytes:
        body = content.read_nowait()  # dearer: it goes on to tell the connection to read on
    if answer.connection is not None:
        answer.release()
    return body


async def _collected(pieces: "_Pieces", limit: int) -> tuple[bytes, Cut | None]:
    """All of a body, or its first ``limit`` bytes, and how it broke off."""
    body, cut = bytearray(), None
    try:
        async for piece in pieces:
            body += piece.data
            cut = piece.cut
            if len(body) > limit:
                cut = too_large(limit)
                break
    finally:
        pieces.close()
    return bytes(body[:limit]), cut


class _Pieces(AsyncIterator[Piece]):
    """The body of one answer, one piece for each read that brought something."""

    __slots__ = (
        "_answer", "_cut", "_deadline", "_decoder", "_ended", "_ends_with_connection", "_limits", "_loop",
        "_started", "_timer", "_total_at", "_unwatch", "_waits_at", "_watched",
    )  # fmt: skip

    def __init__(
        self,
        answer: _Answer,
        headers: Mapping[str, str],
        started: float,
        limits: Timeouts,
        total_at: float = math.inf,
    ) -> None:
        self._answer, self._started, self._limits, self._total_at = answer, started, limits, total_at
        encoding = headers.get("content-encoding")
        self._decoder = ContentDecoder(encoding) if encoding else None
        self._ends_with_connection = _ends_with_connection(headers)
        self._cut: Cut | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._waits_at = -1  # the bytes that had come when the wait for more began
        # There is no connection any more when the whole body came with the headers.
        self._watched = None if answer.connection is None else answer.connection.protocol
        self._unwatch = None if self._watched is None else _watch(self._watched, answer.content)

    async def __anext__(self) -> Piece:
        if self._ended:
            raise StopAsyncIteration
        data = await (self._read() if self._decoder is None else self._decoded(self._decoder))
        if data:
            return Piece(data, _ms_since(self._started))
        self.close()
        if self._cut:
            return Piece(b"", _ms_since(self._started), self._cut)
        raise StopAsyncIteration

    async def _decoded(self, decoder: ContentDecoder) -> bytes:
        """The next bytes without their encoding; none at the end, good or bad."""
        try:
            data = decoder.take()
            while not data and (wire := await self._read()):
                data = decoder.feed(wire)
            if not data and not self._cut:
                decoder.close()
        except UndecodableError as error:
            data, self._cut = b"", Cut("read", str(error))
        return data

    async def finish(self) -> None:
        """Read what is left, if it is little and comes soon, so that the connection can be used again."""
        content, allowance = self._answer.content, DRAIN_BYTES
        # After a break there is nothing left, and aiohttp would raise RuntimeError.
        if not (self._cut or content.is_eof()):
            with suppress(aiohttp.ClientError, HttpProcessingError, OSError):
                async with asyncio.timeout(DRAIN_S):
                    while allowance > 0 and (wire := await content.readany()):
                        allowance -= len(wire)
        self.close()

    def close(self) -> None:
        """Close the connection, unless the body is at its end: then it is back in the pool already."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unwatch:
            self._unwatch()
            self._unwatch = None
        self._answer.close()

    async def _read(self) -> bytes:
        """The next bytes of the body; none at its end, good or bad."""
        if self._cut:
            return b""
        content, idle_s, deadline = self._answer.content, self._limits.idle_s, self._total_at
        if idle_s is not None or deadline < math.inf:
            now = self._loop.time()
            if deadline <= now:
                self._cut = timed_out("total", self._limits.total_s)
                return b""
            self._deadline = deadline if idle_s is None else min(deadline, now + idle_s)
            self._waits_at = content.total_bytes
            if self._timer is None:
                self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)
        try:
            # Never by lines: aiohttp refuses a line that is longer than its buffer.
            wire = await content.readany()
            self._waits_at = -1
        except TimeoutError:
            is_over = self._deadline == self._total_at
            self._cut = timed_out("total", self._limits.total_s) if is_over else timed_out("idle", idle_s)
            return b""
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            self._cut = self._broken(error)
            # What came before the break is still in the buffer, with the exception in front of it.
            content.set_exception(cast("BaseException", None))
            return content.read_nowait()
        if not wire and self._ends_with_connection and (reset := self._reset()):
            # aiohttp takes it for a good end.
            self._cut = broken_body(reset)
        return wire

    def _look_at_deadline(self) -> None:
        """One timer serves all reads: it is not set anew for each, but asks how things are when it fires."""
        content, self._timer = self._answer.content, None
        if self._waits_at != content.total_bytes or content.is_eof() or content.exception() is not None:
            return
        if self._loop.time() + _TICK_S < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)
        else:
            content.set_exception(TimeoutError())

    def _broken(self, error: Exception) -> Cut:
        if reset := self._reset():
            return broken_body(reset)
        if isinstance(
            error, aiohttp.ClientPayloadError | HttpProcessingError | aiohttp.ServerDisconnectedError
        ):
            return Cut("read", ENDED_EARLY)
        return broken_body(error)

    def _reset(self) -> OSError | None:
        """What the system said when the connection was lost, if that was not a plain end."""
        lost = None if self._watched is None else self._watched.exception()
        return lost if isinstance(lost, OSError) else None


class _SendingError(Exception):
    """Carries an exception past aiohttp's own retry."""


async def _no_pieces() -> AsyncIterator[Piece]:
    nothing: tuple[Piece, ...] = ()
    for piece in nothing:
        yield piece


def _watch(protocol: ResponseHandler, content: aiohttp.StreamReader) -> Callable[[], object] | None:
    """See to it that a read ends when the connection does; the way to stop that."""
    with suppress(AttributeError):
        # The limit up to here was that of the first byte; from now on each read has its own.
        protocol.read_timeout = None
        protocol.start_timeout()
    # aiohttp 3.13 and later. After a malformed chunk the connection is closed, yet the reader never told.
    closed: asyncio.Future[None] | None = getattr(protocol, "closed", None)
    if closed is None:
        return None

    def wake(_: object) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError())

    closed.remove_done_callback(_retrieve)  # one of an earlier exchange: once is enough
    closed.add_done_callback(_retrieve)
    closed.add_done_callback(wake)
    return partial(closed.remove_done_callback, wake)


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Look at how a connection ended, or asyncio complains that nobody did."""
    if not closed.cancelled():
        closed.exception()


def _ends_with_connection(headers: Mapping[str, str]) -> bool:
    return "content-length" not in headers and "transfer-encoding" not in headers


def _no_head(error: BaseException, limits: Timeouts, total_at: float = math.inf) -> Cut:
    """The cut of an exchange that broke off before the headers were in."""
    match error:
        case TimeoutError() if asyncio.get_running_loop().time() + _TICK_S >= total_at:
            return timed_out("total", limits.total_s)
        case aiohttp.ConnectionTimeoutError():
            return timed_out("connect", limits.connect_s)
        case TimeoutError():
            return timed_out("first byte", limits.first_byte_s)
        case aiohttp.ClientConnectorDNSError():
            return Cut("connect", NAME_NOT_FOUND)
        case (
            aiohttp.ClientConnectorError()
            | aiohttp.ServerFingerprintMismatch()
            | aiohttp.ClientHttpProxyError()
            | aiohttp.InvalidURL()
        ):
            return Cut("connect", phrase(error))
        case aiohttp.ServerDisconnectedError():
            return Cut("read", NO_ANSWER)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return Cut("read", NOT_HTTP)
    return Cut("read", phrase(error))


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
