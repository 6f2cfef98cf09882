"""The connections that the transport over httptools shares among its requests."""

import asyncio
import math
import ssl
from functools import cache
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from types import TracebackType
from typing import Final, Self

from aiohappyeyeballs import AddrInfoType, start_connection

from .http_connection import Connection, Origin

_IDLE_S: Final = 4.0  # uvicorn, and so vLLM, closes idle connections after 5 s
_SECOND_FAMILY_S: Final = 0.25  # RFC 8305: how long one family of addresses may keep the other waiting


@cache
def _trusting_the_system() -> ssl.SSLContext:
    """What aiohttp uses, too: certificates of the system, names checked."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class ConnectionPool:
    """Keeps connections open for the next request, each at most ``idle_s`` seconds.

    It has no limit of connections and knows no proxy. ``ssl_context`` is for
    servers whose certificates the system does not trust. A pool belongs to one
    event loop; ``close`` it there, or use it as an asynchronous context.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None, idle_s: float = _IDLE_S) -> None:
        self.closed = False
        self._ssl_context = ssl_context
        self._idle_s = idle_s
        self._idle: dict[Origin, list[Connection]] = {}  # the latest last
        self._open: set[Connection] = set()
        self._gone = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, those in use included; returns when they are closed."""
        self.closed = True
        self._idle.clear()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in self._open:
            connection.close()
        while self._open:
            self._gone.clear()
            await self._gone.wait()

    def now(self) -> float:
        """The time of the loop to which the pool belongs."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def take(self, origin: Origin) -> Connection | None:
        """An open connection that nobody uses, if there is one: the latest used."""
        idle = self._idle.get(origin)
        if idle:
            old = self.now() - self._idle_s
            while idle:
                connection = idle.pop()
                if connection.usable and connection.idle_since > old:
                    return connection
                connection.close()
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection; raises what the system, the resolver or TLS raise."""
        if self.closed:
            raise RuntimeError("the pool is closed")
        loop = asyncio.get_running_loop()
        tls, host, port = origin
        addresses = _literal(host, port) or await loop.getaddrinfo(
            host, port, type=SOCK_STREAM, proto=IPPROTO_TCP
        )
        sock = await start_connection(addresses, happy_eyeballs_delay=_SECOND_FAMILY_S, loop=loop)
        _, connection = await loop.create_connection(
            lambda: Connection(loop, origin, self._forget),
            sock=sock,
            ssl=(self._ssl_context or _trusting_the_system()) if tls else None,
            server_hostname=host.rstrip(".") if tls else None,
        )
        if self.closed:  # in the meantime
            connection.close()
            raise ConnectionAbortedError
        if not connection.lost:
            self._open.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request if it can serve one, else close it."""
        if self.closed or not connection.usable:
            connection.close()
            return
        connection.rest()
        origin = connection.origin
        idle = self._idle.get(origin)
        if idle is None:
            self._idle[origin] = [connection]
        else:
            idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_the_old)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._gone.set()

    def _is_old(self, connection: Connection, now: float) -> bool:
        return now - connection.idle_since >= self._idle_s

    def _close_the_old(self) -> None:
        loop = asyncio.get_running_loop()
        now, oldest = loop.time() + 0.001, math.inf  # a clock of the loop may tick in milliseconds
        for origin, idle in list(self._idle.items()):
            kept = [
                connection for connection in idle if connection.usable and not self._is_old(connection, now)
            ]
            for connection in idle:
                if connection not in kept:
                    connection.close()
            if kept:
                self._idle[origin] = kept
                oldest = min(oldest, kept[0].idle_since)
            else:
                del self._idle[origin]
        self._sweep = None if math.isinf(oldest) else loop.call_at(oldest + self._idle_s, self._close_the_old)


def _literal(host: str, port: int) -> list[AddrInfoType]:
    """The address that a host without a name is; nothing if it has to be looked up."""
    try:
        address = ip_address(host)
    except ValueError:
        return []
    if address.version == 4:
        return [(AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (host, port))]
    return [] if "%" in host else [(AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", (host, port, 0, 0))]
