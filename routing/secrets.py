"""Keeping secrets out of what the client reads."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

_SHORTEST: Final = 4  # anything shorter is no secret, and hiding it would garble every text
_DEEPEST: Final = 64
_HIDDEN: Final = "***"


class Secrets:
    """Texts that nobody outside may read. The printed form shows none of them."""

    __slots__ = ("_spellings",)

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._spellings: Final = tuple(
            dict.fromkeys(
                spelling
                for secret in sorted(texts, key=len, reverse=True)
                if len(secret) >= _SHORTEST
                for spelling in (secret, json.dumps(secret)[1:-1])
            )
        )

    def hide(self, value: object) -> object:
        """``value``, a JSON value, with ``***`` wherever one of its texts holds a secret.

        A secret is found as it is and as JSON spells it inside a text. What is
        nested too deeply to be searched is hidden as a whole.
        """
        return _hide(value, self._spellings, _DEEPEST) if self._spellings else value

    def are_in(self, text: str) -> bool:
        """Whether ``text`` holds one."""
        for spelling in self._spellings:  # noqa: SIM110 - a generator takes longer than the search
            if spelling in text:
                return True
        return False

    @property
    def have_spaces(self) -> bool:
        """Whether there is a space in one."""
        return any(" " in spelling for spelling in self._spellings)


NO_SECRETS: Final = Secrets()


def hide(value: object, *secrets: str) -> object:
    """``Secrets(secrets).hide(value)``."""
    return Secrets(secrets).hide(value)


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
