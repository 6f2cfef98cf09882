"""Recording transports: transparent to both sides, and complete in what they tell."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import pytest

from transports import (
    AsyncRecordingTransport,
    AsyncStream,
    Cut,
    Exchange,
    Piece,
    PlanLike,
    RecordingTransport,
    Reply,
    Stream,
    batches,
    batches_async,
)


class Plan(NamedTuple):
    method: str = "GET"
    path: str = "/v1/x"
    body: None = None


PLAN = Plan()
HEAD = Reply(200, {"a": "b"}, b"", 3)
REFUSED = Reply(0, {}, b"", 3, Cut("connect", "connection refused"))
RESET = Cut("read", "connection reset")
LEFT = Cut("cancelled", "the caller left")


class Notebook:
    """A sink that keeps what it is told. The clock of its recorders moves a second at each look."""

    def __init__(self, wanted: int = 100) -> None:
        self.wanted = wanted
        self.exchanges: list[Exchange] = []
        self.outgrew = 0
        self.time = 1000.0

    def wants(self, plan: PlanLike) -> int:
        assert plan is PLAN
        return self.wanted

    def put(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def outgrown(self) -> None:
        self.outgrew += 1

    def now(self) -> float:
        self.time += 1
        return self.time


class Pieces(Iterator[Piece], AsyncIterator[Piece]):
    """The pieces of a stream, in either colour; remembers whether it was finished."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.left = list(pieces)

    def __next__(self) -> Piece:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    async def __anext__(self) -> Piece:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


class Finishable(Pieces):
    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__(pieces)
        self.finished = False

    def finish(self) -> None:
        self.finished = True


class AsyncFinishable(Pieces):
    async def finish(self) -> None:
        raise AssertionError("the recorder reads on by itself")


class Canned:
    """Gives the answer that it was made with."""

    def __init__(self, head: Reply, pieces: Pieces | None = None) -> None:
        self.head, self.pieces = head, pieces or Pieces([])
        self.closed = 0

    def send(self, plan: PlanLike) -> Reply:
        assert plan is PLAN
        return self.head

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        assert plan is PLAN
        try:
            yield Stream(self.head, self.pieces)
        finally:
            self.closed += 1


class AsyncCanned(Canned):
    async def send(self, plan: PlanLike) -> Reply:  # type: ignore[override]
        return super().send(plan)

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:  # type: ignore[override]
        with super().stream(plan) as (head, pieces):
            assert isinstance(pieces, Pieces)
            yield AsyncStream(head, pieces)


def told(streaming: bool, head: Reply, *pieces: Piece) -> Exchange:
    return Exchange(PLAN, streaming, 1001.0, head, pieces, "kind")


def sent(reply: Reply, wanted: int = 100) -> Notebook:
    """What is recorded of a whole answer, the same in both colours."""
    book, other = Notebook(wanted), Notebook(wanted)
    assert RecordingTransport(Canned(reply), book, "kind", book.now).send(PLAN) is reply
    transport = AsyncRecordingTransport(AsyncCanned(reply), other, "kind", other.now)
    assert asyncio.run(transport.send(PLAN)) is reply
    assert (book.exchanges, book.outgrew) == (other.exchanges, other.outgrew)
    return book


SENT = {
    "an answer": (HEAD._replace(body=b"abc"), told(False, HEAD, Piece(b"abc", 3))),
    "an empty answer": (HEAD, told(False, HEAD)),
    "an answer that broke off": (
        HEAD._replace(body=b"abc", cut=RESET),
        told(False, HEAD._replace(cut=RESET), Piece(b"abc", 3, RESET)),
    ),
    "an answer that broke off at once": (
        HEAD._replace(cut=RESET),
        told(False, HEAD._replace(cut=RESET), Piece(b"", 3, RESET)),
    ),
    "no answer": (REFUSED, told(False, REFUSED)),
}


@pytest.mark.parametrize(("reply", "expected"), SENT.values(), ids=SENT)
def test_whole_answers_are_recorded(reply: Reply, expected: Exchange) -> None:
    assert sent(reply).exchanges == [expected]


A, B, BROKEN = Piece(b"a", 5), Piece(b"bb", 7), Piece(b"", 9, RESET)


class OfTwo:
    """A fold that has all it needs once it has seen an ``a``."""

    ended = False

    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[bytes]:
        self.ended = b"a" in data
        return [data]

    def close(self, at_ms: int = 0, cut: Cut | None = None) -> Sequence[bytes]:
        return []


