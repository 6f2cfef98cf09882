"""Recordings are read from cassettes, found by what they ask, and played as they were cut."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from transports import (
    AsyncReplayTransport,
    Cut,
    Piece,
    Recording,
    Recordings,
    Recut,
    ReplayTransport,
    Reply,
    Timing,
    as_timing,
)
from transports.replay import AsyncClock, Clock


class Body(NamedTuple):
    content_type: str
    data: bytes
    rest: tuple[bytes, ...] = ()


class Plan(NamedTuple):
    method: str
    path: str
    body: Body | None = None


def post(document: object, path: str = "/v1/x") -> Plan:
    return Plan("POST", path, Body("application/json", json.dumps(document).encode()))


def recording(request: object, body: bytes = b"answer", name: str = "some/thing", **more: Any) -> Recording:
    return Recording(name, "POST", "/v1/x", json.dumps(request).encode(), body=body, **more)


EVENTS = recording({"a": 1}, b"abcdefghij", cuts=((10, 3), (20, 0), (30, 4), (70, 3)))


def played(recut: Recut = "recorded", break_at: int | None = None) -> tuple[list[Piece], Reply]:
    """One recording, streamed and sent; both colours must agree."""
    plan = post({"a": 1})

    async def other() -> tuple[Reply, list[Piece], Reply]:
        transport = AsyncReplayTransport([EVENTS], recut, break_at)
        async with transport.stream(plan) as (head, pieces):
            streamed = [piece async for piece in pieces]
        return head, streamed, await transport.send(plan)

    transport = ReplayTransport([EVENTS], recut, break_at)
    with transport.stream(plan) as (head, pieces):
        streamed = list(pieces)
    sent = transport.send(plan)
    assert (head, streamed, sent) == asyncio.run(other())
    assert head == Reply(200, {}, b"", streamed[0].at_ms)
    return streamed, sent


RECUTS: dict[str, tuple[Recut, list[Piece]]] = {
    "as recorded": ("recorded", [Piece(b"abc", 10), Piece(b"defg", 30), Piece(b"hij", 70)]),
    "whole": ("whole", [Piece(b"abcdefghij", 70)]),
    "single bytes": (
        "bytes",
        [Piece(bytes([c]), t) for c, t in zip(b"abcdefghij", [10] * 3 + [30] * 4 + [70] * 3, strict=True)],
    ),
    "one size": (4, [Piece(b"abcd", 30), Piece(b"efgh", 70), Piece(b"ij", 70)]),
    "sizes in turn": (
        [1, 3],
        [
            Piece(b"a", 10),
            Piece(b"bcd", 30),
            Piece(b"e", 30),
            Piece(b"fgh", 70),
            Piece(b"i", 70),
            Piece(b"j", 70),
        ],
    ),
}


@pytest.mark.parametrize(("recut", "expected"), RECUTS.values(), ids=RECUTS)
def test_a_body_can_be_cut_anew_and_each_piece_comes_when_its_last_byte_came(
    recut: Recut, expected: list[Piece]
) -> None:
    streamed, sent = played(recut)
    assert streamed == expected
    assert sent == Reply(200, {}, b"abcdefghij", 70)


@pytest.mark.parametrize("at", range(11))
def test_a_body_can_be_broken_off_at_any_byte(at: int) -> None:
    for recut in ("recorded", "bytes"):
        streamed, sent = played(recut, break_at=at)
        cut = Cut("read", f"the recording was broken off at byte {at}")
        assert b"".join(piece.data for piece in streamed) == b"abcdefghij"[:at]
        assert [piece.cut for piece in streamed] == [None] * (len(streamed) - 1) + [cut]
        assert (sent.body, sent.cut) == (b"abcdefghij"[:at], cut)


def test_a_break_beyond_the_body_is_none() -> None:
    assert played(break_at=11) == played()


def test_equal_requests_are_answered_in_recorded_order_and_the_last_answer_repeats() -> None:
    first, other, second = (
        recording(1, b"first", "a"),
        recording(2, b"other", "b"),
        recording(1, b"second", "c"),
    )
    transport = ReplayTransport([first, other, second])
    assert list(transport.unplayed) == ["a", "b", "c"]
    assert [transport.send(post(1)).body for _ in range(4)] == [b"first", b"second", b"second", b"second"]
    assert list(transport.unplayed) == ["b"]
    assert transport.send(post(2)).body == b"other"
    assert not transport.unplayed


def test_of_one_request_to_several_servers_the_newest_answers() -> None:
    names = ["x/a@vllm-0.9.2", "x/a@vllm-0.32.0", "x/b@vllm-0.32.0", "x/a@vllm-0.32.0rc1", "x/a", "x/a@mine"]
    asked = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}]
    each = Recordings(recording(request, name=name) for request, name in zip(asked, names, strict=True))
    assert [kept.name for kept in each.newest()] == ["x/b@vllm-0.32.0", "x/a@vllm-0.32.0rc1", "x/a@mine"]
    twice = Recordings([recording(1, b"1", "x/a@vllm-0.32.0"), recording(1, b"2", "x/b@vllm-0.32.0")])
    assert twice.newest() == twice


SAME = {
    "order of keys": (b'{"a":1,"b":[2,{"c":3,"d":4}]}', b'{"b": [2, {"d": 4, "c": 3}], "a": 1}'),
    "spelling of text": (b'"\\u00e9"', '"\u00e9"'.encode()),
    "equal bytes": (b"--b\r\n\xff", b"--b\r\n\xff"),
    "nothing and empty": (b"", None),
}

DIFFERENT = {
    "integer and float": (b'{"n":1}', b'{"n":1.0}', "$.n"),
    "integer and truth": (b'{"n":[1]}', b'{"n":[true]}', "$.n[0]"),
    "zero and nothing": (b'{"n":0}', b'{"n":null}', "$.n"),
    "order of a list": (b"[1,2]", b"[2,1]", "$[0]"),
    "key too many": (b'{"a":1,"b c":2}', b'{"a":1}', '$["b c"]'),
    "key too few": (b'{"a":1}', b'{"a":1,"b":{"c":2}}', "$.b.c"),
    "empty list and empty object": (b'{"a":[]}', b'{"a":{}}', "$.a"),
    "other bytes": (b"--b\r\nabc", b"--b\r\nabd", "byte 7"),
    "fewer bytes": (b"--b", b"--bb", "byte 3"),
    "JSON and bytes": (b"{}", b"{", "byte 1"),
    "nested too deeply": (b"[" * 100_000, b"[" * 100_001, "byte 100000"),
}


@pytest.mark.parametrize(("asked", "held"), SAME.values(), ids=SAME)
def test_bodies_that_say_the_same_are_the_same(asked: bytes, held: bytes | None) -> None:
    transport = ReplayTransport([Recording("it", "POST", "/v1/x", held, body=b"found")])
    assert transport.send(Plan("POST", "/v1/x", Body("", asked))).body == b"found"


@pytest.mark.parametrize(("asked", "held", "place"), DIFFERENT.values(), ids=DIFFERENT)
def test_bodies_that_differ_are_told_apart_and_the_place_is_named(
    asked: bytes, held: bytes, place: str
) -> None:
    transport = ReplayTransport([Recording("it", "POST", "/v1/x", held)])
    reply = transport.send(Plan("POST", "/v1/x", Body("", asked)))
    message = f"no recording answers POST /v1/x with this body; the nearest is it, which differs at {place}"
    assert reply.status == 501
    assert reply.headers == {"content-type": "application/json"}
    assert json.loads(reply.body) == {
        "error": {"message": message, "type": "NoRecording", "param": None, "code": 501}
    }
    assert transport.unplayed == ("it",)


def test_the_nearest_recording_is_the_one_with_the_fewest_differences() -> None:
    far, near = recording({"a": 1, "b": 2}, name="far"), recording({"a": 1, "b": 9, "c": 4}, name="near")
    transport = ReplayTransport([far, near, Recording("bytes", "POST", "/v1/x", b"\xff")])
    assert b"the nearest is near, which differs at $.b" in transport.send(post({"a": 1, "b": 3, "c": 4})).body


def test_without_a_recording_of_the_path_the_answer_says_so() -> None:
    transport = ReplayTransport([recording(1), Recording("get", "GET", "/v1/y")])
    for plan in (Plan("GET", "/v1/x"), post(1, "/v1/y"), post(1, "/v1/x?a=1")):
        with transport.stream(plan) as (head, pieces):
            (piece,) = pieces
        assert head.status == 501
        assert json.loads(piece.data)["error"]["message"] == (
            f"no recording answers {plan.method} {plan.path}; there is none with this method and path"
        )


def test_sizes_and_cuts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        ReplayTransport([EVENTS], 0).send(post({"a": 1}))
    with pytest.raises(ValueError, match="the cuts cover 2 bytes, the body has 6"):
        recording(1, cuts=((0, 2),))


BROKEN = recording(
    {"a": 1}, b"abcde", cuts=((10, 3), (30, 2)), head_ms=4, cut=Cut("timeout", "idle: no data"), cut_ms=90
)


def test_a_recorded_cut_is_played_as_it_was() -> None:
    transport = ReplayTransport([BROKEN])
    with transport.stream(post({"a": 1})) as (head, pieces):
        assert head == Reply(200, {}, b"", 4)
        assert list(pieces) == [Piece(b"abc", 10), Piece(b"de", 30), Piece(b"", 90, BROKEN.cut)]
    assert transport.send(post({"a": 1})) == Reply(200, {}, b"abcde", 90, BROKEN.cut)


class Time:
    """A time that passes only while somebody sleeps; both colours of a clock."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.clock = Clock(lambda: self.now_s, self.sleep)
        self.async_clock = AsyncClock(lambda: self.now_s, self.sleep_async)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def ms(self) -> int:
        return round((self.now_s - 1000.0) * 1000)


