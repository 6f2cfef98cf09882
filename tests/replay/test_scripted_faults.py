"""Faults that a replay makes: what each does to an answer, and when it does it."""

import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Cut, Fault, Piece, Recording, ReplayTransport, Reply
from transports.replay import Clock
from transports.scripted_faults import FAULTS


class Plan(NamedTuple):
    method: str = "GET"
    path: str = "/v1/x"
    body: None = None


STREAM = {"content-type": "text/event-stream", "x-request-id": "7"}
A, B, DONE = b"data: a\n\n", b"data: b\r\n\r\n", b"data: [DONE]\n\n"
EVENTS = Recording(
    "chat/events",
    "GET",
    "/v1/x",
    headers=STREAM,
    body=A + B + DONE,
    cuts=((10, 4), (20, 12), (30, 18)),
    head_ms=5,
)
HEAD = Reply(200, STREAM, b"", 5)
PLAIN = [Piece(b"data", 10), Piece(b": a\n\ndata: b", 20), Piece(b"\r\n\r\ndata: [DONE]\n\n", 30)]
UNAVAILABLE = {"message": "a scripted fault", "type": "ServiceUnavailable", "param": None, "code": 503}
INTERNAL = {"message": "a scripted fault", "type": "InternalServerError", "param": None, "code": 500}
ERROR_FRAME = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"error": INTERNAL}).encode()
RESET = Cut("read", "connection reset")
EARLY = Cut("read", "the body ended early")
SQUEEZED = HEAD._replace(headers={**STREAM, "content-encoding": "gzip"})
IDLE = Cut("timeout", "idle: no data for 60 s", "idle")
JSON_TYPE = {"content-type": "application/json"}


def longer(length: str) -> Reply:
    return HEAD._replace(headers={**STREAM, "content-length": length})


def refusal(status: int, kind: str) -> Piece:
    return Piece(json.dumps({"error": {**UNAVAILABLE, "type": kind, "code": status}}).encode(), 5)


def played(fault: str, recording: Recording = EVENTS) -> tuple[Reply, list[Piece]]:
    """The answer with a fault, in no time; ``send`` must agree with ``stream``."""
    clock = Clock(lambda: 0.0, lambda _: None)
    transport = ReplayTransport([recording], faults=[fault], idle_s=60, clock=clock)
    with transport.stream(Plan()) as (head, stream):
        pieces = list(stream)
    body = b"".join(piece.data for piece in pieces)
    last = pieces[-1] if pieces else Piece(b"", head.elapsed_ms, head.cut)
    assert transport.send(Plan()) == head._replace(body=body, elapsed_ms=last.at_ms, cut=last.cut)
    return head, pieces


