"""What a server answers arrives as it is, and the same over every transport."""

import gzip
import threading
import zlib

import pytest

from tests.contract.loopback import (
    GET,
    KEY,
    MAKERS,
    POST,
    WAIT_S,
    BlockingClient,
    Body,
    Client,
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
from transports import Endpoint, Recording, ReplayTransport, Reply

JSON = "application/json"
LONG_LINE = b'data: {"c":"' + b"x" * 600_000 + b'"}\n\n'
TEXT = b"to be or not to be " * 50


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


def by_status(status: int) -> tuple[bytes, Reply]:
    body = f'{{"status":{status}}}'.encode()
    answer = wire(body, f"Content-Type: {JSON}", status=f"{status} Whatever")
    return answer, Reply(status, {"content-type": JSON, "content-length": str(len(body))}, body)


def encoded(name: str, data: bytes) -> tuple[bytes, Reply]:
    headers = {"content-encoding": name, "content-length": str(len(data))}
    return wire(data, f"Content-Encoding: {name}"), Reply(200, headers, TEXT)


def chunked(*chunks: bytes) -> tuple[bytes, Reply]:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    reply = Reply(200, {"transfer-encoding": "chunked"}, b"".join(chunks))
    return head("Transfer-Encoding: chunked") + framed, reply


ANSWERS = {
    **{
        f"status {status}": by_status(status) for status in (200, 201, 400, 401, 404, 429, 499, 500, 520, 599)
    },
    "redirect 302": (
        wire(b"there", "Location: /elsewhere", status="302 Found"),
        Reply(302, {"location": "/elsewhere", "content-length": "5"}, b"there"),
    ),
    "redirect 307 to nowhere": (
        wire(b"there", "Location: http://[", status="307 Temporary Redirect"),
        Reply(307, {"location": "http://[", "content-length": "5"}, b"there"),
    ),
    "headers in capitals, and repeated": (
        wire(b"", "X-ONE: 1", "Set-Cookie: a=1", "x-one: 2 ", "Set-Cookie: b=2; Path=/"),
        Reply(200, {"x-one": "1, 2", "set-cookie": "a=1, b=2; Path=/", "content-length": "0"}),
    ),
    "header beyond ASCII": (
        wire(b"", "X-Name: caf\u00e9"),
        Reply(200, {"x-name": "caf\u00e9", "content-length": "0"}),
    ),
    "header of 20 000 bytes": (
        wire(b"", "X-Long: " + "y" * 20_000),
        Reply(200, {"x-long": "y" * 20_000, "content-length": "0"}),
    ),
    "no content": (head(status="204 No Content"), Reply(204, {})),
    "chunks": chunked(b"one, ", b"two, ", b"three"),
    "line of 600 000 bytes": chunked(LONG_LINE),
    "gzip": encoded("gzip", gzip.compress(TEXT, mtime=0)),
    "gzip by its old name": encoded("x-gzip", gzip.compress(TEXT, mtime=0)),
    "gzip in two members": encoded(
        "GZIP", gzip.compress(TEXT[:99], mtime=0) + gzip.compress(TEXT[99:], mtime=0)
    ),
    "deflate": encoded("deflate", zlib.compress(TEXT)),
    "deflate without zlib's header": encoded("deflate", raw_deflate(TEXT)),
    "identity": encoded("identity", TEXT),
}


@pytest.mark.parametrize("transport", [*sorted(MAKERS), "replay"])
@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_arrives_as_it_was_sent(transport: str, answer: bytes, expected: Reply) -> None:
    with Loopback(answering(answer)) as server:
        if transport == "replay":
            client: Client = BlockingClient(ReplayTransport([recorded(expected)]))
        else:
            client = MAKERS[transport](Endpoint(server.url, KEY))
        try:
            assert untimed(client.send(POST)) == expected
            assert streamed(client, POST) == expected
        finally:
            client.close()
        assert [request.target for request in server.requests] == [POST.path] * (
            0 if transport == "replay" else 2
        )


def recorded(reply: Reply) -> Recording:
    body = POST.body.data if POST.body else None
    return Recording("it", POST.method, POST.path, body, reply.status, reply.headers, reply.body)


def test_a_request_arrives_as_it_was_planned(connect: Connect) -> None:
    path = "/v1/models/a%2Fb?x=%20"
    upload = bytes(range(256)) * 8 * 1024
    with Loopback(answering(wire(b""))) as server:
        client = connect(server.url + "/prefix/v1/", headers={"X-Own": "mine"})
        client.send(Plan("GET", path, None))
        client.send(Plan("POST", "/v1/x", Body("multipart/form-data; boundary=b", upload)))
        client.send(Plan("POST", "/v1/x", Body(JSON, b"")))
    get, large, empty = server.requests
    assert (get.method, get.target, get.body) == ("GET", "/prefix" + path, b"")
    assert (large.method, large.target, large.body) == ("POST", "/prefix/v1/x", upload)
    assert large.headers["content-type"] == "multipart/form-data; boundary=b"
    assert large.headers["content-length"] == str(len(upload))
    assert empty.headers["content-length"] == "0"
    for request in server.requests:
        assert request.headers["x-own"] == "mine"
        assert request.headers["accept-encoding"] == "gzip, deflate"


def test_a_stream_asks_for_events_and_send_does_not(connect: Connect) -> None:
    with Loopback(answering(wire(b""))) as server:
        client = connect(server.url)
        client.send(POST)
        streamed(client, POST)
    sent, stream = server.requests
    assert sent.headers["accept"] == "*/*"
    assert "cache-control" not in sent.headers
    assert stream.headers["accept"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache"


FRAMINGS = {
    "until the connection closes": ("Connection: close", ""),
    "chunked": ("Transfer-Encoding: chunked", ""),
    "until close, gzip": ("Connection: close", "gzip"),
    "chunked, gzip": ("Transfer-Encoding: chunked", "gzip"),
}


@pytest.mark.parametrize(("framing", "encoding"), FRAMINGS.values(), ids=FRAMINGS)
def test_an_event_arrives_before_the_next_one_is_sent(connect: Connect, framing: str, encoding: str) -> None:
    events = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n", b""]
    confirmed = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        connection.request()
        squeezer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        connection.send(head(framing, *([f"Content-Encoding: {encoding}"] if encoding else [])))
        for event in events:
            data = event
            if encoding:
                flush = zlib.Z_SYNC_FLUSH if event else zlib.Z_FINISH
                data = squeezer.compress(event) + squeezer.flush(flush)
            if "chunked" not in framing:
                connection.send(data)
            elif data:
                connection.chunk(data)
            if event:
                assert confirmed.acquire(timeout=WAIT_S)
        if "chunked" in framing:
            connection.chunk(b"")

    with Loopback(script) as server, connect(server.url).stream(POST) as (reply, pieces):
        assert reply.status == 200
        for event in events[:-1]:
            assert next(pieces)[::2] == (event, None)
            confirmed.release()
        assert list(pieces) == []


def test_times_do_not_run_backwards(connect: Connect) -> None:
    with Loopback(answering(*(ANSWERS["chunks"][:1]))) as server:
        client = connect(server.url)
        with client.stream(GET) as (reply, pieces):
            times = [reply.elapsed_ms, *(piece.at_ms for piece in pieces)]
        assert times == sorted(times)
        assert client.send(GET).elapsed_ms >= 0
