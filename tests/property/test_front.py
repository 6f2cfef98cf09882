"""serving.front: the short way past aiohttp gives what aiohttp's way gives, however the bytes come."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from routing import request_heads
from routing.settings import Config
from serving import front
from serving.answers import Answer, EventStream
from serving.front import KnownHeads, Runner
from serving.visits import Direct, Visit
from tests.property.test_cost import work

PATH = "/v1/chat/completions"


class Echo:
    """Answers with what it understood, after a turn of the loop."""

    def __init__(self) -> None:
        self.known = KnownHeads()
        self.direct: Mapping[tuple[str, str], Direct] = {("POST", PATH): Direct(PATH, self._nobody)}
        self.short = 0

    async def _nobody(self, visit: Visit) -> Answer | EventStream:
        raise AssertionError

    def read(self, request: web.BaseRequest) -> request_heads.RequestHead:
        return request_heads.read(
            Config(), request.method, request.path, (1, 1), tuple(request.headers.items())
        )

    async def attend(self, visit: Visit, direct: Direct) -> None:
        self.short += visit.body is not None
        body = await visit.request.read() if visit.body is None else visit.body
        await asyncio.sleep(0)
        pairs = [(name, value) for name, value in visit.head.pairs if name != "Content-Length"]
        told = [visit.head.method, pairs, visit.client, body.decode("latin-1")]
        Answer(json.dumps(told).encode()).write(visit.wire, {})


class Line(asyncio.Transport):
    """The other end of a connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.connection: asyncio.Protocol | None = None
        self.written = b""
        self.paused = False
        self.lost = asyncio.Event()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.close()

    def _lost(self) -> None:
        self.lost.set()
        if self.connection is not None:
            self.connection.connection_lost(None)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def post(body: bytes, *lines: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"POST %b HTTP/1.1" % PATH.encode(), b"Host: h", *lines, length, b"", body])


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def conversation(
    pieces: Sequence[tuple[bytes, bool]], heads: Sequence[bytes] | None
) -> tuple[bytes, int]:
    """What comes back, and how often the short way was taken; never where ``heads`` is ``None``.

    Each piece is followed by a pause, or not. ``heads`` are requests that came before, on other connections.
    """
    echo = Echo()
    runner = Runner(web.Application(), echo, access_log=None, keepalive_timeout=60)
    await runner.setup()
    assert runner.server is not None
    try:
        for taught in heads or ():
            await _talk(runner.server, [(taught, True)], foreign=False)
        echo.short = 0
        return await _talk(runner.server, pieces, heads is None), echo.short
    finally:
        await runner.cleanup()


async def _talk(server: web.Server, pieces: Sequence[tuple[bytes, bool]], foreign: bool) -> bytes:
    line = Line()
    line.connection = connection = server()
    assert isinstance(connection, front._Connection)
    if foreign:
        connection._foreign = True
    connection.connection_made(line)
    await settle()
    for piece, pauses in pieces:
        if not line.is_closing():
            connection.data_received(piece)
        if pauses:
            await settle()
    await settle()
    line.close()
    await settle()
    return re.sub(rb"(?mi)^(date|x-request-id): .*\r\n", b"", line.written)


BODIES = st.sampled_from(
    [b"", b"{}", b'{"model": "m"}', b"x" * 3_000, b"POST / HTTP/1.1\r\n\r\n", b"\0\r\n\r\n"]
)
ORDINARY = [b"Authorization: Bearer a", b"Connection: keep-alive", b"X-Request-ID: 1", b"Content-Type: a/b"]
UNUSUAL = [
    b"Expect: 100-continue", b"Connection: close", b"X: a\0b", b"content-length: 3", b"X: Content-Length: 7",
    b"Content-Encoding: gzip", b"Transfer-Encoding: chunked", b"Upgrade: websocket", b"no colon", b"Te: trailers",
]  # fmt: skip


LINES = st.lists(st.sampled_from(ORDINARY), unique=True, max_size=2)


@st.composite
def requests_(draw: st.DrawFn, with_lines: st.SearchStrategy[list[bytes]] = LINES) -> bytes:
    lines = [*draw(with_lines)]
    if draw(st.integers(0, 4)) == 0:
        lines.append(draw(st.sampled_from(UNUSUAL)))
    whole = post(draw(BODIES), *lines)
    match draw(st.integers(0, 12)):
        case 0:
            return whole.replace(b"POST /v1/chat/completions", b"GET /health", 1)
        case 1:
            return whole.replace(b"Content-Length: ", b"Content-Length:\t", 1)
        case 2:
            return whole.replace(b"Content-Length: ", b"Content-Length: 00", 1)
        case 3:
            return whole.replace(b"Content-Length: ", b"Content-Length: \0", 1)
        case _:
            return whole


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """Requests in pieces: as they are, or cut and stuck together anywhere."""
    lines = st.just(draw(LINES)) if draw(st.booleans()) else LINES
    asked = draw(st.lists(requests_(lines), min_size=1, max_size=6))
    if draw(st.booleans()):
        return [(request, draw(st.booleans())) for request in asked]
    together = b"".join(asked)
    cuts = sorted(draw(st.sets(st.integers(1, len(together) - 1), max_size=6)))
    ends = [*cuts, len(together)]
    return [(together[start:end], draw(st.booleans())) for start, end in zip([0, *cuts], ends, strict=True)]


