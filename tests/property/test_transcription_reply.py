"""translate.transcriptions.parse, for any reply."""

import copy
import json
from collections.abc import Mapping

from hypothesis import example, given
from hypothesis import strategies as st

from tests import strategies as some
from tests import transcripts
from tests.property.judgement import assert_well_formed, same, wire
from translate import transcriptions
from translate.plan import Call, Failure
from transports.base import Reply

UNARY = Call("transcription")
replies = st.builds(
    Reply,
    some.statuses,
    st.sampled_from(transcripts.CONTENT_TYPES),
    transcripts.bodies(),
    st.integers(0, 9),
    some.cuts,
)


def request(response_format: str = "json") -> Mapping[str, object]:
    source = {"file": b"RIFF", "filename": "a.wav"}
    return {
        "provider": "vllm",
        "model": "m",
        "input": source,
        "params": {"response_format": response_format},
    }


@given(
    transcripts.requests() | st.sampled_from(["text", "vtt"]).map(request),
    replies,
    transcripts.calls(["transcription"]),
)
@example(request("text"), Reply(200, {"content-type": "application/json"}, b'"\\ud800"'), UNARY)
def test_any_reply_is_an_answer_or_a_well_formed_failure_purely(
    asked: Mapping[str, object], reply: Reply, call: Call
) -> None:
    before, reply_before = repr(asked), copy.deepcopy(reply)
    outcome = transcriptions.parse(asked, reply, 7, call)
    assert repr(asked) == before
    assert reply == reply_before
    assert repr(transcriptions.parse(asked, reply, 7, call)) == repr(outcome)
    if isinstance(outcome, Failure):
        assert_well_formed(outcome.error)
        return
    assert (reply.status, reply.cut) == (200, None)
    answer = wire(outcome)
    assert isinstance(answer["text"], str)
    assert None not in answer.values()
    assert answer.get("usage") != {}
    assert answer["extra_fields"]["request_type"] == "transcription"
    assert answer["extra_fields"].get("translation_notes") != []


@given(st.sampled_from(some.ERROR_BODIES), st.sampled_from(["json", "verbose_json"]))
def test_an_error_inside_http_200_is_never_an_answer(body: bytes, response_format: str) -> None:
    reply = Reply(200, {"content-type": "application/json"}, body)
    assert isinstance(transcriptions.parse(request(response_format), reply, 0, UNARY), Failure)


_HANDLED = {"text", "usage", "duration", "extra_fields", "error", "object"}


@given(
    st.dictionaries(some.sane_texts.filter(lambda name: name not in _HANDLED), some.finite_values, max_size=4)
)
def test_unknown_fields_come_out_as_they_were(unknown: dict[str, object]) -> None:
    body = json.dumps({**unknown, "text": "a"}).encode()
    outcome = transcriptions.parse(request(), Reply(200, {}, body), 0, UNARY)
    assert not isinstance(outcome, Failure)
    answer = wire(outcome)
    answer.pop("extra_fields")
    expected = {name: value for name, value in json.loads(body).items() if value is not None}
    assert same(answer, expected)


@given(some.sane_texts.filter(lambda text: text.strip()), st.sampled_from(["text", "srt", "vtt"]))
def test_a_plain_text_comes_out_as_it_is(text: str, response_format: str) -> None:
    reply = Reply(200, {"content-type": "text/plain; charset=utf-8"}, text.encode())
    outcome = transcriptions.parse(request(response_format), reply, 0, UNARY)
    if text == '{"a": 1}':  # a JSON object is no transcript
        assert isinstance(outcome, Failure)
    else:
        assert not isinstance(outcome, Failure)
        assert outcome["text"] == text
