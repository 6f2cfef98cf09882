"""translate.completions, for any reply and any stream in any pieces."""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import completion_strategies as completion
from tests import operation_strategies as operations
from tests import strategies as some
from tests.property.feeding import fed, plainly
from tests.property.judgement import assert_well_formed, same, wire
from tests.property.test_chat_stream import assert_numbered, assert_one_end
from tests.property.test_repetition import as_bytes
from translate import completions
from translate.plan import Call, Chunk, Failure
from transports.base import Cut, Reply

HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
UNKNOWN = Reply(200, {})
STREAMED = Call("text_completion_stream")
PLAIN = Call("text_completion")
DONE = b"data: [DONE]\n\n"
(KIND,) = [kind for kind in operations.KINDS if "text_completion" in kind.operations]


def request(choices: int = 1, prompts: int = 1) -> dict[str, object]:
    return {"provider": "vllm", "model": "m", "input": ["hi"] * prompts, "params": {"n": choices // prompts}}


def frame(document: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(document).encode()


def entries(*choices: Mapping[str, object]) -> bytes:
    return frame({"id": "i", "choices": choices})


def said_by(
    pieces: Iterable[bytes],
    head: Reply = HEAD,
    cut: Cut | None = None,
    call: Call = STREAMED,
    asked: Mapping[str, object] | None = None,
) -> list[Chunk | Failure]:
    """All events of a stream. Whatever comes after the end must be silence."""
    fold = completions.fold(request() if asked is None else asked, head, call)
    return fed(fold, pieces, cut, entries({"text": "late"}) + DONE)


@dataclass
class Choice:
    """One choice, added up as OpenAI's clients do."""

    text: str = ""
    logprobs: dict[str, list[object]] = field(default_factory=dict)
    token_ids: list[object] = field(default_factory=list)
    finish_reason: object = None
    stop_reason: object = None


def added_up(chunks: Iterable[Mapping[str, object]]) -> dict[int, Choice]:
    """The choices of a stream by their index."""
    out: dict[int, Choice] = {}
    for chunk in chunks:
        told = chunk["choices"]
        assert isinstance(told, list)
        for entry in told:
            choice = out.setdefault(entry["index"], Choice())
            assert isinstance(entry["text"], str)
            choice.text += entry["text"]
            for name, values in (entry["logprobs"] or {}).items():
                choice.logprobs.setdefault(name, []).extend(values)
            choice.token_ids += entry.get("token_ids", [])
            if entry["finish_reason"] is not None:
                assert choice.finish_reason is None, "one finish reason for each choice"
                choice.finish_reason = entry["finish_reason"]
            if "stop_reason" in entry:
                choice.stop_reason = entry["stop_reason"]
    return out


# -- whole replies -----------------------------------------------------------------------------------


@given(st.data(), completion.completions)
def test_an_answer_says_what_the_model_said(data: DataObject, said: completion.Completion) -> None:
    document = data.draw(completion.documents(said))
    outcome = completions.parse(request(), Reply(200, {}, some.dumped(document)), 0, PLAIN)
    assert not isinstance(outcome, Failure)
    answer = wire(outcome)
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(said.texts)))
    for choice, text in zip(answer["choices"], said.texts, strict=True):
        assert choice["text"] == "".join(text.pieces)
        assert choice["finish_reason"] == text.finish_reason
        assert choice.get("stop_reason") == text.stop_reason
        assert choice["logprobs"] == (completion.logprobs(text.pieces) if text.with_logprobs else None)
        assert choice.get("token_ids", []) == (completion.token_ids(text.pieces) if text.with_tokens else [])
        assert None not in [choice[name] for name in choice if name != "logprobs"]
    assert ("usage" in answer) == (said.usage is not None)
    assert (answer["id"], answer["created"], answer["model"]) == (said.id, 5, "served")
    for name, value in said.more.items():
        assert answer[name] == value


# -- streams -----------------------------------------------------------------------------------------


@given(
    completion.any_streams,
    some.heads,
    some.cuts,
    some.calls_of("text_completion_stream"),
    operations.requests(KIND),
    st.data(),
)
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


@given(completion.any_streams, st.sampled_from([HEAD, HEAD, UNKNOWN]), some.cuts, st.booleans(), st.data())
@example(b'{"error": "x\n{"}\ndata: [DONE]', HEAD, None, False, None)
@example(b"\xef\xbb\xbf" + entries({"text": "a", "finish_reason": "stop"}), UNKNOWN, None, True, None)
def test_any_cut_of_the_bytes_gives_the_same_events(
    body: bytes, head: Reply, cut: Cut | None, raw: bool, data: DataObject | None
) -> None:
    call = Call("text_completion_stream", raw_request=raw, raw_response=raw, verbatim=not raw)
    events = said_by([body], head, cut, call)
    assert_one_end(events)
    whole = plainly(events)
    assert plainly(said_by(some.one_by_one(body), head, cut, call)) == whole
    if data is not None:
        assert plainly(said_by(data.draw(some.pieces(body)), head, cut, call)) == whole


@given(completion.any_streams, some.heads, some.cuts, some.calls_of("text_completion_stream"))
def test_a_caller_who_only_encodes_gets_the_same_bytes(
    body: bytes, head: Reply, cut: Cut | None, call: Call
) -> None:
    assert as_bytes(said_by([body], head, cut, call._replace(verbatim=True))) == as_bytes(
        said_by([body], head, cut, call._replace(verbatim=False))
    )


@given(completion.scripts(), st.booleans(), st.data())
def test_a_stream_adds_up_to_the_reply_that_says_the_same_at_once(
    script: completion.Script, together: bool, data: DataObject
) -> None:
    said = script.said
    body = data.draw(some.sound_streams(script))
    asked = request(len(said.texts), len(said.texts) if together else 1)
    events = said_by(data.draw(some.pieces(body)), data.draw(st.sampled_from([HEAD, UNKNOWN])), asked=asked)
    assert_one_end(events)
    assert_numbered(events)
    chunks = [wire(event.data) for event in events if isinstance(event, Chunk)]
    assert len(chunks) == len(events), events[-1]
    document = data.draw(completion.documents(said))
    reply = completions.parse(asked, Reply(200, {}, some.dumped(document)), 0, PLAIN)
    assert not isinstance(reply, Failure)
    answer = wire(reply)
    choices = added_up(chunks)
    assert sorted(choices) == list(range(len(said.texts)))
    for choice in answer["choices"]:
        streamed = choices[choice["index"]]
        assert streamed.text == choice["text"]
        assert streamed.finish_reason == choice["finish_reason"]
        assert streamed.stop_reason == choice.get("stop_reason")
        told = {name: values for name, values in (choice["logprobs"] or {}).items() if values}
        assert streamed.logprobs == told
        assert streamed.token_ids == choice.get("token_ids", [])
    last = chunks[-1]
    assert [entry["index"] for entry in last["choices"]] == list(range(len(choices)))
    assert [entry["text"] for entry in last["choices"]] == [""] * len(choices)
    assert same(last.get("usage"), answer.get("usage"))
    for chunk in chunks[:-1]:
        assert "usage" not in chunk
        assert "translation_notes" not in chunk["extra_fields"]
        assert all(entry["finish_reason"] is None for entry in chunk["choices"])
    for name in ("id", "created", "model"):
        assert same(last[name], answer[name])
    for name, value in said.more.items():
        assert [same(chunk[name], value) for chunk in chunks if name in chunk] == [True]


@given(completion.scripts(), st.sampled_from(some.ERROR_BODIES[:9]), st.data())
def test_an_error_frame_is_the_last_event_whatever_follows(
    script: completion.Script, error: bytes, data: DataObject
) -> None:
    frames = [json.dumps(document).encode() for document in script.frames]
    place = data.draw(st.integers(0, len(frames)))
    body = data.draw(some.framed([*frames[:place], error, *frames[place:]], some.CLEAN_ENDS))
    events = said_by([body])
    assert_one_end(events)
    assert isinstance(events[-1], Failure)
    before = b"".join(b"data: %b\n\n" % document for document in frames[:place])
    so_far = said_by([before], cut=Cut("cancelled", ""))
    assert plainly(events[:-1]) == plainly(so_far[:-1])


@given(completion.scripts(), some.cuts, st.data())
def test_a_stream_that_breaks_off_before_its_finish_is_a_failure(
    script: completion.Script, cut: Cut | None, data: DataObject
) -> None:
    index = data.draw(st.integers(0, len(script.frames) - 1))
    frames = script.frames[: index + 1]
    finished = {
        entry["index"]
        for document in frames
        for entry in wire(document["choices"]) or ()
        if entry["finish_reason"]
    }
    assume(len(finished) < len(script.said.texts))
    body = b"".join(frame(document) for document in frames)
    kept = data.draw(st.integers(0, len(body)))
    events = said_by([body[:kept]], cut=cut, asked=request(len(script.said.texts)))
    assert_one_end(events)
    last = events[-1]
    assert isinstance(last, Failure)
    status = {"cancelled": 499, "timeout": 504}.get(cut.kind if cut else "", 502)
    assert last.error.get("status_code") == status


@given(completion.scripts())
def test_the_raw_answer_holds_every_frame_once(script: completion.Script) -> None:
    frames = [json.dumps(document) for document in script.frames]
    body = "".join(f"data: {text}\n\n" for text in frames).encode() + DONE
    call = Call("text_completion_stream", raw_request=True, raw_response=True)
    fields = [
        wire(event.data)["extra_fields"] for event in said_by([body], call=call) if isinstance(event, Chunk)
    ]
    raw = [field["raw_response"] for field in fields if "raw_response" in field]
    assert "\n\n".join(raw) == "\n\n".join(frames)
    assert ["raw_request" in field for field in fields] == [False] * (len(fields) - 1) + [True]


_NAMES = st.sampled_from(["metrics", "x_vendor", "stop_reason", "prompt_logprobs", "détail"])
_UNKNOWN = st.dictionaries(_NAMES, some.finite_values, min_size=1, max_size=3)


@given(_UNKNOWN, st.booleans(), st.booleans(), st.booleans())
def test_unknown_fields_of_a_frame_come_out_where_they_were(
    unknown: dict[str, object], at_top: bool, has_text: bool, finishes: bool
) -> None:
    choice: dict[str, object] = {"index": 0, "finish_reason": "stop" if finishes else None}
    document: dict[str, object] = {"id": "i", "choices": [choice]}
    if has_text:
        choice["text"] = "x"
    (document if at_top else choice).update(unknown)
    found: list[Mapping[str, object]] = []
    for event in said_by([frame(document) + DONE]):
        assert isinstance(event, Chunk)
        chunk = wire(event.data)
        found += [chunk] if at_top else chunk["choices"]
    for name, value in unknown.items():
        told = [place[name] for place in found if name in place]
        assert len(told) == (value is not None), name
        assert value is None or same(told[0], wire(value)), name


def test_a_choice_that_speaks_twice_in_one_frame_is_heard_twice() -> None:
    body = entries({"index": 0, "text": "a"}, {"index": 0, "text": "b", "finish_reason": "stop"})
    events = said_by([body + DONE])
    choices = added_up(wire(event.data) for event in events if isinstance(event, Chunk))
    assert (choices[0].text, choices[0].finish_reason) == ("ab", "stop")


@given(st.sampled_from(["", None, False, 0]), st.integers(1, 3))
def test_an_empty_finish_reason_is_none(reason: object, count: int) -> None:
    *chunks, last = said_by([entries({"index": 0, "text": "x", "finish_reason": reason}) * count])
    assert isinstance(last, Failure)
    assert_well_formed(last.error)
    assert len(chunks) == count


@given(st.sampled_from([0, False, [], {}, 5, ["a"], {"a": 1}]))
def test_a_text_that_is_none_passes_as_it_is(text: object) -> None:
    events = said_by([entries({"index": 0, "text": text, "finish_reason": "stop"}) + DONE])
    told = [
        entry["text"] for event in events if isinstance(event, Chunk) for entry in wire(event.data)["choices"]
    ]
    assert same(told, [text, ""])
