"""What hypothesis draws from for embeddings: requests, vectors and replies, digit by digit."""

import struct
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests import strategies as some
from tests.strategies import JSON

inputs: SearchStrategy[JSON] = st.one_of(
    some.sane_texts,
    st.lists(some.sane_texts, min_size=1, max_size=3),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=3),
    st.sampled_from([None, []]),
)
"""Text or token ids, one input or several, or none."""

PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "encoding_format": st.sampled_from(["float", "base64", "base64", "bytes", "ubinary", None, 5, [], {}]),
    "dimensions": st.sampled_from([1, 1024, 0]),
    "embed_dtype": st.sampled_from(["float32", "float16", "bfloat16"]),
    "endianness": st.sampled_from(["native", "little", "big"]),
    "user": st.just("u" * 100),
    "truncate_prompt_tokens": st.sampled_from([-1, 8]),
    "normalize": st.booleans(),
    "priority": st.just(3),
    "messages": st.just([{"role": "user", "content": "a"}]),
    "model": st.just("other"),
    "stream": st.booleans(),
    "x_vendor": some.json_values,
}
"""What clients send besides model and input, and traps."""

float32s: SearchStrategy[float] = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors: SearchStrategy[list[float]] = st.lists(float32s, max_size=6)
"""Vectors as a server holds them."""


def packed(vector: Sequence[float]) -> bytes:
    """A vector as the bytes that base64 stands for."""
    return struct.pack(f"<{len(vector)}f", *vector)


@st.composite
def documents(draw: DrawFn) -> dict[str, JSON]:
    """The reply of a server, in numbers or in base64."""
    count = draw(st.integers(0, 4))
    order = draw(st.permutations(range(count)))
    rows: list[JSON] = []
    for index in order:
        embedding: JSON = draw(
            st.one_of(vectors, vectors, vectors, st.sampled_from(["AACAPwAAIMA=", "", "AAA", [[1.0], [2]]]))
        )
        row: dict[str, JSON] = {"index": index, "object": "embedding", "embedding": embedding}
        rows.append({**row, **draw(some.some_of({"x_vendor": some.json_values}))})
    usage = {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0, "prompt_tokens_details": None}
    head: dict[str, JSON] = {"id": "embd-1", "object": "list", "created": 5, "model": "served"}
    more = draw(some.some_of({"x_vendor": some.json_values, "service_tier": st.none()}))
    return {**head, "data": rows, "usage": usage, **more}


bodies: SearchStrategy[bytes] = some.bodies_of(documents())
"""A whole reply: sound, damaged, an error, or anything."""

_ODD_JSON = st.sampled_from(
    [
        b"[-0]", b"-0", b"[1,\n -0 , 2]", b'{"a":-0}', b'[{"a":1,"a":2}]', b'{"a":1,"a":[2]}', b'"\\ud83d"',
        b'["\\ud83d"]', b'["\xc3\xa9"]', b'["\xff"]', b'"\xff"', b'["\xed\xa0\x80"]', b'{"\xff":1}', b'["\x01"]',
        b"[NaN,1]", b"NaN", b"[1e400]", b"[" + b"7" * 5000 + b"]", b"9" * 4200, b"[01]", b"[1,]", b"[[1],[2]]",
        b"[" * 60 + b"]" * 60, b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60, b"null", b"[]", b'""', b"true",
    ]
)  # fmt: skip
_ANY_JSON: SearchStrategy[bytes] = st.one_of(
    _ODD_JSON,
    some.spellings.map(lambda text: text.source.encode()),
    some.json_values.map(some.dumped),
    some.almost_json,
)
_BLANKS = st.sampled_from([b"", b"", b" ", b"\n\t "])


