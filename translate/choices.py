"""What a server says, in Bifrost's form: messages, deltas, tool calls, usage.

Null noise goes, what the server really said stays where it was, whether we
know the field or not. Reasoning comes out under both names that clients read.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final

from . import documents, errors
from .plan import Failure, Note
from .types import Document

_MOST_KEPT: Final = 256
_ANSWER: Final = frozenset({"choices", "usage"})
_MESSAGE: Final = frozenset({"role", "content", "tool_calls"})
_THOUGHTFUL_MESSAGE: Final = _MESSAGE | {"reasoning", "reasoning_content", "reasoning_details"}


def reasoning_text(source: Document) -> str | None:
    """The thoughts in a message or delta, under whichever name they came.

    vLLM says ``reasoning_content`` up to 0.12, ``reasoning`` from 0.12 on.
    """
    first = source.get("reasoning")
    if isinstance(first, str) and first:
        return first
    second = source.get("reasoning_content")
    if isinstance(second, str) and second:
        return second
    return None


def other_thoughts(source: Document, text: str, place: str) -> Sequence[Note]:
    """A note of thoughts under the older name that are not those under the newer."""
    first, other = source.get("reasoning"), source.get("reasoning_content")
    if (first is None or isinstance(first, str)) and (other is None or other == text):
        return ()
    notes = []
    if first is not None and not isinstance(first, str):
        notes.append(Note(f"{place}.reasoning", "dropped", "not text"))
    if other not in (None, "", text):
        reason = "reasoning says something else" if isinstance(other, str) else "not text"
        notes.append(Note(f"{place}.reasoning_content", "dropped", reason))
    return notes


def reasoning_fields(text: str, details: object = None) -> dict[str, object]:
    """Thoughts as clients expect them: both names, and Bifrost's details."""
    return {
        "reasoning": text,
        "reasoning_content": text,
        "reasoning_details": details or [{"index": 0, "type": "reasoning.text", "text": text}],
    }


def plain_fields(source: Document, handled: Container[str]) -> dict[str, object]:
    """The members of ``source`` that need no rule and are not null."""
    return {name: value for name, value in source.items() if value is not None and name not in handled}


def listed(document: Document, notes: list[Note]) -> Sequence[Document] | Failure:
    """The choices of a reply, of which there is at least one."""
    entries = documents.as_array(document.get("choices")) or ()
    said = [found for entry in entries if (found := documents.as_object(entry)) is not None]
    if len(said) < len(entries):
        notes.extend(
            not_an_object(f"choices[{position}]")
            for position, entry in enumerate(entries)
            if not isinstance(entry, Mapping)
        )
    return said or errors.unreadable("choices is missing or empty")


def not_an_object(place: str) -> Note:
    """Something else stands where an object should be."""
    return Note(place, "dropped", "not an object")


def index(source: Document, position: int) -> int:
    """The number of a choice: its own, else its place among the others."""
    number = documents.as_integer(source.get("index"))
    return position if number is None else number


def numbered(source: Document, position: int, notes: list[Note]) -> int:
    """The same, with a note of a number that is none."""
    if source.get("index") is not None and documents.as_integer(source["index"]) is None:
        notes.append(Note(f"choices[{position}].index", "repaired", "its place among the others"))
    return index(source, position)


def answer(document: Document, kind: str, model: str, notes: list[Note]) -> dict[str, object]:
    """The top level of a reply: Bifrost's fields filled in, other nulls left out, usage in its form.

    ``kind`` is the ``object`` and ``model`` the model of a reply that names none.
    """
    out: dict[str, object] = {
        "id": "",
        "object": kind,
        "created": 0,
        "model": model,
        "choices": (),
        "system_fingerprint": "",
    }
    out |= plain_fields(document, _ANSWER)
    if (counts := usage(document.get("usage"), notes)) is not None:
        out["usage"] = counts
    return out


def message(source: Document, stem: str, place: str, notes: list[Note]) -> dict[str, object]:
    """An assistant message; ``content`` is always there, null as it came."""
    out: dict[str, object] = {"role": source.get("role") or "assistant", "content": source.get("content")}
    if not source.get("role"):
        notes.append(Note(f"{place}.role", "defaulted", "assistant"))
    text = reasoning_text(source)
    if text is None:
        out |= plain_fields(source, _MESSAGE)
    else:
        out |= plain_fields(source, _THOUGHTFUL_MESSAGE)
        out |= reasoning_fields(text, source.get("reasoning_details"))
        notes += other_thoughts(source, text, place)
    asked = source.get("tool_calls")
    if asked and (calls := tool_calls(asked, stem, f"{place}.tool_calls", notes)):
        out["tool_calls"] = calls
    return out