def streamed(
    head: Reply, pieces: Sequence[Piece], read: int | None = None, wanted: int = 100
) -> tuple[Notebook, list[Piece]]:
    """What is recorded of a stream of which so many pieces are read, the same in both colours."""
    book, other = Notebook(wanted), Notebook(wanted)
    canned, async_canned = Canned(head, Pieces(pieces)), AsyncCanned(head, Pieces(pieces))
    read = len(pieces) + 1 if read is None else read
    got = []
    with RecordingTransport(canned, book, "kind", book.now).stream(PLAN) as (seen, stream):
        assert seen is head
        for _, piece in zip(range(read), stream, strict=False):
            got.append(piece)

    async def asynchronous() -> None:
        transport = AsyncRecordingTransport(async_canned, other, "kind", other.now)
        async with transport.stream(PLAN) as (seen, stream):
            assert seen is head
            for expected in got:
                assert await anext(stream) is expected
            if read > len(pieces):
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)

    asyncio.run(asynchronous())
    assert (book.exchanges, book.outgrew) == (other.exchanges, other.outgrew)
    assert (canned.closed, async_canned.closed) == (1, 1)
    return book, got


STREAMED: dict[str, tuple[Reply, list[Piece], int | None, Exchange]] = {
    "read to its end": (HEAD, [A, B], None, told(True, HEAD, A, B)),
    "without a body": (HEAD, [], None, told(True, HEAD)),
    "broken off": (HEAD, [A, BROKEN], 2, told(True, HEAD, A, BROKEN)),
    "broken off, and read on": (HEAD, [A, BROKEN], None, told(True, HEAD, A, BROKEN)),
    "without an answer": (REFUSED, [], None, told(True, REFUSED)),
    "without an answer, not read": (REFUSED, [], 0, told(True, REFUSED)),
    "left after a piece": (HEAD, [A, B], 1, told(True, HEAD, A, Piece(b"", 1000, LEFT))),
    "left before the first piece": (HEAD, [A, B], 0, told(True, HEAD, Piece(b"", 1000, LEFT))),
}


@pytest.mark.parametrize(("head", "pieces", "read", "expected"), STREAMED.values(), ids=STREAMED)
def test_streams_are_recorded(head: Reply, pieces: list[Piece], read: int | None, expected: Exchange) -> None:
    book, got = streamed(head, pieces, read)
    assert book.exchanges == [expected]
    assert got == pieces[: len(pieces) if read is None else read]


def test_a_reader_that_fails_is_a_caller_that_left() -> None:
    book = Notebook()
    canned = Canned(HEAD, Pieces([A, B]))

    def read() -> None:
        with RecordingTransport(canned, book, "kind", book.now).stream(PLAN) as (_, pieces):
            next(pieces)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert book.exchanges == [told(True, HEAD, A, Piece(b"", 1000, LEFT))]
    assert canned.closed == 1


def test_a_fold_that_has_ended_ends_the_recording() -> None:
    book = Notebook()
    pieces = Finishable([A, B])
    with RecordingTransport(Canned(HEAD, pieces), book, "kind", book.now).stream(PLAN) as stream:
        assert list(batches(stream.pieces, OfTwo())) == [[b"a"]]
        assert pieces.finished
        assert book.exchanges == [told(True, HEAD, A)]
    assert len(book.exchanges) == 1


def test_asynchronously_what_comes_at_once_after_that_is_recorded_too() -> None:
    book = Notebook()

    async def read(pieces: Pieces) -> None:
        transport = AsyncRecordingTransport(AsyncCanned(HEAD, pieces), book, "kind", book.now)
        async with transport.stream(PLAN) as stream:
            assert [events async for events in batches_async(stream.pieces, OfTwo())] == [[b"a"]]

    asyncio.run(read(AsyncFinishable([A, B])))
    asyncio.run(read(AsyncFinishable([A, B, BROKEN, B])))
    asyncio.run(read(Pieces([A, B])))
    assert [exchange.pieces for exchange in book.exchanges] == [(A, B), (A, B, BROKEN), (A,)]


