"""What is put to the test, and what must hold for any bytes; nothing here needs atheris.

A target takes bytes and raises when something is wrong. Where an input begins
with a byte that steers (how the rest is cut, how the exchange ends), its seeds
do so, too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from routing import forms
from tests.property.feeding import fed
from tests.property.judgement import assert_well_formed, same
from translate import OPERATIONS, Call, Chunk, Failure, documents, multipart, sse
from translate.types import Document, RequestType
from transports import Cut, Recording, Recordings, Reply

ROOT: Final = Path(__file__).resolve().parent.parent
CASSETTES: Final = ROOT / "cassettes"
CUTS: Final = (
    None,
    Cut("read", "connection reset"),
    Cut("timeout", "idle: no data for 60 s"),
    Cut("cancelled", "the caller left"),
)
_EVENTS: Final = {"content-type": "text/event-stream"}
_LATE: Final = b'data: {"choices":[]}\n\n'
_BOUNDARY: Final = b"fuzz"
_LARGEST_SEED: Final = 4096
_CHAT: Final[Document] = {"model": "m", "input": [{"role": "user", "content": "x"}]}
_FILE: Final[Document] = {"file": b"RIFF", "filename": "a.wav"}
REQUESTS: Final[Mapping[RequestType, Document]] = {
    "list_models": {},
    "chat_completion": _CHAT,
    "chat_completion_stream": {**_CHAT, "params": {"n": 2, "logprobs": True}},
    "responses": _CHAT,
    "responses_stream": _CHAT,
    "text_completion": {"model": "m", "input": "x"},
    "text_completion_stream": {"model": "m", "input": ["x", "y"]},
    "embedding": {"model": "m", "input": ["x", "y"]},
    "rerank": {"model": "m", "query": "x", "documents": ["x", "y"], "params": {"return_documents": True}},
    "transcription": {"model": "m", "input": _FILE, "params": {"response_format": "verbose_json"}},
    "transcription_stream": {"model": "m", "input": _FILE},
}
FLAT: Final[tuple[RequestType, ...]] = tuple(name for name in OPERATIONS if name != "list_models")
"""The operations whose flat form is read; the first byte of an input chooses."""


class Target(NamedTuple):
    """What bytes are put to, what to begin with, and what must hold."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    promise: str


def codec(data: bytes) -> None:
    """What is read can be written, is JSON, and is the same when it is read again."""
    for strict in (False, True):
        value = documents.decode(data, strict)
        if not isinstance(value, documents.Malformed):
            _written_again(value)
    rows = documents.decode_rows(data, "embedding")
    if rows is not None:
        _written_again(rows, documents.decode(data))


def _written_again(value: object, meant: object = None) -> None:
    out = documents.encode(value)
    assert isinstance(out, bytes), out
    again = documents.decode(out, strict=True)
    assert not isinstance(again, documents.Malformed), again
    try:
        json.loads(out, parse_int=str, parse_float=str, parse_constant=_no_constant)
        assert same(value if meant is None else meant, again)
    except RecursionError:  # of the judges, not of the judged
        pass


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def events(data: bytes) -> None:
    """However a stream is cut, its payloads are the same, and a small limit does no more than end it."""
    step, body = _steered(data)
    assert _payloads([body]) == _payloads(_pieces(body, step + 1))
    reader = sse.Reader(64)
    for piece in _pieces(body, step + 1):
        out = reader.feed(piece)
        assert all(len(payload) <= 2 * 64 for payload in out)  # the ends of lines do not count
    reader.close()


def _payloads(pieces: list[bytes]) -> list[bytes]:
    reader = sse.Reader()
    out = [payload for piece in pieces for payload in reader.feed(piece)]
    return [*out, *reader.close()]


def stream(kind: RequestType, data: bytes) -> None:
    """However a stream is cut and whoever reads it, it says the same, and ends in one of the decided ways."""
    steer, body = _steered(data)
    told = [_said(kind, [body], steer)]
    told.append(_said(kind, _pieces(body, 1 + steer % 61), steer))
    told.append(_said(kind, [body], steer, verbatim=True))
    assert told[0] == told[1], "cuts matter"
    assert told[0] == told[2], "undecoded chunks differ"


