"""Turns: so many requests run at a time, so many more wait, the rest are sent away."""

import asyncio
from collections import deque
from typing import Final

from .layers import limits


class FullError(Exception):
    """Neither to run nor to wait is there room."""


class Admission:
    """Counts who runs and who waits; first come, first served."""

    def __init__(self, concurrency: limits.Concurrency) -> None:
        self.concurrency = concurrency
        self.running = 0
        self._waiting: Final[deque[asyncio.Future[None]]] = deque()

    async def __aenter__(self) -> None:
        """Take a place among those that run, for as long as the block; raises ``FullError``."""
        match limits.admit(self.concurrency, self.running, len(self._waiting)):
            case "refuse":
                raise FullError
            case "wait":
                await self._wait()
            case "run":
                self.running += 1

    async def __aexit__(self, *_raised: object) -> None:
        self._leave()

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
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
