"""How the ``params`` of a generation request become fields of its body.

Whatever has no rule here is forwarded as it is, in its place: a server's own
parameters (``top_k``, ``chat_template_kwargs``, ...) need no list. What a rule
drops, renames, converts or repairs leaves a note.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

from . import documents
from .errors import invalid
from .plan import Call, Failure, Note
from .types import Document

Fields = dict[str, object]

_OPENAI_ONLY: Final = "vLLM has no such parameter"
_REQUEST_NAMES: Final = "the request itself names it"
_OPERATION_DECIDES: Final = "the operation decides it"
_DROPPED: Final[Mapping[str, str]] = dict.fromkeys(
    (
        "store", "prediction", "verbosity", "web_search_options",
        "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
    ),
    _OPENAI_ONLY,
) | {
    "model": _REQUEST_NAMES,
    "messages": _REQUEST_NAMES,
    "stream": _OPERATION_DECIDES,
}  # fmt: skip
"""What is not sent, and why. Recent servers ignore OpenAI's own, older ones may refuse."""

_GUIDED: Final[Mapping[str, str]] = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}
"""vLLM before 0.12 read these; later ones answer 200 and ignore them
(https://github.com/vllm-project/vllm/issues/53975)."""

_REASONING: Final = ("reasoning", "reasoning_effort", "reasoning_max_tokens", "reasoning_display")
_TOOLS: Final = ("tools", "tool_choice", "parallel_tool_calls")
_FOREIGN_TOOL_KEYS: Final = (
    "cache_control", "allowed_callers", "input_examples", "eager_input_streaming", "annotations",
)  # fmt: skip
"""Anthropic's and MCP's additions to a tool definition that vLLM does not know."""
_FOREIGN: Final = frozenset(_FOREIGN_TOOL_KEYS)
_ALL_REASONING: Final = frozenset(_REASONING)
_ALL_GUIDED: Final = frozenset(_GUIDED)
_RENAMED: Final = Note("max_tokens", "renamed", "max_completion_tokens")

_RULED: Final = frozenset(
    {
        *("extra_body", "extra_params", "max_tokens", "stream_options", "structured_outputs"),
        *_REASONING, *_TOOLS, *_GUIDED, *_DROPPED,
    }
)  # fmt: skip
"""The parameters that have a rule; a request without any of them goes out as it is."""

RULED_IN_FLAT: Final = _RULED - {"model", "messages", "stream"} | {"fallbacks"}
"""The same for members of a flat body that have no other place in a request."""

_LAID: Final = frozenset({"extra_body", "extra_params"})
"""Objects whose members are parameters."""

_DEEPEST_OVERLAY: Final = 32
_DEFAULT_BUDGET_BASE: Final = 4096


def chat_fields(params: Document, streaming: bool, call: Call, notes: list[Note]) -> Document | Failure:
    """The body fields of a chat request besides ``model`` and ``messages``; ``params`` where they will do.

    The order is that of ``params``; the fields that streaming needs come last.
    """
    if go_as_they_are(params, _RULED):
        return _streamed(params, dict(params), streaming, notes) if streaming else params
    given = _spelled(params, call, notes)
    if isinstance(given, Failure):
        return given
    if "tools" in params and "tools" not in given:
        given["tools"] = []  # null, which says no more than an empty list
    effort = _effort(given, notes)
    if isinstance(effort, Failure):
        return effort
    effort = _known_effort(effort, call, notes)
    fields: Fields = {}
    for name, value in given.items():
        if name not in _RULED:
            fields[name] = value
        elif name in _REASONING:
            if effort is not None:
                fields["reasoning_effort"] = effort
        elif name in _TOOLS:
            _tools(name, given, fields, notes)
        elif name == "max_tokens":
            _max_tokens(given, fields, notes)
        elif name in _DROPPED:
            notes.append(Note(name, "dropped", _DROPPED[name]))
        elif name != "stream_options":
            fields[name] = value
    return _streamed(given, fields, streaming, notes)


def go_as_they_are(params: Document, ruled: frozenset[str]) -> bool:
    """Whether there is none of ``ruled`` among ``params``, and nothing that cannot be sent."""
    if not ruled.isdisjoint(params):
        return False
    for value in params.values():
        if value is None or (isinstance(value, float) and not isfinite(value) and _unsayable(value)):
            return False
    return True


