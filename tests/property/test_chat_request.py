"""translate.chat, from a client's request to what is sent, for any request."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests import strategies as some
from tests.property.judgement import encoded, same, wire
from translate import chat, messages, parameters
from translate.errors import http_status
from translate.plan import Call, Failure, Plan
from transports.base import Reply

UNARY = Call("chat_completion")
STREAMED = Call("chat_completion_stream")
CALLS = st.sampled_from([UNARY, STREAMED])

# Independent lists, on purpose: what the contract says, not what the code has.
OPENAI_ONLY = {
    "store", "prediction", "verbosity", "web_search_options", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options",
}  # fmt: skip
GUIDED = {"guided_json", "guided_regex", "guided_choice", "guided_grammar"}
RULED = {
    "model", "messages", "input", "fallbacks", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "reasoning", "reasoning_effort", "reasoning_max_tokens", "reasoning_display", "tools", "tool_choice",
    "parallel_tool_calls", "structured_outputs", "extra_body", "extra_params", *OPENAI_ONLY, *GUIDED,
}  # fmt: skip
FOREIGN = {
    "cache_control", "citations", "file_type", "allowed_callers", "input_examples", "eager_input_streaming",
    "annotations",
}  # fmt: skip
ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'


def body_of(plan: Plan) -> dict[str, Any]:
    assert plan.body is not None
    assert plan.body.content_type == "application/json"
    body = json.loads(plan.body.data)
    assert isinstance(body, dict)
    return body


def sent(request: Mapping[str, object], call: Call) -> dict[str, Any]:
    """The body that goes out; examples that are refused do not count."""
    plan = chat.plan(request, call)
    assume(isinstance(plan, Plan))
    assert isinstance(plan, Plan)
    return body_of(plan)


def bifrost(flat: Mapping[str, object]) -> Mapping[str, object]:
    request = chat.from_flat(flat)
    assume(not isinstance(request, Failure))
    assert not isinstance(request, Failure)
    return request


def ledger(request: Mapping[str, object]) -> list[dict[str, str]]:
    """The notes that the client is shown: the reply's ledger is about the request alone."""
    answer = chat.parse(request, Reply(200, {}, ANSWER), 0, UNARY)
    assert not isinstance(answer, Failure)
    notes: list[dict[str, str]] = wire(answer)["extra_fields"].get("translation_notes", [])
    return notes


def steps(path: str) -> list[str | int]:
    """``messages[2].content`` as steps."""
    return [
        int(number) if number else name
        for name, number in re.findall(r"([^.\[\]]+)(?!\])|\[([0-9]+)\]", path)
    ]


def found(document: object, path: Sequence[str | int]) -> bool:
    """Whether every step but the last leads somewhere, and the last is there or missing from an object."""
    for number, step in enumerate(path):
        if isinstance(step, int) and isinstance(document, list) and step < len(document):
            document = document[step]
        elif isinstance(step, str) and isinstance(document, Mapping):
            if step not in document:
                return number == len(path) - 1
            document = document[step]
        else:
            return False
    return True


