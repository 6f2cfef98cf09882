"""Letting clients in."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

from . import refusals
from .fields import Array, Setting, Text
from .references import ClientKey
from .refusals import ErrorDocument

CHALLENGE: Final = 'Bearer realm="bifrost-vllm"'
"""The WWW-Authenticate header that goes with a refusal."""

_ALWAYS_OPEN: Final = frozenset({"/health"})
_CARRIERS: Final = ("x-bf-vk", "x-api-key", "x-goog-api-key", "api-key")
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Auth:
    """Who is let in. Without ``api_keys``, everybody is. The printed form shows no key."""

    api_keys: Annotated[
        tuple[str, ...],
        Setting(
            "api_keys",
            Array(ClientKey()),
            "Keys that let clients in, each a text or a reference such as env.NAME; without any, "
            "everybody is let in (not in Bifrost).",
        ),
    ] = ()
    open_routes: Annotated[
        tuple[str, ...],
        Setting("whitelisted_routes", Array(Text()), "Paths that need no key; /health never needs one."),
    ] = ()

    def __repr__(self) -> str:
        return f"Auth({len(self.api_keys)} keys, open_routes={self.open_routes!r})"


def refused(auth: Auth, method: str, path: str, pairs: Iterable[tuple[str, str]]) -> ErrorDocument | None:
    """Why a request is not let in; ``None`` when it is.

    A key may come as ``Authorization: Bearer`` or in ``x-bf-vk``, ``x-api-key``,
    ``x-goog-api-key`` or ``api-key``. A preflight (OPTIONS) carries none. How
    long the answer takes does not depend on how much of a key was right.
    """
    if not auth.api_keys or method == "OPTIONS" or path in _ALWAYS_OPEN or path in auth.open_routes:
        return None
    presented = _presented(pairs)
    if not presented:
        return refusals.unauthorized(
            "an API key is required: send it as a bearer token or in the x-bf-vk header", "api_key_required"
        )
    if not _any_known(presented, auth.api_keys):
        return refusals.unauthorized("the API key is not known here", "invalid_api_key")
    return None


def _presented(pairs: Iterable[tuple[str, str]]) -> list[str]:
    found = []
    for written, value in pairs:
        name = written.lower()
        if name == "authorization" and value[: len(_BEARER)].lower() == _BEARER:
            found.append(value[len(_BEARER) :].strip())
        elif name in _CARRIERS:
            found.append(value.strip())
    return [key for key in found if key]


def _any_known(presented: Sequence[str], known: Sequence[str]) -> bool:
    """Compares everything with everything: neither length nor place of a key shows in the time it takes."""
    expected = [sha256(key.encode(errors="surrogatepass")).digest() for key in known]
    match = False
    for key in presented:
        digest = sha256(key.encode(errors="surrogatepass")).digest()
        for other in expected:
            match |= hmac.compare_digest(digest, other)
    return match
