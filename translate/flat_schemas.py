"""What a request of each operation looks like over HTTP, as JSON Schema (https://json-schema.org).

Made of the types of ``types``. Every schema is open, as the types are: what it
does not list goes to the server as it is.
"""

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from typing_extensions import NotRequired, Required, is_typeddict

from . import types
from .types import RequestType

Schema = dict[str, Any]


class Form(NamedTuple):
    """How clients write the requests of an operation: the types, and its own names for what goes in."""

    request: type
    parameters: type
    inputs: Mapping[str, str]


FORMS: Final[Mapping[RequestType, Form]] = {
    "chat_completion": Form(types.ChatRequest, types.ChatParameters, {"messages": "input"}),
    "responses": Form(types.ResponsesRequest, types.ResponsesParameters, {"input": "input"}),
    "text_completion": Form(types.TextCompletionRequest, types.TextCompletionParameters, {"prompt": "input"}),
    "embedding": Form(types.EmbeddingRequest, types.EmbeddingParameters, {"input": "input"}),
    "rerank": Form(types.RerankRequest, types.RerankParameters, {"query": "query", "documents": "documents"}),
    "transcription": Form(types.TranscriptionRequest, types.TranscriptionParameters, {"file": "input"}),
}
"""By the operation that is not streamed; its stream has the same."""

_PLAIN: Final[Mapping[object, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    bytes: {"type": "string", "format": "binary"},
    object: {},
}


def request_schema(operation: RequestType, streamed: bool) -> Schema:
    """The body of a request, or the fields of its form; with ``streamed``, it may ask for a stream."""
    form = FORMS[operation]
    hints = get_type_hints(form.request, include_extras=True)
    properties: Schema = {
        "model": {**_filled(schema(str)), "description": "With or without `vllm/` in front."}
    }
    properties |= {name: _filled(schema(hints[of])) for name, of in form.inputs.items()}
    if operation == "transcription":
        properties["file"] = schema(bytes)
    optional = get_type_hints(form.parameters, include_extras=True)
    properties |= {name: schema(hint) for name, hint in optional.items()}
    if streamed:
        properties["stream"] = (
            schema(Literal["true", "false"]) if operation == "transcription" else schema(bool | None)
        )
    properties["fallbacks"] = {
        "description": "Other models to ask, as `vllm/name` or objects, in their order."
    }
    required = ["model", *(name for name in form.inputs if (operation, name) not in _EITHER)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": True}


_EITHER: Final = frozenset({("text_completion", "prompt"), ("embedding", "input")})
"""What may be left out, since the server takes something else instead (``prompt_embeds``, ``messages``)."""


def schema(hint: Any) -> Schema:
    """A type as JSON Schema; a type that JSON has no word for raises ``TypeError``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (NotRequired, Required):
        return schema(arguments[0])
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if origin is Literal:
        return {"enum": [*arguments]}
    if origin in (Union, UnionType):
        return {"anyOf": [schema(each) for each in arguments]}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object"}
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": schema(arguments[0])}
    if is_typeddict(hint):
        return _object(hint)
    raise TypeError(f"{hint} has no schema")


def _filled(described: Schema) -> Schema:
    """The same, but not empty."""
    if "anyOf" in described:
        return {"anyOf": [_filled(each) for each in described["anyOf"]]}
    match described.get("type"):
        case "array":
            return {**described, "minItems": 1}
        case "string":
            return {**described, "pattern": r"\S"}
    return described


def _object(kind: Any) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    required = [name for name in hints if name in kind.__required_keys__]
    described = {"type": "object", "properties": {name: schema(hint) for name, hint in hints.items()}}
    return {**described, **({"required": required} if required else {})}


def error_schema() -> Schema:
    """The one shape of every error."""
    return schema(types.BifrostError)


def answer_schema() -> Schema:
    """What every answer has, whatever else it has."""
    return {
        "type": "object",
        "properties": {"extra_fields": schema(types.ExtraFields)},
        "required": ["extra_fields"],
    }