def tool_calls(value: object, stem: str, place: str, notes: list[Note]) -> list[dict[str, object]]:
    """Calls numbered from 0, each with id, type, name and arguments as text."""
    out: list[dict[str, object]] = []
    calls = documents.as_array(value)
    if calls is None and value:
        notes.append(Note(place, "dropped", "not an array"))
    for position, call in enumerate(calls or ()):
        if not isinstance(call, Mapping):
            notes.append(not_an_object(f"{place}[{position}]"))
            continue
        index = len(out)
        if call.get("index") not in (None, index):
            notes.append(Note(f"{place}[{index}].index", "repaired", "calls are numbered in their order"))
        entry: dict[str, object] = {
            "index": index,
            "id": call.get("id") or call_id(stem, index),
            "type": call.get("type") or "function",
        }
        entry |= plain_fields(call, ("index", "id", "type", "function"))
        given = call.get("function")
        function = documents.as_object(given)
        if given is not None and function is None:
            notes.append(not_an_object(f"{place}[{index}].function"))
        if function is not None or "custom" not in call:
            function = function or {}
            entry["function"] = {
                "name": function.get("name") or "",
                "arguments": argument_text(function.get("arguments")),
            } | plain_fields(function, ("name", "arguments"))
            if not isinstance(function.get("arguments"), str | None):
                notes.append(
                    Note(f"{place}[{index}].function.arguments", "converted", "a value became its JSON text")
                )
        if not call.get("id"):
            notes.append(Note(f"{place}[{index}].id", "defaulted", "the server sent none"))
        if not call.get("type"):
            notes.append(Note(f"{place}[{index}].type", "defaulted", "function"))
        out.append(entry)
    return out


def call_id(stem: str, index: int) -> str:
    """A stable id for a call that came without one."""
    return f"call_{stem}_{index}"


def id_stem(reply_id: object, choice: int) -> str:
    """What makes the ids of one choice's calls unlike those of any other reply."""
    text = reply_id if isinstance(reply_id, str) else ""
    return f"{text.removeprefix('chatcmpl-')[:48]}_{choice}"


def argument_text(value: object) -> str:
    """A call's arguments as the text that clients parse."""
    if isinstance(value, str):
        return value
    encoded = b"" if value is None else documents.encode(value)
    return encoded.decode() if isinstance(encoded, bytes) else ""


def finish_reason(reason: object, has_calls: bool, place: str, notes: list[Note]) -> object:
    """The reason as it came, but ``stop`` for ``tool_calls`` without a call.

    Agents loop on such a reply (https://github.com/vllm-project/vllm/issues/53255).
    """
    if not reason:
        if reason not in (None, ""):
            notes.append(Note(f"{place}.finish_reason", "dropped", "it is no reason"))
        return None
    if reason == "tool_calls" and not has_calls:
        notes.append(Note(f"{place}.finish_reason", "repaired", "tool_calls without a call became stop"))
        return "stop"
    return reason


def usage(value: object, notes: list[Note]) -> dict[str, object] | None:
    """Token counts in Bifrost's form, or ``None`` when the server sent none.

    Cached prompt tokens carry Bifrost's three names; counts are integers.
    """
    source = documents.as_object(value)
    if source is None and value is not None:
        notes.append(not_an_object("usage"))
    if not source:
        return None
    out: dict[str, object] = {}
    for name, entry in source.items():
        if type(entry) is int:
            out[name] = entry
        elif (counts := documents.as_object(entry)) is not None:
            out[name] = _prompt_details(counts, notes) if name == "prompt_tokens_details" else _counts(counts)
        elif entry is not None:
            out[name] = _count(entry)
    return out


def _counts(source: Document) -> dict[str, object]:
    out: dict[str, object] = {}
    for name, count in source.items():
        if type(count) is int:
            out[name] = count
        elif count is not None:
            out[name] = _count(count)
    return out


def _prompt_details(source: Document, notes: list[Note]) -> dict[str, object]:
    out = _counts(source)
    said = out.get
    read = said("cached_read_tokens") or said("cached_tokens") or 0
    written = (
        said("cached_write_tokens")
        or said("cache_write_tokens")
        or said("created_cache_tokens")  # vLLM's
        or 0
    )
    if read:
        out["cached_read_tokens"] = read
    if written:
        out["cached_write_tokens"] = written
    for name, count in (("cached_tokens", read), ("cache_write_tokens", written)):
        if out.setdefault(name, count) != count:
            notes.append(Note(f"usage.prompt_tokens_details.{name}", "dropped", "another count says more"))
            out[name] = count
    return out


def _count(value: object) -> object:
    if type(value) is int:
        return value
    number = documents.as_integer(value)
    return value if number is None else number


def joined_logprobs(first: object, second: object) -> object:
    """Two successive ``logprobs`` of one choice as one."""
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return second if second is not None else first
    out: dict[str, object] = dict(first)
    for name, entry in second.items():
        out[name] = joined(out.get(name), entry)
    return out


def joined(first: object, second: object) -> object:
    """Two successive values of one field: arrays run on, else the later one counts."""
    if isinstance(first, Sequence) and isinstance(second, Sequence):
        if isinstance(first, str) or isinstance(second, str):
            return second
        return [*first, *second]
    return first if second is None else second


def _goes_on(before: object, value: object) -> bool:
    """Whether a value is an earlier one and more."""
    return isinstance(before, list) and isinstance(value, list) and value[: len(before)] == before


def keep(kept: dict[str, object], name: str, value: object, note: Callable[[Note], None]) -> None:
    """Put a field that nobody here knows aside for a later chunk; there is room for 256."""
    before = kept.get(name)
    if before is not None and before != value and not _goes_on(before, value):
        note(Note(name, "dropped", "a later frame says something else"))
    if name in kept or len(kept) < _MOST_KEPT:
        kept[name] = value
    else:
        note(Note("stream", "dropped", f"more than {_MOST_KEPT} fields that wait for a chunk"))
