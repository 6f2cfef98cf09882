"""What hypothesis draws from for text completions: requests, replies, streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests import strategies as some
from tests.strategies import JSON

# -- requests --------------------------------------------------------------------------------------

prompts: SearchStrategy[JSON] = st.one_of(
    some.sane_texts.filter(bool),
    st.lists(some.sane_texts, min_size=1, max_size=3),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=3),
    st.sampled_from([None, "", []]),
)
"""Text or token ids, one prompt or several, or none."""

PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "best_of": st.integers(1, 3),
    "echo": st.booleans(),
    "frequency_penalty": st.just(0.5),
    "logit_bias": st.just({"50256": -100}),
    "logprobs": st.integers(0, 5),
    "max_tokens": st.sampled_from([0, 1, 16, 4096, 7.0]),
    "n": st.sampled_from([1, 2, 3, "2"]),
    "presence_penalty": st.just(0),
    "seed": some.integers,
    "stop": some.sane_texts | st.lists(some.sane_texts, max_size=2),
    "stream_options": st.sampled_from(
        [{}, {"include_usage": False}, {"continuous_usage_stats": True}, {"include_usage": True, "x": None}]
    ),
    "suffix": some.sane_texts,
    "temperature": st.sampled_from([0, 0.0, 1.5, 0.1]),
    "top_p": st.just(0.9),
    "user": st.just("u" * 100),
    "top_k": st.sampled_from([-1, 0, 20]),
    "prompt_embeds": st.sampled_from(["AAAA", ["AAAA", "AAAA"]]),
    "prompt_logprobs": st.just(1),
    "return_token_ids": st.booleans(),
    "guided_choice": st.just(["a", "b"]),
    "guided_regex": st.just("[ab]+"),
    "structured_outputs": st.sampled_from([{"choice": ["a"]}, {}, "x"]),
    "stream": st.booleans(),
    "model": st.just("other"),
    "prompt": st.just("other"),
    "x_vendor": some.json_values,
}
"""What clients send besides model and prompt, and traps."""

# -- replies ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """One choice as the model meant it: a token for each piece of text."""

    pieces: Sequence[str]
    finish_reason: str
    stop_reason: JSON
    with_tokens: bool
    with_logprobs: bool


@dataclass(frozen=True)
class Completion:
    """All choices of one reply and what is said about the reply as a whole."""

    texts: Sequence[Text]
    usage: Mapping[str, JSON] | None
    id: str = "cmpl-1"
    more: Mapping[str, JSON] = field(default_factory=dict)


_PIECES = st.lists(
    st.sampled_from(["Hel", "lo", "\n", " ", "", "✅", "\u2028", '"', "data: ", "[DONE]", "{"]), max_size=4
)
texts: SearchStrategy[Text] = st.builds(
    Text,
    _PIECES,
    st.sampled_from(["stop", "length", "repetition", "abort"]),
    st.sampled_from([None, "3", 151645, 0]),
    st.booleans(),
    st.booleans(),
)
completions: SearchStrategy[Completion] = st.builds(
    Completion,
    st.lists(texts, min_size=1, max_size=4),
    st.sampled_from(some.USAGES),
    more=st.sampled_from([{}, {"kv_transfer_params": {"a": 1}}, {"service_tier": "auto", "metrics": [1]}]),
)


def logprobs(pieces: Sequence[str], start: int = 0, offset: int = 0) -> dict[str, JSON]:
    """Log probabilities of successive tokens, of which the very first has none."""
    offsets = [offset + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    values: list[float | None] = [-0.5 * (start + number) or None for number in range(len(pieces))]
    return {
        "text_offset": offsets,
        "token_logprobs": values,
        "tokens": list(pieces),
        "top_logprobs": [
            None if value is None else {piece: value, "": -9999.0}
            for piece, value in zip(pieces, values, strict=True)
        ],
    }


def token_ids(pieces: Sequence[str], start: int = 0) -> list[int]:
    """The ids of successive tokens."""
    return [start + number for number in range(len(pieces))]


@st.composite
def documents(draw: DrawFn, said: Completion) -> dict[str, JSON]:
    """The reply of a server that says everything at once."""
    noise: dict[str, JSON] = draw(
        st.sampled_from([{}, {"prompt_logprobs": None, "prompt_token_ids": None, "routed_experts": None}])
    )
    choices: list[JSON] = []
    for index, text in enumerate(said.texts):
        choice: dict[str, JSON] = {"index": index, "text": "".join(text.pieces), "logprobs": None, **noise}
        if text.with_logprobs:
            choice["logprobs"] = logprobs(text.pieces)
        if text.with_tokens:
            choice["token_ids"] = token_ids(text.pieces)
        choices.append({**choice, "finish_reason": text.finish_reason, "stop_reason": text.stop_reason})
    head: dict[str, JSON] = {"id": said.id, "object": "text_completion", "created": 5, "model": "served"}
    return {**head, "choices": choices, "usage": said.usage, **said.more}


bodies: SearchStrategy[bytes] = some.bodies_of(completions.flatmap(documents))
"""A whole reply: sound, damaged, an error, or anything."""

# -- streams ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A stream as frames, and what it is to add up to."""

    said: Completion
    frames: Sequence[dict[str, JSON]]


def _entry(index: int, text: Text, start: int, end: int) -> dict[str, JSON]:
    """The tokens from ``start`` to ``end`` of one choice."""
    pieces = text.pieces[start:end]
    entry: dict[str, JSON] = {"index": index, "text": "".join(pieces), "logprobs": None}
    if text.with_logprobs and pieces:
        entry["logprobs"] = logprobs(pieces, start, len("".join(text.pieces[:start])))
    if text.with_tokens:
        entry["token_ids"] = token_ids(pieces, start) or None
    return {**entry, "finish_reason": None, "stop_reason": None}


@st.composite
def _entries(draw: DrawFn, index: int, text: Text) -> list[dict[str, JSON]]:
    """One choice as the entries of successive frames, of one token or several."""
    count = len(text.pieces)
    ends = [*sorted(draw(st.sets(st.integers(1, count - 1)))), count] if count > 1 else [count] * count
    out = [_entry(index, text, start, end) for start, end in pairwise([0, *ends])]
    if not out or draw(st.booleans()):
        out.append(_entry(index, text, count, count))
    if draw(st.integers(0, 3)) == 0:
        out.insert(draw(st.integers(0, len(out) - 1)), {"index": index, "text": None, "finish_reason": ""})
    out[-1] |= {"finish_reason": text.finish_reason, "stop_reason": text.stop_reason}
    return out


@st.composite
def scripts(draw: DrawFn) -> Script:
    """A sound stream, in the spelling of some server."""
    said = draw(completions)
    queues = [draw(_entries(index, text)) for index, text in enumerate(said.texts)]
    groups: list[list[JSON]] = []
    together = draw(st.booleans())
    while any(queues):
        waiting = [queue for queue in queues if queue]
        chosen = waiting if together else [draw(st.sampled_from(waiting))]
        groups.append([queue.pop(0) for queue in chosen])
    head: dict[str, JSON] = {"id": said.id, "object": "text_completion", "created": 5, "model": "served"}
    frames: list[dict[str, JSON]] = [{**head, "choices": group} for group in groups]
    frames[draw(st.sampled_from([0, -1]))] |= said.more
    return Script(said, draw(some.frames_with_usage(frames, head, said.usage)))


any_streams: SearchStrategy[bytes] = some.streams_of(scripts(), bodies)
"""What may come where a streamed completion should."""
