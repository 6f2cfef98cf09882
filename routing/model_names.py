"""Which models a key serves, and what they are called on its server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .fields import Schema
from .reading import At

ANY_MODEL: Final = "*"
"""In a list of models: all of them."""

_ALIAS_MEMBERS: Final = ("model_id", "model_name", "model_family", "description")


@dataclass(frozen=True, slots=True)
class Alias:
    """What a model is really called upstream, and how it may be described."""

    model_id: str
    model_name: str = ""
    model_family: str = ""

    def described(self) -> dict[str, str]:
        """The members that say something, as ``resolved_key_alias`` shows them."""
        members = {
            "model_id": self.model_id,
            "model_name": self.model_name,
            "model_family": self.model_family,
        }
        return {name: text for name, text in members.items() if text}


NO_ALIASES: Final[Mapping[str, Alias]] = MappingProxyType({})


def allows(models: Sequence[str], model: str) -> bool:
    """Whether a list of models holds ``model``; case does not matter."""
    if not models or model in models or ANY_MODEL in models:
        return bool(models)
    folded = model.lower()
    return any(entry.lower() == folded for entry in models)


def alias_of(aliases: Mapping[str, Alias], model: str) -> Alias | None:
    """The alias for ``model``; case does not matter."""
    if model in aliases or not aliases:
        return aliases.get(model)
    folded = model.lower()
    return next((alias for name, alias in aliases.items() if name.lower() == folded), None)


@dataclass(frozen=True, slots=True)
class ModelList:
    """A list of models, or ``["*"]`` for all; ``kind`` is what messages call it."""

    kind: str

    def read(self, at: At) -> tuple[str, ...] | None:
        found: list[str] = []
        for entry in at.entries():
            model = entry.text()
            if not model:
                if isinstance(entry.value, str | None):
                    entry.problem("empty")
            elif model.lower() in {other.lower() for other in found}:
                entry.problem(f"duplicate value in {self.kind}")
            else:
                found.append(model)
        if ANY_MODEL in found and len(found) > 1:
            at.problem(f"wildcard '{ANY_MODEL}' cannot be used with other values in the {self.kind}")
        return tuple(found)

    def schema(self) -> Schema:
        return {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "anyOf": [{"maxItems": 1}, {"items": {"not": {"const": ANY_MODEL}}}],
        }


@dataclass(frozen=True, slots=True)
class Aliases:
    """Names of models and what they stand for: an id, or an object that says more."""

    def read(self, at: At) -> Mapping[str, Alias] | None:
        found: dict[str, Alias] = {}
        for name, target in at.members():
            if isinstance(target.value, Mapping):
                for member_name, member in target.members():
                    if member_name == "use_anthropic_endpoints":
                        if member.says_something:
                            member.warn("not used by this gateway")
                    elif member_name not in _ALIAS_MEMBERS:
                        member.warn("unknown key")
                model_id = target["model_id"]
                alias = Alias(
                    model_id.text() or "",
                    target["model_name"].text() or "",
                    target["model_family"].text() or "",
                )
            else:
                model_id = target
                alias = Alias(target.text() or "")
            if not name or name != name.strip():
                target.problem("the name of an alias must not be empty nor begin or end with a space")
            elif name.lower() in {other.lower() for other in found}:
                target.problem("another alias has the same name")
            if not isinstance(model_id.value, str | None):
                pass  # reported as no string
            elif not alias.model_id or alias.model_id != alias.model_id.strip():
                model_id.problem("must not be empty nor begin or end with a space")
            found[name] = alias
        return MappingProxyType(found)

    def schema(self) -> Schema:
        plain: Schema = {"type": "string", "pattern": r"^\S(?:.*\S)?$"}
        members: Schema = {name: {"type": ["string", "null"]} for name in _ALIAS_MEMBERS}
        members["model_id"] = plain
        rich: Schema = {"type": "object", "properties": members, "required": ["model_id"]}
        return {
            "type": "object",
            "propertyNames": {"pattern": r"^\S(?:.*\S)?$"},
            "additionalProperties": {"anyOf": [plain, rich]},
        }
