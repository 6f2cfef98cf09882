"""Server-sent events, read slowly and plainly: an independent second opinion.

Written from https://html.spec.whatwg.org/multipage/server-sent-events.html
alone, for a whole body at once, plus the tolerances that translate.sse names.
"""

import re

COMMENT = b""
"""Stands for a comment among the payloads."""


def lines_of(body: bytes) -> tuple[list[bytes], bytes]:
    """The ended lines of ``body`` and what follows the last of them."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    *lines, rest = re.split(rb"\r\n|\n|\r", body)
    return lines, rest


def says_nothing(payload: bytes) -> bool:
    """Tolerance: blank data, or a comment sent as data."""
    return not payload.strip() or payload.strip().startswith(b":")


def _depth(line: bytes) -> int:
    """By how much brackets outside of strings open in a line."""
    depth, in_text, escaped = 0, False, False
    for letter in line.decode("latin-1"):
        if in_text:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                in_text = False
        elif letter == '"':
            in_text = True
        else:
            depth += (letter in "{[") - (letter in "}]")
    return depth


class _Body:
    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.buffer: list[bytes] = []
        self.bare: list[bytes] = []
        self.depth = 0

    def end_bare(self) -> None:
        self.out.append(b"\n".join(self.bare))
        self.bare, self.depth = [], 0

    def line(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        is_data = name == b"data" and (colon or not self.bare)
        if self.bare and is_data:
            self.end_bare()
        if self.bare or (not self.buffer and line.lstrip()[:1] in {b"{", b"["}):
            # Tolerance: a bare JSON body, outside of any event.
            self.bare.append(line)
            self.depth += _depth(line)
            if self.depth <= 0:
                self.end_bare()
        elif not line:
            self.dispatch()
        elif line.startswith(b":"):
            self.out.append(COMMENT)
        elif is_data:
            self.buffer.append(value.removeprefix(b" "))

    def dispatch(self) -> None:
        payload = b"\n".join(self.buffer)
        self.buffer = []
        if not says_nothing(payload):
            self.out.append(payload)
        elif payload.strip():
            self.out.append(COMMENT)


def payloads(body: bytes) -> tuple[list[bytes], list[bytes]]:
    """What a reader gives out while it reads ``body``, and what it adds at the end."""
    lines, rest = lines_of(body)
    reader = _Body()
    for line in lines:
        if line or not reader.bare:
            reader.line(line)
    during, reader.out = reader.out, []
    if rest:
        reader.line(rest)
    # Tolerance: the event that was never ended.
    last = [*reader.out, b"\n".join(reader.bare or reader.buffer)]
    return during, [payload for payload in last if not says_nothing(payload)]
