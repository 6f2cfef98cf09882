"""What the gateway offers, for programs: OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0).

Written from the tables that the gateway itself goes by: its routes, the
requests of the operations, and those that are not supported.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from .layers import flat_schemas, translate, unsupported

VERSION: Final = "0.1.0"

Node = dict[str, Any]

_PARAMETER: Final = re.compile(r"{([^}:]+)[^}]*}")
_ERROR: Final = {"$ref": "#/components/schemas/Error"}
_ANSWER: Final = {"$ref": "#/components/schemas/Answer"}
_EVENT: Final = {"$ref": "#/components/schemas/Event"}
_HEADERS: Final[Mapping[str, str]] = {
    "x-request-id": "What the request is called in the log and in the answer; a new name unless given.",
    "x-bf-api-key-id": "The id of the one key to use.",
    "x-bf-api-key": "The name of the one key to use.",
    "x-bf-session-id": "Requests of one session go to the same key.",
    "x-bf-dry-run": "true: say what would be sent, and send nothing.",
}


class RouteLike(Protocol):
    """One row of the gateway's own routes."""

    @property
    def method(self) -> str: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def operation(self) -> translate.RequestType: ...
    @property
    def streamed(self) -> translate.RequestType | None: ...
    @property
    def form(self) -> bool: ...


def document(
    served: Sequence[RouteLike], list_paths: Iterable[str], refused_prefixes: Sequence[str], locked: bool
) -> Node:
    """The whole description, of a gateway that wants a key when it is ``locked``.

    ``list_paths`` list models; ``refused_prefixes`` precede paths that are not supported.
    """
    paths: dict[str, Node] = {}
    for route in served:
        for path in route.paths:
            _put(paths, route.method, path, _operation(route))
    for path in list_paths:
        _put(paths, "GET", path, _listing())
        _put(paths, "GET", f"{path}/{{model}}", _lookup())
    for refused in unsupported.ROUTES:
        for prefix in refused_prefixes:
            _put(paths, refused.method, f"{prefix}/{refused.path}", _refusal(refused.request_type))
    health = {"summary": "What is known of each key", "security": [], **_answers({"type": "object"})}
    _put(paths, "GET", "/health", health)
    _put(
        paths, "GET", "/metrics", {"summary": "For Prometheus", **_answers({"type": "string"}, "text/plain")}
    )
    _put(paths, "GET", "/openapi.json", {"summary": "This document", **_answers({"type": "object"})})
    return {
        "openapi": "3.1.0",
        "info": {"title": "bifrost-vllm", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": flat_schemas.error_schema(),
                "Answer": flat_schemas.answer_schema(),
                "Event": {
                    "description": "One event of a stream: JSON in text, or `[DONE]`.",
                    "type": "object",
                    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
                    "required": ["data"],
                },
                **{
                    _name(route.operation): flat_schemas.request_schema(
                        route.operation, route.streamed is not None
                    )
                    for route in served
                },
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        **({"security": [{"key": []}]} if locked else {}),
    }


def _put(paths: dict[str, Node], method: str, path: str, operation: Node) -> None:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    parameters = [*named, *operation.get("parameters", ())]
    about = {**operation, "operationId": f"{method.lower()} {path}"}
    paths.setdefault(path, {})[method.lower()] = {
        **about,
        **({"parameters": parameters} if parameters else {}),
    }


def _operation(route: RouteLike) -> Node:
    kind = "multipart/form-data" if route.form else "application/json"
    body = {
        "required": True,
        "content": {kind: {"schema": {"$ref": f"#/components/schemas/{_name(route.operation)}"}}},
    }
    told = _answers(_ANSWER)
    if route.streamed:
        told["responses"]["200"]["content"]["text/event-stream"] = {"schema": _EVENT}
    headers = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in _HEADERS.items()
    ]
    return {"summary": route.operation, "parameters": headers, "requestBody": body, **told}


def _listing() -> Node:
    query = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("provider", "page_size", "page_token")
    ]
    return {"summary": "list_models", "parameters": query, **_answers(_ANSWER)}


def _lookup() -> Node:
    return {"summary": "One model of the list", **_answers(_ANSWER)}


def _refusal(request_type: str) -> Node:
    error = {"description": "vLLM does not serve it", "content": {"application/json": {"schema": _ERROR}}}
    return {"summary": f"{request_type}: not supported", "responses": {"400": error, "default": _failed()}}


def _answers(schema: Node, kind: str = "application/json") -> Node:
    good = {"description": "The answer", "content": {kind: {"schema": schema}}}
    return {"responses": {"200": good, "default": _failed()}}


def _failed() -> Node:
    return {"description": "An error", "content": {"application/json": {"schema": _ERROR}}}


def _name(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_")) + "Request"
