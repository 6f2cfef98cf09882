"""The asynchronous transports under test, each with what is needed to look behind it."""

import asyncio
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler

from tests.contract.loopback import KEY, WAIT_S, Loopback, MakeLoop
from transports import (
    AiohttpTransport,
    AsyncTransport,
    ConnectionPool,
    Endpoint,
    HttptoolsTransport,
    Piece,
    PlainSession,
    Timeouts,
)

if sys.platform != "win32":
    import uvloop

LIMITS = Timeouts(20, 20, 20)
CERTIFICATE = Path(__file__).with_name("certificate.pem")

Pool = aiohttp.ClientSession | PlainSession | ConnectionPool
Watch = Callable[[AsyncIterator[Piece]], Callable[[], bool]]


class Library(NamedTuple):
    """An asynchronous transport under test, and how to look behind it."""

    opened: Callable[[Endpoint], AbstractAsyncContextManager[tuple[Pool, AsyncTransport]]]
    noticed: Watch
    """Whether an answer is known to have broken off."""
    gone: Watch
    """Whether the connection of an answer is no more."""
    loop_factory: MakeLoop | None = None


@asynccontextmanager
async def open_aiohttp(endpoint: Endpoint) -> AsyncIterator[tuple[Pool, AsyncTransport]]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session, AiohttpTransport(session, endpoint)


@asynccontextmanager
async def open_plain(endpoint: Endpoint) -> AsyncIterator[tuple[Pool, AsyncTransport]]:
    async with PlainSession(aiohttp.TCPConnector(limit=0)) as session:
        yield session, AiohttpTransport(session, endpoint)


@asynccontextmanager
async def open_httptools(endpoint: Endpoint) -> AsyncIterator[tuple[Pool, AsyncTransport]]:
    async with ConnectionPool() as pool:
        yield pool, HttptoolsTransport(pool, endpoint)


def aiohttp_noticed(pieces: Any) -> Callable[[], bool]:
    content: aiohttp.StreamReader = pieces._answer.content
    return lambda: content.exception() is not None


def aiohttp_gone(pieces: Any) -> Callable[[], bool]:
    protocol: ResponseHandler = pieces._watched
    return lambda: not protocol.is_connected()


def httptools_gone(pieces: Any) -> Callable[[], bool]:
    connection = pieces._connection
    return lambda: bool(connection.lost)


LIBRARIES = {
    "aiohttp": Library(open_aiohttp, aiohttp_noticed, aiohttp_gone),
    "aiohttp, plain": Library(open_plain, aiohttp_noticed, aiohttp_gone),
    "httptools": Library(open_httptools, httptools_gone, httptools_gone),
}
if sys.platform != "win32":
    LIBRARIES["aiohttp, plain, on uvloop"] = LIBRARIES["aiohttp, plain"]._replace(
        loop_factory=uvloop.new_event_loop
    )
    LIBRARIES["httptools on uvloop"] = LIBRARIES["httptools"]._replace(loop_factory=uvloop.new_event_loop)

Test = Callable[[Loopback, AsyncTransport], Awaitable[None]]


def within(library: Library, server: Loopback, test: Test) -> None:
    """Run a test in a loop, then see that the server lost its client, and that nothing else was lost or left."""

    async def body() -> None:
        async with library.opened(Endpoint(server.url, timeouts=LIMITS)) as (pool, transport):
            await test(server, transport)
            assert await asyncio.to_thread(server.client_closed.wait, WAIT_S)
            assert not pool.closed
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=library.loop_factory) as runner:
        runner.run(body())


Run = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs a test on an event loop."""


def running(library: Library) -> Run:
    """Nothing may be left of a test, and the loop may not complain."""

    def in_loop(test: Callable[[], Awaitable[None]]) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await test()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=library.loop_factory) as runner:
            runner.run(watched())
        assert complaints == []

    return in_loop


def endpoint(server: Loopback, **more: Any) -> Endpoint:
    return Endpoint(server.url, **{"api_key": KEY, "timeouts": LIMITS, **more})


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def happened(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, WAIT_S)
