"""translate.transcriptions.fold, for any stream in any pieces."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import strategies as some
from tests import transcripts
from tests.property.feeding import fed, plainly
from tests.property.judgement import assert_well_formed, same, wire
from tests.transcripts import Script
from translate import transcriptions
from translate.plan import Call, Chunk, Failure
from transports.base import Cut, Reply

HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
UNKNOWN = Reply(200, {})
STREAMED = Call("transcription_stream")
REQUEST: Mapping[str, object] = {
    "provider": "vllm",
    "model": "m",
    "input": {"file": b"RIFF", "filename": "a.wav"},
}
DONE = b"data: [DONE]\n\n"


def said_by(
    pieces: Iterable[bytes],
    head: Reply = HEAD,
    cut: Cut | None = None,
    call: Call = STREAMED,
    asked: Mapping[str, object] = REQUEST,
) -> list[Chunk | Failure]:
    """All events of a stream. Whatever comes after the end must be silence."""
    fold = transcriptions.fold(asked, head, call)
    return fed(fold, pieces, cut, transcripts.framed([{"choices": [{"delta": {"content": "late"}}]}]) + DONE)


def assert_one_end(events: Sequence[Chunk | Failure]) -> None:
    """One final chunk or one failure, and it comes last; the final chunk is the one done event."""
    *before, last = events
    assert all(isinstance(event, Chunk) and not event.final for event in before)
    assert "transcript.text.done" not in [event.data["type"] for event in before if isinstance(event, Chunk)]
    if isinstance(last, Failure):
        assert_well_formed(last.error)
    else:
        assert last.final
        assert last.data["type"] == "transcript.text.done"
        assert isinstance(last.data["text"], str)
    fields: list[Any] = [event.data["extra_fields"] for event in events if isinstance(event, Chunk)]
    assert [field["chunk_index"] for field in fields] == list(range(len(fields)))


@given(
    transcripts.any_streams,
    some.heads,
    some.cuts,
    transcripts.calls(["transcription_stream"]),
    transcripts.requests(),
    st.data(),
)
def test_any_stream_in_any_pieces_has_exactly_one_end(
    body: bytes, head: Reply, cut: Cut | None, call: Call, asked: dict[str, object], data: DataObject
) -> None:
    before = repr(asked)
    events = said_by(data.draw(some.pieces(body)), head, cut, call, asked)
    assert repr(asked) == before
    assert_one_end(events)
    if head.cut is not None or head.status != 200:
        assert len(events) == 1


@given(transcripts.any_streams, st.sampled_from([HEAD, HEAD, UNKNOWN]), some.cuts, st.booleans(), st.data())
@example(
    transcripts.framed([{"type": "transcript.text.done", "text": "a"}]) + b'data: {"x', HEAD, None, True, None
)
def test_any_cut_of_the_bytes_gives_the_same_events(
    body: bytes, head: Reply, cut: Cut | None, raw: bool, data: DataObject | None
) -> None:
    call = Call("transcription_stream", raw_response=raw)
    whole = plainly(said_by([body], head, cut, call))
    assert plainly(said_by(some.one_by_one(body), head, cut, call)) == whole
    if data is not None:
        assert plainly(said_by(data.draw(some.pieces(body)), head, cut, call)) == whole


def reasons(chunks: Iterable[Mapping[str, object]]) -> list[object]:
    return [chunk["finish_reason"] for chunk in chunks if "finish_reason" in chunk]


@given(transcripts.scripts, st.data())
def test_a_stream_adds_up_to_what_was_heard(script: Script, data: DataObject) -> None:
    body = data.draw(transcripts.sound_streams(script))
    head = data.draw(st.sampled_from([HEAD, UNKNOWN]))
    events = said_by(data.draw(some.pieces(body)), head)
    assert_one_end(events)
    chunks = [wire(event.data) for event in events if isinstance(event, Chunk)]
    assert len(chunks) == len(events), events[-1]
    *deltas, done = chunks
    assert {chunk["type"] for chunk in deltas} <= {"transcript.text.delta"}
    assert "".join(chunk["delta"] for chunk in deltas) == done["text"] == script.text
    assert reasons(chunks) == [segment.finish_reason for segment in script.segments if segment.finish_reason]
    assert same(done.get("usage"), None if script.usage is None else dict(script.usage))
    assert all("usage" not in chunk for chunk in deltas)
    assert all("translation_notes" not in chunk["extra_fields"] for chunk in deltas)


@given(transcripts.scripts_of_vllm())
def test_a_finish_reason_stands_where_its_segment_ended(script: Script) -> None:
    events = said_by([transcripts.framed([*script.frames, *script.closing]) + DONE])
    heard, texts, ended = "", [], []
    for event in events:
        assert isinstance(event, Chunk)
        heard += wire(event.data).get("delta", "")
        if "finish_reason" in event.data:
            texts.append(heard)
            ended.append(event.data["finish_reason"])
    so_far, expected = "", []
    for segment in script.segments:
        so_far += "".join(segment.pieces)
        expected.append(so_far)
    assert texts == expected
    assert ended == [segment.finish_reason for segment in script.segments]


@given(transcripts.scripts_of_vllm(), some.cuts, st.data())
def test_a_stream_without_its_last_word_is_a_failure(
    script: Script, cut: Cut | None, data: DataObject
) -> None:
    body = transcripts.framed(script.frames)
    kept = data.draw(st.integers(0, len(body)))
    events = said_by([body[:kept]], cut=cut)
    assert_one_end(events)
    last = events[-1]
    assert isinstance(last, Failure)
    status = {"cancelled": 499, "timeout": 504}.get(cut.kind if cut else "", 502)
    assert last.error.get("status_code") == status


@given(transcripts.scripts, st.sampled_from(some.ERROR_BODIES[:9]), st.data())
def test_an_error_frame_is_the_last_event_whatever_follows(
    script: Script, error: bytes, data: DataObject
) -> None:
    frames = [*script.frames, *script.closing]
    place = data.draw(st.integers(0, len(frames)))
    before = transcripts.framed(frames[:place])
    events = said_by([before + b"data: %b\n\n" % error + transcripts.framed(frames[place:]) + DONE])
    assert_one_end(events)
    assert isinstance(events[-1], Failure)
    so_far = said_by([before], cut=Cut("cancelled", ""))
    assert plainly(events[:-1]) == plainly(so_far[:-1])


@given(transcripts.scripts)
def test_the_raw_answer_holds_every_frame_once(script: Script) -> None:
    frames = [json.dumps(document) for document in [*script.frames, *script.closing]]
    body = "".join(f"data: {text}\n\n" for text in frames).encode() + (DONE if frames else b"")
    events = said_by([body], call=Call("transcription_stream", raw_response=True))
    raw = [
        wire(event.data["extra_fields"]).get("raw_response") for event in events if isinstance(event, Chunk)
    ]
    assert "\n\n".join(text for text in raw if text is not None) == "\n\n".join(frames)


@given(
    transcripts.unknown,
    st.sampled_from(["top", "choice", "delta", "event", "done"]),
    st.booleans(),
    st.booleans(),
)
def test_unknown_fields_of_a_frame_come_out_with_its_text(
    unknown: dict[str, object], place: str, has_text: bool, finishes: bool
) -> None:
    text = "x" if has_text else ""
    delta: dict[str, object] = {"content": text}
    choice: dict[str, object] = {"delta": delta, "finish_reason": "stop" if finishes else None}
    top: dict[str, object] = {"choices": [choice]}
    event: dict[str, object] = {"type": "transcript.text.delta", "delta": text}
    done: dict[str, object] = {"type": "transcript.text.done", "text": text}
    {"top": top, "choice": choice, "delta": delta, "event": event, "done": done}[place].update(unknown)
    document = {"event": event, "done": done}.get(place, top)
    events = said_by([transcripts.framed([document]) + DONE])
    first = events[0]
    assert isinstance(first, Chunk)
    found = wire(first.data)
    assert found["type"] == ("transcript.text.delta" if text and place != "done" else "transcript.text.done")
    for name, value in unknown.items():
        assert value is None or same(found[name], wire(value)), name
