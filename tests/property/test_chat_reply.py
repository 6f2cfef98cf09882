"""translate.chat.parse, for any reply."""

import copy
import json
from collections.abc import Mapping

from hypothesis import example, given
from hypothesis import strategies as st

from tests import strategies as some
from tests.property.judgement import assert_well_formed, same, wire
from translate import chat
from translate.plan import Call, Failure
from transports.base import Cut, Reply

REQUEST: Mapping[str, object] = {
    "provider": "vllm",
    "model": "m",
    "input": [{"role": "user", "content": "hi"}],
}
UNARY = Call("chat_completion")


def assert_sound_call(call: object, index: int) -> None:
    assert isinstance(call, dict)
    assert call["index"] == index
    assert call["id"]
    assert call["type"]
    if "function" in call:
        assert isinstance(call["function"]["arguments"], str)
        assert "name" in call["function"]
    else:
        assert "custom" in call


def assert_answer(answer: object) -> None:
    assert isinstance(answer, dict)
    choices = answer["choices"]
    assert choices
    for choice in choices:
        assert isinstance(choice["index"], int)
        message = choice["message"]
        assert message["role"]
        assert "content" in message
        assert None not in [value for name, value in message.items() if name != "content"]
        assert None not in [
            value for name, value in choice.items() if name not in {"finish_reason", "logprobs"}
        ]
        assert message.get("tool_calls") != []
        for index, call in enumerate(message.get("tool_calls", ())):
            assert_sound_call(call, index)
        if choice["finish_reason"] == "tool_calls":
            assert message["tool_calls"]
        if isinstance(message.get("reasoning"), str) and message["reasoning"]:
            assert message["reasoning"] == message["reasoning_content"]
            assert message["reasoning_details"]
    assert answer.get("usage") != {}
    fields = answer["extra_fields"]
    assert fields["request_type"] == "chat_completion"
    assert fields["chunk_index"] == 0
    assert fields.get("translation_notes") != []


@given(some.requests(), some.replies(), some.calls(streaming=False))
@example(dict(REQUEST), Reply(200, {}, b'{"choices":[null]}'), UNARY)
def test_any_reply_is_an_answer_or_a_well_formed_failure_purely(
    request: dict[str, object], reply: Reply, call: Call
) -> None:
    before, reply_before = copy.deepcopy(request), copy.deepcopy(reply)
    outcome = chat.parse(request, reply, 7, call)
    assert same(request, before)
    assert reply == reply_before
    assert repr(chat.parse(before, reply_before, 7, call)) == repr(outcome)
    if isinstance(outcome, Failure):
        assert_well_formed(outcome.error)
    else:
        assert reply.status == 200
        assert reply.cut is None
        assert_answer(wire(outcome))


@given(some.bodies(), some.cuts, some.statuses)
def test_only_a_whole_reply_with_status_200_is_an_answer(body: bytes, cut: Cut | None, status: int) -> None:
    outcome = chat.parse(REQUEST, Reply(status, {}, body, 0, cut), 0, UNARY)
    if cut is not None or status != 200:
        assert isinstance(outcome, Failure)
    if isinstance(outcome, Failure) and cut is None and 400 <= status <= 599:
        assert outcome.error.get("status_code") == status


@given(st.sampled_from(some.ERROR_BODIES), st.sampled_from(some.HEADERS))
def test_an_error_inside_http_200_is_never_an_answer(body: bytes, headers: Mapping[str, str]) -> None:
    outcome = chat.parse(REQUEST, Reply(200, headers, body), 0, UNARY)
    assert isinstance(outcome, Failure)
    assert_well_formed(outcome.error)


_NAMES = st.sampled_from(
    ["kv_transfer_params", "metrics", "x_vendor", "prompt_logprobs", "error_count", "détail"]
)
_UNKNOWN = st.dictionaries(_NAMES, some.finite_values, max_size=3)


@given(_UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)
def test_unknown_fields_survive_where_they_were_unless_null(
    top: dict[str, object],
    choice: dict[str, object],
    message: dict[str, object],
    call: dict[str, object],
    function: dict[str, object],
) -> None:
    body = {
        **top,
        "choices": [
            {
                **choice,
                "message": {
                    **message,
                    "tool_calls": [
                        {**call, "id": "a", "function": {**function, "name": "f", "arguments": "{}"}}
                    ],
                },
            }
        ],
    }
    outcome = chat.parse(REQUEST, Reply(200, {}, some.dumped(body)), 0, UNARY)
    assert not isinstance(outcome, Failure)
    answer = wire(outcome)
    out_choice = answer["choices"][0]
    out_call = out_choice["message"]["tool_calls"][0]
    for given_here, found in (
        (top, answer),
        (choice, out_choice),
        (message, out_choice["message"]),
        (call, out_call),
        (function, out_call["function"]),
    ):
        for name, value in given_here.items():
            assert same(found.get(name), wire(value)) if value is not None else name not in found


@given(st.data(), some.conversations)
def test_an_answer_says_what_the_model_said(data: st.DataObject, said: some.Conversation) -> None:
    document = data.draw(some.unary_documents(said))
    outcome = chat.parse(REQUEST, Reply(200, {}, some.dumped(document)), 0, UNARY)
    assert not isinstance(outcome, Failure)
    answer = wire(outcome)
    assert_answer(answer)
    assert len(answer["choices"]) == len(said.answers)
    for choice, truth in zip(answer["choices"], said.answers, strict=True):
        message = choice["message"]
        assert (message["content"] or "") == "".join(truth.content)
        assert message.get("reasoning", "") == "".join(truth.reasoning)
        assert message.get("reasoning_content", "") == "".join(truth.reasoning)
        assert [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ] == [(call.id, call.name, call.arguments) for call in truth.calls]
        repaired = truth.finish_reason == "tool_calls" and not truth.calls
        assert choice["finish_reason"] == ("stop" if repaired else truth.finish_reason)
        assert choice.get("stop_reason") == truth.stop_reason
        assert (choice["logprobs"] is not None) == truth.with_logprobs
    assert ("usage" in answer) == (said.usage is not None)
    for name, value in said.more.items():
        assert answer[name] == value


@given(some.replies(), st.binary(max_size=6))
def test_a_key_that_a_server_echoes_is_blotted_out(reply: Reply, noise: bytes) -> None:
    secret = b"sk-0123456789abcdef"
    for body in (
        b'{"error":{"message":"bad key Bearer %b","code":401}}' % secret,
        b'{"detail":"%b"}' % secret,
        b"<html><body>Authorization: Bearer %b</body></html>" % secret,
        noise + b" " + secret,
    ):
        outcome = chat.parse(REQUEST, reply._replace(body=body), 0, UNARY)
        if isinstance(outcome, Failure):
            assert secret.decode() not in json.dumps(wire(outcome.error))
