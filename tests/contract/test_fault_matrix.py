"""Each fault of a server comes to the same outcome, whichever transport meets it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.contract.loopback import Client, Connect, Connection, Loopback
from tests.contract.wheel import ROOT
from tests.fault_table import (
    BODY,
    FAULTS,
    FRAMES,
    IDLE_S,
    RECORDING,
    WHOLE,
    Fault,
    Outcome,
    chunked,
    page,
    sending,
    steps,
    truncated,
)
from translate import OPERATIONS, Call, Chunk, Failure, Plan, chat
from translate.types import RequestType
from transports import Cut, Piece, Recordings, ReplayTransport, Reply, Timeouts, fold
from transports.replay import Clock

CALL = Call("chat_completion_stream")
REQUEST = {"model": "m", "input": [{"role": "user", "content": "x"}]}
PLANNED = chat.plan(REQUEST, CALL)
assert isinstance(PLANNED, Plan)
PLAN = PLANNED


def outcome(events: list[Chunk | Failure]) -> Outcome:
    """What a stream came to."""
    *before, last = events
    assert all(isinstance(event, Chunk) and not event.final for event in before)
    if isinstance(last, Chunk):
        assert last.final
        return Outcome(len(before), "final")
    error = last.error
    return Outcome(
        len(before),
        "error",
        error.get("status_code", 0),
        error["error"].get("code", ""),
        error["error"]["message"],
    )


def assert_came_to(seen: Outcome, expected: Outcome) -> None:
    assert seen._replace(message="") == expected._replace(message="")
    assert expected.message in seen.message


def asked(client: Client) -> list[Chunk | Failure]:
    with client.stream(PLAN) as stream:
        into: Any = chat.fold(REQUEST, stream.head, CALL)
        return list(client.fold(stream, into))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_comes_to_its_outcome(connect: Connect, fault: Fault, request: pytest.FixtureRequest) -> None:
    def script(connection: Connection) -> None:
        if connection.request():
            fault.act(connection)

    with Loopback(script) as server:
        client = connect(server.url, timeouts=Timeouts(20, 20, IDLE_S if fault.stalls else 20))
        over_aiohttp = request.node.callspec.params["connect"].startswith("aiohttp")
        expected = fault.aiohttp if over_aiohttp and fault.aiohttp else fault.outcome
        assert_came_to(outcome(asked(client)), expected)


REPLAYED = {name: fault for name, fault in FAULTS.items() if fault.replayed}


@pytest.mark.parametrize("fault", REPLAYED.values(), ids=REPLAYED)
def test_a_replay_comes_to_the_same_outcome(fault: Fault) -> None:
    recording = replace(RECORDING, request_body=PLAN.body.data if PLAN.body else b"")
    clock = Clock(lambda: 0.0, lambda _: None)
    transport = ReplayTransport([recording], faults=[fault.replayed], idle_s=IDLE_S, clock=clock)
    with transport.stream(PLAN) as stream:
        events = list(fold(stream.pieces, chat.fold(REQUEST, stream.head, CALL)))
    assert_came_to(outcome(events), fault.outcome)


def test_a_reset_at_any_byte_loses_only_what_had_not_come() -> None:
    """An event counts as soon as its JSON is whole; the stream as soon as every choice is finished."""
    ends, place = [], 0
    for frame in FRAMES:
        ends.append(place + len(frame.rstrip()))
        place += len(frame)
    finished = next(
        end for end, frame in zip(ends, FRAMES, strict=True) if b'"finish_reason":"stop"' in frame
    )
    for count in range(len(BODY) + 1):
        made = chat.fold(REQUEST, Reply(200, {"content-type": "text/event-stream"}), CALL)
        pieces = [Piece(BODY[:count], 1), Piece(b"", 2, Cut("read", "connection reset"))]
        seen = outcome(list(fold(pieces, made)))
        whole = sum(end <= count for end in ends)
        expected = WHOLE if count >= finished else truncated(whole, "connection reset")
        assert_came_to(seen, expected)


OTHERS: dict[RequestType, tuple[str, dict[str, object]]] = {
    "text_completion_stream": ("text_completion_stream/capital", {"model": "m", "input": "x"}),
    "responses_stream": ("chat_completion_stream/without_thinking", {"model": "m", "input": "x"}),
    "transcription_stream": (
        "transcription_stream/hello",
        {"model": "m", "input": {"file": b"RIFF", "filename": "a.wav"}},
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_reset_at_any_byte_of_other_streams_is_told_behind_what_had_come(kind: RequestType) -> None:
    name, request = OTHERS[kind]
    (recording,) = [
        each
        for each in Recordings.load(ROOT / "cassettes" / name.partition("/")[0])
        if each.name.endswith(f"{name.partition('/')[2]}@vllm-0.32.0")
    ]
    make = OPERATIONS[kind].fold
    assert make is not None

    def told(count: int) -> list[Chunk | Failure]:
        made = make(request, Reply(200, {"content-type": "text/event-stream"}), Call(kind))
        pieces = [Piece(recording.body[:count], 1), Piece(b"", 1, Cut("read", "connection reset"))]
        return list(fold(pieces, made))

    def said(event: Chunk | Failure) -> object:
        return None if isinstance(event, Failure) else event.data

    whole = [said(event) for event in told(len(recording.body))]
    ends = set()
    for count in range(len(recording.body)):
        events = told(count)
        *before, last = events
        if isinstance(last, Failure):
            assert (last.error.get("status_code"), last.error["error"].get("code")) == (
                502,
                "stream_truncated",
            )
            spoken = [said(event) for event in before if not isinstance(event, Failure)]
            if kind == "responses_stream" and spoken:
                failed = spoken.pop()
                assert isinstance(failed, dict)
                assert failed["type"] == "response.failed"
            assert spoken[: len(whole)] == whole[: len(spoken)]
        else:
            assert len(events) <= len(whole)
        ends.add(type(last))
    assert Failure in ends


@pytest.mark.parametrize("count", steps(4))
def test_a_reset_on_a_socket_is_a_reset_in_a_replay(connect: Connect, count: int) -> None:
    def script(connection: Connection) -> None:
        if connection.request():
            sending(chunked(BODY[:count], end=False), reset=True)(connection)

    made = chat.fold(REQUEST, Reply(200, {"content-type": "text/event-stream"}), CALL)
    pieces = [Piece(BODY[:count], 1), Piece(b"", 2, Cut("read", "connection reset"))]
    with Loopback(script) as server:
        assert outcome(asked(connect(server.url))) == outcome(list(fold(pieces, made)))


def test_the_page_says_what_the_table_says() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == page()
