"""Settings about headers: those that go upstream, and those that a client must send."""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from . import headers, references
from .fields import Schema
from .reading import At


@dataclass(frozen=True, slots=True)
class HeaderMap:
    """Headers and their values; the names come out in lower case."""

    def read(self, at: At) -> Mapping[str, str] | None:
        found: dict[str, str] = {}
        for written, header in at.members():
            name = written.lower()
            value = header.text() or ""
            if not headers.is_name(written):
                header.problem("not the name of a header")
            elif name in headers.NEVER_CONFIGURED:
                header.problem("belongs to the connection and cannot be configured")
            elif name in found:
                header.problem("the same header twice")
            elif not headers.is_sendable(value):
                header.problem(references.UNSENDABLE)
            else:
                found[name] = value
        return MappingProxyType(found)

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": {"type": ["string", "null"]}}


@dataclass(frozen=True, slots=True)
class HeaderName:
    """The name of a header, in lower case; ``but_not`` are refused, with ``why``."""

    but_not: frozenset[str] = frozenset()
    why: str = ""

    def read(self, at: At) -> str | None:
        name = at.text()
        if name is None:
            return None
        if not headers.is_name(name):
            at.problem("not the name of a header")
            return None
        if name.lower() in self.but_not:
            at.problem(self.why)
            return None
        return name.lower()

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{headers.NAME_PATTERN}$"}


@dataclass(frozen=True, slots=True)
class Required:
    """A header that every request must have.

    With a ``pattern``, the whole value must match it; with a ``secret``, which
    may be empty and then matches nothing, it must be that text.
    """

    name: str
    pattern: re.Pattern[str] | None = None
    secret: str | None = field(default=None, repr=False)

    def is_met_by(self, value: str) -> bool:
        if self.secret is not None:
            expected, given = (text.encode(errors="surrogatepass") for text in (self.secret, value))
            return bool(expected) and hmac.compare_digest(expected, given)
        return self.pattern is None or self.pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class RequiredHeaders:
    """Names of headers; or names and what their values must be.

    ``"*"`` or an empty text: anything. ``env.NAME``: exactly what the variable
    holds. Any other text is a regular expression for the whole value.
    """

    def read(self, at: At) -> tuple[Required, ...] | None:
        if isinstance(at.value, Mapping):
            return tuple(
                required
                for name, value in at.members()
                if (required := self._with_value(name, value)) is not None
            )
        names = (entry.text() for entry in at.entries())
        return tuple(self._named(name, at) for name in names if name is not None)

    def _named(self, name: str, at: At) -> Required:
        if not headers.is_name(name):
            at.problem("not the name of a header")
        return Required(name)

    def _with_value(self, name: str, at: At) -> Required | None:
        named = self._named(name, at)
        expected = at.text()
        if expected is None or expected in {"", "*"}:
            return named
        if expected.startswith("env."):
            return Required(name, secret=references.resolved(at))
        try:
            return Required(name, re.compile(expected))
        except (re.error, RecursionError, OverflowError):
            at.problem("not a regular expression")
            return None

    def schema(self) -> Schema:
        name: Schema = {"type": "string", "pattern": f"^{headers.NAME_PATTERN}$"}
        return {
            "anyOf": [
                {"type": "array", "items": name},
                {
                    "type": "object",
                    "propertyNames": name,
                    "additionalProperties": {"type": ["string", "null"]},
                },
            ]
        }


def unmet(required: Sequence[Required], client: Iterable[tuple[str, str]]) -> str:
    """What is wrong with the headers of a request, in Bifrost's wording; empty when nothing is."""
    if not required:
        return ""
    given: dict[str, str] = {}
    for name, value in client:
        given.setdefault(name.lower(), value)
    missing = [one.name for one in required if one.name.lower() not in given]
    wrong = [
        one.name
        for one in required
        if one.name.lower() in given and not one.is_met_by(given[one.name.lower()])
    ]
    complaints = []
    if missing:
        complaints.append(f"missing required headers: {', '.join(missing)}")
    if wrong:
        complaints.append(f"invalid required header value: {', '.join(wrong)}")
    return "; ".join(complaints)
