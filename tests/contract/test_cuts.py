"""How an exchange breaks off is said in the same words by every transport, and never by an exception."""

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import pytest

from tests.contract.loopback import (
    GET,
    KEY,
    POST,
    WAIT_S,
    Body,
    Connect,
    Connection,
    Loopback,
    Plan,
    answering,
    head,
    streamed,
    untimed,
    wire,
)
from transports import Cut, Reply, Timeouts

NOTHING = Reply(0, {})
CHUNKED = head("Transfer-Encoding: chunked")


def flushed(data: bytes) -> bytes:
    """The beginning of a gzip body, without its end."""
    squeezer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH)


class Break(NamedTuple):
    """What a server sends before it closes the connection, and what is to be seen of it."""

    sent: bytes
    expected: Reply


def broken(sent: bytes, detail: str, body: bytes | None = None, **headers: str) -> Break:
    cut = Cut("read", detail)
    if body is None:
        return Break(sent, NOTHING._replace(cut=cut))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Break(sent, Reply(200, named, body, 0, cut))


BREAKS = {
    "no answer": broken(b"", "the server closed the connection without an answer"),
    "not HTTP": broken(b"hello world\r\n\r\n", "not an HTTP answer"),
    "status of two digits": broken(b"HTTP/1.1 20 OK\r\n\r\n", "not an HTTP answer"),
    "huge header": broken(wire(b"", "X-Huge: " + "x" * 100_000), "not an HTTP answer"),
    "10,000 headers": broken(wire(b"", *["A: 1"] * 10_000), "not an HTTP answer"),
    "length not reached": broken(
        head("Content-Length: 10") + b"abc", "the body ended early", b"abc", content_length="10"
    ),
    "no last chunk": broken(
        CHUNKED + b"3\r\nabc\r\n", "the body ended early", b"abc", transfer_encoding="chunked"
    ),
    "half a chunk": broken(
        CHUNKED + b"9\r\nabc", "the body ended early", b"abc", transfer_encoding="chunked"
    ),
    "gzip without its end": broken(
        wire(flushed(b"abc"), "Content-Encoding: gzip", "Connection: close"),
        "the body ended early",
        b"abc",
        content_encoding="gzip",
        content_length=str(len(flushed(b"abc"))),
        connection="close",
    ),
    "gzip without its end, until close": broken(
        head("Content-Encoding: gzip", "Connection: close") + flushed(b"abc"),
        "the body ended early",
        b"abc",
        content_encoding="gzip",
        connection="close",
    ),
    "gzip that is not": broken(
        wire(b"abc", "Content-Encoding: gzip", "Connection: close"),
        "content encoding is broken",
        b"",
        content_encoding="gzip",
        content_length="3",
        connection="close",
    ),
    "encoding that nobody asked for": broken(
        wire(b"abc", "Content-Encoding: br", "Connection: close"),
        "content encoding is not supported",
        b"",
        content_encoding="br",
        content_length="3",
        connection="close",
    ),
}


@pytest.mark.parametrize(("sent", "expected"), BREAKS.values(), ids=BREAKS)
def test_a_broken_answer_is_a_cut(connect: Connect, sent: bytes, expected: Reply) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(sent)

    with Loopback(script) as server:
        client = connect(server.url)
        told = [untimed(client.send(POST)), untimed(client.send(GET)), streamed(client, POST)]
        assert told == [expected] * 3
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 3
        assert_silent(server.url, *told)


def assert_silent(url: str, *replies: Reply) -> None:
    """Nothing of the address or of the key is in what a transport tells."""
    host, port = url.rsplit("/", 1)[1].split(":")
    for reply in replies:
        told = repr(reply)
        assert KEY not in told
        assert host not in told
        assert port not in told


def garble(connection: Connection) -> None:
    connection.send(b"zz\r\n")


LATE_BREAKS: dict[str, tuple[tuple[str, ...], Callable[[Connection], None], str]] = {
    "reset in a chunked body": (("Transfer-Encoding: chunked",), Connection.reset, "connection reset"),
    "reset before the length": (("Content-Length: 99",), Connection.reset, "connection reset"),
    "reset in a body until close": (("Connection: close",), Connection.reset, "connection reset"),
    "chunk of no size": (("Transfer-Encoding: chunked",), garble, "the body ended early"),
}


