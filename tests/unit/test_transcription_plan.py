"""What a transcription request becomes on the wire, and what the ledger says of it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.forms import Part, parts_of_plan
from translate import (
    OPERATIONS,
    Call,
    Failure,
    Plan,
    TranscriptionRequest,
    documents,
    explained,
    transcriptions,
)
from transports.base import Reply, whole

AUDIO: Mapping[str, object] = {"file": b"RIFF", "filename": "a.wav", "content_type": "audio/wav"}
CALL = Call("transcription")
STREAM = Call("transcription_stream")
FILE = Part("file", b"RIFF", "a.wav", "audio/wav")
MODEL = Part("model", b"org/m")


def request(params: object = None, source: object = AUDIO, **more: object) -> dict[str, object]:
    return {"provider": "vllm", "model": "org/m", "input": source, "params": params, **more}


def sent(asked: Mapping[str, object], call: Call = CALL) -> list[Part]:
    return parts_of_plan(transcriptions.plan(asked, call))


def fields(params: object, call: Call = CALL) -> list[tuple[str, str]]:
    """The fields that parameters become, in order."""
    first, *between, last = sent(request(params), call)
    assert (first, last) == (MODEL, FILE)
    assert [(part.filename, part.content_type) for part in between] == [(None, None)] * len(between)
    return [(part.name, part.value.decode()) for part in between]


def notes(asked: Mapping[str, object], call: Call = CALL) -> list[tuple[str, str, str]]:
    answer: Any = transcriptions.parse(asked, Reply(200, {}, b'{"text":""}'), 0, call)
    listed = answer["extra_fields"].get("translation_notes", [])
    return [(note["param"], note["action"], note["detail"]) for note in listed]


def test_a_plain_request_is_a_form() -> None:
    plan = transcriptions.plan(request(), CALL)
    assert not isinstance(plan, Failure)
    assert (plan.method, plan.path) == ("POST", "/v1/audio/transcriptions")
    assert parts_of_plan(plan) == [MODEL, FILE]
    assert notes(request()) == []


def test_a_path_can_be_given() -> None:
    plan = transcriptions.plan(request(), Call("transcription", path="/x"))
    assert not isinstance(plan, Failure)
    assert plan.path == "/x"


def test_a_model_may_carry_its_provider() -> None:
    asked = {"model": "vllm/org/m", "input": AUDIO}
    assert sent(asked) == [MODEL, FILE]


FIELDS: dict[str, tuple[dict[str, object], list[tuple[str, str]]]] = {
    "texts": ({"language": "de", "prompt": 'Grüße\r\n"', "x": ""}, [("language", "de"), ("prompt", 'Grüße\r\n"'), ("x", "")]),
    "the client's order": ({"z": "1", "a": "2", "response_format": "text"}, [("z", "1"), ("a", "2"), ("response_format", "text")]),
    "booleans": ({"a": True, "b": False}, [("a", "true"), ("b", "false")]),
    "numbers": (
        {"temperature": 0.0, "a": 0, "b": -12, "c": 0.1, "d": 2**70, "e": 1.0},
        [("temperature", "0.0"), ("a", "0"), ("b", "-12"), ("c", "0.1"), ("d", str(2**70)), ("e", "1.0")],
    ),
    "numbers that Python prints with an exponent": (
        {"a": 1e-05, "b": 1e22, "c": -2.5e-07, "d": 5e-324},
        [("a", "0.00001"), ("b", "1" + "0" * 22), ("c", "-0.00000025"), ("d", "0." + "0" * 323 + "5")],
    ),
    "numbers as the client spelled them": (
        {"a": documents.decode(b"1E5"), "b": documents.decode(b"0.50"), "c": documents.decode(b"1e-5")},
        [("a", "1E5"), ("b", "0.50"), ("c", "1e-5")],
    ),
    "a list": ({"x": ["a", 1, True, 0.5]}, [("x", "a"), ("x", "1"), ("x", "true"), ("x", "0.5")]),
    "lists that OpenAI spells with brackets": (
        {"timestamp_granularities": ["word", "segment"], "include": ["logprobs"], "known_speaker_names": ("a", "b")},
        [
            ("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"), ("include[]", "logprobs"),
            ("known_speaker_names[]", "a"), ("known_speaker_names[]", "b"),
        ],
    ),
    "brackets that the client wrote": (
        {"timestamp_granularities[]": ["word", "segment"], "include[]": "logprobs"},
        [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"), ("include[]", "logprobs")],
    ),
    "one value in place of a list": ({"timestamp_granularities": "word"}, [("timestamp_granularities[]", "word")]),
    "objects": (
        {"chunking_strategy": {"type": "server_vad", "b": [1.50, None]}, "x": [{"a": 1}, ["b"]]},
        [("chunking_strategy", '{"type":"server_vad","b":[1.5,null]}'), ("x", '{"a":1}'), ("x", '["b"]')],
    ),
    "extra_params over params": (
        {"top_k": 1, "extra_params": {"vllm_xargs": {"a": 1}, "top_k": 2}, "seed": 5},
        [("top_k", "2"), ("seed", "5"), ("vllm_xargs", '{"a":1}')],
    ),
    "extra_body under params": ({"extra_body": {"top_k": 1, "seed": 2}, "seed": 5}, [("seed", "5"), ("top_k", "1")]),
    "nothing to say": ({"a": None, "b": [], "c": [None, "x"], "d": float("inf"), "e": [float("nan")]}, [("c", "x")]),
    "what the request says itself": ({"model": "x", "file": "y", "stream": True, "a": "1"}, [("a", "1")]),
    "an empty response_format": ({"response_format": ""}, []),
    "stream options without a stream": (
        {"stream_options": {"include_usage": True}, "stream_include_usage": True, "stream_continuous_usage_stats": False},
        [],
    ),
    "a field that only looks like one": ({"stream_other": "1"}, [("stream_other", "1")]),
}  # fmt: skip


@pytest.mark.parametrize(("params", "expected"), FIELDS.values(), ids=FIELDS)
def test_parameters_become_fields(params: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert fields(params) == expected


STREAM_FIELDS: dict[str, tuple[dict[str, object], list[tuple[str, str]]]] = {
    "nothing asked": ({}, []),
    "other fields first": ({"stream_options": {}, "language": "de"}, [("language", "de")]),
    "usage refused": ({"stream_options": {"include_usage": False}}, []),
    "usage refused flatly": ({"stream_include_usage": "false"}, []),
}


@pytest.mark.parametrize(("params", "expected"), STREAM_FIELDS.values(), ids=STREAM_FIELDS)
def test_a_stream_is_asked_for_its_usage(params: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert fields(params, STREAM) == [*expected, ("stream", "true"), ("stream_include_usage", "true")]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"stream_options": {"continuous_usage_stats": True}}, "true"),
        ({"stream_options": '{"include_usage": true, "continuous_usage_stats": true}'}, "true"),
        ({"stream_continuous_usage_stats": True}, "true"),
        ({"stream_continuous_usage_stats": "1"}, "1"),
        (
            {"stream_options": {"continuous_usage_stats": True}, "stream_continuous_usage_stats": False},
            "false",
        ),
    ],
)
def test_continuous_usage_is_a_field_of_its_own(params: dict[str, object], expected: str) -> None:
    assert fields(params, STREAM) == [
        ("stream", "true"),
        ("stream_include_usage", "true"),
        ("stream_continuous_usage_stats", expected),
    ]


def test_other_stream_options_become_fields_in_the_same_way() -> None:
    params = {"stream_options": {"x": 1, "include_usage": True, "y": None}}
    assert fields(params, STREAM) == [("stream", "true"), ("stream_include_usage", "true"), ("stream_x", "1")]


NOTES: dict[str, tuple[Call, dict[str, object], list[tuple[str, str, str]]]] = {
    "what is renamed": (
        CALL,
        {"timestamp_granularities": ["word"], "include[]": ["logprobs"]},
        [("timestamp_granularities", "renamed", "timestamp_granularities[]")],
    ),
    "what is dropped": (
        CALL,
        {"model": "x", "file": "y", "stream": True, "response_format": "", "a": None, "b": [], "c": ["x", None]},
        [
            ("a", "dropped", "null"),
            ("model", "dropped", "the request itself names it"),
            ("file", "dropped", "the request itself holds it"),
            ("stream", "dropped", "the operation decides it"),
            ("response_format", "dropped", "empty"),
            ("b", "dropped", "an empty list, for which a form has no spelling"),
            ("c[1]", "dropped", "null"),
        ],
    ),
    "numbers that are none": (
        CALL,
        {"a": float("nan"), "b": [float("inf")]},
        [
            ("a", "dropped", "not a finite number, for which JSON has no spelling"),
            ("b[0]", "dropped", "not a finite number"),
        ],
    ),
    "stream options without a stream": (
        CALL,
        {"stream_options": {}, "stream_include_usage": "true"},
        [
            ("stream_options", "dropped", "the answer is not streamed"),
            ("stream_include_usage", "dropped", "the answer is not streamed"),
        ],
    ),
    "stream options": (
        STREAM,
        {"stream_options": {"include_usage": False, "continuous_usage_stats": True}},
        [
            ("stream_options.include_usage", "renamed", "stream_include_usage"),
            ("stream_options.continuous_usage_stats", "renamed", "stream_continuous_usage_stats"),
            ("stream_include_usage", "converted", "true: the final event carries usage"),
        ],
    ),
    "stream options twice": (
        STREAM,
        {"stream_options": {"continuous_usage_stats": True}, "stream_continuous_usage_stats": False},
        [("stream_options.continuous_usage_stats", "dropped", "stream_continuous_usage_stats is set")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "params", "expected"), NOTES.values(), ids=NOTES)
def test_what_was_changed_is_noted(
    call: Call, params: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    assert notes(request(params), call) == expected


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF\x24\x00\x0a\x00WAVEfmt ", "audio.wav"),
        (b"RIFF\x24\x00\x00\x00AVI ", "audio.mp3"),
        (b"ID3\x04", "audio.mp3"),
        (b"\xff\xfb\x90", "audio.mp3"),
        (b"\xff\xf3\x40", "audio.mp3"),
        (b"fLaC\x00", "audio.flac"),
        (b"OggS\x00", "audio.ogg"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio.m4a"),
        (b"\x1a\x45\xdf\xa3\x01", "audio.webm"),
        (b"?", "audio.mp3"),
    ],
)
def test_a_file_without_a_name_is_called_by_how_it_begins(data: bytes, name: str) -> None:
    asked = request(source={"file": data})
    assert sent(asked) == [MODEL, Part("file", data, name, "application/octet-stream")]
    assert notes(asked) == [("file.filename", "defaulted", name)]
    assert sent(request(source={"file": data, "filename": "", "content_type": None})) == sent(asked)


def test_a_name_that_was_given_is_kept() -> None:
    source = {"file": b"OggS", "filename": 'rec"\r\n.wav', "content_type": "audio/x; y=z"}
    assert sent(request(source=source)) == [MODEL, Part("file", b"OggS", "rec%22%0D%0A.wav", "audio/x; y=z")]


BAD: dict[str, tuple[Call, dict[str, object], str, str | None]] = {
    "no model": (CALL, {"input": AUDIO}, "model is required", "model"),
    "a blank model": (CALL, {"model": " ", "input": AUDIO}, "model is required", "model"),
    "no file": (CALL, {"model": "m"}, "file is required", "file"),
    "no bytes": (CALL, request(source={"filename": "a"}), "file is required", "file"),
    "an empty file": (CALL, request(source={"file": b""}), "file is required", "file"),
    "a file that is a text": (CALL, request(source="RIFF"), "file must be an object that holds the bytes", "file"),
    "bytes that are text": (CALL, request(source={"file": "RIFF"}), "file must hold bytes", "file"),
    "a name that is none": (
        CALL, request(source={**AUDIO, "filename": 5}), "the name of the file must be text", "file.filename",
    ),
    "a name that UTF-8 cannot hold": (
        CALL, request(source={**AUDIO, "filename": "\ud83d"}), "the name of the file must be text", "file.filename",
    ),
    "a type with a line end": (
        CALL, request(source={**AUDIO, "content_type": "a/b\r\nX: y"}),
        "the content type of the file must be text on one line", "file.content_type",
    ),
    "params that are none": (CALL, request([]), "params must be an object", "params"),
    "extra_body as text": (
        CALL, request({"extra_body": "{}"}), "extra_body must be an object, got text", "extra_body",
    ),
    "half a surrogate pair": (
        CALL, request({"prompt": "\ud83d"}), "prompt cannot be sent: half of a surrogate pair is not text", "prompt",
    ),
    "half a surrogate pair in a list": (
        CALL, request({"x": ["", "\ud83d"]}), "x[1] cannot be sent: half of a surrogate pair is not text", "x[1]",
    ),
    "half a surrogate pair in a name": (CALL, request({"\ud83d": "1"}), "the name of a field must be text", "params"),
    "a name that is a number": (CALL, request({1: "1"}), "the name of a field must be text", "params"),
    "what is not JSON": (CALL, request({"x": {1}}), "x cannot be sent: a value of type set is not JSON", "x"),
    "bytes": (CALL, request({"x": b"1"}), "x cannot be sent: a value of type bytes is not JSON", "x"),
    "an object that is not JSON": (
        CALL, request({"x": {"a": ...}}), "x cannot be sent: a value of type ellipsis is not JSON", "x",
    ),
    "verbose_json on a stream": (
        STREAM, request({"response_format": "verbose_json"}),
        "response_format verbose_json cannot be streamed", "response_format",
    ),
    "stream options that are none": (
        STREAM, request({"stream_options": [1]}), "stream_options must be an object", "stream_options",
    ),
    "stream options that are no JSON": (
        STREAM, request({"stream_options": "{"}), "stream_options must be an object", "stream_options",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "asked", "message", "param"), BAD.values(), ids=BAD)
def test_a_request_that_cannot_be_sent_says_where(
    call: Call, asked: dict[str, object], message: str, param: str
) -> None:
    outcome = transcriptions.plan(asked, call)
    assert isinstance(outcome, Failure)
    error = dict(outcome.error)
    fields: Any = error.pop("extra_fields")
    assert error == {
        "is_bifrost_error": False,
        "error": {"message": message, "type": "invalid_request_error", "param": param},
        "status_code": 400,
    }
    assert (fields["request_type"], fields["provider"]) == (call.request_type, "vllm")


FLAT: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "a form": (
        {"model": "vllm/org/m", "language": "de", "file": AUDIO, "x[]": ["1", "2"], "stream": True},
        {"provider": "vllm", "model": "org/m", "input": AUDIO, "params": {"language": "de", "x[]": ["1", "2"]}},
    ),
    "a model alone": ({"model": "m"}, {"provider": "", "model": "m"}),
    "names that mean something elsewhere": (
        {"model": "m", "extra_params": "1", "input": "2", "params": "3"},
        {
            "provider": "", "model": "m",
            "params": {"extra_params": {"extra_params": "1"}, "input": "2", "params": "3"},
        },
    ),
    "fallbacks as JSON": (
        {"model": "m", "fallbacks": '["vllm/a",{"provider":"vllm","model":"b"}]'},
        {"provider": "", "model": "m", "fallbacks": ["vllm/a", {"provider": "vllm", "model": "b"}]},
    ),
    "a fallback": ({"model": "m", "fallbacks": "vllm/a"}, {"provider": "", "model": "m", "fallbacks": ["vllm/a"]}),
    "a fallback that is no text": (
        {"model": "m", "fallbacks": "[\ud83d"}, {"provider": "", "model": "m", "fallbacks": ["[\ud83d"]},
    ),
    "fallbacks": (
        {"model": "m", "fallbacks": ["vllm/a", "b"]},
        {"provider": "", "model": "m", "fallbacks": ["vllm/a", "b"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("flat", "expected"), FLAT.values(), ids=FLAT)
def test_a_form_is_taken_apart(flat: dict[str, object], expected: dict[str, object]) -> None:
    assert transcriptions.from_flat(flat) == expected


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({}, "model is required"),
        ({"model": ["a", "b"]}, "model must be text"),
        ({"model": "vllm/"}, "model is required"),
    ],
)
def test_a_form_without_a_model_is_refused(flat: dict[str, object], message: str) -> None:
    outcome = transcriptions.from_flat(flat)
    assert isinstance(outcome, Failure)
    assert outcome.error["error"] == {"message": message, "type": "invalid_request_error", "param": "model"}


def test_a_typed_request_is_a_request() -> None:
    asked: TranscriptionRequest = {"model": "org/m", "input": {"file": b"RIFF"}, "params": {"language": "de"}}
    assert [part.name for part in sent(asked)] == ["model", "language", "file"]


def test_a_form_can_be_explained() -> None:
    asked = request({"include": ["logprobs"]})
    plan = transcriptions.plan(asked, CALL)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert explained(OPERATIONS["transcription"], asked, CALL) == {
        "method": "POST",
        "path": "/v1/audio/transcriptions",
        "content_type": plan.body.content_type,
        "body": whole(plan.body).decode(),
        "translation_notes": [{"param": "include", "action": "renamed", "detail": "include[]"}],
    }
