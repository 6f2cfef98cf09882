"""Conversation history on its way to the server.

Messages and content parts are opaque (``audio_url``, ``video_url``, ``uuid``,
... are the server's business); only what servers are known to refuse or to
overlook is changed, and noted.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import documents
from .errors import invalid
from .parameters import without
from .plan import Failure, Note

_PLAIN: Final = frozenset({"role", "content", "name"})  # a message of these, when it is text, has no rule
_THOUGHTS: Final = frozenset({"reasoning", "reasoning_content", "reasoning_details"})
_FOREIGN_PART_KEYS: Final = ("cache_control", "citations")
_FOREIGN_PARTS: Final = frozenset(_FOREIGN_PART_KEYS)
_LONGEST_CALL_ID: Final = 64
_SIGNATURE: Final = "_ts_"


def history(messages: object, notes: list[Note]) -> Sequence[object] | Failure:
    """``messages`` as the server reads them; fails on what is not a message."""
    items = messages if type(messages) is list else documents.as_array(messages)
    if not items:
        if items is None and messages is not None:
            return invalid(f"messages must be an array, got {documents.type_name(messages)}", "messages")
        return invalid("messages is required for chat completion", "messages")
    for item in items:
        if type(item) is not dict or not (
            (_PLAIN.issuperset(item) and type(item.get("content")) is str) or _goes_as_it_is(item)
        ):
            return _history(items, notes)
    return items if type(items) is list else list(items)


def _history(items: Sequence[object], notes: list[Note]) -> list[object] | Failure:
    out: list[object] = []
    for item in items:
        if type(item) is dict and _goes_as_it_is(item):
            out.append(item)
            continue
        place = f"messages[{len(out)}]"
        message = documents.as_object(item)
        if message is None:
            return invalid(f"{place} must be an object, got {documents.type_name(item)}", place)
        converted = _message(message, place, notes)
        if isinstance(converted, Failure):
            return converted
        out.append(converted)
    return out


def _goes_as_it_is(message: dict[str, object]) -> bool:
    """Whether a message holds nothing of what ``_message`` changes; false where that takes a closer look."""
    content = message.get("content")
    if not (content is None or isinstance(content, str) or _all_parts_go_as_they_are(content)):
        return False
    role = message.get("role")
    if role == "assistant":
        calls = message.get("tool_calls")
        return _THOUGHTS.isdisjoint(message) and (not calls or _all_calls_go_as_they_are(calls))
    return role != "tool" or ("is_error" not in message and _is_short(message.get("tool_call_id")))


def _all_parts_go_as_they_are(parts: object) -> bool:
    if not isinstance(parts, list):
        return False
    for part in parts:
        if type(part) is not dict or "file" in part or not _FOREIGN_PARTS.isdisjoint(part):
            return False
    return True


def _all_calls_go_as_they_are(calls: object) -> bool:
    if not isinstance(calls, list):
        return False
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
            return False
        if not _is_short(call.get("id")):
            return False
    return True


def _is_short(call_id: object) -> bool:
    return not isinstance(call_id, str) or len(call_id) <= _LONGEST_CALL_ID


def _message(message: Mapping[str, object], place: str, notes: list[Note]) -> Mapping[str, object] | Failure:
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        parts = documents.as_array(content)
        if parts is None:
            got = documents.type_name(content)
            return invalid(
                f"{place}.content must be text, an array of parts or null, got {got}", f"{place}.content"
            )
        cleaned = _parts(parts, f"{place}.content", notes)
        if cleaned is not parts:
            message = {**message, "content": cleaned}
    role = message.get("role")
    if role == "assistant":
        message = _with_reasoning(message, place, notes)
        calls = documents.as_array(message.get("tool_calls"))
        if calls:
            message = _with_calls(message, calls, place, notes)
    elif role == "tool":
        message = without(message, ("is_error",), place, notes)
        given = message.get("tool_call_id")
        shorter = call_id(given, f"{place}.tool_call_id", notes)
        if shorter is not given:
            message = {**message, "tool_call_id": shorter}
    return message


def _parts(parts: Sequence[object], place: str, notes: list[Note]) -> Sequence[object]:
    out = [
        part(entry, f"{place}[{index}]", notes) if isinstance(entry, Mapping) else entry
        for index, entry in enumerate(parts)
    ]
    changed = any(new is not old for new, old in zip(out, parts, strict=True))
    return out if changed else parts


def part(source: Mapping[str, object], place: str, notes: list[Note]) -> Mapping[str, object]:
    """A content part without what belongs to other providers; itself when it has none of that."""
    source = without(source, _FOREIGN_PART_KEYS, place, notes)
    file = source.get("file")
    if isinstance(file, Mapping) and "file_type" in file:
        return {**source, "file": without(file, ("file_type",), f"{place}.file", notes)}
    return source


def _with_reasoning(message: Mapping[str, object], place: str, notes: list[Note]) -> Mapping[str, object]:
    """The assistant's thoughts under both names that servers have read.

    vLLM up to 0.12 reads ``reasoning_content``, from 0.16 ``reasoning``, later
    ones either (https://github.com/maximhq/bifrost/issues/6238).
    """
    named = [name for name in ("reasoning_content", "reasoning") if isinstance(message.get(name), str)]
    details = documents.as_array(message.get("reasoning_details"))
    text = message[named[0]] if named else _first_text(details or ())
    out = dict(message)
    if "reasoning_details" in out:
        del out["reasoning_details"]
        notes.append(Note(f"{place}.reasoning_details", "dropped", "servers read the text of reasoning"))
    elif text is None:
        return message
    if text is None:
        return out
    if len(named) > 1 and message["reasoning"] != text:
        notes.append(Note(f"{place}.reasoning", "dropped", "reasoning_content says something else"))
    notes.extend(
        Note(f"{place}.{name}", "defaulted", "the same text under both names")
        for name in ("reasoning_content", "reasoning")
        if name not in named
    )
    out["reasoning"] = out["reasoning_content"] = text
    return out


def _first_text(details: Sequence[object]) -> str | None:
    for detail in details:
        if isinstance(detail, Mapping) and isinstance(text := detail.get("text"), str):
            return text
    return None


def _with_calls(
    message: Mapping[str, object], calls: Sequence[object], place: str, notes: list[Note]
) -> Mapping[str, object]:
    out = [_call(call, f"{place}.tool_calls[{index}]", notes) for index, call in enumerate(calls)]
    changed = any(new is not old for new, old in zip(out, calls, strict=True))
    return {**message, "tool_calls": out} if changed else message


def _call(call: object, place: str, notes: list[Note]) -> object:
    if not isinstance(call, Mapping):
        return call
    given = call.get("id")
    shorter = call_id(given, f"{place}.id", notes)
    if shorter is not given:
        call = {**call, "id": shorter}
    function = call.get("function")
    if isinstance(function, Mapping) and isinstance(arguments := function.get("arguments"), Mapping):
        encoded = documents.encode(arguments)
        if isinstance(encoded, bytes):
            # vLLM answers 400 to an object here.
            notes.append(Note(f"{place}.function.arguments", "converted", "an object became its JSON text"))
            call = {**call, "function": {**function, "arguments": encoded.decode()}}
    return call


def call_id(value: object, place: str, notes: list[Note]) -> object:
    """The id of a call as servers can bear it.

    Gemini hides a signature of kilobytes in the id; what is before it identifies the call.
    """
    if isinstance(value, str) and len(value) > _LONGEST_CALL_ID and value.find(_SIGNATURE) > 0:
        notes.append(Note(place, "repaired", "the thought signature was cut off"))
        return value.partition(_SIGNATURE)[0]
    return value
