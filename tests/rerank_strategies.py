"""What hypothesis draws from for rerank: requests and rankings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests import strategies as some
from tests.strategies import JSON

_TEXTS = some.sane_texts.filter(lambda text: bool(text.strip()))
_OBJECTS: SearchStrategy[JSON] = st.builds(
    lambda text, more: {**more, "text": text},
    _TEXTS,
    some.some_of({"id": st.sampled_from([7, "a", None]), "meta": some.json_values}),
)
_PICTURES: SearchStrategy[JSON] = st.just(
    {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
)
candidates: SearchStrategy[list[JSON]] = st.lists(_TEXTS | _OBJECTS | _PICTURES, min_size=1, max_size=5)
"""Documents to be ranked."""

PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "top_n": st.sampled_from([1, 2, 100, 1.0, 0, -1, "1", None]),
    "return_documents": st.sampled_from([True, True, False, None, "yes"]),
    "max_tokens_per_doc": st.just(8),
    "priority": st.just(3),
    "truncate_prompt_tokens": st.just(-1),
    "truncation_side": st.sampled_from(["left", "middle"]),
    "use_activation": st.booleans(),
    "user": st.just("u" * 100),
    "model": st.just("other"),
    "stream": st.booleans(),
    "x_vendor": some.json_values,
}
"""What clients send besides model, query and documents, and traps."""


@dataclass(frozen=True)
class Ranking:
    """Documents, and rows about some of them in any order, each document once."""

    candidates: Sequence[JSON]
    rows: Sequence[Mapping[str, JSON]]


_SCORES: SearchStrategy[JSON] = st.one_of(
    st.sampled_from([0.0, -0.0, 0, 1, -3.5, 1e-300, 2**70, -(10**400), 0.5, 0.5]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def rankings(draw: DrawFn) -> Ranking:
    """A sound ranking."""
    documents = draw(candidates)
    indexes = draw(st.lists(st.integers(0, len(documents) - 1), unique=True))
    rows: list[Mapping[str, JSON]] = []
    for index in indexes:
        name = draw(st.sampled_from(["relevance_score", "relevance_score", "score"]))
        row: dict[str, JSON] = {"index": index, name: draw(_SCORES)}
        row |= draw(
            st.sampled_from([{}, {"document": {"text": "x", "multi_modal": None}}, {"document": None}])
        )
        rows.append({**row, **draw(some.some_of({"x_vendor": some.finite_values, "y": st.just([1])}))})
    return Ranking(documents, rows)


USAGES: Sequence[JSON] = [
    None, {}, {"total_tokens": 5}, {"total_tokens": 0}, {"prompt_tokens": 5, "total_tokens": 5},
    {"input_tokens": 3, "output_tokens": 1}, {"prompt_tokens": 0, "input_tokens": 3}, {"search_units": 1},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "x", {"prompt_tokens_details": {"cached_tokens": 4}},
]  # fmt: skip


@st.composite
def documents(draw: DrawFn) -> dict[str, JSON]:
    """The reply of a server about as many documents as some request has."""
    rows: list[JSON] = [dict(row) for row in draw(rankings()).rows]
    more = draw(
        some.some_of({"id": st.just("score-1"), "model": st.just("served"), "x_vendor": some.json_values})
    )
    return {"results": rows, "usage": draw(st.sampled_from(USAGES)), **more}


bodies: SearchStrategy[bytes] = some.bodies_of(documents())
"""A whole reply: sound, damaged, an error, or anything."""
