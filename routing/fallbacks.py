"""The fallbacks that a request asks for: what to try when its own model fails.

Each is ``"vllm/model"`` or ``{"provider": "vllm", "model": "…", "params": {…}}``;
a form has them as one JSON text, or one to a field. As in Bifrost, what makes
no sense is left out and the rest is used; here it is said what was left out.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .keys import Refusal, candidates
from .settings import Config

PROVIDER: Final = "vllm"
MOST: Final = 32
"""More than these are left out: every one may cost several requests."""

_PREFIX: Final = PROVIDER + "/"
_NO_PARAMS: Final[Mapping[str, object]] = {}


class Fallback(NamedTuple):
    """A model to try next; ``params`` replace those of the request."""

    provider: str
    model: str
    params: Mapping[str, object] = _NO_PARAMS


class Dropped(NamedTuple):
    """An entry that was left out: its place, and why."""

    param: str
    why: str


class Fallbacks(NamedTuple):
    """What to try in which order, and what was left out."""

    entries: tuple[Fallback, ...] = ()
    dropped: tuple[Dropped, ...] = ()


_NONE: Final = Fallbacks()


def read(value: object, config: Config) -> Fallbacks:
    """The fallbacks that ``value``, the member ``fallbacks`` of a request, holds."""
    if value is None:
        return _NONE
    entries: list[Fallback] = []
    dropped: list[Dropped] = []
    if not isinstance(value, str | list | tuple):
        return Fallbacks(dropped=(Dropped("fallbacks", "not a list"),))
    for index, entry in enumerate(_listed(value)):
        read_entry = _entry(entry, config) if len(entries) < MOST else f"more than {MOST}"
        if isinstance(read_entry, str):
            dropped.append(Dropped(f"fallbacks[{index}]", read_entry))
            if len(entries) == MOST:
                break
        else:
            entries.append(read_entry)
    return Fallbacks(tuple(entries), tuple(dropped))


def _listed(value: object) -> Sequence[object]:
    """A form's field is a text: a JSON array of entries, or one entry."""
    if isinstance(value, list | tuple):
        return value
    if not isinstance(value, str):
        return ()
    if value.lstrip().startswith("["):
        try:
            decoded: object = json.loads(value)
        except (ValueError, RecursionError):
            return (None,)
        return decoded if isinstance(decoded, list) else (None,)
    return (value,) if value.strip() else ()


def _entry(entry: object, config: Config) -> Fallback | str:
    if isinstance(entry, str):
        return _known(Fallback(*_split(entry)), config)
    if not isinstance(entry, Mapping):
        return "neither a text nor an object"
    provider, model, params = entry.get("provider"), entry.get("model"), entry.get("params")
    if not isinstance(model, str) or not isinstance(provider, str | None):
        return "provider and model must be texts"
    if not isinstance(params, Mapping | None):
        return "params must be an object"
    named = Fallback(provider, model) if provider else Fallback(*_split(model))
    return _known(named._replace(params=params or _NO_PARAMS), config)


def _split(text: str) -> tuple[str, str]:
    return (PROVIDER, text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else ("", text)


def _known(fallback: Fallback, config: Config) -> Fallback | str:
    if not fallback.model.strip():
        return "names no model"
    if fallback.provider == PROVIDER:
        return fallback
    if fallback.provider or isinstance(candidates(config, "", fallback.model), Refusal):
        return "names no provider that this gateway has"
    return fallback