@given(pieces=conversations(), heads=st.lists(requests_(), max_size=3))
def test_both_ways_give_the_same(pieces: list[tuple[bytes, bool]], heads: list[bytes]) -> None:
    plain, _ = asyncio.run(conversation(pieces, None))
    short, _ = asyncio.run(conversation(pieces, [*heads, *(piece for piece, _ in pieces)]))
    assert short == plain


KNOWN = post(b"{}", *ORDINARY)


@pytest.mark.parametrize("pause", [True, False], ids=["pauses", "no pauses"])
@pytest.mark.parametrize("cut", [len(KNOWN), len(KNOWN) - 1, KNOWN.index(b"\r\n\r\n") + 4])
def test_a_known_head_is_taken_the_short_way(cut: int, pause: bool) -> None:
    other = post(b"x" * 70_000, *ORDINARY)
    pieces = [(KNOWN[:cut], pause), (KNOWN[cut:], True), (other[:60_000], pause), (other[60_000:], True)]
    answer, short = asyncio.run(conversation(pieces, [post(b"", *ORDINARY)]))
    assert short == 2
    assert answer == asyncio.run(conversation(pieces, None))[0]


def test_a_head_is_compared_with_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    take_apart = front.framed

    def framed(data: bytes) -> front.Frame | None:
        looked_at.append(data)
        return take_apart(data)

    monkeypatch.setattr(front, "framed", framed)
    others = [post(body, *ORDINARY) for body in (b"", b"x" * 12)]
    longer = others[1].replace(b"Content-Length: 12", b"Content-Length: 13")
    pieces = [(KNOWN, True), *((other, True) for other in others), (longer, True), (b"y", True)]
    answer, short = asyncio.run(conversation(pieces, [KNOWN]))
    assert (answer.count(b"HTTP/1.1 200 OK"), short) == (4, 4)
    assert looked_at == [KNOWN, KNOWN, longer]  # the first was on another connection


def test_what_comes_during_a_request_is_held_and_then_served() -> None:
    large = post(b"x" * 200_000, *ORDINARY)
    pieces = [(KNOWN, False), (KNOWN[:7], False), (KNOWN[7:], False), (large, True), (KNOWN, True)]
    answer, short = asyncio.run(conversation(pieces, [KNOWN]))
    assert short >= 1
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer == asyncio.run(conversation(pieces, None))[0]


def test_who_sends_slowly_is_left_to_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_PATIENCE_S", 0.0)
    pieces = [(KNOWN[:-1], True), (KNOWN[-1:], True), (KNOWN, True)]
    answer, short = asyncio.run(conversation(pieces, [KNOWN]))
    assert (answer.count(b"HTTP/1.1 200 OK"), short) == (2, 1)


def test_a_head_that_comes_before_its_body_is_learnt_on_its_connection() -> None:
    end = KNOWN.index(b"\r\n\r\n") + 4
    pieces = [(KNOWN[:end], True), (KNOWN[end:], True)] * 3
    answer, short = asyncio.run(conversation(pieces, []))
    assert (answer.count(b"HTTP/1.1 200 OK"), short) == (3, 2)


def test_heads_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_MOST_HEADS", 2)
    heads = [post(b"{}", b"X: %d" % number) for number in range(3)]
    assert [asyncio.run(conversation([(head, True)], heads))[1] for head in heads] == [0, 1, 1]


def test_an_idle_connection_is_closed_in_time() -> None:
    async def talk() -> bool:
        runner = Runner(web.Application(), Echo(), access_log=None, keepalive_timeout=0.02)
        await runner.setup()
        assert runner.server is not None
        line = Line()
        line.connection = connection = runner.server()
        connection.connection_made(line)
        await settle()
        for _ in range(2):
            connection.data_received(KNOWN)
            await settle()
        assert line.written.count(b"HTTP/1.1 200 OK") == 2
        async with asyncio.timeout(10):
            await line.lost.wait()
        await settle()
        await runner.cleanup()
        return True

    assert asyncio.run(talk())


@pytest.mark.parametrize("size", [1, 64])
def test_twice_the_body_is_at_most_twice_the_work(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Of a body that is waited for, and of requests that came before their turn."""
    monkeypatch.setattr(front, "_PATIENCE_S", 60.0)

    def received(length: int) -> int:
        head, _, body = post(b"x" * length, *ORDINARY).partition(b"\r\n\r\n")
        pieces = [head + b"\r\n\r\n", *(body[start : start + size] for start in range(0, length, size))] * 2

        async def run() -> int:
            echo = Echo()
            runner = Runner(web.Application(), echo, access_log=None)
            await runner.setup()
            assert runner.server is not None
            await _talk(runner.server, [(KNOWN, True)], foreign=False)
            line = Line()
            line.connection = connection = runner.server()
            connection.connection_made(line)
            await settle()

            def receive() -> None:
                for piece in pieces:
                    connection.data_received(piece)

            total = work(receive)
            await settle()
            assert (line.written.count(b"HTTP/1.1 200 OK"), echo.short) == (2, 2)
            line.close()
            await settle()
            await runner.cleanup()
            return total

        return asyncio.run(run())

    assert received(40_000) <= 2.1 * received(20_000)
