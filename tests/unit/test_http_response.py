"""HTTP/1.1 answers out of bytes: what they hold, where they end, what is refused."""

from typing import NamedTuple

import pytest

from transports.http_response import ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOT_HTTP = "not an HTTP answer"
ENDED_EARLY = "the body ended early"
NO_ANSWER = "the server closed the connection without an answer"


class Seen(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes = b""
    over: bool = True
    fault: str = ""


def seen(parser: ResponseParser) -> Seen:
    return Seen(parser.status, parser.headers, b"".join(parser.body), parser.state == "over", parser.fault)


def parses(data: bytes, bodiless: bool = False) -> Seen:
    """What an answer comes to: whole, byte by byte, and with more behind it if it has an end of its own."""
    whole = ResponseParser()
    whole.expect(bodiless)
    whole.feed(data)
    single = ResponseParser()
    single.expect(bodiless)
    for byte in data:
        single.feed(bytes([byte]))
    assert seen(single) == seen(whole)
    assert single.keeps == whole.keeps
    if whole.state == "over":
        more = ResponseParser()
        more.expect(bodiless)
        more.feed(data + OK + b"X: surplus\r\nContent-Length: 7\r\n\r\nsurplus")
        assert seen(more) == seen(whole)
        assert not more.keeps
    return seen(whole)


WHOLE = {
    "with a length": (OK + b"Content-Length: 3\r\n\r\nabc", Seen(200, {"content-length": "3"}, b"abc")),
    "with chunks": (
        CHUNKED + b"2\r\nab\r\n1;a=b\r\nc\r\n0\r\nX-Trailer: y\r\n\r\n",
        Seen(200, {"transfer-encoding": "chunked"}, b"abc"),
    ),
    "chunked in capitals": (
        OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n",
        Seen(200, {"transfer-encoding": "CHUNKED"}),
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Seen(204, {})),
    "not modified, with the length of what was not sent": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        Seen(304, {"content-length": "9"}),
    ),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 199 X\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\na",
        Seen(200, {"content-length": "1"}, b"a"),
    ),
    "repeated headers": (
        OK + b"A: 1\r\nB:2\r\na: \t3 \r\nC:\r\nContent-Length: 0\r\n\r\n",
        Seen(200, {"a": "1, 3", "b": "2", "c": "", "content-length": "0"}),
    ),
    "no reason": (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", Seen(404, {"content-length": "0"})),
    "status out of the ordinary": (
        b"HTTP/1.1 999 \xff\r\nContent-Length: 0\r\n\r\n",
        Seen(999, {"content-length": "0"}),
    ),
    "switching protocols": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        Seen(101, {"upgrade": "x", "connection": "upgrade"}),
    ),
    "128 headers": (
        OK + b"A: 1\r\n" * 127 + b"Content-Length: 0\r\n\r\n",
        Seen(200, {"a": ", ".join("1" * 127), "content-length": "0"}),
    ),
    "header of 65,000 bytes": (
        OK + b"A: " + b"x" * 65_000 + b"\r\nContent-Length: 0\r\n\r\n",
        Seen(200, {"a": "x" * 65_000, "content-length": "0"}),
    ),
}


@pytest.mark.parametrize(("data", "expected"), WHOLE.values(), ids=WHOLE)
def test_a_whole_answer(data: bytes, expected: Seen) -> None:
    assert parses(data) == expected


def test_an_answer_to_head_has_no_body_whatever_its_length() -> None:
    data = OK + b"Content-Length: 9\r\n\r\n"
    assert parses(data, bodiless=True) == Seen(200, {"content-length": "9"})


UNFINISHED = {
    "nothing": (b"", Seen(0, {}, over=False), NO_ANSWER),
    "half a head": (OK + b"X: y\r\n", Seen(0, {}, over=False), NO_ANSWER),
    "interim answers alone": (b"HTTP/1.1 100 Continue\r\n\r\n", Seen(0, {}, over=False), NO_ANSWER),
    "part of a length": (
        OK + b"Content-Length: 9\r\n\r\nabc",
        Seen(200, {"content-length": "9"}, b"abc", over=False),
        ENDED_EARLY,
    ),
    "no last chunk": (
        CHUNKED + b"3\r\nabc\r\n",
        Seen(200, {"transfer-encoding": "chunked"}, b"abc", over=False),
        ENDED_EARLY,
    ),
    "until the end of the connection": (
        OK + b"X: y\r\n\r\nabc",
        Seen(200, {"x": "y"}, b"abc", over=False),
        "",
    ),
    "HTTP/1.0 until the end of the connection": (
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        Seen(200, {}, b"abc", over=False),
        "",
    ),
}


