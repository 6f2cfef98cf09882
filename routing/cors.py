"""Which web pages may talk to the gateway (https://fetch.spec.whatwg.org/#http-cors-protocol).

The rules are Bifrost's: pages on this machine always may.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple

from .fields import Array, Setting, Text

_LOCAL: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1):\d{1,5}|http://0\.0\.0\.0:\d{1,5}", re.ASCII)
_ANY: Final = "*"
_METHODS: Final = "GET, POST, PUT, DELETE, PATCH, OPTIONS, HEAD"
_HEADERS: Final = (
    "Content-Type",
    "Authorization",
    "X-Requested-With",
    "X-Stainless-Timeout",
    "X-Api-Key",
    "X-OpenAI-Agents-SDK",
)
_HEADER_LIST: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
_MAX_AGE: Final = "86400"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cors:
    """Whom browsers may let in, and with which headers."""

    allowed_origins: Annotated[
        tuple[str, ...],
        Setting(
            "allowed_origins",
            Array(Text()),
            "Origins of web pages that may talk to the gateway: exact, with * for part of a host name, "
            "or * for all.",
        ),
    ] = ()
    allowed_headers: Annotated[
        tuple[str, ...],
        Setting(
            "allowed_headers", Array(Text()), "Request headers that web pages may send beside the usual ones."
        ),
    ] = ()


class Verdict(NamedTuple):
    """``headers`` are to be added to the answer. With ``status``, it is the whole answer."""

    headers: Mapping[str, str] = _NONE
    status: int | None = None


_NOTHING_TO_SAY: Final = Verdict()


def decide(cors: Cors, method: str, origin: str | None, requested_headers: str | None = None) -> Verdict:
    """What to answer to a page from ``origin``.

    ``requested_headers`` is the Access-Control-Request-Headers header. OPTIONS
    is answered here: 200 or 403; anything else from an origin that is not
    allowed is served without CORS headers, which browsers then keep from the
    page.
    """
    by_name = origin is not None and (
        _LOCAL.fullmatch(origin) is not None
        or any(pattern != _ANY and _matches(pattern, origin) for pattern in cors.allowed_origins)
    )
    allowed = by_name or (origin is not None and _ANY in cors.allowed_origins)
    if not allowed or origin is None:
        return Verdict(status=403) if method == "OPTIONS" else _NOTHING_TO_SAY
    headers = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": _allowed_headers(cors, by_name, requested_headers),
        "access-control-max-age": _MAX_AGE,
        "vary": "Origin",
    }
    if by_name:  # never for a page that only "*" lets in
        headers["access-control-allow-credentials"] = "true"
    return Verdict(MappingProxyType(headers), 200 if method == "OPTIONS" else None)


def _allowed_headers(cors: Cors, credentialed: bool, requested: str | None) -> str:
    if _ANY in cors.allowed_headers:
        if not credentialed:
            return _ANY
        if requested and _HEADER_LIST.fullmatch(requested):
            return requested
    return ", ".join([*_HEADERS, *(name for name in cors.allowed_headers if name != _ANY)])


def _matches(pattern: str, origin: str) -> bool:
    """In a pattern, ``*`` stands for one or more characters other than ``/`` and ``.``."""
    if _ANY not in pattern:
        return pattern == origin
    return re.fullmatch("[^/.]+".join(map(re.escape, pattern.split(_ANY))), origin) is not None