def times_of(timing: Timing, faults: Sequence[str] = (), each: Recording = BROKEN) -> list[int]:
    """When head, pieces and end of a stream came, and when a whole answer did; both colours must agree."""
    time, other = Time(), Time()
    plan = Plan(each.method, each.path, Body("", each.request_body or b""))
    transport = ReplayTransport([each], timing=timing, faults=faults, idle_s=5, clock=time.clock)
    seen = []
    with transport.stream(plan) as (_, pieces):
        seen.append(time.ms())
        for _ in pieces:
            seen.append(time.ms())
            time.sleep(0.001)  # what a reader takes for itself does not add up
    transport = ReplayTransport([each], timing=timing, faults=faults, idle_s=5, clock=other.clock)
    transport.send(plan)

    async def asynchronous() -> list[int]:
        time, other = Time(), Time()
        transport = AsyncReplayTransport(
            [each], timing=timing, faults=faults, idle_s=5, clock=time.async_clock
        )
        seen = []
        async with transport.stream(plan) as (_, pieces):
            seen.append(time.ms())
            async for _ in pieces:
                seen.append(time.ms())
                time.sleep(0.001)
        transport = AsyncReplayTransport(
            [each], timing=timing, faults=faults, idle_s=5, clock=other.async_clock
        )
        await transport.send(plan)
        return [*seen, other.ms()]

    assert asyncio.run(asynchronous()) == [*seen, other.ms()]
    return [*seen, other.ms()]


