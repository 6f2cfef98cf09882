"""Transcriptions through the gateway in front of a real vLLM: ``make live``.

The server hears the recordings' own clips, and must be understood as
openai-python understands OpenAI.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import openai
import pytest
import requests
from openai import OpenAI

from recording.clips import COUNTING, FOX, GERMAN, HELLO, LONG, SILENCE, Clip
from recording.server import TRANSCRIPTION, Server, serving

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = f"vllm/{TRANSCRIPTION.name}"
WITHIN_S: Final = 60.0
LONG_TEXT: Final = " This is the first half minute. Nothing else happens.  Here the second part begins.  And this is the end."


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with serving(ROOT / ".vllm/bin/python", ROOT / ".models", log, TRANSCRIPTION) as server:
        yield server


def file_of(clip: Clip) -> tuple[str, bytes, str]:
    return clip.file, clip.data, clip.content_type


def events(client: OpenAI, clip: Clip, **more: Any) -> list[Any]:
    return list(
        client.audio.transcriptions.create(
            model=MODEL, file=file_of(clip), temperature=0, stream=True, **more
        )
    )


@pytest.mark.parametrize(
    ("clip", "text"),
    [
        (HELLO, " Hello world."),
        (FOX, " The quick brown fox jumps over the lazy dog."),
        (GERMAN, " Schöne Grüße aus Köln."),
        (SILENCE, ""),
        (LONG, LONG_TEXT),
    ],
    ids=lambda value: value.file if isinstance(value, Clip) else "",
)
def test_plain_and_streamed_say_the_same(client: OpenAI, clip: Clip, text: str) -> None:
    answer = client.audio.transcriptions.create(model=MODEL, file=file_of(clip), temperature=0)
    assert answer.text == text
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    *deltas, done = events(client, clip)
    assert {event.type for event in deltas} <= {"transcript.text.delta"}
    assert "".join(event.delta for event in deltas) == text
    assert (done.type, done.text) == ("transcript.text.done", text)
    assert done.usage.total_tokens > 0


def test_each_segment_has_its_end(client: OpenAI) -> None:
    said = [(event.type, event.model_extra.get("finish_reason")) for event in events(client, LONG)]
    ends = [number for number, (_, reason) in enumerate(said) if reason == "stop"]
    assert len(ends) == 3
    assert ends[-1] == len(said) - 1
    assert said[-1][0] == "transcript.text.done"


def test_usage_on_every_event(client: OpenAI) -> None:
    said = events(client, HELLO, extra_body={"stream_continuous_usage_stats": "true"})
    totals = [event.model_extra["usage"]["total_tokens"] for event in said[:-1]]
    assert totals == sorted(set(totals))
    assert said[-1].usage.total_tokens > totals[-1]


def test_verbose(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model=MODEL,
        file=file_of(COUNTING),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.duration, answer.language) == (2.4, "en")
    assert [segment.text for segment in answer.segments or ()] == [" Count with me.", " One, two, three."]


def test_errors(client: OpenAI) -> None:
    def ask(**more: Any) -> object:
        return client.audio.transcriptions.create(**{"model": MODEL, "file": file_of(SILENCE), **more})

    with pytest.raises(openai.NotFoundError, match="does not exist"):
        ask(model="vllm/tiny/nothing")
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="only support response_format"):
            ask(response_format="srt", stream=stream)
        with pytest.raises(openai.BadRequestError, match="Unsupported language"):
            ask(language="xx", stream=stream)
        with pytest.raises(openai.BadRequestError, match="Invalid or corrupted audio"):
            ask(file=("a.wav", b"no audio"), stream=stream)
    with pytest.raises(openai.BadRequestError, match="cannot be streamed"):
        ask(response_format="verbose_json", stream=True)


def test_what_vllm_would_not_say_itself(vllm: Server) -> None:
    """The refusal that is ours before the question is asked is the server's, too."""
    fields = {"model": TRANSCRIPTION.name, "stream": "true", "response_format": "verbose_json"}
    answer = requests.post(
        f"{vllm.url}/v1/audio/transcriptions", data=fields, files={"file": file_of(SILENCE)}, timeout=WITHIN_S
    )
    assert answer.status_code == 400
    assert "doesn't support streaming" in answer.text
