"""What holds for every operation: any request, any reply, purely."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import operation_strategies as operations
from tests import strategies as some
from tests.operation_strategies import KINDS, Kind
from tests.property.judgement import assert_well_formed, encoded, same, wire
from tests.property.test_chat_request import accounted, body_of, found, layers, steps
from translate import OPERATIONS, Operation, converse, documents
from translate.envelope import translation_notes
from translate.errors import http_status
from translate.explanation import Style, explained, written
from translate.plan import Call, Failure, Plan
from translate.types import RequestType
from transports.base import Cut, Reply

each_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
each_operation = pytest.mark.parametrize("operation", sorted(OPERATIONS))

few = settings(max_examples=max(settings().max_examples // 3, 1))
STYLES: tuple[Style, ...] = ("text", "json", "curl")

# What has a rule of its own, on purpose not read from the code.
RULED = {
    "model", "fallbacks", "stream", "stream_options", "extra_body", "extra_params", "params", "structured_outputs",
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "encoding_format", "top_n", "return_documents",
    "messages", "prompt_embeds", "prompt", "input", "query", "documents",
}  # fmt: skip
INPUTS = {"model", "params", "prompt", "input", "query", "documents", "messages"}
SOUND: Mapping[str, object] = {"model": "m", "input": "a", "query": "q", "documents": ["a"]}


def frozen(value: object) -> Any:
    """``value`` in types that cannot be changed."""
    if isinstance(value, dict):
        return MappingProxyType({name: frozen(member) for name, member in value.items()})
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


def as_bytes(outcome: object) -> bytes:
    """An outcome as clients get it."""
    return encoded(outcome.error if isinstance(outcome, Failure) else outcome)


def plain(kind: Kind) -> tuple[Operation, Call]:
    return OPERATIONS[kind.operations[0]], Call(kind.operations[0])


def assert_refused(failure: Failure, *requests: Mapping[str, object]) -> None:
    """A 400 that names a place in what was asked."""
    error = failure.error
    assert error.get("status_code") == http_status(error) == 400
    assert error["is_bifrost_error"] is False
    detail = error["error"]
    assert detail["message"].strip()
    assert detail.get("type") == "invalid_request_error"
    param = detail.get("param")
    assert isinstance(param, str), detail
    names = {name for request in requests for layer in layers(request) for name in layer}
    assert steps(param)[0] in INPUTS | names, param
    encoded(error)


def asked(kind: Kind, flat: Mapping[str, object]) -> Mapping[str, object]:
    """The request that a flat body means; what is refused does not count."""
    request = plain(kind)[0].from_flat(flat)
    assume(not isinstance(request, Failure))
    assert not isinstance(request, Failure)
    return request


def planned(kind: Kind, request: Mapping[str, object]) -> Plan:
    row, call = plain(kind)
    plan = row.plan(request, call)
    assume(isinstance(plan, Plan))
    assert isinstance(plan, Plan)
    return plan


def ledger(kind: Kind, request: Mapping[str, object]) -> list[dict[str, str]]:
    """What the client is told of the request: by a reply about which there is nothing to tell, or without any."""
    row, call = plain(kind)
    body = b'{"choices":[{"text":""}],"data":[],"results":[]}'
    answer = row.parse(request, Reply(200, {}, body), 0, call)
    assert not isinstance(answer, Failure)
    notes: list[dict[str, str]] = wire(answer)["extra_fields"].get("translation_notes", [])
    assert notes == wire(translation_notes(row.noted(request, call)))
    return notes


def members(flat: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The members of an object in a request, if it is one."""
    inner = flat.get(name)
    return inner if isinstance(inner, dict) else {}


# -- any request -----------------------------------------------------------------------------------