TIMES: dict[str, tuple[Timing, Sequence[str], list[int]]] = {
    "at once": ("instant", [], [0, 0, 1, 2, 0]),
    "as recorded": ("recorded", [], [4, 10, 30, 90, 90]),
    "twice as fast": (0.5, [], [2, 5, 15, 45, 45]),
    "ten times as slow": (10, [], [40, 100, 300, 900, 900]),
    "a delay of everything": ("recorded", ["delay=7"], [11, 17, 37, 97, 97]),
    "a delay in no time": ("instant", ["delay=7"], [7, 7, 8, 9, 7]),
    "a drip": ("instant", ["drip=20"], [0, 0, 20, 40, 40]),
    "a drip that is faster than the stream": ("recorded", ["drip=15"], [4, 10, 30, 90, 90]),
    "a drip of bytes": ("instant", ["drip=10,split=1"], [0, 0, 10, 20, 30, 40, 50, 50]),
    "a stall until the reader would give up": ("instant", ["stall-after=4"], [0, 0, 1, 5000, 5000]),
    "a stall at once": ("recorded", ["stall-after=0"], [4, 5004, 5004]),
}


@pytest.mark.parametrize(("timing", "faults", "expected"), TIMES.values(), ids=TIMES)
def test_pieces_come_when_they_are_due(timing: Timing, faults: Sequence[str], expected: list[int]) -> None:
    assert times_of(timing, faults) == expected