@pytest.mark.parametrize(("lines", "end", "detail"), LATE_BREAKS.values(), ids=LATE_BREAKS)
def test_a_break_after_the_first_event_is_the_last_piece(
    connect: Connect, lines: tuple[str, ...], end: Callable[[Connection], None], detail: str
) -> None:
    arrived = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head(*lines))
        if "chunked" in lines[0]:
            connection.chunk(b"data: 1\n\n")
        else:
            connection.send(b"data: 1\n\n")
        assert arrived.wait(WAIT_S)
        end(connection)
        connection.until_closed()

    with Loopback(script) as server, connect(server.url).stream(POST) as (reply, pieces):
        assert reply.cut is None
        first = next(pieces)
        assert first[::2] == (b"data: 1\n\n", None)
        arrived.set()
        (last,) = pieces
        assert last[::2] == (b"", Cut("read", detail))
        assert list(pieces) == []


def test_a_reset_before_the_headers_is_a_cut(connect: Connect) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.reset()

    with Loopback(script) as server:
        client = connect(server.url)
        expected = NOTHING._replace(cut=Cut("read", "connection reset"))
        assert [untimed(client.send(POST)), streamed(client, POST)] == [expected] * 2
        assert_silent(server.url, expected)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


UNREACHABLE = {
    "refused": (lambda: f"http://127.0.0.1:{closed_port()}", "connection refused"),
    "refused by each address of a name": (lambda: f"http://localhost:{closed_port()}", "connection refused"),
    "no such host": (lambda: "http://nothing.invalid", "host name not found"),
    "no scheme": (lambda: "127.0.0.1:8000", "the address is not valid"),
    "another scheme": (lambda: "ftp://127.0.0.1", "the address is not valid"),
    "no host": (lambda: "http://", "the address is not valid"),
    "port out of range": (lambda: "http://127.0.0.1:99999", "the address is not valid"),
    "address with a space": (lambda: "http://127.0.0.1/a b", "the address is not valid"),
}


