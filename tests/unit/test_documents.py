"""The JSON codec: total, exact, order and spelling kept."""

import math

import msgspec
import pytest

from translate import documents
from translate.documents import Malformed

NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(b'{"b":1,"a":2}', {"b": 1, "a": 2}, id="an object"),
        pytest.param(b"\xef\xbb\xbf[1]", [1], id="a byte order mark is skipped"),
        pytest.param(b"18446744073709551617", 2**64 + 1, id="an integer beyond 64 bits is exact"),
        pytest.param(b'"\\ud83d"', "\ud83d", id="a lone surrogate is kept"),
        pytest.param(b'"a\x01b"', "a\x01b", id="a control character inside text is kept"),
        pytest.param(b"[NaN,Infinity,-Infinity]", [None, None, None], id="non-finite numbers are null"),
    ],
)
def test_decode_reads(data: bytes, value: object) -> None:
    assert documents.decode(data) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \n", "empty", id="blanks"),
        pytest.param(b"\xff", "not UTF-8 at byte 0", id="no text"),
        pytest.param(NESTED, "nested too deeply", id="nesting without end"),
        pytest.param(b"{} {}", "Extra data: line 1 column 4 (char 3)", id="something after it"),
    ],
)
def test_decode_says_why_not(data: bytes, reason: str) -> None:
    assert documents.decode(data) == Malformed(reason)


def test_strict_decoding_refuses_what_is_not_json() -> None:
    assert documents.decode(b'{"temperature":NaN}', strict=True) == Malformed("NaN is not JSON")
    assert documents.decode(b'"a\x01b"', strict=True) == Malformed(
        "Invalid control character at: line 1 column 3 (char 2)"
    )


def test_an_object_is_asked_for() -> None:
    assert documents.decode_object(b"[1]") == Malformed("expected an object, got an array")


@pytest.mark.parametrize(
    "text",
    ["1.50", "1E5", "1e5", "1e400", "-0.0", "0.1", "1e-05", "0.00001", "123456789.123456789123", "9" * 5000],
)
def test_numbers_go_out_as_they_came_in(text: str) -> None:
    data = f'{{"n":{text}}}'.encode()
    assert documents.encode(documents.decode(data)) == data


def test_numbers_as_people_write_them_go_out_as_they_came_in() -> None:
    spellings = ("{:.1f}", "{:.2f}", "{:.3f}", "{:e}", "{:E}", "{!r}", "{:g}")
    texts = {spelling.format(each / 100) for each in range(-210, 211) for spelling in spellings}
    data = f"[{','.join(sorted(texts))}]".encode()
    numbers = documents.decode(data, strict=True)
    assert numbers == [float(text) for text in sorted(texts)]
    assert documents.encode(numbers) == documents.encode(documents.decode(data)) == data


def test_a_spelled_number_is_the_float_that_it_spells() -> None:
    value = documents.decode(b"1.50")
    assert isinstance(value, float)
    assert value == 1.5


@pytest.mark.parametrize(
    ("value", "data"),
    [
        pytest.param({"a": math.nan, "b": [math.inf]}, b'{"a":null,"b":[null]}', id="non-finite numbers"),
        pytest.param("\ud83d✅", b'"\\ud83d\\u2705"', id="a lone surrogate"),
        pytest.param(
            {"a": "\ud83d", "b": [], "c": {}, "d": (1, True, None)},
            b'{"a":"\\ud83d","b":[],"c":{},"d":[1,true,null]}',
            id="beside other values",
        ),
    ],
)
def test_encode_writes(value: object, data: bytes) -> None:
    assert documents.encode(value) == data


class _Row(msgspec.Struct):
    left: documents.Raw
    gone: msgspec.UnsetType = msgspec.UNSET


def test_what_only_msgspec_writes_is_written_beside_anything() -> None:
    row = _Row(documents.Raw('{"é": 1.50}'.encode()))
    assert documents.encode([row]) == '[{"left":{"é": 1.50}}]'.encode()
    assert documents.encode([row, "\ud83d"]) == b'[{"left":{"\\u00e9":1.50}},"\\ud83d"]'
    deep = documents.Raw(b"[" * 5_000 + b"]" * 5_000)
    assert documents.encode([deep, "\ud83d"]) == b'[%b,"\\ud83d"]' % deep


def test_encode_names_the_place_that_is_not_json() -> None:
    assert documents.encode({"a": [1, {"b": object()}]}) == Malformed(
        "a value of type object is not JSON", "a[1].b"
    )


def test_encode_writes_any_depth_that_ends() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    assert documents.encode(deep) == b"[" * 5000 + b"1" + b"]" * 5000


def test_encode_refuses_a_value_that_holds_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert documents.encode(loop) == Malformed("nested too deeply")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (3.0, 3),
        (documents.decode(b"1E5"), 100_000),
        (True, None),
        (3.5, None),
        ("3", None),
        (None, None),
    ],
)
def test_whole_numbers(value: object, number: int | None) -> None:
    assert documents.as_integer(value) == number
