"""What a streamed transcription becomes, frame by frame and at its end."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from translate import Call, Chunk, Failure, sse, transcriptions
from transports.base import Cut, Reply

HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
CALL = Call("transcription_stream")
DONE = "[DONE]"
IDENTITY: Mapping[str, object] = {"id": "transcribe-1", "created": 1, "model": "m"}
USAGE: Mapping[str, object] = {"prompt_tokens": 84, "total_tokens": 92, "completion_tokens": 8}
LAST_FRAME: Mapping[str, object] = {
    **IDENTITY,
    "object": "transcription.chunk",
    "choices": [],
    "usage": USAGE,
}
EXTRA: Mapping[str, object] = {
    "request_type": "transcription_stream",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "m"},
    "original_model_requested": "m",
    "resolved_model_used": "m",
}

Documents = list[Mapping[str, object]]


def heard(text: object, finish: str | None = None, /, **more: object) -> Mapping[str, object]:
    """A frame as vLLM sends it."""
    choice: dict[str, object] = {"delta": {"content": text}}
    if finish is not None:
        choice |= {"finish_reason": finish, "stop_reason": None}
    return {**IDENTITY, "object": "transcription.chunk", "choices": [choice], **more}


def delta(text: str, **more: object) -> Mapping[str, object]:
    return {"type": "transcript.text.delta", "delta": text, **IDENTITY, **more}


def done(text: str, **more: object) -> Mapping[str, object]:
    return {"type": "transcript.text.done", "text": text, **more}


def fed(
    frames: Iterable[object],
    cut: Cut | None = None,
    call: Call = CALL,
    head: Reply = HEAD,
    **params: object,
) -> list[Chunk | Failure]:
    """The events of a stream; each frame comes 10 ms after the one before it."""
    asked = {"provider": "vllm", "model": "m", "input": {"file": b"RIFF", "filename": "a"}, "params": params}
    fold = transcriptions.fold(asked, head, call)
    events: list[Chunk | Failure] = []
    at_ms = 0
    for frame in frames:
        at_ms += 10
        data = frame if isinstance(frame, str) else json.dumps(frame)
        events += fold.feed(f"data: {data}\n\n".encode(), at_ms)
    events += fold.close(at_ms, cut)
    return events


def told(events: Iterable[Chunk | Failure]) -> Documents:
    """The events of a stream that ended well, less their extra_fields."""
    out: Documents = []
    for event in events:
        assert isinstance(event, Chunk), event
        out.append({name: value for name, value in event.data.items() if name != "extra_fields"})
    return out


def notes(events: list[Chunk | Failure]) -> list[tuple[str, str, str]]:
    last = events[-1]
    assert isinstance(last, Chunk)
    fields: Any = last.data["extra_fields"]
    return [(note["param"], note["action"], note["detail"]) for note in fields.get("translation_notes", [])]


def test_a_stream_of_032_in_full() -> None:
    events = fed([heard(" He"), heard("llo"), heard("", "stop"), LAST_FRAME, DONE])
    assert events == [
        Chunk({**delta(" He"), "extra_fields": {**EXTRA, "latency": 10, "chunk_index": 0}}),
        Chunk({**delta("llo"), "extra_fields": {**EXTRA, "latency": 10, "chunk_index": 1}}),
        Chunk(
            {
                **done(" Hello", usage=USAGE, **IDENTITY, finish_reason="stop"),
                "extra_fields": {**EXTRA, "latency": 50, "chunk_index": 2},
            },
            final=True,
        ),
    ]


STREAMS: dict[str, tuple[list[object], Documents]] = {
    "without usage": (
        [heard("a"), heard("", "stop"), DONE],
        [delta("a"), done("a", **IDENTITY, finish_reason="stop")],
    ),
    "silence": (
        [heard("", "stop"), LAST_FRAME, DONE],
        [done("", usage=USAGE, **IDENTITY, finish_reason="stop")],
    ),
    "three segments, each with its end": (
        [heard("a."), heard("", "stop"), heard("  b"), heard("."), heard("", "stop"), heard(" c."), heard("", "length"),
         LAST_FRAME, DONE],
        [delta("a."), delta("", finish_reason="stop"), delta("  b"), delta("."), delta("", finish_reason="stop"),
         delta(" c."), done("a.  b. c.", usage=USAGE, **IDENTITY, finish_reason="length")],
    ),
    "segments that end with their last word": (
        [heard("a", "length"), heard(" b", "length"), LAST_FRAME, DONE],
        [delta("a", finish_reason="length"), delta(" b", finish_reason="length"), done("a b", usage=USAGE, **IDENTITY)],
    ),
    "segments in which nothing is said": (
        [heard("", "stop"), heard("", "length"), heard("a"), heard("", "stop"), LAST_FRAME, DONE],
        [delta("", finish_reason="stop"), delta("", finish_reason="length"), delta("a"),
         done("a", usage=USAGE, **IDENTITY, finish_reason="stop")],
    ),
    "usage on every frame, not asked for": (
        [heard("a", usage={"total_tokens": 1}), heard("", "stop", usage={"total_tokens": 2}), DONE],
        [delta("a"), done("a", usage={"total_tokens": 2}, **IDENTITY, finish_reason="stop")],
    ),
    "usage in seconds": (
        [heard("a"), {"choices": [], "usage": {"type": "duration", "seconds": 2}}, DONE],
        [delta("a"), done("a", usage={"type": "duration", "seconds": 2}, **IDENTITY)],
    ),
    "empty frames": (
        [{**IDENTITY, "choices": [{"delta": {"role": "assistant", "content": ""}}]}, {"choices": [{"delta": {}}]}, heard("a"),
         {"choices": None}, {}, DONE],
        [delta("a", role="assistant"), done("a", **IDENTITY)],
    ),
    "logprobs, also of frames without text": (
        [{"choices": [{"delta": {"content": ""}, "logprobs": [1]}]}, {"choices": [{"delta": {"content": "a"}, "logprobs": [2]}]},
         {"choices": [{"delta": {}, "logprobs": [3]}]}, DONE],
        [{"type": "transcript.text.delta", "delta": "a", "logprobs": [1, 2]}, done("a", logprobs=[3])],
    ),
    "fields that nobody knows": (
        [{**heard("a"), "top": 1, "none": None}, {"choices": [{"delta": {"content": "b", "in": 2}, "beside": {"x": None}}]},
         {**LAST_FRAME, "last": 3}, DONE],
        [delta("a", top=1), delta("b", **{"beside": {"x": None}, "in": 2}), done("ab", usage=USAGE, **IDENTITY, last=3)],
    ),
    "a text that is none": (
        [{"choices": [{"delta": {"content": ["a"]}}]}, heard("b"), DONE],
        [delta("b", content=["a"]), done("b", **IDENTITY)],
    ),
    "two choices in one frame": (
        [{"choices": [{"delta": {"content": "a"}}, 5, {"delta": {"content": "b"}}], "top": 1}, DONE],
        [{"type": "transcript.text.delta", "delta": "a", "top": 1}, {"type": "transcript.text.delta", "delta": "b"}, done("ab")],
    ),
    "halves of a surrogate pair": (
        [heard("\ud83d"), heard("\ude00"), DONE],
        [delta("\ud83d"), delta("\ude00"), done("\ud83d\ude00", **IDENTITY)],
    ),
    "OpenAI's events": (
        [{"type": "transcript.text.delta", "delta": "a", "logprobs": [1]}, {"type": "transcript.text.delta", "delta": "b", "segment_id": "s"},
         {"type": "transcript.text.done", "text": "a b", "usage": {"type": "tokens", "total_tokens": 3}, "logprobs": [1, 2]}],
        [{"type": "transcript.text.delta", "delta": "a", "logprobs": [1]}, {"type": "transcript.text.delta", "delta": "b", "segment_id": "s"},
         done("a b", usage={"type": "tokens", "total_tokens": 3}, logprobs=[1, 2])],
    ),
    "OpenAI's events, and [DONE]": (
        [{"type": "transcript.text.delta", "delta": "a"}, {"type": "transcript.text.done"}, DONE],
        [{"type": "transcript.text.delta", "delta": "a"}, done("a")],
    ),
    "an event of OpenAI's that has no rule": (
        [{"type": "transcript.text.segment", "id": "seg_1", "text": "a", "speaker": "A", "x": None},
         {"type": "transcript.text.done", "text": "a"}],
        [{"type": "transcript.text.segment", "id": "seg_1", "text": "a", "speaker": "A"}, done("a")],
    ),
    "more after OpenAI's end": (
        [{"type": "transcript.text.done", "text": "a"}, {"type": "transcript.text.delta", "delta": "b"}, DONE],
        [{"type": "transcript.text.delta", "delta": "b"}, done("b")],
    ),
    "a comment between": ([heard("a"), ": ping", heard("", "stop"), DONE], [delta("a"), done("a", **IDENTITY, finish_reason="stop")]),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "expected"), STREAMS.values(), ids=STREAMS)
def test_a_stream(frames: list[object], expected: Documents) -> None:
    events = fed(frames)
    assert told(events) == expected
    assert [isinstance(event, Chunk) and event.final for event in events] == [False] * (len(events) - 1) + [
        True
    ]


def test_usage_is_on_every_event_when_it_is_asked_for() -> None:
    frames = [
        heard("a", usage={"total_tokens": 1}),
        heard("b", usage={"total_tokens": 2}),
        heard("", "stop", usage={"total_tokens": 3}),
        LAST_FRAME,
        DONE,
    ]
    assert told(fed(frames, stream_options={"continuous_usage_stats": True})) == [
        delta("a", usage={"total_tokens": 1}),
        delta("b", usage={"total_tokens": 2}),
        done("ab", usage=USAGE, **IDENTITY, finish_reason="stop"),
    ]
    assert [event.get("usage") for event in told(fed(frames, stream_continuous_usage_stats="false"))] == [
        None,
        None,
        USAGE,
    ]


SAID: list[object] = [heard("a"), heard("", "stop")]
TRUNCATED = (
    "provider closed the stream before sending a completion marker (upstream connection ended mid-stream)"
)
READ = Cut("read", "reset")
LATE = Cut("timeout", "no data for 1 s")
LEFT = Cut("cancelled", "")


@pytest.mark.parametrize("cut", [None, READ, LATE])
@pytest.mark.parametrize(
    "last",
    [LAST_FRAME, {"choices": [], "usage": {"seconds": 1}}, {"type": "transcript.text.done", "text": "a"}],
    ids=["usage", "other usage", "done"],
)
def test_after_the_last_word_any_end_is_good(last: object, cut: Cut | None) -> None:
    *_, end = told(fed([*SAID, last], cut))
    assert (end["type"], end["text"]) == ("transcript.text.done", "a")


def test_after_the_last_word_two_comments_are_enough() -> None:
    asked = {"model": "m", "input": {"file": b"RIFF"}}
    fold = transcriptions.fold(asked, HEAD, CALL)
    frames = "".join(f"data: {json.dumps(frame)}\n\n" for frame in [*SAID, LAST_FRAME])
    assert len(fold.feed(frames.encode())) == 1
    assert fold.feed(b": a\n\n") == []
    assert [isinstance(event, Chunk) and event.final for event in fold.feed(b": b\n\n")] == [True]


ENDS: dict[str, tuple[list[object], Cut | None, int, str]] = {
    "a finish reason, then the end": (SAID, None, 502, TRUNCATED),
    "a finish reason, then a break": (SAID, READ, 502, f"{TRUNCATED}: reset"),
    "a finish reason, then silence": (SAID, LATE, 504, "request timed out: no data for 1 s"),
    "usage beside a text": ([heard("a", "stop", usage=USAGE)], None, 502, TRUNCATED),
    "text after the usage": ([LAST_FRAME, heard("a")], None, 502, TRUNCATED),
    "usage, and then an unknown frame without": ([heard("a", usage=USAGE), {"x": 1}], None, 502, TRUNCATED),
    "the caller left": ([*SAID, LAST_FRAME], LEFT, 499, "request cancelled: "),
    "nothing": ([], None, 502, TRUNCATED),
    "only [DONE]": ([DONE], None, 502, "provider ended the stream without sending any event"),
    "frames of something else": (
        [{"x": 1}, DONE], None, 502, "provider ended the stream without sending any event",
    ),
    "an error": (
        [heard("a"), {"error": {"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}}, DONE],
        None, 500, "engine died",
    ),
    "an error as the first event": ([{"error": {"message": "no", "code": 400}}, DONE], None, 400, "no"),
    "an error of 0.8.5": ([heard("a"), {"error": {"object": "error", "message": "", "code": 400}}], None, 400,
                          "provider reported an error without a message"),
    "what is no JSON": ([heard("a"), "oops"], None, 500, "failed to unmarshal response from provider API"),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "cut", "status", "message"), ENDS.values(), ids=ENDS)
def test_a_bad_end(frames: list[object], cut: Cut | None, status: int, message: str) -> None:
    *before, last = fed(frames, cut)
    assert all(isinstance(event, Chunk) and not event.final for event in before)
    assert isinstance(last, Failure)
    assert (last.error.get("status_code", 500), last.error["error"]["message"]) == (status, message)
    assert last.error.get("extra_fields", {})["request_type"] == "transcription_stream"


@pytest.mark.parametrize(
    ("head", "body", "status", "message"),
    [
        pytest.param(
            Reply(400, {"content-type": "application/json"}),
            b'{"error":{"message":"Unsupported language","code":400}}',
            400,
            "Unsupported language",
            id="an error status",
        ),
        pytest.param(
            Reply(200, {"content-type": "application/json"}),
            b'{"error":{"message":"Error opening","type":"BadRequestError","param":null,"code":400}}',
            400,
            "Error opening",
            id="bad audio in 0.16.0, with HTTP 200",
        ),
        pytest.param(
            Reply(200, {"content-type": "application/json"}),
            b'{"text":"a"}',
            502,
            "provider returned non-SSE response for streaming request "
            '(content-type "application/json"): {"text":"a"}',
            id="an answer that is not streamed",
        ),
        pytest.param(Reply(500, {}), b"", 500, "provider server error (500)", id="an empty error of 0.8.5"),
    ],
)
def test_a_stream_that_does_not_begin(head: Reply, body: bytes, status: int, message: str) -> None:
    fold = transcriptions.fold({"model": "m"}, head, CALL)
    (event,) = [*fold.feed(body), *fold.close()]
    assert isinstance(event, Failure)
    assert (event.error.get("status_code"), event.error["error"]["message"]) == (status, message)


def test_what_was_changed_is_noted_at_the_end() -> None:
    events = fed(
        [heard("a"), {**heard("b"), "text": "x", "delta": "y"}, DONE], timestamp_granularities="word"
    )
    assert told(events) == [delta("a"), delta("b"), done("ab", **IDENTITY)]
    assert notes(events) == [
        ("timestamp_granularities", "renamed", "timestamp_granularities[]"),
        ("text", "dropped", "an event has something else by that name"),
        ("delta", "dropped", "an event has something else by that name"),
    ]


def test_what_is_said_twice_in_a_frame_is_noted() -> None:
    events = fed([{"choices": [{"delta": {"content": "a", "x": 2}, "x": 1}], "x": 0}, DONE])
    assert told(events) == [{"type": "transcript.text.delta", "delta": "a", "x": 2}, done("a")]
    assert notes(events) == [("x", "dropped", "a frame said it twice")]


def test_two_whole_texts_are_noted() -> None:
    ends = [{"type": "transcript.text.done", "text": text} for text in ("a", "b")]
    events = fed(ends)
    assert told(events) == [done("b")]
    assert notes(events) == [("text", "dropped", "the server told the whole text twice")]


def test_an_event_that_broke_off_after_the_last_word_is_noted() -> None:
    fold = transcriptions.fold({"model": "m", "input": {"file": b"RIFF", "filename": "a"}}, HEAD, CALL)
    frames = "".join(f"data: {json.dumps(frame)}\n\n" for frame in [*SAID, LAST_FRAME])
    events = [*fold.feed(frames.encode() + b'data: {"x'), *fold.close()]
    assert notes(events) == [("stream", "dropped", "an event that broke off")]


def test_the_raw_answer_is_with_the_events_that_it_made() -> None:
    call = Call("transcription_stream", raw_request=True, raw_response=True)
    frames = [heard("a"), heard("", "stop"), LAST_FRAME]
    raw = [
        event.data["extra_fields"] for event in fed([*frames, DONE], call=call) if isinstance(event, Chunk)
    ]
    assert raw == [
        {**EXTRA, "latency": 10, "chunk_index": 0, "raw_response": json.dumps(frames[0])},
        {
            **EXTRA,
            "latency": 40,
            "chunk_index": 1,
            "raw_response": "\n\n".join(json.dumps(frame) for frame in frames[1:]),
        },
    ]


def test_frames_without_text_do_not_wait_for_ever() -> None:
    frames = [{"choices": [{"delta": {}, "logprobs": [number]}]} for number in range(600)]
    events = told(fed([*frames, DONE]))
    assert [
        len(list(map(int, event["logprobs"]))) for event in events if isinstance(event["logprobs"], list)
    ] == [
        256,
        256,
        88,
    ]
    assert [event.get("delta", event.get("text")) for event in events] == ["", "", ""]


def test_a_text_that_is_too_long_to_be_told_again_is_noted() -> None:
    piece = "x" * (sse.LIMIT // 2)
    events = fed([heard(piece), heard(piece), heard("y"), DONE])
    assert [len(str(event.get("delta", event.get("text")))) for event in told(events)] == [
        len(piece),
        len(piece),
        1,
        0,
    ]
    assert notes(events) == [("text", "dropped", "more than 16777216 bytes: the deltas have it")]
