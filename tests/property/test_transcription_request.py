"""translate.transcriptions, from a client's request to what is sent, for any request."""

import copy
import json
from collections.abc import Mapping

from hypothesis import assume, given
from hypothesis import strategies as st

from tests import strategies as some
from tests import transcripts
from tests.forms import Part, parts_of_plan
from tests.property.judgement import assert_well_formed, same, wire
from translate import transcriptions
from translate.errors import http_status
from translate.plan import Call, Failure, Plan
from transports.base import Reply

UNARY = Call("transcription")
STREAMED = Call("transcription_stream")
FILE: Mapping[str, object] = {"file": b"RIFF", "filename": "a.wav", "content_type": "audio/wav"}
# Independent lists, on purpose: what is meant, not what the code has.
RULED = {
    "model", "file", "stream", "stream_options", "stream_include_usage", "stream_continuous_usage_stats", "fallbacks",
    "extra_body", "extra_params", "response_format", "timestamp_granularities", "include", "known_speaker_names",
    "known_speaker_references",
}  # fmt: skip


@given(transcripts.requests() | some.anything_as_request, transcripts.calls())
def test_any_request_is_a_form_or_a_well_formed_failure_purely(
    request: dict[str, object], call: Call
) -> None:
    before = repr(request)
    outcome = transcriptions.plan(request, call)
    assert repr(request) == before
    assert transcriptions.plan(request, call) == outcome
    if isinstance(outcome, Failure):
        assert_well_formed(outcome.error)
        assert http_status(outcome.error) == 400
        return
    assert (outcome.method, outcome.path) == ("POST", call.path or transcriptions.PATH)
    first, *_, last = parts_of_plan(outcome)
    assert (first.name, last.name) == ("model", "file")
    assert last.value
    assert last.filename
    assert last.content_type


@given(some.json_objects | st.dictionaries(st.sampled_from(["model", "file", "fallbacks"]), some.json_values))
def test_any_form_is_a_request_or_a_well_formed_failure_purely(flat: dict[str, object]) -> None:
    before = copy.deepcopy(flat)
    outcome = transcriptions.from_flat(flat)
    assert same(flat, before)
    if isinstance(outcome, Failure):
        assert http_status(outcome.error) == 400
        wire(outcome.error)
    else:
        assert isinstance(transcriptions.plan(outcome, UNARY), Plan | Failure)


texts = some.sane_texts
names = texts.filter(lambda name: name not in RULED and not any(mark in name for mark in '"\r\n'))
forms = st.dictionaries(names, texts | st.lists(texts, min_size=2, max_size=3), max_size=4)


@given(forms, st.booleans())
def test_every_field_of_a_form_is_sent_in_its_place_as_it_came(
    form: dict[str, str | list[str]], streaming: bool
) -> None:
    request = transcriptions.from_flat({**form, "model": "vllm/org/m", "stream": streaming, "file": FILE})
    assert not isinstance(request, Failure)
    parts = parts_of_plan(transcriptions.plan(request, STREAMED if streaming else UNARY))
    expected = [
        Part(name, value.encode())
        for name, given_values in form.items()
        for value in ([given_values] if isinstance(given_values, str) else given_values)
    ]
    if streaming:
        expected += [Part("stream", b"true"), Part("stream_include_usage", b"true")]
    assert parts == [Part("model", b"org/m"), *expected, Part("file", b"RIFF", "a.wav", "audio/wav")]


_SCALARS = st.booleans() | some.integers.filter(lambda n: abs(n) < 10**4000) | st.floats(allow_nan=False)


@given(st.dictionaries(names, _SCALARS | some.finite_values, max_size=4))
def test_what_is_no_text_is_sent_as_a_text_that_means_it(params: dict[str, object]) -> None:
    plan = transcriptions.plan({"provider": "vllm", "model": "m", "input": FILE, "params": params}, UNARY)
    assume(isinstance(plan, Plan))
    sent: dict[str, list[str]] = {}
    for part in parts_of_plan(plan)[1:-1]:
        sent.setdefault(part.name, []).append(part.value.decode(errors="surrogateescape"))
    expected = {
        name: [item for item in (value if isinstance(value, list) else [value]) if means_something(item)]
        for name, value in params.items()
    }
    assert list(sent) == [name for name, items in expected.items() if items]
    for name, said in sent.items():
        for text, item in zip(said, expected[name], strict=True):
            assert means(text, item)


def means_something(item: object) -> bool:
    return (
        item is not None and item not in {float("inf"), float("-inf")}
        if not isinstance(item, list | dict)
        else True
    )


def means(text: str, item: object) -> bool:
    if isinstance(item, str):
        return text.encode(errors="surrogateescape") == item.encode(errors="surrogateescape")
    if isinstance(item, float):
        return "e" not in text.lower() and float(text).hex() == item.hex()
    return same(json.loads(text), wire(item))


@given(transcripts.parameters(), transcripts.calls())
def test_what_is_not_sent_is_noted(params: dict[str, object], call: Call) -> None:
    request = {"provider": "vllm", "model": "m", "input": FILE, "params": params}
    plan = transcriptions.plan(request, call)
    assume(isinstance(plan, Plan))
    sent = {part.name for part in parts_of_plan(plan)}
    answer = transcriptions.parse(request, Reply(200, {}, b'{"text":"x"}'), 0, call)
    assert not isinstance(answer, Failure)
    noted = {
        note["param"].partition("[")[0].partition(".")[0]
        for note in wire(answer)["extra_fields"].get("translation_notes", [])
    }
    for name, value in params.items():
        assert {name, name.partition("[")[0]} & (sent | noted) or value == {}, name
