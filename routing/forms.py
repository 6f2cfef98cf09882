"""Forms that clients upload, read while they come (multipart/form-data, https://www.rfc-editor.org/rfc/rfc7578).

A form has fields, which are text, and one file, which is the part named
``file``. The file is held once: its bytes are collected in one buffer, and that
buffer is what comes out. Nothing else that waits is larger than a field may be.

Names and values are UTF-8 unless a part says otherwise; bytes that are not are
kept as lone surrogates (``surrogateescape``), to be sent on as they came.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from urllib.parse import unquote

MOST_PARTS: Final = 1000
LARGEST_FIELD: Final = 1024 * 1024
"""How many parts a form may have and how many bytes a field, which is what vLLM allows, too."""

_LARGEST_HEAD: Final = 16 * 1024
_FILE: Final = "file"
_PLAIN: Final = frozenset({"", "7bit", "8bit", "binary"})
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "windows-1252"})
_BOUNDARY: Final = re.compile(
    r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"]{1,200})\"|([^\s;,\"]{1,200})(?![^\s;,\"]))",
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(r";\s*([^\s;=]+)\s*=\s*(?:\"((?:\\\"|[^\"])*)\"(?=\s*(?:;|$))|([^\s;\"]*))")
_CHARSET: Final = re.compile(r";\s*charset=\"?([^\s;\"]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What came is no form that can be understood; ``reason`` says why."""

    reason: str


def boundary(content_type: str) -> bytes | Unreadable:
    """What separates the parts of a body with this ``Content-Type``."""
    found = _BOUNDARY.match(content_type.strip())
    if found is None:
        return Unreadable("the content type is not multipart/form-data with a boundary")
    return (found[1] or found[2]).encode(errors="surrogateescape")


class Reader:
    """The parts of one form; bytes in, in any pieces, and the form out at the end.

    After a fault it takes nothing more in.
    """

    __slots__ = (
        "_buffer", "_charset", "_delimiter", "_fault", "_fields", "_file", "_file_named", "_name", "_parts",
        "_place", "_value",
    )  # fmt: skip

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first boundary is one like the others
        # Functions and not methods of this object, which would then hold itself, and the file, in memory.
        self._place: Callable[[Reader], bool] = Reader._content
        self._fault: Unreadable | None = None
        self._fields: dict[str, object] = {}
        self._file: BytesIO | None = None
        self._file_named: dict[str, object] = {}
        self._parts = 0
        self._name: str | None = None  # of the part whose content comes; None before the first
        self._charset = "utf-8"
        self._value = bytearray()  # of a field whose content comes

    def feed(self, data: bytes) -> Unreadable | None:
        """Take in some bytes; a fault, if there is one so far."""
        if self._fault is None:
            self._buffer += data
            while self._place(self):
                pass
        return self._fault

    def close(self) -> dict[str, object] | Unreadable:
        """The form, or what is wrong with it.

        Fields come in their order, one that was there several times as the
        list of its values. ``file`` is an object with the bytes (``file``) and,
        if they were told, ``filename`` and ``content_type``.
        """
        if self._fault is None and self._place is not Reader._epilogue:
            self._fault = Unreadable("the form ends early")
        if self._fault is not None:
            return self._fault
        if self._file is None:
            return self._fields
        # getvalue() does not copy: it hands out the buffer itself.
        return {**self._fields, _FILE: {_FILE: self._file.getvalue(), **self._file_named}}

    def _content(self) -> bool:
        """In front of the first boundary, or inside a part."""
        end = self._buffer.find(self._delimiter)
        # Without a boundary in sight, the last bytes may be the beginning of one.
        safe = end if end >= 0 else len(self._buffer) - len(self._delimiter) + 1
        if safe > 0:
            self._take(self._buffer[:safe])
            del self._buffer[:safe]
        if end < 0 or self._fault is not None:
            return False
        del self._buffer[: len(self._delimiter)]
        self._end_part()
        self._place = Reader._boundary
        return self._fault is None

    def _boundary(self) -> bool:
        """Behind a boundary."""
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._place = Reader._epilogue
        elif self._buffer.startswith(b"\r\n"):
            self._place = Reader._head
        elif self._buffer[0] in b" \t":  # padding
            del self._buffer[:1]
        else:
            return self._fail("a boundary does not end its line")
        return True

    def _head(self) -> bool:
        """In the lines that introduce a part; the buffer begins with the line end of the boundary."""
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, len(self._buffer) - 3 if end < 0 else 0) > _LARGEST_HEAD:
            return self._fail("the head of a part is too large")
        if end < 0:
            return False
        lines = self._buffer[2:end].decode(errors="surrogateescape").split("\r\n")
        del self._buffer[: end + 4]
        self._place = Reader._content
        return self._begin_part(lines)

    def _epilogue(self) -> bool:
        """Behind the last boundary."""
        self._buffer.clear()
        return False

    def _begin_part(self, lines: list[str]) -> bool:
        self._parts += 1
        if self._parts > MOST_PARTS:
            return self._fail(f"more than {MOST_PARTS} parts")
        pairs = [line.partition(":") for line in lines]
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        kind, _, _ = headers.get("content-disposition", "").partition(";")
        told = dict(_parameters(headers.get("content-disposition", "")))
        name, filename, content_type = told.get("name"), _filename(told), headers.get("content-type", "")
        if kind.strip().lower() != "form-data" or name is None:
            return self._fail("a part has no name")
        if headers.get("content-transfer-encoding", "").lower() not in _PLAIN:
            return self._fail(f"{name} has a content transfer encoding")
        self._name = name
        if name != _FILE:
            charset = _CHARSET.search(content_type)
            self._charset = charset[1].lower() if charset else "utf-8"
            if self._charset not in _CHARSETS:
                return self._fail(f"{name} is in {self._charset}, not in UTF-8")
            return not filename or self._fail(f"{name} is a file, which only {_FILE} may be")
        if self._file is not None:
            return self._fail(f"more than one {_FILE}")
        self._file = BytesIO()
        self._file_named = {
            key: value for key, value in (("filename", filename), ("content_type", content_type)) if value
        }
        return True

    def _take(self, data: bytearray) -> None:
        """Some content of the present part."""
        if self._name == _FILE and self._file is not None:
            self._file.write(data)
        elif self._name is not None:
            self._value += data
            if len(self._value) > LARGEST_FIELD:
                self._fail(f"{self._name} is larger than {LARGEST_FIELD} bytes")

    def _end_part(self) -> None:
        name = self._name
        if name is None or name == _FILE:
            return
        value = self._value.decode(self._charset, "surrogateescape")
        self._value.clear()
        before = self._fields.get(name)
        if before is None:
            self._fields[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            self._fields[name] = [before, value]

    def _fail(self, reason: str) -> bool:
        self._fault = Unreadable(reason)
        self._buffer.clear()
        return False


def _parameters(disposition: str) -> list[tuple[str, str]]:
    """The parameters of a ``Content-Disposition``; backslashes stay, except before a quote."""
    return [
        (name.lower(), quoted.replace('\\"', '"') or plain)
        for name, quoted, plain in _PARAMETER.findall(disposition)
    ]


def _filename(told: dict[str, str]) -> str:
    """The name of a file; ``filename*`` (RFC 8187) wins, as some clients spell names beyond ASCII so."""
    charset, _, escaped = told.get("filename*", "").partition("'")
    if charset.lower() not in _CHARSETS:
        return told.get("filename", "")
    return unquote(escaped.partition("'")[2], charset, "surrogateescape")