@each_operation
@few
@given(operations.anything, st.data())
def test_any_object_becomes_a_request_a_plan_or_a_refusal_purely(
    operation: RequestType, flat: dict[str, object], data: DataObject
) -> None:
    row, call = OPERATIONS[operation], data.draw(some.calls_of(operation))
    before = copy.deepcopy(flat)
    request = row.from_flat(flat)
    assert same(flat, before)
    for asked_for in (flat, {**SOUND, **flat}, request):
        if isinstance(asked_for, Failure):
            assert http_status(asked_for.error) == 400
            continue
        before = copy.deepcopy(dict(asked_for))
        plan = row.plan(asked_for, call)
        assert same(asked_for, before)
        explanation = explained(row, asked_for, call)
        if isinstance(plan, Failure):
            assert http_status(plan.error) == 400
            assert explanation == plan
        else:
            assert not isinstance(explanation, Failure)
            assert explanation["body"] == (None if plan.body is None else plan.body.data.decode())
            assert all(written(explanation, style).encode() for style in STYLES)


def assert_planned_or_refused(kind: Kind, data: DataObject, *asked_for: Mapping[str, object]) -> None:
    """The last of ``asked_for`` is the request; the others tell what it was made of."""
    operation = data.draw(st.sampled_from(kind.operations))
    call = data.draw(some.calls_of(operation))
    request = asked_for[-1]
    before = copy.deepcopy(dict(request))
    plan = OPERATIONS[operation].plan(request, call)
    assert same(request, before)
    assert OPERATIONS[operation].plan(frozen(before), call) == plan
    if isinstance(plan, Failure):
        assert_refused(plan, *asked_for)
        return
    known = call.known_path if operation == "rerank" else None
    assert (plan.method, plan.path) == ("POST", call.path or known or kind.path)
    body = body_of(plan)
    named = str(request["model"])
    assert body["model"] == (named if request.get("provider") else named.removeprefix("vllm/"))
    for flat_name, name in kind.inputs.items():
        if flat_name != "documents" and flat_name in body:
            assert same(body[flat_name], wire(request[name])), "no parameter takes the place of an input"
    assert all(value is not None for value in body.values())
    if operation == "text_completion_stream":
        assert body["stream"] is True
        assert body["stream_options"]["include_usage"] is True
    else:
        assert "stream" not in body
        assert operation != "text_completion" or "stream_options" not in body


@each_kind
@given(st.data(), st.booleans())
def test_a_request_is_planned_or_refused_with_a_place_purely(
    kind: Kind, data: DataObject, is_flat: bool
) -> None:
    if not is_flat:
        assert_planned_or_refused(kind, data, data.draw(operations.requests(kind)))
        return
    flat = data.draw(operations.flat_requests(kind))
    before = copy.deepcopy(flat)
    request = plain(kind)[0].from_flat(flat)
    assert same(flat, before)
    assert same(plain(kind)[0].from_flat(frozen(flat)), frozen(request))
    if isinstance(request, Failure):
        assert_refused(request, flat)
    else:
        assert_planned_or_refused(kind, data, flat, request)


@each_kind
@given(some.python_values)
def test_a_value_that_is_no_json_is_a_refusal_or_is_sent_as_json(kind: Kind, value: object) -> None:
    row, call = plain(kind)
    odds: list[dict[str, object]] = [{"params": {"x_value": value}}]
    odds += [{name: odd} for name in kind.inputs.values() for odd in (value, [value])]
    for odd in odds:
        plan = row.plan({**SOUND, **odd}, call)
        if isinstance(plan, Plan):
            body_of(plan)
        else:
            assert plan.error["error"].get("param"), plan.error


FLAT: Mapping[str, object] = {"prompt": "p", "input": "p", "query": "q", "documents": ["d"]}


@each_kind
@given(some.texts, some.json_values)
def test_an_unknown_parameter_is_forwarded_verbatim(kind: Kind, name: str, value: object) -> None:
    assume(name not in RULED and wire(value) is not None)
    flat = {"model": "m"} | {given_name: FLAT[given_name] for given_name in kind.given}
    for given_here in (
        {**flat, name: value},
        {**flat, "extra_body": {name: value}},
        *([{**flat, "params": {name: value}}] if "rerank" in kind.operations else []),
    ):
        body = body_of(planned(kind, asked(kind, given_here)))
        assert same(body[name], wire(value))


