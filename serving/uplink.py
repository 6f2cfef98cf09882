"""Ways to servers: connections that are kept, and what to do when one of them went stale."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Literal

import aiohttp

from .layers import settings, transports

_STALE_MS: Final = 1_000
_uplink: Final[ContextVar["Uplink"]] = ContextVar("uplink")


class Uplink:
    """The way of one request to its server.

    A request that went into a pooled connection and came back without a byte is
    sent once more, through ``fresh``, which opens a connection for everything:
    the server had closed the connection, which HTTP cannot tell beforehand.
    ``connects`` becomes true when a connection is opened for the first attempt.
    """

    __slots__ = ("_fresh", "_transport", "connects")

    def __init__(self, transport: transports.AsyncTransport, fresh: transports.AsyncTransport) -> None:
        self.connects = False
        self._transport = transport
        self._fresh = fresh

    async def send(self, plan: transports.PlanLike) -> transports.Reply:
        _uplink.set(self)
        reply = await self._transport.send(plan)
        return await self._fresh.send(plan) if self._went_stale(reply) else reply

    @asynccontextmanager
    async def stream(self, plan: transports.PlanLike) -> AsyncIterator[transports.AsyncStream]:
        _uplink.set(self)
        async with self._transport.stream(plan) as stream:
            if not self._went_stale(stream.head):
                yield stream
                return
        async with self._fresh.stream(plan) as stream:
            yield stream

    def _went_stale(self, reply: transports.Reply) -> bool:
        cut = reply.cut
        unanswered = cut is not None and cut.kind == "read" and not reply.status and not reply.body
        return unanswered and not self.connects and reply.elapsed_ms <= _STALE_MS


Connect = Callable[[transports.Endpoint], transports.AsyncTransport]
"""Makes the way to a server; opens nothing yet."""


TransportName = Literal["aiohttp", "httptools"]


@asynccontextmanager
async def connections(
    network: settings.Network, transport: TransportName = "aiohttp"
) -> AsyncIterator[Connect]:
    """Ways to servers over connections that are kept and shared.

    ``httptools`` needs the extra ``fast``, costs less, and knows no limit of
    connections to one server. ``aiohttp`` costs twice as much where its version
    has not all that a plain session needs.
    """
    trust = _trust(network)
    if transport == "httptools":
        context = trust if isinstance(trust, ssl.SSLContext) else None if trust else _gullible()
        async with transports.ConnectionPool(context, network.keep_alive_s) as pool:
            yield lambda endpoint: transports.HttptoolsTransport(pool, endpoint, resend_stale=True)
        return
    limit = network.connections_per_host
    pooled = aiohttp.TCPConnector(
        limit=0,
        limit_per_host=limit,
        keepalive_timeout=network.keep_alive_s,
        socket_factory=_open_socket,
        ssl=trust,
    )
    fresh = aiohttp.TCPConnector(limit=0, limit_per_host=limit, force_close=True, ssl=trust)
    async with _session(pooled) as session, _session(fresh) as spare:
        yield lambda endpoint: Uplink(
            transports.AiohttpTransport(session, endpoint), transports.AiohttpTransport(spare, endpoint)
        )


def _trust(network: settings.Network) -> ssl.SSLContext | bool:
    if network.insecure_skip_verify:
        return False
    if not network.ca_cert_pem:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=network.ca_cert_pem)
    return context


def _gullible() -> ssl.SSLContext:
    """Believes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Does what aiohttp does by itself, and tells the request for which it happens."""
    if (uplink := _uplink.get(None)) is not None:
        uplink.connects = True
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)


def _session(connector: aiohttp.TCPConnector) -> transports.PlainSession | aiohttp.ClientSession:
    """Either sends the same requests; one of aiohttp's does much besides."""
    if transports.PlainSession.is_supported():
        return transports.PlainSession(connector)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "bifrost-vllm"},
        trust_env=False,
    )
