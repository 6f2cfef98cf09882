"""translate.responses: for any request, any reply, and any stream in any pieces."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from tests import strategies as some
from tests.openai_schema import assert_event, assert_response
from tests.property.feeding import fed
from tests.property.judgement import assert_well_formed, same, wire
from tests.response_client import StrictClient, accumulated
from translate import documents, responses
from translate.plan import Call, Chunk, Failure, Plan
from transports.base import Cut, Reply

HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
STREAMED = Call("responses_stream")
UNARY = Call("responses")
DONE = b"data: [DONE]\n\n"

# -- requests --------------------------------------------------------------------------------------

_TEXTS = some.sane_texts
_CONTENT_PARTS: SearchStrategy[object] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["input_text", "output_text", "text"]), "text": _TEXTS},
        optional={"annotations": st.just([]), "logprobs": st.just([]), "cache_control": st.just({}), "x": some.json_values},
    ),
    st.sampled_from(
        [
            {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"},
            {"type": "input_image", "image_url": {"url": "https://x.example/a.png"}},
            {"type": "input_file", "file_data": "AA", "filename": "a.pdf", "detail": "low"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "refusal", "refusal": "no"},
            {"type": "audio_url", "audio_url": {"url": "x"}, "uuid": "u"},
        ]
    ),
)  # fmt: skip
_CONTENTS = _TEXTS | st.lists(_CONTENT_PARTS, max_size=3)
_CALL_IDS = st.sampled_from(some.CALL_IDS)
_ITEMS: SearchStrategy[object] = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": _CONTENTS},
        optional={"type": st.just("message"), "id": _TEXTS, "status": st.just("completed"), "phase": st.none()},
    ),
    st.fixed_dictionaries(
        {"type": st.just("reasoning")},
        optional={
            "id": st.just("rs_1"),
            "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": _TEXTS}), max_size=2),
            "content": st.lists(st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": _TEXTS}), max_size=2),
            "encrypted_content": st.none() | st.just("gAAA"),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "call_id": _CALL_IDS, "name": st.just("f")},
        optional={"arguments": st.sampled_from(["{}", '{"a": 1}', "", "odd", None, {"b": 1}]), "x_vendor": some.json_values},
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call_output"), "call_id": _CALL_IDS},
        optional={"output": _CONTENTS | st.sampled_from([None, {"b": 1}, 5])},
    ),
)  # fmt: skip
_INPUTS = _TEXTS | st.lists(_ITEMS, max_size=6).map(lambda items: [{"role": "user", "content": "hi"}, *items])
_TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "name": st.sampled_from(["f", "g"])},
        optional={"parameters": st.sampled_from([{"b": 1, "a": 2}, None]), "strict": st.booleans() | st.none(), "description": _TEXTS},
    ),
    max_size=3,
)  # fmt: skip
_PARAMETERS: Mapping[str, SearchStrategy[object]] = {
    "instructions": _TEXTS,
    "max_output_tokens": st.integers(1, 99),
    "metadata": st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    "parallel_tool_calls": st.booleans(),
    "reasoning": st.sampled_from([{"effort": "low"}, {"effort": None, "summary": "auto"}, {}]),
    "temperature": st.sampled_from([0, 0.5, 1]),
    "text": st.sampled_from(
        [
            {"format": {"type": "text"}},
            {"verbosity": "low"},
            {"format": {"type": "json_schema", "name": "s", "schema": {"b": 1, "a": None}}},
        ]
    ),
    "tools": _TOOLS,
    "tool_choice": st.sampled_from(["auto", "none", "required", "any"]),
    "top_logprobs": st.integers(0, 20),
    "include": st.sampled_from([[], ["message.output_text.logprobs", "reasoning.encrypted_content"]]),
    "truncation": st.sampled_from(["auto", "disabled"]),
    "store": st.booleans(),
    "user": _TEXTS,
    "top_k": st.integers(),
    "x_vendor": some.finite_values,
}


@st.composite
def sane_requests(draw: st.DrawFn) -> dict[str, object]:
    """What clients really send."""
    params = draw(some.some_of(_PARAMETERS))
    return {"provider": "vllm", "model": "m", "input": draw(_INPUTS), "params": params}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, object]:
    """The same, or with something wrong in one place, or something else."""
    match draw(st.integers(0, 5)):
        case 0:
            return draw(some.anything_as_request)
        case 1 | 2:
            mutated = draw(some.mutated(draw(sane_requests())))
            return mutated if isinstance(mutated, dict) else {}
        case 3:
            request = draw(sane_requests())
            return {
                **request,
                "params": {**some_dict(request["params"]), "extra_params": draw(some.json_values)},
            }
        case _:
            return draw(sane_requests())


def some_dict(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def said_by(
    pieces: Sequence[bytes],
    head: Reply = HEAD,
    cut: Cut | None = None,
    call: Call = STREAMED,
    asked: Mapping[str, object] | None = None,
) -> list[Chunk | Failure]:
    """All events of a stream. Whatever comes after the end must be silence."""
    fold = responses.fold(ASKED if asked is None else asked, head, call)
    return fed(fold, pieces, cut, DONE)


ASKED: Mapping[str, object] = {"provider": "vllm", "model": "m", "input": "hi"}


def assert_one_end(events: Sequence[Chunk | Failure]) -> None:
    """A response told by the rules, or an error; an error after the start is told as both."""
    *before, last = events
    assert all(isinstance(event, Chunk) and not event.final for event in before)
    client = StrictClient()
    for event in events:
        if isinstance(event, Chunk):
            assert event.event == event.data["type"]
            client.take(wire(event.data))
    if isinstance(last, Chunk):
        assert last.final
        assert client.final is not None
        return
    assert_well_formed(last.error)
    assert (last.event == "error") is bool(before)
    assert ("sequence_number" in last.error) is bool(before)
    if before:
        assert last.error.get("sequence_number") == len(before)
        assert client.final["status"] == "failed"
        assert client.final["error"]["message"] == last.error["error"]["message"]


@given(requests(), some.calls_of("responses"))
def test_any_request_gives_a_plan_or_the_place_of_the_fault(asked: dict[str, object], call: Call) -> None:
    before = copy.deepcopy(asked)
    plan = responses.plan(asked, call)
    assert same(asked, before)
    again = responses.plan(asked, call)
    if isinstance(plan, Failure):
        assert again == plan
        assert_well_formed(plan.error)
        assert plan.error.get("status_code") == 400
        assert plan.error["error"].get("param")
    else:
        assert again == plan


@given(some.python_values, some.python_values, some.python_values)
def test_what_a_program_passes_by_mistake_is_refused(
    items: object, params: object, instructions: object
) -> None:
    given_params = {**params, "instructions": instructions} if isinstance(params, dict) else params
    asked = {"model": "m", "input": items, "params": given_params}
    plan = responses.plan(asked, UNARY)
    assert isinstance(plan, Plan | Failure)
    assert isinstance(responses.parse(asked, Reply(200, {}, b"{}"), 0, UNARY), Failure)


@given(sane_requests(), st.booleans())
def test_a_chat_can_hold_what_clients_send(asked: dict[str, Any], streaming: bool) -> None:
    plan = responses.plan(asked, STREAMED if streaming else UNARY)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    body: Any = documents.decode(plan.body.data)
    assert body["model"] == "m"
    assert ("stream" in body) is streaming
    before = None
    for message in body["messages"]:
        assert message["role"] in {"system", "user", "assistant", "tool"}
        assert not (message["role"] == before == "assistant"), "one turn is one message"
        before = message["role"]
        content = message["content"]
        assert isinstance(content, str) or content or message.get("tool_calls")
        for part in () if isinstance(content, str) or content is None else content:
            assert part["type"] in {"text", "image_url", "file", "input_audio", "refusal", "audio_url"}
        for call in message.get("tool_calls", ()):
            assert set(call) >= {"id", "type", "function"}
            assert isinstance(call["function"]["arguments"], str)
        assert (message["role"] == "tool") == ("tool_call_id" in message)
        assert message.get("reasoning") == message.get("reasoning_content")
    for tool in body.get("tools", ()):
        assert set(tool) == {"type", "function"}
    assert ("tool_choice" in body) <= ("tools" in body)
    assert ("top_logprobs" in body and body["top_logprobs"] > 0) <= ("logprobs" in body)
    for name in ("top_k", "x_vendor", "temperature", "user"):
        if name in asked["params"] and asked["params"][name] is not None:
            assert same(body[name], wire(asked["params"][name]))


def words(value: object) -> list[str]:
    """The texts of messages, items and their parts, wherever they stand."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [word for entry in value for word in words(entry)]
    if isinstance(value, dict):
        names = ("reasoning", "content", "summary", "text", "refusal", "output")
        return [word for name in names for word in words(value.get(name))]
    return []


