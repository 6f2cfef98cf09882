"""Documents that servers gave, each written to the client in one piece.

aiohttp's ``web.Response`` would do, but takes as long as all the rest of its
server: it keeps a table of headers, asks hooks, and makes a writer for every
answer.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

from .layers import headers

SERVER: Final = "bifrost-vllm"

_SUCCESS: Final = "200 OK\r\n" + "".join(
    f"{name}: {value}\r\n"
    for name, value in {**headers.SECURITY, "server": SERVER, "content-type": "application/json"}.items()
)


class Answer(web.Response):
    """A JSON document as the answer, status 200, to a request that is not HEAD.

    ``others`` are headers besides those of every answer, in printable ASCII.
    """

    def __init__(self, document: bytes, others: Mapping[str, str]) -> None:
        super().__init__()
        self.document: Final = document
        self._others = others
        self._keeps: bool | None = None
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection serves another request."""
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything, once; raises ``ConnectionResetError`` when the client has left."""
        if self._keeps is not None:
            return None
        self._keeps = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        is_old = request.version == HttpVersion10
        connection = (
            "" if self._keeps is not is_old else f"connection: {'keep-alive' if is_old else 'close'}\r\n"
        )
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._others.items()])
        head = (
            f"HTTP/1.{0 if is_old else 1} {_SUCCESS}{connection}{lines}date: {_date(int(time.time()))}\r\n"
            f"content-length: {len(self.document)}\r\n\r\n"
        )
        transport.writelines((head.encode("ascii"), self.document))
        self._writer = request.writer
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Return when the client has taken in enough, so that the next answer does not pile up."""
        if self._writer is not None:
            await self._writer.drain()


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
