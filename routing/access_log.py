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
_UNESCAPED: Final = r"[!#-<>-\[\]-~]+"  # plain in JSON, too
_AS_IT_IS: Final = re.compile(_UNESCAPED)
_TWO_AS_THEY_ARE: Final = re.compile(f"{_UNESCAPED} {_UNESCAPED}")
_LAST_SECOND: Final = 253_402_300_799.0  # of the year 9999
_FEW_DIGITS: Final = 1e14  # a float below has no two spellings with one digit after the point
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
    _, text, over = second(record.at)
    members: dict[str, object] = {"time": timestamp(text, over)}
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


@dataclass(frozen=True, slots=True)
class Pattern:
    """Lines that differ only in when, for whom and how much; made by ``pattern``.

    What is between the things that differ is written already, and holds no
    secret; ``length`` is that of its texts.
    """

    when: str
    request_id: str
    duration: str
    client: str
    rest: str
    first_event: str
    input_tokens: str
    output_tokens: str
    bytes_in: str
    bytes_out: str
    end: str
    length: int
    secrets: Secrets

    def line(
        self,
        when: str,
        request_id: str,
        client: str,
        duration_ms: float,
        first_event_ms: float | None,
        counts: tuple[int | None, int | None, int | None, int | None],
    ) -> str | None:
        """Just what ``line`` makes of such a record; ``None`` when it takes a closer look.

        ``when`` is a timestamp. ``counts`` are the tokens and then the bytes,
        read and written.
        """
        who = f"{request_id} {client}"
        if (
            not _TWO_AS_THEY_ARE.fullmatch(who)
            or self.length + len(who) > _LONGEST
            or self.secrets.are_in(who)
            or not 0 <= duration_ms < _FEW_DIGITS
        ):
            return None
        first_event = ""
        if first_event_ms is not None:
            if not 0 <= first_event_ms < _FEW_DIGITS:
                return None
            first_event = f"{self.first_event}{first_event_ms:.1f}"
        read, written, bytes_in, bytes_out = counts
        return (
            f"{self.when}{when}{self.request_id}{request_id}{self.duration}{duration_ms:.1f}"
            f"{self.client}{client}{self.rest}{first_event}"
            f"{'' if read is None else f'{self.input_tokens}{read}'}"
            f"{'' if written is None else f'{self.output_tokens}{written}'}"
            f"{'' if bytes_in is None else f'{self.bytes_in}{bytes_in}'}"
            f"{'' if bytes_out is None else f'{self.bytes_out}{bytes_out}'}{self.end}"
        )


def pattern(record: Record, style: Format, secrets: Secrets = NO_SECRETS) -> Pattern | None:
    """The pattern of lines like that of ``record``; ``None`` when they need a closer look each.

    They are alike in all that is not an argument of ``Pattern.line``. Retries,
    errors, trace ids and headers have no place in them.
    """
    about = record.method, record.path, record.outcome, record.operation
    texts = [text for text in (*about, record.model, record.resolved_model, record.key) if text]
    together = " ".join(texts)
    if not all(_AS_IT_IS.fullmatch(text) for text in texts):
        return None
    # A secret with a space in it could begin in one text and end in the next.
    if secrets.have_spaces or secrets.are_in(together):
        return None
    quote = '"' if style == "json" else ""

    def named(name: str) -> str:
        return f', "{name}": ' if style == "json" else f" {name}="

    def members(*names: str) -> str:
        values = [(name, getattr(record, name)) for name in names]
        return "".join([f"{named(name)}{quote}{value}{quote}" for name, value in values if value])

    stream = f"{named('stream')}true" if record.stream else ""
    fallback = "" if record.fallback_index is None else f"{named('fallback_index')}{record.fallback_index}"
    return Pattern(
        when='{"time": "' if style == "json" else "time=",
        request_id=f"{quote}{named('request_id')}{quote}",
        duration=f"{quote}{members('method', 'path')}{named('status')}{record.status}{named('duration_ms')}",
        client=f"{members('outcome')}{named('client')}{quote}",
        rest=f"{quote}{members('operation', 'model', 'resolved_model', 'key')}{stream}{fallback}",
        first_event=named("first_event_ms"),
        input_tokens=named("input_tokens"),
        output_tokens=named("output_tokens"),
        bytes_in=named("bytes_in"),
        bytes_out=named("bytes_out"),
        end="}" if style == "json" else "",
        length=len(together) + 1,
        secrets=secrets,
    )


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


def second(at: float) -> tuple[int, str, float]:
    """The second since 1970 that ``at`` is in, what its timestamps begin with, and how much of it is over."""
    began = int(min(max(at, 0.0), _LAST_SECOND))
    return began, datetime.fromtimestamp(began, UTC).isoformat()[:-6], min(max(at - began, 0.0), 0.999)


def timestamp(text: str, over: float) -> str:
    """UTC with milliseconds, as RFC 3339 has it; ``text`` and ``over``, from 0 up to 1, as in ``second``."""
    return f"{text}.{int(over * 1000):03}Z"


_MEMBERS: Final = Record._fields[1:]
