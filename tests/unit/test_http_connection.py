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
LIMITS = Timeouts(20, 20, 20)


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


def asking(
    connection: Connection,
    blocks: tuple[bytes, ...] = (b"body",),
    gather: int = 0,
    limits: Timeouts = LIMITS,
) -> asyncio.Task[None]:
    size = sum(map(len, blocks))
    return asyncio.create_task(
        connection.ask(b"POST / HTTP/1.1\r\n\r\n", blocks, size, False, limits, math.inf, gather)
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


class TestGathering:
    def test_ends_with_the_answer(self) -> None:
        async def script(connection: Connection, wire: Wire) -> None:
            asked = asking(connection, gather=400_000 + len(HEAD))
            await turns()
            connection.data_received(HEAD)
            for _ in range(3):
                connection.data_received(bytes(100_000))
                await turns()
                assert not asked.done()
            connection.data_received(bytes(100_000))
            await asked
            assert (connection.take(), connection.cut, connection.usable) == (bytes(400_000), None, True)
            assert wire.told == []

        connected(script)

    def test_ends_when_there_is_more_than_was_to_be_gathered(self) -> None:
        async def script(connection: Connection, wire: Wire) -> None:
            asked = asking(connection, gather=150_000)
            await turns()
            connection.data_received(HEAD + bytes(100_000))
            await turns()
            assert not asked.done()
            connection.data_received(bytes(100_000))
            await asked
            assert wire.told == ["pause"]
            assert await read(connection) == bytes(200_000)
            connection.data_received(bytes(200_000))
            assert await read(connection) == bytes(200_000)
            assert (await read(connection), connection.cut, connection.usable) == (b"", None, True)

        assert connected(script).told == ["pause", "resume"]

    def test_leaves_an_encoded_body_to_who_decodes_it(self) -> None:
        async def script(connection: Connection, _: Wire) -> None:
            asked = asking(connection, gather=1_000_000)
            await turns()
            connection.data_received(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
            await asked
            assert (connection.answer.status, connection.answer.state, connection.cut) == (200, "body", None)

        connected(script)

    def test_ends_with_the_connection(self) -> None:
        async def script(connection: Connection, _: Wire) -> None:
            asked = asking(connection, gather=1_000_000)
            await turns()
            connection.data_received(HEAD + b"abc")
            connection.data_received(b"def")
            connection.connection_lost(None)
            await asked
            assert (connection.take(), connection.cut) == (b"abcdef", Cut("read", "the body ended early"))

        connected(script)

    def test_a_silence_in_the_body_has_its_own_limit(self) -> None:
        """It counts from the last that came, and holds although the limit of the first byte is longer."""

        async def script(connection: Connection, wire: Wire) -> None:
            asked = asking(connection, gather=1_000_000, limits=Timeouts(20, 20, 0.01))
            await turns()
            connection.data_received(HEAD + b"abc")
            await asked
            assert connection.cut == Cut("timeout", "idle: no data for 0.01 s", "idle")
            assert (connection.take(), wire.told) == (b"abc", ["abort"])

        connected(script)