def _said(kind: RequestType, pieces: list[bytes], steer: int, verbatim: bool = False) -> list[object]:
    make = OPERATIONS[kind].fold
    assert make is not None
    head = Reply(200, _EVENTS if steer & 4 else {})
    fold = make(REQUESTS[kind], head, Call(kind, verbatim=verbatim))
    out = fed(fold, pieces, CUTS[steer % len(CUTS)], _LATE)
    finals = [isinstance(event, Failure) or event.final for event in out]
    if kind != "responses_stream":  # which says response.failed and then the error
        assert finals == [False] * (len(out) - 1) + [True], finals
    assert finals[-1:] == [True]
    for event in out:
        if isinstance(event, Failure):
            assert_well_formed(event.error)
    return [_plain(event) for event in out]


def _plain(event: Chunk | Failure) -> object:
    """An event as JSON, without what depends on the clock."""
    out = documents.encode(event.error if isinstance(event, Failure) else event.data)
    assert isinstance(out, bytes), out
    document: Any = documents.decode(out, strict=True)
    assert isinstance(document, dict)
    for holder in (document, document.get("response")):
        about = holder.get("extra_fields") if isinstance(holder, dict) else None
        if isinstance(about, dict):
            about.pop("latency", None)
    return event.event, isinstance(event, Chunk) and event.final, document


def form(data: bytes) -> None:
    """However a form is cut, it says the same; what it says can be sent on, and says the same there."""
    step, body = _steered(data)
    told = _read([body])
    assert told == _read(_pieces(body, step + 1))
    if isinstance(told, forms.Unreadable) or "file" not in told:
        return
    file = told["file"]
    assert isinstance(file, dict)
    plan = OPERATIONS["transcription"].from_flat({**told, "model": "m"})
    if not isinstance(plan, Failure):
        _planned("transcription", plan)
    fields = [
        (name, value)
        for name, given in told.items()
        if name != "file"
        for value in (given if isinstance(given, list) else [given])
    ]
    named = multipart.File(file["file"], "a.wav", "audio/wav")
    if "" in told:  # a field without a name is not sent
        return
    body_again = multipart.body(fields, named)
    boundary = forms.boundary(body_again.content_type)
    assert isinstance(boundary, bytes)
    reader = forms.Reader(boundary)
    for piece in (body_again.data, *body_again.rest):
        reader.feed(piece)
    again: Any = reader.close()
    assert isinstance(again, dict), again
    assert again["file"]["file"] == file["file"]


def _read(pieces: list[bytes]) -> dict[str, Any] | forms.Unreadable:
    reader = forms.Reader(_BOUNDARY)
    for piece in pieces:
        reader.feed(piece)
    return reader.close()


def flat(data: bytes) -> None:
    """Whatever a client writes is planned or refused, is not changed by that, and what goes out is JSON."""
    steer, body = _steered(data)
    kind = FLAT[steer % len(FLAT)]
    value = documents.decode_object(body, strict=True)
    if isinstance(value, documents.Malformed):
        return
    before = documents.encode(value)
    given = {**value, "file": _FILE} if kind.startswith("transcription") else value
    request = OPERATIONS[kind].from_flat(given)
    if isinstance(request, Failure):
        assert request.error["error"]["message"]
    else:
        _planned(kind, request)
    assert documents.encode(value) == before, "the request was changed"


def _planned(kind: RequestType, request: Document) -> None:
    call = Call(kind)
    plan = OPERATIONS[kind].plan(request, call)
    for note in OPERATIONS[kind].noted(request, call):
        assert isinstance(note.param, str)
        assert isinstance(documents.encode(note._asdict()), bytes)
    if isinstance(plan, Failure):
        assert_well_formed(plan.error)
    elif plan.body is not None and plan.body.content_type == "application/json":
        assert isinstance(documents.decode_object(plan.body.data, strict=True), dict), plan.body.data


