"""What a setting may be: one description from which it is read and from which its JSON Schema comes.

A class of settings is a frozen dataclass whose fields say in their annotation
where they stand in the document (``Setting``, ``Group``). ``read`` fills it,
``report_strangers`` names what nobody reads, ``properties`` describes it.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar, get_type_hints

from .reading import At

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Schema = dict[str, object]
"""A JSON Schema."""

_NO_DEFAULT: Final = (None, "", ())
_MEGABYTE: Final = 1024 * 1024

NOT_USED: Final = "not used by this gateway"

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNIT_S: Final[Mapping[str, float]] = MappingProxyType(
    {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
)


class Kind(Protocol[T_co]):
    """What a setting may be. ``read`` reports what it cannot use, and then gives ``None``."""

    def read(self, at: At) -> T_co | None: ...
    def schema(self) -> Schema: ...


class Setting(NamedTuple):
    """A field that is read from the document.

    ``name`` is a path of members, joined by dots, from the object that the
    class is read from.
    """

    name: str
    kind: Kind[object]
    doc: str
    required: bool = False


class Group(NamedTuple):
    """A field that is itself a class of settings; ``name`` as in ``Setting``, or empty."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, at: At) -> bool | None:
        return at.flag()

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Text:
    """Any text."""

    def read(self, at: At) -> str | None:
        return at.text()

    def schema(self) -> Schema:
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Matching:
    """A text of some form; ``expected`` says which."""

    pattern: str
    expected: str

    def read(self, at: At) -> str | None:
        if at.value is None:
            return None
        if not isinstance(at.value, str) or not re.fullmatch(self.pattern, at.value):
            at.wrong(self.expected)
            return None
        return at.value

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words or numbers."""

    words: tuple[str | int, ...]

    def read(self, at: At) -> str | int | None:
        if at.value is None:
            return None
        for word in self.words:
            if at.value == word and not isinstance(at.value, bool):
                return word
        quoted = [json.dumps(word) for word in self.words]
        at.wrong(f"{', '.join(quoted[:-1])} or {quoted[-1]}")
        return None

    def schema(self) -> Schema:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a range; ``zero_is_unset``: zero stands for the default, as in Go."""

    least: float
    most: float = math.inf
    whole: bool = False
    zero_is_unset: bool = False

    def read(self, at: At) -> float | None:
        value = at.value
        if value is None or (self.zero_is_unset and value == 0 and not isinstance(value, bool)):
            return None
        if (
            not isinstance(value, int if self.whole else int | float)
            or isinstance(value, bool)
            or not self.least <= value <= self.most
        ):
            at.wrong(self._expected())
            return None
        return value

    def _expected(self) -> str:
        what = "an integer" if self.whole else "a number"
        if math.isinf(self.most):
            return f"{what} of at least {self.least}"
        return f"{what} from {self.least} to {self.most}"

    def schema(self) -> Schema:
        ranged: Schema = {"type": "integer" if self.whole else "number", "minimum": self.least}
        if not math.isinf(self.most):
            ranged["maximum"] = self.most
        return {"anyOf": [{"const": 0}, ranged]} if self.zero_is_unset and self.least > 0 else ranged


@dataclass(frozen=True, slots=True)
class Clamped(Number):
    """A number that counts as the nearest in its range."""

    def read(self, at: At) -> float | None:
        value = at.value
        if isinstance(value, int) and not isinstance(value, bool) and not (self.zero_is_unset and value == 0):
            nearest = min(max(value, self.least), self.most)
            if nearest != value:
                at.warn(f"counts as {nearest}, the nearest number from {self.least} to {self.most}")
            return nearest
        return Number.read(self, at)

    def schema(self) -> Schema:
        return {"type": "integer"}


@dataclass(frozen=True, slots=True)
class Milliseconds(Number):
    """A time in milliseconds or as Go writes it (``500ms``, ``1m30s``); read as seconds."""

    def read(self, at: At) -> float | None:
        if isinstance(at.value, str):
            seconds = duration_s(at.value)
            if seconds is None or not self.least <= seconds * 1000 <= self.most:
                at.wrong(f"{self._expected()} or a duration such as 500ms")
                return None
            return seconds
        milliseconds = Number.read(self, at)
        return None if milliseconds is None else milliseconds / 1000

    def schema(self) -> Schema:
        text: Schema = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
        return {"anyOf": [Number.schema(self), text]}


@dataclass(frozen=True, slots=True)
class Megabytes(Number):
    """A size in units of 1,048,576 bytes; read as bytes."""

    def read(self, at: At) -> int | None:
        megabytes = Number.read(self, at)
        return None if megabytes is None else int(megabytes * _MEGABYTE)


@dataclass(frozen=True, slots=True)
class Array:
    """A list; an entry that cannot be read is left out."""

    entry: Kind[object]

    def read(self, at: At) -> tuple[object, ...] | None:
        read = (self.entry.read(entry) for entry in at.entries())
        return tuple(value for value in read if value is not None) if at.value is not None else None

    def schema(self) -> Schema:
        return {"type": "array", "items": self.entry.schema()}


