"""``python -m recording.request_fields``: what becomes of every field that vLLM accepts, as a page.

For each place in vLLM's own schema of a request there is at least one request
that has it. Each is translated, and what goes out is compared with what came
in: a place is sent as it is, or it is in ``request_reasons``.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from routing import forms
from translate import OPERATIONS, Call, Failure, Plan, documents
from translate.types import Document, RequestType

from .__main__ import DEFAULT_VERSION
from .request_reasons import REASONS, SKIPPED
from .schemas import kept_file

Schema = Mapping[str, Any]
Instance = tuple[str, Any]

_REFERENCE: Final = "#/components/schemas/"
_WORD: Final = "x"
_INTRODUCTION: Final = """\
# The fields that vLLM accepts

What becomes of every field in the schemas of vLLM {version}, which it publishes at `/openapi.json`. Written
by `python -m recording.request_fields > docs/vllm-fields.md`; the schemas are renewed from running servers by
`python -m recording.schemas`, after `make record` has set them up. A test compares both with what is sent.

Fields that vLLM does not know, or not yet, go out as they are, too. What is null at the top is left out. What
is inside of a field goes out as it came, in its order and spelling, where nothing else is said; what is
repaired in messages that no schema describes, such as thoughts under one of two names, is in the ledger of
the answer.
"""


class Operation(NamedTuple):
    """An operation, the path whose schema its requests have, and what they have whatever else they have."""

    plain: RequestType
    streamed: RequestType | None
    path: str
    least: Document


_ASKED: Final = [{"role": "user", "content": _WORD}]
OPERATIONS_OF: Final = (
    Operation(
        "chat_completion",
        "chat_completion_stream",
        "/v1/chat/completions",
        {"model": "m", "messages": _ASKED},
    ),
    Operation(
        "text_completion", "text_completion_stream", "/v1/completions", {"model": "m", "prompt": _WORD}
    ),
    Operation("embedding", None, "/v1/embeddings", {"model": "m", "input": _WORD}),
    Operation("rerank", None, "/v1/rerank", {"model": "m", "query": _WORD, "documents": [_WORD]}),
    Operation(
        "transcription",
        "transcription_stream",
        "/v1/audio/transcriptions",
        {"model": "m", "file": {"file": b"RIFF", "filename": "a.wav"}},
    ),
    Operation("responses", "responses_stream", "/v1/responses", {"model": "m", "input": _WORD}),
)


class Accepted:
    """The schemas of one version, and requests that have what they describe."""

    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]
        self._paths: Schema = document["paths"]

    def requests(self, operation: Operation) -> Iterator[Instance]:
        """Requests that each have one place more than the least; nothing is null at their top."""
        (media,) = self._paths[operation.path]["post"]["requestBody"]["content"].values()
        for place, value in self._varied(media["schema"], ""):
            name = _top(place)
            if (
                name == "file" or not place or value[name] is None
            ):  # bytes; the least request; null is no value
                continue
            least = {
                key: each
                for key, each in operation.least.items()
                if key != "input" or "messages" not in value
            }
            yield place, {**value, **least, name: value[name], "model": "m"}

    def fields(self, operation: Operation) -> list[str]:
        """The names at the top of a request."""
        return list(dict.fromkeys(_top(place) for place, _ in self.requests(operation)))

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].removeprefix(_REFERENCE)]
        return schema

    def _varied(self, schema: Schema, place: str, above: tuple[int, ...] = ()) -> Iterator[Instance]:
        """Values that the schema describes: one for each place in it, each alternative and each type."""
        schema = self._resolved(schema)
        if id(schema) in above:  # it holds itself
            return
        above = (*above, id(schema))
        for alternative in [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
            yield from self._varied(alternative, place, above)
        if "anyOf" in schema or "oneOf" in schema or "allOf" in schema:
            return
        yield from ((place, value) for value in self._plain(schema))
        if schema.get("type") == "array" and "items" in schema:
            for inner, value in self._varied(schema["items"], f"{place}[]", above):
                yield inner, [value]
        members = schema.get("properties", {})
        least = self._least(schema) if members else {}
        for name, member in members.items():
            for inner, value in self._varied(member, f"{place}.{name}".removeprefix("."), above):
                yield inner, {**least, name: value}

    def _plain(self, schema: Schema) -> list[Any]:
        if "const" in schema:
            return [schema["const"]]
        if "enum" in schema:
            return list(schema["enum"])
        match schema.get("type"):
            case "boolean":
                return [True, False]
            case "null":
                return [None]
        return [self._least(schema)]

    def _least(self, schema: Schema) -> Any:
        """One value that the schema describes, with nothing in it that may be left out."""
        schema = self._resolved(schema)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._least(schema[several][0])
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        match schema.get("type"):
            case "string":
                return _WORD * max(1, schema.get("minLength", 1))
            case "integer":
                return max(1, int(schema.get("minimum", 1)))
            case "number":
                return min(0.5, schema.get("maximum", 0.5))
            case "boolean":
                return True
            case "null":
                return None
            case "array":
                return [self._least(schema.get("items", {}))]
            case "object":
                required = schema.get("required", ())
                return {
                    name: self._least(member)
                    for name, member in schema.get("properties", {}).items()
                    if name in required
                }
        return {"type": _WORD}  # anything goes


def accepted(version: str = DEFAULT_VERSION) -> Accepted:
    """What a version accepts, as kept."""
    return Accepted(json.loads(kept_file(version).read_text()))


def changed(operation: Operation, request: Document, streaming: bool) -> set[str]:
    """The places of a flat request at which another comes out; what is refused counts as changed."""
    kind = operation.streamed if streaming and operation.streamed else operation.plain
    told = {**request, **({"stream": True} if streaming else {})}
    if operation.plain == "transcription":
        told = _as_form(told)
    document = OPERATIONS[kind].from_flat(told)
    plan = document if isinstance(document, Failure) else OPERATIONS[kind].plan(document, Call(kind))
    if isinstance(plan, Failure):
        places = {_generic(str(plan.error["error"].get("param")))}
    elif operation.plain == "responses":
        places = set(_as_response(told, plan))
    else:
        places = set(_differences(told, _sent(plan), ""))
    return {_top(place) for place in places} - {"input"} if operation.plain == "responses" else places


def _top(place: str) -> str:
    """The name at the top; that of a form's list ends in brackets itself."""
    name, _, rest = place.partition(".")[0].partition("[")
    return f"{name}[]" if name == "timestamp_granularities" and rest else name


