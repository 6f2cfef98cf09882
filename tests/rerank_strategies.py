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

_INDEXES: SearchStrategy[str] = st.sampled_from(["0", "1", "2", "3"])
_ODD_VALUES: SearchStrategy[str] = st.sampled_from(
    [
        "null", "true", '"0"', "NaN", "-Infinity", "[1]", "{}", "01", "", "0,0", "1.0", "-0", "-1", "7", "9" * 30,
        '{"a":NaN}', '"\\ud83d"', '"\x01"', '"\\q"', "{", "9007199254740992", "9007199254740993", "[-0]",
    ]
)  # fmt: skip
_SPELLED_SCORES: SearchStrategy[str] = st.one_of(
    st.sampled_from(
        ["0.5", "0.5", "0.50", "5e-1", "0.25", "1.6019e-05", "9007199254740991", "0", "-0.0", "-0"]
    ),
    st.floats(-1e3, 1e3).map(repr),
    some.spelled_numbers.map(lambda number: number.source),
)
_SHOWN: SearchStrategy[str] = st.sampled_from(
    [
        '{"text":"x","multi_modal":null}', '{"text":"x"}', "null", '{"a":-0}', '"é"', '{"a":1,"a":{"a":[1.50]}}',
        "[" * 100 + "]" * 100,
    ]
)  # fmt: skip


@st.composite
def _spelled_row(draw: DrawFn, index: str) -> str:
    members = [
        ("index", index), ("document", draw(_SHOWN)), ("relevance_score", draw(_SPELLED_SCORES)),
    ]  # fmt: skip
    place = draw(st.integers(0, 2))
    match draw(st.integers(0, 29)):
        case 0 | 1:
            members[place] = (members[place][0], draw(_ODD_VALUES))
        case 2:
            del members[place]
        case 3:
            members.append((draw(st.sampled_from(["score", "x_vendor"])), draw(_SPELLED_SCORES)))
        case 4:
            members.append((members[place][0], draw(_SPELLED_SCORES)))
        case 5 | 6:
            members = draw(st.permutations(members))
    blank = draw(st.sampled_from(["", "", "", " ", "\n"]))
    return "{" + f"{blank},{blank}".join(f'"{name}":{blank}{value}' for name, value in members) + "}"


@st.composite
def spelled_bodies(draw: DrawFn) -> bytes:
    """A ranking of up to four documents in every spelling, now and then with something odd in it."""
    unique = draw(st.integers(0, 9)) > 0
    rows = [
        draw(_spelled_row(index)) for index in draw(st.lists(_INDEXES, unique=unique, min_size=1, max_size=5))
    ]
    members = [
        ("id", draw(st.sampled_from(['"score-1"', '"é"', "null"]))),
        ("model", draw(st.sampled_from(['"m"', '"served"', "null"]))),
        ("usage", some.dumped(draw(st.sampled_from(USAGES))).decode()),
        ("results", "[" + ",".join(rows) + "]"),
    ]
    place = draw(st.integers(0, 3))
    match draw(st.integers(0, 19)):
        case 0:
            members[place] = (members[place][0], draw(_ODD_VALUES))
        case 1:
            del members[place]
        case 2:
            members.append((draw(st.sampled_from(["error", "x_vendor"])), draw(_ODD_VALUES)))
        case 3:
            members.append(members[place])
        case 4:
            members[2] = (
                "usage",
                draw(st.sampled_from(['{"total_tokens":-0}', '{"cost":0.10}', '{"a":[-0,1]}'])),
            )
        case 5:
            members = draw(st.permutations(members))
    body = ("{" + ",".join(f'"{name}":{value}' for name, value in members) + "}").encode()
    match draw(st.integers(0, 19)):
        case 0:
            return b"\xef\xbb\xbf" + body
        case 1:
            return body.replace(b"x", b"\xff")
    return body
