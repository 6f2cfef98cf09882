"""The server: aiohttp's, and a short way past it for requests whose head was read before.

Clients send the same head again and again; only the length of the body
differs. Once aiohttp has read a head, and what it understood is known, the
same bytes mean the same: the request need not be taken apart anew. Everything
else, whatever it is, goes to aiohttp.
"""

import asyncio
import json
import re
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http import StreamWriter
from aiohttp.web_protocol import RequestHandler

from .answers import SERVER, Wire
from .layers import headers, request_heads
from .visits import Direct, Visit

BACKLOG: Final = 1024
"""How many clients may wait to be let in."""

_MALFORMED: Final = "malformed HTTP request"
_INTERNAL: Final = "internal server error"
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,9})\r\n")
_MOST_DIGITS: Final = 9
_IN_PLACE_OF_LENGTH: Final = b"\0"
_SPECIAL: Final = (
    "connection",
    "content-encoding",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_LONGEST_HEAD: Final = 8_192
_MOST_HEADS: Final = 512
_LARGEST_BODY: Final = 1024 * 1024  # that is waited for here
_PATIENCE_S: Final = 0.25
_MOST_HELD: Final = 65_536  # bytes that came before the answer to what came before them
_TELLS: Final = hasattr(RequestHandler, "_waiter") and hasattr(RequestHandler, "_messages")


class Service(Protocol):
    """Who answers."""

    @property
    def direct(self) -> Mapping[tuple[str, str], Direct]: ...
    @property
    def known(self) -> "KnownHeads": ...
    def read(self, request: web.BaseRequest) -> request_heads.RequestHead: ...
    async def attend(self, visit: Visit, direct: Direct) -> None: ...


class Known:
    """What a head means, and who answers the request; ``forgotten`` when it means something else now."""

    __slots__ = ("direct", "forgotten", "head")

    def __init__(self, head: request_heads.RequestHead, direct: Direct) -> None:
        self.head: Final = head
        self.direct: Final = direct
        self.forgotten = False


class Latest(NamedTuple):
    """The head that was known last over a connection: the ``size`` bytes before its length, and all after."""

    before: bytes
    size: int
    after: bytes
    known: Known


class KnownHeads:
    """Heads that aiohttp has read and that recur, by their bytes without the digits of the body's length.

    There are not many at a time: those learnt first go when others come. ``forget``
    all of them when they mean something else.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, Known] = {}

    def get(self, key: bytes) -> Known | None:
        """What is known of a head."""
        return self._heads.get(key)

    def learn(self, key: bytes, known: Known) -> None:
        """Remember a head."""
        while len(self._heads) >= _MOST_HEADS:
            self._heads.pop(next(iter(self._heads))).forgotten = True
        self._heads[key] = known

    def forget(self) -> None:
        """Nothing is known any more."""
        for known in self._heads.values():
            known.forgotten = True
        self._heads.clear()


class Frame(NamedTuple):
    """Where a request ends, as its head says: ``key`` is the head for ``KnownHeads``, if it may be known."""

    key: bytes
    head_size: int
    length: int


def framed(data: bytes) -> Frame | None:
    """The frame of the request that ``data`` begins with, unless it is of an unusual kind."""
    end = data.find(_HEAD_END, 0, _LONGEST_HEAD)
    if end < 0:
        return None
    found = _LENGTH.search(data, 0, end + 2)
    if found is None:
        return Frame(b"", end + 4, 0)
    first, last = found.span(1)
    # aiohttp reads no head with a NUL: two heads with a key that was learnt differ in these digits only.
    return Frame(data[:first] + _IN_PLACE_OF_LENGTH + data[last:end], end + 4, int(data[first:last]))


class _Connection(RequestHandler):
    """One connection of a client.

    Either aiohttp is at work, or a task of ours, or nobody. What cannot be
    taken the short way for certain makes the connection ``foreign``: from then
    on aiohttp alone has it.
    """

    __slots__ = (
        "_active_at", "_arriving", "_awaited", "_ends", "_foreign", "_held", "_held_size", "_idle_timer",
        "_latest", "_missing", "_owed", "_patience", "_peer", "_task", "_unproven", "_wire", "service",
    )  # fmt: skip

    def __init__(self, service: Service, server: web.Server, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.service: Final = service
        self._foreign = not _TELLS
        self._latest: Latest | None = None
        self._unproven: Frame | None = None  # what aiohttp is to confirm
        self._task: asyncio.Task[None] | None = None
        self._wire: Wire | None = None
        self._peer = ""
        self._held: deque[bytes] | None = None  # what came before its turn
        self._held_size = 0
        self._arriving: list[bytes] = []  # of a request whose head is known
        self._awaited: tuple[Frame, Known] | None = None
        self._missing = 0
        self._owed = 0  # bytes of a request that aiohttp reads
        self._ends = False
        self._active_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._foreign or not data:
            super().data_received(data)
        elif self._task is not None:
            self._hold(data)
        elif self._awaited is not None:
            self._arrive(data, self._awaited)
        elif not self._owed:
            self._look_at(data)
        elif len(data) <= self._owed:
            self._owed -= len(data)
            super().data_received(data)
        else:
            self._hand_over(data)

    def _look_at(self, data: bytes) -> None:
        """Take the request that ``data`` is, or begins, the short way or give it to aiohttp."""
        is_idle, latest = self._is_idle(), self._latest
        if latest is not None and is_idle:
            head, _, body = data.partition(latest.after)
            digits = head[latest.size :]
            if (
                digits.isdigit()
                and head.startswith(latest.before)
                and len(digits) <= _MOST_DIGITS
                and int(digits) == len(body)
                and not latest.known.forgotten
            ):
                self._begin(latest.known, body)
                return
        frame = framed(data)
        if frame is None:
            self._hand_over(data)
            return
        key, head_size, length = frame
        known = self.service.known.get(key) if is_idle else None
        missing = head_size + length - len(data)
        if known is not None and missing == 0:
            before, _, after = key.partition(_IN_PLACE_OF_LENGTH)
            self._latest = Latest(before, len(before), after + _HEAD_END, known)
            self._begin(known, data[head_size:])
        elif known is not None and missing > 0 and length <= _LARGEST_BODY:
            self._missing, self._awaited = missing, (frame, known)
            self._arriving.append(data)
            self._patience = self._loop.call_later(_PATIENCE_S, self._lose_patience, frame)
        elif missing >= 0 and self._unproven is None:
            self._pass_on(frame, missing, data)
        else:
            self._hand_over(data)

    def _is_idle(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages and not self._ends

    def _hand_over(self, *pieces: bytes) -> None:
        self._foreign = True
        for piece in pieces:
            super().data_received(piece)

    def _pass_on(self, frame: Frame, missing: int, *pieces: bytes) -> None:
        """Let aiohttp read one request, of which so many bytes are still to come."""
        self._unproven, self._owed = frame, missing
        for piece in pieces:
            super().data_received(piece)

    def _arrive(self, data: bytes, awaited: tuple[Frame, Known]) -> None:
        """More of a body has come."""
        self._arriving.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            frame, known = awaited
            self._begin(known, b"".join(self._arrived())[frame.head_size :])
        elif self._missing < 0:
            self._hand_over(*self._arrived())

    def _lose_patience(self, frame: Frame) -> None:
        """Who sends slowly is aiohttp's: there it is counted what is held for whom."""
        missing = self._missing
        self._pass_on(frame, missing, *self._arrived())

    def _arrived(self) -> list[bytes]:
        """What has come, and is waited for no longer."""
        arrived, self._arriving, self._awaited = self._arriving, [], None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        return arrived

    def proven(self, request: web.BaseRequest) -> bytes:
        """The key of a request that aiohttp reads, when it ends where it seemed to end; else nothing."""
        frame, self._unproven = self._unproven, None
        if frame is None:
            return b""
        own = request.headers
        if (
            (request.content_length or 0) != frame.length
            or request.version != HttpVersion11
            or not request.keep_alive
            or len(own.getall("content-length", ())) > 1
            or any(name in own for name in _SPECIAL if own.get(name, "").lower() != "keep-alive")
        ):
            self._foreign = True
            return b""
        return frame.key

    def _begin(self, known: Known, body: bytes) -> None:
        self.keep_alive(True)  # and have no time run out meanwhile
        wire = self._wire
        if wire is None:
            peer = self.peername
            self._peer = str(peer[0] if isinstance(peer, tuple) else peer or "")
            wire = self._wire = Wire(self, StreamWriter(self, self._loop).drain)
        visit = Visit(known.head, wire, self._peer, None, body)
        visit.task = self._task = asyncio.Task(
            self._serve(visit, known.direct), loop=self._loop, name="request"
        )

    async def _serve(self, visit: Visit, direct: Direct) -> None:
        wire = visit.wire
        try:
            await self.service.attend(visit, direct)
            if self.writing_paused:
                await wire.drain()
        except ConnectionError:
            self._ends = True
        except Exception:
            self._ends = True
            self.logger.exception("error while a request was served")
        finally:
            self._task = None
            self._go_on(wire.keeps)

    def _go_on(self, keeps: bool) -> None:
        """Serve what came meanwhile, or wait for it."""
        self._active_at = self._loop.time()
        if self._ends or not keeps:
            self.force_close()
            return
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self.keepalive_timeout, self._look_at_idleness)
        was_full = self._held_size > _MOST_HELD
        while self._held and self._task is None:
            data = self._held.popleft()
            self._held_size -= len(data)
            self.data_received(data)
        if was_full and self._held_size <= _MOST_HELD and self.transport is not None:
            self.transport.resume_reading()

    def _look_at_idleness(self) -> None:
        self._idle_timer = None
        guarded = self._keepalive_handle is not None  # aiohttp's own clock runs
        if guarded and self._foreign:
            return
        busy = guarded or self._task is not None or not self._is_idle()
        left_s = (
            self.keepalive_timeout if busy else self._active_at + self.keepalive_timeout - self._loop.time()
        )
        if left_s <= 0:
            self.force_close()
        else:
            self._idle_timer = self._loop.call_later(left_s, self._look_at_idleness)

    def _hold(self, data: bytes) -> None:
        if self._held is None:
            self._held = deque()
        self._held.append(data)
        self._held_size += len(data)
        if self.transport is not None and self._held_size > _MOST_HELD:
            self.transport.pause_reading()

    def close(self) -> None:
        self._ends = True
        super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's
        if self._task is not None:
            self._ends = True
            await asyncio.wait({self._task}, timeout=timeout)
        await super().shutdown(timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ends = True
        self._arrived()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be read; ``message`` has excerpts of it and is left out."""
        request_id = str(uuid.uuid4())  # the client's own, if it sent one, was not read
        self.log_exception(
            "request %s: error handling a request from %s", request_id, request.remote, exc_info=exc
        )
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        error = (
            {"message": _MALFORMED, "type": "invalid_request_error"}
            if status < 500
            else {"message": _INTERNAL}
        )
        document = {"is_bifrost_error": status >= 500, "status_code": status, "error": error}
        response = web.Response(
            body=json.dumps(document, separators=(",", ":")).encode(),
            status=status,
            headers={
                **headers.SECURITY,
                "content-type": "application/json",
                "server": SERVER,
                "x-request-id": request_id,
            },
        )
        response.force_close()
        return response


class Written(web.Response):
    """What aiohttp is told of an answer that has gone out."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection serves another request."""
        return self._wire.keeps

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to write."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Return when the client has taken in enough, so that the next answer does not pile up."""
        await self._wire.drain()


def visit_of(request: web.Request, head: request_heads.RequestHead) -> Visit:
    """A request that aiohttp has read."""
    wire = Wire(
        request.protocol,
        request.writer.drain,
        is_old=request.version == HttpVersion10,
        keeps=request.keep_alive,
        bodiless=request.method == "HEAD",
    )
    return Visit(head, wire, request.remote or "", request)


class _Server(web.Server):
    def __init__(self, service: Service, handler: Any, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._service = service

    def __call__(self) -> RequestHandler:
        return _Connection(self._service, self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application.

    Requests whose method and path are in ``service.direct`` go there without a
    look at the application's routes and middlewares, which take as long as all
    that is to be decided there.
    """

    def __init__(self, app: web.Application, service: Service, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._service = service

    def _reg_site(self, site: web.BaseSite) -> None:
        """gunicorn's worker listens with room for 128, and clients beyond that wait for seconds."""
        site._backlog = max(site._backlog, BACKLOG)
        super()._reg_site(site)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        service, others = self._service, made.request_handler

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            key = connection.proven(request) if isinstance(connection, _Connection) else b""
            direct = service.direct.get((request.method, request.rel_url.raw_path))
            if direct is None or "expect" in request.headers or not isinstance(request, web.Request):
                return await others(request)
            head = service.read(request)
            if key and head.recurs:
                service.known.learn(key, Known(head, direct))
            visit = visit_of(request, head)
            await service.attend(visit, direct)
            return Written(visit.wire)

        return _Server(
            service,
            handle,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
