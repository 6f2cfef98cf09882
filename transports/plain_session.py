"""Requests over the connections of an aiohttp connector, without an ``aiohttp.ClientSession``.

The connector opens, keeps, limits and closes connections, and aiohttp's parser
reads the answers. What a session does besides (redirects, cookies, proxies,
middlewares, traces, objects for each of them) is most of what a request costs,
and a call to vLLM needs none of it.
"""

import asyncio
import math
from collections.abc import Sequence
from functools import lru_cache
from inspect import Parameter, signature
from types import TracebackType
from typing import Any, Final, Self, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage, StreamWriter
from yarl import URL

from .base import LARGE_UPLOAD, Timeouts

LONGEST_LINE: Final = 64 * 1024  # of a header; http.client has the same
_BLOCK: Final = 256 * 1024  # of a large upload
_MOST_ORIGINS: Final = 512
_TICK_S: Final = 0.001  # the clock of a loop may tick in milliseconds


def _takes(function: Any, *names: str) -> bool:
    return set(names) <= signature(function).parameters.keys()


def _needs_only(function: Any, *names: str) -> bool:
    parameters = signature(function).parameters.values()
    optional = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    needed = {
        each.name for each in parameters if each.default is Parameter.empty and each.kind not in optional
    }
    return needed <= set(names) <= signature(function).parameters.keys()


class Exchange:
    """The answer to a request, when its head is there: what is used here of ``aiohttp.ClientResponse``.

    When the body is at its end, ``connection`` is gone: it serves the next
    request, if the answer did not come before all of the request was sent.
    """

    __slots__ = ("_upload", "connection", "content", "raw_headers", "status")

    def __init__(
        self,
        connection: Connection,
        upload: asyncio.Task[None] | None,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
    ) -> None:
        self.connection: Connection | None = connection
        self.status = message.code
        self.raw_headers = message.raw_headers
        self.content = content
        self._upload = upload
        content.on_eof(self.release)

    def release(self) -> None:
        """Give the connection back."""
        connection = self.connection
        if self._upload is not None and not self._upload.done():
            self.close()
        elif connection is not None:
            self.connection = None
            connection.release()

    def close(self) -> None:
        """Close the connection, unless it was given back; who still reads is told."""
        connection, content = self.connection, self.content
        if connection is not None:
            self.connection = None
            _close(connection, self._upload)
            if not content.is_eof() and content.exception() is None:
                content.set_exception(aiohttp.ClientConnectionError())


