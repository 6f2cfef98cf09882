"""Transcriptions: ``POST /v1/audio/transcriptions``, streamed and not.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#transcriptions-api

The request is a form. What is not text becomes text: booleans ``true`` and
``false``, numbers as they are spelled, objects JSON, and each item of a list a
field of its own.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from . import choices, documents, errors, multipart
from .chunks import Chunks
from .envelope import extra_fields, raw_json
from .exchange import opened
from .flat import request_model, taken_apart
from .fold import Fold, choose
from .parameters import merged
from .plan import Call, Failure, HeadLike, Note, Plan, ReplyLike
from .replies import document_of
from .transcription_stream import TranscriptInterpreter
from .types import Document

PATH: Final = "/v1/audio/transcriptions"

_OURS: Final[Mapping[str, str]] = {
    "model": "the request itself names it",
    "file": "the request itself holds it",
    "stream": "the operation decides it",
}
_BRACKETED: Final = frozenset(
    {"timestamp_granularities", "include", "known_speaker_names", "known_speaker_references"}
)
"""Lists whose fields OpenAI spells with brackets; vLLM ignores ``timestamp_granularities`` without them."""

_OPTIONS: Final = ("stream_options", "stream_include_usage", "stream_continuous_usage_stats")
_NO: Final = frozenset({"false", "f", "no", "n", "off", "0"})  # what vLLM reads as false
_TEXTUAL: Final = frozenset({"text", "srt", "vtt"})
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NAMES: Final = (  # how audio files begin, and what they are called
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio.wav"),
    (re.compile(rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"), "audio.mp3"),
    (re.compile(rb"fLaC"), "audio.flac"),
    (re.compile(rb"OggS"), "audio.ogg"),
    (re.compile(rb"....ftyp", re.DOTALL), "audio.m4a"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "audio.webm"),
)
_DEFAULT_NAME: Final = "audio.mp3"
_DEFAULT_TYPE: Final = "application/octet-stream"

Field = tuple[str, str]


class _Form(NamedTuple):
    """What is to be sent, before it is put together."""

    fields: list[Field]
    file: multipart.File
    notes: list[Note]
    continuous_usage: bool


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that a form means.

    ``file`` is what ``input`` is in the request: an object that holds the
    file's bytes (``file``), its ``filename`` and its ``content_type``. A field
    that was there several times is a list. ``fallbacks`` may be JSON text.
    """
    request = taken_apart(flat, {"file": "input"})
    if not isinstance(request, Failure) and isinstance(named := request.get("fallbacks"), str):
        value = documents.decode(named.encode(errors="surrogatepass"))
        request["fallbacks"] = value if isinstance(value, list) else [named]
    return request


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    form = _form(request, call)
    if isinstance(form, Failure):
        return _stamped(form, request, call)
    body = multipart.body(form.fields, form.file)
    return Plan("POST", PATH if call.path is None else call.path, body)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request."""
    form = _form(request, call)
    return () if isinstance(form, Failure) else form.notes


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The answer in Bifrost's form; ``spent_ms`` is the time of all attempts."""
    outcome = _read(request, reply, spent_ms, call)
    if isinstance(outcome, Failure):
        return _stamped(outcome, request, call, latency=spent_ms, **_raw(reply, call))
    return outcome


def fold(request: Document, head: HeadLike, call: Call) -> Fold:
    """The state machine for a streamed answer that began with ``head``."""
    model = request_model(request)
    form = _form(request, call)
    continuous, notes = (False, []) if isinstance(form, Failure) else (form.continuous_usage, form.notes)
    chunks = Chunks(call, "transcription.chunk", model, continuous, notes)
    return choose(head, call, model, TranscriptInterpreter(chunks))


def _form(request: Document, call: Call) -> _Form | Failure:
    notes: list[Note] = []
    head = opened(request, notes)
    if isinstance(head, Failure):
        return head
    model, params = head
    file = _file(request.get("input"), notes)
    if isinstance(file, Failure):
        return file
    given = merged(params, notes)
    if isinstance(given, Failure):
        return given
    sent: dict[str, object] = {"model": model}
    for name, value in given.items():
        if name in _OURS:
            notes.append(Note(name, "dropped", _OURS[name]))
        elif name == "response_format" and value == "":
            notes.append(Note(name, "dropped", "empty"))
        elif name not in _OPTIONS:
            sent[name] = value
    streaming = call.request_type == "transcription_stream"
    if streaming and sent.get("response_format") == "verbose_json":
        return errors.invalid("response_format verbose_json cannot be streamed", "response_format")
    options = _stream_options(given, notes) if streaming else _no_stream_options(given, notes)
    if isinstance(options, Failure):
        return options
    fields: list[Field] = []
    for name, value in [*sent.items(), *options.items()]:
        if (failure := _put(name, value, fields, notes)) is not None:
            return failure
    return _Form(fields, file, notes, _means_yes(options.get("stream_continuous_usage_stats")))


def _file(source: object, notes: list[Note]) -> multipart.File | Failure:
    if source is None:
        return errors.invalid("file is required", "file")
    if not isinstance(source, Mapping):
        return errors.invalid("file must be an object that holds the bytes", "file")
    data, name, kind = source.get("file"), source.get("filename"), source.get("content_type")
    if data is None or data == b"":
        return errors.invalid("file is required", "file")
    if not isinstance(data, bytes):
        return errors.invalid("file must hold bytes", "file")
    if not name:
        name = next((name for start, name in _NAMES if start.match(data)), _DEFAULT_NAME)
        notes.append(Note("file.filename", "defaulted", name))
    if not isinstance(name, str) or not multipart.can_hold(name):
        return errors.invalid("the name of the file must be text", "file.filename")
    kind = kind or _DEFAULT_TYPE
    if not isinstance(kind, str) or not multipart.is_type(kind):
        return errors.invalid("the content type of the file must be text on one line", "file.content_type")
    return multipart.File(data, name, kind)


