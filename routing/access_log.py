"""One line for every request.

A line names the key, never its value; it holds nothing of what was asked and
answered. Whatever a client put into a name cannot break the line: texts are
cut, quoted where needed, and ASCII only.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

from . import secrets as secrecy
from .fields import Array, Flag, OneOf, Setting
from .header_settings import HeaderName

Format = Literal["text", "json"]

SECRET_HEADERS: Final = frozenset({
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-bf-direct-key",
    "x-bf-vk",
    "x-goog-api-key",
})  # fmt: skip
"""Headers that are never logged."""

_LONGEST: Final = 256
_PLAIN: Final = re.compile(r"[!#-<>-~]+")
_LAST_SECOND: Final = 253_402_300_799.0  # of the year 9999
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Log:
    """Whether and how requests are logged."""

    enabled: Annotated[bool, Setting("enable_logging", Flag(), "One line for every request.")] = True
    format: Annotated[
        Format, Setting("log_format", OneOf(("text", "json")), "How a line is written (not in Bifrost).")
    ] = "text"
    headers: Annotated[
        tuple[str, ...],
        Setting(
            "logging_headers",
            Array(HeaderName(SECRET_HEADERS, "holds a secret and is never logged")),
            "Request headers whose values are logged.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a request when it is over; what is unknown is left out of the line.

    ``at`` is in seconds since 1970, durations are in milliseconds. ``path`` is
    the route, not the raw path. ``outcome`` is ``ok``, ``error``, or
    ``client_left``: then ``status`` is what had been sent, 499 when nothing.
    """

    at: float
    request_id: str
    method: str
    path: str
    status: int
    duration_ms: float
    outcome: Literal["ok", "error", "client_left"] = "ok"
    client: str = ""
    operation: str = ""
    model: str = ""
    resolved_model: str = ""
    key: str = ""
    stream: bool = False
    retries: int | None = None
    fallback_index: int | None = None
    first_event_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    error_type: str = ""
    error_code: str = ""
    trace_id: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)


def line(record: Record, style: Format, secrets: Iterable[str] = ()) -> str:
    """The line for ``record``, without a line end; ``secrets`` are blotted out wherever they appear."""
    members = _members(record, tuple(secrets))
    if style == "json":
        return json.dumps(members)
    headers = members.pop("headers", {})
    flat = {**members, **{f"header.{name}": value for name, value in _pairs(headers)}}
    return " ".join(f"{name}={_spelled(value)}" for name, value in flat.items())


def _members(record: Record, secrets: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {"time": _timestamp(record.at)}
    for name in Record.__slots__:
        value = getattr(record, name)
        match value:
            case _ if name == "at":
                continue
            case None | "" | False:
                continue
            case str():
                found[name] = _hidden(value, secrets)
            case float():
                found[name] = round(value, 1)
            case Mapping():
                if value:
                    found[name] = {_cut(key): _hidden(text, secrets) for key, text in value.items()}
            case _:
                found[name] = value
    return found


def _pairs(headers: object) -> Iterable[tuple[str, object]]:
    return headers.items() if isinstance(headers, dict) else ()


def _hidden(text: str, secrets: Sequence[str]) -> str:
    return _cut(str(secrecy.hide(text, *secrets)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _spelled(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value)


def _timestamp(at: float) -> str:
    moment = datetime.fromtimestamp(min(max(at, 0.0), _LAST_SECOND), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