class PlainSession:
    """Sends requests over the connections of ``connector``, which it closes with itself.

    It follows no redirect, keeps no cookie, knows no proxy and no environment,
    and sends a request once. It belongs to the event loop of its connector.
    Check ``is_supported`` first: it needs names of aiohttp that aiohttp does
    not document (``ResponseHandler``, ``Connection.protocol``).
    """

    __slots__ = ("_connector", "_openers", "_timer", "_timer_at", "_waiting")

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self._connector = connector
        self._openers: dict[URL, aiohttp.ClientRequest] = {}
        self._waiting: dict[ResponseHandler, float] = {}  # for the head of an answer: until when
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    @staticmethod
    def is_supported() -> bool:
        """Whether the installed aiohttp has what a ``PlainSession`` needs of it."""
        try:
            return (
                _needs_only(aiohttp.ClientRequest, "method", "url", "loop")
                and _takes(aiohttp.BaseConnector.connect, "req", "traces", "timeout")
                and _takes(
                    ResponseHandler.set_response_params,
                    "skip_payload",
                    "read_until_eof",
                    "auto_decompress",
                    "max_line_size",
                    "max_field_size",
                )
                and _takes(ResponseHandler.set_exception, "exc")
                and all(hasattr(ResponseHandler, name) for name in ("__len__", "read", "writing_paused"))
                and all(hasattr(Connection, name) for name in ("close", "protocol", "release", "transport"))
            )
        except (AttributeError, TypeError, ValueError):
            return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its connector was."""
        return self._connector.closed

    async def close(self) -> None:
        """Close every connection."""
        if self._timer is not None:
            self._timer.cancel()
        await self._connector.close()

    async def ask(
        self,
        origin: URL,
        head: bytes,
        blocks: Sequence[bytes],
        size: int,
        bodiless: bool,
        limits: Timeouts,
        total_at: float,
    ) -> Exchange:
        """Send a request; returns when the head of the answer is there.

        ``head`` goes up to the empty line, ``blocks`` are the body, ``size``
        its bytes; ``bodiless`` says that the answer will have none.
        ``total_at`` is the time of the loop at which ``limits.total_s`` runs
        out. Raises ``aiohttp.ClientError``, ``HttpProcessingError`` and
        ``OSError``: ``ConnectionTimeoutError`` where there was no connection in
        time, another ``TimeoutError`` where there was no answer.
        """
        connector = self._connector
        if connector.closed:
            raise RuntimeError("the session is closed")
        opener = self._openers.get(origin) or self._new_opener(origin)
        patience = _patience(limits.total_s if total_at < math.inf else None, limits.connect_s)
        while True:
            try:
                connection = await connector.connect(opener, [], patience)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            protocol = cast("ResponseHandler", connection.protocol)
            if not len(protocol):
                break
            connection.close()  # it holds an answer that nobody had asked for
        upload, first_byte_s = None, limits.first_byte_s
        try:
            protocol.set_response_params(
                skip_payload=bodiless,
                read_until_eof=True,
                auto_decompress=False,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
            )
            rest = self._written(protocol, head, blocks, size)
            loop = asyncio.get_running_loop()
            if rest is not None:
                upload = loop.create_task(self._upload(protocol, rest, first_byte_s))
                self._expect(protocol, total_at)
            elif first_byte_s is not None:
                self._expect(protocol, min(loop.time() + first_byte_s, total_at))
            else:
                self._expect(protocol, total_at)
            while True:
                message, content = await protocol.read()
                if not 100 <= message.code < 200 or message.code == 101:
                    break
        except BaseException:
            _close(connection, upload)
            raise
        finally:
            self._waiting.pop(protocol, None)
        return Exchange(connection, upload, message, content)

    def _new_opener(self, origin: URL) -> aiohttp.ClientRequest:
        """What a connector wants to see of a request: where it goes."""
        if len(self._openers) >= _MOST_ORIGINS:
            self._openers.clear()
        opener = aiohttp.ClientRequest("GET", origin, loop=asyncio.get_running_loop())
        self._openers[origin] = opener
        return opener

    def _written(
        self, protocol: ResponseHandler, head: bytes, blocks: Sequence[bytes], size: int
    ) -> Sequence[bytes] | None:
        """Send what can be sent at once; the blocks that are left, if there is anything to wait for."""
        transport = protocol.transport
        if transport is None or transport.is_closing():
            return None  # reading will tell what became of the connection
        if self._connector.force_close:
            head = head[:-2] + b"Connection: close\r\n\r\n"
        if size > LARGE_UPLOAD:
            transport.write(head)
            return blocks
        transport.writelines((head, *blocks))
        return () if protocol.writing_paused else None

    async def _upload(
        self, protocol: ResponseHandler, blocks: Sequence[bytes], first_byte_s: float | None
    ) -> None:
        """Send the rest of a request as fast as the server takes it; its answer is due from then on."""
        loop = asyncio.get_running_loop()
        writer = StreamWriter(protocol, loop)
        try:
            for block in blocks:
                whole = memoryview(block)
                for start in range(0, len(whole), _BLOCK):
                    await writer.write(whole[start : start + _BLOCK])
            await writer.drain()
        except OSError as error:
            protocol.set_exception(error)
            return
        if first_byte_s is not None and (total_at := self._waiting.get(protocol)) is not None:
            self._expect(protocol, min(loop.time() + first_byte_s, total_at))

    # One timer serves all who wait: it is set anew only for an earlier time,
    # and looks at everyone's deadline when it fires.

    def _expect(self, protocol: ResponseHandler, deadline: float) -> None:
        """Wait for the head of an answer no longer than this."""
        self._waiting[protocol] = deadline
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_at(deadline, self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = asyncio.get_running_loop().time() + _TICK_S
        for protocol, deadline in list(self._waiting.items()):
            if deadline <= now:
                protocol.set_exception(TimeoutError())
            else:
                self._expect(protocol, deadline)


def _close(connection: Connection, upload: asyncio.Task[None] | None) -> None:
    """Close a connection, without waiting for a server that takes no more of a request."""
    if upload is not None and not upload.done():
        upload.cancel()
        if connection.transport is not None:
            connection.transport.abort()
    connection.close()


@lru_cache(maxsize=64)
def _patience(acquire_s: float | None, connect_s: float | None) -> aiohttp.ClientTimeout:
    """``acquire_s`` for getting a connection, kept or new, of which ``connect_s`` for opening one."""
    # The threshold is where aiohttp begins to round up to whole seconds.
    return aiohttp.ClientTimeout(connect=acquire_s, sock_connect=connect_s, ceil_threshold=math.inf)