@pytest.mark.parametrize(("data", "expected", "fault"), UNFINISHED.values(), ids=UNFINISHED)
def test_the_end_of_the_connection_decides(data: bytes, expected: Seen, fault: str) -> None:
    assert parses(data) == expected
    parser = ResponseParser()
    parser.expect(bodiless=False)
    parser.feed(data)
    parser.end()
    assert (parser.state == "over", parser.fault, parser.keeps) == (not fault, fault, False)


REFUSED = {
    "not HTTP": b"hello",
    "another protocol": b"RTSP/1.0 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "small letters": b"http/1.1 200 OK\r\n\r\n",
    "a blank line first": b"\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "the same length twice": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\n",
    "a length with a sign": OK + b"Content-Length: +3\r\n\r\n",
    "an empty length": OK + b"Content-Length:\r\n\r\n",
    "an endless length": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "another transfer coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two transfer codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an interim answer with a length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n",
    "a bare line feed": OK + b"X: y\nZ: z\r\n\r\n",
    "a bare carriage return": OK + b"X: y\rZ: z\r\n\r\n",
    "a folded header": OK + b"X: y\r\n z\r\n\r\n",
    "a header without a name": OK + b": y\r\n\r\n",
    "a blank before the colon": OK + b"X : y\r\n\r\n",
    "a zero byte": OK + b"X: \x00\r\n\r\n",
    "129 headers": OK + b"A: 1\r\n" * 129 + b"\r\n",
    "10,000 headers": OK + b"A: 1\r\n" * 10_000 + b"\r\n",
    "a line of 70,000 bytes": OK + b"A: " + b"x" * 70_000 + b"\r\n\r\n",
    "a head of 300,000 bytes": OK + (b"A: " + b"x" * 60_000 + b"\r\n") * 5 + b"\r\n",
    "a head without end": OK + b"A: " + b"x" * 300_000,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 12_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_an_answer_is_refused(data: bytes) -> None:
    assert parses(data) == Seen(0, {}, over=False, fault=NOT_HTTP)


BROKEN = {
    "a size that is none": (b"zz\r\n", b""),
    "a size with a prefix": (b"0x3\r\nabc\r\n", b""),
    "a size beyond 64 bits": (b"fffffffffffffffff\r\nabc\r\n", b""),
    "a chunk that is longer than its size": (b"3\r\nabcd\r\n", b"abc"),
    "a size that ends in a bare line feed": (b"3\nabc\r\n", b""),
}


@pytest.mark.parametrize(("data", "body"), BROKEN.values(), ids=BROKEN)
def test_a_broken_body_is_given_up_to_its_break(data: bytes, body: bytes) -> None:
    expected = Seen(200, {"transfer-encoding": "chunked"}, body, over=False, fault=ENDED_EARLY)
    assert parses(CHUNKED + data) == expected


@pytest.mark.parametrize("never_ending", [b"3;" + b"x" * 400_000, b"0\r\n" + b"X: y\r\n" * 60_000])
def test_what_is_not_of_the_body_is_bounded(never_ending: bytes) -> None:
    for size in (1, 1000, 65_536):
        parser = ResponseParser()
        parser.expect(bodiless=False)
        parser.feed(CHUNKED)
        for start in range(0, len(never_ending), size):
            parser.feed(never_ending[start : start + size])
        assert parser.fault == ENDED_EARLY


def test_many_chunks_in_one_read_are_one_piece() -> None:
    parser = ResponseParser()
    parser.expect(bodiless=False)
    assert parser.feed(CHUNKED + b"2\r\nab\r\n" * 3)
    assert parser.feed(b"1\r\nc\r\n")
    assert parser.feed(b"1\r\nd\r\n" * 4 + b"0\r\n\r\n")
    assert (parser.body, parser.state) == ([b"ababab", b"c", b"dddd"], "over")


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False),
    ],
)
def test_whether_the_connection_can_be_used_again(data: bytes, keeps: bool) -> None:
    parser = ResponseParser()
    parser.expect(bodiless=False)
    parser.feed(data)
    assert (parser.state, parser.keeps) == ("over", keeps)


def test_one_answer_after_another() -> None:
    parser = ResponseParser()
    for number in range(3):
        parser.expect(bodiless=False)
        assert parser.feed(OK + b"X: %d\r\nContent-Length: 1\r\n\r\n" % number)
        assert parser.feed(b"%d" % number)
        assert seen(parser) == Seen(200, {"x": str(number), "content-length": "1"}, b"%d" % number)
        assert parser.keeps
        parser.body.clear()
        parser.state = "idle"


def test_a_server_that_speaks_unasked_is_not_asked_again() -> None:
    parser = ResponseParser()
    assert parser.keeps
    assert not parser.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert (parser.keeps, parser.state) == (False, "idle")
