"""Server-sent events: bytes in, payloads out.

The format is WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html):
lines end in CR, LF or CRLF, a blank line ends an event, its ``data`` lines are
joined by LF, a line that starts with a colon is a comment, one BOM may come
first. Everything here is bytes, because cuts fall inside characters and
because U+2028 or U+0085 inside a JSON text are not line ends.

Three ideas carry the module:

* Line ends are made LF as the bytes come in. A CR ends a line at once; if the
  next byte is LF, in this read or the next, it is swallowed. So no event waits
  for a byte it does not need, and one split on LF serves all spellings.
* What waits is bounded. Complete lines are consumed as they come; only the
  lines of the unfinished event and the unfinished line are kept, and when they
  outgrow the limit the reader has ``overflowed`` and gives out nothing more.
* Each byte is looked at a constant number of times, whatever the cuts: the
  unfinished line has no line end, so only new bytes are searched for one.

And a fourth for speed alone: a read that holds whole events of one line each,
while nothing else is under way, is what servers send nearly always. It is cut
without the machinery; with anything else in it, the machinery reads all of it.

Two tolerances that servers made necessary: a line that starts like a JSON
object or array, outside of any event, begins a bare JSON body, which is one
payload however many lines it has; and ``close`` gives out what an unfinished
event has, so that the caller can try it.
"""

import re
from typing import Final

LIMIT: Final = 16 * 1024 * 1024
"""Bytes that one event may have unless told otherwise."""

BOM: Final = b"\xef\xbb\xbf"
"""What may come before the first line."""

KEEP_ALIVE: Final = b""
"""Stands for one comment line among the payloads; no event is ever empty."""

DONE: Final = b"data: [DONE]\n\n"
"""The last frame of an OpenAI-style stream."""

_CR: Final = 13  # as numbers: bytes are searched for one ten times as fast as for a text of one
_LF: Final = 10
_PLAIN: Final = (b"data: {", b"data: [")
_JSON_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?')  # possessive: linear on any input


def frame(data: bytes, event: str | None = None) -> bytes:
    """One event with ``data``, which must hold no line end."""
    if event is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


def _says_nothing(payload: bytes) -> bool:
    """Blank, or a comment that a proxy sent as data (``data: : keepalive``)."""
    return payload.lstrip()[:1] in {b"", b":"}


class Reader:
    """Cuts a stream of bytes into payloads.

    ``overflowed`` turns true, for good, when an event exceeds the limit.
    """

    __slots__ = (
        "_after_cr", "_between", "_data", "_depth", "_json", "_limit", "_rest", "_size", "_start",
        "overflowed",
    )  # fmt: skip

    def __init__(self, limit: int = LIMIT) -> None:
        self.overflowed = False
        self._limit = limit
        self._rest = bytearray()  # the unfinished line
        self._after_cr = False
        self._start: bytes | None = b""  # what may be the BOM; None once that is settled
        self._data: list[bytes] = []  # data lines of the unfinished event
        self._json: list[bytes] = []  # lines of an unfinished bare JSON body
        self._depth = 0  # brackets open in it
        self._size = 0  # bytes of both
        self._between = True  # nothing is under way: the next byte begins a line outside of any event

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that ``data`` completes, and ``KEEP_ALIVE`` for each comment."""
        if self._between and (whole := self._whole_events(data)):
            self._start = None
            return whole
        if self.overflowed:
            return []
        if self._start is not None:
            data = self._start + data
            if len(data) < len(BOM) and BOM.startswith(data):
                self._start, self._between = data, False
                return []
            self._start = None
            data = data.removeprefix(BOM)
        out = self._take(self._with_line_feeds(data))
        self._between = not (self._rest or self._data or self._json or self._after_cr or self.overflowed)
        return out

    def _whole_events(self, data: bytes) -> list[bytes]:
        """The payloads of a read that is nothing but plain events; none if it is anything else."""
        if _CR in data or len(data) > self._limit:
            return []
        if data.find(b"\n") == len(data) - 2:  # one event, as it comes from a server that takes its time
            return [data[6:-2]] if data.startswith(_PLAIN) and data[-1] == _LF else []
        lines = data.split(b"\n")
        if len(lines) % 2 == 0 or lines[-1] or any(lines[1::2]):
            return []
        del lines[-1], lines[1::2]
        return [line[6:] for line in lines] if all(line.startswith(_PLAIN) for line in lines) else []

    def close(self) -> list[bytes]:
        """The payload of the event that was never ended, if there is one."""
        if self.overflowed:
            return []
        self._rest += self._start or b""
        self._start = None
        line = bytes(self._rest)
        self._rest.clear()
        out: list[bytes] = []
        if line:
            self._line(line, out)
        lines = self._json or self._data
        if lines and not self.overflowed:
            out.append(b"\n".join(lines))
        self._data, self._json = [], []
        return [payload for payload in out if not _says_nothing(payload)]

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _take(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
        else:
            if self._rest:
                self._rest += data[:end]
                lines = bytes(self._rest)
                self._rest.clear()
            else:
                lines = data[:end]
            self._rest += data[end + 1 :]
            self._lines(lines, out)
        if self._size + len(self._rest) > self._limit:
            self._overflow()
        return out

    def _lines(self, lines: bytes, out: list[bytes]) -> None:
        for line in lines.split(b"\n"):
            if line:
                self._line(line, out)
            elif self._data:
                self._dispatch(out)
            if self.overflowed:
                return

    def _line(self, line: bytes, out: list[bytes]) -> None:
        if self._size + len(line) > self._limit:
            self._overflow()
        elif line.startswith(b"data:"):
            if self._json:
                self._dispatch_json(out)
            payload = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(payload)
            self._size += len(line)
        elif self._json or (not self._data and line.lstrip()[:1] in {b"{", b"["}):
            self._json_line(line, out)
        elif line.startswith(b":"):
            out.append(KEEP_ALIVE)
        elif line == b"data":
            self._data.append(b"")
            self._size += len(line)

    def _json_line(self, line: bytes, out: list[bytes]) -> None:
        self._json.append(line)
        self._size += len(line)
        bare = _JSON_TEXT.sub(b"", line)
        self._depth += bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
        if self._depth <= 0:
            self._dispatch_json(out)

    def _dispatch(self, out: list[bytes]) -> None:
        payload = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        self._size = 0
        if payload[:1] == b"{":
            out.append(payload)
        elif not payload or payload.isspace():
            return
        else:
            out.append(KEEP_ALIVE if _says_nothing(payload) else payload)

    def _dispatch_json(self, out: list[bytes]) -> None:
        out.append(b"\n".join(self._json))
        self._json = []
        self._depth = 0
        self._size = 0

    def _overflow(self) -> None:
        self.overflowed = True
        self._between = False
        self._data, self._json = [], []
        self._rest.clear()
