"""As much of JSON Schema as the published schema uses; a word that is not known here is an error."""

import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_REMARKS = {"$schema", "$id", "$defs", "title", "description", "default"}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def faults(value: object, schema: Schema, whole: Schema | None = None, path: str = "$") -> list[str]:
    """Where ``value`` is not as ``schema`` says; empty when it is valid."""
    whole = schema if whole is None else whole
    found: list[str] = []
    for word, rule in schema.items():
        if word not in _REMARKS:
            found += _RULES[word](value, rule, schema, whole, path)
    return found


def _is(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _type(value: object, rule: Any, _schema: Schema, _whole: Schema, path: str) -> list[str]:
    names = [rule] if isinstance(rule, str) else rule
    return [] if any(_is(value, name) for name in names) else [path]


def _any_of(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    tried = [faults(value, option, whole, path) for option in rule]
    return [] if any(not one for one in tried) else min(tried, key=len)


def _not(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    return [] if faults(value, rule, whole, path) else [path]


def _ref(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    target: Any = whole
    for step in rule.removeprefix("#/").split("/"):
        target = target[step]
    return faults(value, target, whole, path)


def _members(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        fault
        for name, inner in rule.items()
        if name in value
        for fault in faults(value[name], inner, whole, f"{path}.{name}")
    ]


def _other_members(value: object, rule: Any, schema: Schema, whole: Schema, path: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    others = value.keys() - schema.get("properties", {}).keys()
    return [fault for name in others for fault in faults(value[name], rule, whole, f"{path}.{name}")]


def _names(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [fault for name in value for fault in faults(name, rule, whole, f"{path}.{name}")]


def _required(value: object, rule: Any, _schema: Schema, _whole: Schema, path: str) -> list[str]:
    return [f"{path}.{name}" for name in rule if isinstance(value, dict) and name not in value]


def _items(value: object, rule: Any, _schema: Schema, whole: Schema, path: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [
        fault for index, entry in enumerate(value) for fault in faults(entry, rule, whole, f"{path}[{index}]")
    ]


def _enum(value: object, rule: Any, _schema: Schema, _whole: Schema, path: str) -> list[str]:
    return [] if any(type(value) is type(word) and value == word for word in rule) else [path]


def _pattern(value: object, rule: Any, _schema: Schema, _whole: Schema, path: str) -> list[str]:
    return [path] if isinstance(value, str) and not re.search(rule, value) else []


_RULES = {
    "type": _type,
    "anyOf": _any_of,
    "not": _not,
    "$ref": _ref,
    "properties": _members,
    "additionalProperties": _other_members,
    "propertyNames": _names,
    "required": _required,
    "items": _items,
    "enum": _enum,
    "const": lambda value, rule, schema, whole, path: _enum(value, [rule], schema, whole, path),
    "pattern": _pattern,
    "minLength": lambda value, rule, *more: [more[2]] if isinstance(value, str) and len(value) < rule else [],
    "minItems": lambda value, rule, *more: [more[2]] if isinstance(value, list) and len(value) < rule else [],
    "maxItems": lambda value, rule, *more: [more[2]] if isinstance(value, list) and len(value) > rule else [],
    "minimum": lambda value, rule, *more: [more[2]] if _is(value, "number") and value < rule else [],
    "maximum": lambda value, rule, *more: [more[2]] if _is(value, "number") and value > rule else [],
}
