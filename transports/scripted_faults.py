"""Faults that a replay is told to make, so that a client can be tried against them.

A fault is written in one line, its parts joined by commas::

    status=503,retry-after=1,times=2
    reset-after=120,on=chat_completion_stream/hello*

``FAULTS`` lists what there is; whatever the order in which the parts are
written, they work in the order of that table. ``times=N`` makes a fault pass
after N answers, ``on=PATTERN`` confines it to recordings whose name fits
(``*`` and ``?``).
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from .base import Cut, Piece, Reply
from .decoding import ContentDecoder
from .faults import ENDED_EARLY, NO_ANSWER, NOT_HTTP, REFUSED, RESET, timed_out
from .playback import Playback, Step

_MESSAGE: Final = "a scripted fault"
_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_HEADER_VALUE: Final = re.compile(r"[!-~][ -~]*")
_MOST_FIELDS: Final = 128  # of a head, beyond which it is not taken for HTTP
_LARGEST_EVENT: Final = 64 * 1024 * 1024
_EMPTY_EVENT: Final = b'data: {"filler":""}\n\n'


class _Row(NamedTuple):
    """One fault: what its value may be, what it does, and whether the recorded answer is then lost."""

    read: Callable[[str], Any]
    work: Callable[[Playback, Any, float], Playback]
    spoils: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, or several at once, as read from one line.

    ``spoils`` is true when a client does not get the recorded answer; it is
    then kept for the next request.
    """

    text: str
    parts: tuple[tuple[str, Any], ...]
    times: int | None = None
    on: str = "*"

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read a fault; ``ValueError`` says what cannot be read."""
        given: dict[str, str] = {}
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if name not in FAULTS and name not in {"times", "on"}:
                raise ValueError(f"there is no fault {name!r}, but {', '.join(FAULTS)}")
            if name in given:
                raise ValueError(f"{name} is given twice")
            if not equals and (name not in FAULTS or FAULTS[name].read is not _nothing):
                raise ValueError(f"{name} wants a value")
            given[name] = value
        times, on = given.pop("times", None), given.pop("on", "*")
        try:
            parts = tuple((name, row.read(given[name])) for name, row in FAULTS.items() if name in given)
            passes_after = None if times is None else _count(times)
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
        if not parts:
            raise ValueError(f"{text}: no fault is named")
        return cls(text, parts, passes_after, on)

    @property
    def spoils(self) -> bool:
        return any(FAULTS[name].spoils for name, _ in self.parts)

    def hits(self, name: str) -> bool:
        """Whether the fault is for a recording of that name."""
        return fnmatchcase(name, self.on)

    def applied(self, playback: Playback, idle_s: float) -> Playback:
        """What becomes of an answer. ``idle_s`` is how long a silence lasts until the reader gives up."""
        for name, value in self.parts:
            playback = FAULTS[name].work(playback, value, idle_s)
        return playback


def _nothing(text: str) -> None:
    if text:
        raise ValueError(f"no value is wanted, not {text!r}")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _size(text: str) -> int:
    if (size := _count(text)) < 1:
        raise ValueError("a piece has at least one byte")
    return size


def _event_size(text: str) -> int:
    if not len(_EMPTY_EVENT) <= (size := _count(text)) <= _LARGEST_EVENT:
        raise ValueError(f"an event has from {len(_EMPTY_EVENT)} to {_LARGEST_EVENT} bytes here")
    return size


def _status(text: str) -> int:
    if not 400 <= (status := _count(text)) <= 599:
        raise ValueError("the status of an error is from 400 to 599")
    return status


def _header(text: str) -> str:
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError(f"{text!r} is no value of a header")
    return text


def _no_connection(playback: Playback, _value: None, _idle_s: float) -> Playback:
    return _unanswered(playback, Cut("connect", REFUSED))


def _no_answer(playback: Playback, _value: None, _idle_s: float) -> Playback:
    return _unanswered(playback, Cut("read", NO_ANSWER))


def _unanswered(playback: Playback, cut: Cut) -> Playback:
    return Playback(Reply(0, {}, b"", playback.head.elapsed_ms, cut), playback.due_ms)


def _refused(playback: Playback, status: int, _idle_s: float) -> Playback:
    head = playback.head._replace(status=status, headers={"content-type": "application/json"}, cut=None)
    piece = Piece(_error(status), playback.head.elapsed_ms)
    return Playback(head, playback.due_ms, (Step(playback.due_ms, piece),))


def _error(status: int) -> bytes:
    """An error in vLLM's form."""
    try:
        kind = HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        kind = "Error"
    return json.dumps({"error": {"message": _MESSAGE, "type": kind, "param": None, "code": status}}).encode()


def _headed(name: str) -> Callable[[Playback, str, float], Playback]:
    def work(playback: Playback, value: str, _idle_s: float) -> Playback:
        head = playback.head
        return playback._replace(head=head._replace(headers={**head.headers, name: value}))

    return work


def _fields(playback: Playback, count: int, _idle_s: float) -> Playback:
    named = {**playback.head.headers, **{f"x-filler-{number}": "1" for number in range(count)}}
    if len(named) > _MOST_FIELDS:
        return _unanswered(playback, Cut("read", NOT_HTTP))
    return playback._replace(head=playback.head._replace(headers=named))


def _large_event(playback: Playback, size: int, _idle_s: float) -> Playback:
    filler = _EMPTY_EVENT.replace(b'""', b'"%b"' % (b"x" * (size - len(_EMPTY_EVENT))))
    step = Step(playback.due_ms, Piece(filler, playback.head.elapsed_ms))
    return playback._replace(steps=(step, *playback.steps))


