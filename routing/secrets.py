"""Keeping secrets out of what the client reads, and out of recordings."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:  # settings hide their secrets by this module
    from .settings import Config

_SHORTEST: Final = 4  # anything shorter is no secret, and hiding it would garble every text
_DEEPEST: Final = 64
_HIDDEN: Final = "***"
_CREDENTIAL: Final = re.compile(r"authori[sz]ation|key|token|secret|cookie", re.IGNORECASE)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def of(config: "Config") -> tuple[str, ...]:
    """What a configuration holds that nobody else may read: keys, credentials, and where the servers are."""
    return tuple(dict.fromkeys(filter(None, _secrets(config))))


def _secrets(config: "Config") -> Iterator[str]:
    for name, value in config.network.extra_headers.items():
        if _CREDENTIAL.search(name):
            yield value
    for key in config.keys:
        yield key.value
        try:
            address = urlsplit(key.url)
            yield address.password or ""
            host = address.netloc.rpartition("@")[2]
            # A bare name, such as vllm, may well be a word of an answer.
            if address.hostname not in _LOOPBACK and re.search("[.:]", host):
                yield host
        except ValueError:
            continue  # no address, and so never used


def hide(value: object, *secrets: str) -> object:
    """``value``, a JSON value, with ``***`` wherever one of its texts holds one of ``secrets``.

    A secret is found as it is and as JSON spells it inside a text. What is
    nested too deeply to be searched is hidden as a whole.
    """
    spellings = tuple(
        dict.fromkeys(
            spelling
            for secret in sorted(secrets, key=len, reverse=True)
            if len(secret) >= _SHORTEST
            for spelling in (secret, json.dumps(secret)[1:-1])
        )
    )
    return _hide(value, spellings, _DEEPEST) if spellings else value


def _hide(value: object, spellings: tuple[str, ...], depth: int) -> object:
    match value:
        case str():
            for spelling in spellings:
                value = value.replace(spelling, _HIDDEN)
            return value
        case Mapping() | list() | tuple() if not depth:
            return _HIDDEN
        case Mapping():
            return {
                _hide(name, spellings, depth): _hide(member, spellings, depth - 1)
                for name, member in value.items()
            }
        case list() | tuple():
            return [_hide(entry, spellings, depth - 1) for entry in value]
    return value
