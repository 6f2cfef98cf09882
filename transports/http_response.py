"""HTTP/1.1 answers out of the bytes of a connection, parsed by httptools (llhttp, as in Node).

No I/O happens here: bytes go in, and what they say can be looked at.

llhttp decides what is HTTP, at its strictest: a bare LF, a folded header,
blanks around a name or a size, two lengths of any kind are errors. Added
here is what it leaves open:

* A head is bounded in bytes, in lines, and in the bytes of a line, and is
  given to the parser when it is whole, so that its cost is linear however it
  is cut. Interim answers (1xx) count towards the same bound.
* Only HTTP/1.0 and 1.1 are spoken, a status has at least 100, and the only
  transfer coding is ``chunked``.
* What comes in a body without being of the body (chunk extensions, trailers)
  is bounded, give or take one read.
* A body without a length ends with the connection.
* After the answer the server has nothing to say. If it speaks, the connection
  is not to be used again.

Servers say the same head again and again but for the length of the body: one
that has just been read is known by its bytes, and llhttp is not asked again.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from .faults import ENDED_EARLY, NO_ANSWER, NOT_HTTP

_LONGEST_LINE: Final = 64 * 1024  # of a head; the other transports have the same
_LARGEST_HEAD: Final = 256 * 1024
_MOST_FIELDS: Final = 128  # aiohttp has the same
_MOST_BARREN: Final = 64 * 1024  # bytes in a row within a body that are not of it
_HEAD_END: Final = b"\r\n\r\n"
_START: Final = b"HTTP/1."
_SWITCHING: Final = 101  # the one status below 200 that is the last word
_STATUS_AT: Final = len(b"HTTP/1.1 ")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})\r\n", re.IGNORECASE)
_MOST_DIGITS: Final = 9
_LONGEST_KNOWN: Final = 4096  # bytes of a head
_LAST_WORD: Final = frozenset(b"2345")  # first digits of a status behind which no other head belongs

State = Literal["idle", "head", "body", "over"]


class _Known(NamedTuple):
    """A head with status 200 that keeps the connection: what is before and after the digits of its length."""

    before: bytes
    size: int
    after: bytes
    headers: dict[str, str]


class _UnwantedError(Exception):
    """The parser is to stop: another answer begins, or this one is not acceptable."""


def _fields(head: bytes) -> dict[str, str]:
    """The headers of a head that llhttp accepted, and so each on a line of its own.

    llhttp would give them one by one, at twice the cost.
    """
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class ResponseParser:
    """The answers of one connection, one after another.

    ``status`` and ``headers`` are there once ``state`` is past ``head``.
    ``body`` gathers what came of the body, one piece at most from each call
    of ``feed``; it is the caller's to empty.
    ``fault`` says what is wrong with the answer, in words fit for a ``Cut``;
    after it, nothing more is taken in. ``keeps`` tells, when the answer is
    over, that the connection can be used again.
    """

    __slots__ = (
        "_barren", "_begun", "_bodiless", "_head", "_head_size", "_interim", "_known", "_llhttp",
        "_until_close", "body", "fault", "headers", "keeps", "state", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state: State = "idle"
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.fault = ""
        self.keeps = True
        self._bodiless = False
        self._until_close = False
        self._begun = bytearray()  # what came of a head that is not whole
        self._head = b""  # the one that llhttp is at
        self._head_size = 0  # of all heads of this answer
        self._interim = False  # the last head was not of the answer itself
        self._barren = 0
        self._known: _Known | None = None
        self._llhttp = HttpResponseParser(self)

    @property
    def on_body(self) -> Callable[[bytes], None]:
        # Looked up once, when the parser is made: a list's own append takes in the body.
        return self.body.append

    def expect(self, bodiless: bool) -> None:
        """A request was sent; the answer to HEAD, say, has a length and yet no body."""
        self.state, self.status, self.headers = "head", 0, {}
        self._bodiless, self._head_size, self._barren = bodiless, 0, 0

    def feed(self, data: bytes) -> bool:
        """Take in what came; true if that is more than part of a head, or nothing of the body."""
        if self.fault:
            return False
        if self.state == "body":
            return self._parse(data, len(data))
        if self.state == "head":
            return self._is_known(data) or self._take_head(data)
        self.keeps = False
        return False

    def end(self) -> None:
        """The server closed the connection, in peace."""
        self.keeps = False
        if self.state == "body" and self._until_close:
            self.state = "over"
        elif self.state == "body":
            self.fault = self.fault or ENDED_EARLY
        elif self.state == "head":
            self.fault = self.fault or NO_ANSWER

    def _fail(self, fault: str) -> bool:
        self.fault, self.keeps = fault, False
        return True

    def _is_known(self, data: bytes) -> bool:
        """Take in a whole answer that differs from the one before in its length and body only."""
        known = self._known
        if known is None or self._begun or self._head_size:
            return False
        head, _, body = data.partition(known.after)
        length = head[known.size :]
        if (
            not (body and length.isdigit() and head.startswith(known.before))
            or len(length) > _MOST_DIGITS
            or int(length) != len(body)
            or self._bodiless
        ):
            return False
        self.state, self.status = "over", 200
        self.headers = known.headers | {"content-length": length.decode()}
        self.body.append(body)
        return True

    def _learn(self, head: bytes) -> None:
        found = _LENGTH.search(head) if len(head) <= _LONGEST_KNOWN else None
        if found is not None:
            start, end = found.span(1)
            self._known = _Known(head[:start], start, head[end:], self.headers)

    def _take_head(self, data: bytes) -> bool:
        while data and self.state == "head":
            begun = self._begun
            if begun:
                searched = max(len(begun) - len(_HEAD_END) + 1, 0)
                begun += data
                end = begun.find(_HEAD_END, searched)
            else:
                end = data.find(_HEAD_END)
                if end < 0:
                    begun += data
            if end < 0:
                return not self._may_become_a_head() and self._fail(NOT_HTTP)
            if begun:
                data = bytes(begun)
                begun.clear()
            end += len(_HEAD_END)
            self._head = head = data[:end]
            if not self._is_bounded(head):
                return self._fail(NOT_HTTP)
            if head[_STATUS_AT] in _LAST_WORD and not self._bodiless:
                self._parse(data, len(data) - end)
                return True
            if not self._parse_head(head):
                self.status, self.headers = 0, {}
                return self._fail(NOT_HTTP)
            data = data[end:]
        if data and self.state == "body":
            self._parse(data, len(data))
        elif data:
            self.keeps = False
        return self.state != "head"

    def _may_become_a_head(self) -> bool:
        size = len(self._begun)
        return self._head_size + size <= _LARGEST_HEAD and self._begun[: len(_START)] == _START[:size]

    def _is_bounded(self, head: bytes) -> bool:
        size = len(head)
        self._head_size += size
        return (
            self._head_size <= _LARGEST_HEAD
            and head.startswith(_START)
            and head.count(b"\n") <= _MOST_FIELDS + 2  # the status line and the blank one
            and (size <= _LONGEST_LINE or max(map(len, head.split(b"\n"))) <= _LONGEST_LINE)
        )

    def _parse_head(self, head: bytes) -> bool:
        """A head alone: of an interim answer, say, behind which the next has to be looked at first."""
        self._interim = False
        try:
            self._llhttp.feed_data(head)
        except (HttpParserError, HttpParserUpgrade):
            return self.state == "over"  # of 101, behind which there is no HTTP
        return self._interim or self.state != "head"

    def _parse(self, data: bytes, of_body: int) -> bool:
        """What came of an answer, ``of_body`` bytes of it behind the head; true if it brought news."""
        body = self.body
        pieces = len(body)
        try:
            self._llhttp.feed_data(data)
        except HttpParserError:
            self.keeps = False
            if self.state != "over":
                return self._fail(ENDED_EARLY if self.state == "body" else NOT_HTTP)
        if (more := len(body) - pieces) or self.state == "over":
            if more > 1:  # of many small chunks, say, which would take up much more than they hold
                body[pieces:] = [b"".join(body[pieces:])]
            self._barren = 0
            return True
        self._barren += of_body
        return self._barren > _MOST_BARREN and self._fail(ENDED_EARLY)

    # What llhttp calls; an exception stops it.

    def on_message_begin(self) -> None:
        if self.state != "head":
            raise _UnwantedError

    def on_headers_complete(self) -> None:
        head, self._head = self._head, b""
        headers, status = _fields(head), self._llhttp.get_status_code()
        coding = headers.get("transfer-encoding")
        has_end = coding is not None or "content-length" in headers
        self._interim = 100 <= status < 200 and status != _SWITCHING
        if (
            status < 100
            or (self._interim and has_end)
            or (coding is not None and coding.lower() != "chunked")
        ):
            raise _UnwantedError
        if not self._interim:
            self.status, self.headers = status, headers
            self.keeps = self._llhttp.should_keep_alive() and not self._bodiless and status != _SWITCHING
            self._until_close = not has_end
            self.state = "over" if self._bodiless else "body"
            if status == 200 and self.keeps:
                self._learn(head)

    def on_message_complete(self) -> None:
        if self.state == "body":
            self.state = "over"
