"""Whatever a server answers, the asynchronous transports agree, or the one over httptools is stricter.

aiohttp parses a read as a whole and is lenient: it takes bare line feeds and
folded headers, and it loses an answer when there is something wrong behind
its head in the same read. The transport over httptools goes by the letter of
RFC 9112, and gives what came before a fault, however the bytes were cut.
"""

import asyncio
import re
from collections.abc import Iterator

import aiohttp
import pytest
from hypothesis import example, given

from tests import strategies as some
from tests.contract.libraries import LIMITS
from tests.contract.loopback import POST, untimed
from transports import (
    AiohttpTransport,
    ConnectionPool,
    Cut,
    Endpoint,
    HttptoolsTransport,
    PlainSession,
    Reply,
)

REFUSED = Reply(0, {}, cut=Cut("read", "not an HTTP answer"))
UNANSWERED = Reply(0, {}, cut=Cut("read", "the server closed the connection without an answer"))

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9]\d\d( [^\r\n\0]*)?")
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")


def is_well_formed(answer: bytes) -> bool:
    """Whether RFC 9112 allows the head, and there is no transfer coding but one ``chunked``."""
    while True:
        head, end, answer = answer.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        fields = [_FIELD_LINE.fullmatch(line) for line in lines]
        if not end or not _STATUS_LINE.fullmatch(start) or not all(fields):
            return False
        named = [(field[1].lower(), field[2].strip().lower()) for field in fields if field]
        codings = [value for name, value in named if name == b"transfer-encoding"]
        is_interim = start[9:10] == b"1" and start[9:12] != b"101"
        if is_interim and {name for name, _ in named} & {b"content-length", b"transfer-encoding"}:
            return False
        if not is_interim:
            return codings in ([], [b"chunked"])


class Server:
    """Answers every request with ``answer``, then closes the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self.url = ""
        self._runner = asyncio.Runner()
        self._server = self._runner.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
        writer.write(self.answer)
        writer.close()

    def asked(self, answer: bytes) -> tuple[Reply, Reply, Reply]:
        """What is made of an answer by aiohttp, by aiohttp without a session of its own, and by httptools."""
        self.answer = answer
        return self._runner.run(self._ask())

    async def _ask(self) -> tuple[Reply, Reply, Reply]:
        endpoint = Endpoint(self.url, timeouts=LIMITS)
        async with (
            aiohttp.ClientSession() as session,
            PlainSession(aiohttp.TCPConnector()) as plain,
            ConnectionPool() as pool,
        ):
            return (
                untimed(await AiohttpTransport(session, endpoint).send(POST)),
                untimed(await AiohttpTransport(plain, endpoint).send(POST)),
                untimed(await HttptoolsTransport(pool, endpoint).send(POST)),
            )

    def close(self) -> None:
        self._server.close()
        self._runner.run(self._server.wait_closed())
        self._runner.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


OK = b"HTTP/1.1 200 OK\r\n"


@given(answer=some.http_answers)
@example(answer=OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc")
@example(answer=OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc")
@example(answer=OK + b"A: 1\r\n" * 10_000 + b"\r\n")
@example(answer=OK + b"A: 1\r\n" * 128 + b"\r\nabc")
@example(answer=OK + b"A: 1\r\n" * 129 + b"\r\nabc")
@example(answer=b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc")
@example(answer=OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b")
@example(answer=OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")
def test_the_transports_agree_or_httptools_is_stricter(server: Server, answer: bytes) -> None:
    theirs, plain, ours = server.asked(answer)
    assert plain == theirs
    if ours == theirs:
        return
    if ours.status == 0:
        assert ours in (REFUSED, UNANSWERED)
        assert not is_well_formed(answer)
    else:  # the trouble is behind the head, which is good
        assert theirs == REFUSED
        assert is_well_formed(answer)
