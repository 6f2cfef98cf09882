"""The input of a response as the messages of a chat.

A response's input is a flat list of items; a chat has turns. Thoughts, texts
and calls that stand together are one turn of the assistant: that is how a
model says them, and many templates want the roles to alternate. What a chat
cannot hold is refused with the name of its place, before anything is sent.

https://platform.openai.com/docs/api-reference/responses/create
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from . import choices, documents, messages
from .errors import invalid
from .parameters import without
from .plan import Failure, Note
from .types import Document

Message = dict[str, object]

_ROLES: Final[Mapping[str, str]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_HINTS: Final[Mapping[str, str]] = {
    "item_reference": ": nothing is stored here, send the item itself, as clients do with store: false"
}
_OF_ITEMS: Final = ("id", "status")  # what the provider says of an item
_NO_PLACE: Final = "a chat has no place for it"
_NUMBER: Final = re.compile(r"\[[0-9]+\]")
_ITEMS_OF_THEIR_OWN: Final = ("tool_calls", "reasoning", "reasoning_content", "reasoning_details")
_TOOL_MESSAGE_KEYS: Final = ("role", "tool_call_id", "content")
_OPENAI_PART_KEYS: Final = ("prompt_cache_breakpoint",)


def history(items: object, instructions: object, notes: list[Note]) -> list[Message] | Failure:
    """The messages that ``input`` and ``instructions`` mean."""
    if instructions is not None and not isinstance(instructions, str):
        got = documents.type_name(instructions)
        return invalid(f"instructions must be text, got {got}", "instructions")
    chat = _Chat()
    if isinstance(items, str):
        chat.add({"role": "user", "content": items})
    else:
        listed = documents.as_array(items)
        if listed is None and items is not None:
            return invalid(
                f"input must be text or an array of items, got {documents.type_name(items)}", "input"
            )
        if not listed:
            return invalid("input is required for responses", "input")
        for index, item in enumerate(listed):
            if (failure := _take(item, f"input[{index}]", chat, notes)) is not None:
                return failure
    said = chat.messages()
    if instructions:
        return _instructed(said, instructions, notes)
    return said or invalid("input says nothing", "input")


def _instructed(chat: list[Message], instructions: str, notes: list[Note]) -> list[Message]:
    """The messages with the instructions first; many templates allow no second system message."""
    if not chat or chat[0]["role"] != "system":
        return [{"role": "system", "content": instructions}, *chat]
    first, *rest = chat
    notes.append(Note("instructions", "converted", "joined to the system message with which input begins"))
    content = first["content"]
    if isinstance(content, str):
        joined: object = f"{instructions}\n\n{content}"
    else:
        joined = [{"type": "text", "text": instructions}, *(documents.as_array(content) or ())]
    return [{**first, "content": joined}, *rest]


class _Turn:
    """What the assistant says until somebody else does."""

    __slots__ = ("_calls", "_parts", "_single", "_thoughts", "others")

    def __init__(self) -> None:
        self.others: Message = {}
        self._thoughts: list[str] = []
        self._single: object = ""
        self._parts: list[object] = []
        self._calls: list[object] = []

    def think(self, text: str) -> None:
        self._thoughts.append(text)

    def say(self, content: str | Sequence[object]) -> bool:
        """Whether the text will stand before calls that came before it."""
        if not content:
            return False
        self._parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
        self._single = content
        return bool(self._calls)

    def call(self, call: Message) -> None:
        self._calls.append(call)

    def message(self) -> Message:
        content = self._single if len(self._parts) < 2 else self._parts
        out: Message = {"role": "assistant", "content": content}
        if self._thoughts:
            # Servers have read one name or the other: https://github.com/maximhq/bifrost/issues/6238
            thought = "\n".join(self._thoughts)
            out |= {"reasoning": thought, "reasoning_content": thought}
        if self._calls:
            out |= {"content": content or None, "tool_calls": self._calls}
        return out | self.others


class _Chat:
    """The messages so far; the last one may be a turn that goes on."""

    __slots__ = ("_messages", "_turn")

    def __init__(self) -> None:
        self._messages: list[Message | _Turn] = []
        self._turn: _Turn | None = None

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self._turn = None

    @property
    def turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
            self._messages.append(self._turn)
        return self._turn

    def messages(self) -> list[Message]:
        return [entry.message() if isinstance(entry, _Turn) else entry for entry in self._messages]


def _take(item: object, place: str, chat: _Chat, notes: list[Note]) -> Failure | None:
    if not isinstance(item, Mapping):
        return invalid(f"{place} must be an object, got {documents.type_name(item)}", place)
    kind = item.get("type")
    if kind is None:
        if item.get("role") is None:
            return invalid(f"{place} has neither a type nor a role", f"{place}.type")
        kind = "message"
    take = _ITEMS.get(kind) if isinstance(kind, str) else None
    if take is None:
        shown = kind if isinstance(kind, str) else documents.type_name(kind)
        hint = _HINTS.get(shown, "")
        return invalid(
            f"input items of type {shown} are not supported by vllm provider{hint}", f"{place}.type"
        )
    return take(item, place, chat, notes)


def _message(item: Document, place: str, chat: _Chat, notes: list[Note]) -> Failure | None:
    given = item.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        return invalid(f"{place}.role must be user, assistant, system or developer", f"{place}.role")
    content = _content(item.get("content"), f"{place}.content", notes)
    if isinstance(content, Failure):
        return content
    if role != given:
        notes.append(Note(f"{place}.role", "converted", f"{given} became {role}"))
    others = _others(item, ("type", "role", "content"), _OF_ITEMS, place, notes)
    if others.pop("phase", None) is not None:
        notes.append(Note(f"{place}.phase", "dropped", "vLLM has no phases"))
    if role != "assistant":
        if content is None:
            return invalid(f"{place}.content is required", f"{place}.content")
        chat.add({"role": role, "content": content, **others})
        return None
    for name in _ITEMS_OF_THEIR_OWN:
        if name in others:
            return invalid(f"{place}.{name} must be an item of its own", f"{place}.{name}")
    if chat.turn.say(content or ""):
        notes.append(Note(place, "converted", "a chat has text before calls, not after them"))
    chat.turn.others |= others
    return None


def _reasoning(item: Document, place: str, chat: _Chat, notes: list[Note]) -> Failure | None:
    content = _thoughts(item.get("content"), f"{place}.content", notes)
    summary = _thoughts(item.get("summary"), f"{place}.summary", notes)
    if isinstance(content, Failure):
        return content
    if isinstance(summary, Failure):
        return summary
    if "encrypted_content" in item:
        reason = "only the provider that made it can read it"
        notes.append(Note(f"{place}.encrypted_content", "dropped", reason))
    if content and summary:
        notes.append(Note(f"{place}.summary", "dropped", "content says it in full"))
    _others(item, ("type", "content", "summary", "encrypted_content"), item, place, notes)
    if thought := content or summary:
        chat.turn.think(thought)
    return None


def _thoughts(value: object, place: str, notes: list[Note]) -> str | Failure:
    if value is None or isinstance(value, str):
        return value or ""
    parts = documents.as_array(value)
    if parts is None:
        return invalid(f"{place} must be an array of parts, got {documents.type_name(value)}", place)
    texts: list[str] = []
    for index, part in enumerate(parts):
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or not isinstance(text, str):
            return invalid(f"{place}[{index}].text must be text", f"{place}[{index}].text")
        texts.append(text)
        _others(part, ("type", "text"), part, f"{place}[{index}]", notes)
    return "\n".join(filter(None, texts))


def _function_call(item: Document, place: str, chat: _Chat, notes: list[Note]) -> Failure | None:
    call_id = _call_id(item, place, notes)
    if isinstance(call_id, Failure):
        return call_id
    name, namespace = item.get("name"), item.get("namespace")
    if not isinstance(name, str) or not name.strip():
        return invalid(f"{place}.name is required", f"{place}.name")
    if namespace is not None and namespace != name:  # a tool that was loaded late is its own namespace
        return invalid(f"{place}.namespace: vLLM has no namespaces of tools", f"{place}.namespace")
    arguments = choices.argument_text(item.get("arguments"))
    if not arguments:
        arguments = "{}"
        notes.append(Note(f"{place}.arguments", "defaulted", "an empty object"))
    elif not isinstance(item.get("arguments"), str):
        notes.append(Note(f"{place}.arguments", "converted", "a value became its JSON text"))
    gone = (*_OF_ITEMS, "namespace", "caller", "async", "function")
    function = {"name": name, "arguments": arguments}
    call: Message = {"id": call_id, "type": "function", "function": function}
    chat.turn.call(call | _others(item, ("type", "call_id", "name", "arguments"), gone, place, notes))
    return None


def _function_call_output(item: Document, place: str, chat: _Chat, notes: list[Note]) -> Failure | None:
    call_id = _call_id(item, place, notes)
    if isinstance(call_id, Failure):
        return call_id
    output = item.get("output")
    content: object = choices.argument_text(output)
    if output is None:
        notes.append(Note(f"{place}.output", "defaulted", "an empty text"))
    elif documents.as_array(output) is not None:
        content = _content(output, f"{place}.output", notes)
    elif not isinstance(output, str):
        notes.append(Note(f"{place}.output", "converted", "a value became its JSON text"))
    if isinstance(content, Failure):
        return content
    gone = (*_OF_ITEMS, "name", "namespace", "caller", *_TOOL_MESSAGE_KEYS)
    message: Message = {"role": "tool", "tool_call_id": call_id, "content": content}
    chat.add(message | _others(item, ("type", "call_id", "output"), gone, place, notes))
    return None


def _call_id(item: Document, place: str, notes: list[Note]) -> object | Failure:
    call_id = item.get("call_id")
    if not isinstance(call_id, str) or not call_id:
        return invalid(f"{place}.call_id is required", f"{place}.call_id")
    return messages.call_id(call_id, f"{place}.call_id", notes)


def _others(
    source: Document, handled: Collection[str], gone: Collection[str], place: str, notes: list[Note]
) -> Message:
    """What goes along as it is. Notes tell of what does not, ``gone`` and nulls, one note for all items."""
    out: Message = {}
    for name, value in source.items():
        if name in handled:
            continue
        if value is None or name in gone:
            where = f"{_NUMBER.sub('[]', place)}.{name}"
            notes.append(Note(where, "dropped", "null" if value is None else _NO_PLACE))
        else:
            out[name] = value
    return out


_ITEMS: Final[Mapping[str, Callable[[Document, str, _Chat, list[Note]], Failure | None]]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "function_call_output": _function_call_output,
}
"""The items that a chat can hold."""


def _content(content: object, place: str, notes: list[Note]) -> str | list[object] | Failure | None:
    """Content as a chat has it: a lone text as text."""
    if content is None or isinstance(content, str):
        return content
    parts = documents.as_array(content)
    if parts is None:
        got = documents.type_name(content)
        return invalid(f"{place} must be text or an array of parts, got {got}", place)
    out: list[object] = []
    for index, source in enumerate(parts):
        part = _part(source, f"{place}[{index}]", notes)
        if isinstance(part, Failure):
            return part
        if len(parts) == 1 and set(part) == {"type", "text"} and isinstance(part["text"], str):
            return part["text"]
        out.append(part)
    return out or ""


def _part(source: object, place: str, notes: list[Note]) -> Message | Failure:
    if not isinstance(source, Mapping):
        return invalid(f"{place} must be an object, got {documents.type_name(source)}", place)
    kind = source.get("type")
    if not isinstance(kind, str):
        return invalid(f"{place}.type is required", f"{place}.type")
    if kind in _FOREIGN_PARTS:
        return invalid(f"content of type {kind} is not supported by vllm provider", f"{place}.type")
    part = messages.part(without(source, _OPENAI_PART_KEYS, place, notes), place, notes)
    convert = _PARTS.get(kind)
    # Any other kind is the server's business, as in a chat: audio_url, image_embeds, ...
    return dict(part) if convert is None else convert(part, place, notes)


def _text_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    text = part.get("text")
    if not isinstance(text, str):
        return invalid(f"{place}.text must be text", f"{place}.text")
    # Annotations and log probabilities are what was said about the text, not what was said.
    others = _others(part, ("type", "text"), ("annotations", "logprobs"), place, notes)
    return {"type": "text", "text": text, **others}


def _refusal_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    refusal = part.get("refusal")
    if not isinstance(refusal, str):
        return invalid(f"{place}.refusal must be text", f"{place}.refusal")
    others = _others(part, ("type", "refusal"), (), place, notes)
    return {"type": "refusal", "refusal": refusal, **others}


def _image_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    return _linked(part, "image_url", ("detail",), place, notes)


def _video_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    return _linked(part, "video_url", (), place, notes)


def _linked(
    part: Document, kind: str, members: tuple[str, ...], place: str, notes: list[Note]
) -> Message | Failure:
    """A part that holds an address, which a chat wraps into an object."""
    target = part.get(kind)
    # The wrapped form is that of chat completions, which some clients use here, too.
    wrapped = dict(target) if isinstance(target, Mapping) else {"url": target}
    if not isinstance(wrapped.get("url"), str) or not wrapped["url"]:
        return _absent(part, kind, place)
    told = [name for name in members if part.get(name) is not None]
    wrapped |= {name: part[name] for name in told}
    others = _others(part, ("type", kind, *told), ("file_id",), place, notes)
    return {"type": kind, kind: wrapped, **others}


def _file_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    data = part.get("file_data")
    if not isinstance(data, str) or not data:
        return _absent(part, "file_data", place)
    file = {name: part[name] for name in ("file_data", "filename") if part.get(name) is not None}
    gone = ("file_id", "file_url", "file_type", "detail")
    return {"type": "file", "file": file, **_others(part, ("type", *file), gone, place, notes)}


def _audio_part(part: Document, place: str, notes: list[Note]) -> Message | Failure:
    if not isinstance(part.get("input_audio"), Mapping):
        return invalid(f"{place}.input_audio must be an object", f"{place}.input_audio")
    return dict(part)


def _absent(part: Document, name: str, place: str) -> Failure:
    for other in ("file_id", "file_url"):
        if part.get(other) is not None:
            return invalid(f"{place}.{other}: vLLM has no files, send {name}", f"{place}.{other}")
    return invalid(f"{place}.{name} is required", f"{place}.{name}")


_PARTS: Final[Mapping[str, Callable[[Document, str, list[Note]], Message | Failure]]] = {
    "input_text": _text_part,
    "output_text": _text_part,
    "text": _text_part,
    "refusal": _refusal_part,
    "input_image": _image_part,
    "input_video": _video_part,
    "input_file": _file_part,
    "input_audio": _audio_part,
}
_FOREIGN_PARTS: Final = frozenset(
    {"computer_screenshot", "encrypted_content", "reasoning_text", "summary_text"}
)
"""Parts of items that no chat can hold."""