def test_no_answer_takes_the_time_that_it_took() -> None:
    refused = recording(1, b"", status=0, cut=Cut("connect", "connection refused"), cut_ms=40)
    assert times_of("recorded", (), refused) == [40, 40]


@pytest.mark.parametrize("timing", ["never", "", -1, float("nan"), float("inf")])
def test_what_is_no_timing_is_refused(timing: Any) -> None:
    with pytest.raises(ValueError, match="a timing is instant, recorded, or"):
        ReplayTransport([EVENTS], timing=timing)
    with pytest.raises(ValueError, match="a timing is instant, recorded, or"):
        as_timing(str(timing))


def test_timings_are_read_as_people_write_them() -> None:
    assert [as_timing(text) for text in ("instant", "recorded", "0.5", "2")] == [
        "instant",
        "recorded",
        0.5,
        2,
    ]


def test_blanked_fields_of_a_recording_may_hold_anything_in_a_request() -> None:
    first = recording({"user": "[redacted]", "n": 1}, b"first", "a", redacted=("user",))
    exact = recording({"user": "ann", "n": 1}, b"exact", "b")
    second = recording({"user": "[redacted]", "n": 1}, b"second", "c", redacted=("user",))
    transport = ReplayTransport([first, exact, second])
    asks = [post({"user": name, "n": 1}) for name in ("bob", "ann", "cid", "bob")]
    assert [transport.send(ask).body for ask in asks] == [b"first", b"exact", b"second", b"second"]
    refusal = transport.send(post({"user": "bob", "n": 2})).body
    assert b"the nearest is a, which differs at $.n" in refusal


def test_bodies_that_were_blanked_as_a_whole_answer_any_that_would_be() -> None:
    held = Recording("upload", "POST", "/v1/x", b"[redacted]", body=b"text", redacted=("file",))
    transport = ReplayTransport([held])
    assert transport.send(Plan("POST", "/v1/x", Body("multipart/form-data", b"--b\xff"))).body == b"text"
    assert transport.send(post({"file": 1})).status == 501


