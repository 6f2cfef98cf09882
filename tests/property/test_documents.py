"""translate.documents, for any bytes and any value."""

import json
import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import strategies as some
from tests.property.judgement import encoded, same
from translate import documents


def _int(text: str) -> int | float:
    """An integer, except for those that Python cannot hold as they are spelled."""
    return int(text) if len(text) <= 4000 and text != "-0" else float(text)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_LENIENT = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_int)
_STRICT = json.JSONDecoder(parse_constant=_refuse, parse_int=_int)


def _peer(data: bytes, strict: bool) -> object | documents.Malformed:
    """What the standard library reads, as a value."""
    decoder = _STRICT if strict else _LENIENT
    try:
        value: object = decoder.decode(data.removeprefix(b"\xef\xbb\xbf").decode())
    except ValueError as error:
        return documents.Malformed(str(error))
    return value


def _nulled(value: object) -> object:
    """``value`` as JSON has it: no NaN, no infinity."""
    if isinstance(value, dict):
        return {name: _nulled(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_nulled(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(some.any_bytes | some.almost_json, st.booleans())
def test_any_bytes_decode_to_what_the_standard_library_reads_or_are_malformed(
    data: bytes, strict: bool
) -> None:
    value, peer = documents.decode(data, strict), _peer(data, strict)
    if isinstance(peer, documents.Malformed):
        assert isinstance(value, documents.Malformed), f"accepted {data!r}"
        assert value.reason
    else:
        assert same(value, peer)


@given(some.spellings)
def test_any_spelling_decodes_to_what_the_standard_library_reads(text: some.Spelling) -> None:
    data = text.source.encode()
    assert same(documents.decode(data), _peer(data, strict=False))
    assert same(documents.decode(data, strict=True), _peer(data, strict=True))


@given(some.spellings)
@example(some.Spelling("[1E5, 1.50, 1e400]", "[1E5,1.50,1e400]"))
def test_a_decoded_document_encodes_to_its_own_text_without_blanks(text: some.Spelling) -> None:
    out = encoded(documents.decode(text.source.encode()))
    escaped = re.sub(r"[^\x00-\x7e]", lambda found: json.dumps(found[0])[1:-1], text.compact)
    assert out in {text.compact.encode(errors="surrogatepass"), escaped.encode()}


_LONG_TEXT = " -0, ".join("word" for _ in range(5000))


@given(st.lists(some.spellings, max_size=3), st.sampled_from([0, 30, 90]))
@example([some.Spelling("-0", "-0")], 0)
@example([some.Spelling('{"a":[-0]}', '{"a":[-0]}')], 90)
def test_no_spelling_is_lost_beside_a_long_text(texts: list[some.Spelling], more: int) -> None:
    others = ["1"] * more
    source = ",".join([f'"{_LONG_TEXT}"', *others, *(text.source for text in texts)])
    for text, value in zip(texts, _members(f"[{source}]".encode())[1 + more :], strict=True):
        assert encoded(value) == encoded(documents.decode(text.source.encode()))


def _members(data: bytes) -> Sequence[object]:
    found = documents.as_array(documents.decode(data))
    assert found is not None
    return found


@given(some.json_values)
def test_what_is_encoded_is_json_of_the_same_value_and_a_fixed_point(value: object) -> None:
    out = encoded(value)
    assert same(json.loads(out), _nulled(value))
    assert encoded(documents.decode(out, strict=True)) == out


@given(some.python_values)
def test_any_python_value_encodes_to_json_or_is_malformed(value: object) -> None:
    out = documents.encode(value)
    if isinstance(out, bytes):
        json.loads(out)
    else:
        assert out.reason


@given(st.permutations(["b", "a", "é", "\ud83d", "", "10", "9"]))
def test_key_order_survives_both_ways(names: Sequence[str]) -> None:
    value = dict.fromkeys(names, 0)
    out = documents.decode(encoded(value))
    assert isinstance(out, dict)
    assert list(out) == list(names)


@given(some.integers)
def test_integers_are_exact(number: int) -> None:
    out = documents.decode(encoded([number]))
    assert out == [number]
    assert isinstance(out, list)
    assert isinstance(out[0], int)


@given(some.any_bytes | some.almost_json)
def test_only_an_object_is_decoded_as_an_object(data: bytes) -> None:
    value = documents.decode(data)
    held = documents.decode_object(data)
    assert isinstance(held, dict | documents.Malformed)
    assert isinstance(value, dict) == isinstance(held, dict)


@pytest.mark.parametrize("depth", [1, 500, 5_000, 100_000])
def test_depth_is_read_or_refused_but_never_raised(depth: int) -> None:
    for data in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth):
        value = documents.decode(data)
        if not isinstance(value, documents.Malformed):
            assert encoded(value) == data


@pytest.mark.parametrize("depth", [2_000, 50_000, 200_000])
def test_depth_is_written_or_refused_whatever_the_stack(depth: int) -> None:
    value: object = 0
    for _ in range(depth):
        value = [value]
    out = documents.encode(value)
    assert isinstance(out, documents.Malformed) or out == b"[" * depth + b"0" + b"]" * depth
    assert isinstance(out, bytes) or depth > 2_000
    # Taken apart by hand: Python's own way of freeing it would be as deep as the value.
    while isinstance(value, list):
        value = value.pop()


def test_a_value_that_holds_itself_is_malformed() -> None:
    around: list[object] = [0]
    around.append(around)
    assert isinstance(documents.encode(around), documents.Malformed)
    assert isinstance(documents.encode({"a": around}), documents.Malformed)


def test_an_integer_too_long_to_print_is_malformed() -> None:
    assert isinstance(documents.encode(10**5000), documents.Malformed)
