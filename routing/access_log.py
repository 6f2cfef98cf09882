"""One line for every request.

A line names the key, never its value; it holds nothing of what was asked and
answered. Whatever a client put into a name cannot break the line: texts are
cut, quoted where needed, and ASCII only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

from .fields import Array, Flag, OneOf, Setting
from .header_settings import HeaderName
from .secrets import NO_SECRETS, Secrets

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


class Record(NamedTuple):
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
    headers: Mapping[str, str] = _NO_HEADERS


def line(record: Record, style: Format, secrets: Secrets = NO_SECRETS) -> str:
    """The line for ``record``, without a line end; ``secrets`` are blotted out wherever they appear."""
    members: dict[str, object] = {"time": _timestamp(record.at)}
    texts = []
    values: tuple[object, ...] = record[1:]
    for name, value in zip(_MEMBERS, values, strict=True):
        if isinstance(value, str):
            if value:
                members[name] = value
                texts.append(value)
        elif isinstance(value, float):
            members[name] = round(value, 1)
        elif value or type(value) is int:  # not False, which is another type
            members[name] = value
    together = " ".join(texts)
    if record.headers or len(together) > _LONGEST or secrets.are_in(together):
        members = _hidden(members, secrets)
    elif style == "text" and _PLAIN.fullmatch(together.replace(" ", "", len(texts) - 1)):
        return " ".join([f"{name}={'true' if value is True else value}" for name, value in members.items()])
    if style == "json":
        return json.dumps(members)
    headers = members.pop("headers", None)
    if isinstance(headers, dict):
        members |= {f"header.{name}": value for name, value in headers.items()}
    return " ".join([f"{name}={_spelled(value)}" for name, value in members.items()])


def _hidden(members: Mapping[str, object], secrets: Secrets) -> dict[str, object]:
    """Secrets first: half of one that was cut would no longer be found."""
    hidden = secrets.hide(members)
    return {name: _cut(value) for name, value in hidden.items()} if isinstance(hidden, dict) else {}


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    if isinstance(value, Mapping):
        return {_cut(name): _cut(text) for name, text in value.items()}
    return value


def _spelled(value: object) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    return "true" if value is True else str(value)


def _timestamp(at: float) -> str:
    moment = datetime.fromtimestamp(min(max(at, 0.0), _LAST_SECOND), UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


_MEMBERS: Final = Record._fields[1:]
