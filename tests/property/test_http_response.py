"""transports.http_response, for any bytes in any pieces."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


@given(some.http_answers, st.booleans())
def test_an_answer_is_whole_or_at_fault_once_the_connection_has_ended(data: bytes, bodiless: bool) -> None:
    outcome = parse([data], bodiless)
    assert outcome.over == (not outcome.fault)
    assert (outcome.status == 0) == (outcome.fault not in {"", "the body ended early"})
    assert outcome.status or not (outcome.headers or outcome.body)


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