@given(st.lists(_ITEMS, max_size=6))
def test_no_word_of_the_input_is_lost(items: list[Any]) -> None:
    plan = responses.plan({"model": "m", "input": [{"role": "user", "content": ""}, *items]}, UNARY)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    body: Any = documents.decode(plan.body.data)
    sent = "\n".join(word for message in body["messages"] for word in words(message))
    for item in items:
        in_full = item.get("type") == "reasoning" and any(part["text"] for part in item.get("content", ()))
        for word in words({**item, "summary": []} if in_full else item):
            assert word in sent


@given(requests(), some.replies())
def test_any_reply_gives_a_response_or_an_error(asked: dict[str, object], reply: Reply) -> None:
    before = copy.deepcopy(asked)
    outcome = responses.parse(asked, reply, 7, UNARY)
    assert same(asked, before)
    again = responses.parse(asked, reply, 7, UNARY)
    if isinstance(outcome, Failure):
        assert again == outcome
        assert_well_formed(outcome.error)
        return
    document = wire(outcome)
    assert same(wire(again), document)
    assert document["output"]
    assert document["status"] in {"completed", "incomplete", "failed"}
    if "\\ud" not in json.dumps(document):  # lone surrogates are JSON, but no text
        assert_response({**document, "metadata": {}})


