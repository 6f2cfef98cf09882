"""``python -m recording.schemas``: what vLLM says it accepts, taken from servers that run.

Starts the server of each model in turn, and keeps of its ``/openapi.json`` the
schemas of the requests of the operations that are translated. Needs what
``make record`` has set up.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests

from .__main__ import DEFAULT_VERSION, MODELS, ROOT, install
from .server import CHAT, EMBED, RERANK, TRANSCRIPTION, Served, serving

PATHS: Final[Mapping[Served, tuple[str, ...]]] = {
    CHAT: ("/v1/chat/completions", "/v1/completions", "/v1/responses"),
    EMBED: ("/v1/embeddings",),
    RERANK: ("/v1/rerank",),
    TRANSCRIPTION: ("/v1/audio/transcriptions",),
}
"""Which server to ask about which operation: each has only the routes of its own tasks."""

_REFERENCE: Final = "#/components/schemas/"
_PROSE: Final = frozenset({"description", "title", "examples", "default"})

Schema = dict[str, Any]


def kept_file(version: str) -> Path:
    """Where the schemas of a version are kept."""
    return ROOT / "tests" / "contract" / f"openapi-{version}.json"


def trimmed(document: Schema, paths: Sequence[str]) -> Schema:
    """The request schemas of ``paths`` and all that they refer to; no prose."""
    bodies = {path: document["paths"][path]["post"]["requestBody"] for path in paths}
    schemas = document["components"]["schemas"]
    wanted: dict[str, object] = {}
    queue = list(_references(bodies))
    for name in queue:
        if name not in wanted:
            wanted[name] = schemas[name]
            queue.extend(_references(schemas[name]))
    return {
        "openapi": document["openapi"],
        "paths": {path: {"post": {"requestBody": _bare(body)}} for path, body in bodies.items()},
        "components": {"schemas": {name: _bare(schema) for name, schema in sorted(wanted.items())}},
    }


def joined(documents: Sequence[Schema], version: str) -> Schema:
    """Several trimmed documents as one."""
    return {
        "openapi": documents[0]["openapi"],
        "info": {"title": "vLLM", "version": version},
        "paths": {path: item for each in documents for path, item in each["paths"].items()},
        "components": {
            "schemas": {
                name: schema
                for each in documents
                for name, schema in sorted(each["components"]["schemas"].items())
            }
        },
    }


def written(document: Schema) -> str:
    """A document as it is kept: each path and each schema on a line of its own."""
    head = "".join(f"{json.dumps(name)}: {json.dumps(document[name])},\n" for name in ("openapi", "info"))
    paths, schemas = _lines(document["paths"]), _lines(document["components"]["schemas"])
    return f'{{{head}"paths": {paths},\n"components": {{"schemas": {schemas}}}}}\n'


def _lines(members: Mapping[str, object]) -> str:
    rows = (
        f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in members.items()
    )
    return "{\n" + ",\n".join(rows) + "\n}"


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_REFERENCE)
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


def _bare(schema: object, named: bool = False) -> object:
    """A schema without prose; with ``named``, the keys are names of properties."""
    if isinstance(schema, dict):
        return {
            key: _bare(value, not named and key in {"properties", "$defs"})
            for key, value in schema.items()
            if named or key not in _PROSE
        }
    return [_bare(member) for member in schema] if isinstance(schema, list) else schema


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recording.schemas", description=__doc__)
    parser.add_argument("--vllm", default=DEFAULT_VERSION, metavar="VERSION")
    parser.add_argument("--torch", default="", metavar="VERSION")
    options = parser.parse_args(arguments)
    python = install(options.vllm, options.torch)
    documents: list[Schema] = []
    for served, paths in PATHS.items():
        print(f"starting a server: {served.name}", flush=True)
        with serving(python, MODELS, MODELS / f"server-{served.folder}-schemas.log", served) as server:
            answer = requests.get(f"{server.url}/openapi.json", timeout=30)
            answer.raise_for_status()
            documents.append(trimmed(answer.json(), paths))
    file = kept_file(options.vllm)
    file.write_text(written(joined(documents, options.vllm)))
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
