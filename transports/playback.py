"""How a recording is played: which pieces come, and when. Pure: nothing here waits."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from .base import Cut, Piece, Reply
from .cassette import Recording

Recut = Literal["recorded", "whole", "bytes"] | int | Sequence[int]
"""How a body is cut: as it was recorded, not at all, into single bytes, or by size.

Several sizes are taken in turn, over and over.
"""

Timing = Literal["instant", "recorded"] | float
"""When pieces come: at once, when they came, or at so many times the recorded time (0.5: twice as fast)."""


class Step(NamedTuple):
    """A piece, and how many milliseconds after the request it is due."""

    due_ms: float
    piece: Piece


class Playback(NamedTuple):
    """An answer that is to be given: its head, when that is due, and its body.

    What the head and the pieces tell of time is what was recorded, however
    long it takes to play them.
    """

    head: Reply
    due_ms: float
    steps: tuple[Step, ...] = ()

    def whole(self) -> Reply:
        """The answer as ``send`` gives it."""
        if not self.steps:
            return self.head
        body = b"".join(step.piece.data for step in self.steps)
        last = self.steps[-1].piece
        return self.head._replace(body=body, elapsed_ms=last.at_ms, cut=last.cut)


def pace(timing: Timing) -> float:
    """What the recorded times are multiplied by; ``ValueError`` for what is no timing."""
    factor = {"instant": 0.0, "recorded": 1.0}.get(timing) if isinstance(timing, str) else float(timing)
    if factor is None or not 0 <= factor < math.inf:
        raise ValueError("a timing is instant, recorded, or by how much to multiply the recorded times")
    return factor


def as_timing(text: str) -> Timing:
    """A timing as people write it; ``ValueError`` for what is none."""
    timing: Timing
    try:
        timing = "instant" if text == "instant" else "recorded" if text == "recorded" else float(text)
    except ValueError:
        timing = -1.0
    pace(timing)
    return timing


def played(recording: Recording, recut: Recut, break_at: int | None, factor: float) -> Playback:
    """The answer of a recording. With ``break_at`` its body breaks off after that many bytes."""
    if not recording.status:
        head = Reply(0, {}, b"", recording.cut_ms, recording.cut)
        return Playback(head, recording.cut_ms * factor)
    pieces = _pieces(recording, recut, break_at)
    head_ms = recording.head_ms
    if head_ms is None:
        head_ms = pieces[0].at_ms if pieces else 0
    steps = tuple(Step(piece.at_ms * factor, piece) for piece in pieces)
    return Playback(Reply(recording.status, recording.headers, b"", head_ms), head_ms * factor, steps)


def _pieces(recording: Recording, recut: Recut, break_at: int | None) -> list[Piece]:
    """The body in pieces. A piece came when its last byte did."""
    body = recording.body if break_at is None else recording.body[:break_at]
    reads = recording.cuts or ((0, len(recording.body)),)
    ends = tuple(itertools.accumulate(count for _, count in reads))
    pieces: list[Piece] = []
    start = read = 0
    for size in _sizes(recut, recording):
        if start >= len(body):
            break
        data = body[start : start + size]
        start += len(data)
        while ends[read] < start:
            read += 1
        pieces.append(Piece(data, reads[read][0]))
    if break_at is not None and break_at <= len(recording.body):
        broken = Cut("read", f"the recording was broken off at byte {break_at}")
        pieces.append(Piece(b"", pieces[-1].at_ms if pieces else reads[0][0], broken))
    elif recording.cut:
        pieces.append(Piece(b"", recording.cut_ms, recording.cut))
    return pieces


def _sizes(recut: Recut, recording: Recording) -> Iterable[int]:
    match recut:
        case "recorded":
            sizes: Sequence[int] = [count for _, count in recording.cuts if count]
        case "whole":
            sizes = []
        case "bytes":
            sizes = [1]
        case int():
            sizes = [recut]
        case _:
            sizes = [*recut]
    if any(size < 1 for size in sizes):
        raise ValueError("a piece has at least one byte")
    return itertools.cycle(sizes or [max(1, len(recording.body))])
