"""What the frames of a streamed chat mean.

Clients get one chunk per frame that says something, and one final chunk. The
final chunk carries, for every choice, its finish reason and whatever came on
frames that said nothing else; further usage, the server's last top-level
fields and the ledger. A frame in which the last words of the last choice come
together with its finish reason waits and becomes the final chunk itself, so
that what the server sent as one stays one.

Tool calls are renumbered from 0 and repaired as they pass: the first delta of
a call has id, type and name, later ones have arguments only, whatever the
server repeats, nulls, splits or leaves out.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents
from .envelope import extra_fields, raw_text
from .plan import Call, Chunk, Note
from .types import Document

_MOST: Final = 16_384  # choices of a reply, and calls of a choice
_MOST_SWALLOWED: Final = 256  # frames of one choice, in a row
_MOST_FIELDS: Final = 256  # names that we do not know, kept for later in one place
_LONGEST_PENDING: Final = 65_536  # characters of arguments that wait for the call's name
_RAW_LIMIT: Final = 1024 * 1024
_FRAME_FIELDS: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
)
_CHOICE_FIELDS: Final = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})
_CALL_FIELDS: Final = frozenset({"index", "id", "type", "function"})
_DELTA_FIELDS_WITHOUT_THOUGHT: Final = frozenset({"role", "content", "tool_calls"})
_DELTA_FIELDS: Final = _DELTA_FIELDS_WITHOUT_THOUGHT | {"reasoning", "reasoning_content", "reasoning_details"}


class _ToolCall:
    __slots__ = ("id", "id_is_ours", "name", "number", "others", "pending", "pending_size", "started", "type")

    def __init__(self) -> None:
        self.number = 0  # ours, given when the call is first told
        self.id = ""
        self.id_is_ours = False
        self.name = ""
        self.type = ""
        self.pending: list[str] = []  # arguments that came before the name
        self.pending_size = 0
        self.others: dict[str, object] = {}
        self.started = False


class _Choice:
    __slots__ = (
        "calls",
        "calls_by_id",
        "finish_reason",
        "latest_call",
        "logprobs",
        "open_calls",
        "others",
        "role_sent",
        "swallowed",
        "told_calls",
        "with_finish",
    )  # fmt: skip

    def __init__(self) -> None:
        self.role_sent = False
        self.finish_reason: object = None
        self.calls = 0
        self.told_calls = 0
        self.open_calls: dict[int, _ToolCall] = {}  # by the server's own numbers
        self.calls_by_id: dict[str, _ToolCall] = {}
        self.latest_call: _ToolCall | None = None
        self.swallowed = 0
        self.logprobs: object = None  # of frames that were swallowed since the last chunk
        self.others: dict[str, object] = {}  # the same for fields that we do not know
        self.with_finish: dict[str, object] = {}  # what the server said beside the finish reason


class ChatInterpreter:
    """The frames of one streamed chat, in order."""

    expected = "choices"

    __slots__ = (
        "_call",
        "_choices",
        "_choices_asked",
        "_chunks",
        "_continuous",
        "_finished",
        "_finishing",
        "_identity",
        "_last_at",
        "_model",
        "_notes",
        "_raw",
        "_raw_request",
        "_raw_size",
        "_trailing",
        "_usage",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        model: str,
        choices_asked: int,
        continuous_usage: bool,
        notes: Sequence[Note],
        raw_request: object = None,
    ) -> None:
        self._call = call
        self._model = model
        self._choices_asked = choices_asked
        self._continuous = continuous_usage
        self._notes = dict.fromkeys(notes)  # in order, each once
        self._raw_request = raw_request
        self._choices: dict[int, _Choice] = {}
        self._finished = 0
        self._identity: dict[str, object] = {}
        self._trailing: dict[str, object] = {}  # top-level fields of frames that were swallowed
        self._usage: dict[str, object] | None = None
        self._finishing: dict[object, dict[str, object]] = {}  # entries of the frame that may be the last
        self._chunks = 0
        self._last_at = 0
        self._raw: list[str] = []
        self._raw_size = 0

    @property
    def started(self) -> bool:
        return bool(self._choices)

    @property
    def finished(self) -> bool:
        return self._finished == len(self._choices) >= self._choices_asked

    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]:
        self._remember(document, payload)
        out: list[Chunk] = []
        entries: list[dict[str, object]] = []
        for position, source in enumerate(documents.as_array(document.get("choices")) or ()):
            if isinstance(source, Mapping):
                entry = self._entry(source, position)
                if entry is not None:
                    entries.append(entry)
        if entries and self._finishing:
            out.append(self._chunk(list(self._finishing.values()), {}, at_ms))
            self._finishing = {}
        others = choices.plain_fields(document, _FRAME_FIELDS)
        if entries and self.finished:
            self._trail(others)
            self._finishing = {entry["index"]: entry for entry in entries}
            earlier = [entry for entry in entries if self._finishing[entry["index"]] is not entry]
            if earlier:
                out.append(self._chunk(earlier, {}, at_ms))
        elif entries:
            out.append(self._chunk(entries, others, at_ms))
        else:
            self._trail(others)
        return out

    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]:
        self._note_all(notes)
        entries = [self._last_entry(index) for index in sorted(self._choices)]
        data: dict[str, object] = {**self._head(), "choices": entries}
        if self._usage is not None:
            data["usage"] = self._usage
        data |= self._trailing
        fields = extra_fields(self._call, self._model, at_ms, self._chunks, self._notes)
        if self._call.raw_request and self._raw_request is not None:
            fields["raw_request"] = self._raw_request
        if self._raw:
            fields["raw_response"] = self._drain_raw()
        data["extra_fields"] = fields
        return (Chunk(data, final=True),)

    def _remember(self, document: Document, payload: bytes) -> None:
        for name in ("id", "created", "model", "system_fingerprint"):
            if value := document.get(name):
                self._identity[name] = value
        if (usage := choices.usage(document.get("usage"))) is not None:
            self._usage = usage
        if self._call.raw_response and self._raw_size < _RAW_LIMIT:
            self._raw_size += len(payload)
            self._raw.append(raw_text(payload))

    def _trail(self, fields: Mapping[str, object]) -> None:
        """Keep top-level fields for the final chunk."""
        for name, value in fields.items():
            self._keep(self._trailing, name, value)

    def _keep(self, kept: dict[str, object], name: str, value: object) -> None:
        if name in kept or len(kept) < _MOST_FIELDS:
            kept[name] = value
        else:
            self._note(Note("stream", "dropped", f"more than {_MOST_FIELDS} fields that wait for a chunk"))

    def _note(self, note: Note) -> None:
        self._notes[note] = None

    def _note_all(self, notes: Sequence[Note]) -> None:
        self._notes |= dict.fromkeys(notes)

    def _head(self) -> dict[str, object]:
        identity = self._identity
        return {
            "id": identity.get("id", ""),
            "object": "chat.completion.chunk",
            "created": identity.get("created", 0),
            "model": identity.get("model", self._model),
            "system_fingerprint": identity.get("system_fingerprint", ""),
        }

    def _chunk(self, entries: list[dict[str, object]], others: Mapping[str, object], at_ms: int) -> Chunk:
        data: dict[str, object] = {**self._head(), "choices": entries, **others}
        if self._continuous and self._usage is not None:
            data["usage"] = self._usage
        fields = extra_fields(self._call, self._model, at_ms - self._last_at, self._chunks)
        if self._raw:
            fields["raw_response"] = self._drain_raw()
        data["extra_fields"] = fields
        self._chunks += 1
        self._last_at = at_ms
        return Chunk(data)

    def _drain_raw(self) -> str:
        text = "\n\n".join(self._raw)
        self._raw, self._raw_size = [], 0
        return text

    def _entry(self, source: Document, position: int) -> dict[str, object] | None:
        """One choice of a frame as clients get it, or ``None`` when it says nothing."""
        number = documents.as_integer(source.get("index"))
        index = position if number is None else number
        choice = self._choices.get(index)
        if choice is None:
            if len(self._choices) >= _MOST:
                self._note(Note("choices", "dropped", f"more than {_MOST} choices"))
                return None
            choice = self._choices[index] = _Choice()
        raw_delta = source.get("delta")
        delta = self._delta(choice, index, raw_delta if raw_delta is not None else source.get("message"))
        others = choices.plain_fields(source, _CHOICE_FIELDS)
        reason = source.get("finish_reason")
        if reason:
            self._finished += choice.finish_reason is None
            choice.finish_reason = reason
            for name in [name for name in others if not isinstance(others[name], list)]:
                self._keep(choice.with_finish, name, others.pop(name))
        logprobs = choices.joined_logprobs(choice.logprobs, source.get("logprobs"))
        for name, value in others.items():
            self._keep(choice.others, name, choices.joined(choice.others.get(name), value))
        choice.logprobs = logprobs
        if not delta and choice.swallowed < _MOST_SWALLOWED:
            choice.swallowed += 1
            return None
        entry = {"index": index, "delta": delta, "finish_reason": None, "logprobs": logprobs, **choice.others}
        choice.logprobs, choice.others, choice.swallowed = None, {}, 0
        return entry

    def _last_entry(self, index: int) -> dict[str, object]:
        choice = self._choices[index]
        entry = self._finishing.get(index) or {
            "index": index,
            "delta": {},
            "finish_reason": None,
            "logprobs": None,
        }
        unnamed = [call for call in choice.open_calls.values() if not call.started]
        if unnamed:
            delta = documents.as_object(entry["delta"]) or {}
            begun = documents.as_array(delta.get("tool_calls")) or ()
            starts = [self._start(choice, call, index) for call in unnamed]
            entry = {**entry, "delta": {**delta, "tool_calls": [*begun, *starts]}}
        notes: list[Note] = []
        entry["finish_reason"] = choices.finish_reason(
            choice.finish_reason, choice.calls > 0, f"choices[{index}]", notes
        )
        self._note_all(notes)
        entry["logprobs"] = choices.joined_logprobs(entry["logprobs"], choice.logprobs)
        for name, value in choice.others.items():
            entry[name] = choices.joined(entry.get(name), value)
        return entry | choice.with_finish

    def _delta(self, choice: _Choice, index: int, value: object) -> dict[str, object]:
        source = documents.as_object(value) or {}
        out: dict[str, object] = {}
        content = source.get("content")
        if (role := source.get("role")) and not choice.role_sent:
            choice.role_sent = True
            out["role"] = role
            if content is not None:
                out["content"] = content
        elif content not in (None, "", []):
            out["content"] = content
        if (text := choices.reasoning_text(source)) is not None:
            out |= choices.reasoning_fields(text, source.get("reasoning_details"))
            self._note_all(choices.other_thoughts(source, text, f"choices[{index}].delta"))
        handled = _DELTA_FIELDS if text is not None else _DELTA_FIELDS_WITHOUT_THOUGHT
        for name, member in source.items():
            if name not in handled and member not in (None, "", []):
                out[name] = member
        if fragments := source.get("tool_calls"):
            listed = documents.as_array(fragments)
            if listed is None:
                self._note(Note(f"choices[{index}].delta.tool_calls", "dropped", "not an array"))
            calls = self._fragments(choice, index, listed or ())
            if calls:
                out["tool_calls"] = calls
        return out

    def _fragments(self, choice: _Choice, index: int, fragments: Sequence[object]) -> list[dict[str, object]]:
        out: list[dict[str, object]] = []
        for fragment in fragments:
            if isinstance(fragment, Mapping):
                self._fragment(choice, index, fragment, out)
        return out

    def _fragment(self, choice: _Choice, index: int, source: Document, out: list[dict[str, object]]) -> None:
        function = documents.as_object(source.get("function")) or {}
        call_id, name = _text(source.get("id")), _text(function.get("name"))
        arguments = choices.argument_text(function.get("arguments"))
        call = _call_of(choice, source, call_id, name)
        if call is None:
            if not (call_id or name or arguments):
                return
            if choice.calls >= _MOST:
                self._note(Note("tool_calls", "dropped", f"more than {_MOST} calls"))
                return
            call = _ToolCall()
            choice.calls += 1
            number = documents.as_integer(source.get("index"))
            if number is not None:
                displaced = choice.open_calls.get(number)
                if displaced is not None and not displaced.started:
                    out.append(self._start(choice, displaced, index))
                choice.open_calls[number] = call
            else:
                choice.open_calls[-choice.calls] = call
        choice.latest_call = call
        if call_id and not call.id:
            call.id = call_id
            choice.calls_by_id[call_id] = call
        call.name = call.name or name
        call.type = call.type or _text(source.get("type"))
        others = choices.plain_fields(source, _CALL_FIELDS)
        if call.started:
            if arguments or others:
                out.append({"index": call.number, "function": {"arguments": arguments}, **others})
            return
        for field, value in others.items():
            self._keep(call.others, field, value)
        if arguments:
            call.pending.append(arguments)
            call.pending_size += len(arguments)
        has_name = bool(call.name) or call.pending_size >= _LONGEST_PENDING
        if has_name and (call.id or call.pending):
            out.append(self._start(choice, call, index))

    def _start(self, choice: _Choice, call: _ToolCall, index: int) -> dict[str, object]:
        call.number = choice.told_calls
        choice.told_calls += 1
        if not call.id:
            stem = choices.id_stem(self._identity.get("id"), index)
            call.id = choices.call_id(stem, call.number)
            call.id_is_ours = True
            place = f"choices[{index}].tool_calls[{call.number}].id"
            self._note(Note(place, "defaulted", "the server sent none"))
        arguments = "".join(call.pending)
        call.pending = []
        call.started = True
        return {
            "index": call.number,
            "id": call.id,
            "type": call.type or "function",
            "function": {"name": call.name, "arguments": arguments},
            **call.others,
        }


def _call_of(choice: _Choice, source: Document, call_id: str, name: str) -> _ToolCall | None:
    """The call that a fragment goes on with, ``None`` when it begins one.

    A known id counts before the place, since some servers number every
    parallel call 0 (https://github.com/BerriAI/litellm/issues/33678); a new id
    begins a call. An id that comes late, after ours was given out, belongs to
    the call at its place unless a name comes with it.
    """
    if call_id in choice.calls_by_id:
        return choice.calls_by_id[call_id]
    number = documents.as_integer(source.get("index"))
    if number is None:
        return None if call_id else choice.latest_call
    call = choice.open_calls.get(number)
    if call is None or not call_id or not call.id:
        return call
    return call if call.id_is_ours and not name else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
