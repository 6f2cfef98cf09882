"""translate.sse, for any bytes in any pieces."""

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from sseclient import SSEClient

from tests import strategies as some
from tests.property import whatwg
from translate import sse

BOM = b"\xef\xbb\xbf"

_TOKENS = st.sampled_from(
    [
        b"\n", b"\n", b"\r", b"\r\n", b"\n\n", b"data:", b"data: ", b"data", b"data :", b"event: x", b"id: 1", b": c",
        b'data: {"a":1}\n\n', b'data: {"a":1}\n\n', b"data: [DONE]\n\n", b'data: {"a":1}\n', b":", b" ", b"\t", b"x", b'{"a":1}', b"{", b"[", b"}", b"]", b'"', b"\\", b"[DONE]", BOM, b"\xef", b"\xbb\xbf",
        "\u2028\u0085".encode(), "✅".encode(), b"\x85", b"\x0b\x0c\x1c\x1d", b"\x00", b"\xff",
    ]
)  # fmt: skip
streams = st.lists(_TOKENS, max_size=14).map(b"".join) | some.any_bytes


def read(pieces: Iterable[bytes], limit: int = sse.LIMIT) -> tuple[list[bytes], list[bytes], bool]:
    """What a reader gives out while it is fed, what at the end, and whether it overflowed."""
    reader = sse.Reader(limit)
    fed = [payload for piece in pieces for payload in reader.feed(piece)]
    return fed, reader.close(), reader.overflowed


@given(streams, st.data())
def test_any_cut_of_any_bytes_gives_the_same_payloads(body: bytes, data: DataObject) -> None:
    whole = read([body])
    assert read(some.one_by_one(body)) == whole
    assert read(data.draw(some.pieces(body))) == whole


@given(streams, st.data())
@example(b"\xef\xbb\xbfdata: {}\r\n\r\ndata: x", None)
@example(b'data: {"a":1}\n{', None)
@example(b'{"a":\n\n1}data: x\n\ndata', None)
def test_payloads_are_those_of_the_specification(body: bytes, data: DataObject | None) -> None:
    during, last = whatwg.payloads(body)
    fed, closed, overflowed = read(data.draw(some.pieces(body)) if data else [body])
    assert (fed, closed, overflowed) == (during, last, False)


@given(streams, streams)
def test_what_comes_later_changes_nothing_of_what_was_complete(body: bytes, later: bytes) -> None:
    whole = body + b"\n\n"
    fed, _, _ = read([whole + later])
    before, _, _ = read([whole])
    assert fed[: len(before)] == before


@given(streams, st.integers(1, 24), st.data())
@example(b"data: 1234\n\n", 10, None)
@example(b"data: 1234\n{}\ndata: 1234\n{}\n", 12, None)
def test_whether_an_event_is_too_large_does_not_depend_on_the_cuts(
    body: bytes, limit: int, data: DataObject | None
) -> None:
    whole = read([body], limit)
    assert read(some.one_by_one(body), limit) == whole
    if data is not None:
        assert read(data.draw(some.pieces(body)), limit) == whole


@given(streams, st.data())
def test_no_event_within_the_limit_overflows(body: bytes, data: DataObject) -> None:
    limit = max(len(body), 1)
    assert read(data.draw(some.pieces(body)), limit) == read([body])


_PLAIN_EVENTS = st.lists(
    st.sampled_from(
        [b'data: {"a":1}\n\n', b"data: [1]\n\n", b"data: {}\n\n", b"\n", b": c\n", b"\r\n\r\n", BOM]
    ),
    max_size=6,
)


@given(_PLAIN_EVENTS, st.integers(1, 40), st.data())
@example([b"data: {}\n\n", b"\n"], 40, None)
@example([BOM, b"data: {}\n\n", BOM], 40, None)
def test_plain_events_are_read_as_all_others_are(
    events: Sequence[bytes], limit: int, data: DataObject | None
) -> None:
    """Event by event, where the short way is taken, and byte by byte, where it never is."""
    body = b"".join(events)
    slowly = read(some.one_by_one(body), limit)
    assert read(events, limit) == read([body], limit) == slowly
    if data is not None:
        assert read(data.draw(some.pieces(body)), limit) == slowly


def kept(reader: sse.Reader) -> int:
    """The bytes that a reader holds, wherever it holds them."""
    total = 0
    for name in sse.Reader.__slots__:
        value: object = getattr(reader, name)
        if isinstance(value, bytes | bytearray):
            total += len(value)
        elif isinstance(value, list):
            total += sum(len(item) for item in value if isinstance(item, bytes))
    return total


