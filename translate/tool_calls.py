"""Tool calls as they stream: whatever servers make of them, clients get one form.

The first delta of a call has its number, id, type, name and the arguments so
far; each later one has the number and more arguments, nothing else. Numbers
are 0, 1, 2, ... in the order of the first deltas, since clients insert calls by
them. Servers repeat the name on every fragment or send it late, send no id,
send nulls on continuations, number every call 0 or none at all; until a call
has a name, its arguments wait.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from . import choices, documents
from .plan import Note
from .types import Document

_MOST_CALLS: Final = 16_384
_LONGEST_WAIT: Final = 65_536  # characters of arguments that wait for the call's name
_FIELDS: Final = frozenset({"index", "id", "type", "function"})


class _Call:
    __slots__ = ("arguments", "id", "id_is_ours", "name", "number", "others", "size", "told", "type")

    def __init__(self) -> None:
        self.number = 0  # ours, given when the call is first told
        self.id = ""
        self.id_is_ours = False
        self.name = ""
        self.type = ""
        self.arguments: list[str] = []  # those that wait
        self.size = 0
        self.others: dict[str, object] = {}
        self.told = False


class ToolCalls:
    """The calls of one streamed choice."""

    __slots__ = ("_by_id", "_by_place", "_choice", "_count", "_latest", "_note", "_told")

    def __init__(self, choice: int, note: Callable[[Note], None]) -> None:
        self._choice = choice
        self._note = note
        self._count = 0
        self._told = 0
        self._by_place: dict[int, _Call] = {}  # the server's own numbers; ours, negative, where it has none
        self._by_id: dict[str, _Call] = {}
        self._latest: _Call | None = None

    @property
    def begun(self) -> bool:
        """Whether there was any call."""
        return self._count > 0

    def take(self, fragments: Sequence[object], reply_id: object) -> list[dict[str, object]]:
        """The deltas that fragments of calls amount to."""
        out: list[dict[str, object]] = []
        for fragment in fragments:
            if isinstance(fragment, Mapping):
                self._take(fragment, reply_id, out)
            else:
                self._note(choices.not_an_object(f"choices[{self._choice}].delta.tool_calls"))
        return out

    def rest(self, reply_id: object) -> list[dict[str, object]]:
        """The calls that never got a name, at the end."""
        return [self._first(call, reply_id) for call in self._by_place.values() if not call.told]

    def _take(self, source: Document, reply_id: object, out: list[dict[str, object]]) -> None:
        function = documents.as_object(source.get("function")) or {}
        call_id, name = _text(source.get("id")), _text(function.get("name"))
        arguments = choices.argument_text(function.get("arguments"))
        place = documents.as_integer(source.get("index"))
        call = self._continued(place, call_id, name)
        if call is None:
            if not (call_id or name or arguments):
                return
            if self._count >= _MOST_CALLS:
                self._note(Note("tool_calls", "dropped", f"more than {_MOST_CALLS} calls"))
                return
            displaced = None if place is None else self._by_place.get(place)
            if displaced is not None and not displaced.told:
                out.append(self._first(displaced, reply_id))
            call = _Call()
            self._count += 1
            self._by_place[-self._count if place is None else place] = call
        self._latest = call
        if call_id and not call.id:
            call.id = call_id
            self._by_id[call_id] = call
        call.name = call.name or name
        call.type = call.type or _text(source.get("type"))
        others = choices.plain_fields(source, _FIELDS)
        if call.told:
            if arguments or others:
                out.append({"index": call.number, "function": {"arguments": arguments}, **others})
            return
        for field, value in others.items():
            choices.keep(call.others, field, value, self._note)
        if arguments:
            call.arguments.append(arguments)
            call.size += len(arguments)
        if (call.name or call.size >= _LONGEST_WAIT) and (call.id or call.arguments):
            out.append(self._first(call, reply_id))

    def _continued(self, place: int | None, call_id: str, name: str) -> _Call | None:
        """The call that a fragment goes on with, ``None`` when it begins one.

        A known id counts before the place, since some servers number every
        parallel call 0 (https://github.com/BerriAI/litellm/issues/33678); a new
        id begins a call. An id that comes late, after ours was given out,
        belongs to the call at its place unless a name comes with it.
        """
        if call_id in self._by_id:
            return self._by_id[call_id]
        if place is None:
            return None if call_id else self._latest
        call = self._by_place.get(place)
        if call is None or not call_id or not call.id:
            return call
        return call if call.id_is_ours and not name else None

    def _first(self, call: _Call, reply_id: object) -> dict[str, object]:
        call.number = self._told
        self._told += 1
        if not call.id:
            call.id = choices.call_id(choices.id_stem(reply_id, self._choice), call.number)
            call.id_is_ours = True
            place = f"choices[{self._choice}].tool_calls[{call.number}].id"
            self._note(Note(place, "defaulted", "the server sent none"))
        arguments = "".join(call.arguments)
        call.arguments = []
        call.told = True
        return {
            "index": call.number,
            "id": call.id,
            "type": call.type or "function",
            "function": {"name": call.name, "arguments": arguments},
            **call.others,
        }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
