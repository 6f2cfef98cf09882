"""Transcriptions through the gateway: the forms that go in and out, the answers, the limits."""

import asyncio
import gc
import gzip
import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import openai
import pytest
import requests
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

import gateway
from routing.config import Config, Key
from tests.contract.loopback import Connection, Loopback, wire
from tests.e2e.conftest import Serve
from tests.e2e.loopback import DONE, PATIENCE_S, Seen, Upstream, reply, stream
from tests.e2e.test_gateway_chat import events, extra_fields, settled
from tests.forms import Part, parts_of
from translate import Call, Plan, transcriptions
from transports import Recording, Recordings
from transports.base import whole

PATHS = ["/v1/audio/transcriptions", "/openai/v1/audio/transcriptions", "/openai/audio/transcriptions"]
PATH = PATHS[0]
AUDIO = b"RIFF\r\n--\x00\xff"
ANSWER = {"text": " Hello world.", "usage": {"type": "duration", "seconds": 1}}
VERBOSE = {
    "duration": 0.8,
    "language": "en",
    "text": " Hello world.",
    "segments": [{"id": 0, "start": 0.0, "end": 0.8, "no_speech_prob": None, "text": " Hello world."}],
    "words": None,
}
USAGE = {"prompt_tokens": 84, "total_tokens": 87, "completion_tokens": 3}
IDENTITY = {"id": "transcribe-1", "created": 1, "model": "m"}
MEGABYTE = 1024 * 1024


def heard(text: str, finish: str | None = None) -> dict[str, object]:
    ended = {} if finish is None else {"finish_reason": finish, "stop_reason": None}
    return {
        **IDENTITY,
        "object": "transcription.chunk",
        "choices": [{"delta": {"content": text}, **ended}],
    }


HELLO = (
    heard(" Hel"),
    heard("lo"),
    heard("", "stop"),
    {**IDENTITY, "object": "transcription.chunk", "choices": [], "usage": USAGE},
    DONE,
)
FILE = {"file": ("a.wav", AUDIO, "audio/wav")}
SENT_FILE = Part("file", AUDIO, "a.wav", "audio/wav")


def form_of(seen: Seen) -> list[Part]:
    """The form that the server got, which came with its length."""
    assert seen.line == f"POST {PATH} HTTP/1.1"
    assert seen.header("content-length") == str(len(seen.body))
    assert seen.header("transfer-encoding") is None
    return parts_of(seen.header("content-type") or "", seen.body)


