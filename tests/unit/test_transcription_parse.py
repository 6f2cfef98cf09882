"""What servers answer to a transcription, of several versions, and what clients get."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from translate import Call, Failure, transcriptions
from transports.base import Cut, Reply

CALL = Call("transcription")
AUDIO: Mapping[str, object] = {"file": b"RIFF", "filename": "a.wav"}
JSON: Mapping[str, str] = {"content-type": "application/json"}
PLAIN: Mapping[str, str] = {"content-type": "text/plain; charset=utf-8"}
SRT = "1\n00:00:00,000 --> 00:00:01,600\n Mary had a little lamb.\n\n"
EXTRA: Mapping[str, object] = {
    "request_type": "transcription",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "m"},
    "original_model_requested": "m",
    "resolved_model_used": "m",
    "latency": 3,
    "chunk_index": 0,
}
SEGMENT: Mapping[str, object] = {
    "id": 0, "avg_logprob": -0.023240955753458872, "compression_ratio": 0.75, "end": 1.6, "no_speech_prob": None,
    "seek": 0, "start": 0.0, "temperature": 0.0, "text": " Mary had a little lamb.", "tokens": [220, 306, 13],
}  # fmt: skip


def asked(response_format: str | None = None) -> dict[str, object]:
    params = {} if response_format is None else {"response_format": response_format}
    return {"provider": "vllm", "model": "m", "input": AUDIO, "params": params}


def parsed(reply: Reply, response_format: str | None = None, call: Call = CALL) -> Any:
    return transcriptions.parse(asked(response_format), reply, 3, call)


ANSWERS: dict[str, tuple[str | None, object, Mapping[str, object]]] = {
    "0.8.5": (None, {"text": " Mary had a little lamb."}, {"text": " Mary had a little lamb."}),
    "0.16.0": (
        "json",
        {"text": " Mary", "usage": {"type": "duration", "seconds": 2}},
        {"text": " Mary", "usage": {"type": "duration", "seconds": 2}},
    ),
    "silence": (None, {"text": "", "usage": {"type": "duration", "seconds": 1}}, {"text": "", "usage": {"type": "duration", "seconds": 1}}),
    "text, which vLLM answers as JSON": ("text", {"text": " Mary", "usage": {"type": "duration", "seconds": 2}}, {"text": " Mary", "usage": {"type": "duration", "seconds": 2}}),
    "verbose_json of 0.32.0": (
        "verbose_json",
        {"duration": 1.450875, "language": "en", "text": " Mary had a little lamb.", "segments": [SEGMENT], "words": None},
        {"duration": 1.450875, "language": "en", "text": " Mary had a little lamb.", "segments": [SEGMENT]},
    ),
    "words": (
        "verbose_json",
        {"task": "transcribe", "text": "a", "words": [{"word": "a", "start": 0.0, "end": 0.5}]},
        {"task": "transcribe", "text": "a", "words": [{"word": "a", "start": 0.0, "end": 0.5}]},
    ),
    "speakers": (
        "diarized_json",
        {"text": "a", "segments": [{"type": "transcript.text.segment", "id": "seg_0", "speaker": "A"}]},
        {"text": "a", "segments": [{"type": "transcript.text.segment", "id": "seg_0", "speaker": "A"}]},
    ),
    "usage in tokens, and logprobs": (
        None,
        {"text": "a", "logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
         "usage": {"type": "tokens", "input_tokens": 14.0, "input_token_details": {"audio_tokens": 14, "x": None}, "total_tokens": 15}},
        {"text": "a", "logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
         "usage": {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "total_tokens": 15}},
    ),
    "fields that nobody knows": (None, {"x": {"y": None}, "text": "a", "z": None, "n": []}, {"x": {"y": None}, "text": "a", "n": []}),
    "a duration that is no number": (None, {"text": "a", "duration": "long"}, {"text": "a", "duration": "long"}),
    "a duration that JSON has no spelling for": (None, {"text": "a", "duration": "nan"}, {"text": "a", "duration": "nan"}),
}  # fmt: skip


@pytest.mark.parametrize(("response_format", "said", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer(response_format: str | None, said: object, expected: Mapping[str, object]) -> None:
    outcome = parsed(Reply(200, JSON, json.dumps(said).encode()), response_format)
    assert outcome == {**expected, "extra_fields": EXTRA}


def test_a_usage_that_is_none_is_left_out_with_a_note() -> None:
    outcome = parsed(Reply(200, JSON, b'{"text":"a","usage":5}'), None)
    note = {"param": "usage", "action": "dropped", "detail": "not an object"}
    assert outcome == {"text": "a", "extra_fields": {**EXTRA, "translation_notes": [note]}}


def test_a_duration_that_is_a_text_becomes_a_number() -> None:
    outcome = parsed(Reply(200, JSON, b'{"duration":"1.450875","text":"a"}'), "verbose_json")
    note = {"param": "duration", "action": "converted", "detail": "text became a number"}
    assert outcome == {
        "duration": 1.450875,
        "text": "a",
        "extra_fields": {**EXTRA, "translation_notes": [note]},
    }


TEXTS: dict[str, tuple[str, Reply, str]] = {
    "text": ("text", Reply(200, PLAIN, b" Mary had a little lamb.\n"), " Mary had a little lamb.\n"),
    "srt": ("srt", Reply(200, {"content-type": "application/x-subrip"}, SRT.encode()), SRT),
    "vtt": ("vtt", Reply(200, {"content-type": "text/vtt"}, b"WEBVTT\n\n"), "WEBVTT\n\n"),
    "subtitles under a wrong type": ("srt", Reply(200, JSON, SRT.encode()), SRT),
    "no type": ("text", Reply(200, {}, "Grüße".encode()), "Grüße"),
    "a text that looks like JSON": ("text", Reply(200, PLAIN, b"42"), "42"),
    "a text in brackets": ("text", Reply(200, PLAIN, b"[BLANK_AUDIO]"), "[BLANK_AUDIO]"),
    "a text that looks like a page": ("text", Reply(200, PLAIN, b"you write <html> and then <body>"), "you write <html> and then <body>"),
    "a JSON text": ("text", Reply(200, JSON, b'"a\\nb"'), "a\nb"),
}  # fmt: skip


@pytest.mark.parametrize(("response_format", "reply", "text"), TEXTS.values(), ids=TEXTS)
def test_a_body_that_is_the_transcript(response_format: str, reply: Reply, text: str) -> None:
    assert parsed(reply, response_format) == {"text": text, "extra_fields": EXTRA}


def test_the_raw_answer_comes_when_it_is_asked_for() -> None:
    call = Call("transcription", raw_request=True, raw_response=True)
    assert parsed(Reply(200, JSON, b'{"text":"a","x":null}'), call=call) == {
        "text": "a",
        "extra_fields": {**EXTRA, "raw_response": {"text": "a", "x": None}},
    }
    outcome = parsed(Reply(200, PLAIN, SRT.encode()), "srt", call)
    assert outcome["extra_fields"] == {**EXTRA, "raw_response": SRT}


def bad_request(message: str, **more: object) -> dict[str, object]:
    return {"is_bifrost_error": False, "error": {"message": message, **more}, "status_code": 400}


UNREADABLE = "failed to unmarshal response from provider API"
ERRORS: dict[str, tuple[str | None, Reply, dict[str, object]]] = {
    "srt refused by 0.32.0": (
        "srt",
        Reply(400, JSON, b'{"error":{"message":"Currently only support","type":"BadRequestError","param":null,"code":400}}'),
        bad_request("Currently only support", type="BadRequestError", code="400"),
    ),
    "verbose_json refused by 0.8.5": (
        "verbose_json",
        Reply(400, JSON, b'{"object":"error","message":"Currently only","type":"BadRequestError","param":null,"code":400}'),
        bad_request("Currently only", type="BadRequestError", code="400"),
    ),
    "bad audio in 0.16.0, with HTTP 200": (
        "text",
        Reply(200, JSON, b'{"error":{"message":"Error opening","type":"BadRequestError","param":null,"code":400}}'),
        bad_request("Error opening", type="BadRequestError", code="400"),
    ),
    "bad audio in 0.8.5": (
        None,
        Reply(500, {}),
        {"is_bifrost_error": False, "error": {"message": "provider server error (500)"}, "status_code": 500},
    ),
    "a route that does not exist": (
        None,
        Reply(404, JSON, b'{"detail":"Not Found"}'),
        {"is_bifrost_error": False, "error": {"message": "Not Found"}, "status_code": 404},
    ),
    "an empty body": (
        "text",
        Reply(200, PLAIN, b" \n"),
        {"is_bifrost_error": True, "error": {"message": "empty response received from provider"}},
    ),
    "a page": (
        "text",
        Reply(200, {"content-type": "text/html"}, b"<p>Bad gateway"),
        {
            "is_bifrost_error": False,
            "error": {"message": "HTML response received from provider", "error": "<p>Bad gateway"},
            "status_code": 502,
        },
    ),
    "subtitles that nobody asked for": (
        None, Reply(200, PLAIN, b"WEBVTT"),
        {"is_bifrost_error": True, "error": {"message": UNREADABLE, "error": "Expecting value: line 1 column 1 (char 0)"}},
    ),
    "JSON that breaks off": (
        "text", Reply(200, JSON, b'{"text":"a'),
        {"is_bifrost_error": True, "error": {"message": UNREADABLE, "error": "Unterminated string starting at: line 1 column 9 (char 8)"}},
    ),
    "JSON that is no object": (
        "text", Reply(200, JSON, b"null"),
        {"is_bifrost_error": True, "error": {"message": UNREADABLE, "error": "expected an object, got null"}},
    ),
    "no text": (
        "text", Reply(200, JSON, b'{"segments":[]}'),
        {"is_bifrost_error": True, "error": {"message": UNREADABLE, "error": "text is missing"}},
    ),
    "a text that is none": (
        None, Reply(200, JSON, b'{"text":5}'),
        {"is_bifrost_error": True, "error": {"message": UNREADABLE, "error": "text is missing"}},
    ),
    "no answer": (
        "text", Reply(0, {}, cut=Cut("timeout", "no answer within 1 s")),
        {
            "is_bifrost_error": True,
            "error": {"message": "request timed out: no answer within 1 s", "type": "request_timed_out"},
            "status_code": 504,
        },
    ),
    "a text that breaks off": (
        "text", Reply(200, PLAIN, b"Mary had", cut=Cut("read", "reset")),
        {
            "is_bifrost_error": False,
            "error": {
                "message": "failed to execute HTTP request to provider API: reset",
                "type": "provider_connection_failed",
            },
            "status_code": 502,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("response_format", "reply", "expected"), ERRORS.values(), ids=ERRORS)
def test_an_error(response_format: str | None, reply: Reply, expected: dict[str, object]) -> None:
    outcome = parsed(reply, response_format)
    assert isinstance(outcome, Failure)
    fields: Any = outcome.error.get("extra_fields")
    assert outcome.error == {**expected, "extra_fields": fields}
    assert (fields["request_type"], fields["latency"], fields["resolved_model_used"]) == (
        "transcription",
        3,
        "m",
    )


def test_an_error_brings_the_raw_answer() -> None:
    outcome = parsed(Reply(500, {}, b"oops"), call=Call("transcription", raw_response=True))
    assert outcome.error["extra_fields"]["raw_response"] == "oops"