@given(
    some.any_streams,
    some.heads,
    some.cuts,
    some.calls_of("responses_stream"),
    requests(),
    st.data(),
)
def test_any_stream_in_any_pieces_has_exactly_one_end(
    body: bytes, head: Reply, cut: Cut | None, call: Call, asked: dict[str, object], data: DataObject
) -> None:
    before = copy.deepcopy(asked)
    events = said_by(data.draw(some.pieces(body)), head, cut, call, asked)
    assert same(asked, before)
    assert_one_end(events)
    if head.cut is not None or head.status != 200:
        assert len(events) == 1


def plainly(events: Sequence[Chunk | Failure]) -> list[object]:
    """Events as JSON, without what depends on the clock."""
    out: list[object] = []
    for event in events:
        document = wire(event.error if isinstance(event, Failure) else event.data)
        document["extra_fields"].pop("latency", None)
        if isinstance(event, Chunk) and event.final:
            document["response"]["extra_fields"].pop("latency")
        out.append((document, event.event))
    return out


@given(some.any_streams, st.sampled_from([HEAD, HEAD, Reply(200, {})]), some.cuts, st.booleans(), st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(
    body: bytes, head: Reply, cut: Cut | None, raw: bool, data: DataObject
) -> None:
    call = Call("responses_stream", raw_request=raw, raw_response=raw)
    whole = said_by([body], head, cut, call)
    for pieces in (data.draw(some.pieces(body)), some.one_by_one(body)):
        assert same(plainly(said_by(pieces, head, cut, call)), plainly(whole))


@given(some.scripts(most=1), sane_requests(), st.data())
def test_every_event_is_what_openai_says_and_they_add_up(
    script: some.Script, asked: dict[str, object], data: DataObject
) -> None:
    body = data.draw(some.sound_streams(script))
    events = said_by([body], asked=asked)
    told = [wire(event.data) for event in events if isinstance(event, Chunk)]
    assert len(told) == len(events)
    for event in told:
        assert_event(event)
    final = accumulated(told)
    assert_response(final)
    (answer,) = script.said.answers
    assert "".join(texts(final, "reasoning_text")) == "".join(answer.reasoning)
    assert "".join(texts(final, "output_text")) == "".join(answer.content)
    assert sorted(calls_of(final)) == sorted((call.name, whole(call)) for call in script.calls[0])


def texts(response: Any, kind: str) -> list[str]:
    return [
        part["text"]
        for item in response["output"]
        for part in item.get("content", ())
        if part["type"] == kind
    ]


def calls_of(response: Any) -> list[tuple[str, str]]:
    return [
        (item["name"], item["arguments"] or "{}")
        for item in response["output"]
        if item["type"] == "function_call"
    ]


def told_of(response: Any) -> list[tuple[str, ...]]:
    return [
        (item.get("call_id", ""), item["name"], item["arguments"] or "{}")
        for item in response["output"]
        if item["type"] == "function_call"
    ]


def whole(call: some.ToolCall) -> str:
    return call.arguments or "{}"


@given(some.scripts(most=1), st.data())
def test_the_last_response_of_a_stream_is_the_one_that_comes_without(
    script: some.Script, data: DataObject
) -> None:
    (calls,) = script.calls
    events = said_by([data.draw(some.sound_streams(script))])
    streamed = accumulated(wire(event.data) for event in events if isinstance(event, Chunk))
    document: Any = data.draw(some.unary_documents(script.said))
    document["choices"][0]["message"]["tool_calls"] = [
        {"id": call.id or None, "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    reply = responses.parse(ASKED, Reply(200, {}, json.dumps(document).encode()), 0, UNARY)
    assert not isinstance(reply, Failure)
    unary = wire(reply)
    for response in (streamed, unary):
        kept = response["extra_fields"].get("chat_completion", {})
        kept.pop("system_fingerprint", None)  # only some streams have it
        response["extra_fields"] = kept
        if not all(call.id for call in calls):
            for item in response["output"]:
                item.pop("call_id", None)
    if told_of(streamed) != told_of(unary):  # a call whose name comes late is told late
        assert sorted(told_of(streamed)) == sorted(told_of(unary))
        for response in (streamed, unary):
            response["output"] = [item for item in response["output"] if item["type"] != "function_call"]
    assert streamed == unary


_NAMES = st.sampled_from(["metrics", "x_vendor", "prompt_logprobs", "détail", "output", "status"])
_UNKNOWN = st.dictionaries(_NAMES, some.finite_values, min_size=1, max_size=3)


@given(_UNKNOWN, st.sampled_from(["top", "choice", "message", "call"]), st.booleans())
def test_unknown_fields_come_out_where_the_chat_had_them(
    unknown: dict[str, object], place: str, streaming: bool
) -> None:
    call: dict[str, object] = {
        "index": 0,
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }
    message: dict[str, object] = {"content": "x", "tool_calls": [call]}
    choice: dict[str, object] = {
        "index": 0,
        "delta" if streaming else "message": message,
        "finish_reason": "stop",
    }
    document: dict[str, object] = {"id": "i", "choices": [choice]}
    {"top": document, "choice": choice, "message": message, "call": call}[place].update(unknown)
    encoded = json.dumps(document).encode()
    if streaming:
        last = said_by([b"data: %b\n\n" % encoded, DONE])[-1]
        assert isinstance(last, Chunk)
        response = wire(last.data)["response"]
    else:
        outcome = responses.parse(ASKED, Reply(200, {}, encoded), 0, UNARY)
        assert not isinstance(outcome, Failure)
        response = wire(outcome)
    kept = response["extra_fields"].get("chat_completion", {})
    entry = kept.get("choices", [{}])[0]
    said = entry.get("message", {})
    found = {"top": kept, "choice": entry, "message": said, "call": said.get("tool_calls", [{}])[0]}[place]
    noise: tuple[object, ...] = (None, "", [])
    for name, value in unknown.items():
        assert value in noise or same(found.get(name), wire(value)), name
