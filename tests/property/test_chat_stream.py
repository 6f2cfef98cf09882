"""translate.chat.fold, for any stream in any pieces."""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence

from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import strategies as some
from tests.property.downstream import added_up
from tests.property.feeding import fed, plainly
from tests.property.judgement import assert_well_formed, same, wire
from translate import chat
from translate.plan import Call, Chunk, Failure
from transports.base import Cut, Reply

EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
HEAD = Reply(200, EVENTS)
UNKNOWN = Reply(200, {})
STREAMED = Call("chat_completion_stream")
UNARY = Call("chat_completion")
DONE = b"data: [DONE]\n\n"


def request(choices: int | None = None) -> dict[str, object]:
    params: dict[str, object] = {} if choices is None else {"n": choices}
    return {"provider": "vllm", "model": "m", "input": [{"role": "user", "content": "hi"}], "params": params}


def frame(document: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(document).encode()


def delta(*choices: Mapping[str, object]) -> bytes:
    return frame({"id": "i", "choices": choices})


def said_by(
    pieces: Iterable[bytes],
    head: Reply = HEAD,
    cut: Cut | None = None,
    call: Call = STREAMED,
    asked: Mapping[str, object] | None = None,
) -> list[Chunk | Failure]:
    """All events of a stream. Whatever comes after the end must be silence."""
    fold = chat.fold(request() if asked is None else asked, head, call)
    return fed(fold, pieces, cut, delta({"delta": {"content": "late"}}) + DONE)


def assert_one_end(events: Sequence[Chunk | Failure]) -> None:
    """One final chunk or one failure, and it comes last."""
    *before, last = events
    assert all(isinstance(event, Chunk) and not event.final for event in before)
    assert isinstance(last, Failure) or last.final
    if isinstance(last, Failure):
        assert_well_formed(last.error)
    else:
        assert last.data["choices"], "a success has choices"


def assert_numbered(events: Sequence[Chunk | Failure]) -> None:
    """Chunks are numbered from 0."""
    fields = [event.data["extra_fields"] for event in events if isinstance(event, Chunk)]
    assert [field["chunk_index"] for field in fields if isinstance(field, dict)] == list(range(len(fields)))


@given(some.any_streams, some.heads, some.cuts, some.calls(streaming=True), some.requests(), st.data())
def test_any_stream_in_any_pieces_has_exactly_one_end(
    body: bytes, head: Reply, cut: Cut | None, call: Call, asked: dict[str, object], data: DataObject
) -> None:
    before = copy.deepcopy(asked)
    events = said_by(data.draw(some.pieces(body)), head, cut, call, asked)
    assert same(asked, before)
    assert_one_end(events)
    assert_numbered(events)
    if head.cut is not None or head.status != 200:
        assert len(events) == 1


@given(some.any_streams, st.sampled_from([HEAD, HEAD, UNKNOWN]), some.cuts, st.booleans(), st.data())
@example(b'{"error": "x\n{"}\ndata: [DONE]', HEAD, None, False, None)
@example(b"\xef\xbb\xbf: x", UNKNOWN, None, False, None)
@example(
    b"\xef\xbb\xbf" + delta({"delta": {"content": "a"}, "finish_reason": "stop"}), UNKNOWN, None, False, None
)
def test_any_cut_of_the_bytes_gives_the_same_events(
    body: bytes, head: Reply, cut: Cut | None, raw: bool, data: DataObject | None
) -> None:
    call = Call("chat_completion_stream", raw_request=raw, raw_response=raw)
    events = said_by([body], head, cut, call)
    assert_one_end(events)
    whole = plainly(events)
    assert plainly(said_by(some.one_by_one(body), head, cut, call)) == whole
    if data is not None:
        assert plainly(said_by(data.draw(some.pieces(body)), head, cut, call)) == whole


@given(some.scripts(), st.data())
def test_a_stream_adds_up_to_what_the_model_said(script: some.Script, data: DataObject) -> None:
    body = data.draw(some.sound_streams(script))
    asked = request(data.draw(st.sampled_from([None, len(script.said.answers)])))
    events = said_by(data.draw(some.pieces(body)), data.draw(st.sampled_from([HEAD, UNKNOWN])), asked=asked)
    assert_one_end(events)
    assert_numbered(events)
    chunks = [wire(event.data) for event in events if isinstance(event, Chunk)]
    assert len(chunks) == len(events), events[-1]
    choices = added_up(chunks)
    assert sorted(choices) == list(range(len(script.said.answers)))
    for index, (answer, calls) in enumerate(zip(script.said.answers, script.calls, strict=True)):
        choice = choices[index]
        assert choice.content == "".join(answer.content)
        assert choice.reasoning == "".join(answer.reasoning)
        told = [(call.name, call.arguments) for call in choice.calls]
        assert sorted(told) == sorted((call.name, call.arguments) for call in calls)
        by_id = {call.id: (call.name, call.arguments) for call in choice.calls}
        assert len(by_id) == len(calls)
        assert all(by_id[call.id] == (call.name, call.arguments) for call in calls if call.id)
        assert choice.logprobs == (some.units(answer) if answer.with_logprobs else [])
        assert choice.token_ids == (list(range(len(some.units(answer)))) if answer.with_tokens else [])
        repaired = answer.finish_reason == "tool_calls" and not calls
        assert choice.finish_reason == ("stop" if repaired else answer.finish_reason)
        assert choice.stop_reason == answer.stop_reason
        assert choice.role in {None, "assistant"}
    for chunk in chunks[:-1]:
        assert "usage" not in chunk
        assert "translation_notes" not in chunk["extra_fields"]
    last = chunks[-1]
    assert ("usage" in last) == (script.said.usage is not None)
    assert [entry["index"] for entry in last["choices"]] == list(range(len(choices)))
    for name, value in script.said.more.items():
        assert [same(chunk[name], value) for chunk in chunks if name in chunk] == [True]


@given(some.scripts(), st.data())
def test_a_stream_adds_up_to_the_reply_that_says_the_same_at_once(
    script: some.Script, data: DataObject
) -> None:
    body = data.draw(some.sound_streams(script))
    chunks = [wire(event.data) for event in said_by([body]) if isinstance(event, Chunk)]
    document = data.draw(some.unary_documents(script.said))
    reply = chat.parse(request(), Reply(200, {}, json.dumps(document).encode()), 0, UNARY)
    assert not isinstance(reply, Failure)
    answer = wire(reply)
    choices = added_up(chunks)
    for choice in answer["choices"]:
        streamed, message = choices[choice["index"]], choice["message"]
        assert streamed.content == (message["content"] or "")
        assert streamed.reasoning == message.get("reasoning", "")
        assert streamed.finish_reason == choice["finish_reason"]
        assert streamed.stop_reason == choice.get("stop_reason")
        assert len(streamed.calls) == len(message.get("tool_calls", ()))
        logprobs = (choice["logprobs"] or {}).get("content", [])
        assert streamed.logprobs == [token["token"] for token in logprobs]
        assert streamed.token_ids == choice.get("token_ids", [])
    assert same(chunks[-1].get("usage"), answer.get("usage"))
    for name in ("id", "created", "model", *script.said.more):
        assert same([chunk[name] for chunk in chunks if name in chunk][-1], answer[name])


@given(some.scripts(), st.sampled_from(some.ERROR_BODIES[:9]), st.data())
def test_an_error_frame_is_the_last_event_whatever_follows(
    script: some.Script, error: bytes, data: DataObject
) -> None:
    frames = [json.dumps(document).encode() for document in script.frames]
    place = data.draw(st.integers(0, len(frames)))
    body = data.draw(some.framed([*frames[:place], error, *frames[place:]], some.CLEAN_ENDS))
    events = said_by([body])
    assert_one_end(events)
    assert isinstance(events[-1], Failure)
    before = b"".join(b"data: %b\n\n" % document for document in frames[:place])
    so_far = said_by([before], cut=Cut("cancelled", ""))
    assert plainly(events[:-1]) == plainly(
        [event for event in so_far if isinstance(event, Chunk) and not event.final]
    )


@given(some.scripts(), some.cuts, st.data())
def test_a_stream_that_breaks_off_before_its_finish_is_a_failure(
    script: some.Script, cut: Cut | None, data: DataObject
) -> None:
    index = data.draw(st.integers(0, len(script.frames) - 1))
    frames = script.frames[: index + 1]
    finished = {
        entry["index"]
        for document in frames
        for entry in wire(document["choices"]) or ()
        if entry["finish_reason"] is not None
    }
    assume(len(finished) < len(script.said.answers))
    body = b"".join(frame(document) for document in frames)
    kept = data.draw(st.integers(0, len(body)))
    events = said_by([body[:kept]], cut=cut, asked=request(len(script.said.answers)))
    assert_one_end(events)
    last = events[-1]
    assert isinstance(last, Failure)
    status = {"cancelled": 499, "timeout": 504}.get(cut.kind if cut else "", 502)
    assert last.error.get("status_code") == status


@given(some.scripts())
def test_the_raw_answer_holds_every_frame_once(script: some.Script) -> None:
    frames = [json.dumps(document) for document in script.frames]
    body = "".join(f"data: {text}\n\n" for text in frames).encode() + DONE
    call = Call("chat_completion_stream", raw_request=True, raw_response=True)
    fields = [
        wire(event.data["extra_fields"]) for event in said_by([body], call=call) if isinstance(event, Chunk)
    ]
    assert "\n\n".join(field["raw_response"] for field in fields if "raw_response" in field) == "\n\n".join(
        frames
    )
    assert ["raw_request" in field for field in fields] == [False] * (len(fields) - 1) + [True]


_NAMES = st.sampled_from(["metrics", "x_vendor", "stop", "prompt_logprobs", "détail"])
_UNKNOWN = st.dictionaries(_NAMES, some.finite_values, min_size=1, max_size=3)


@given(_UNKNOWN, st.sampled_from(["top", "choice", "delta", "call"]), st.booleans(), st.booleans())
def test_unknown_fields_of_a_frame_come_out_where_they_were(
    unknown: dict[str, object], place: str, has_content: bool, finishes: bool
) -> None:
    call: dict[str, object] = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    inner: dict[str, object] = {"content": "x"} if has_content else {}
    choice: dict[str, object] = {"index": 0, "delta": inner, "finish_reason": "stop" if finishes else None}
    document: dict[str, object] = {"id": "i", "choices": [choice]}
    if place == "call":
        inner["tool_calls"] = [call]
    {"top": document, "choice": choice, "delta": inner, "call": call}[place].update(unknown)
    chunks = [wire(event.data) for event in said_by([frame(document) + DONE]) if isinstance(event, Chunk)]
    found: dict[str, object] = {}
    for chunk in chunks:
        entry = chunk["choices"][0]
        calls = entry["delta"].get("tool_calls", [{}])
        found |= {"top": chunk, "choice": entry, "delta": entry["delta"], "call": calls[0]}[place]
    noise: tuple[object, ...] = (None, "", []) if place == "delta" else (None,)
    for name, value in unknown.items():
        assert value in noise or same(found.get(name), wire(value)), name


def test_what_is_told_of_a_call_in_two_fragments_is_not_lost_when_another_takes_its_number() -> None:
    body = (
        delta(
            {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}}
        )
        + delta({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g"}}]}})
        + DONE
    )
    choices = added_up(wire(event.data) for event in said_by([body]) if isinstance(event, Chunk))
    assert [(call.id, call.name, call.arguments) for call in choices[0].calls] == [
        ("a", "", "{}"),
        ("b", "g", ""),
    ]


def test_a_choice_that_speaks_twice_in_one_frame_is_heard_twice() -> None:
    body = delta(
        {"index": 0, "delta": {"content": "a"}},
        {"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"},
    )
    events = said_by([body + DONE])
    texts = [
        entry["delta"].get("content", "")
        for event in events
        if isinstance(event, Chunk)
        for entry in wire(event.data["choices"])
    ]
    assert "".join(texts) == "ab"


@given(st.integers(1, 3))
def test_an_empty_finish_reason_is_none(count: int) -> None:
    body = delta({"index": 0, "delta": {"content": "x"}, "finish_reason": ""}) * count
    *chunks, last = said_by([body])
    assert isinstance(last, Failure)
    assert len(chunks) == count


@given(st.sampled_from([[{"type": "reasoning.encrypted", "data": "x"}], {"odd": 1}, 5]), st.booleans())
def test_thoughts_that_are_no_text_pass_as_they_are(thoughts: object, alone: bool) -> None:
    told: dict[str, object] = {"reasoning_details": thoughts, **({} if alone else {"content": "x"})}
    events = said_by([delta({"index": 0, "delta": told, "finish_reason": "stop"}) + DONE])
    deltas = [
        entry["delta"]
        for event in events
        if isinstance(event, Chunk)
        for entry in wire(event.data["choices"])
    ]
    assert [told.get("reasoning_details") for told in deltas if told] == [thoughts]
