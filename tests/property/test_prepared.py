"""Operations made ready for a call and a model: the plans, ledgers and outcomes of a request like any other."""

from collections.abc import Mapping
from typing import NoReturn
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench import exchanges
from tests import strategies as some
from tests.property.judgement import encoded
from tests.property.test_chat_reply_by_types import bodies
from translate import (
    OPERATIONS,
    Begun,
    Call,
    Chunk,
    Document,
    Failure,
    Prepared,
    chat,
    converse,
    documents,
    messages,
    prepared,
)
from transports import PlanLike, Reply, run

CHAT = OPERATIONS["chat_completion"]
EVENTS = Reply(200, {"content-type": "text/event-stream"})
CALL = Call("chat_completion", verbatim=True)
MODELS = st.sampled_from(["m", "org/name", "vllm/org/name", "/models/x", '\u00e9"', "", " "])
FLAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
CALLS = some.calls(streaming=False)


def ready(call: Call, model: str) -> Prepared:
    found = prepared(OPERATIONS[call.request_type], call, model)
    assert found is not None
    return found


class Canned:
    """A transport with one answer, which keeps what it was asked."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.plans: list[PlanLike] = []

    def send(self, plan: PlanLike) -> Reply:
        self.plans.append(plan)
        return self.reply

    def stream(self, plan: PlanLike) -> NoReturn:
        raise NotImplementedError


def request_of(flat: Document, model: str) -> Document | Failure:
    """The request that a gateway makes of a flat body when it has chosen the model."""
    request = chat.from_flat(flat)
    return request if isinstance(request, Failure) else {**request, "provider": "vllm", "model": model}


def said(outcome: Document | Chunk | Failure) -> bytes:
    """An outcome or an event as bytes."""
    if isinstance(outcome, Failure):
        return encoded([outcome.error, outcome.event])
    if isinstance(outcome, Chunk):
        return encoded([outcome.data, outcome.final, outcome.event])
    return encoded(outcome)


def assert_like_any_other(flat: Document, model: str, call: Call, reply: Reply) -> None:
    request = request_of(flat, model)
    if isinstance(request, Failure):
        return  # there is no model to choose
    canned, preparation = Canned(reply), ready(call, model)
    expected = run(canned, converse(CHAT, request, call))
    before = repr(flat)
    begun = preparation.begin(flat)
    assert repr(flat) == before
    if isinstance(begun, Failure):
        assert (begun, canned.plans) == (expected, [])
        return
    assert [begun.plan] == canned.plans
    assert not isinstance(begun.built, Failure)
    assert begun.built.notes == chat.noted(request, call)
    outcomes = [preparation.end(begun, reply) for _ in range(2)]
    assert {type(outcome) for outcome in outcomes} == {type(expected)}
    assert [*map(said, outcomes)] == [said(expected)] * 2


@given(some.flat_requests(), MODELS, CALLS, some.replies() | bodies.map(lambda body: Reply(200, {}, body, 7)))
def test_a_flat_body_is_answered_like_any_other(
    flat: dict[str, object], model: str, call: Call, reply: Reply
) -> None:
    assert_like_any_other(flat, model, call, reply)


@given(some.flat_requests(), MODELS, some.calls(streaming=True), some.heads, some.any_streams)
@example(FLAT, "m", CALL._replace(request_type="chat_completion_stream"), EVENTS, b"".join(exchanges.STREAM))
def test_a_flat_body_is_streamed_like_any_other(
    flat: dict[str, object], model: str, call: Call, head: Reply, data: bytes
) -> None:
    request = request_of(flat, model)
    if isinstance(request, Failure):
        return
    begun = ready(call, model).begin(flat)
    if isinstance(begun, Failure):
        assert begun == chat.plan(request, call)
        return
    assert begun.plan == chat.plan(request, call)
    expected, events = (
        [*fold.feed(data, 3), *fold.close(5)]
        for fold in (chat.fold(request, head, call), ready(call, model).fold(begun, head))
    )
    assert [*map(said, events)] == [*map(said, expected)]


_MEMBERS = st.sampled_from(
    [
        b'"temperature":1.0', b'"temperature":0.70', b'"temperature":7e-1', b'"top_p":1E0', b'"seed":-0',
        b'"x":1e400', b'"x":-0.0', b'"x":0.07', b'"x":1.20', b'"x":-2.0', b'"x":2.00', b'"x":123456789012345678901234567890',
        b'"x":[0.5,5e-1,-0,{"a":0.50}]', b'"stream":false', b'"stream":null', b'"x":null', b'"max_tokens":5',
        b'"fallbacks":[]', b'"params":{"x":1}', b'"provider":"openai"', b'"input":"x"', b'"messages":[{"role":"user"}]',
        b'"model":"vllm/other"', b'"extra_params":{"x":2}', b'"extra_body":{"y":null}', b'"tools":[]', b'"\\u0078":"\\u00e9\\/"',
        b'"store":true', b'"reasoning_effort":"high"', b'"guided_regex":"a"',
    ]
)  # fmt: skip


@given(
    st.lists(_MEMBERS, max_size=4),
    st.permutations([b'"model":"vllm/m"', b'"messages":[{"role":"user","content":"hi"}]']),
    CALLS,
)
def test_members_as_they_are_spelled(members: list[bytes], others: list[bytes], call: Call) -> None:
    for place, member in enumerate(others):
        members.insert(place * 2, member)
    flat = documents.decode_object(b"{%b}" % b",".join(members), strict=True)
    assert not isinstance(flat, documents.Malformed)
    assert_like_any_other(flat, "m", call, Reply(200, {}, exchanges.CHAT, 3))


_MESSAGES: st.SearchStrategy[object] = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant", "tool", "developer", None, 5]),
        "content": st.sampled_from(
            ["hi", "", None, 5, ["x"], [{"type": "text", "text": "x"}], [{"file": {}}]]
        ),
        "name": st.sampled_from(["n", None, {"cache_control": 1}]),
        "tool_calls": st.sampled_from(
            [None, [], [{"id": "i" * 70, "function": {"name": "f", "arguments": {}}}]]
        ),
        "tool_call_id": st.sampled_from(["i", "call_ts_" + "x" * 70]),
        "reasoning": st.sampled_from(["hm", None]),
        "is_error": st.booleans(),
        "cache_control": st.just({}),
    },
)


CALLED = [{"id": "i", "function": {"name": "f", "arguments": {}}}]


@given(st.lists(_MESSAGES | st.sampled_from([None, "x", [], {}]), max_size=3), CALLS)
@example([{"role": "assistant", "content": "hi", "tool_calls": CALLED}], CALL)
@example([{"role": "assistant", "content": "hi", "reasoning": "hm"}], CALL)
@example([{"role": "tool", "content": "hi", "is_error": True}], CALL)
@example([{"role": "tool", "content": "hi", "tool_call_id": "call_ts_" + "x" * 70}], CALL)
@example([{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {}}]}], CALL)
def test_messages_of_any_kind(history: list[object], call: Call) -> None:
    flat = {"model": "m", "messages": history, "temperature": 0.5}
    assert_like_any_other(flat, "m", call, Reply(200, {}, exchanges.CHAT, 3))
    begun = ready(call, "m").begin(flat)
    with (
        mock.patch.object(messages, "_PLAIN", frozenset()),
        mock.patch.object(messages, "_goes_as_it_is", return_value=False),
    ):
        assert repr(ready(call, "m").begin(flat)) == repr(begun)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), None, documents.decode(b"1e400"), {1: 2}, {"a": b"x"}]
)
def test_values_that_json_does_not_have(value: object) -> None:
    assert_like_any_other(FLAT | {"x": value}, "m", CALL, Reply(200, {}, exchanges.CHAT, 3))


def test_a_name_that_is_no_text() -> None:
    assert_like_any_other(FLAT | {"\ud83d": None}, "m", CALL, Reply(200, {}, exchanges.CHAT, 3))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_a_value_that_cannot_be_sent_is_left_out_and_noted(value: object) -> None:
    begun = ready(CALL, "m").begin(FLAT | {"x": value})
    assert isinstance(begun, Begun)
    assert not isinstance(begun.built, Failure)
    assert begun.built.body == FLAT
    assert [(note.param, note.action) for note in begun.built.notes] == [("x", "dropped")]


@given(
    st.sampled_from(
        [{}, {"a": 1.5, "b": float("nan")}, {"a": "\ud83d"}, {"a": b"bytes"}, {"latency": 0}, {"a": "\u00e9"}]
    ),
    st.sampled_from(["m", "\u00e9", '0,"chunk_index":0}', "\ud83d"]),
    st.integers(0, 2**70),
)
def test_routing_info_and_models_of_any_kind(info: Mapping[str, object], model: str, latency: int) -> None:
    call = CALL._replace(routing_info=info)
    begun = ready(CALL, "m").begin({"messages": [{"role": "user", "content": "hi"}]})
    assert isinstance(begun, Begun)
    reply = Reply(200, {}, exchanges.CHAT, latency)
    outcome = ready(call, model).end(begun, reply)
    plain = chat.parse({"provider": "vllm", "model": model, "input": [{}]}, reply, latency, call)
    assert documents.encode(outcome) == documents.encode(plain)
