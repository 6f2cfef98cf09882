"""Answers, written straight to the connection of a client.

aiohttp's ``web.Response`` would do, but takes as long as all the rest of its
server: it keeps a table of headers, asks hooks, and makes a writer for every
answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final, Protocol

from .layers import headers

SERVER: Final = "bifrost-vllm"
JSON: Final = "application/json"

_OF_EVERY_ANSWER: Final = {**headers.SECURITY, "server": SERVER}
_LARGE: Final = 65_536  # bytes that are not copied only to be sent with a few others
_LAST_CHUNK: Final = b"0\r\n\r\n"


class ClientConnection(Protocol):
    """What an answer is written to; aiohttp's protocols are such."""

    @property
    def transport(self) -> asyncio.Transport | None: ...
    @property
    def writing_paused(self) -> bool: ...


class Wire:
    """The way back to the client of one request.

    ``drain`` returns when the client has taken in enough. ``is_old`` is
    HTTP/1.0. ``bodiless``: it asked with HEAD. ``keeps`` tells whether the
    connection serves another request; an answer may make it false.
    """

    __slots__ = ("_connection", "_drain", "bodiless", "is_old", "keeps")

    def __init__(
        self,
        connection: ClientConnection,
        drain: Callable[[], Awaitable[None]],
        *,
        is_old: bool = False,
        keeps: bool = True,
        bodiless: bool = False,
    ) -> None:
        self._connection = connection
        self._drain = drain
        self.is_old = is_old
        self.keeps = keeps
        self.bodiless = bodiless

    def head(self, status: int, content_type: str, others: Mapping[str, str], framing: str) -> bytes:
        """The head of an answer; ``others`` and ``framing`` are headers besides those of every answer."""
        head = _start(self.is_old, self.keeps, status, content_type, int(time()))
        for name, value in others.items():
            head += f"{name}: {value}\r\n"
        head += f"{framing}\r\n"
        return head.encode("utf-8", "surrogateescape")  # as aiohttp decoded what comes back of the client's

    def write(self, data: bytes, more: bytes = b"") -> None:
        """Send; raises ``ConnectionResetError`` when the client left."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if len(more) < _LARGE:
            transport.write(data + more)
        else:
            transport.writelines((data, more))

    @property
    def is_full(self) -> bool:
        """Whether ``drain`` would wait."""
        return self._connection.writing_paused

    async def drain(self) -> None:
        """Return when the client has taken in enough; raises ``ConnectionResetError`` when it leaves."""
        if self._connection.writing_paused:
            await self._drain()


class Answer:
    """A whole answer: ``status`` and ``body``, with ``others`` as headers besides those of every answer.

    Headers hold no control characters. ``closes``: nothing more is
    served over this connection.
    """

    __slots__ = ("body", "closes", "content_type", "others", "status")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        others: Mapping[str, str] | None = None,
        content_type: str = JSON,
        closes: bool = False,
    ) -> None:
        self.body = body
        self.status = status
        self.others: Mapping[str, str] = {} if others is None else others
        self.content_type = content_type
        self.closes = closes

    def write(self, wire: Wire, others: Mapping[str, str]) -> None:
        """Send it, with more headers still; raises ``ConnectionResetError`` when the client left."""
        if self.closes:
            wire.keeps = False
        own = {**self.others, **others} if self.others else others
        head = wire.head(self.status, self.content_type, own, f"content-length: {len(self.body)}\r\n")
        wire.write(head, b"" if wire.bodiless else self.body)


class EventStream:
    """A streamed answer, which begins when something is to be sent."""

    __slots__ = ("_head", "_wire", "begun", "ended")

    def __init__(self, wire: Wire) -> None:
        self.begun = False
        self.ended = False
        self._wire = wire
        self._head = b""

    def begin(self, others: Mapping[str, str]) -> None:
        """From now on it is this answer, status 200; its head goes out with the first bytes."""
        self.begun = True
        framing = "transfer-encoding: chunked\r\n"
        if self._wire.is_old:
            self._wire.keeps, framing = False, ""
        self._head = self._wire.head(200, "", others, framing)

    def write(self, data: bytes, last: bool = False) -> None:
        """Send some of the body, or the last of it; raises ``ConnectionResetError`` when the client left."""
        if not self._wire.is_old:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if last:
                data += _LAST_CHUNK
        if self._head:
            data = self._head + data
            self._head = b""
        self.ended = last
        self._wire.write(data)


_CONNECTION: Final = {True: "connection: keep-alive\r\n", False: "connection: close\r\n"}
_KNOWN: Final = frozenset(HTTPStatus)


@lru_cache(maxsize=256)
def _start(is_old: bool, keeps: bool, status: int, content_type: str, second: int) -> str:
    """What heads of answers begin with in a ``second`` since 1970."""
    phrase = HTTPStatus(status).phrase if status in _KNOWN else ""
    lines = _OF_EVERY_ANSWER | ({"content-type": content_type} if content_type else {})
    connection = "" if keeps is not is_old else _CONNECTION[keeps]
    fixed = "".join([f"{name}: {value}\r\n" for name, value in lines.items()]) + connection
    date = formatdate(second, usegmt=True)
    return f"HTTP/1.{0 if is_old else 1} {status} {phrase}\r\n{fixed}date: {date}\r\n"
