"""What hypothesis draws from for transcriptions: requests, replies, and streams together with their truth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests import strategies as some
from translate.plan import Call
from translate.types import RequestType

JSON = object

# -- requests --------------------------------------------------------------------------------------

_FILES: SearchStrategy[object] = st.fixed_dictionaries(
    {"file": st.sampled_from([b"RIFF", b"OggS\r\n--", b"\x00\xff"])},
    optional={
        "filename": st.sampled_from(["a.wav", 'rec"\r\n.ogg', "入", "", None]),
        "content_type": st.sampled_from(["audio/wav", "", None]),
    },
)
_BAD_FILES: SearchStrategy[object] = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("file", "filename", "content_type"), some.python_values)
)
_PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "language": st.sampled_from(["de", ""]),
    "prompt": some.sane_texts,
    "response_format": st.sampled_from(["json", "text", "srt", "vtt", "verbose_json", ""]),
    "temperature": st.sampled_from([0, 0.0, 0.7, 1e-05, "0.2"]),
    "timestamp_granularities": st.sampled_from([["word", "segment"], "word", []]),
    "timestamp_granularities[]": st.just(["word", "segment"]),
    "include": st.just(["logprobs"]),
    "chunking_strategy": st.sampled_from(["auto", {"type": "server_vad", "threshold": 0.50}]),
    "vllm_xargs": st.just({"a": 1, "b": [1.5, "x"]}),
    "use_beam_search": st.booleans(),
    "seed": some.integers,
    "stream": st.booleans(),
    "model": st.just("other"),
    "file": st.just("other"),
    "stream_options": st.sampled_from(
        [
            {},
            {"include_usage": False},
            {"continuous_usage_stats": True, "x": 1},
            '{"include_usage":true}',
            "x",
        ]
    ),
    "stream_include_usage": st.sampled_from([True, "false", "true"]),
    "stream_continuous_usage_stats": st.sampled_from([True, False, "0"]),
    "x_vendor": some.json_values,
}


@st.composite
def parameters(draw: DrawFn) -> dict[str, JSON]:
    """A few parameters; now and then one is null or nonsense."""
    given = draw(some.some_of(_PARAMETERS))
    if given and draw(st.integers(0, 4)) == 0:
        given[draw(st.sampled_from(sorted(given)))] = draw(st.none() | some.python_values)
    return given


@st.composite
def requests(draw: DrawFn) -> dict[str, JSON]:
    """A Bifrost transcription request, mostly sound."""
    params = draw(parameters())
    for name in ("extra_params", "extra_body"):
        if draw(st.integers(0, 3)) == 0:
            params[name] = draw(parameters() | some.json_values)
    out: dict[str, JSON] = {
        "provider": "vllm",
        "model": draw(st.sampled_from(["org/name", "/models/x"])),
        "input": draw(_FILES),
        "params": params,
    }
    match draw(st.integers(0, 7)):
        case 0:
            out["input"] = draw(_BAD_FILES | some.python_values)
        case 1:
            out[draw(st.sampled_from(sorted(out)))] = draw(some.json_values)
        case 2:
            del out[draw(st.sampled_from(sorted(out)))]
    return out


@st.composite
def calls(draw: DrawFn, kinds: Sequence[RequestType] = ("transcription", "transcription_stream")) -> Call:
    """How a request is to be translated."""
    return Call(
        draw(st.sampled_from(kinds)),
        path=draw(st.sampled_from([None, "/custom/audio"])),
        raw_request=draw(st.booleans()),
        raw_response=draw(st.booleans()),
        original_model=draw(st.sampled_from([None, "alias"])),
    )


# -- replies ---------------------------------------------------------------------------------------

ANSWERS: Sequence[dict[str, JSON]] = [
    {"text": " Mary", "usage": {"type": "duration", "seconds": 2}},
    {"duration": "1.450875", "language": "en", "text": " a", "segments": [{"id": 0, "no_speech_prob": None}], "words": None},
    {"text": "", "usage": {"type": "tokens", "input_tokens": 1.0, "input_token_details": {"audio_tokens": None}}},
]  # fmt: skip
_PLAIN = [
    b" Mary\n",
    b"WEBVTT\n\n",
    b"1\n00:00:00,000 --> 00:00:01,600\nx\n",
    b"42",
    b'"quoted"',
    b"[music]",
    b"{x",
]


@st.composite
def bodies(draw: DrawFn) -> bytes:
    """A whole reply: sound, damaged, plain text, an error, or anything."""
    match draw(st.integers(0, 5)):
        case 0:
            return draw(some.bodies())
        case 1:
            return draw(st.sampled_from(_PLAIN))
        case 2 | 3:
            return some.dumped(draw(some.mutated(draw(st.sampled_from(ANSWERS)))))
        case _:
            return some.dumped(draw(st.sampled_from(ANSWERS)))


CONTENT_TYPES: Sequence[Mapping[str, str]] = [
    *some.HEADERS,
    {"content-type": "text/plain; charset=utf-8"},
    {"content-type": "text/vtt"},
]

# -- streams ---------------------------------------------------------------------------------------

_PIECES = st.sampled_from([" Hel", "lo", "\n", " ", "✅", "\u2028", '"', "data: ", "[DONE]", "\ud83d"])
_FINISHES = st.sampled_from(["stop", "length"])
_NAMES = st.sampled_from(["metrics", "x_vendor", "logprobs", "détail"])


@dataclass(frozen=True)
class Segment:
    """Up to half a minute of audio as the model heard it, and why it stopped."""

    pieces: Sequence[str]
    finish_reason: str
    together: bool
    """Whether the finish reason comes with the last piece."""


@dataclass(frozen=True)
class Script:
    """A stream as frames; ``closing`` are the last of them, in which the server says that it is through."""

    segments: Sequence[Segment]
    frames: Sequence[dict[str, JSON]]
    closing: Sequence[dict[str, JSON]]
    usage: Mapping[str, JSON] | None

    @property
    def text(self) -> str:
        return "".join(piece for segment in self.segments for piece in segment.pieces)


segments: SearchStrategy[list[Segment]] = st.lists(
    st.builds(Segment, st.lists(_PIECES, max_size=4), _FINISHES, st.booleans()), min_size=1, max_size=3
)
usages: SearchStrategy[Mapping[str, JSON] | None] = st.sampled_from(
    [
        None,
        {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3},
        {"type": "duration", "seconds": 2},
    ]
)


@st.composite
def scripts_of_vllm(draw: DrawFn) -> Script:
    """A sound stream of vLLM's."""
    heard = draw(segments)
    usage = draw(usages)
    head: dict[str, JSON] = {
        "id": "transcribe-1",
        "object": "transcription.chunk",
        "created": 5,
        "model": "m",
    }
    frames: list[dict[str, JSON]] = []
    for segment in heard:
        choices: list[dict[str, JSON]] = [{"delta": {"content": piece}} for piece in segment.pieces]
        if not segment.together or not choices:
            choices.append({"delta": draw(st.sampled_from([{}, {"content": ""}, {"content": None}]))})
        choices[-1] |= {"finish_reason": segment.finish_reason, "stop_reason": None}
        frames += [{**head, "choices": [choice]} for choice in choices]
    if usage is not None and draw(st.booleans()):
        frames = [{**frame, "usage": {"prompt_tokens": 9, "total_tokens": 9}} for frame in frames]
    closing: list[dict[str, JSON]] = [] if usage is None else [{**head, "choices": [], "usage": usage}]
    return Script(heard, frames, closing, usage)