@pytest.mark.parametrize(("address", "detail"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_a_server_out_of_reach_is_a_cut(connect: Connect, address: Callable[[], str], detail: str) -> None:
    client = connect(address())
    expected = NOTHING._replace(cut=Cut("connect", detail))
    assert [untimed(client.send(POST)), streamed(client, POST)] == [expected] * 2


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\nX: y", "sk-caf\u00e9", "sk-1\x00"])
def test_a_key_that_cannot_be_a_header_is_a_cut_that_does_not_quote_it(connect: Connect, key: str) -> None:
    with Loopback(answering(wire(b""))) as server:
        reply = connect(server.url, api_key=key).send(POST)
        assert reply.cut == Cut("connect", "a header holds characters that cannot be sent")
        assert server.connections == 0


def test_tls_to_a_port_without_it_is_a_cut(connect: Connect) -> None:
    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.until_closed()

    with Loopback(script) as server:
        client = connect(server.url.replace("http:", "https:"))
        expected = NOTHING._replace(cut=Cut("connect", "TLS handshake failed"))
        assert [untimed(client.send(POST)), streamed(client, POST)] == [expected] * 2


@contextmanager
def full_backlog() -> Iterator[str]:
    """An address where a connection is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for caller in callers:
                caller.close()


@contextmanager
def silent_tls() -> Iterator[str]:
    """An address that takes a connection and leaves its TLS handshake without an answer."""
    with Loopback(Connection.until_closed) as server:
        yield server.url.replace("http:", "https:")


@pytest.mark.parametrize("place", [full_backlog, silent_tls])
def test_no_connection_in_time_is_a_cut(
    connect: Connect, place: Callable[[], AbstractContextManager[str]]
) -> None:
    with place() as url:
        client = connect(url, timeouts=Timeouts(connect_s=0.1, first_byte_s=20))
        expected = NOTHING._replace(cut=Cut("timeout", "connect: no connection within 0.1 s", "connect"))
        assert [untimed(client.send(POST)), streamed(client, POST)] == [expected] * 2


def test_no_answer_in_time_is_a_cut(connect: Connect) -> None:
    with Loopback(silent_after(b"")) as server:
        client = connect(server.url, timeouts=Timeouts(first_byte_s=0.1))
        expected = NOTHING._replace(cut=Cut("timeout", "first byte: no answer within 0.1 s", "first byte"))
        assert [untimed(client.send(POST)), streamed(client, POST)] == [expected] * 2


SILENCES = {
    "chunked": head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    "until close": head("Connection: close") + b"abc",
    "with a length": head("Content-Length: 9") + b"abc",
    "no byte of the body": head("Content-Length: 9"),
}


@pytest.mark.parametrize("sent", SILENCES.values(), ids=SILENCES)
def test_silence_in_the_body_is_a_cut(connect: Connect, sent: bytes) -> None:
    with Loopback(silent_after(sent)) as server:
        client = connect(server.url, timeouts=Timeouts(idle_s=0.1))
        for reply in (client.send(POST), streamed(client, POST)):
            assert reply.status == 200
            assert reply.body == sent.partition(b"\r\n\r\n")[2].removeprefix(b"3\r\n").removesuffix(b"\r\n")
            assert reply.cut == Cut("timeout", "idle: no data for 0.1 s", "idle")


def test_the_limit_of_the_first_byte_does_not_hold_in_the_body(connect: Connect) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Content-Length: 6") + b"abc")
        threading.Event().wait(1.2)
        connection.send(b"def")
        connection.until_closed()

    with Loopback(script) as server:
        client = connect(server.url, timeouts=Timeouts(first_byte_s=1.0))
        reply = client.send(POST)
        assert (reply.body, reply.cut) == (b"abcdef", None)


def test_a_large_upload_may_take_longer_than_a_connection(connect: Connect) -> None:
    upload = bytes(16 * 1024 * 1024)

    def script(connection: Connection) -> None:
        assert connection.request(pace_s=0.02)
        connection.send(wire(b"fine"))

    with Loopback(script) as server:
        client = connect(server.url, timeouts=Timeouts(connect_s=0.6))
        reply = client.send(Plan("POST", "/v1/x", Body("audio/wav", upload)))
        assert (reply.body, reply.cut) == (b"fine", None)
        assert server.requests[0].body == upload


def silent_after(sent: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(sent)
        connection.until_closed()

    return script


@pytest.mark.parametrize("sent", [b"", *SILENCES.values()], ids=["no headers", *SILENCES])
def test_an_answer_that_is_not_whole_in_time_is_a_cut_and_a_stream_has_no_such_limit(
    connect: Connect, sent: bytes
) -> None:
    limits = Timeouts(connect_s=20, first_byte_s=0.2, idle_s=0.2, total_s=0.1)
    with Loopback(silent_after(sent)) as server:
        client = connect(server.url, timeouts=limits)
        assert client.send(POST).cut == Cut("timeout", "total: not complete within 0.1 s", "total")
        cut = streamed(client, POST).cut
        assert cut is not None
        assert cut.detail.endswith(" 0.2 s")


def test_an_answer_that_drips_is_cut_by_the_total(connect: Connect) -> None:
    over = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(head("Connection: close"))
        while not over.wait(0.01):
            connection.send(b"x")

    with Loopback(script) as server:
        reply = connect(server.url, timeouts=Timeouts(total_s=0.2)).send(POST)
        over.set()
        assert reply.cut == Cut("timeout", "total: not complete within 0.2 s", "total")


LARGE = {
    "plain": wire(b"x" * 5000),
    "exploding": wire(gzip.compress(bytes(64 * 1024 * 1024)), "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("sent", LARGE.values(), ids=LARGE)
def test_send_collects_no_more_than_its_limit(connect: Connect, sent: bytes) -> None:
    with Loopback(answering(sent)) as server:
        reply = connect(server.url, reply_limit=1000).send(POST)
        assert reply.cut == Cut("read", "the body is larger than 1000 bytes")
        assert len(reply.body) == 1000


def test_a_body_as_large_as_the_limit_is_whole(connect: Connect) -> None:
    with Loopback(answering(wire(b"x" * 1000))) as server:
        reply = connect(server.url, reply_limit=1000).send(POST)
        assert (len(reply.body), reply.cut) == (1000, None)