def interaction(path: str, request_body: object, answer: object, **headers: list[str]) -> dict[str, Any]:
    return {
        "request": {
            "method": "POST",
            "uri": "http://somewhere:8000" + path,
            "body": request_body,
            "headers": {},
        },
        "response": {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": answer},
    }


def save(file: Path, *interactions: dict[str, Any], cuts: object = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.dump({"version": 1, "interactions": list(interactions)}))
    if cuts is not None:
        data = cuts if isinstance(cuts, bytes) else json.dumps(cuts).encode()
        file.with_suffix(".cuts.json").write_bytes(data)


def test_cassettes_are_read_from_files_and_folders_in_order(tmp_path: Path) -> None:
    text = interaction(
        "/v1/x?q=%20", "caf\u00e9", {"string": "caf\u00e9"}, **{"Set-Cookie": ["a", "b"], "X-One": ["1"]}
    )
    raw = interaction("/v1/x", b"\xff", {"string": b"\xfe"})
    save(tmp_path / "chat" / "b@vllm-0.1.yaml", text, raw, cuts=[[5, 1]])
    save(tmp_path / "chat" / "a.yaml", interaction("/v1/a", None, {}))
    save(tmp_path / "rerank" / "deep" / "c.yaml", interaction("/v1/c", {"string": "in"}, {"string": None}))
    expected = (
        Recording("chat/a", "POST", "/v1/a"),
        Recording(
            "chat/b@vllm-0.1",
            "POST",
            "/v1/x?q=%20",
            "caf\u00e9".encode(),
            headers={"set-cookie": "a, b", "x-one": "1"},
            body="caf\u00e9".encode(),
        ),
        Recording("chat/b@vllm-0.1", "POST", "/v1/x", b"\xff", body=b"\xfe", cuts=((5, 1),)),
        Recording("deep/c", "POST", "/v1/c", b"in"),
    )
    assert Recordings.load(tmp_path) == expected
    assert Recordings.load(tmp_path / "rerank", tmp_path / "chat" / "a.yaml") == (expected[3], expected[0])


def test_a_compressed_body_is_read_without_its_encoding(tmp_path: Path) -> None:
    encoding = {"Content-Encoding": ["gzip"]}
    save(
        tmp_path / "it.yaml",
        interaction("/v1/x", "1", {"string": gzip.compress(b"plain")}, **encoding),
        interaction("/v1/x", "2", {"string": b"plain already"}, **encoding),
    )
    assert [each.body for each in Recordings.load(tmp_path)] == [b"plain", b"plain already"]


MALFORMED = {
    "not YAML": "a: [",
    "not a mapping": "- 1",
    "empty": "",
    "another document": "version: 1",
    "no answer": "interactions: [{request: {method: GET, uri: /x, body: null}}]",
    "a Python object": "interactions: !!python/object/apply:os.getcwd []",
    "body of numbers": yaml.dump({"interactions": [interaction("/x", 7, {})]}),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_a_cassette_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"wrong\.yaml: not a cassette"):
        Recordings.load(tmp_path)


def test_what_stands_beside_a_cassette_is_read_with_its_last_interaction(tmp_path: Path) -> None:
    beside = {
        "head_ms": 3,
        "reads": [[5, 2], [9, 4]],
        "cut": {"kind": "read", "detail": "connection reset", "at_ms": 12},
        "redacted": ["user"],
    }
    answer = {"string": "answer"}
    save(
        tmp_path / "some" / "it.yaml",
        interaction("/v1/x", "1", answer),
        interaction("/v1/x", "2", answer),
        cuts=beside,
    )
    plain = Recording("some/it", "POST", "/v1/x", b"1", body=b"answer")
    cut = Recording(
        "some/it",
        "POST",
        "/v1/x",
        b"2",
        body=b"answer",
        cuts=((5, 2), (9, 4)),
        head_ms=3,
        cut=Cut("read", "connection reset"),
        cut_ms=12,
        redacted=("user",),
    )
    assert Recordings.load(tmp_path) == (plain, cut)


def test_a_stand_in_for_no_answer_is_read_as_none(tmp_path: Path) -> None:
    refused = {"kind": "connect", "detail": "connection refused", "at_ms": 2}
    beside = {"reads": [], "cut": refused, "answered": False}
    save(tmp_path / "some" / "it.yaml", interaction("/v1/x", "1", {"string": "stand-in"}), cuts=beside)
    (recording,) = Recordings.load(tmp_path)
    cut = Cut("connect", "connection refused")
    assert recording == Recording("some/it", "POST", "/v1/x", b"1", status=0, cut=cut, cut_ms=2)
    transport = ReplayTransport([recording])
    assert transport.send(post(1)) == Reply(0, {}, b"", 2, cut)
    with transport.stream(post(1)) as (head, pieces):
        assert (head, list(pieces)) == (Reply(0, {}, b"", 2, cut), [])


def cut_of(kind: str = "read", **others: object) -> dict[str, object]:
    return {"kind": kind, "detail": "x", "at_ms": 1} | others


MISFITS: dict[str, object] = {
    "too few bytes": [[0, 1]],
    "no pair": [[0]],
    "a number": [3],
    "text": "text",
    "no number": [["x", 6]],
    "negative": [[0, 7], [1, -1]],
    "no reads": {"head_ms": 1},
    "unknown member": {"reads": [], "a": 1},
    "unknown kind of cut": {"reads": [], "cut": cut_of("sleep")},
    "half a cut": {"reads": [], "cut": {"kind": "read"}},
    "no time": {"reads": [], "head_ms": None},
    "no answer and no reason": {"reads": [], "answered": False},
    "nested too deeply": b"[" * 100_000,
}


@pytest.mark.parametrize("cuts", MISFITS.values(), ids=MISFITS)
def test_cuts_that_do_not_fit_are_refused_by_name(tmp_path: Path, cuts: object) -> None:
    save(tmp_path / "it.yaml", interaction("/v1/x", "1", {"string": "answer"}), cuts=cuts)
    with pytest.raises(ValueError, match=r"it\.yaml: not a cassette"):
        Recordings.load(tmp_path)


def test_a_folder_without_a_cassette_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no cassette in this directory"):
        Recordings.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Recordings.load(tmp_path / "nowhere.yaml")
