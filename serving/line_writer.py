"""Lines for a file or a pipe, several of them to a write when they come fast."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

_PAUSE_S: Final = 0.1
_MOST_WAITING: Final = 512  # lines
_ATOMIC: Final = 4096  # bytes that a pipe takes in one piece, so that processes may share it


class LineWriter:
    """Writes a line at once when it is the first for a while, else at most 0.1 s later.

    It belongs to the thread of one event loop. ``close`` writes what still
    waits. A stream that is gone is not written to: requests go on without it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: str) -> None:
        """Write ``line``, which has no line end of its own."""
        self._waiting.append(line)
        if self._timer is None:
            self._flush()
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._pause_is_over)
        elif len(self._waiting) >= _MOST_WAITING:
            self._flush()

    def close(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush()

    def _pause_is_over(self) -> None:
        self._timer = None
        if self._waiting:
            self._flush()
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._pause_is_over)

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        try:
            for lines in _together(waiting):
                self._stream.write(lines)
                self._stream.flush()
        except (OSError, ValueError):  # nobody reads, or it is closed
            return


def _together(lines: Sequence[str]) -> Iterator[str]:
    """The lines in order, as many in one piece as a pipe keeps together."""
    piece: list[str] = []
    size = 0
    for line in lines:
        if piece and size + len(line) >= _ATOMIC:
            yield "".join(piece)
            piece, size = [], 0
        piece += (line, "\n")
        size += len(line) + 1
    yield "".join(piece)
