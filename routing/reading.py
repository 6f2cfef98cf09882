"""A decoded JSON document, read with a report: what is wrong with it, and what merely strange.

Findings name members and environment variables but never quote a value, since
any text may be a secret in the wrong place.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_SAYS_NOTHING: Final[Sequence[object]] = (None, False, "", [], {})

ROOT: Final = "$"


class Finding(NamedTuple):
    """One thing to say of a document: where, and what."""

    severity: Literal["problem", "warning"]
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def member_path(path: str, name: str) -> str:
    """The JSON path of a member of an object."""
    return f"{path}.{name}" if _PLAIN_NAME.fullmatch(name) else f"{path}[{json.dumps(name)}]"


def entry_path(path: str, index: int) -> str:
    """The JSON path of an entry of an array."""
    return f"{path}[{index}]"


class At:
    """A value of the document, the path to it, and the report about the whole document.

    ``environ`` is where references to environment variables are looked up.
    Every reader gives the value in the type it is named for, or ``None`` when
    it is absent, null or something else; the latter is reported as a problem.
    """

    __slots__ = ("environ", "findings", "path", "value")

    def __init__(
        self,
        value: object,
        environ: Mapping[str, str],
        path: str = ROOT,
        findings: list[Finding] | None = None,
    ) -> None:
        self.value = value
        self.environ = environ
        self.path = path
        self.findings: list[Finding] = [] if findings is None else findings

    def problem(self, text: str) -> None:
        self.findings.append(Finding("problem", self.path, text))

    def warn(self, text: str) -> None:
        self.findings.append(Finding("warning", self.path, text))

    def wrong(self, expected: str) -> None:
        self.problem(f"expected {expected}, got {shown(self.value)}")

    @property
    def says_something(self) -> bool:
        """Whether there is more than a null, a false or something empty."""
        return self.value not in _SAYS_NOTHING

    def __getitem__(self, name: str) -> "At":
        members = self.value if isinstance(self.value, Mapping) else {}
        return At(members.get(name), self.environ, member_path(self.path, name), self.findings)

    def within(self, names: Sequence[str]) -> "At":
        """The value that is reached by going from member to member."""
        at = self
        for name in names:
            at = at[name]
        return at

    def members(self) -> "Iterator[tuple[str, At]]":
        if isinstance(self.value, Mapping):
            for name in self.value:
                if isinstance(name, str):
                    yield name, self[name]
        elif self.value is not None:
            self.wrong("an object")

    def entries(self) -> "Iterator[At]":
        if isinstance(self.value, list | tuple):
            for index, entry in enumerate(self.value):
                yield At(entry, self.environ, entry_path(self.path, index), self.findings)
        elif self.value is not None:
            self.wrong("an array")

    def text(self) -> str | None:
        if isinstance(self.value, str):
            return self.value
        if self.value is not None:
            self.wrong("a string")
        return None

    def flag(self) -> bool | None:
        if isinstance(self.value, bool):
            return self.value
        if self.value is not None:
            self.wrong("true or false")
        return None


def shown(value: object) -> str:
    """A value as a finding may show it: texts never, numbers only when they are short."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 10**9:
            return str(value)
        case float() if abs(value) < 10**9:
            return repr(float(value))
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
        case None:
            return "null"
    return "something that is not JSON"
