"""A connection without a network: what wakes its reader, and what does not."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, cast

from transports import Cut, Timeouts
from transports.http_connection import Connection, Origin

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n"
LARGE = bytes(2 * 1024 * 1024)


class Wire:
    """In place of asyncio's transport: remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.sent = bytearray()
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.sent += data
        self.on_write()

    def writelines(self, parts: list[bytes]) -> None:
        self.sent += b"".join(parts)

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def abort(self) -> None:
        self.told.append("abort")

    def is_closing(self) -> bool:
        return "abort" in self.told


Script = Callable[[Connection, Wire], Awaitable[None]]


def connected(script: Script) -> Wire:
    """A script with a connection, and what the connection did to its wire."""
    wire = Wire()

    async def run() -> None:
        connection = Connection(asyncio.get_running_loop(), Origin(False, "h", 80), lambda _: None)
        connection.connection_made(cast("Any", wire))
        await script(connection, wire)
        connection.connection_lost(None)

    asyncio.run(run())
    return wire


async def turns() -> None:
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


async def read(connection: Connection) -> bytes:
    while (news := connection.news()) is not None:
        await news
    return connection.take()


def asking(connection: Connection, blocks: tuple[bytes, ...] = (b"body",)) -> asyncio.Task[None]:
    return asyncio.create_task(
        connection.ask(
            b"POST / HTTP/1.1\r\n\r\n", blocks, sum(map(len, blocks)), False, Timeouts(20, 20, 20), math.inf
        )
    )


def test_room_for_more_of_the_request_is_no_answer() -> None:
    async def script(connection: Connection, _: Wire) -> None:
        asked = asking(connection)
        await turns()
        connection.resume_writing()
        connection.data_received(HEAD[:20])
        await turns()
        assert not asked.done()
        connection.data_received(HEAD[20:])
        await asked
        reading = asyncio.create_task(read(connection))
        await turns()
        connection.resume_writing()
        await turns()
        assert not reading.done()
        connection.data_received(b"abc")
        assert await reading == b"abc"

    assert connected(script).sent == b"POST / HTTP/1.1\r\n\r\nbody"


def test_a_large_request_goes_out_as_it_is_taken() -> None:
    async def script(connection: Connection, wire: Wire) -> None:
        wire.on_write = connection.pause_writing
        asked = asking(connection, (LARGE, b"end"))
        sizes = [0]
        while not wire.sent.endswith(b"end"):
            await turns()
            sizes.append(len(wire.sent))
            assert len(sizes) < 99
            connection.resume_writing()
        assert max(after - before for before, after in pairwise(sizes)) == 256 * 1024
        connection.data_received(HEAD)
        await asked
        assert connection.cut is None

    assert connected(script).sent == b"POST / HTTP/1.1\r\n\r\n" + LARGE + b"end"


def test_reading_pauses_once_and_goes_on_when_all_is_read() -> None:
    async def script(connection: Connection, wire: Wire) -> None:
        asked = asking(connection)
        await turns()
        connection.data_received(HEAD)
        await asked
        for _ in range(3):
            connection.data_received(bytes(100_000))
        assert wire.told == ["pause"]
        assert await read(connection) == bytes(300_000)
        assert wire.told == ["pause", "resume"]
        connection.data_received(bytes(100_000))
        assert await read(connection) == bytes(100_000)
        assert await read(connection) == b""
        assert (connection.cut, connection.usable) == (None, True)

    assert connected(script).told == ["pause", "resume"]


def test_what_came_is_read_before_the_cut() -> None:
    async def script(connection: Connection, _: Wire) -> None:
        asked = asking(connection)
        await turns()
        connection.data_received(HEAD + b"abc")
        connection.connection_lost(ConnectionResetError())
        await asked
        assert await read(connection) == b"abc"
        assert await read(connection) == b""
        assert connection.cut == Cut("read", "connection reset")

    connected(script)
