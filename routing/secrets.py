"""Keeping secrets out of what the client reads."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_SHORTEST: Final = 4  # anything shorter is no secret, and hiding it would garble every text
_DEEPEST: Final = 64
_HIDDEN: Final = "***"


def hide(value: object, *secrets: str) -> object:
    """``value``, a JSON value, with ``***`` wherever one of its texts holds one of ``secrets``.

    A secret is found as it is and as JSON spells it inside a text. What is
    nested too deeply to be searched is hidden as a whole.
    """
    spellings = _spellings(secrets)
    return _hide(value, spellings, _DEEPEST) if spellings else value


def may_hold(text: str, *secrets: str) -> bool:
    """Whether ``hide`` would change ``text``."""
    return any(spelling in text for spelling in _spellings(secrets))


@lru_cache(maxsize=256)
def _spellings(secrets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            spelling
            for secret in sorted(secrets, key=len, reverse=True)
            if len(secret) >= _SHORTEST
            for spelling in (secret, json.dumps(secret)[1:-1])
        )
    )


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
