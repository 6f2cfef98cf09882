"""Texts of the configuration that may stand for an environment variable.

References are ``"env.NAME"``, ``{"ref": "env.NAME", "type": "env"}`` and
``{"value": "", "env_var": "env.NAME", "from_env": true}``. A variable that is
not set counts as empty.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from . import headers
from .fields import Schema
from .reading import At

UNSENDABLE: Final = "cannot be sent: a header holds printable ASCII only and no line end"

_ENVIRONMENT: Final = "env."
_MEMBERS: Final = ("value", "ref", "type", "env_var", "from_env")


def resolved(at: At) -> str:
    """A text, or what it stands for; empty when there is none."""
    if isinstance(at.value, str):
        return _looked_up(at, at.value)
    if at.value is None:
        return ""
    if not isinstance(at.value, Mapping):
        at.problem("expected a string")  # a number here may be the secret itself: not shown
        return ""
    for name, member in at.members():
        if name not in _MEMBERS:
            member.warn("unknown key")
    literal, kind = _secret(at["value"]), _secret(at["type"])
    reference = _secret(at["ref"]) or _secret(at["env_var"])
    if kind == "vault":
        at.problem("references to a vault are not supported")
        return ""
    if reference and (
        kind == "env" or at["from_env"].flag() or reference in {literal, _ENVIRONMENT + literal}
    ):
        return _looked_up(at, _ENVIRONMENT + reference.removeprefix(_ENVIRONMENT))
    return _looked_up(at, literal or reference)


def schema() -> Schema:
    """The JSON Schema of a text or a reference."""
    members: Schema = {name: {"type": ["string", "null"]} for name in _MEMBERS}
    members["type"] = {"enum": ["plain_text", "env", None]}
    members["from_env"] = {"type": ["boolean", "null"]}
    return {"anyOf": [{"type": "string"}, {"type": "object", "properties": members}]}


def _secret(at: At) -> str:
    if at.value is not None and not isinstance(at.value, str):
        at.problem("expected a string")
    return at.value if isinstance(at.value, str) else ""


def _looked_up(at: At, text: str) -> str:
    if text.startswith("vault."):
        at.problem("references to a vault are not supported")
        return ""
    if not text.startswith(_ENVIRONMENT):
        return text
    name = text.removeprefix(_ENVIRONMENT)
    if name not in at.environ:
        at.warn(f"the environment variable {json.dumps(name)} is not set, so this is empty")
    return at.environ.get(name, "")


@dataclass(frozen=True, slots=True)
class Credential:
    """What the server asks for; empty for a server that asks for nothing."""

    def read(self, at: At) -> str | None:
        value = resolved(at)
        if not headers.is_sendable(value):
            at.problem(UNSENDABLE)
        return value

    def schema(self) -> Schema:
        return schema()


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key that lets a client in; an empty one would let everybody in."""

    def read(self, at: At) -> str | None:
        value = resolved(at)
        if not value:
            at.problem("empty: this would let everybody in")
        elif value != value.strip() or not headers.is_sendable(value):
            at.problem("no client could send it: printable ASCII only, no space at either end")
        return value

    def schema(self) -> Schema:
        return schema()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate in PEM form, or several; one that is meant but missing must not go unnoticed."""

    def read(self, at: At) -> str | None:
        value = resolved(at)
        if not value and at.value in (None, ""):
            return None
        if "-----BEGIN CERTIFICATE-----" not in value:
            at.problem("not a certificate in PEM form")
        return value

    def schema(self) -> Schema:
        return schema()