@st.composite
def spelled_bodies(draw: DrawFn) -> bytes:
    """A reply whose vectors and other members are spelled in every way, or are no JSON at all."""
    rows: list[bytes] = []
    for _ in range(draw(st.integers(0, 2))):
        members = [b'"embedding":%b' % draw(_ANY_JSON)]
        members += draw(st.sampled_from([[], [b'"index":0'], [b'"index":1'], [b'"index":-0']]))
        members += draw(st.lists(_ANY_JSON.map(lambda value: b'"x":%b' % value), max_size=1))
        if draw(st.integers(0, 5)) == 0:
            members.append(b'"embedding":%b' % draw(_ANY_JSON))  # a second time
        blank = draw(_BLANKS)
        rows.append(blank + b"{" + (blank + b"," + blank).join(draw(st.permutations(members))) + blank + b"}")
    members = [b'"data":[%b]' % b",".join(rows)]
    if draw(st.integers(0, 2)) == 0:
        members.append(b'"y":%b' % draw(_ANY_JSON))
    if draw(st.integers(0, 3)) == 0:
        members.append(
            draw(
                st.sampled_from(
                    [
                        b'"usage":{"prompt_tokens":-0,"total_tokens":1.0,"cost":0.10}', b'"error":null',
                        b'"data":[]', b'"error":{"message":"no"}', b'"object":"error"', b'"model":null', b'"z":[1,2]',
                        b'"others":[{"embedding":[1.0]},{}]', b'"\\ud83d":1', b'"id":1.50', b'"created":1E5',
                    ]
                )
            )
        )  # fmt: skip
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b" "])) + b"{%b}" % b",".join(members)


_INDEXES: SearchStrategy[bytes] = st.sampled_from([b"0", b"1", b"2", b"10"])
_ODD_INDEXES: SearchStrategy[bytes] = st.sampled_from(
    [b"-0", b"1.0", b"-1", b'"1"', b"null", b"01", b"9" * 30, b"1e1"]
)
_SPELLED_VECTORS: SearchStrategy[bytes] = st.lists(some.spelled_numbers, max_size=4).map(
    lambda numbers: b"[%b]" % ",".join(number.source for number in numbers).encode()
)
_SPELLED_TEXTS: SearchStrategy[bytes] = st.sampled_from(
    [
        b'"AACAPwAAIMA="',
        b'"AACAPwAAIMA="',
        b'"AACA\\u0050wAAIMA="',
        b'"AACAPwAAIMA\\u003d"',
        b'""',
        b'"\xc3\xa9"',
        b'"\x7f"',
    ]
)


@st.composite
def _spelled_row(draw: DrawFn, vectors: SearchStrategy[bytes]) -> bytes:
    members = [(b"index", draw(_INDEXES)), (b"object", b'"embedding"'), (b"embedding", draw(vectors))]
    match draw(st.integers(0, 29)):
        case 0:
            members[0] = (b"index", draw(_ODD_INDEXES))
        case 1:
            members[1] = (b"object", draw(_ANY_JSON))
        case 2:
            members[2] = (b"embedding", draw(_ANY_JSON))
        case 3:
            del members[draw(st.integers(0, 2))]
        case 4:
            members.append((b"embedding", draw(vectors)))
        case 5:
            members.append((b"x_vendor", draw(_ANY_JSON)))
        case 6 | 7:
            members = draw(st.permutations(members))
    return b"{%b}" % b",".join(b'"%b":%b' % member for member in members)


@st.composite
def nearly_plain_bodies(draw: DrawFn) -> bytes:
    """What vLLM says, now and then with something odd in it."""
    vectors = draw(st.sampled_from([_SPELLED_VECTORS, _SPELLED_VECTORS, _SPELLED_TEXTS]))
    rows = draw(st.lists(_spelled_row(vectors), max_size=4))
    members = [
        (b"id", b'"embd-1"'), (b"object", b'"list"'), (b"created", b"5"), (b"model", b'"served"'),
        (b"data", b"[%b]" % b",".join(rows)),
        (b"usage", b'{"prompt_tokens":2,"total_tokens":2,"completion_tokens":0,"prompt_tokens_details":null}'),
    ]  # fmt: skip
    place = draw(st.integers(0, 5))
    match draw(st.integers(0, 19)):
        case 0 | 1:
            members[place] = (members[place][0], draw(_ANY_JSON))
        case 2:
            del members[place]
        case 3:
            members.append(
                (draw(st.sampled_from([b"error", b"x_vendor", b"extra_fields", b"object"])), draw(_ANY_JSON))
            )
        case 4:
            members.append(members[place])
        case 5:
            members = draw(st.permutations(members))
    return b"{%b}" % b",".join(b'"%b":%b' % member for member in members)