def completion_fields(params: Document, streaming: bool, call: Call, notes: list[Note]) -> Fields | Failure:
    """The body fields of a text completion besides ``model`` and ``prompt``, in the order of ``params``."""
    given = _spelled(params, call, notes)
    if isinstance(given, Failure):
        return given
    fields = kept(given, ("model", "prompt"), notes)
    fields.pop("stream_options", None)
    return _streamed(given, fields, streaming, notes)


def kept(given: Fields, named: Sequence[str], notes: list[Note]) -> Fields:
    """``given`` without ``stream`` and without what the request has ``named`` outside its parameters."""
    fields: Fields = {}
    for name, value in given.items():
        if name == "stream":
            notes.append(Note(name, "dropped", _OPERATION_DECIDES))
        elif name in named:
            notes.append(Note(name, "dropped", _REQUEST_NAMES))
        else:
            fields[name] = value
    return fields


def merged(params: Document, notes: list[Note]) -> Fields | Failure:
    """``params`` with ``extra_params`` laid over them and ``extra_body`` under them.

    As in Bifrost, ``extra_params`` win, objects being merged; as in OpenAI's
    SDKs, the members of ``extra_body`` belong to the top level, where explicit
    ones win. Nulls are left out: validators of servers trip over them.
    """
    if go_as_they_are(params, _LAID):
        return dict(params)
    given: Fields = {}
    bodies: list[object] = []
    for name, value in params.items():
        if name == "extra_body":
            bodies.append(value)
        elif name != "extra_params":
            _put(given, name, value, notes)
    extra = params.get("extra_params")
    if extra is not None:
        extra = documents.as_object(extra)
        if extra is None:
            return invalid("extra_params must be an object", "extra_params")
        for name, value in extra.items():
            if name == "extra_body":
                bodies.append(value)
            elif name in given and not _unsayable(value):
                given[name] = _overlaid(given[name], value, name, notes)
            else:
                _put(given, name, value, notes)
    for body in bodies:
        if (failure := _flatten(body, given, notes)) is not None:
            return failure
    return given


def _put(given: Fields, name: str, value: object, notes: list[Note]) -> None:
    if reason := _unsayable(value):
        notes.append(Note(name, "dropped", reason))
    else:
        given[name] = value


def _unsayable(value: object) -> str:
    """Why a parameter cannot be sent; empty when it can."""
    if value is None:
        return "null"
    if not isinstance(value, float):
        return ""
    return "not a finite number, for which JSON has no spelling" if documents.is_non_finite(value) else ""


def _flatten(body: object, given: Fields, notes: list[Note]) -> Failure | None:
    if body is None:
        notes.append(Note("extra_body", "dropped", "null"))
        return None
    members = documents.as_object(body)
    if members is None:
        return invalid(f"extra_body must be an object, got {documents.type_name(body)}", "extra_body")
    notes.append(Note("extra_body", "converted", "its members moved to the top level"))
    for name, value in members.items():
        if name in given:
            notes.append(Note(f"extra_body.{name}", "dropped", f"{name} is set at the top level"))
        else:
            _put(given, name, value, notes)
    return None


def _overlaid(below: object, above: object, place: str, notes: list[Note], depth: int = 0) -> object:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping) or depth > _DEEPEST_OVERLAY:
        notes.append(Note(place, "dropped", "extra_params sets it as well"))
        return above
    both: dict[str, object] = dict(below)
    for name, value in above.items():
        inner = f"{place}.{name}"
        both[name] = _overlaid(both[name], value, inner, notes, depth + 1) if name in both else value
    return both


def _max_tokens(given: Fields, fields: Fields, notes: list[Note]) -> None:
    if "max_completion_tokens" in given:
        notes.append(Note("max_tokens", "dropped", "max_completion_tokens is set"))
    else:
        fields["max_completion_tokens"] = given["max_tokens"]
        notes.append(_RENAMED)


