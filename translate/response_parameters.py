"""The parameters of a response as those of a chat.

A parameter that has no rule here is a chat's parameter, or one of the server's
own, and gets the rules of those. What would change the answer and cannot be
done is refused; what would not is left out and noted.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from . import documents
from .errors import invalid
from .parameters import Fields
from .plan import Failure, Note
from .types import Document

_NO_MEMORY: Final = "nothing is stored here, send the whole conversation as input"
_REFUSED: Final[Mapping[str, str]] = {
    "previous_response_id": _NO_MEMORY,
    "conversation": _NO_MEMORY,
    "prompt": "there are no stored prompts here, send instructions and input",
}
_DROPPED: Final[Mapping[str, str]] = dict.fromkeys(
    ("access_programs", "background_options", "context_management", "image", "moderation"),
    "vLLM has no such parameter",
) | {
    "input": "the request itself names it",
    "max_tool_calls": "it counts calls of tools that a provider runs itself",
    "stream_options": "every stream ends with usage, and nothing in it is obfuscated",
}
_MODES: Final = ("auto", "required")
_LOGPROBS: Final = "message.output_text.logprobs"


class Tools(NamedTuple):
    """Tools in the form of a chat, and what the model may do with them; ``None`` when not said."""

    tools: Sequence[object] | None
    choice: object = None


def chat_parameters(given: Fields, notes: list[Note]) -> Fields | Failure:
    """``given``, the parameters of a response, as parameters of a chat, in their order."""
    failure = _refused(given)
    if failure is not None:
        return failure
    tools = _tools(given)
    if isinstance(tools, Failure):
        return tools
    written = _response_format(given.get("text"), notes)
    if isinstance(written, Failure):
        return written
    out: Fields = {}
    for name, value in given.items():
        if reason := _left_out(name, value, given, tools, written):
            notes.append(Note(name, "dropped", reason))
        elif name == "text":
            out |= written
        else:
            out |= _converted(name, value, given, tools, notes)
    return out


def _left_out(name: str, value: object, given: Fields, tools: Tools, written: Fields) -> str:
    """Why a parameter is left out; empty when it is not."""
    match name:
        case "tool_choice" | "parallel_tool_calls" if tools.tools is None:
            return "there are no tools"
        case "max_completion_tokens" | "max_tokens" if "max_output_tokens" in given:
            return "max_output_tokens is set"
        case "response_format" if written:
            return "text.format is set"
        case "truncation":
            return "vLLM refuses a prompt that is too long"
        case "background":
            return "nothing is done in the background"
    return _DROPPED.get(name, "")


def _converted(name: str, value: object, given: Fields, tools: Tools, notes: list[Note]) -> Fields:
    match name:
        case "tools":
            return {name: tools.tools}
        case "tool_choice":
            if isinstance(value, Mapping) and value.get("type") == "allowed_tools":
                notes.append(Note(name, "converted", "only the tools that are allowed are sent"))
            return {name: tools.choice}
        case "max_output_tokens":
            notes.append(Note(name, "renamed", "max_completion_tokens"))
            return {"max_completion_tokens": value}
        case "top_logprobs" if value and "logprobs" not in given:
            notes.append(Note("logprobs", "defaulted", "true, since top_logprobs is set"))
            return {name: value, "logprobs": True}
        case "include":
            return _included(value, given, notes)
        case "instructions":  # a message
            return {}
    return {name: value}


def _refused(given: Fields) -> Failure | None:
    for name, reason in _REFUSED.items():
        if name in given:
            return invalid(f"{name} is not supported by vllm provider: {reason}", name)
    if given.get("background"):
        return invalid("background is not supported by vllm provider: nothing is stored here", "background")
    if given.get("n", 1) != 1:
        return invalid("n must be 1: a response is one answer", "n")
    return None


def _included(value: object, given: Fields, notes: list[Note]) -> Fields:
    entries = documents.as_array(value) or ()
    if not entries:
        notes.append(Note("include", "dropped", "not an array" if value else "empty"))
    for index, entry in enumerate(entries):
        if entry != _LOGPROBS:
            notes.append(Note(f"include[{index}]", "dropped", "vLLM has no such part of an answer"))
        elif "logprobs" in given:
            notes.append(Note(f"include[{index}]", "dropped", "logprobs is set"))
        else:
            notes.append(Note(f"include[{index}]", "renamed", "logprobs"))
    return {"logprobs": True} if _LOGPROBS in entries and "logprobs" not in given else {}


def _response_format(text: object, notes: list[Note]) -> Fields | Failure:
    """``text`` as a chat has it: the ``response_format``, or nothing."""
    if text is None:
        return {}
    options = documents.as_object(text)
    if options is None:
        return invalid(f"text must be an object, got {documents.type_name(text)}", "text")
    notes.extend(
        Note(f"text.{name}", "dropped", "vLLM has no such parameter")
        for name, value in options.items()
        if name != "format" and value is not None
    )
    wanted = options.get("format")
    if wanted is None:
        return {}
    form = documents.as_object(wanted)
    if form is None or not isinstance(form.get("type"), str):
        return invalid("text.format must be an object with a type", "text.format")
    notes.append(Note("text.format", "renamed", "response_format"))
    if form["type"] != "json_schema" or "json_schema" in form:
        return {"response_format": form}
    if not isinstance(form.get("name"), str):
        return invalid("text.format.name must be text", "text.format.name")
    if not isinstance(form.get("schema"), Mapping):
        return invalid("text.format.schema must be an object", "text.format.schema")
    members = {name: value for name, value in form.items() if name != "type" and value is not None}
    return {"response_format": {"type": "json_schema", "json_schema": members}}


def _tools(given: Fields) -> Tools | Failure:
    value, choice = given.get("tools"), given.get("tool_choice")
    if value is None:
        return Tools(None)
    listed = documents.as_array(value)
    if listed is None:
        return invalid(f"tools must be an array, got {documents.type_name(value)}", "tools")
    tools: list[Document] = []
    for index, tool in enumerate(listed):
        nested = _tool(tool, f"tools[{index}]")
        if isinstance(nested, Failure):
            return nested
        tools.append(nested)
    if choice is None or isinstance(choice, str) or not tools:  # a choice without tools is dropped
        return Tools(tools, choice)
    return _chosen(choice, tools)


def _tool(tool: object, place: str) -> Document | Failure:
    """A function, which a response has flat and a chat nested."""
    if not isinstance(tool, Mapping):
        return invalid(f"{place} must be an object, got {documents.type_name(tool)}", place)
    kind = tool.get("type")
    if not isinstance(kind, str):
        return invalid(f"{place}.type is required", f"{place}.type")
    if kind != "function":
        return invalid(f"tools of type {kind} are not supported by vllm provider", f"{place}.type")
    nested = tool
    if not isinstance(tool.get("function"), Mapping):
        nested = {"type": kind, "function": {name: tool[name] for name in tool if name != "type"}}
    if not function_name(nested).strip():
        return invalid(f"{place}.name is required", f"{place}.name")
    return nested


def function_name(tool: Document) -> str:
    """The name of a function in the form of a chat; empty when it has none."""
    name = (documents.as_object(tool.get("function")) or {}).get("name")
    return name if isinstance(name, str) else ""


def _chosen(choice: object, tools: Sequence[Document]) -> Tools | Failure:
    if not isinstance(choice, Mapping):
        got = documents.type_name(choice)
        return invalid(f"tool_choice must be text or an object, got {got}", "tool_choice")
    names = frozenset(function_name(tool) for tool in tools)
    match choice.get("type"):
        case "any":
            return Tools(tools, choice)
        case "function":
            named = _named(choice, names, "tool_choice")
            if isinstance(named, Failure):
                return named
            return Tools(tools, {"type": "function", "function": {"name": named}})
        case "allowed_tools":
            return _allowed(choice, tools, names)
    return invalid("tool_choice of this type is not supported by vllm provider", "tool_choice.type")


def _allowed(choice: Document, tools: Sequence[Document], names: frozenset[str]) -> Tools | Failure:
    """vLLM knows no subset of the tools, so the others are not sent."""
    mode, listed = choice.get("mode", "auto"), documents.as_array(choice.get("tools"))
    if mode not in _MODES:
        return invalid("tool_choice.mode must be auto or required", "tool_choice.mode")
    if not listed:
        return invalid("tool_choice.tools must be an array of tools", "tool_choice.tools")
    allowed: set[str] = set()
    for index, entry in enumerate(listed):
        named = _named(entry, names, f"tool_choice.tools[{index}]")
        if isinstance(named, Failure):
            return named
        allowed.add(named)
    return Tools([tool for tool in tools if function_name(tool) in allowed], mode)


def _named(choice: object, names: frozenset[str], place: str) -> str | Failure:
    """The function that a choice names, flat or nested."""
    if not isinstance(choice, Mapping):
        return invalid(f"{place} must be an object, got {documents.type_name(choice)}", place)
    if choice.get("type", "function") != "function":
        return invalid(f"{place} must be a function", f"{place}.type")
    name = choice.get("name") if "function" not in choice else function_name(choice)
    if not isinstance(name, str) or name not in names:
        return invalid(f"{place}.name must be the name of one of the tools", f"{place}.name")
    return name
