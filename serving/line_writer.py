"""Lines for a file or a pipe, several of them to a write."""

from collections.abc import Iterator, Sequence
from typing import Final, TextIO

_ATOMIC: Final = 4096  # bytes that a pipe takes in one piece, so that processes may share it


def write_lines(stream: TextIO, lines: Sequence[str]) -> None:
    """Write ``lines``, which have no line ends of their own, and flush.

    A stream that is gone is not written to: requests go on without it.
    """
    try:
        for piece in _together(lines):
            stream.write(piece)
            stream.flush()
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