def answer(data: bytes) -> None:
    """Whatever a server answers becomes an answer or an error that can be sent."""
    steer, body = _steered(data)
    kind = tuple(OPERATIONS)[steer % len(OPERATIONS)]
    status = (200, 200, 200, 404, 500)[steer % 5]
    call = Call(kind, raw_response=bool(steer & 64))
    told = [
        OPERATIONS[kind].parse(REQUESTS[kind], Reply(status, {}, body), 1, each)
        for each in (call, Call(kind, raw_response=call.raw_response, verbatim=True))
    ]
    wires: list[object] = []
    for outcome in told:
        if isinstance(outcome, Failure):
            assert_well_formed(outcome.error)
        out = documents.encode(outcome.error if isinstance(outcome, Failure) else outcome)
        assert isinstance(out, bytes), out
        wires.append(documents.decode(out, strict=True))
    assert same(*wires), "undecoded vectors differ"


def _steered(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def _recorded(folder: str) -> list[Recording]:
    return list(Recordings.load(CASSETTES / folder))


def _bodies(*folders: str, steers: tuple[int, ...] = ()) -> Iterator[bytes]:
    """What servers answered, the longest cut short."""
    for folder in folders:
        for number, recording in enumerate(_recorded(folder)):
            body = recording.body[:_LARGEST_SEED]
            yield body if not steers else bytes([steers[number % len(steers)]]) + body


def _asked() -> Iterator[bytes]:
    """What was asked, in the flat form, which is what goes out, too."""
    for steer, kind in enumerate(FLAT):
        folder = kind.replace("responses", "chat_completion")
        for recording in _recorded(folder):
            if kind.startswith("transcription"):
                yield bytes([steer]) + b'{"model":"m","timestamp_granularities":["word"],"temperature":0.1}'
            elif recording.request_body:
                yield bytes([steer]) + recording.request_body[:_LARGEST_SEED]


def _uploads() -> Iterator[bytes]:
    fields = [("model", "m"), ("language", "en"), ("timestamp_granularities[]", "word"), ("stream", "true")]
    for count in range(len(fields) + 1):
        body = multipart.body(fields[:count], multipart.File(b"RIFF\r\n--fuz", 'a"b\u00e9.wav', "audio/wav"))
        boundary = body.content_type.partition("boundary=")[2].encode()
        yield bytes([count * 3]) + b"".join((body.data, *body.rest)).replace(boundary, _BOUNDARY)


_STEERS: Final = tuple(range(0, 256, 7))
_STREAMED: Final[Mapping[str, RequestType]] = {
    "chat stream": "chat_completion_stream",
    "completion stream": "text_completion_stream",
    "responses stream": "responses_stream",
    "transcription stream": "transcription_stream",
}
_STREAM_PROMISE: Final = "the same events however it is cut, one end, nothing after it"
_REPLIES: Final = (
    "chat_completion",
    "text_completion",
    "embedding",
    "rerank",
    "list_models",
    "transcription",
)
TARGETS: Final[Mapping[str, Target]] = {
    "documents": Target(
        codec,
        partial(_bodies, *_REPLIES),
        "what is read can be written, is JSON, and is the same when read again",
    ),
    "events": Target(
        events,
        partial(_bodies, "chat_completion_stream", steers=_STEERS),
        "the same payloads however it is cut, bounded by the limit",
    ),
    **{
        name: Target(
            partial(stream, kind),
            partial(_bodies, kind.replace("responses", "chat_completion"), steers=_STEERS),
            _STREAM_PROMISE,
        )
        for name, kind in _STREAMED.items()
    },
    "forms": Target(form, _uploads, "the same form however it is cut, and again when it is sent on"),
    "flat requests": Target(flat, _asked, "planned or refused, never changed; what goes out is JSON"),
    "answers": Target(
        answer,
        partial(_bodies, *_REPLIES, steers=tuple(range(0, 128, 3))),
        "an answer or an error, which can be written",
    ),
}
"""By the names under which they are run and reported."""