def _streamed(given: Document, fields: Fields, streaming: bool, notes: list[Note]) -> Fields | Failure:
    """vLLM sends usage on a stream only when asked, and refuses the question elsewhere."""
    options = given.get("stream_options")
    if not streaming:
        if options is not None:
            notes.append(Note("stream_options", "dropped", "the answer is not streamed"))
        return fields
    options = {} if options is None else documents.as_object(options)
    if options is None:
        return invalid("stream_options must be an object", "stream_options")
    if options.get("include_usage") is False:
        notes.append(Note("stream_options.include_usage", "converted", "true: the final chunk carries usage"))
    ask_for_stream(fields, options)
    return fields


def ask_for_stream(fields: Fields, options: Document) -> None:
    """Add what makes the server stream, with its usage at the end."""
    fields["stream"] = True
    fields["stream_options"] = {**options, "include_usage": True}


def _effort(given: Fields, notes: list[Note]) -> object | Failure:
    """One ``reasoning_effort`` out of Bifrost's object and its flat shorthands."""
    if _ALL_REASONING.isdisjoint(given):
        return None
    nested = documents.as_object(given.get("reasoning", {}))
    if nested is None:
        return invalid("reasoning must be an object", "reasoning")
    for member, flat in (("effort", "reasoning_effort"), ("max_tokens", "reasoning_max_tokens")):
        if flat in given and nested.get(member) is not None:
            return invalid(f"{flat} and reasoning.{member} cannot both be set", flat)
    effort = given.get("reasoning_effort", nested.get("effort"))
    budget = given.get("reasoning_max_tokens", nested.get("max_tokens"))
    budget_name = "reasoning_max_tokens" if "reasoning_max_tokens" in given else "reasoning.max_tokens"
    if effort is None and budget is not None:
        tokens = documents.as_integer(budget)
        if tokens is None:
            return invalid(f"{budget_name} must be an integer", budget_name)
        most = documents.as_integer(given.get("max_completion_tokens", given.get("max_tokens")))
        effort = _estimate(tokens, most)
        notes.append(Note(budget_name, "converted", f"reasoning_effort {effort}"))
    elif budget is not None:
        notes.append(Note(budget_name, "dropped", "reasoning_effort is set"))
    if nested.get("effort") is not None:
        notes.append(Note("reasoning.effort", "renamed", "reasoning_effort"))
    notes.extend(
        Note(f"reasoning.{member}", "dropped", "null" if value is None else _OPENAI_ONLY)
        for member, value in nested.items()
        if member not in {"effort", "max_tokens"} or value is None
    )
    if "reasoning" in given and not nested:
        notes.append(Note("reasoning", "dropped", "empty"))
    if "reasoning_display" in given:
        notes.append(Note("reasoning_display", "dropped", _OPENAI_ONLY))
    return effort


def _estimate(budget: int, most: int | None) -> str:
    """Bifrost's estimate of an effort from a token budget."""
    base = _DEFAULT_BUDGET_BASE if most is None else most
    if budget <= 0:
        return "none"
    if base <= 0:
        return "medium"
    if base == 1:
        return "high"
    share = (min(max(budget, 1), base) - 1) / (base - 1)
    return "low" if share <= 0.25 else "medium" if share <= 0.60 else "high"


def _known_effort(effort: object, call: Call, notes: list[Note]) -> object:
    """An effort as the server reads it; ``None`` where it reads none."""
    known = call.server
    if effort is None or known.efforts is None:
        return effort
    if not known.efforts:
        notes.append(Note("reasoning_effort", "dropped", f"vLLM {known.version} has no such parameter"))
        return None
    nearest = known.nearest(effort)
    if nearest != effort:
        reason = f"{nearest}, which vLLM {known.version} accepts, as it does not {effort}"
        notes.append(Note("reasoning_effort", "converted", reason))
    return nearest


def _spelled(params: Document, call: Call, notes: list[Note]) -> Fields | Failure:
    """The parameters in one object, those for guided decoding under the names that the server reads."""
    given = merged(params, notes)
    if isinstance(given, Failure):
        return given
    return _aged(given, notes) if call.guided else _modernised(given, notes)


