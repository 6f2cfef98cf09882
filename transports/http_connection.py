"""A connection to a server on asyncio: one exchange after another, each within its limits of time."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from .base import LARGE_UPLOAD, Cut, Phase, Timeouts
from .faults import NO_ANSWER, broken_body, phrase, timed_out
from .http_response import ResponseParser

_MOST_WAITING: Final = 128 * 1024  # bytes of a body that nobody has read yet, before reading pauses
_BLOCK: Final = 256 * 1024  # of a large upload
_TICK_S: Final = 0.001  # the clock of a loop may tick in milliseconds


class Origin(NamedTuple):
    """Whom a connection is to: requests to equal origins share connections."""

    tls: bool
    host: str
    port: int


class Connection(asyncio.Protocol):
    """An open connection to ``origin``. ``answer`` is that of the exchange at hand.

    What breaks an exchange, a limit of time included, is its ``cut`` and
    closes the connection. ``forget`` is called when the connection is gone.
    ``silent`` tells that the server has said nothing since the last request.
    """

    __slots__ = (
        "_blocked", "_deadline", "_forget", "_gathers", "_limit_s", "_limits", "_loop", "_most_waiting",
        "_paused", "_phase", "_timer", "_timer_at", "_total_at", "_transport", "_waiter", "_waiting",
        "answer", "cut", "idle_since", "lost", "origin", "silent",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, forget: Callable[["Connection"], object]
    ) -> None:
        self.answer = ResponseParser()
        self.cut: Cut | None = None
        self.idle_since = 0.0
        self.lost = False
        self.origin = origin
        self.silent = True
        self._loop = loop
        self._forget = forget
        self._transport: asyncio.Transport | None = None
        self._waiting = 0  # bytes that are to be read
        self._most_waiting = _MOST_WAITING
        self._gathers = False  # a body is of interest when it is whole, or larger than ``_most_waiting``
        self._paused = False
        self._blocked = False  # the server takes no more of the request at present
        self._waiter: asyncio.Future[None] | None = None
        self._limits = Timeouts()
        self._phase: Phase = "first byte"
        self._limit_s: float | None = None
        self._deadline = self._total_at = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: none is under way, and both sides keep the connection."""
        answer, transport = self.answer, self._transport
        if not answer.keeps or self.lost or transport is None or transport.is_closing():
            return False
        return answer.state in {"over", "idle"}

    async def ask(
        self,
        head: bytes,
        blocks: Sequence[bytes],
        size: int,
        bodiless: bool,
        limits: Timeouts,
        total_at: float,
        gather: int = 0,
    ) -> None:
        """Send a request and wait for the head of the answer, or for the cut.

        ``blocks`` are the body, in order, ``size`` its bytes; ``bodiless`` says
        that the answer will have none. ``total_at`` is the time of the loop at
        which ``limits.total_s`` runs out. When the answer comes before all of
        the request is sent, the rest of it is not sent.

        With ``gather``, waits for the body as well, as long as it has no
        encoding and no more than about so many bytes of it have come.
        """
        self.cut, self.silent = None, True
        self._limits, self._total_at = limits, total_at
        self._gathers, self._most_waiting = gather > 0, gather or _MOST_WAITING
        answer = self.answer
        answer.expect(bodiless)
        sent = True
        transport = self._transport
        if transport is None or self.lost or transport.is_closing():
            self._break(Cut("read", NO_ANSWER))
            sent = False
        elif size <= LARGE_UPLOAD:
            transport.writelines((head, *blocks))
        else:
            sent = await self._upload(transport, head, blocks)
        if sent:
            self._allow("first byte", limits.first_byte_s)
        while self.cut is None and (answer.state == "head" or (self._gathers and answer.state == "body")):
            await self._next()
        self._gathers, self._most_waiting = False, _MOST_WAITING
        answer.keeps = answer.keeps and sent

    def news(self) -> asyncio.Future[None] | None:
        """What to wait for until more of the body has come; nothing to wait for when it has, or will not."""
        answer = self.answer
        if answer.body or answer.state != "body" or self.cut is not None:
            return None
        self._allow("idle", self._limits.idle_s)
        return self._next()

    def take(self) -> bytes:
        """What came of the body; nothing when all of it was taken."""
        data = b"".join(self.answer.body)  # of one piece, it is that piece
        self._emptied()
        return data

    def rest(self) -> None:
        """The exchange is over: what nobody read is gone, and the server is to be silent until the next."""
        if self._waiting:
            self._emptied()
        self.answer.state = "idle"
        self.idle_since = self._loop.time()

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self.answer.keeps = False
        if self._transport is not None:
            self._transport.abort()

    def _emptied(self) -> None:
        """The body as far as it came is done with."""
        self.answer.body.clear()
        self._waiting = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    async def _upload(self, transport: asyncio.Transport, head: bytes, blocks: Sequence[bytes]) -> bool:
        """Send a large request; false when the answer or the end of the connection came first."""
        transport.write(head)
        for block in blocks:
            whole = memoryview(block)
            for start in range(0, len(whole), _BLOCK):
                self._allow("sending", self._limits.first_byte_s)
                while self._blocked and self._is_unanswered():
                    await self._next()
                if not self._is_unanswered():
                    return False
                transport.write(whole[start : start + _BLOCK])
        return True

    def _is_unanswered(self) -> bool:
        return self.answer.state == "head" and self.cut is None

    # One timer serves all waits: it is set anew only for an earlier time, and
    # looks at the deadline of the day when it fires.

    def _allow(self, phase: Phase, seconds: float | None) -> None:
        """From now on, waiting is limited in this way."""
        deadline = math.inf if seconds is None else self._loop.time() + seconds
        if self._total_at < deadline:
            deadline, phase, seconds = self._total_at, "total", self._limits.total_s
        self._deadline, self._phase, self._limit_s = deadline, phase, seconds

    def _next(self) -> asyncio.Future[None]:
        """Done when something happens, be it what the caller waits for or not."""
        if self._deadline < self._timer_at:
            self._set_timer()
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._waiter is None or self._waiter.done() or math.isinf(self._deadline):
            return
        if self._loop.time() + _TICK_S < self._deadline:
            self._set_timer()
        else:
            self._break(timed_out(self._phase, self._limit_s))

    def _break(self, cut: Cut) -> None:
        self.cut = self.cut or cut
        self.close()
        self._wake()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.silent = False
        answer = self.answer
        news = answer.feed(data)
        if answer.fault:
            self._break(Cut("read", answer.fault))
        elif news:
            self._waiting += len(data)
            if answer.state == "body":
                if self._waiting > self._most_waiting:
                    self._gathers = False
                    if not self._paused:
                        self._paused = True
                        cast("asyncio.Transport", self._transport).pause_reading()
                elif self._gathers:
                    self._gathers = "content-encoding" not in answer.headers
                    self._allow("idle", self._limits.idle_s)
                    if self._deadline < self._timer_at:
                        self._set_timer()
                    if self._gathers:
                        return
            self._wake()
        elif not answer.keeps and answer.state in {"idle", "over"}:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf
        answer = self.answer
        under_way = answer.state in {"head", "body"}
        if exc is None:
            answer.end()
        if self.cut is None and under_way:
            if exc is None:
                self.cut = Cut("read", answer.fault) if answer.fault else None
            else:
                self.cut = Cut("read", phrase(exc)) if answer.state == "head" else broken_body(exc)
        self._wake()
        self._forget(self)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._is_unanswered():
            self._wake()
