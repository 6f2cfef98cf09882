"""Connections are taken in as fast as they come, and not at all when the system is out of them."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import cast

import pytest
import uvloop
from aiohttp import web

from serving.listener import Listener, listen

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
MANY = 100


class Counting(asyncio.Protocol):
    """Stands in for the server: counts who is there."""

    def __init__(self) -> None:
        self.here: list[asyncio.BaseTransport] = []
        self.somebody = asyncio.Event()

    def __call__(self) -> "Counting":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.here.append(transport)
        self.somebody.set()

    def data_received(self, data: bytes) -> None:
        cast("asyncio.Transport", self.here[0]).write(data)


def as_server(counting: Counting) -> web.Server:
    return cast("web.Server", counting)


@LOOPS
def test_all_that_wait_are_taken_in_within_a_few_turns(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def turns() -> int:
        counting = Counting()
        listener = await listen(as_server(counting), "127.0.0.1", 0)
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(MANY)]
        taken = 0
        while len(counting.here) < MANY:
            await asyncio.sleep(0)
            taken += 1
        listener.close()
        for client in clients:
            client.close()
        return taken

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(turns()) < 10


@LOOPS
def test_what_is_taken_in_is_served_until_it_is_closed(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def said() -> bytes:
        listener = await listen(as_server(Counting()), "localhost", 0)
        port = listener.port
        reader, writer = await asyncio.open_connection("localhost", port)
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.close()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        return answer

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(said()) == b"hello"


class Exhausted(socket.socket):
    """A listening socket of a process that has no descriptors left, for the first two times."""

    times = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.times += 1
        if self.times <= 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_descriptors_it_pauses_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.listener._PAUSE_S", 0.001)
    caplog.set_level(logging.ERROR, "bifrost_vllm.http")

    async def tries() -> int:
        counting = Counting()
        with Exhausted() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            listener = Listener(as_server(counting), [listening])
            with socket.create_connection(("127.0.0.1", listener.port)):
                await counting.somebody.wait()
            listener.close()
            return listening.times

    assert asyncio.run(tries()) >= 3
    assert [record.getMessage() for record in caplog.records] == [
        "cannot take in connections: Too many open files",
        "cannot take in connections: Too many open files",
    ]


def test_an_address_that_is_taken_is_told_and_nothing_stays_open() -> None:
    async def refused() -> int | None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            with pytest.raises(OSError, match="in use") as refusal:
                await listen(as_server(Counting()), "127.0.0.1", other.getsockname()[1])
            return refusal.value.errno

    assert asyncio.run(refused()) == errno.EADDRINUSE