@st.composite
def scripts_of_openai(draw: DrawFn) -> Script:
    """A sound stream of events as OpenAI has them; segments cannot be told in it."""
    heard = [Segment(draw(st.lists(_PIECES, max_size=5)), "", together=True)]
    usage = draw(usages)
    frames: list[dict[str, JSON]] = [
        {"type": "transcript.text.delta", "delta": piece} for piece in heard[0].pieces
    ]
    done: dict[str, JSON] = {"type": "transcript.text.done", "text": "".join(heard[0].pieces)}
    return Script(heard, frames, [done if usage is None else {**done, "usage": usage}], usage)


scripts: SearchStrategy[Script] = scripts_of_vllm() | scripts_of_openai()


def framed(documents: Sequence[Mapping[str, JSON]]) -> bytes:
    """Frames as vLLM writes them."""
    return b"".join(b"data: %b\n\n" % json.dumps(document).encode() for document in documents)


@st.composite
def sound_streams(draw: DrawFn, script: Script) -> bytes:
    """The bytes of a sound stream. Without a closing frame only ``[DONE]`` is a good end."""
    frames = [some.dumped(document) for document in [*script.frames, *script.closing]]
    return draw(some.framed(frames, some.CLEAN_ENDS if script.closing else some.CLEAN_ENDS[:4]))


@st.composite
def damaged_streams(draw: DrawFn) -> bytes:
    """The bytes of a stream that had been sound: mutated, interrupted, cut short."""
    script = draw(scripts)
    documents = [*script.frames, *script.closing]
    frames = [some.dumped(document) for document in documents]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(frames)))
        junk = some.json_values.map(some.dumped) | st.sampled_from([*some.ERROR_BODIES, b"oops", b"[DONE]"])
        if place < len(documents) and draw(st.booleans()):
            frames[place] = some.dumped(draw(some.mutated(documents[place])))
        else:
            frames.insert(place, draw(junk))
    body = draw(some.framed(frames, [*some.CLEAN_ENDS, b": a\n\n: b\n\ndata: x\n\n", b'data: {"a"']))
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 3)) == 0 else body


any_streams: SearchStrategy[bytes] = damaged_streams() | scripts.flatmap(sound_streams) | some.any_streams
"""What may come where a stream should: sound, damaged, a chat, anything."""

unknown: SearchStrategy[dict[str, JSON]] = st.dictionaries(_NAMES, some.finite_values, min_size=1, max_size=3)
"""Fields that no translator knows."""
