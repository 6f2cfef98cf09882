"""Which headers cross the gateway, in which direction.

The rules are Bifrost's
(https://github.com/maximhq/bifrost/blob/main/transports/bifrost-http/lib/ctx.go);
what differs is said where it differs. Names are lower case everywhere.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple

from .fields import Array, Setting, Text

EXTRA_PREFIX: Final = "x-bf-eh-"
"""``x-bf-eh-NAME`` asks for the header NAME on the way upstream."""

HOP_BY_HOP: Final = frozenset({
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
})  # fmt: skip
"""Headers that speak of one connection, not of the message (RFC 9110, 7.6.1)."""

_FRAMING: Final = frozenset({"content-length", "host"})
NEVER_CONFIGURED: Final = HOP_BY_HOP | _FRAMING
"""Headers that not even the configuration may set: they belong to the transport."""

_NEVER_UPSTREAM: Final = NEVER_CONFIGURED | {
    "cookie",
    "x-api-key",
    "x-goog-api-key",
    "x-bf-api-key",
    "x-bf-api-key-id",
    "x-bf-vk",
    "x-bf-direct-key",
    # Ours: these would tell the server or the HTTP library something untrue
    # about the body that the gateway itself writes and reads.
    "accept-encoding",
    "content-encoding",
    "expect",
}
_OURS: Final = "x-bf-"
_NEVER_UNASKED: Final = _NEVER_UPSTREAM | {"authorization", "accept", "content-type", "x-request-id"}
"""What no allow-list lets through by itself: the client's own key, and what the transport writes."""

SECURITY: Final[Mapping[str, str]] = MappingProxyType({
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-security-policy": "frame-ancestors 'none'",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
})  # fmt: skip
"""Headers of every answer."""

_NEVER_TO_CLIENT: Final = (
    HOP_BY_HOP
    | frozenset(SECURITY)
    | {
        "alt-svc",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "host",
        "server",
        "set-cookie",
        "set-cookie2",
        "strict-transport-security",
        "www-authenticate",
        "x-request-id",  # the gateway answers with its own
    }
)

EVENT_STREAM: Final[Mapping[str, str]] = MappingProxyType({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx would hold events back
})  # fmt: skip
"""Headers of every streamed answer."""

NAME_PATTERN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""What the name of a header looks like."""

_TOKEN: Final = re.compile(NAME_PATTERN)
_VALUE: Final = re.compile(r"(?:[!-~][\t -~]*)?")
_REQUEST_ID: Final = re.compile(r"[\x20-\x7e]{1,256}")
_GO_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_GO_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_TRACE_IDS: Final = r"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACE_PARENT: Final = re.compile(rf"00-{_TRACE_IDS}|(?!00|ff)[0-9a-f]{{2}}-{_TRACE_IDS}(?:-[!-~]*)?")
_TRACE: Final = frozenset({"traceparent", "tracestate"})
_TRACE_STATE_LIMIT: Final = 512
_HOST: Final = re.compile(r"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The client asked for an upstream header that cannot be sent; ``name`` is what it wrote."""

    name: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which headers clients may have sent upstream; ``*`` in an entry stands for any text.

    With an ``allowlist``, only headers that it holds may be asked for; those
    also go upstream when the client sends them without being asked to. The
    ``denylist`` wins. Neither lets through what must never go upstream.
    """

    allowlist: Annotated[
        tuple[str, ...],
        Setting("allowlist", Array(Text()), "Only these headers may go upstream, with or without x-bf-eh-."),
    ] = ()
    denylist: Annotated[
        tuple[str, ...], Setting("denylist", Array(Text()), "These headers never go upstream.")
    ] = ()


NO_FILTER: Final = Filter()


class Misframed(NamedTuple):
    """A request that another server could take apart otherwise: status and message of the refusal."""

    status: int
    message: str


def misframed(version: tuple[int, int], pairs: Iterable[tuple[str, str]]) -> Misframed | None:
    """Why a request must be refused before anything else is made of it (RFC 9112, 6 and 11.2).

    Two readers of the same bytes have to agree on where a request ends and
    for which host it is; whatever leaves that open is refused.
    """
    if version not in {(1, 0), (1, 1)}:
        return Misframed(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    lengths: list[str] = []
    codings: list[str] = []
    hosts: list[str] = []
    framing = {"content-length": lengths, "transfer-encoding": codings, "host": hosts}
    for name, value in pairs:
        if (values := framing.get(name.lower())) is not None:
            values.append(value.strip(" \t"))
    if len(lengths) > 1 or not all(_DIGITS.fullmatch(length) for length in lengths):
        return Misframed(400, "a request has one content-length, in digits")
    if codings and (lengths or version == (1, 0)):
        return Misframed(400, "transfer-encoding goes neither with content-length nor with HTTP/1.0")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        return Misframed(501, "the only transfer-encoding understood is chunked")
    if len(hosts) > 1 or not all(_HOST.fullmatch(host) for host in hosts):
        return Misframed(400, "a request has one host")
    return None


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a header."""
    return _TOKEN.fullmatch(text) is not None


