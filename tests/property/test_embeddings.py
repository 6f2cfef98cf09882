"""translate.embeddings: the vectors of any reply, to the last digit."""

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import embedding_strategies as embedding
from tests import strategies as some
from tests.property.judgement import encoded, same, wire
from translate import documents, embeddings, vectors
from translate.plan import Call, Failure
from transports.base import Reply

PLAIN = Call("embedding")
VERBATIM = Call("embedding", verbatim=True)
each_call = pytest.mark.parametrize("call", [PLAIN, VERBATIM], ids=["lists", "verbatim"])
ENCODINGS: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"encoding_format": "ubinary"}]
)


def parsed(body: bytes, params: Mapping[str, object], call: Call) -> Mapping[str, object]:
    """An answer, or the error that took its place."""
    outcome = embeddings.parse(
        {"model": "m", "input": ["a"], "params": params}, Reply(200, {}, body), 0, call
    )
    return outcome.error if isinstance(outcome, Failure) else outcome


def body_of(*vectors: object) -> bytes:
    rows = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return encoded({"data": rows})


def vectors_of(answer: Mapping[str, object]) -> list[object]:
    """The vectors as a client reads them."""
    document = documents.decode(encoded(answer))
    assert isinstance(document, dict)
    return [row["embedding"] for row in document["data"]]


