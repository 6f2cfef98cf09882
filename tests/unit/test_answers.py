"""What goes out to a client, byte for byte."""

import asyncio
from collections.abc import Mapping
from unittest.mock import AsyncMock, Mock

import pytest

from routing import headers
from serving import answers
from serving.answers import Answer, ClientConnection, EventStream, Wire

SECURITY = "".join(f"{name}: {value}\r\n" for name, value in headers.SECURITY.items())
DATE = "Mon, 23 Nov 2026 03:06:22 GMT"
DATE_LINE = f"date: {DATE}\r\n"
ID: Mapping[str, str] = {"x-request-id": "r"}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "time", lambda: 1_795_403_182.9)


class Client:
    """A connection, and what was written to it."""

    def __init__(self, closing: bool = False, gone: bool = False, full: bool = False) -> None:
        self._transport = Mock(asyncio.Transport)
        self._transport.is_closing.return_value = closing
        self.connection = Mock(
            ClientConnection, transport=None if gone else self._transport, writing_paused=full
        )
        self.drain = AsyncMock()

    def wire(self, is_old: bool = False, keeps: bool = True, bodiless: bool = False) -> Wire:
        return Wire(self.connection, self.drain, is_old=is_old, keeps=keeps, bodiless=bodiless)


def sent(client: Client) -> list[bytes]:
    """One entry for each write."""
    written = []
    for name, arguments, _ in client.connection.transport.method_calls:
        if name == "write":
            written.append(arguments[0])
        elif name == "writelines":
            written.append(b"".join(arguments[0]))
    return written


@pytest.mark.parametrize(
    ("is_old", "keeps", "status_line", "connection"),
    [
        (False, True, "HTTP/1.1 200 OK", ""),
        (False, False, "HTTP/1.1 200 OK", "connection: close\r\n"),
        (True, False, "HTTP/1.0 200 OK", ""),
        (True, True, "HTTP/1.0 200 OK", "connection: keep-alive\r\n"),
    ],
)
def test_an_answer(is_old: bool, keeps: bool, status_line: str, connection: str) -> None:
    client = Client()
    wire = client.wire(is_old, keeps)
    Answer('{"a":"é"}'.encode()).write(wire, ID)
    assert wire.keeps is keeps
    assert [write.decode() for write in sent(client)] == [
        f"{status_line}\r\n{SECURITY}server: bifrost-vllm\r\ncontent-type: application/json\r\n{connection}"
        f"{DATE_LINE}x-request-id: r\r\ncontent-length: 10\r\n\r\n" + '{"a":"é"}'
    ]


def test_an_answer_that_is_the_last() -> None:
    client = Client()
    wire = client.wire()
    Answer(b"{}", 418, {"allow": "GET"}, closes=True).write(wire, ID)
    assert not wire.keeps
    assert [write.decode() for write in sent(client)] == [
        f"HTTP/1.1 418 I'm a Teapot\r\n{SECURITY}server: bifrost-vllm\r\ncontent-type: application/json\r\n"
        f"connection: close\r\n{DATE_LINE}allow: GET\r\nx-request-id: r\r\ncontent-length: 2\r\n\r\n{{}}"
    ]


@pytest.mark.parametrize(("body", "length"), [(b"abc", 3), (b"", 0)])
def test_an_answer_to_head_has_the_length_and_no_body(body: bytes, length: int) -> None:
    client = Client()
    Answer(body, 599, content_type="").write(client.wire(bodiless=True), {})
    assert [write.decode() for write in sent(client)] == [
        f"HTTP/1.1 599 \r\n{SECURITY}server: bifrost-vllm\r\n{DATE_LINE}content-length: {length}\r\n\r\n"
    ]


def test_a_large_answer_is_not_copied() -> None:
    client = Client()
    body = b"x" * 100_000
    Answer(body).write(client.wire(), {})
    [(name, (pieces,), _)] = [
        call for call in client.connection.transport.method_calls if call[0] != "is_closing"
    ]
    assert name == "writelines"
    assert pieces[1] is body


def test_what_a_page_sent_goes_back_as_it_came() -> None:
    client = Client()
    origin = b"https://\xff.example.com"
    Answer(b"{}").write(
        client.wire(), {"access-control-allow-origin": origin.decode("utf-8", "surrogateescape")}
    )
    assert b"\r\naccess-control-allow-origin: " + origin + b"\r\n" in sent(client)[0]


@pytest.mark.parametrize("client", [Client(closing=True), Client(gone=True)], ids=["closing", "gone"])
def test_a_client_that_has_left_gets_nothing(client: Client) -> None:
    with pytest.raises(ConnectionResetError):
        Answer(b"{}").write(client.wire(), {})


def streamed(stream: EventStream) -> None:
    stream.begin({"content-type": "text/event-stream"})
    stream.write(b"one")
    stream.write(b"seventeen bytes..")
    stream.write(b"end", last=True)


def test_a_stream() -> None:
    client = Client()
    stream = EventStream(client.wire())
    assert (stream.begun, stream.ended) == (False, False)
    streamed(stream)
    assert (stream.begun, stream.ended) == (True, True)
    client.drain.assert_not_awaited()
    assert [write.decode() for write in sent(client)] == [
        f"HTTP/1.1 200 OK\r\n{SECURITY}server: bifrost-vllm\r\n{DATE_LINE}content-type: text/event-stream\r\n"
        "transfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        "11\r\nseventeen bytes..\r\n",
        "3\r\nend\r\n0\r\n\r\n",
    ]


def test_a_stream_over_http_1_0_ends_with_the_connection() -> None:
    client = Client()
    wire = client.wire(is_old=True, keeps=True)
    streamed(EventStream(wire))
    assert not wire.keeps
    assert [write.decode() for write in sent(client)] == [
        f"HTTP/1.0 200 OK\r\n{SECURITY}server: bifrost-vllm\r\n{DATE_LINE}content-type: text/event-stream\r\n"
        "\r\none",
        "seventeen bytes..",
        "end",
    ]


@pytest.mark.parametrize("full", [True, False])
def test_a_client_that_reads_slowly_is_waited_for(full: bool) -> None:
    client = Client(full=full)
    wire = client.wire()
    assert wire.is_full is full
    asyncio.run(wire.drain())
    assert client.drain.await_count == full
