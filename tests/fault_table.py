"""What a server can do to a stream, and what is decided to come of it: one table for tests and for the page.

``python -m tests.fault_table > docs/faults.md`` writes the page.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from tests.contract.loopback import Connection, head
from tests.contract.wheel import ROOT
from transports import Recording, Recordings

IDLE_S: Final = 0.05
"""The longest silence of the tests; a stall is one."""

NAME: Final = "chat_completion_stream/hello@vllm-0.32.0"
RECORDING: Final[Recording] = next(
    recording
    for recording in Recordings.load(ROOT / "cassettes" / "chat_completion_stream")
    if recording.name.endswith(NAME.partition("/")[2])
)
BODY: Final = RECORDING.body
FRAMES: Final = [frame + b"\n\n" for frame in BODY.split(b"\n\n")[:-1]]
FIRST: Final = len(FRAMES[0])
THIRD: Final = sum(map(len, FRAMES[:3]))
LARGE: Final = 16 * 1024 * 1024 + 1
"""One byte more than an event may have."""

TYPE: Final = "Content-Type: text/event-stream; charset=utf-8"
Act = Callable[[Connection], object]
Ending = Literal["final", "error"]


class Outcome(NamedTuple):
    """What a client gets: so many chunks and then the final one, or an error.

    Without any chunk before it, an error is the whole answer of the gateway,
    with ``status``; after one it is the last frame of a stream.
    """

    chunks: int
    ending: Ending
    status: int = 200
    code: str = ""
    message: str = ""


WHOLE: Final = Outcome(23, "final")
_LOST: Final = Outcome(0, "error", 502, "", "not an HTTP answer")
"""aiohttp loses an answer when something is wrong behind it in the same read."""
_NO_END: Final = "provider closed the stream before sending a completion marker"


def truncated(chunks: int, detail: str = "") -> Outcome:
    return Outcome(chunks, "error", 502, "stream_truncated", detail or _NO_END)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a server does.

    ``replayed`` is the same as a fault of a replay, if there is one. ``aiohttp``
    is what comes of it over that library, where it is not the same.
    """

    what: str
    act: Act
    outcome: Outcome
    replayed: str = ""
    aiohttp: Outcome | None = None

    @property
    def stalls(self) -> bool:
        return self.replayed.startswith("stall")


def sending(*pieces: bytes, reset: bool = False, stall: bool = False, pause_s: float = 0.0) -> Act:
    """Sends what is given, and then closes, resets, or waits for the other side to close."""

    def act(connection: Connection) -> None:
        for piece in pieces:
            connection.send(piece)
            connection.pause(pause_s)
        if stall:
            connection.until_closed()
        elif reset:
            connection.reset()

    return act


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    """An answer in HTTP's chunks; without its ``end`` it is broken off."""
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return head(TYPE, "Transfer-Encoding: chunked") + coded + (b"0\r\n\r\n" if end else b"")


def squeezed(count: int) -> bytes:
    """The first frames, compressed, and nothing of gzip's end."""
    squeezer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return squeezer.compress(b"".join(FRAMES[:count])) + squeezer.flush(zlib.Z_SYNC_FLUSH)


def _typed(kind: str) -> bytes:
    return head(f"Content-Type: {kind}", f"Content-Length: {len(BODY)}") + BODY


def _long(length: int, body: bytes) -> bytes:
    return head(TYPE, f"Content-Length: {length}") + body


_DRIPS: Final = tuple(BODY[start : start + 97] for start in range(0, len(BODY), 97))
_GZIPPED: Final = gzip.compress(BODY)

