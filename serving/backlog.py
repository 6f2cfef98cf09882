"""Work that can wait for a moment, since much of it together takes less than one by one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

_MOST_WAITING: Final = 64

_T = TypeVar("_T")


class Backlog(Generic[_T]):
    """What waits to be worked off: nothing, when it is the first for a while, else at most ``pause_s``.

    No more than some dozens wait at a time. Without a pause nothing does.
    It belongs to the thread of one event loop.
    """

    def __init__(self, work_off: Callable[[Sequence[_T]], object], pause_s: float = 0.0) -> None:
        self._work_off = work_off
        self._pause_s = pause_s
        self._waiting: list[_T] = []
        self._pause: asyncio.TimerHandle | None = None

    def add(self, item: _T, at_once: bool = False) -> None:
        """Work off ``item`` after all that came before it; now, if it must be ``at_once``."""
        self._waiting.append(item)
        if self._pause is None or at_once or len(self._waiting) >= _MOST_WAITING:
            self.clear()
            if self._pause is None and self._pause_s:
                self._begin_pause()

    def clear(self) -> None:
        """Work off what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._work_off(waiting)

    def close(self) -> None:
        """Work off what waits; from now on nothing does."""
        self._pause_s = 0.0
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self.clear()

    def _begin_pause(self) -> None:
        self._pause = asyncio.get_running_loop().call_later(self._pause_s, self._end_pause)

    def _end_pause(self) -> None:
        self._pause = None
        if self._waiting:
            self._begin_pause()
            self.clear()
