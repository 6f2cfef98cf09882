"""Where two values differ, and where two byte strings begin to."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_LONGEST: Final = 80
_AROUND: Final = 24


class Difference(NamedTuple):
    """A place, and what is there on either side, as JSON; empty where there is nothing."""

    path: str
    expected: str
    actual: str


def differences(expected: object, actual: object, limit: int = 20) -> list[Difference]:
    """The first ``limit`` places, in document order, where two JSON values differ. 1 is not 1.0."""
    return list(itertools.islice(_walk("$", expected, actual), limit))


def first_byte(expected: bytes, actual: bytes) -> Difference | None:
    """The first byte at which two texts differ, with some of what is around it."""
    if expected == actual:
        return None
    pairs = enumerate(zip(expected, actual, strict=False))
    place = next((at for at, (a, b) in pairs if a != b), min(len(expected), len(actual)))
    window = slice(max(place - _AROUND, 0), place + _AROUND)
    return Difference(f"byte {place}", _text(expected[window]), _text(actual[window]))


def _walk(path: str, expected: object, actual: object) -> Iterator[Difference]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for name in [*expected, *(name for name in actual if name not in expected)]:
            inner = f"{path}.{name}" if name.isidentifier() else f"{path}[{json.dumps(name)}]"
            yield from _member(inner, expected, actual, name)
    elif isinstance(expected, list) and isinstance(actual, list):
        here, there = dict(enumerate(expected)), dict(enumerate(actual))
        for index in range(max(len(expected), len(actual))):
            yield from _member(f"{path}[{index}]", here, there, index)
    elif type(expected) is not type(actual) or expected != actual:
        yield Difference(path, _brief(expected), _brief(actual))


def _member(
    path: str, expected: Mapping[Any, object], actual: Mapping[Any, object], name: str | int
) -> Iterator[Difference]:
    if name not in actual:
        yield Difference(path, _brief(expected[name]), "")
    elif name not in expected:
        yield Difference(path, "", _brief(actual[name]))
    else:
        yield from _walk(path, expected[name], actual[name])


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