FAULTS: Final[dict[str, Fault]] = {
    "none": Fault("a healthy stream", sending(chunked(*FRAMES)), WHOLE, "split=100000"),
    "no answer": Fault(
        "closes before the status line",
        sending(b""),
        Outcome(0, "error", 502, "", "the server closed the connection without an answer"),
        "no-answer",
    ),
    "reset before the first byte": Fault(
        "sends headers, then resets",
        sending(chunked(end=False), reset=True),
        truncated(0, "connection reset"),
        "reset-after=0",
    ),
    "reset within the first event": Fault(
        "sends half an event, then resets",
        sending(chunked(BODY[: FIRST - 20], end=False), reset=True),
        truncated(0, "connection reset"),
        f"reset-after={FIRST - 20}",
    ),
    "reset after the first event": Fault(
        "sends an event, then resets",
        sending(chunked(BODY[:FIRST], end=False), reset=True),
        truncated(1, "connection reset"),
        f"reset-after={FIRST}",
    ),
    "reset within the third event": Fault(
        "resets in the middle of the third event",
        sending(chunked(BODY[: THIRD - 20], end=False), reset=True),
        truncated(2, "connection reset"),
        f"reset-after={THIRD - 20}",
    ),
    "reset before [DONE]": Fault(
        "resets when every choice is finished and usage is told",
        sending(chunked(BODY[: -len(FRAMES[-1])], end=False), reset=True),
        WHOLE,
        f"reset-after={len(BODY) - len(FRAMES[-1])}",
    ),
    "end without a last chunk": Fault(
        "closes within HTTP's chunks",
        sending(chunked(BODY[:THIRD], end=False)),
        truncated(3, "the body ended early"),
    ),
    "an early end": Fault(
        "ends the body in peace after the third event",
        sending(chunked(BODY[:THIRD])),
        truncated(3),
        f"end-after={THIRD}",
    ),
    "stall before the first event": Fault(
        "sends headers and then nothing",
        sending(chunked(end=False), stall=True),
        Outcome(0, "error", 504, "", f"idle: no data for {IDLE_S:g} s"),
        "stall-after=0",
    ),
    "stall after the first event": Fault(
        "sends an event and then nothing",
        sending(chunked(BODY[:FIRST], end=False), stall=True),
        Outcome(1, "error", 504, "", f"idle: no data for {IDLE_S:g} s"),
        f"stall-after={FIRST}",
    ),
    "slow drip": Fault(
        "sends 97 bytes at a time, a millisecond apart",
        sending(head(TYPE), *_DRIPS, pause_s=0.001),
        WHOLE,
        "split=97,drip=1",
    ),
    "garbage after [DONE]": Fault(
        "goes on after the end",
        sending(chunked(*FRAMES, b"garbage \x00\xff\n\ndata: {}\n\n")),
        WHOLE,
        "trailing=garbage",
    ),
    "garbage after the answer": Fault(
        "sends more than HTTP's end allows",
        sending(chunked(*FRAMES) + b"garbage\r\n\r\n"),
        WHOLE,
        aiohttp=_LOST,
    ),
    "events that are called JSON": Fault(
        "sends events as application/json",
        sending(_typed("application/json")),
        WHOLE,
        "content-type=application/json",
    ),
    "events that are called HTML": Fault(
        "sends events as text/html",
        sending(_typed("text/html")),
        WHOLE,
        "content-type=text/html",
    ),
    "HTML that is called events": Fault(
        "sends a page as text/event-stream",
        sending(_long(39, b"<html><body>Bad Gateway</body></html>\n\n")),
        truncated(0),
    ),
    "HTML": Fault(
        "sends a page with status 200",
        sending(
            head("Content-Type: text/html", "Content-Length: 37") + b"<html><body>Bad Gateway</body></html>"
        ),
        Outcome(0, "error", 502, "", "provider returned non-SSE response for streaming request"),
    ),
    "a length too large": Fault(
        "promises more than it sends, and closes after [DONE]",
        sending(_long(len(BODY) + 100, BODY)),
        WHOLE,
        f"content-length={len(BODY) + 100}",
    ),
    "a length not reached": Fault(
        "promises all and closes after the third event",
        sending(_long(len(BODY), BODY[:THIRD])),
        truncated(3, "the body ended early"),
    ),
    "a length too small": Fault(
        "promises less than it sends",
        sending(_long(THIRD, BODY)),
        truncated(3),
        f"content-length={THIRD}",
        aiohttp=_LOST,
    ),
    "two lengths": Fault(
        "promises two different lengths",
        sending(head(TYPE, f"Content-Length: {len(BODY)}", "Content-Length: 7") + BODY),
        _LOST,
    ),
    "gzip": Fault(
        "compresses the stream, as it may",
        sending(head(TYPE, "Content-Encoding: gzip", f"Content-Length: {len(_GZIPPED)}") + _GZIPPED),
        WHOLE,
        "gzip-end-after=999999",
    ),
    "gzip cut short": Fault(
        "compresses three events, and ends without gzip's end",
        sending(head(TYPE, "Content-Encoding: gzip", f"Content-Length: {len(squeezed(3))}") + squeezed(3)),
        truncated(3, "the body ended early"),
    ),
    "gzip that is not": Fault(
        "says gzip and sends none",
        sending(head(TYPE, "Content-Encoding: gzip", f"Content-Length: {len(BODY)}") + BODY),
        truncated(0, "content encoding is broken"),
    ),
    "10,000 headers": Fault(
        "sends 10,000 headers",
        sending(head(TYPE, *["X-Filler: 1"] * 10_000, f"Content-Length: {len(BODY)}") + BODY),
        _LOST,
        "headers=10000",
    ),
    "an event of 16 MB": Fault(
        "sends an event of a byte more than 16 MiB",
        sending(
            _long(LARGE + len(BODY), b'data: {"filler":"'), *[b"x" * 65536] * (LARGE // 65536 + 1), stall=True
        ),
        Outcome(0, "error", 502, "event_too_large", "provider sent an event that is larger than the limit"),
        f"large-event={LARGE + 40}",
    ),
    "HTTP/1.0": Fault(
        "speaks HTTP/1.0: no length, no chunks, the end is the end of the connection",
        sending(head(TYPE).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY),
        WHOLE,
    ),
    "HTTP/1.0 cut short": Fault(
        "speaks HTTP/1.0 and closes after the third event",
        sending(head(TYPE).replace(b"HTTP/1.1", b"HTTP/1.0") + BODY[:THIRD]),
        truncated(3),
    ),
    "not HTTP": Fault(
        "speaks another protocol",
        sending(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        _LOST,
    ),
    "an error frame": Fault(
        "tells an error after the first event, and then [DONE]",
        sending(
            chunked(FRAMES[0], b'data: {"error":{"message":"it broke","code":500}}\n\n', FRAMES[-1]),
        ),
        Outcome(1, "error", 500, "500", "it broke"),
    ),
    "[DONE] alone": Fault(
        "ends before it begins",
        sending(chunked(FRAMES[-1])),
        Outcome(0, "error", 502, "empty_stream", "provider ended the stream without sending any event"),
    ),
}
"""By name; each is tried with every transport and through the gateway."""


def told(outcome: Outcome) -> str:
    """An outcome in words."""
    if outcome.ending == "final":
        return "the whole answer"
    code = f", code `{outcome.code}`" if outcome.code else ""
    error = f"{outcome.status}{code}: {outcome.message}"
    if not outcome.chunks:
        return f"an error, {error}"
    return f"{outcome.chunks} chunk{'s' * (outcome.chunks > 1)}, then an error frame, {error}"


_INTRODUCTION: Final = """\
# Faults

What a server can do to a stream, and what is decided to come of it. Every row is tried with the transports over
requests, aiohttp and httptools on a real socket, through the gateway over two of them, and as a fault of a replay
where there is such a fault ([record-and-replay.md](record-and-replay.md)): the outcome is the same for all, but
where aiohttp is named: it loses an answer when something is wrong behind it in the same read. An error before the
first chunk is an answer with that status, and may be tried again with another key; later it is the last frame of
the stream, without `[DONE]`. A reset is tried at every byte of a recorded stream as well.

Written by `python -m tests.fault_table > docs/faults.md`.

| fault | what the server does | outcome | in a replay |
|---|---|---|---|
"""


def page() -> str:
    """The table, for people."""
    rows = [
        f"| {name} | {fault.what} | {told(fault.outcome)}"
        f"{f'; over aiohttp {told(fault.aiohttp)}' if fault.aiohttp else ''} | "
        f"{f'`{fault.replayed}`' if fault.replayed else ''} |"
        for name, fault in FAULTS.items()
    ]
    return _INTRODUCTION + "\n".join([*rows, ""])


def steps(count: int) -> Sequence[int]:
    """Some of the bytes at which a stream may be reset, the ends of two events among them."""
    last = len(BODY) - len(FRAMES[-1])
    return sorted({*range(1, len(BODY), len(BODY) // count), THIRD - 2, THIRD, last, len(BODY)})


if __name__ == "__main__":
    sys.stdout.write(page())
