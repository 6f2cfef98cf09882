"""Transports that record: they pass everything on as it is, and keep account of it.

Whatever becomes of an exchange is told to a ``Sink``: a whole answer, one that
broke off, none at all, or a caller that left in the middle.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NamedTuple, Protocol

from .base import (
    DRAIN_BYTES,
    DRAIN_S,
    AsyncFinishable,
    AsyncStream,
    AsyncTransport,
    Cut,
    Finishable,
    Piece,
    PlanLike,
    Reply,
    Stream,
    Transport,
)

log: Final = logging.getLogger("bifrost_vllm.recording")

LEFT: Final = "the caller left"


class Exchange(NamedTuple):
    """A finished exchange with a server.

    ``started`` is when it began, in seconds since 1970. ``head`` has no body;
    its status is 0 when no answer came. The last of the ``pieces`` may hold a
    cut, as may the head. ``label`` is the recorder's word for the kind of
    request.
    """

    plan: PlanLike
    streaming: bool
    started: float
    head: Reply
    pieces: tuple[Piece, ...] = ()
    label: str = ""


class Sink(Protocol):
    """Where finished exchanges go. It answers at once, from any thread."""

    def wants(self, plan: PlanLike) -> int:
        """Of how many bytes the answer to ``plan`` may be; 0 when the exchange is of no interest."""
        ...

    def put(self, exchange: Exchange) -> None:
        """An exchange that was wanted."""
        ...

    def outgrown(self) -> None:
        """An exchange that was wanted turned out to be larger."""
        ...


class _Take:
    """What is collected of one exchange. It never raises: a request is worth more than its recording."""

    __slots__ = ("_label", "_left", "_now", "_pieces", "_plan", "_sink", "head", "started")

    def __init__(self, sink: Sink, plan: PlanLike, label: str, now: Callable[[], float]) -> None:
        self._sink, self._plan, self._label, self._now = sink, plan, label, now
        self._pieces: list[Piece] = []
        self.started = now()
        self.head: Reply | None = None
        self._left = -1
        with _guarded():
            self._left = sink.wants(plan) or -1

    def reply(self, reply: Reply) -> None:
        """A whole answer."""
        self.head = reply._replace(body=b"")
        if reply.body or (reply.cut and reply.status):
            self.piece(Piece(reply.body, reply.elapsed_ms, reply.cut if reply.status else None))
        self.end(streaming=False)

    def piece(self, piece: Piece) -> None:
        if self._left < 0:
            return
        self._left -= len(piece.data)
        if self._left >= 0:
            self._pieces.append(piece)
            return
        self._pieces.clear()
        with _guarded():
            self._sink.outgrown()

    def left(self, streaming: bool) -> None:
        """The caller gave up, and so the exchange did not come to its end."""
        elapsed_ms = max(0, int((self._now() - self.started) * 1000))
        cut = Cut("cancelled", LEFT)
        if self.head is None:
            self.head = Reply(0, {}, b"", elapsed_ms, cut)
        elif self.head.status and not (self._pieces and self._pieces[-1].cut):
            self.piece(Piece(b"", elapsed_ms, cut))
        self.end(streaming)

    def end(self, streaming: bool) -> None:
        """Hand the exchange over, once."""
        if self._left < 0 or self.head is None:
            return
        self._left = -1
        with _guarded():
            self._sink.put(
                Exchange(self._plan, streaming, self.started, self.head, tuple(self._pieces), self._label)
            )


@contextmanager
def _guarded() -> Iterator[None]:
    """Keeps the faults of a sink from the request."""
    try:
        yield
    except Exception as error:  # its text may quote what was recorded
        log.error("an exchange was not recorded: %s", type(error).__name__)


class RecordingTransport:
    """Passes plans to a transport, and every finished exchange to a sink.

    A stream counts as finished at its end, or when its reader has all it needs;
    whoever leaves earlier is recorded as having cancelled it.
    """

    __slots__ = ("_inner", "_label", "_now", "_sink")

    def __init__(
        self, inner: Transport, sink: Sink, label: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._inner, self._sink, self._label, self._now = inner, sink, label, now

    def send(self, plan: PlanLike) -> Reply:
        take = _Take(self._sink, plan, self._label, self._now)
        try:
            reply = self._inner.send(plan)
        except KeyboardInterrupt:
            take.left(streaming=False)
            raise
        take.reply(reply)
        return reply

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        take = _Take(self._sink, plan, self._label, self._now)
        try:
            with self._inner.stream(plan) as stream:
                take.head = stream.head
                try:
                    yield Stream(stream.head, _Pieces(stream.pieces, take))
                finally:
                    take.left(streaming=True)  # unless it has ended
        except KeyboardInterrupt:
            take.left(streaming=True)
            raise


class AsyncRecordingTransport:
    """The same as ``RecordingTransport``, asynchronous."""

    __slots__ = ("_inner", "_label", "_now", "_sink")

    def __init__(
        self, inner: AsyncTransport, sink: Sink, label: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._inner, self._sink, self._label, self._now = inner, sink, label, now

    async def send(self, plan: PlanLike) -> Reply:
        take = _Take(self._sink, plan, self._label, self._now)
        try:
            reply = await self._inner.send(plan)
        except asyncio.CancelledError:
            take.left(streaming=False)
            raise
        take.reply(reply)
        return reply

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:
        take = _Take(self._sink, plan, self._label, self._now)
        try:
            async with self._inner.stream(plan) as stream:
                take.head = stream.head
                try:
                    yield AsyncStream(stream.head, _AsyncPieces(stream.pieces, take))
                finally:
                    take.left(streaming=True)  # unless it has ended
        except asyncio.CancelledError:
            take.left(streaming=True)
            raise


class _Pieces(Iterator[Piece]):
    __slots__ = ("_inner", "_take")

    def __init__(self, inner: Iterator[Piece], take: _Take) -> None:
        self._inner, self._take = inner, take

    def __next__(self) -> Piece:
        try:
            piece = next(self._inner)
        except StopIteration:
            self._take.end(streaming=True)
            raise
        self._take.piece(piece)
        return piece

    def finish(self) -> None:
        """The reader has all it needs; what comes after that is not recorded."""
        self._take.end(streaming=True)
        if isinstance(self._inner, Finishable):
            self._inner.finish()


class _AsyncPieces(AsyncIterator[Piece]):
    __slots__ = ("_inner", "_take")

    def __init__(self, inner: AsyncIterator[Piece], take: _Take) -> None:
        self._inner, self._take = inner, take

    async def __anext__(self) -> Piece:
        try:
            piece = await anext(self._inner)
        except StopAsyncIteration:
            self._take.end(streaming=True)
            raise
        self._take.piece(piece)
        return piece

    async def finish(self) -> None:
        """The reader has all it needs; what comes at once after that is recorded, too."""
        try:
            if isinstance(self._inner, AsyncFinishable):
                # As the transport itself would read on, so that nothing is slower than without a recorder.
                allowance = DRAIN_BYTES
                async with asyncio.timeout(DRAIN_S):
                    async for piece in self._inner:
                        self._take.piece(piece)
                        allowance -= len(piece.data)
                        if piece.cut or allowance <= 0:
                            break
        except TimeoutError:
            pass
        finally:
            self._take.end(streaming=True)
