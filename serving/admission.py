"""Turns: so many requests run at a time, so many more wait, the rest are sent away."""

import asyncio
from collections import deque
from typing import Final, Self

from .layers import limits


class FullError(Exception):
    """Neither to run nor to wait is there room."""


class Admission:
    """Counts who runs and who waits; first come, first served.

    ``held`` are the bytes of bodies that were read for those who do not run
    yet, ``held_limit`` how many these may be.
    """

    def __init__(self, concurrency: limits.Concurrency, held_limit: int = limits.HELD_BYTES) -> None:
        self.concurrency = concurrency
        self.running = 0
        self.held = 0
        self.held_limit: Final = held_limit
        self._waiting: Final[deque[asyncio.Future[None]]] = deque()

    def turn(self) -> "Turn":
        """For one request, as a context that raises ``FullError`` when there is no room."""
        return Turn(self)

    def check(self) -> limits.Admittance:
        """What would become of a request that came now; raises ``FullError`` instead of ``refuse``."""
        verdict = limits.admit(self.concurrency, self.running, len(self._waiting))
        if verdict == "refuse":
            raise FullError
        return verdict

    def enters(self) -> bool:
        """Take a place among those that run, if there is one; raises ``FullError``."""
        running = self.running
        if limits.admit(self.concurrency, running, len(self._waiting)) != "run":
            self.check()
            return False
        self.running = running + 1
        return True

    async def enter(self) -> None:
        """The same, when there is one."""
        if not self.enters():
            await self._wait()

    async def _wait(self) -> None:
        """Until somebody who leaves hands over the place, which stays taken all the while."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # the place came at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place up, to whoever waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1


class Turn:
    """One request's: it has no place among those that run before ``take``.

    So nobody who sends slowly keeps others from running. What is read
    meanwhile is counted, and may be so much for all requests together;
    whoever has more to read needs a place first.
    """

    __slots__ = ("_admission", "_held", "_taken")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._held = 0
        self._taken = False

    def __enter__(self) -> Self:
        self._admission.check()
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._held:
            self._forget()
        if self._taken:
            self._admission.leave()

    def fits(self, count: int) -> bool:
        """Whether so many more bytes may be held already; if not, ``take`` comes first."""
        if not self._taken:
            self._held += count
            self._admission.held += count
        return self._taken or self._admission.held <= self._admission.held_limit

    def takes(self) -> bool:
        """Take a place among those that run, if there is one; raises ``FullError``."""
        if not self._taken and self._admission.enters():
            self._taken = True
            if self._held:
                self._forget()
        return self._taken

    async def take(self) -> None:
        """The same, when there is one; once."""
        if not self.takes():
            await self._admission.enter()
            self._taken = True
            self._forget()

    def _forget(self) -> None:
        self._admission.held -= self._held
        self._held = 0
