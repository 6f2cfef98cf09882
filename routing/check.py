"""What is wrong with a ``config.json``, line by line, and the JSON Schema of one that is right."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn

from . import fields, positions
from .config import UNUSED, UNUSED_OF_KEY, examine
from .fields import Schema
from .keys import why_unusable
from .reading import ROOT, Finding
from .settings import Config, Key

_BOM: Final = b"\xef\xbb\xbf"


class Placed(NamedTuple):
    """Something to say of a line of the file. Lines count from 1."""

    line: int
    severity: str
    text: str


class Report(NamedTuple):
    """What a file holds and what is to be said of it, from top to bottom.

    ``config`` is ``None`` when there is a problem. ``skipped`` are keys that
    serve nothing, and why.
    """

    config: Config | None
    remarks: tuple[Placed, ...]
    skipped: tuple[Placed, ...] = ()

    @property
    def problems(self) -> tuple[Placed, ...]:
        return tuple(remark for remark in self.remarks if remark.severity == "problem")

    def lines(self, name: str) -> tuple[str, ...]:
        """The report as compilers write theirs; ``name`` is that of the file."""
        ordered = sorted((*self.remarks, *self.skipped), key=lambda remark: remark.line)
        return tuple(f"{name}:{line}: {severity}: {text}" for line, severity, text in ordered)


def check(text: bytes, environ: Mapping[str, str]) -> Report:
    """The report on a file's content; ``environ`` is where references are looked up."""
    try:
        decoded = text.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        return _unreadable(line, f"not JSON: not UTF-8 at byte {error.start}")
    try:
        document: object = json.loads(decoded, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return _unreadable(error.lineno, f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return _unreadable(1, "not JSON: nested too deeply")
    except ValueError as error:  # NaN, or an integer of some thousand digits
        return _unreadable(1, f"not JSON: {error}")
    return _report(document, positions.scan(decoded), environ)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unreadable(line: int, text: str) -> Report:
    return Report(None, (Placed(line, "problem", text),))


def _report(document: object, places: positions.Positions, environ: Mapping[str, str]) -> Report:
    examined = examine(document, environ)
    remarks = [_placed(finding, places) for finding in examined.findings]
    remarks += [Placed(line, "problem", f"{path}: written twice") for path, line in places.twice]
    remarks.sort(key=lambda remark: remark.line)
    skipped = tuple(
        Placed(places.line(path), "skipped", f'key "{key.name}": {why}')
        for index, key in enumerate(examined.config.keys)
        if (path := f"{ROOT}.providers.vllm.keys[{index}]") and (why := why_unusable(key))
    )
    sound = examined.is_sound and not places.twice
    return Report(examined.config if sound else None, tuple(remarks), skipped)


def _placed(finding: Finding, places: positions.Positions) -> Placed:
    return Placed(places.line(finding.path), finding.severity, str(finding))


def schema() -> Schema:
    """The JSON Schema of ``config.json``; what is not known is allowed, as it is by ``check``."""
    key = fields.properties(Key, UNUSED_OF_KEY)
    whole = fields.properties(Config, UNUSED)
    providers = _inner(whole, "providers")
    vllm = _inner(providers, "vllm")
    _members(vllm)["keys"] = {
        "description": "The servers, each with its key.",
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/$defs/key"},
    }
    _members(vllm)["custom_provider_config"] = {
        "description": "Not allowed on a built-in provider.",
        "type": "null",
    }
    vllm |= {"type": "object", "required": ["keys"]}
    providers |= {"type": "object", "required": ["vllm"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.json of bifrost-vllm",
        "description": "Bifrost's configuration, as far as it concerns vLLM.",
        **whole,
        "required": ["providers"],
        "$defs": {"key": key},
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


def _members(schema: Schema) -> Schema:
    members = schema["properties"]
    if not isinstance(members, dict):
        raise TypeError("a schema of an object has properties")
    return members


def _inner(schema: Schema, name: str) -> Schema:
    member = _members(schema)[name]
    if not isinstance(member, dict):
        raise TypeError(f"{name} has no schema")
    return member
