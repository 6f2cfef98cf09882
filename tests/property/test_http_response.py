"""transports.http_response, for any bytes in any pieces."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from httptools import HttpParserError, HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import strategies as some
from transports.http_response import ResponseParser


class Outcome(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    over: bool
    fault: str


def parse(pieces: Iterable[bytes], bodiless: bool = False, ends: bool = True) -> Outcome:
    parser = ResponseParser()
    parser.expect(bodiless)
    for piece in pieces:
        parser.feed(piece)
    if ends:
        parser.end()
    return Outcome(parser.status, parser.headers, b"".join(parser.body), parser.state == "over", parser.fault)


@given(some.http_answers, st.booleans(), st.booleans(), st.data())
def test_any_cut_of_any_bytes_gives_the_same_answer(
    data: bytes, bodiless: bool, ends: bool, cuts: DataObject
) -> None:
    whole = parse([data], bodiless, ends)
    assert parse(some.one_by_one(data), bodiless, ends) == whole
    assert parse(cuts.draw(some.pieces(data)), bodiless, ends) == whole


_USUAL_LENGTHS = st.sampled_from(
    [b"3", b"3", b"003", b"4", b"0", b" 3", b"+3", b"3 ", b"", b"0" * 5000 + b"3"]
)
_LENGTH_NAMES = st.sampled_from([b"content-length: ", b"Content-Length: ", b"content-length:"])
_OTHER_LINES = st.sampled_from(
    [b"", b"a: b\r\n", b"a: c\r\n", b"content-length: 3\r\n", b"connection: close\r\n"]
)
_USUAL_STATUSES = st.sampled_from(
    [b"200 OK", b"200 OK", b"200 OK", b"204 No Content", b"404 Not Found", b"103 Hints"]
)
_USUAL_BODIES = st.sampled_from([b"abc", b"abc", b"xyz", b"ab", b"abcd", b"", b"abcHTTP/1.1 200 OK\r\n\r\n"])


@st.composite
def recurring_answers(draw: st.DrawFn) -> bytes:
    """Answers that are mostly alike."""
    before, after = draw(_OTHER_LINES), draw(_OTHER_LINES)
    head = b"HTTP/1.1 %b\r\n%b%b%b\r\n%b\r\n"
    return head % (draw(_USUAL_STATUSES), before, draw(_LENGTH_NAMES), draw(_USUAL_LENGTHS), after) + draw(
        _USUAL_BODIES
    )


class Forgetful(ResponseParser):
    """Knows no head that it has seen before."""

    def _is_known(self, data: bytes) -> bool:
        return False


@given(st.lists(st.tuples(recurring_answers(), st.booleans()), max_size=6), st.data())
def test_an_answer_whose_head_is_known_is_read_as_any_other(
    answers: Sequence[tuple[bytes, bool]], cuts: DataObject
) -> None:
    parsers = ResponseParser(), Forgetful()
    for answer, bodiless in answers:
        pieces = cuts.draw(st.just([answer]) | some.pieces(answer))
        for parser in parsers:
            parser.expect(bodiless)
            for piece in pieces:
                parser.feed(piece)
        known, plain = (
            (one.status, one.headers, list(one.headers), one.body, one.state, one.fault, one.keeps)
            for one in parsers
        )
        assert known == plain
        if not parsers[0].keeps or parsers[0].state != "over":
            return
        for parser in parsers:
            parser.body.clear()
            parser.state = "idle"


@given(some.http_answers, st.booleans())
def test_an_answer_is_whole_or_at_fault_once_the_connection_has_ended(data: bytes, bodiless: bool) -> None:
    outcome = parse([data], bodiless)
    assert outcome.over == (not outcome.fault)
    assert (outcome.status == 0) == (outcome.fault not in {"", "the body ended early"})
    assert outcome.status or not (outcome.headers or outcome.body)


class Fields:
    """What llhttp itself makes of the lines of a head."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.seen: dict[str, str] | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.seen = dict(self.headers)
        raise EOFError


_LINES = st.one_of(
    st.binary(max_size=12),
    st.lists(st.sampled_from([*b'aB:- \t\r\n\x00\x7f\x85\xa0\xff,;="(']), max_size=12).map(bytes),
    st.sampled_from([b"A: b", b"a:\tc ", b"B:", b"b: :", b"Content-Type: text/plain", b"C: a\r\n b"]),
)


@given(st.sampled_from([b"\r\n", b"\r\n", b"\n"]), st.lists(_LINES, max_size=4))
def test_the_headers_are_those_that_llhttp_sees(end: bytes, lines: Sequence[bytes]) -> None:
    head = end.join([b"HTTP/1.1 200 OK", *lines, b"", b""])
    head = head[: head.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in head else head
    parser = ResponseParser()
    parser.expect(bodiless=False)
    parser.feed(head)
    fields = Fields()
    with suppress(HttpParserError):
        HttpResponseParser(fields).feed_data(head)
    if parser.status:
        assert parser.headers == fields.seen


_NAMES = st.sampled_from(["X-One", "x-two", "Content-Type", "!#$%&'*+-.^_`|~9z"])
_VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=5
)


@given(
    st.integers(200, 599).filter(lambda status: status not in {204, 304}),
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
    st.lists(st.binary(min_size=1, max_size=9), max_size=4),
    st.sampled_from(["length", "chunks", "end"]),
    st.data(),
)
def test_what_was_sent_is_read_back(
    status: int,
    fields: Sequence[tuple[str, str]],
    parts: Sequence[bytes],
    framing: str,
    cuts: DataObject,
) -> None:
    body = b"".join(parts)
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields)]
    expected: dict[str, str] = {}
    for name, value in fields:
        key, text = name.lower(), value.strip()
        expected[key] = f"{expected[key]}, {text}" if key in expected else text
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
        expected["content-length"] = str(len(body))
    elif framing == "chunks":
        lines.append("Transfer-Encoding: chunked")
        expected["transfer-encoding"] = "chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    data = "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body
    outcome = parse(cuts.draw(some.pieces(data)))
    assert outcome == Outcome(status, expected, b"".join(parts), True, "")
