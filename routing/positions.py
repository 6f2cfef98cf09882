"""On which line of a JSON text each of its values stands."""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from .reading import ROOT, entry_path, member_path

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class Positions(NamedTuple):
    """Lines count from 1. ``twice`` holds members that their object has more than once: path and line."""

    lines: Mapping[str, int]
    twice: tuple[tuple[str, int], ...]

    def line(self, path: str) -> int:
        """The line of ``path`` or, when the text has no such thing, of the nearest thing around it."""
        while path not in self.lines and path != ROOT:
            path = path[: max(path.rfind("."), path.rfind("["), len(ROOT))]
        return self.lines.get(path, 1)


class _Open:
    """An object or an array that is being read."""

    __slots__ = ("index", "is_object", "name", "names", "path")

    def __init__(self, path: str, is_object: bool) -> None:
        self.path = path
        self.is_object = is_object
        self.names: set[str] = set()
        self.name: str | None = None
        self.index = 0


def scan(text: str) -> Positions:
    """The positions in ``text``, which must be valid JSON."""
    lines: dict[str, int] = {}
    twice: list[tuple[str, int]] = []
    waiting: list[_Open] = []
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        written = token[0]
        around = waiting[-1] if waiting else None
        if written in {"}", "]"}:
            waiting.pop()
        elif written == ",":
            if around is not None:
                around.name, around.index = None, around.index + 1
        elif written == ":":
            continue
        elif around is not None and around.is_object and around.name is None:
            around.name = name = str(json.loads(written, strict=False))
            path = member_path(around.path, name)
            if name in around.names:
                twice.append((path, line))
            around.names.add(name)
            lines[path] = line
        else:
            path = ROOT
            if around is not None and around.is_object:
                path = member_path(around.path, around.name or "")
            elif around is not None:
                path = entry_path(around.path, around.index)
            lines.setdefault(path, line)
            if written in {"{", "["}:
                waiting.append(_Open(path, written == "{"))
    return Positions(lines, tuple(twice))
