"""Bytes to JSON values and back, for any bytes and any value.

Both directions are total: trouble is a ``Malformed`` value, never an
exception. Key order is kept, integers are exact, and a number whose spelling a
float would lose (``1E5``, ``1.50``, ``1e400``, an integer of 5,000 digits) is
a ``Spelled`` and goes out as it came in.

msgspec does the work; what it refuses goes to the standard library, which
reads what servers in Python really write (NaN, lone surrogates, control
characters inside text), and to a writer that does not recurse.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Final, NoReturn, TypeVar

import msgspec

_BOM: Final = b"\xef\xbb\xbf"
# The one integer that int forgets. What is searched for stands first: that is ten times as fast.
_MINUS_ZERO: Final = re.compile(rb"-0(?![0-9.eE])(?<![^\s:,\[]-0)")
_LONG: Final = 32_768  # bytes of a document
_LOOKS: Final = 64
_LONGEST_INTEGER: Final = 4000  # digits; Python refuses to print more than 4,300
_DEEPEST: Final = 10_000  # containers; deeper than anything that decode gives


Raw = msgspec.Raw
"""JSON that was checked and left as it came; ``encode`` writes it so."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """What could not be read or written, where and why; quotes nothing of it."""

    reason: str
    place: str = ""


class Spelled(float):
    """A number together with its spelling; elsewhere it is that float."""

    __slots__ = ("text",)
    text: str


def _spelled(text: str) -> Spelled:
    number = Spelled(text)
    number.text = text
    return number


def _number(text: str) -> float:
    number = float(text)
    return number if repr(number) == text and "e" not in text else _spelled(text)


class _Numbers(dict[str, float]):
    """What ``_number`` makes of texts, those that it does not hold included."""

    def __missing__(self, text: str) -> float:
        return _number(text)


_WRITTEN: Final[Mapping[str, float]] = _Numbers({repr(each / 100): each / 100 for each in range(201)})
"""Numbers as people write them into requests: temperatures, penalties, probabilities."""


def _integer(text: str) -> int | float:
    return _spelled(text) if text == "-0" or len(text) > _LONGEST_INTEGER else int(text)


def _null(_constant: str) -> None:
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decode_fast: Final = msgspec.json.Decoder(float_hook=_number).decode
_decode_written: Final = msgspec.json.Decoder(float_hook=_WRITTEN.__getitem__).decode
_LENIENT: Final = json.JSONDecoder(
    parse_float=_number, parse_int=_integer, parse_constant=_null, strict=False
)
_STRICT: Final = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=_refuse)


def decode(data: bytes, strict: bool = False) -> object | Malformed:
    """The JSON value that ``data`` holds.

    NaN and the infinities become null, or are refused when ``strict``, as is
    right for what people write.
    """
    try:
        value: object = _decode_written(data) if strict else _decode_fast(data)
    except RecursionError:
        return Malformed("nested too deeply")
    except (msgspec.MsgspecError, ValueError):  # up to 0.20 the first is not one of the second
        return _decode_slowly(data, strict)
    if (len(data) > _LONG and _shows_no_zero(value)) or _MINUS_ZERO.search(data) is None:
        return value
    return _decode_slowly(data, strict)


def _shows_no_zero(value: object) -> bool:
    """Whether a few looks tell that there is no 0 in ``value``, and so no -0 either.

    They take less time than a search where nearly all of a document is one long text.
    """
    waiting = [value]
    for _ in range(_LOOKS):
        if not waiting:
            return True
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            if len(item) > _LOOKS:
                return False
            waiting.extend(item.values() if isinstance(item, dict) else item)
        elif type(item) is int and item == 0:
            return False
    return False


def _decode_slowly(data: bytes, strict: bool) -> object | Malformed:
    data = data.removeprefix(_BOM)
    decoder = _STRICT if strict else _LENIENT
    try:
        value: object = decoder.decode(data.decode())
    except UnicodeDecodeError as error:
        return Malformed(f"not UTF-8 at byte {error.start}")
    except RecursionError:
        return Malformed("nested too deeply")
    except ValueError as error:
        return Malformed(str(error) if data.strip() else "empty")
    return value


def decode_object(data: bytes, strict: bool = False) -> Mapping[str, object] | Malformed:
    """The JSON object that ``data`` holds."""
    value = decode(data, strict)
    if type(value) is dict or isinstance(value, Malformed):
        return value
    return Malformed(f"expected an object, got {type_name(value)}")


_Row = dict[str, Raw]
_ROWS: Final = msgspec.json.Decoder(dict[str, list[_Row] | _Row | str | int | bool | None])


def decode_rows(data: bytes, untouched: str) -> Mapping[str, object] | None:
    """An object whose arrays hold objects, with numbers that nobody reads left undecoded.

    Arrays under the name ``untouched`` in inner objects are ``Raw``:
    checked to be JSON, and written by ``encode`` as they came. Anything out of
    the ordinary gives ``None``; ``decode`` then says what it is.
    """
    members = decode_as(_ROWS, data)
    return None if members is None else decoded(members, untouched)


_T = TypeVar("_T")


def decode_as(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T | None:
    """What ``decoder`` reads by its type; ``None`` where that is not all that there is to say.

    It takes ``-0`` for the integer 0.
    """
    try:
        if not data.isascii():
            data.decode()  # msgspec does not check what it leaves undecoded
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def decoded(members: Mapping[str, object], untouched: str = "") -> Mapping[str, object] | None:
    """``members`` that ``decode_as`` gave, with the objects among them and in arrays decoded as well."""
    try:
        return {name: _member(member, untouched) for name, member in members.items()}
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def _member(member: object, untouched: str) -> object:
    if isinstance(member, list):
        return [_row(row, untouched) for row in member]
    if isinstance(member, dict):
        return _row(member, untouched)
    if member == 0 and member is not False:
        raise ValueError("it may be -0")
    return member


def _row(row: _Row, untouched: str) -> dict[str, object]:
    return {
        name: raw if name == untouched and memoryview(raw)[0] == ord("[") else _decoded(raw)
        for name, raw in row.items()
    }


def _decoded(raw: Raw) -> object:
    value = decode(bytes(raw))
    if isinstance(value, Malformed):
        raise ValueError(value.reason)
    return value


class Encoded(Mapping[str, object]):
    """An object that is there as JSON; ``encode`` gives ``data`` back, readers have it decoded.

    ``like`` is one and the same object for all that differ in nothing but
    numbers and ``words``, a text in JSON. ``tokens`` are the counts in ``usage``,
    where they are known without decoding: those of the prompt, those of the
    completion, and those of the prompt that were found in a cache, if it says so.
    """

    __slots__ = ("_members", "data", "like", "tokens", "words")

    def __init__(
        self,
        data: bytes,
        like: object = None,
        words: bytes = b"",
        tokens: tuple[int, int, int | None] | None = None,
    ) -> None:
        self.data = data
        self.like = like
        self.words = words
        self.tokens = tokens
        self._members: Mapping[str, object] | None = None

    def _decoded(self) -> Mapping[str, object]:
        if self._members is None:
            self._members = as_object(decode(self.data)) or {}
        return self._members

    def __getitem__(self, name: str) -> object:
        return self._decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())


def _encode_unusual(value: object) -> object:
    match value:
        case Spelled():
            return msgspec.Raw(value.text.encode())
        case str():
            return str(value)
        case Encoded():
            return msgspec.Raw(value.data)
        case Mapping():
            return dict(value)
        case Sequence():
            return list(value)
    raise TypeError


_encode_fast: Final = msgspec.json.Encoder(enc_hook=_encode_unusual).encode


def encode(value: object) -> bytes | Malformed:
    """``value`` as compact JSON in UTF-8; non-finite numbers become null."""
    if type(value) is Encoded:
        return value.data
    try:
        return _encode_fast(value)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, OverflowError):
        return _encode_slowly(value)


_Path = tuple["_Path", str | int] | None


class _Text(str):
    """Finished output among the values that wait to be written."""

    __slots__ = ()


def _encode_slowly(value: object) -> bytes | Malformed:
    out: list[str] = []
    waiting: list[tuple[object, _Path]] = [(value, None)]
    depth = 0
    while waiting:
        item, path = waiting.pop()
        if isinstance(item, msgspec.Struct | Raw):
            item = _taken_apart(item)
        if isinstance(item, Mapping):
            waiting.append((_Text("}"), None))
            for index, (key, member) in reversed(list(enumerate(item.items()))):
                if not isinstance(key, str):
                    return Malformed(f"a key is {type_name(key)}, not text", _place(path))
                comma = "," if index else ""
                waiting.append((member, (path, key)))
                waiting.append((_Text(f"{comma}{encode_basestring_ascii(key)}:"), None))
            out.append("{")
            depth += 1
        elif isinstance(item, list | tuple):
            waiting.append((_Text("]"), None))
            for index in range(len(item) - 1, -1, -1):
                waiting.append((item[index], (path, index)))
                if index:
                    waiting.append((_Text(","), None))
            out.append("[")
            depth += 1
        elif isinstance(item, _Text):
            out.append(item)
            depth -= item in {"}", "]"}
        else:
            scalar = _scalar(item)
            if scalar is None:
                return Malformed(f"a value of type {type(item).__name__} is not JSON", _place(path))
            out.append(scalar)
        if depth > _DEEPEST:
            return Malformed("nested too deeply")
    return "".join(out).encode()


def _taken_apart(item: msgspec.Struct | Raw) -> object:
    """A value that only msgspec writes, as one that is written like any other."""
    if isinstance(item, Raw):
        value = decode(bytes(item))
        return item if isinstance(value, Malformed) else value
    left_out: dict[str, object] = {}
    if item.__struct_config__.omit_defaults:
        left_out = {field.name: field.default for field in msgspec.structs.fields(item)}
    return {
        name: member
        for name, member in msgspec.structs.asdict(item).items()
        if member is not msgspec.UNSET and (name not in left_out or member is not left_out[name])
    }


def _scalar(item: object) -> str | None:
    match item:
        case None:
            return "null"
        case bool():
            return "true" if item else "false"
        case str():
            return encode_basestring_ascii(item)
        case Spelled():
            return item.text
        case msgspec.Raw():
            return bytes(item).decode()
        case int():
            try:
                return int.__repr__(item)
            except ValueError:  # too many digits to print
                return None
        case float():
            return float.__repr__(item) if math.isfinite(item) else "null"
    return None


def _place(path: _Path) -> str:
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(f"[{name}]" if isinstance(name, int) else f".{name}")
    return "".join(reversed(names)).removeprefix(".")


def type_name(value: object) -> str:
    """What JSON calls the type of ``value``."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
    return type(value).__name__


def is_non_finite(value: object) -> bool:
    """Whether ``value`` is one of the numbers that ``encode`` writes as null."""
    return isinstance(value, float) and not math.isfinite(value) and not isinstance(value, Spelled)


def as_object(value: object) -> Mapping[str, object] | None:
    """``value`` if it is an object."""
    if isinstance(value, dict):
        return value
    return value if type(value) is dict or isinstance(value, Mapping) else None


def as_array(value: object) -> Sequence[object] | None:
    """``value`` if it is an array."""
    return value if isinstance(value, (list, tuple)) else None


def as_text(value: object) -> str | None:
    """``value`` if it is text."""
    return value if isinstance(value, str) else None


def as_integer(value: object) -> int | None:
    """``value`` if it is a whole number, however spelled; a boolean is none."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
