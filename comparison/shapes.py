"""What JSON documents look like, apart from what they say; and how two looks differ."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

Shape = Mapping[str, frozenset[str]]
"""The types that are found at each path; ``choices[].message.content`` is one."""

_SCALARS: Final = frozenset({"boolean", "number", "text"})
_CONTAINERS: Final = frozenset({"object", "array"})
_MAPS: Final = ("top_logprobs[]", "prompt_logprobs[]", "logit_bias")
"""Ends of paths of objects whose names are data."""


class Change(NamedTuple):
    """One difference between two shapes; ``detail`` says what became of the path."""

    kind: Literal["missing", "added", "renamed", "retyped"]
    path: str
    detail: str


def shape(documents: Iterable[object]) -> Shape:
    """The shape of all documents together: the frames of a stream look alike only as a whole."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    waiting: list[tuple[str, object]] = [("$", document) for document in documents]
    while waiting:
        path, value = waiting.pop()
        found[path].add(_type(value))
        if isinstance(value, Mapping):
            named = not path.endswith(_MAPS)
            waiting += [
                (f"{path}.{name}" if named else f"{path}.*", member) for name, member in value.items()
            ]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            waiting += [(f"{path}[]", member) for member in value]
    return {path: frozenset(types) for path, types in found.items()}


def changes(before: Shape, after: Shape) -> list[Change]:
    """What is different in ``after``, by path; what is below a path that is gone is not listed again.

    Nor is what is below one that is an object or an array on one side only.
    """
    missing = _below_nothing(_topmost(path for path in before if path not in after), before, after)
    added = _below_nothing(_topmost(path for path in after if path not in before), after, before)
    renamed = _renamed(missing, added, before, after)
    out = [Change("renamed", path, f"to {other}") for path, other in renamed.items()]
    out += [Change("missing", path, _types(before[path])) for path in missing if path not in renamed]
    out += [Change("added", path, _types(after[path])) for path in added if path not in renamed.values()]
    for path in before.keys() & after.keys():
        if before[path] != after[path]:
            out.append(Change("retyped", path, f"from {_types(before[path])} to {_types(after[path])}"))
    return sorted(out, key=lambda change: (change.path, change.kind))


def _below_nothing(paths: Iterable[str], here: Shape, there: Shape) -> list[str]:
    """``paths`` but for those in an object or array that is none there."""
    hollow = [path for path in here if path in there and (here[path] - there[path]) & _CONTAINERS]
    return [
        path
        for path in paths
        if not path.startswith(tuple(f"{each}{sign}" for each in hollow for sign in ".["))
    ]


def _topmost(paths: Iterable[str]) -> list[str]:
    out: list[str] = []
    for path in sorted(paths):
        if not out or not path.startswith((f"{out[-1]}.", f"{out[-1]}[")):
            out.append(path)
    return out


def _renamed(missing: Sequence[str], added: Sequence[str], before: Shape, after: Shape) -> dict[str, str]:
    """Pairs in which each is the only scalar of its type that came or went at its place."""
    gone, come = _by_place(missing, before), _by_place(added, after)
    return {
        gone[place][0]: come[place][0]
        for place in gone
        if len(gone[place]) == 1 == len(come.get(place, ())) and place[1] and place[1] <= _SCALARS
    }


def _by_place(paths: Sequence[str], types: Shape) -> dict[tuple[str, frozenset[str]], list[str]]:
    out: defaultdict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for path in paths:
        out[path.rpartition(".")[0], types[path] - {"null"}].append(path)
    return out


def _types(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case Mapping():
            return "object"
    return "array"