WORKS: dict[str, tuple[Reply, list[Piece]]] = {
    "no-connection": (Reply(0, {}, b"", 5, Cut("connect", "connection refused")), []),
    "no-answer": (
        Reply(0, {}, b"", 5, Cut("read", "the server closed the connection without an answer")),
        [],
    ),
    "status=503": (Reply(503, JSON_TYPE, b"", 5), [refusal(503, "ServiceUnavailable")]),
    "status=599": (Reply(599, JSON_TYPE, b"", 5), [refusal(599, "Error")]),
    "retry-after=3, status=429": (
        Reply(429, {**JSON_TYPE, "retry-after": "3"}, b"", 5),
        [refusal(429, "TooManyRequests")],
    ),
    "content-type=text/html; charset=x": (
        Reply(200, {**STREAM, "content-type": "text/html; charset=x"}, b"", 5),
        PLAIN,
    ),
    "headers=2": (HEAD._replace(headers={**STREAM, "x-filler-0": "1", "x-filler-1": "1"}), PLAIN),
    "headers=127": (Reply(0, {}, b"", 5, Cut("read", "not an HTTP answer")), []),
    "large-event=22": (HEAD, [Piece(b'data: {"filler":"x"}\n\n', 5), *PLAIN]),
    "trailing=garbage": (HEAD, [*PLAIN, Piece(b"garbage", 30)]),
    "content-length=6": (longer("6"), [PLAIN[0], Piece(b": ", 20)]),
    "content-length=34": (longer("34"), PLAIN),
    "content-length=35": (longer("35"), [*PLAIN, Piece(b"", 30, EARLY)]),
    "gzip-end-after=0": (SQUEEZED, [Piece(b"", 5, EARLY)]),
    "gzip-end-after=10": (SQUEEZED, [Piece(b"", 5, EARLY)]),
    "gzip-end-after=1000": (SQUEEZED, PLAIN),
    "error-frame-after=0": (HEAD, [Piece(ERROR_FRAME, 5)]),
    "error-frame-after=2": (HEAD, [*PLAIN[:2], Piece(b"\r\n\r\n", 30), Piece(ERROR_FRAME, 30)]),
    "error-frame-after=3": (HEAD, PLAIN),
    "end-after=0": (HEAD, []),
    "end-after=6": (HEAD, [PLAIN[0], Piece(b": ", 20)]),
    "end-after=1000": (HEAD, PLAIN),
    "reset-after=0": (HEAD, [Piece(b"", 5, RESET)]),
    "reset-after=6": (HEAD, [PLAIN[0], Piece(b": ", 20), Piece(b"", 20, RESET)]),
    "reset-after=34": (HEAD, [*PLAIN, Piece(b"", 30, RESET)]),
    "reset-after=35": (HEAD, PLAIN),
    "stall-after=0": (HEAD, [Piece(b"", 60_005, IDLE)]),
    "stall-after=4": (HEAD, [PLAIN[0], Piece(b"", 60_010, IDLE)]),
    "stall-after=35": (HEAD, PLAIN),
    "split=9": (
        HEAD,
        [PLAIN[0], Piece(b": a\n\ndata", 20), Piece(b": b", 20), Piece(b"\r\n\r\ndata:", 30), Piece(b" [DONE]\n\n", 30)],
    ),
    "drip=100": (HEAD, [PLAIN[0]._replace(at_ms=10), PLAIN[1]._replace(at_ms=105), PLAIN[2]._replace(at_ms=205)]),
    "delay=1000": (HEAD._replace(elapsed_ms=1005), [piece._replace(at_ms=piece.at_ms + 1000) for piece in PLAIN]),
    "split=3,end-after=6,delay=1": (
        HEAD._replace(elapsed_ms=6),
        [Piece(b"dat", 11), Piece(b"a", 11), Piece(b": ", 21)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "expected"), WORKS.items(), ids=WORKS)
def test_a_fault_works_as_it_is_described(fault: str, expected: tuple[Reply, list[Piece]]) -> None:
    assert played(fault) == expected


def test_every_fault_is_tried_here() -> None:
    tried = {part.partition("=")[0].strip() for fault in WORKS for part in fault.split(",")}
    assert tried == set(FAULTS)


def test_an_error_frame_needs_a_stream() -> None:
    whole = Recording("chat/whole", "GET", "/v1/x", headers=JSON_TYPE, body=b"{}\n\n{}\n\n")
    assert played("error-frame-after=1", whole) == (Reply(200, JSON_TYPE, b"", 0), [Piece(whole.body, 0)])


def test_a_recorded_cut_outlives_a_split_and_not_an_end() -> None:
    cut = Cut("read", "the body ended early")
    broken = Recording("it", "GET", "/v1/x", body=b"abc", cut=cut, cut_ms=9)
    assert played("split=2", broken)[1] == [Piece(b"ab", 0), Piece(b"c", 0), Piece(b"", 9, cut)]
    assert played("end-after=3", broken)[1] == [Piece(b"abc", 0)]


SENTENCES = {
    "nothing": ("", "there is no fault ''"),
    "no fault": ("times=1", "times=1: no fault is named"),
    "unknown": ("explode=1", "there is no fault 'explode', but no-connection, no-answer, status, "),
    "an event that is no event": (
        "large-event=1",
        "large-event=1: an event has from 21 to 67108864 bytes here",
    ),
    "twice": ("split=1,split=2", "split is given twice"),
    "a value that is missing": ("status", "status wants a value"),
    "a value too many": ("no-answer=1", "no-answer=1: no value is wanted, not '1'"),
    "no number": ("split=x", "split=x: 'x' is not a number of 0 or more"),
    "a negative number": ("reset-after=-1", "reset-after=-1: '-1' is not a number of 0 or more"),
    "a number of other digits": ("reset-after=\u0661", "is not a number of 0 or more"),
    "no piece": ("split=0", "split=0: a piece has at least one byte"),
    "a status that is no error": ("status=200", "status=200: the status of an error is from 400 to 599"),
    "a header that cannot be": ("content-type=a\nb", "is no value of a header"),
    "times without a number": ("split=1,times=x", "'x' is not a number of 0 or more"),
    "on without a pattern": ("split=1,on", "on wants a value"),
}


@pytest.mark.parametrize(("text", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_what_is_no_fault_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        Fault.parse(text)
    assert sentence in str(raised.value)


@given(st.text("=,abc0159-*", max_size=20) | st.sampled_from(sorted(FAULTS)).flatmap(
    lambda name: st.text("0159x,=", max_size=6).map(lambda value: f"{name}={value}")
))  # fmt: skip
def test_any_text_is_a_fault_or_a_sentence(text: str) -> None:
    try:
        fault = Fault.parse(text)
    except ValueError:
        return
    head, pieces = played(fault.text)
    assert all(piece.data or piece.cut for piece in pieces)
    assert [piece.cut for piece in pieces[:-1]] == [None] * (len(pieces) - 1 if pieces else 0)
    assert head.status in {0, 200, *range(400, 600)}


def several(*faults: str) -> ReplayTransport:
    recordings = [
        Recording(name, "GET", path, body=name.encode())
        for name, path in (("chat/a", "/a"), ("chat/b", "/b"), ("models/c", "/c"), ("chat/a2", "/a"))
    ]
    return ReplayTransport(recordings, faults=faults)


def statuses(transport: ReplayTransport, *paths: str) -> list[int]:
    return [transport.send(Plan(path=path)).status for path in paths]


def test_a_fault_passes_after_its_times_and_the_answer_is_then_the_one_that_was_missed() -> None:
    transport = several("status=503,times=2")
    assert [transport.send(Plan(path="/a")).body[:6] for _ in range(5)] == [
        b'{"erro',
        b'{"erro',
        b"chat/a",
        b"chat/a",
        b"chat/a",
    ]
    assert transport.unplayed == ("chat/b", "models/c")


def test_an_answer_that_a_fault_only_reshapes_counts_as_given() -> None:
    transport = several("split=1")
    assert [transport.send(Plan(path="/a")).body for _ in range(3)] == [b"chat/a", b"chat/a2", b"chat/a2"]


def test_the_first_fault_that_is_for_an_answer_is_made() -> None:
    transport = several("status=400,on=chat/*,times=1", "status=500,on=*/[ab]", "status=429,times=1")
    assert statuses(transport, "/c", "/a", "/b", "/c", "/a") == [429, 400, 500, 200, 500]


def test_a_fault_of_one_request_comes_before_all_others_and_shares_the_account() -> None:
    transport = several("status=500,times=1")
    own = transport.with_fault(Fault.parse("status=404"))
    assert statuses(own, "/a", "/b") == [404, 404]
    assert statuses(transport, "/a", "/a") == [500, 200]
    elsewhere = transport.with_fault(Fault.parse("status=404,on=nothing"))
    assert elsewhere.send(Plan(path="/a")).body == b"chat/a2"
    assert transport.unplayed == ("chat/b", "models/c")


def test_what_was_not_recorded_has_no_fault() -> None:
    assert statuses(several("no-answer"), "/d") == [501]
