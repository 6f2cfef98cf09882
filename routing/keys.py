"""Which key serves a request, and what the model is called there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .model_names import ANY_MODEL, Alias, alias_of, allows
from .settings import Config, Key


class Pin(NamedTuple):
    """The client's wish for one key; an id wins over a name."""

    id: str = ""
    name: str = ""


class Choice(NamedTuple):
    """The key that serves a request.

    ``model`` is what to ask the server for. It differs from what the client
    asked for exactly when there is an ``alias``.
    """

    key: Key
    model: str = ""
    alias: Alias | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no key serves a request.

    ``no_url``: one would, had it an address. ``unroutable``: everything else;
    ``message`` is Bifrost's wording.
    """

    reason: Literal["no_url", "unroutable"]
    message: str = ""


NO_PIN = Pin()


def candidates(config: Config, provider: str, model: str, pin: Pin = NO_PIN) -> tuple[Key, ...] | Refusal:
    """The keys that may serve ``model``, which the client asked for with or without naming a provider.

    Eligible is an enabled key whose ``models`` hold the model, whose
    ``blacklisted_models`` do not, and whose ``model_name``, unless empty, is
    exactly the model; all of this before aliases are resolved. Keys without an
    address are left out. There is at least one.
    """
    if not model:
        return _unroutable(
            "could not auto resolve a model for the request, please specify a model explicitly"
        )
    eligible = tuple([key for key in config.keys if serves(key, model)])
    if not eligible and not provider:
        return _unroutable(
            "could not auto resolve a provider for the request, please specify a provider explicitly"
        )
    if not eligible:
        return _unroutable(f"no keys found that support model: {model}")
    return _reachable(eligible, pin, lambda wish: f"{wish} for provider: vllm and model: {model}")


def choose_all(config: Config, provider: str = "", pin: Pin = NO_PIN) -> Sequence[Key] | Refusal:
    """The keys for a request that concerns all servers: the enabled ones, address or not.

    ``provider`` is the one that the client named, if it named one.
    """
    enabled = [key for key in config.keys if key.enabled] if provider in {"", "vllm"} else []
    if not enabled:
        return _unroutable(f"no valid keys found for provider: {provider or 'vllm'}")
    return _pinned(enabled, pin, lambda wish: f"{wish} for provider: vllm")


def chosen(key: Key, model: str) -> Choice:
    """``key`` for ``model``, by the name that its server knows."""
    alias = alias_of(key.aliases, model)
    return Choice(key, alias.model_id if alias else model, alias)


def serves(key: Key, model: str) -> bool:
    """Whether ``key`` is eligible for ``model``, by the name that the client uses."""
    return (
        key.enabled
        and allows(key.models, model)
        and not allows(key.blacklisted_models, model)
        and key.model_name in {"", model}
    )


def status(key: Key) -> str:
    """What can be said of a key without asking its server."""
    if not key.enabled:
        return "disabled"
    return "configured" if key.url else "no url"


def why_unusable(key: Key) -> str:
    """Why a key serves no request at all; empty when it may serve some."""
    if not key.enabled:
        return "not enabled"
    if not key.url:
        return "vllm_key_config.url is missing, so its requests are refused"
    if not key.models:
        return "models is empty, so it serves none"
    if ANY_MODEL in key.blacklisted_models:
        return "blacklisted_models holds all models"
    named = (key.model_name,) if key.model_name else key.models
    if all(not allows(key.models, model) or allows(key.blacklisted_models, model) for model in named):
        return "models, blacklisted_models and vllm_key_config.model_name leave no model"
    return ""


def _reachable(keys: Sequence[Key], pin: Pin, unfound: Callable[[str], str]) -> tuple[Key, ...] | Refusal:
    left = keys if pin is NO_PIN else _pinned(keys, pin, unfound)
    if isinstance(left, Refusal):
        return left
    return tuple([key for key in left if key.url]) or Refusal("no_url")


def _pinned(keys: Sequence[Key], pin: Pin, unfound: Callable[[str], str]) -> Sequence[Key] | Refusal:
    wish = ""
    if pin.id:
        keys, wish = [key for key in keys if key.id == pin.id], f'id "{pin.id}"'
    elif pin.name:
        keys, wish = [key for key in keys if key.name == pin.name], f'name "{pin.name}"'
    return keys or _unroutable(f"no supported key found with {unfound(wish)}")


def _unroutable(message: str) -> Refusal:
    return Refusal("unroutable", message)
