"""Keeping a key's value out of what the client reads."""

import json
from collections.abc import Mapping
from typing import Final

_SHORTEST: Final = 4  # anything shorter is no secret, and hiding it would garble every text
_DEEPEST: Final = 64
_HIDDEN: Final = "***"


def hide(value: object, secret: str) -> object:
    """``value``, a JSON value, with ``***`` wherever one of its texts holds ``secret``.

    The secret is found as it is and as JSON spells it inside a text. What is
    nested too deeply to be searched is hidden as a whole.
    """
    if len(secret) < _SHORTEST:
        return value
    return _hide(value, (secret, json.dumps(secret)[1:-1]), _DEEPEST)


def _hide(value: object, spellings: tuple[str, str], depth: int) -> object:
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
