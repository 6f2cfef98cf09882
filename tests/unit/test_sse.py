"""Server-sent events: WHATWG's framing on bytes, and our tolerances."""

import pytest

from translate.sse import DONE, KEEP_ALIVE, Reader, frame

LF, CR, CRLF = b"\n", b"\r", b"\r\n"


def parses(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """What comes out while reading and on closing: whole, byte by byte, and with more after it."""
    whole = Reader()
    fed, closed = whole.feed(data), whole.close()
    single = Reader()
    assert [payload for byte in data for payload in single.feed(bytes([byte]))] == fed
    assert single.close() == closed
    more = Reader()
    assert more.feed(data + b"\n\n: more\n")[: len(fed)] == fed
    return fed, closed


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        pytest.param(b'data: {"a":1}\n\n', [b'{"a":1}'], id="one event"),
        pytest.param(b"data:[DONE]\n\n", [b"[DONE]"], id="no space after the colon"),
        pytest.param(b"data:  x\n\n", [b" x"], id="one space is taken off, not two"),
        pytest.param(b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}'], id="data lines are joined"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="a byte order mark first"),
        pytest.param(b": ping\n\ndata: a\n\n", [KEEP_ALIVE, b"a"], id="a comment"),
        pytest.param(b"data: : keepalive\n\ndata: a\n\n", [KEEP_ALIVE, b"a"], id="a comment sent as data"),
        pytest.param(b"id: 1\ndata: a\nretry: 5\nevent: x\nodd\n\n", [b"a"], id="other fields"),
        pytest.param(b"id: 1\n\ndata:\n\ndata\n\ndata: a\n\n", [b"a"], id="events without data"),
        pytest.param(
            'data: {"c":"x\u2028y\u0085z\x0bq✅"}\n\n'.encode(),
            ['{"c":"x\u2028y\u0085z\x0bq✅"}'.encode()],
            id="other line ends of Unicode are text",
        ),
        pytest.param(b'data: {"a":\r\ndata: 1}\r\n\r\n', [b'{"a":\n1}'], id="CRLF"),
        pytest.param(
            b'{"error":\n {"message":"}]"}\n}\n', [b'{"error":\n {"message":"}]"}\n}'], id="bare JSON"
        ),
        pytest.param(b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="a JSON document per line"),
        pytest.param(b'{"a":\ndata: x\n\n', [b'{"a":', b"x"], id="a data line ends bare JSON"),
    ],
)
def test_reads(data: bytes, payloads: list[bytes]) -> None:
    assert parses(data) == (payloads, [])


@pytest.mark.parametrize("first", [LF, CR, CRLF])
@pytest.mark.parametrize("second", [LF, CR, CRLF])
def test_any_two_line_ends_are_a_boundary(first: bytes, second: bytes) -> None:
    expected = [b"a\nb"] if (first, second) == (CR, LF) else [b"a", b"b"]  # CR LF is one line end
    assert parses(b"data: a" + first + second + b"data: b\n\n") == (expected, [])


@pytest.mark.parametrize(
    ("data", "left"),
    [
        pytest.param(b'data: {"a":1}', [b'{"a":1}'], id="no line end"),
        pytest.param(b'data: {"a":1}\n', [b'{"a":1}'], id="no blank line"),
        pytest.param(b'{"a":1', [b'{"a":1'], id="bare JSON that broke off"),
        pytest.param(b": ping", [], id="a comment"),
        pytest.param(b"dat", [], id="half a field"),
        pytest.param(b"data: \n", [], id="a blank"),
    ],
)
def test_close_gives_what_an_unfinished_event_has(data: bytes, left: list[bytes]) -> None:
    reader = Reader()
    assert reader.feed(data) == []
    assert reader.close() == left


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_an_event_over_the_limit_overflows_while_it_comes(size: int) -> None:
    data = b"data: ok\n\ndata: " + b"x" * 200 + b"\n\ndata: late\n\n"
    reader = Reader(limit=100)
    fed = [payload for at in range(0, len(data), size) for payload in reader.feed(data[at : at + size])]
    assert (fed, reader.overflowed, reader.close()) == ([b"ok"], True, [])


def test_comments_do_not_count_towards_the_limit() -> None:
    reader = Reader(limit=100)
    assert reader.feed(b"data: a\n" + b": ping\n" * 50 + b"\n") == [KEEP_ALIVE] * 50 + [b"a"]


def test_frames() -> None:
    assert frame(b"{}") == b"data: {}\n\n"
    assert frame(b"{}", "error") == b"event: error\ndata: {}\n\n"
    assert DONE == b"data: [DONE]\n\n"