def notes_of(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    notes = wire(answer["extra_fields"]).get("translation_notes", ())
    return [(note["param"], note["action"]) for note in notes]


# -- verbatim ----------------------------------------------------------------------------------------


@given(
    embedding.spelled_bodies()
    | embedding.nearly_plain_bodies()
    | embedding.bodies
    | embedding.nearly_plain_bodies(),
    ENCODINGS,
)
@example(b'{"data":[{"embedding":["\xff"]}]}', {})
@example(b'{"data":[{"embedding":["\xed\xa0\x80"]}]}', {})
@example(b'{"data":[{"embedding":[1],"x":"\xff"}]}', {})
@example(b'{"data":[{"embedding":[1],"x":{"\xff":1}}]}', {})
@example(b'{"data":[{"embedding":[1]}],"y":-0,"usage":{"total_tokens":1,"z":-0}}', {})
@example(b'{"data":[{"embedding":[1],"embedding":[2]}],"data":[{"embedding":[3]}]}', {})
@example(b'{"data":[{"embedding":[{"a":1,"a":2}]}]}', {})
@example(b'{"data":[{"embedding":[1]}],"y":"\xff"}', {})
@example(b'{"data":[{"embedding":[1]}],"y":%b}' % (b"9" * 4200), {})
@example(b'{"data":[{"embedding":[1],"x":%b}]}' % (b"9" * 4200), {})
@example(b'{"data":[{"embedding":[1]}],"y":true,"z":false,"":0}', {})
@example(b'{"data":[{"index":0,"object":"embedding","embedding":[1],"x":"x"}]}', {})
@example(b'{"data":[{"index":-0,"object":"embedding","embedding":[1]}]}', {})
@example(b'{"data":[{"index":1.0,"object":"embedding","embedding":[1]}]}', {})
@example(b'{"data":[{"index":%b,"object":"embedding","embedding":[1]}]}' % (b"9" * 5000), {})
@example(b'{"data":[],"y":[{"index":0,"object":"embedding","embedding":[1]}]}', {})
@example(
    b'{"data":[{"index":0,"object":"embedding","embedding":"AA\\u0041="}]}', {"encoding_format": "base64"}
)
def test_vectors_left_undecoded_are_the_same_json_to_the_last_digit(
    body: bytes, params: dict[str, object]
) -> None:
    said, expected = encoded(parsed(body, params, VERBATIM)), encoded(parsed(body, params, PLAIN))
    json.loads(said, parse_int=str)
    assert encoded(documents.decode(said, strict=True)) == encoded(documents.decode(expected, strict=True))
    if b" " not in body and holds_numbers_or_text(body):
        assert said == expected


def holds_numbers_or_text(body: bytes) -> bool:
    """Whether the vectors of a reply are of a kind that has one spelling, but for blanks."""
    document = documents.decode(body)
    rows = document.get("data") if isinstance(document, dict) else None
    vectors = [row.get("embedding") if isinstance(row, dict) else None for row in rows or ()]
    return all(
        isinstance(vector, str) or (isinstance(vector, list) and all(type(n) in _NUMBERS for n in vector))
        for vector in vectors
    )


_NUMBERS = {int, float, documents.Spelled}


@each_call
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
@pytest.mark.parametrize(
    "place", [b'"embedding":[%b]', b'"embedding":[],"x":%b', b'"embedding":[]}],"y":[{"z":%b']
)
def test_depth_is_read_or_refused_but_nothing_is_made_up(
    place: bytes, brackets: tuple[bytes, bytes], call: Call
) -> None:
    for depth in (*range(940, 1000), 5_000, 100_000):
        value = brackets[0] * depth + b"1" + brackets[1] * depth
        body = b'{"data":[{%b}]}' % (place % value)
        answer = parsed(body, {}, call)
        data = encoded(answer)
        assert "error" in answer or value in data, depth
        assert "error" not in answer or depth > 940


@each_call
@given(
    st.lists(st.lists(some.spelled_numbers, max_size=5), min_size=1, max_size=3),
    st.sampled_from(["", " ", "\n\t"]),
    st.booleans(),
)
@example([[some.Spelling("-0", "-0"), some.Spelling("1E5", "1E5"), some.Spelling("0.10", "0.10")]], " ", True)
def test_numbers_keep_every_digit(
    call: Call, vectors: list[list[some.Spelling]], blank: str, nested: bool
) -> None:
    rows: list[str] = []
    compact: list[str] = []
    for vector in vectors:
        source = f"{blank},{blank}".join(number.source for number in vector)
        text = ",".join(number.compact for number in vector)
        rows.append(
            f'{{"embedding":{blank}[[{source}]]}}' if nested else f'{{"embedding":{blank}[{source}]}}'
        )
        compact.append(f'"embedding":[[{text}]]' if nested else f'"embedding":[{text}]')
    answer = parsed(f'{{"data":[{",".join(rows)}]}}'.encode(), {}, call)
    out = encoded(documents.decode(encoded(answer))).decode()
    for text in compact:
        assert text in out


@given(st.lists(embedding.vectors, min_size=1, max_size=4))
def test_numbers_that_nobody_reads_are_not_decoded(vectors: list[list[float]]) -> None:
    rows = parsed(body_of(*vectors), {}, VERBATIM)["data"]
    assert isinstance(rows, list)
    assert [type(row["embedding"]) for row in rows] == [documents.Raw] * len(vectors)
    assert same([json.loads(bytes(row["embedding"])) for row in rows], wire(vectors))


@given(st.lists(embedding.vectors, max_size=4), st.booleans(), st.data())
def test_what_vllm_says_is_read_by_type(said: list[list[float]], in_base64: bool, data: DataObject) -> None:
    forms = [base64.b64encode(embedding.packed(vector)).decode() if in_base64 else vector for vector in said]
    rows = [{"index": i, "object": "embedding", "embedding": form} for i, form in enumerate(forms)]
    usage = {"prompt_tokens": 2, "total_tokens": 2, "prompt_tokens_details": None}
    head = {"id": "embd-1", "object": "list", "created": 5, "model": "m", "usage": usage}
    document = vectors.read(encoded({**head, "data": data.draw(st.permutations(rows))}), in_base64)
    assert document is not None
    assert encoded(document) == encoded({**head, "data": rows})
    assert not any(isinstance(row, dict) for row in document["data"])  # type: ignore[attr-defined]


# -- the two forms -----------------------------------------------------------------------------------


@each_call
@given(st.lists(embedding.vectors, min_size=1, max_size=3))
@example([[-0.0, 2.0**-149, 3.4028234663852886e38]])
def test_a_vector_survives_the_way_to_base64_and_back(call: Call, vectors: list[list[float]]) -> None:
    asked_text = parsed(body_of(*vectors), {"encoding_format": "base64"}, call)
    texts = vectors_of(asked_text)
    assert texts == [base64.b64encode(embedding.packed(vector)).decode() for vector in vectors]
    asked_numbers = parsed(body_of(*texts), {"encoding_format": "float"}, call)
    numbers = [[float(number) for number in vector] for vector in vectors]
    assert same(vectors_of(asked_numbers), numbers)
    for answer in (asked_text, asked_numbers):
        assert notes_of(answer) == [("data[].embedding", "converted")]
    for params, form in (({}, vectors), ({"encoding_format": "base64"}, texts)):
        answer = parsed(body_of(*form), params, call)
        assert same(vectors_of(answer), wire(form))
        assert notes_of(answer) == []


@each_call
@given(some.json_values)
@example([1e300])
@example([10**400])
@example([True])
@example(documents.decode(b"[1e400]"))
@example([documents.decode(b"9" * 5000)])
def test_what_becomes_base64_is_a_vector_of_finite_numbers(call: Call, value: object) -> None:
    body = body_of(value)
    answer = parsed(body, {"encoding_format": "base64"}, call)
    came = documents.decode(body)
    assert isinstance(came, dict)
    vector = came["data"][0]["embedding"]
    if vector is None or isinstance(vector, str):
        assert ("error" in answer) == (vector is None)
        return
    (out,) = vectors_of(answer)
    if isinstance(out, str):
        data = base64.b64decode(out)
        numbers = struct.unpack(f"<{len(vector)}f", data)
        assert all(map(math.isfinite, numbers))
        assert not any(isinstance(number, bool) for number in vector)
        assert data == embedding.packed([float(number) for number in vector])
    else:
        assert encoded(out) == encoded(vector)
        assert notes_of(answer) == [("data[].embedding", "repaired")]


@each_call
@given(st.text(max_size=12) | st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode()))
@example("AACAf")  # too short
@example("AACAfw==")  # infinity
@example("AAAA\nAAA=")
def test_base64_becomes_numbers_or_stays(call: Call, text: str) -> None:
    answer = parsed(body_of(text), {}, call)
    (out,) = vectors_of(answer)
    if isinstance(out, list):
        numbers = struct.unpack(f"<{len(out)}f", base64.b64decode(text, validate=True))
        assert same(out, [number if math.isfinite(number) else None for number in numbers])
    else:
        assert out == wire(text)
        assert notes_of(answer) == [("data[].embedding", "repaired")]