@given(st.lists(streams | st.sampled_from([b"data: aaaa\n{}\n", b"{\ndata: aaaa\n"]), max_size=12))
def test_a_reader_never_keeps_more_than_its_limit_and_the_last_read(pieces: Sequence[bytes]) -> None:
    limit = 16
    reader = sse.Reader(limit)
    for piece in pieces:
        reader.feed(piece)
        assert kept(reader) <= limit + len(piece)
    if reader.overflowed:
        assert kept(reader) == 0
        assert (reader.feed(b"data: x\n\n"), reader.close()) == ([], [])


@given(some.json_objects, st.sampled_from([None, 1, 4]), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_a_bare_json_body_is_one_payload_however_it_is_laid_out(
    document: dict[str, object], indent: int | None, line_end: str, data: DataObject
) -> None:
    text = json.dumps(document, indent=indent).replace("\n", line_end)
    for ending in ("", line_end, line_end * 2):
        body = (text + ending).encode()
        fed, last, _ = read(data.draw(some.pieces(body)))
        assert [json.dumps(json.loads(payload)) for payload in fed + last] == [json.dumps(document)]


_PAYLOADS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)


@given(st.lists(_PAYLOADS, max_size=4), st.data())
def test_what_is_framed_is_read_back(texts: Sequence[str], data: DataObject) -> None:
    said = [text.encode() for text in texts if not whatwg.says_nothing(text.encode())]
    body = (
        b"".join(sse.frame(payload, data.draw(st.sampled_from([None, "x"]))) for payload in said) + sse.DONE
    )
    fed, last, _ = read(data.draw(some.pieces(body)))
    assert (fed, last) == ([*said, b"[DONE]"], [])


def _by_sseclient(body: bytes) -> list[bytes]:
    return [event.data.encode() for event in SSEClient(iter([body])).events()]


_LINES = st.lists(
    st.sampled_from(
        ["data:", "data: ", "data:  x", 'data: {"a":1}', "data", "event: x", "id: 1", ": c", "retry: 5"]
    )
    | _PAYLOADS.map(lambda text: f"data: {text}"),
    min_size=1,
    max_size=4,
)


@given(st.lists(_LINES, max_size=4))
def test_where_sseclient_follows_the_specification_both_agree(events: Sequence[Sequence[str]]) -> None:
    body = "".join("\n".join(lines) + "\n\n" for lines in events).encode()
    fed, last, _ = read([body])
    theirs = [payload for payload in _by_sseclient(body) if not whatwg.says_nothing(payload)]
    assert ([payload for payload in fed if payload != sse.KEEP_ALIVE], last) == (theirs, [])


@pytest.mark.parametrize(
    ("body", "ours", "theirs"),
    [
        pytest.param(BOM + b"data: a\n\ndata: b\n\n", [b"a", b"b"], [b"b"], id="a BOM hides the first event"),
        pytest.param(b"data: a\n\r\ndata: b\n\n", [b"a", b"b"], [b"a\nb"], id="two line ends of two kinds"),
        pytest.param(b"data: a\r\r\ndata: b\r\r", [b"a", b"b"], [b"a\nb"], id="CR and then CRLF"),
        pytest.param(b"data: a\n\ndata: b\n", [b"a"], [b"a", b"b"], id="an event without its blank line"),
        pytest.param(b"data: a\n\ndata: b", [b"a"], [b"a", b"b"], id="an event broken off in its line"),
        pytest.param(b"data:\n\ndata: b\n\n", [b"b"], [b"", b"b"], id="empty data"),
        pytest.param(b"data: : ping\n\n", [sse.KEEP_ALIVE], [b": ping"], id="a comment sent as data"),
        pytest.param(b'{"error":1}\n\n', [b'{"error":1}'], [], id="bare JSON"),
    ],
)
def test_where_sseclient_differs_the_specification_and_our_tolerances_hold(
    body: bytes, ours: list[bytes], theirs: list[bytes]
) -> None:
    for pieces in ([body], some.one_by_one(body)):
        fed, _, _ = read(pieces)
        assert fed == ours
    assert _by_sseclient(body) == theirs


def test_sseclient_stumbles_over_cuts_where_we_do_not() -> None:
    body = b"data: a\r\n\r\n"
    assert read([b"data: a\r", b"\n\r\n"])[0] == read([body])[0] == [b"a"]
    assert read([b"data: a\r\n\r", b"\n"])[0] == [b"a"]