def _trailing(playback: Playback, text: str, _idle_s: float) -> Playback:
    last = (
        playback.steps[-1] if playback.steps else Step(playback.due_ms, Piece(b"", playback.head.elapsed_ms))
    )
    if last.piece.cut:
        return playback
    return playback._replace(
        steps=(*playback.steps, last._replace(piece=last.piece._replace(data=text.encode())))
    )


def _length(playback: Playback, count: int, _idle_s: float) -> Playback:
    playback = _headed("content-length")(playback, str(count), 0)
    if count > len(playback.whole().body):
        return _broken_off(playback, count, ENDED_EARLY)
    return playback._replace(steps=_first(playback, count)[0])


def _gzip(playback: Playback, count: int, _idle_s: float) -> Playback:
    playback = _headed("content-encoding")(playback, "gzip", 0)
    squeezer, decoder = zlib.compressobj(wbits=16 + zlib.MAX_WBITS), ContentDecoder("gzip")
    squeezed = b"".join(
        part
        for step in playback.steps
        for part in (squeezer.compress(step.piece.data), squeezer.flush(zlib.Z_SYNC_FLUSH))
    )
    if count >= len(squeezed):
        return playback
    size = len(decoder.feed(squeezed[:count]))
    while data := decoder.take():
        size += len(data)
    return _broken_off(playback, size, ENDED_EARLY)


def _broken_off(playback: Playback, count: int, why: str) -> Playback:
    steps, last = _first(playback, count)
    return playback._replace(
        steps=(*steps, Step(last.due_ms, Piece(b"", last.piece.at_ms, Cut("read", why))))
    )


def _error_frame(playback: Playback, events: int, _idle_s: float) -> Playback:
    if "event-stream" not in playback.head.headers.get("content-type", ""):
        return playback
    body = playback.whole().body
    ends = [0, *(end.end() for end in _EVENT_END.finditer(body))]
    if events >= len(ends) - 1:  # there is nothing left that the error could replace
        return playback
    frame = b"data: %b\n\ndata: [DONE]\n\n" % _error(500)  # as vLLM has it
    steps, last = _first(playback, ends[events])
    return playback._replace(steps=(*steps, Step(last.due_ms, Piece(frame, last.piece.at_ms))))


def _ending(playback: Playback, count: int, _idle_s: float) -> Playback:
    return playback._replace(steps=_first(playback, count)[0])


def _reset(playback: Playback, count: int, _idle_s: float) -> Playback:
    if count > len(playback.whole().body):
        return playback
    return _broken_off(playback, count, RESET)


def _stall(playback: Playback, count: int, idle_s: float) -> Playback:
    if count > len(playback.whole().body):
        return playback
    steps, last = _first(playback, count)
    gave_up = Piece(b"", last.piece.at_ms + int(idle_s * 1000), timed_out("idle", idle_s))
    return playback._replace(steps=(*steps, Step(last.due_ms + idle_s * 1000, gave_up)))


def _first(playback: Playback, count: int) -> tuple[tuple[Step, ...], Step]:
    """The steps of the first bytes, and the last of them; the head is one, too."""
    steps: list[Step] = []
    last = Step(playback.due_ms, Piece(b"", playback.head.elapsed_ms))
    for step in playback.steps:
        if count <= 0:
            break
        data = step.piece.data[:count]
        count -= len(data)
        last = step._replace(piece=step.piece._replace(data=data))
        steps.append(last)
    return tuple(steps), last


def _split(playback: Playback, size: int, _idle_s: float) -> Playback:
    return playback._replace(steps=tuple(_parts(playback, size)))


def _parts(playback: Playback, size: int) -> Iterator[Step]:
    for due_ms, (data, at_ms, cut) in playback.steps:
        for start in range(0, len(data), size):
            yield Step(due_ms, Piece(data[start : start + size], at_ms))
        if cut:
            yield Step(due_ms, Piece(b"", at_ms, cut))


def _drip(playback: Playback, gap_ms: int, _idle_s: float) -> Playback:
    steps = [
        Step(
            max(step.due_ms, playback.due_ms + number * gap_ms),
            step.piece._replace(at_ms=max(step.piece.at_ms, playback.head.elapsed_ms + number * gap_ms)),
        )
        for number, step in enumerate(playback.steps)
    ]
    return playback._replace(steps=tuple(steps))


def _delay(playback: Playback, late_ms: int, _idle_s: float) -> Playback:
    head = playback.head._replace(elapsed_ms=playback.head.elapsed_ms + late_ms)
    steps = [
        Step(due_ms + late_ms, piece._replace(at_ms=piece.at_ms + late_ms))
        for due_ms, piece in playback.steps
    ]
    return Playback(head, playback.due_ms + late_ms, tuple(steps))


FAULTS: Final[Mapping[str, _Row]] = {
    "no-connection": _Row(_nothing, _no_connection, spoils=True),
    "no-answer": _Row(_nothing, _no_answer, spoils=True),
    "status": _Row(_status, _refused, spoils=True),
    "retry-after": _Row(_header, _headed("retry-after")),
    "content-type": _Row(_header, _headed("content-type")),
    "headers": _Row(_count, _fields, spoils=True),
    "large-event": _Row(_event_size, _large_event, spoils=True),
    "trailing": _Row(_header, _trailing),
    "error-frame-after": _Row(_count, _error_frame, spoils=True),
    "content-length": _Row(_count, _length, spoils=True),
    "gzip-end-after": _Row(_count, _gzip, spoils=True),
    "end-after": _Row(_count, _ending, spoils=True),
    "reset-after": _Row(_count, _reset, spoils=True),
    "stall-after": _Row(_count, _stall, spoils=True),
    "split": _Row(_size, _split),
    "drip": _Row(_count, _drip),
    "delay": _Row(_count, _delay),
}
"""The faults, in the order in which they work. ``docs/record-and-replay.md`` says what each does."""