@pytest.mark.parametrize("path", PATHS)
def test_a_form_goes_through(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(reply(ANSWER))
    fields = [
        ("language", "de"),
        ("timestamp_granularities[]", "word"),
        ("x", ""),
        ("timestamp_granularities[]", "segment"),
        ("model", "vllm/m"),
        ("prompt", "Grüße\r\n入"),
    ]
    answer = http.post(url + path, data=fields, files=FILE)
    assert answer.status_code == 200
    assert settled(answer.json()) == {**ANSWER, "extra_fields": extra_fields("transcription")}
    assert form_of(upstream.request()) == [
        Part("model", b"m"),
        Part("language", b"de"),
        Part("timestamp_granularities[]", b"word"),
        Part("timestamp_granularities[]", b"segment"),
        Part("x", b""),
        Part("prompt", "Grüße\r\n入".encode()),
        SENT_FILE,
    ]
    assert upstream.request().header("authorization") == "Bearer key-canary-1"


def test_a_stream_comes_as_openais_events(url: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(stream(*HELLO))
    answer = http.post(url + PATH, data={"stream": "true", "model": "m"}, files=FILE)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    fields = [extra_fields("transcription_stream", chunk_index=index) for index in range(3)]
    assert events(answer.content.decode()) == [
        {"type": "transcript.text.delta", "delta": " Hel", **IDENTITY, "extra_fields": fields[0]},
        {"type": "transcript.text.delta", "delta": "lo", **IDENTITY, "extra_fields": fields[1]},
        {
            "type": "transcript.text.done",
            "text": " Hello",
            "usage": USAGE,
            **IDENTITY,
            "finish_reason": "stop",
            "extra_fields": fields[2],
        },
        "[DONE]",
    ]
    assert form_of(upstream.request()) == [
        Part("model", b"m"),
        Part("stream", b"true"),
        Part("stream_include_usage", b"true"),
        SENT_FILE,
    ]
    assert upstream.request().header("accept") == "text/event-stream"


@pytest.mark.parametrize("text", ["True", "1", "", "false", " true"])
def test_only_true_asks_for_a_stream(url: str, upstream: Upstream, http: requests.Session, text: str) -> None:
    upstream.answers(reply(ANSWER))
    answer = http.post(url + PATH, data={"model": "m", "stream": text}, files=FILE)
    assert answer.json()["text"] == ANSWER["text"]
    assert form_of(upstream.request()) == [Part("model", b"m"), SENT_FILE]


FAULTS: dict[str, tuple[object, int, str]] = {
    "an error status": (reply({"error": {"message": "Unsupported language", "code": 400}}, 400), 400, "Unsupported language"),
    "an error with HTTP 200": (reply({"error": {"message": "Error opening", "code": 400}}), 400, "Error opening"),
    "an error as the first event": (stream({"error": {"message": "no", "code": 404}}, DONE), 404, "no"),
    "nothing": (stream(DONE), 502, "provider ended the stream without sending any event"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "status", "message"), FAULTS.values(), ids=FAULTS)
def test_a_stream_that_fails_at_once_is_a_plain_error(
    url: str, upstream: Upstream, http: requests.Session, script: Any, status: int, message: str
) -> None:
    upstream.answers(script)
    answer = http.post(url + PATH, data={"model": "m", "stream": "true"}, files=FILE)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"]["message"] == message


def test_a_stream_that_ends_between_two_segments_ends_in_an_error(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(stream(heard("a"), heard("", "stop")))
    answer = http.post(url + PATH, data={"model": "m", "stream": "true"}, files=FILE)
    first, last = [json.loads(text.removeprefix("data: ")) for text in answer.text.split("\n\n")[:-1]]
    assert first["delta"] == "a"
    assert last["error"]["code"] == "stream_truncated"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        yield client


def test_openai_python_plain(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(ANSWER))
    answer = client.audio.transcriptions.create(
        model="vllm/m", file=("grüße.wav", AUDIO), language="en", temperature=0.5, extra_body={"top_k": 5}
    )
    assert (answer.text, answer.usage and answer.usage.type) == (" Hello world.", "duration")
    parts = form_of(upstream.request())
    assert parts[0] == Part("model", b"m")
    assert parts[-1][:3] == ("file", AUDIO, "grüße.wav")
    assert sorted(parts[1:-1]) == [
        Part("language", b"en"),
        Part("temperature", b"0.5"),
        Part("top_k", b"5"),
    ]


def test_openai_python_verbose(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply({**VERBOSE, "duration": "0.8"}))
    answer = client.audio.transcriptions.create(
        model="vllm/m",
        file=("a.wav", AUDIO),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.duration, answer.language, answer.text) == (0.8, "en", " Hello world.")
    assert [segment.text for segment in answer.segments or ()] == [" Hello world."]
    assert [part for part in form_of(upstream.request()) if part.name.endswith("[]")] == [
        Part("timestamp_granularities[]", b"word"),
        Part("timestamp_granularities[]", b"segment"),
    ]


def test_openai_python_streamed(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(stream(*HELLO))
    *deltas, done = client.audio.transcriptions.create(model="vllm/m", file=("a.wav", AUDIO), stream=True)
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert [getattr(event, "delta", None) for event in deltas] == [" Hel", "lo"]
    assert done.text == " Hello"
    assert done.usage is not None
    assert done.usage.total_tokens == 87


def test_openai_python_errors(client: openai.OpenAI, upstream: Upstream) -> None:
    said = {"message": "Currently only support", "type": "BadRequestError", "param": None, "code": 400}
    upstream.answers(reply({"error": said}, 400), stream(heard("a"), {"error": {**said, "code": 500}}))
    with pytest.raises(openai.BadRequestError, match="Currently only support"):
        client.audio.transcriptions.create(model="vllm/m", file=AUDIO, response_format="srt")
    with pytest.raises(openai.BadRequestError, match="verbose_json cannot be streamed"):
        client.audio.transcriptions.create(
            model="vllm/m", file=AUDIO, response_format="verbose_json", stream=True
        )
    with pytest.raises(openai.BadRequestError, match="file is required"):
        client.audio.transcriptions.create(model="vllm/m", file=("a.wav", b""))
    chunks = iter(client.audio.transcriptions.create(model="vllm/m", file=AUDIO, stream=True))
    next(chunks)
    with pytest.raises(openai.APIError, match="Currently only support"):
        next(chunks)
    assert len(upstream.seen) == 2


def test_aiohttp_sends_a_form(url: str, upstream: Upstream) -> None:
    upstream.answers(reply(ANSWER))

    async def ask() -> int:
        form = aiohttp.FormData({"model": "vllm/m", "prompt": "入"}, quote_fields=False)
        form.add_field("file", AUDIO, filename="grüße.wav", content_type="audio/wav")
        async with aiohttp.ClientSession() as session, session.post(url + PATH, data=form) as answer:
            return answer.status

    assert asyncio.run(asyncio.wait_for(ask(), PATIENCE_S)) == 200
    assert form_of(upstream.request()) == [
        Part("model", b"m"),
        Part("prompt", "入".encode()),
        Part("file", AUDIO, "grüße.wav", "audio/wav"),
    ]


def raw_form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (what.encode(), value)
        for what, value in parts
    )


MODEL_PART = ('name="model"', b"m")
FILE_PART = ('name="file"; filename="a.wav"', AUDIO)
END = b"--b--\r\n"
FORM_TYPE = "multipart/form-data; boundary=b"
PARSING = "failed to parse multipart form: "
REFUSED: dict[str, tuple[str, bytes, str, str | None]] = {
    "JSON": ("application/json", b'{"model":"m"}', f"{PARSING}the content type is not multipart/form-data with a boundary", None),
    "no content type": ("", b"x", f"{PARSING}the content type is not multipart/form-data with a boundary", None),
    "no boundary": ("multipart/form-data", raw_form(MODEL_PART, FILE_PART) + END, f"{PARSING}the content type is not multipart/form-data with a boundary", None),
    "nothing": (FORM_TYPE, b"", f"{PARSING}the form ends early", None),
    "no end": (FORM_TYPE, raw_form(MODEL_PART, FILE_PART), f"{PARSING}the form ends early", None),
    "a part without a name": (FORM_TYPE, raw_form(("x", b"")) + END, f"{PARSING}a part has no name", None),
    "two files": (FORM_TYPE, raw_form(MODEL_PART, FILE_PART, FILE_PART) + END, f"{PARSING}more than one file", None),
    "another file": (
        FORM_TYPE, raw_form(MODEL_PART, ('name="image"; filename="a.png"', b"x")) + END,
        f"{PARSING}image is a file, which only file may be", None,
    ),
    "many fields": (FORM_TYPE, raw_form(*[('name="x"', b"")] * 1001) + END, f"{PARSING}more than 1000 parts", None),
    "a large field": (
        FORM_TYPE, raw_form(('name="prompt"', b"x" * (MEGABYTE + 1)), MODEL_PART) + END,
        f"{PARSING}prompt is larger than 1048576 bytes", None,
    ),
    "no model": (FORM_TYPE, raw_form(FILE_PART) + END, "model is required", "model"),
    "a blank model": (FORM_TYPE, raw_form(('name="model"', b" "), FILE_PART) + END, "model is required", "model"),
    "two models": (FORM_TYPE, raw_form(MODEL_PART, MODEL_PART, FILE_PART) + END, "model must be text", "model"),
    "no file": (FORM_TYPE, raw_form(MODEL_PART) + END, "file is required", "file"),
    "an empty file": (FORM_TYPE, raw_form(MODEL_PART, ('name="file"; filename="a"', b"")) + END, "file is required", "file"),
    "extra_body": (
        FORM_TYPE, raw_form(MODEL_PART, ('name="extra_body"', b"{}"), FILE_PART) + END,
        "extra_body must be an object, got text", "extra_body",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "message", "param"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_before_anybody_is_asked(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    content_type: str,
    body: bytes,
    message: str,
    param: str,
) -> None:
    answer = http.post(url + PATH, data=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    error = answer.json()["error"]
    expected = {"message": message, "type": "invalid_request_error"}
    assert error == (expected if param is None else {**expected, "param": param})
    assert upstream.seen == []


def test_bytes_that_are_no_text_pass_as_they_are(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(reply(ANSWER))
    body = raw_form(MODEL_PART, ('name="prompt"', b"caf\xe9"), ('name="file"', AUDIO)) + END
    body = body.replace(b'name="file"', b'name="file"; filename="\xe9.wav"')
    assert http.post(url + PATH, data=body, headers={"content-type": FORM_TYPE}).status_code == 200
    assert form_of(upstream.request()) == [
        Part("model", b"m"),
        Part("prompt", b"caf\xe9"),
        Part("file", AUDIO, "\udce9.wav", "application/octet-stream"),
    ]


LIMIT = 100_000


@pytest.fixture
def small(serve: Serve, upstream: Upstream) -> str:
    """The address of a gateway that takes bodies of up to 100 000 bytes."""
    return serve(Config((Key("k", "k", url=upstream.url, models=("*",)),), request_limit=LIMIT))


def form_of_size(size: int) -> bytes:
    empty = raw_form(MODEL_PART, ('name="file"; filename="a"', b"")) + END
    return raw_form(MODEL_PART, ('name="file"; filename="a"', b"x" * (size - len(empty)))) + END


def in_pieces(body: bytes) -> Iterator[bytes]:
    yield from (body[start : start + 9000] for start in range(0, len(body), 9000))


@pytest.mark.parametrize("coding", ["plain", "chunked", "gzip"])
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_holds_while_a_form_is_read(
    small: str, upstream: Upstream, http: requests.Session, coding: str, over: int
) -> None:
    upstream.answers(reply(ANSWER))
    body, headers = form_of_size(LIMIT + over), {"content-type": FORM_TYPE}
    match coding:
        case "chunked":
            answer = http.post(small + PATH, data=in_pieces(body), headers=headers)
        case "gzip":
            headers["content-encoding"] = "gzip"
            answer = http.post(small + PATH, data=gzip.compress(body), headers=headers)
        case _:
            answer = http.post(small + PATH, data=body, headers=headers)
    assert answer.status_code == (413 if over else 200)
    assert len(upstream.seen) == 1 - over
    if over:
        assert answer.json() == {
            "is_bifrost_error": False,
            "status_code": 413,
            "error": {
                "message": f"request body exceeds max allowed size of {LIMIT} bytes",
                "type": "invalid_request_error",
            },
        }


def test_the_limit_holds_in_front_of_the_first_part(
    small: str, upstream: Upstream, http: requests.Session
) -> None:
    answer = http.post(small + PATH, data=in_pieces(b"x\r\n" * LIMIT), headers={"content-type": FORM_TYPE})
    assert answer.status_code == 413
    assert upstream.seen == []


def test_a_form_that_is_not_compressed_as_it_says(url: str, http: requests.Session) -> None:
    headers = {"content-type": FORM_TYPE, "content-encoding": "gzip"}
    answer = http.post(url + PATH, data=b"not gzip at all", headers=headers)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "invalid compressed request body")


def test_a_client_that_leaves_in_its_upload_is_forgotten(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(reply(ANSWER))
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as left:
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM_TYPE}\r\nContent-Length: 99999\r\n\r\n"
        )
        left.sendall(head.encode() + raw_form(MODEL_PART, FILE_PART))
    assert http.post(url + PATH, data={"model": "m"}, files=FILE).status_code == 200
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("form", ["plain", "streamed"])
def test_a_large_upload_is_held_once(serve: Serve, form: str) -> None:
    size = 24 * MEGABYTE
    taken = threading.Event()

    def script(connection: Connection) -> None:
        """Reads without keeping, for what it kept would count."""
        assert connection.swallow() > size
        taken.set()
        connection.send(wire(json.dumps(ANSWER).encode(), "Content-Type: application/json"))

    def upload() -> Iterator[bytes]:
        yield raw_form(MODEL_PART, ('name="stream"', b"true" if form == "streamed" else b"false"))
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield from (bytes(64 * 1024) for _ in range(size // (64 * 1024)))
        yield b"\r\n" + END

    with Loopback(script) as server, requests.Session() as session:
        url = serve(Config((Key("k", "k", url=server.url, models=("*",)),)))
        gc.disable()  # what is done with must not wait for it
        tracemalloc.start()
        try:
            answer = session.post(url + PATH, data=upload(), headers={"content-type": FORM_TYPE})
            _, peak = tracemalloc.get_traced_memory()
            session.get(f"{url}/health")  # the loop has gone on: the request before it is over
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert taken.is_set()
    assert answer.status_code == (502 if form == "streamed" else 200)  # it answers JSON to either
    assert size < peak < 1.5 * size
    assert left < size / 4


def test_an_upload_is_found_among_recordings(serve: Serve, http: requests.Session) -> None:
    source: Mapping[str, object] = {"file": AUDIO, "filename": "a.wav", "content_type": "audio/wav"}
    asked = {"model": "tiny/audio", "input": source, "params": {"language": "en"}}
    plan = transcriptions.plan(asked, Call("transcription"))
    assert isinstance(plan, Plan)
    assert plan.body is not None
    recording = Recording("it", "POST", PATH, whole(plan.body), body=json.dumps(ANSWER).encode())
    url = serve(gateway.RECORDED, Recordings([recording]))
    fields = {"model": "vllm/tiny/audio", "language": "en"}
    assert http.post(url + PATH, data=fields, files=FILE).json()["text"] == ANSWER["text"]
    answer = http.post(url + PATH, data={**fields, "language": "de"}, files=FILE)
    assert answer.status_code == 501
    assert answer.json()["error"]["message"].startswith("no recording answers POST /v1/audio/transcriptions")
