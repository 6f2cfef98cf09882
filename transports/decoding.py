"""Removing a content encoding, a slice at a time.

Both transports decode here and not in their library, because the libraries
differ: in what they do with a compressed body that ends early, with one that
swells to a thousand times its size, and in which encodings they know.
"""

import re
import zlib
from typing import Final

from .faults import ENDED_EARLY

_SLICE: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_PLAIN: Final = re.compile(r"\s*(?:identity)?\s*", re.IGNORECASE)


class UndecodableError(Exception):
    """A body does not keep what its ``Content-Encoding`` says. The text is fit for a ``Cut``."""


class ContentDecoder:
    """Takes the bytes of one body as they come, gives them back without their encoding.

    ``feed`` and ``take`` give at most 64 KiB of decoded bytes, so that a body
    that swells can be refused in time. After ``feed``, call ``take`` until it
    is empty. What the sender flushed comes out at once.
    """

    __slots__ = ("_full", "_inflate", "_name", "_rest")

    def __init__(self, encoding: str) -> None:
        self._name = "" if _PLAIN.fullmatch(encoding) else encoding.strip().lower().removeprefix("x-")
        self._inflate: zlib._Decompress | None = None
        self._rest = b""
        self._full = False

    def feed(self, data: bytes) -> bytes:
        """Accept some encoded bytes; the first decoded ones."""
        self._rest += data
        return self.take()

    def take(self) -> bytes:
        """More decoded bytes of what was fed; nothing when they are used up."""
        if not self._name:
            data, self._rest = self._rest, b""
            return data
        # A full slice may have left decoded bytes inside zlib, with no input to show for it.
        while self._rest or self._full:
            if self._inflate is None or self._inflate.eof:
                self._inflate = zlib.decompressobj(self._window(self._rest[0]))
            try:
                data = self._inflate.decompress(self._rest, _SLICE)
            except zlib.error:
                raise UndecodableError("content encoding is broken") from None
            self._full = len(data) == _SLICE and not self._inflate.eof
            self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            if data:
                return data
        return b""

    def close(self) -> None:
        """The body is over; an error if the encoded data were not."""
        if self._inflate is not None and not self._inflate.eof:
            raise UndecodableError(ENDED_EARLY)

    def _window(self, first_byte: int) -> int:
        if self._name == "gzip":
            return _GZIP
        if self._name == "deflate":
            # "deflate" means zlib data (RFC 9110, 8.4.1.2), yet some send it without zlib's header.
            return _ZLIB if first_byte & 0x0F == 8 else _RAW_DEFLATE
        raise UndecodableError("content encoding is not supported")
