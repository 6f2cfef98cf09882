"""Which headers cross the gateway, in which direction.

The rules are Bifrost's
(https://github.com/maximhq/bifrost/blob/main/transports/bifrost-http/lib/ctx.go);
what differs is said where it differs. Names are lower case everywhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

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
_NEVER_TO_CLIENT: Final = HOP_BY_HOP | {
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

SECURITY: Final[Mapping[str, str]] = MappingProxyType({
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-security-policy": "frame-ancestors 'none'",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
})  # fmt: skip
"""Headers of every answer."""

EVENT_STREAM: Final[Mapping[str, str]] = MappingProxyType({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx would hold events back
})  # fmt: skip
"""Headers of every streamed answer."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[!-~][\t -~]*)?")
_REQUEST_ID: Final = re.compile(r"[\x20-\x7e]{1,256}")
_GO_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_GO_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The client asked for an upstream header that cannot be sent; ``name`` is what it wrote."""

    name: str


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a header."""
    return _TOKEN.fullmatch(text) is not None


def is_sendable(value: str) -> bool:
    """Whether ``value`` can be sent in a header: printable ASCII that does not begin with a space."""
    return _VALUE.fullmatch(value) is not None


def to_upstream(
    client: Iterable[tuple[str, str]],
    configured: Mapping[str, str],
    request_id: str,
    key_has_value: bool,
) -> dict[str, str] | Unsendable:
    """The headers that go upstream beside those of the transport.

    The configured ones, and over them what the client asked for with
    ``x-bf-eh-NAME``; a name that it repeats gets all its values, joined by
    ``, ``. Nothing else of the client's goes upstream. ``authorization`` may
    be asked for only when the key has no value of its own.
    """
    asked: dict[str, str] = {}
    for written, value in client:
        name = written.lower()
        if not name.startswith(EXTRA_PREFIX):
            continue
        name = name.removeprefix(EXTRA_PREFIX)
        if not name or name in _NEVER_UPSTREAM or (name == "authorization" and key_has_value):
            continue
        if not is_sendable(value):
            return Unsendable(written.lower())
        asked[name] = f"{asked[name]}, {value}" if name in asked else value
    return {"x-request-id": request_id, **configured, **asked}


def to_client(upstream: Mapping[str, str], secret: str = "") -> dict[str, str]:
    """The upstream headers that the client gets to see; never one that holds ``secret``."""
    of_connection = {name.strip().lower() for name in upstream.get("connection", "").split(",")}
    return {
        name: value
        for name, value in upstream.items()
        if name not in _NEVER_TO_CLIENT
        and name not in of_connection
        and not name.startswith("access-control-")
        and is_sendable(value)
        and not (secret and secret in value)
    }


def request_id(given: str | None, new: Callable[[], str]) -> str:
    """The client's own id, trimmed; a new one when it is blank, too long or not printable ASCII."""
    trimmed = (given or "").strip()
    return trimmed if _REQUEST_ID.fullmatch(trimmed) else new()


def flag(value: str | None) -> bool | None:
    """A boolean header as Go's ``strconv.ParseBool`` reads it; ``None`` for anything else."""
    if value in _GO_TRUE:
        return True
    return False if value in _GO_FALSE else None