def _no_stream_options(given: Document, notes: list[Note]) -> dict[str, object]:
    """vLLM refuses them, even when they say no, where nothing is streamed."""
    notes.extend(Note(name, "dropped", "the answer is not streamed") for name in _OPTIONS if name in given)
    return {}


def _stream_options(given: Document, notes: list[Note]) -> dict[str, object] | Failure:
    """The fields that streaming needs; vLLM has ``stream_options`` member by member as ``stream_...``."""
    fields: dict[str, object] = {"stream": True, "stream_include_usage": True}
    told = given.get("stream_options")
    if isinstance(told, str):  # all that a form can carry
        notes.append(Note("stream_options", "converted", "its members became fields of their own"))
        told = documents.decode(told.encode(errors="surrogatepass"))
    options = {} if told is None else documents.as_object(told)
    if options is None:
        return errors.invalid("stream_options must be an object", "stream_options")
    if told is not None and not options:
        notes.append(Note("stream_options", "dropped", "empty"))
    for member, value in options.items():
        name = f"stream_{member}"
        if name in given:
            notes.append(Note(f"stream_options.{member}", "dropped", f"{name} is set"))
        elif value is not None:
            fields[name] = value
            notes.append(Note(f"stream_options.{member}", "renamed", name))
        else:
            notes.append(Note(f"stream_options.{member}", "dropped", "null"))
    fields |= {name: given[name] for name in _OPTIONS[1:] if name in given}
    if not _means_yes(fields["stream_include_usage"]):
        notes.append(Note("stream_include_usage", "converted", "true: the final event carries usage"))
    return fields | {"stream": True, "stream_include_usage": True}


def _means_yes(value: object) -> bool:
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


def _put(name: str, value: object, fields: list[Field], notes: list[Note]) -> Failure | None:
    """Append the field or fields that ``name`` becomes."""
    if not isinstance(name, str) or not multipart.can_hold(name):
        return errors.invalid("the name of a field must be text", "params")
    wire_name = f"{name}[]" if name in _BRACKETED else name
    if wire_name != name:
        notes.append(Note(name, "renamed", wire_name))
    listed = documents.as_array(value)
    if listed is not None and not listed:
        notes.append(Note(name, "dropped", "an empty list, for which a form has no spelling"))
    for position, item in enumerate([value] if listed is None else listed):
        place = name if listed is None else f"{name}[{position}]"
        if item is None or documents.is_non_finite(item):
            notes.append(Note(place, "dropped", "null" if item is None else "not a finite number"))
            continue
        text = _text(item)
        if isinstance(text, documents.Malformed):
            return errors.invalid(f"{place} cannot be sent: {text.reason}", place)
        if not multipart.can_hold(text):
            return errors.invalid(f"{place} cannot be sent: half of a surrogate pair is not text", place)
        fields.append((wire_name, text))
    return None


def _text(value: object) -> str | documents.Malformed:
    """A value as a form has it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and not isinstance(value, documents.Spelled):
        return format(Decimal(repr(float(value))), "f")  # repr(1e-05) has an exponent
    if not isinstance(value, bool | int | float | Mapping | list | tuple):
        return documents.Malformed(f"a value of type {type(value).__name__} is not JSON")
    encoded = documents.encode(value)
    return encoded.decode() if isinstance(encoded, bytes) else encoded


def _read(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    form = _form(request, call)
    fields, notes = ([], []) if isinstance(form, Failure) else (form.fields, list(form.notes))
    plain = _plain_text(reply) if dict(fields).get("response_format") in _TEXTUAL else None
    document = document_of(reply, "text") if plain is None else {"text": plain}
    if isinstance(document, Failure):
        return document
    if not isinstance(document.get("text"), str):
        return errors.unreadable("text is missing")
    answer = choices.plain_fields(document, ("usage",))
    duration = document.get("duration")
    if isinstance(duration, str) and _NUMBER.fullmatch(duration):  # vLLM before 0.32
        answer["duration"] = documents.decode(duration.encode())
        notes.append(Note("duration", "converted", "text became a number"))
    if (usage := choices.usage(document.get("usage"), notes)) is not None:
        answer["usage"] = usage
    about = extra_fields(call, request_model(request), spent_ms, notes=notes)
    answer["extra_fields"] = {**about, **_raw(reply, call)}
    return answer


def _plain_text(reply: ReplyLike) -> str | None:
    """A body that is the transcript itself; vLLM answers JSON even to ``text``, other servers do not."""
    content_type = reply.headers.get("content-type", "").lower()
    text = reply.body.decode(errors="replace")
    if reply.cut is not None or reply.status != 200 or not text.strip() or "html" in content_type:
        return None
    value = documents.decode(reply.body)
    if isinstance(value, Mapping):
        return None
    if "json" not in content_type:
        return text
    if isinstance(value, documents.Malformed) and text.lstrip()[0] not in "{[":
        return text
    return value if isinstance(value, str) else None


def _raw(reply: ReplyLike, call: Call) -> dict[str, object]:
    """What came. What was sent is no JSON, and large: Bifrost does not show it either."""
    return {"raw_response": raw_json(reply.body)} if call.raw_response and reply.body else {}


def _stamped(failure: Failure, request: Document, call: Call, **more: object) -> Failure:
    return errors.stamp(failure, call, request_model(request), **more)