def _aged(given: Fields, notes: list[Note]) -> Fields:
    """``given`` with what newer clients put into ``structured_outputs`` under its older names."""
    options = documents.as_object(given.get("structured_outputs"))
    moved = {name: options[member] for name, member in _GUIDED.items() if options and member in options}
    if not moved or options is None:
        return given
    for name in moved:
        place = f"structured_outputs.{_GUIDED[name]}"
        if name in given:
            notes.append(Note(place, "dropped", f"{name} is set"))
        else:
            notes.append(Note(place, "renamed", name))
    left = {member: value for member, value in options.items() if member not in _GUIDED.values()}
    out: Fields = {}
    for name, value in given.items():
        if name != "structured_outputs":
            out[name] = value
            continue
        out |= {each: value for each, value in moved.items() if each not in given}
        if left:
            out[name] = left
    return out


def _modernised(given: Fields, notes: list[Note]) -> Fields | Failure:
    """``given`` with what older clients call ``guided_...`` moved into ``structured_outputs``."""
    if _ALL_GUIDED.isdisjoint(given):
        return given
    old = [name for name in _GUIDED if name in given]
    options = documents.as_object(given.get("structured_outputs", {}))
    if options is None:
        return invalid("structured_outputs must be an object", "structured_outputs")
    moved: Fields = {}
    for name in old:
        member = _GUIDED[name]
        if member in options:
            notes.append(Note(name, "dropped", f"structured_outputs.{member} is set"))
        else:
            moved[member] = given[name]
            notes.append(Note(name, "renamed", f"structured_outputs.{member}"))
    combined = {**options, **moved}
    return {
        "structured_outputs" if name in old else name: combined
        if name in old or name == "structured_outputs"
        else value
        for name, value in given.items()
    }


def _tools(name: str, given: Fields, fields: Fields, notes: list[Note]) -> None:
    tools = documents.as_array(given.get("tools"))
    if tools is not None and all(map(_is_server_tool, tools)):
        # vLLM answers 400 to an empty list, and to a choice without tools.
        reason = "empty" if name == "tools" and not tools else "there are no tools"
        notes.append(Note(name, "dropped", reason))
    elif name == "tools" and tools is not None:
        sent: list[object] = []
        of_provider: list[Note] = []
        for index, tool in enumerate(tools):
            if type(tool) is dict and _goes_as_it_is(tool):
                sent.append(tool)
            elif _is_server_tool(tool):
                of_provider.append(Note(f"tools[{index}]", "dropped", "a tool that the provider runs itself"))
            else:
                sent.append(_tool(tool, index, notes))
        fields["tools"] = sent
        notes += of_provider
    elif name == "tool_choice" and _means_any(given[name]):
        fields[name] = "required"
        notes.append(Note(name, "converted", "any became required"))
    else:
        fields[name] = given[name]


def _means_any(choice: object) -> bool:
    return choice == "any" or (isinstance(choice, Mapping) and choice.get("type") == "any")


def _is_server_tool(tool: object) -> bool:
    if not (type(tool) is dict or isinstance(tool, Mapping)) or "function" in tool or "custom" in tool:
        return False
    kind = tool.get("type")
    return isinstance(kind, str) and kind not in {"function", "custom"}


def _goes_as_it_is(tool: Document) -> bool:
    """Whether a tool is a function with nothing that is not OpenAI's."""
    function = tool.get("function")
    return type(function) is dict and _FOREIGN.isdisjoint(tool) and _FOREIGN.isdisjoint(function)


def _tool(tool: object, index: int, notes: list[Note]) -> object:
    if not (type(tool) is dict or isinstance(tool, Mapping)):
        return tool
    function = tool.get("function")
    place = f"tools[{index}]"
    cleaned = without(tool, _FOREIGN_TOOL_KEYS, place, notes)
    if isinstance(function, Mapping):
        inner = without(function, _FOREIGN_TOOL_KEYS, f"{place}.function", notes)
        if inner is not function:
            cleaned = {**cleaned, "function": inner}
    return cleaned


def without(
    source: Mapping[str, object], names: tuple[str, ...], place: str, notes: list[Note]
) -> Mapping[str, object]:
    """``source`` less ``names``, or ``source`` itself when it has none of them."""
    present = [name for name in names if name in source]
    if not present:
        return source
    notes.extend(Note(f"{place}.{name}", "dropped", "not part of OpenAI's format") for name in present)
    return {name: value for name, value in source.items() if name not in present}