@each_kind
@given(some.spellings)
@example(some.Spelling("[1E5, -0, 1.50, 1e400]", ""))
def test_parameters_go_out_as_the_client_spelled_them(kind: Kind, text: some.Spelling) -> None:
    value = documents.decode(text.source.encode())
    assume(value is not None)
    flat = {"model": "m", "x_vendor": value} | {name: FLAT[name] for name in kind.given}
    plan = planned(kind, asked(kind, flat))
    assert plan.body is not None
    out = documents.decode_object(plan.body.data)
    assert isinstance(out, dict)
    assert encoded(out["x_vendor"]) == encoded(value)


@each_kind
@given(st.data())
def test_what_was_sent_and_the_ledger_account_for_every_member_and_no_other(
    kind: Kind, data: DataObject
) -> None:
    flat = data.draw(operations.flat_requests(kind, wrong=False))
    request = asked(kind, flat)
    body = body_of(planned(kind, request))
    noted = [note["param"] for note in ledger(kind, request)]
    layered = [*layers(flat), members(flat, "params")]
    for param in noted:
        path = steps(param)
        assert any(found(layer, path) and path[0] in layer for layer in layered), param
    for name, value in flat.items():
        own = name in {"model", "fallbacks", "stream", "extra_body", "params"}
        assert own or accounted(name, value, body, noted), (name, noted)
    for layer in ("extra_body", "params"):
        inside = [*noted, *(param.removeprefix(f"{layer}.") for param in noted)]
        for name, value in members(flat, layer).items():
            outdone = value is None and flat.get(name) is not None
            assert outdone or accounted(name, value, body, inside), (name, noted)


# -- any reply -------------------------------------------------------------------------------------


@each_kind
@given(st.data())
def test_any_reply_is_an_answer_or_a_well_formed_failure_purely(kind: Kind, data: DataObject) -> None:
    row = plain(kind)[0]
    call = data.draw(some.calls_of(kind.operations[0]))
    request = data.draw(operations.requests(kind) | operations.anything)
    reply = data.draw(some.replies_with(kind.bodies))
    before, reply_before = copy.deepcopy(request), copy.deepcopy(reply)
    outcome = row.parse(request, reply, 7, call)
    assert same(request, before)
    assert reply == reply_before
    assert as_bytes(row.parse(frozen(before), reply_before, 7, call)) == as_bytes(outcome)
    if isinstance(outcome, Failure):
        assert_well_formed(outcome.error)
        assert outcome.error.get("extra_fields", {}).get("latency") == 7
        if reply.cut is None and 400 <= reply.status <= 599:
            assert outcome.error.get("status_code") == reply.status
        return
    assert (reply.status, reply.cut) == (200, None)
    answer = wire(outcome)
    assert kind.expected in answer
    assert answer.get("usage") != {}
    fields = answer["extra_fields"]
    assert (fields["request_type"], fields["provider"]) == (kind.operations[0], "vllm")
    assert (fields["latency"], fields["chunk_index"]) == (7, 0)
    assert fields.get("translation_notes") != []


@each_kind
@pytest.mark.parametrize("verbatim", [False, True], ids=["plain", "verbatim"])
@pytest.mark.parametrize("body", some.ERROR_BODIES)
def test_an_error_inside_http_200_is_never_an_answer(kind: Kind, body: bytes, verbatim: bool) -> None:
    call = Call(kind.operations[0], verbatim=verbatim)
    outcome = plain(kind)[0].parse(SOUND, Reply(200, {}, body), 0, call)
    assert isinstance(outcome, Failure)
    assert_well_formed(outcome.error)


@each_kind
@pytest.mark.parametrize("status", [200, 401, 404, 500])
@pytest.mark.parametrize(
    "body",
    [
        '{"error":{"message":"bad key Bearer %s","code":401}}',
        '{"detail":"%s"}',
        "<html><body>Authorization: Bearer %s</body></html>",
        "no %s",
    ],
)
def test_a_key_that_a_server_echoes_is_blotted_out(kind: Kind, status: int, body: str) -> None:
    row, call = plain(kind)
    secret = "sk-0123456789abcdef"
    outcome = row.parse(SOUND, Reply(status, {}, (body % secret).encode()), 0, call)
    assert isinstance(outcome, Failure)
    assert secret not in as_bytes(outcome).decode()