def noted(operation: Operation, request: Document, streaming: bool) -> bool:
    """Whether the ledger says something of what is done to a flat request, or refuses it."""
    kind = operation.streamed if streaming and operation.streamed else operation.plain
    document = OPERATIONS[kind].from_flat(
        _as_form(request) if operation.plain == "transcription" else request
    )
    if isinstance(document, Failure) or isinstance(OPERATIONS[kind].plan(document, Call(kind)), Failure):
        return True
    return bool(OPERATIONS[kind].noted(document, Call(kind)))


def _as_form(request: Document) -> dict[str, object]:
    """What a form says: nothing but text."""

    def text(value: object) -> object:
        if isinstance(value, str) or value is None:
            return value
        return json.dumps(value)

    return {
        name: value if name == "file" else text(value[0] if isinstance(value, list) else value)
        for name, value in request.items()
    }


def _sent(plan: Plan) -> Document:
    body = plan.body
    if body is None:
        return {}
    if body.content_type == "application/json":
        return documents.as_object(documents.decode(body.data)) or {}
    boundary = forms.boundary(body.content_type)
    if isinstance(boundary, forms.Unreadable):
        raise TypeError(boundary.reason)
    reader = forms.Reader(boundary)
    for piece in (body.data, *body.rest):
        reader.feed(piece)
    form = reader.close()
    if isinstance(form, forms.Unreadable):
        raise TypeError(form.reason)
    file = form["file"]
    if isinstance(file, dict):
        file.pop("content_type", None)
    return form


def _as_response(told: Document, plan: Plan) -> Iterator[str]:
    """The parameters of a response that are not parameters of the chat that is sent."""
    sent = _sent(plan)
    ours = {name: value for name, value in told.items() if name != "input"}
    theirs = {name: value for name, value in sent.items() if name != "messages"}
    return _differences(ours, theirs, "")


def _differences(before: object, after: object, place: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{place}.{name}".removeprefix(".")
            if name not in before or name not in after:
                yield inner
            else:
                yield from _differences(before[name], after[name], inner)
    elif isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(before, str):
        if len(before) != len(after):
            yield f"{place}[]"
        for one, other in zip(before, after, strict=False):
            yield from _differences(one, other, f"{place}[]")
    elif before != after or type(before) is not type(after):
        yield place


def _generic(place: str) -> str:
    return "[]".join(part.partition("]")[2] if "]" in part else part for part in place.split("["))


def page(version: str = DEFAULT_VERSION) -> str:
    """What becomes of every field, for people."""
    kept = accepted(version)
    lines = [_INTRODUCTION.format(version=version)]
    lines += [f"* `{name}`: {reason}." for name, reason in SKIPPED.items()]
    for operation in OPERATIONS_OF:
        forms_of: list[RequestType] = [operation.plain]
        if operation.streamed is not None:
            forms_of.append(operation.streamed)
        told = {kind: REASONS.get(kind, {}) for kind in forms_of}
        places = list(dict.fromkeys(place for reasons in told.values() for place in reasons))
        tops = {_top(place) for place in places}
        skipped = {"model", "file", *(("input",) if operation.plain == "responses" else ())}
        plain = [name for name in kept.fields(operation) if name not in tops | skipped]
        lines += ["", f"## {operation.path}", "", f"As they are ({len(plain)}):"]
        lines += [", ".join(f"`{name}`" for name in plain) + "."]
        lines += ["", "| changed | " + " | ".join(forms_of) + " |", "|---|" + "---|" * len(forms_of)]
        for place in places:
            cells = [told[kind].get(place, "as it is") for kind in forms_of]
            lines.append(f"| `{place}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(page())