def layers(request: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The objects whose members are parameters."""
    yield request
    for name in ("params", "extra_params", "extra_body"):
        if isinstance(inner := request.get(name), Mapping):
            yield from layers(inner)


def assert_refused(failure: Failure, request: Mapping[str, object]) -> None:
    error = failure.error
    assert error.get("status_code") == http_status(error) == 400
    assert error["is_bifrost_error"] is False
    detail = error["error"]
    assert detail["message"].strip()
    assert detail.get("type") == "invalid_request_error"
    param = detail.get("param")
    assert isinstance(param, str), detail
    path = steps(param)
    named = {"model", "messages", "params"}
    inside = [{**layer, "messages": layer.get("input", layer.get("messages"))} for layer in layers(request)]
    assert any(found(layer, path) and (path[0] in layer or path[0] in named) for layer in inside), param
    json.loads(encoded(error))


def plan_properties(request: Mapping[str, object], call: Call) -> None:
    before = copy.deepcopy(request)
    plan = chat.plan(request, call)
    assert same(request, before)
    assert chat.plan(copy.deepcopy(before), call) == plan
    if isinstance(plan, Failure):
        assert_refused(plan, request)
        return
    assert (plan.method, plan.path) == ("POST", call.path or "/v1/chat/completions")
    body = body_of(plan)
    assert list(body)[:2] == ["model", "messages"]
    assert isinstance(body["model"], str)
    assert isinstance(body["messages"], list)
    assert body["messages"]
    assert not {"max_tokens", "max_completion_tokens"} <= set(body)
    assert not {"reasoning", "reasoning_max_tokens", "reasoning_display", *OPENAI_ONLY} & set(body)
    assert all(value is not None for value in body.values())
    assert body.get("tools") != []
    assert body.get("tool_choice") != "any"
    if call.request_type == "chat_completion_stream":
        assert body["stream"] is True
        options = body["stream_options"]
        assert isinstance(options, dict)
        assert options["include_usage"] is True
    else:
        assert not {"stream", "stream_options"} & set(body)


@given(some.json_objects | some.flat_requests() | some.anything_as_request)
def test_any_object_becomes_a_request_or_a_refusal_and_stays_as_it_was(flat: dict[str, object]) -> None:
    before = copy.deepcopy(flat)
    request = chat.from_flat(flat)
    assert same(flat, before)
    assert same(chat.from_flat(before), request)
    if isinstance(request, Failure):
        assert_refused(request, flat)
    else:
        assert isinstance(request["model"], str)
        assert request["provider"] in {"", "vllm"}
        json.loads(encoded(request))


@given(some.anything_as_request | some.json_objects, CALLS)
@example({"model": "m", "input": [{}], "params": {"reasoning_max_tokens": "x"}}, UNARY)
@example({"model": "m", "input": [{"role": "user"}], "params": {"tools": [{"type": []}]}}, UNARY)
def test_any_object_is_planned_or_refused_purely(request: dict[str, object], call: Call) -> None:
    plan_properties(request, call)


@given(some.requests(), some.calls(streaming=False) | some.calls(streaming=True))
def test_a_request_is_planned_or_refused_purely_with_a_place(request: dict[str, object], call: Call) -> None:
    plan_properties(request, call)


@given(some.flat_requests(), CALLS)
def test_a_flat_request_is_planned_or_refused_purely_with_a_place(
    flat: dict[str, object], call: Call
) -> None:
    plan_properties(bifrost(flat), call)


@given(some.requests(), some.python_values)
def test_a_value_that_is_no_json_is_a_refusal_or_is_sent_as_json(
    request: dict[str, object], value: object
) -> None:
    params = request.get("params")
    plan = chat.plan(
        {**request, "params": {**(params if isinstance(params, dict) else {}), "x_value": value}}, UNARY
    )
    if isinstance(plan, Plan):
        body_of(plan)
    else:
        assert plan.error["error"].get("param"), plan.error


@given(some.flat_requests(), some.texts, some.json_values, CALLS)
def test_an_unknown_parameter_is_forwarded_verbatim(
    flat: dict[str, object], name: str, value: object, call: Call
) -> None:
    assume(name not in RULED and value is not None)
    body = sent(bifrost({**flat, name: value, "extra_body": None}), call)
    assert same(body[name], wire(value))


@given(some.finite_values, some.finite_values, some.finite_values)
def test_of_a_parameter_that_is_given_twice_the_explicit_one_wins(a: object, b: object, c: object) -> None:
    assume(a is not None and b is not None and c is not None)
    flat = {"model": "m", "messages": [{"role": "user"}], "top_z": a, "extra_body": {"top_z": b, "top_y": c}}
    request = bifrost(flat)
    body = sent(request, UNARY)
    assert same(body["top_z"], wire(a))
    assert same(body["top_y"], wire(c))
    assert any(note["param"] == "extra_body.top_z" for note in ledger(request))


def accounted(name: str, value: object, body: Mapping[str, object], noted: Sequence[str]) -> bool:
    """Whether a member of a request was forwarded, with additions at most, or a note names it."""
    out, came = body.get(name), wire(value)
    if name in body and same(out, came):
        return True
    if (
        isinstance(out, dict)
        and isinstance(came, dict)
        and all(same(out.get(key, ...), came[key]) for key in came)
    ):
        return True
    return any(param == name or param.startswith((f"{name}.", f"{name}[")) for param in noted)


@given(some.flat_requests(wrong=False), CALLS)
@example({"model": "m", "messages": [{"role": "user"}], "reasoning": {}}, UNARY)
@example({"model": "m", "messages": [{"role": "user"}], "reasoning_max_tokens": 5}, UNARY)
def test_what_was_sent_and_the_ledger_account_for_every_member(flat: dict[str, object], call: Call) -> None:
    request = bifrost(flat)
    body = sent(request, call)
    noted = [note["param"] for note in ledger(request)]
    own = {"model", "messages", "fallbacks", "stream", "extra_body"}
    for name, value in flat.items():
        if name not in own and not (name == "stream_options" and call is STREAMED):
            assert accounted(name, value, body, noted), (name, noted)
    extra = flat.get("extra_body")
    for name, value in extra.items() if isinstance(extra, dict) else ():
        ruled = name == "stream_options" and call is STREAMED
        assert ruled or accounted(name, value, body, [*noted, *(param[11:] for param in noted)]), (
            name,
            noted,
        )


@given(some.flat_requests(wrong=False))
def test_the_ledger_names_only_what_the_client_sent(flat: dict[str, object]) -> None:
    request = bifrost(flat)
    sent(request, UNARY)
    inside = list(layers(flat))
    for note in ledger(request):
        path = steps(note["param"])
        added = note["action"] == "defaulted"
        assert any(found(layer, path[:-1] if added else path) for layer in inside), note
        assert any(path[0] in layer for layer in inside), note


@given(some.flat_requests(wrong=False), CALLS)
@example({"top_k": 1, "messages": [{}], "temperature": 0, "model": "m", "min_p": 0.5, "seed": 2}, UNARY)
def test_members_go_out_in_the_order_of_the_client(flat: dict[str, object], call: Call) -> None:
    body = sent(bifrost({name: value for name, value in flat.items() if name != "extra_body"}), call)
    kept = [name for name in flat if name in body and name not in RULED]
    assert [name for name in body if name in kept] == kept


@given(st.lists(some.tools(), min_size=1, max_size=4), CALLS)
def test_tools_go_out_byte_for_byte_but_for_what_other_vendors_added(tools: list[object], call: Call) -> None:
    request = {"model": "m", "input": [{"role": "user"}], "params": {"tools": tools, "tool_choice": "auto"}}
    body = sent(request, call)
    kept = [
        tool
        for tool in tools
        if not (
            isinstance(tool, dict) and "function" not in tool and tool.get("type", "function") != "function"
        )
    ]
    out = body.get("tools", [])
    assert isinstance(out, list)
    assert ("tool_choice" in body) == bool(out)
    if len(kept) == len(out):
        for tool, original in zip(out, kept, strict=True):
            if isinstance(original, dict) and isinstance(function := original.get("function"), dict):
                cleaned = {name: value for name, value in function.items() if name not in FOREIGN}
                original = {  # noqa: PLW2901
                    name: cleaned if name == "function" else value
                    for name, value in original.items()
                    if name not in FOREIGN
                }
            assert same(tool, wire(original))
    else:
        assert any(isinstance(tool, dict) for tool in tools)


@given(some.finite_values, CALLS)
def test_a_response_format_goes_out_byte_for_byte(schema: object, call: Call) -> None:
    chosen = {"type": "json_schema", "json_schema": {"schema": schema, "name": "s", "cache_control": None}}
    plan = chat.plan({"model": "m", "input": [{"role": "user"}], "params": {"response_format": chosen}}, call)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert b'"response_format":%b' % encoded(chosen) in plan.body.data


@given(some.histories)
def test_messages_keep_all_that_no_rule_touches(history: list[dict[str, object]]) -> None:
    request = {"model": "m", "input": history}
    body = sent(request, UNARY)
    out = body["messages"]
    assert isinstance(out, list)
    noted = [note["param"] for note in ledger(request)]
    assert len(out) == len(history)
    for index, (message, original) in enumerate(zip(out, wire(history), strict=True)):
        assert isinstance(original, dict)
        place = f"messages[{index}]"
        for name, value in original.items():
            told = any(param.startswith(f"{place}.{name}") for param in noted)
            assert told or same(message.get(name, ...), value), (name, noted)
        kept = [name for name in original if name in message]
        assert [name for name in message if name in kept] == kept
        assert set(message) - set(original) <= {"reasoning", "reasoning_content"}
        if not any(param.startswith(place) for param in noted):
            assert same(message, original)


@given(some.histories)
def test_thoughts_go_out_under_both_names_or_not_at_all(history: list[dict[str, object]]) -> None:
    for message in sent({"model": "m", "input": history}, UNARY)["messages"]:
        texts = [
            message[name] for name in ("reasoning", "reasoning_content") if isinstance(message.get(name), str)
        ]
        if message.get("role") == "assistant":
            assert len(texts) in {0, 2}
            assert len(set(texts)) <= 1
            assert "reasoning_details" not in message


@given(some.histories)
def test_arguments_of_a_remembered_call_are_never_an_object(history: list[dict[str, object]]) -> None:
    for message in sent({"model": "m", "input": history}, UNARY)["messages"]:
        for call in message.get("tool_calls") or ():
            if message["role"] == "assistant" and isinstance(call, dict):
                assert not isinstance(call.get("function", {}).get("arguments"), dict)


class _LooksCloser:
    """In the place of a table: nothing is beside it."""

    def isdisjoint(self, _others: object) -> bool:
        return False


@given(some.requests(), some.calls(streaming=False) | some.calls(streaming=True))
def test_what_goes_through_without_a_closer_look_would_not_be_changed_by_one(
    request: dict[str, object], call: Call
) -> None:
    plan, notes = chat.plan(request, call), chat.noted(request, call)
    with (
        mock.patch.object(messages, "_PLAIN", frozenset()),
        mock.patch.object(messages, "_goes_as_it_is", return_value=False),
        mock.patch.object(parameters, "go_as_they_are", return_value=False),
        mock.patch.object(parameters, "_FOREIGN", _LooksCloser()),
    ):
        assert repr(chat.plan(request, call)) == repr(plan)
        assert chat.noted(request, call) == notes