@each_call
@pytest.mark.parametrize("vector", [[1.0, -2.5], "AACAPwAAIMA="], ids=["numbers", "base64"])
@pytest.mark.parametrize(
    "params",
    [
        {"embed_dtype": "float16"},
        {"embed_dtype": "bfloat16", "encoding_format": "base64"},
        {"embed_dtype": []},
        {"endianness": "big"},
        {"endianness": "big", "encoding_format": "base64"},
        {"encoding_format": "ubinary"},
        {"encoding_format": ["float"]},
        {"extra_body": {"encoding_format": "int8"}},
        {"extra_params": {"embed_dtype": "float8"}},
    ],
    ids=json.dumps,
)
def test_numbers_of_which_we_know_no_more_stay_as_they_came(
    params: Mapping[str, object], vector: object, call: Call
) -> None:
    answer = parsed(body_of(vector), params, call)
    assert vectors_of(answer) == [vector]
    assert [note for note in notes_of(answer) if note[0] == "data[].embedding"] == []


# -- order -------------------------------------------------------------------------------------------


@each_call
@given(st.permutations(range(5)), st.sampled_from([{}, {"encoding_format": "base64"}]))
def test_any_order_of_the_rows_gives_the_same_answer(
    call: Call, order: Sequence[int], params: dict[str, object]
) -> None:
    def reply(indexes: Sequence[int]) -> bytes:
        return encoded({"data": [{"index": index, "embedding": [index + 0.5]} for index in indexes]})

    assert encoded(parsed(reply(order), params, call)) == encoded(parsed(reply(range(5)), params, call))


@each_call
@given(st.lists(st.sampled_from([0, 1, 2, 2.0, None, "1", True, 10**30]), max_size=4))
@example([2, "x", 1])
def test_no_vector_is_lost_or_parted_from_its_number(call: Call, indexes: list[object]) -> None:
    rows = [{"index": index, "embedding": [place]} for place, index in enumerate(indexes)]
    out = wire(parsed(encoded({"data": rows}), {}, call))["data"]
    assert sorted(row["embedding"][0] for row in out) == list(range(len(indexes)))
    for row in out:
        place = row["embedding"][0]
        assert same(row["index"], place if indexes[place] is None else indexes[place])
    if any(isinstance(index, str | bool) for index in indexes):
        assert [row["embedding"][0] for row in out] == list(range(len(indexes)))
    else:
        assert out == sorted(out, key=lambda row: row["index"])
