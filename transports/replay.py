"""Transports that answer from recordings: no network, and no waiting unless it is asked for."""

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, Self

from .base import AsyncStream, Piece, PlanLike, Reply, Stream
from .cassette import Recording
from .matching import Asked, Index, asked
from .playback import Playback, Recut, Step, Timing, pace, played
from .scripted_faults import Fault

_IDLE_S: Final = 300.0
_LONGEST_SLEEP_S: Final = 86_400.0


class Clock(NamedTuple):
    """How a replay that takes time measures it, in seconds, and passes it."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


class AsyncClock(NamedTuple):
    """The same as ``Clock``, asynchronous."""

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[Any]]


class _Player:
    """Finds the answer to a plan, and keeps account of those given."""

    def __init__(
        self,
        recordings: Iterable[Recording],
        recut: Recut,
        break_at: int | None,
        timing: Timing,
        faults: Sequence[Fault | str],
        idle_s: float,
    ) -> None:
        self._recordings = tuple(recordings)
        self._index = Index(self._recordings)
        self._recut: Recut = recut
        self._break_at = break_at
        self._factor = pace(timing)
        self._idle_s = min(idle_s, _LONGEST_SLEEP_S)
        self._faults = tuple(Fault.parse(each) if isinstance(each, str) else each for each in faults)
        self._hits = [0] * len(self._faults)
        self._own: Fault | None = None
        self._unplayed = dict.fromkeys(range(len(self._recordings)))

    @property
    def unplayed(self) -> tuple[str, ...]:
        """The names of the recordings that answered nothing yet."""
        return tuple(self._recordings[number].name for number in self._unplayed)

    def with_fault(self, fault: Fault) -> Self:
        """The same transport, with a fault of its own that comes before all others; the account is shared."""
        twin = copy.copy(self)
        twin._own = fault
        return twin

    def _answer(self, plan: PlanLike) -> Playback:
        request = asked(plan)
        numbers = self._index.answers(request)
        if not numbers:
            return _not_recorded(request, self._index.nearest(request))
        number = next((each for each in numbers if each in self._unplayed), numbers[-1])
        recording = self._recordings[number]
        fault = self._fault_for(recording.name)
        playback = played(recording, self._recut, self._break_at, self._factor)
        if fault is None or not fault.spoils:
            self._unplayed.pop(number, None)
        return playback if fault is None else fault.applied(playback, self._idle_s)

    def _fault_for(self, name: str) -> Fault | None:
        if self._own is not None:
            return self._own if self._own.hits(name) else None
        for number, fault in enumerate(self._faults):
            if fault.hits(name) and (fault.times is None or self._hits[number] < fault.times):
                self._hits[number] += 1
                return fault
        return None


class ReplayTransport(_Player):
    """Answers plans from recordings.

    A plan is answered by the recordings with its method, its path and its
    body, one after the other, the last one for ever. Bodies are compared as
    JSON where they are JSON: the order of keys does not matter, 1 is not 1.0.
    What no recording answers gets status 501 and a message that names the
    nearest one. With ``break_at`` every body breaks off after that many bytes.
    ``timing`` says when pieces come; what they tell of time is always what was
    recorded. ``faults`` are made of the answers, of each the first that is for
    it and has not passed; an answer that a fault spoils counts as not given.
    ``idle_s`` is how long a silence lasts until it counts as a timeout.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        recut: Recut = "recorded",
        break_at: int | None = None,
        *,
        timing: Timing = "instant",
        faults: Sequence[Fault | str] = (),
        idle_s: float = _IDLE_S,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(recordings, recut, break_at, timing, faults, idle_s)
        self._clock = clock or Clock(time.monotonic, time.sleep)

    def send(self, plan: PlanLike) -> Reply:
        playback, started = self._answer(plan), self._clock.now()
        self._wait(playback.steps[-1].due_ms if playback.steps else playback.due_ms, started)
        return playback.whole()

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        playback, started = self._answer(plan), self._clock.now()
        self._wait(playback.due_ms, started)
        yield Stream(playback.head, self._pieces(playback.steps, started))

    def _pieces(self, steps: Iterable[Step], started: float) -> Iterator[Piece]:
        for due_ms, piece in steps:
            self._wait(due_ms, started)
            yield piece

    def _wait(self, due_ms: float, started: float) -> None:
        if due_ms and (left := started + due_ms / 1000 - self._clock.now()) > 0:
            self._clock.sleep(left)


class AsyncReplayTransport(_Player):
    """The same as ``ReplayTransport``, asynchronous."""

    def __init__(
        self,
        recordings: Iterable[Recording],
        recut: Recut = "recorded",
        break_at: int | None = None,
        *,
        timing: Timing = "instant",
        faults: Sequence[Fault | str] = (),
        idle_s: float = _IDLE_S,
        clock: AsyncClock | None = None,
    ) -> None:
        super().__init__(recordings, recut, break_at, timing, faults, idle_s)
        self._clock = clock or AsyncClock(time.monotonic, asyncio.sleep)

    async def send(self, plan: PlanLike) -> Reply:
        playback, started = self._answer(plan), self._clock.now()
        await self._wait(playback.steps[-1].due_ms if playback.steps else playback.due_ms, started)
        return playback.whole()

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:
        playback, started = self._answer(plan), self._clock.now()
        await self._wait(playback.due_ms, started)
        yield AsyncStream(playback.head, _AsyncPieces(playback.steps, started, self._wait))

    async def _wait(self, due_ms: float, started: float) -> None:
        if due_ms and (left := started + due_ms / 1000 - self._clock.now()) > 0:
            await self._clock.sleep(left)


class _AsyncPieces(AsyncIterator[Piece]):
    def __init__(
        self, steps: Iterable[Step], started: float, wait: Callable[[float, float], Awaitable[None]]
    ) -> None:
        self._steps, self._started, self._wait = iter(steps), started, wait

    async def __anext__(self) -> Piece:
        for due_ms, piece in self._steps:
            await self._wait(due_ms, self._started)
            return piece
        raise StopAsyncIteration


def _not_recorded(request: Asked, why: str) -> Playback:
    message = f"no recording answers {request.method} {request.path}{why}"
    error = {"message": message, "type": "NoRecording", "param": None, "code": 501}
    document = json.dumps({"error": error}).encode()
    head = Reply(501, {"content-type": "application/json"})
    return Playback(head, 0, (Step(0, Piece(document, 0)),))