def is_sendable(value: str) -> bool:
    """Whether ``value`` can be sent in a header: printable ASCII that does not begin with a space."""
    return _VALUE.fullmatch(value) is not None


def to_upstream(
    client: Iterable[tuple[str, str]],
    configured: Mapping[str, str],
    key_has_value: bool,
    rules: Filter = NO_FILTER,
) -> dict[str, str] | Unsendable:
    """The headers that go upstream beside those of the transport and an ``x-request-id``.

    The client's trace context (https://www.w3.org/TR/trace-context/), the
    configured ones, and over them what the client asked for with
    ``x-bf-eh-NAME`` or what ``rules`` let through; a name that repeats gets all
    its values, joined by ``, ``. Nothing else of the client's goes upstream.
    ``authorization`` may be asked for only when the key has no value of its own.
    """
    pairs = [(name.lower(), value) for name, value in client]
    asked: dict[str, str] = {}
    passing = pairs if rules.allowlist else [pair for pair in pairs if pair[0].startswith(EXTRA_PREFIX)]
    of_connection = (
        _named_by_connection([value for name, value in pairs if name == "connection"]) if passing else ()
    )
    for written, value in passing:
        name = written.removeprefix(EXTRA_PREFIX)
        if (
            written in of_connection
            or name in of_connection
            or not _may_pass(written, name, key_has_value, rules)
        ):
            continue
        if not is_name(name) or not is_sendable(value):
            if written == name:  # nobody asked for it
                continue
            return Unsendable(written)
        asked[name] = f"{asked[name]}, {value}" if name in asked else value
    return {**trace_context(pairs), **configured, **asked}


def _may_pass(written: str, name: str, key_has_value: bool, rules: Filter) -> bool:
    if any(_matches(pattern, name) or _matches(pattern, written) for pattern in rules.denylist):
        return False
    allowed = any(_matches(pattern, name) or _matches(pattern, written) for pattern in rules.allowlist)
    if written == name:  # not asked for
        return allowed and not name.startswith(_OURS) and name not in _NEVER_UNASKED
    if not name or name in _NEVER_UPSTREAM or (name == "authorization" and key_has_value):
        return False
    return allowed or not rules.allowlist


def _matches(pattern: str, name: str) -> bool:
    """Whether ``name`` is as ``pattern`` says, where ``*`` stands for any text."""
    first, *others = pattern.lower().split("*")
    if not others:
        return name == first
    if not name.startswith(first):
        return False
    position = len(first)
    for part in others[:-1]:
        found = name.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(name) - position >= len(others[-1]) and name.endswith(others[-1])


def _named_by_connection(values: Iterable[str]) -> frozenset[str]:
    """The headers that a Connection header declares to be of this connection only."""
    return frozenset(name.strip().lower() for value in values for name in value.split(","))


def trace_context(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``traceparent`` and ``tracestate`` as the client sent them; nothing when the first is invalid."""
    given = [(lowered, value.strip()) for name, value in pairs if (lowered := name.lower()) in _TRACE]
    parents = [value for name, value in given if name == "traceparent"]
    if len(parents) != 1 or not _TRACE_PARENT.fullmatch(parents[0]):
        return {}
    state = ",".join([value for name, value in given if name == "tracestate"])
    if not state or len(state) > _TRACE_STATE_LIMIT or not is_sendable(state):
        return {"traceparent": parents[0]}
    return {"traceparent": parents[0], "tracestate": state}


def to_client(upstream: Mapping[str, str], secret: str = "") -> dict[str, str]:
    """The upstream headers that the client gets to see; never one that holds ``secret``."""
    if upstream.keys() <= _NEVER_TO_CLIENT:
        return {}
    connection = upstream.get("connection")
    of_connection = () if connection is None else _named_by_connection([connection])
    return {
        name: value
        for name, value in upstream.items()
        if name not in _NEVER_TO_CLIENT
        and name not in of_connection
        and not name.startswith("access-control-")
        and is_sendable(value)
        and not (secret and secret in value)
    }


def request_id(given: str) -> str:
    """The client's own id, trimmed; nothing when it is blank, too long or not printable ASCII."""
    trimmed = given.strip()
    return trimmed if _REQUEST_ID.fullmatch(trimmed) else ""


def flag(value: str | None) -> bool | None:
    """A boolean header as Go's ``strconv.ParseBool`` reads it; ``None`` for anything else."""
    if value in _GO_TRUE:
        return True
    return False if value in _GO_FALSE else None