ROWS: Mapping[str, Mapping[str, object]] = {
    "choices": {"index": 0, "text": "x", "finish_reason": "stop"},
    "data": {"index": 0, "object": "embedding", "embedding": [1.0]},
    "results": {"index": 0, "relevance_score": 0.5},
}
UNKNOWN = st.dictionaries(
    st.sampled_from(["kv_transfer_params", "metrics", "x_vendor", "token_ids", "détail", "score"]),
    some.spellings,
    max_size=3,
)


def spelled(unknown: Mapping[str, some.Spelling]) -> Iterator[bytes]:
    """Members of an object as JSON."""
    return (encoded(name) + b":" + text.source.encode() for name, text in unknown.items())


@each_kind
@given(UNKNOWN, UNKNOWN, st.booleans())
@example({"metrics": some.Spelling("-0", "")}, {"x_vendor": some.Spelling("[ -0,1E5]", "")}, True)
@example({"metrics": some.Spelling('{"a":[-0, 1e400]}', "")}, {}, True)
def test_unknown_fields_survive_where_they_were_unless_null(
    kind: Kind, top: dict[str, some.Spelling], inner: dict[str, some.Spelling], verbatim: bool
) -> None:
    row = b",".join([encoded(ROWS[kind.expected])[1:-1], *spelled(inner)])
    body = b",".join([b'"%b":[{%b}]' % (kind.expected.encode(), row), *spelled(top)])
    call = Call(kind.operations[0], verbatim=verbatim)
    outcome = plain(kind)[0].parse(SOUND, Reply(200, {}, b"{%b}" % body), 0, call)
    assert not isinstance(outcome, Failure)
    rows = outcome[kind.expected]
    assert isinstance(rows, Sequence)
    for unknown, place in ((top, outcome), (inner, rows[0])):
        for name, text in unknown.items():
            value = documents.decode(text.source.encode())
            assert (name in place) == (value is not None), name
            assert encoded(place.get(name)) == encoded(value), name


# -- any conversation ------------------------------------------------------------------------------

MISSING = st.sampled_from([404, 404, 405, 501])
BODIES = st.sampled_from([*some.ERROR_BODIES, b'{"results":[{"index":0,"score":1}]}', b'{"data":[]}'])


@each_operation
@few
@given(st.data(), MISSING | some.statuses, MISSING | some.statuses)
def test_a_conversation_asks_twice_at_most_and_the_same(
    operation: RequestType, data: DataObject, first: int, second: int
) -> None:
    row, call = OPERATIONS[operation], data.draw(some.calls_of(operation))
    request = {**SOUND, "input": [{"role": "user"}]}
    cuts = st.none() | st.none() | st.just(Cut("read", ""))
    replies = [
        Reply(status, {}, data.draw(BODIES), elapsed_ms, data.draw(cuts))
        for status, elapsed_ms in ((first, 3), (second, 4))
    ]
    conversation = converse(row, request, call)
    plans: list[Plan] = []
    outcome: object = None
    try:
        plan = next(conversation)
        while True:
            plans.append(plan)
            plan = conversation.send(replies[len(plans) - 1])
    except StopIteration as stop:
        outcome = stop.value
    assert len({(plan.method, plan.body) for plan in plans}) <= 1
    assert len({plan.path for plan in plans}) == len(plans)
    spent_ms = sum(reply.elapsed_ms for reply in replies[: len(plans)])
    told = [as_bytes(row.parse(request, reply, spent_ms, call)) for reply in replies[: len(plans)]]
    assert not plans or as_bytes(outcome) in told
    if len(plans) == 2:
        assert (operation, call.path) == ("rerank", None)
        assert (first, replies[0].cut) in {(404, None), (405, None), (501, None)}
        assert as_bytes(outcome) == told[0 if second in {405, 501} and replies[1].cut is None else -1] or (
            second == 404
        )