def duration_s(text: str) -> float | None:
    """A duration in Go's spelling, in seconds; ``None`` for anything else."""
    if len(text) > 64 or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))


class Place(NamedTuple):
    """A field of a class of settings, where it stands, and its default."""

    attribute: str
    names: tuple[str, ...]
    setting: Setting
    default: object


class Branch(NamedTuple):
    """A field that is a class of settings, and from where it is read."""

    attribute: str
    names: tuple[str, ...]
    cls: type


@cache
def places(cls: type) -> Sequence[Place | Branch]:
    """The fields of a class that are read from the document."""
    return tuple(_places(cls))


def _places(cls: type) -> Iterator[Place | Branch]:
    hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        for about in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(about, Group):
                yield Branch(field.name, _names(about.name), hints[field.name].__origin__)
            elif isinstance(about, Setting):
                default = None if field.default is dataclasses.MISSING else field.default
                yield Place(field.name, _names(about.name), about, default)


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.split(".")) if dotted else ()


def read(cls: type[T], at: At) -> T:
    """``cls`` as ``at`` has it; what is absent or wrong has the default of its field."""
    make: Callable[..., T] = cls
    described: type = cls
    values: dict[str, object] = {}
    for place in places(described):
        inner = at.within(place.names)
        if isinstance(place, Branch):
            values[place.attribute] = read(place.cls, inner)
        elif (value := place.setting.kind.read(inner)) is not None:
            values[place.attribute] = value
        elif place.setting.required and inner.value is None:
            inner.problem("missing")
    return make(**values)


Tree = dict[str, "Tree | Place"]


def tree(cls: type) -> Tree:
    """The settings of a class by the members of the document under which they stand."""
    root: Tree = {}
    _plant(cls, root)
    return root


def _plant(cls: type, root: Tree) -> None:
    for place in places(cls):
        if isinstance(place, Branch):
            _plant(place.cls, _branch(root, place.names))
        else:
            _branch(root, place.names[:-1])[place.names[-1]] = place


def _branch(root: Tree, names: Sequence[str]) -> Tree:
    for name in names:
        inner = root.setdefault(name, {})
        if not isinstance(inner, dict):
            raise TypeError(f"{name} is a setting, so no other can stand under it")
        root = inner
    return root


def report_strangers(known: Tree, unused: Mapping[str, str], at: At, prefix: str = "") -> None:
    """Warn of the members that nobody reads, and report what should be an object and is none.

    ``unused`` maps names, joined by dots from the top, to why they are not
    used; an empty reason means that nothing need be said, and ``*`` stands for
    all the names that are not known.
    """
    for name, member in at.members():
        dotted = f"{prefix}{name}"
        inner = known.get(name)
        if isinstance(inner, dict):
            report_strangers(inner, unused, member, f"{dotted}.")
        elif dotted in unused:
            if unused[dotted] and member.says_something:
                member.warn(unused[dotted])
        elif inner is None:
            member.warn(unused.get(f"{prefix}*", "unknown key"))


def properties(cls: type, unused: Mapping[str, str]) -> Schema:
    """The JSON Schema of an object from which ``cls`` is read."""
    return _object(tree(cls), unused, "")


def _object(branch: Tree, unused: Mapping[str, str], prefix: str) -> Schema:
    members: Schema = {}
    required = []
    for name, inner in branch.items():
        if isinstance(inner, dict):
            members[name] = _optional(_object(inner, unused, f"{prefix}{name}."))
        else:
            members[name] = _described(inner)
            if inner.setting.required:
                required.append(name)
    for dotted, reason in unused.items():
        name = dotted.removeprefix(prefix)
        if dotted.startswith(prefix) and "." not in name and name not in {*members, "*"}:
            members[name] = {"description": f"{reason.capitalize()}."} if reason else {}
    schema: Schema = {"type": "object", "properties": members}
    return {**schema, "required": required} if required else schema


def _described(place: Place) -> Schema:
    setting = place.setting
    schema = setting.kind.schema()
    described = {"description": setting.doc, **(schema if setting.required else _optional(schema))}
    if place.default in _NO_DEFAULT:
        return described
    return {**described, "default": _spelled(setting.kind, place.default)}


def _spelled(kind: Kind[object], value: object) -> object:
    """A value as the document writes it."""
    match kind, value:
        case Milliseconds(), int() | float():
            return round(value * 1000)
        case Megabytes(), int():
            return value // _MEGABYTE
        case _, tuple():
            return list(value)
    return value


def _optional(schema: Schema) -> Schema:
    """The same, or null: a null counts as absent."""
    if isinstance(kind := schema.get("type"), str):
        return {**schema, "type": [kind, "null"]}
    if isinstance(words := schema.get("enum"), list):
        return {**schema, "enum": [*words, None]}
    options = schema.get("anyOf")
    return {
        "anyOf": [*options, {"type": "null"}] if isinstance(options, list) else [schema, {"type": "null"}]
    }
