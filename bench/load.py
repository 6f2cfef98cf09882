"""The load: callers that each ask again as soon as they have been answered."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

import httptools


@dataclass
class Load:
    """What came of one load. Times in seconds; ``events`` counts the ``data:`` lines of streams."""

    seconds: float = 0.0
    answers: int = 0
    events: int = 0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def fault(self, what: str) -> None:
        self.faults[what] = self.faults.get(what, 0) + 1


class Caller(asyncio.Protocol):
    """One connection that asks the same over and over, ``count`` times or until ``end``."""

    def __init__(self, request: bytes, count: int | None, end: float, load: Load) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._left = count
        self._end = end
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._asked_at = 0.0
        self._has_body = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._asked_at = time.perf_counter()
        self._has_body = False
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._give_up(f"not HTTP: {error}")

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            self._load.fault(f"status {status}")

    def on_body(self, data: bytes) -> None:
        if not self._has_body:
            self._has_body = True
            self._load.first_bytes.append(time.perf_counter() - self._asked_at)
        self._load.events += data.count(b"data: ")

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._load.latencies.append(now - self._asked_at)
        self._load.answers += 1
        if self._left is not None:
            self._left -= 1
        if self._left == 0 or now >= self._end:
            self.stop()
        elif self._parser.should_keep_alive():
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self._give_up("the server does not keep the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._give_up("the server closed the connection")

    def _give_up(self, why: str) -> None:
        self._load.fault(why)
        self.stop()

    def stop(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self._transport.abort()


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    return (
        b"POST %b HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer sk-bench\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
    ) + body


async def loaded(
    port: int, request: bytes, connections: int, seconds: float, count: int | None = None
) -> Load:
    """Load a server for some seconds. With a ``count``, what is not answered by then is cut off."""
    load = Load()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: Caller(request, count, started + seconds, load), "127.0.0.1", port
        )
        callers.append(caller)
    patience_s = seconds if count is not None else seconds + 30
    _, late = await asyncio.wait([caller.done for caller in callers], timeout=patience_s)
    load.seconds = time.perf_counter() - started
    for caller in callers:
        caller.stop()
    if late and count is None:
        load.fault("no answer in time")
    return load


class Holding:
    """Streams that are open and say nothing."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, number: int) -> None:
        """Open streams; returns when each has begun."""
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", self._port) for _ in range(number))
        )
        for _, writer in opened:
            writer.write(self._request)
            self._writers.append(writer)
        for reader, _ in opened:
            async with asyncio.timeout(20):
                await reader.readuntil(b"data: ")

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)
