"""What a response repeats of its request.

OpenAI's schema wants these fields on every response. A value that the schema
has no room for is not repeated; what the request leaves out is null, or the
default that OpenAI documents where null is not allowed.

https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Mapping
from typing import Final

from . import documents
from .parameters import Fields
from .types import Document

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SUMMARIES: Final = ("auto", "concise", "detailed")
_CHOICES: Final = ("none", "auto", "required")
_FORMATS: Final = ("text", "json_object")
_LARGEST: Final = 2**53  # what a float holds exactly


def echo(given: Fields, instructions: object) -> Fields:
    """The fields of a response that its request decides."""
    tools = [
        _tool(tool) for tool in documents.as_array(given.get("tools")) or () if isinstance(tool, Mapping)
    ]
    return {
        "background": False,
        "frequency_penalty": _number(given.get("frequency_penalty"), 0.0),
        "instructions": documents.as_text(instructions),
        "max_output_tokens": documents.as_integer(given.get("max_output_tokens")),
        "max_tool_calls": documents.as_integer(given.get("max_tool_calls")),
        "metadata": documents.as_object(given.get("metadata")) or {},
        "parallel_tool_calls": given.get("parallel_tool_calls") is not False,
        "presence_penalty": _number(given.get("presence_penalty"), 0.0),
        "previous_response_id": None,
        "prompt_cache_key": documents.as_text(given.get("prompt_cache_key")),
        "reasoning": _reasoning(given),
        "safety_identifier": documents.as_text(given.get("safety_identifier")),
        "store": False,
        "temperature": _number(given.get("temperature")),
        "text": {"format": _format(given.get("text"))},
        "tool_choice": _tool_choice(given.get("tool_choice")) if tools else "auto",
        "tools": tools,
        "top_logprobs": documents.as_integer(given.get("top_logprobs")),
        "top_p": _number(given.get("top_p")),
        "truncation": "auto" if given.get("truncation") == "auto" else "disabled",
        "user": documents.as_text(given.get("user")),
    }


def _number(value: object, otherwise: float | None = None) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return value if number else otherwise


def _reasoning(given: Fields) -> Fields:
    options = documents.as_object(given.get("reasoning")) or {}
    effort = given.get("reasoning_effort", options.get("effort"))
    summary = options.get("summary")
    return {
        "effort": effort if effort in _EFFORTS else None,
        "summary": summary if summary in _SUMMARIES else None,
    }


def _format(text: object) -> Fields:
    form = documents.as_object((documents.as_object(text) or {}).get("format")) or {}
    kind, schema = form.get("type"), documents.as_object(form.get("schema"))
    if kind == "json_schema" and schema is not None:
        return {
            "type": kind,
            "name": form.get("name"),
            "description": documents.as_text(form.get("description")),
            "schema": schema,
            "strict": _flag(form.get("strict")),
        }
    return {"type": kind if kind in _FORMATS else "text"}


def _tool(tool: Document) -> Fields:
    flat = documents.as_object(tool.get("function")) or tool
    return {
        "type": "function",
        "name": flat.get("name"),
        "description": documents.as_text(flat.get("description")),
        "parameters": documents.as_object(flat.get("parameters")),
        "strict": _flag(flat.get("strict")),
    }


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        return "required" if choice == "any" else choice if choice in _CHOICES else "auto"
    options = documents.as_object(choice) or {}
    match options.get("type"):
        case "function":
            named = documents.as_object(options.get("function")) or options
            return {"type": "function", "name": named.get("name")}
        case "allowed_tools":
            return {
                "type": "allowed_tools",
                "mode": options.get("mode", "auto"),
                "tools": options.get("tools"),
            }
        case "any":
            return "required"
    return "auto"