class Silent(AsyncFinishable):
    """Never comes to its end; tells when it is waited for."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__(pieces)
        self.waits = asyncio.Event()

    async def __anext__(self) -> Piece:
        if self.left:
            return self.left.pop(0)
        self.waits.set()
        await asyncio.Event().wait()
        raise AssertionError


def test_what_does_not_come_at_once_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.recorder.DRAIN_S", 0.001)
    book = Notebook()

    async def read() -> None:
        transport = AsyncRecordingTransport(AsyncCanned(HEAD, Silent([A, B])), book, "kind", book.now)
        async with transport.stream(PLAN) as stream:
            assert [events async for events in batches_async(stream.pieces, OfTwo())] == [[b"a"]]

    asyncio.run(read())
    assert book.exchanges == [told(True, HEAD, A, B)]


def test_more_than_a_little_is_not_read_on() -> None:
    book = Notebook(wanted=10**6)
    rest = [Piece(b"x" * 40_000, 8)] * 4

    async def read() -> None:
        transport = AsyncRecordingTransport(AsyncCanned(HEAD, AsyncFinishable([A, *rest])), book)
        async with transport.stream(PLAN) as stream:
            assert [events async for events in batches_async(stream.pieces, OfTwo())] == [[b"a"]]

    asyncio.run(read())
    assert [exchange.pieces for exchange in book.exchanges] == [(A, *rest[:2])]


class Hanging(AsyncCanned):
    """Gives no answer; tells when it is asked."""

    def __init__(self) -> None:
        super().__init__(HEAD)
        self.asked = asyncio.Event()

    async def send(self, plan: PlanLike) -> Reply:  # type: ignore[override]
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:  # type: ignore[override]
        await self.send(plan)
        yield AsyncStream(self.head, self.pieces)


def test_a_cancelled_request_is_recorded_as_such() -> None:
    book = Notebook()

    async def cancelled(streaming: bool) -> None:
        hanging = Hanging()
        transport = AsyncRecordingTransport(hanging, book, "kind", book.now)

        async def ask() -> None:
            if not streaming:
                await transport.send(PLAN)
            async with transport.stream(PLAN):
                raise AssertionError

        task = asyncio.create_task(ask())
        await hanging.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled(streaming=False))
    book.time = 1000.0
    asyncio.run(cancelled(streaming=True))
    nothing = Reply(0, {}, b"", 1000, LEFT)
    assert book.exchanges == [told(False, nothing), told(True, nothing)]


def test_a_stream_that_is_cancelled_between_pieces_is_recorded_as_left() -> None:
    book = Notebook()

    async def main() -> None:
        pieces = Silent([A])
        transport = AsyncRecordingTransport(AsyncCanned(HEAD, pieces), book, "kind", book.now)

        async def read() -> None:
            async with transport.stream(PLAN) as stream:
                async for _ in stream.pieces:
                    pass

        task = asyncio.create_task(read())
        await pieces.waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert book.exchanges == [told(True, HEAD, A, Piece(b"", 1000, LEFT))]


class Interrupted(Canned):
    def send(self, plan: PlanLike) -> Reply:
        raise KeyboardInterrupt

    def stream(self, plan: PlanLike) -> Any:
        raise KeyboardInterrupt


def test_an_interrupted_request_is_recorded_as_left() -> None:
    book = Notebook()
    transport = RecordingTransport(Interrupted(HEAD), book, "kind", book.now)
    with pytest.raises(KeyboardInterrupt):
        transport.send(PLAN)
    book.time = 1000.0
    with pytest.raises(KeyboardInterrupt), transport.stream(PLAN):
        pass
    nothing = Reply(0, {}, b"", 1000, LEFT)
    assert book.exchanges == [told(False, nothing), told(True, nothing)]


class BrokenError(Exception):
    """A fault of a transport or of a sink."""


class Broken(Canned):
    def send(self, plan: PlanLike) -> Reply:
        raise BrokenError

    def stream(self, plan: PlanLike) -> Any:
        raise BrokenError


def test_a_fault_of_the_transport_passes_and_is_no_exchange() -> None:
    book = Notebook()
    transport = RecordingTransport(Broken(HEAD), book)
    with pytest.raises(BrokenError):
        transport.send(PLAN)
    with pytest.raises(BrokenError), transport.stream(PLAN):
        pass
    assert book.exchanges == []


@pytest.mark.parametrize(("wanted", "exchanges", "outgrew"), [(3, 1, 0), (2, 0, 1), (0, 0, 0)])
def test_only_what_is_wanted_is_collected(wanted: int, exchanges: int, outgrew: int) -> None:
    book, got = streamed(HEAD, [A, B], wanted=wanted)
    assert got == [A, B]
    assert (len(book.exchanges), book.outgrew) == (exchanges, outgrew)
    book = sent(HEAD._replace(body=b"abc"), wanted)
    assert (len(book.exchanges), book.outgrew) == (exchanges, outgrew)


class Faulty(Notebook):
    """A sink that does not keep its promises."""

    def __init__(self, method: str) -> None:
        super().__init__(2)
        self.method = method

    def __getattribute__(self, name: str) -> Any:
        if name == super().__getattribute__("method"):
            return fail
        return super().__getattribute__(name)


def fail(*_: object) -> Any:
    raise BrokenError("a secret")


@pytest.mark.parametrize("method", ["wants", "outgrown", "put"])
def test_a_fault_of_the_sink_breaks_no_request(method: str, caplog: pytest.LogCaptureFixture) -> None:
    body = b"a" if method == "put" else b"abc"
    reply = HEAD._replace(body=body)
    assert RecordingTransport(Canned(reply), Faulty(method)).send(PLAN) is reply
    with RecordingTransport(Canned(HEAD, Pieces([Piece(body, 5)])), Faulty(method)).stream(PLAN) as stream:
        assert list(stream.pieces) == [Piece(body, 5)]
    told = ("bifrost_vllm.recording", logging.ERROR, "an exchange was not recorded: BrokenError")
    assert caplog.record_tuples == [told, told]
