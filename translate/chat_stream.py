"""What the frames of a streamed chat mean.

Clients get one chunk per frame that says something, and one final chunk. The
final chunk carries, for every choice, its finish reason and whatever came on
frames that said nothing else; further usage, the server's last top-level
fields and the ledger. A frame in which the last words of the last choice come
together with its finish reason waits and becomes the final chunk itself, so
that what the server sent as one stays one.

What becomes of tool calls is in ``tool_calls``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from . import choices, documents
from .chunks import FRAME_FIELDS, Chunks
from .plan import Chunk, Note
from .repetition import Repetition, learned
from .tool_calls import ToolCalls
from .types import Document

_MOST_CHOICES: Final = 16_384
_MOST_LESSONS: Final = 64  # repetitions learnt in one stream
_MOST_SWALLOWED: Final = 256  # frames of one choice, in a row
_CHOICE_FIELDS: Final = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})
_DELTA_FIELDS_WITHOUT_THOUGHT: Final = frozenset({"role", "content", "tool_calls"})
_DELTA_FIELDS: Final = _DELTA_FIELDS_WITHOUT_THOUGHT | {"reasoning", "reasoning_content", "reasoning_details"}


class _Choice:
    __slots__ = ("calls", "finish_reason", "logprobs", "others", "role_sent", "swallowed", "with_finish")

    def __init__(self, index: int, note: Callable[[Note], None]) -> None:
        self.role_sent = False
        self.finish_reason: object = None
        self.calls = ToolCalls(index, note)
        self.swallowed = 0
        self.logprobs: object = None  # of frames that were swallowed since the last chunk
        self.others: dict[str, object] = {}  # the same for fields that we do not know
        self.with_finish: dict[str, object] = {}  # what the server said beside the finish reason


class ChatInterpreter:
    """The frames of one streamed chat, in order; ``chunks`` makes what clients get."""

    expected = "choices"

    __slots__ = (
        "_choices", "_choices_asked", "_chunks", "_finished", "_finishing", "_lessons", "_repeated",
        "_repetition",
    )  # fmt: skip

    def __init__(self, chunks: Chunks, choices_asked: int) -> None:
        self._chunks = chunks
        self._choices_asked = choices_asked
        self._choices: dict[int, _Choice] = {}
        self._finished = 0
        self._finishing: dict[object, dict[str, object]] = {}  # entries of the frame that may be the last
        self._lessons = _MOST_LESSONS if chunks.may_repeat else 0
        self._repetition: Repetition | None = None
        self._repeated: _Choice | None = None  # the choice that the repetition is of

    @property
    def started(self) -> bool:
        return bool(self._choices)

    @property
    def finished(self) -> bool:
        return self._finished == len(self._choices) >= self._choices_asked

    def repeat(self, payload: bytes, at_ms: int) -> Chunk | None:
        repetition, choice = self._repetition, self._repeated
        if repetition is None or choice is None or self._finishing:
            return None
        if choice.others or choice.finish_reason is not None or choice.logprobs is not None:
            return None  # something waits for the next chunk, or there may be none
        words = repetition.words(payload)
        if words is None:
            return None
        choice.swallowed = 0
        return self._chunks.repeated(repetition, words, at_ms)

    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]:
        chunks = self._chunks
        if chunks.remember(document, payload):
            self._repetition = None
        out: list[Chunk] = []
        entries: list[dict[str, object]] = []
        for position, source in enumerate(documents.as_array(document.get("choices")) or ()):
            if isinstance(source, Mapping):
                entry = self._entry(source, position)
                if entry is not None:
                    entries.append(entry)
            else:
                chunks.note(choices.not_an_object(f"choices[{position}]"))
        if entries and self._finishing:
            out.append(chunks.chunk(list(self._finishing.values()), {}, at_ms))
            self._finishing = {}
        others = choices.plain_fields(document, FRAME_FIELDS)
        if entries and self.finished:
            chunks.trail(others)
            self._finishing = {entry["index"]: entry for entry in entries}
            earlier = [entry for entry in entries if self._finishing[entry["index"]] is not entry]
            if earlier:
                out.append(chunks.chunk(earlier, {}, at_ms))
        elif entries:
            out.append(chunks.chunk(entries, others, at_ms))
        else:
            chunks.trail(others)
        if self._lessons and len(out) == len(entries) == 1:
            self._learn(payload, document, out[0].data, entries[0]["index"])
        return out

    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]:
        self._chunks.note_all(notes)
        entries = [self._last_entry(index) for index in sorted(self._choices)]
        return (self._chunks.final(entries, at_ms),)

    def _learn(self, payload: bytes, document: Document, chunk: Document, index: object) -> None:
        repetition = learned(payload, document, chunk)
        if repetition is not None and isinstance(index, int):
            self._lessons -= 1
            self._repetition, self._repeated = repetition, self._choices[index]

    def _entry(self, source: Document, position: int) -> dict[str, object] | None:
        """One choice of a frame as clients get it, or ``None`` when it says nothing."""
        index = choices.index(source, position)
        choice = self._choices.get(index)
        if choice is None:
            if len(self._choices) >= _MOST_CHOICES:
                self._chunks.note(Note("choices", "dropped", f"more than {_MOST_CHOICES} choices"))
                return None
            choice = self._choices[index] = _Choice(index, self._chunks.note)
        raw_delta = source.get("delta")
        delta = self._delta(choice, index, raw_delta if raw_delta is not None else source.get("message"))
        others = choices.plain_fields(source, _CHOICE_FIELDS)
        reason = source.get("finish_reason")
        if reason:
            self._finished += choice.finish_reason is None
            choice.finish_reason = reason
            for name in [name for name in others if not isinstance(others[name], list)]:
                choices.keep(choice.with_finish, name, others.pop(name), self._chunks.note)
        logprobs = choices.joined_logprobs(choice.logprobs, source.get("logprobs"))
        for name, value in others.items():
            choices.keep(
                choice.others, name, choices.joined(choice.others.get(name), value), self._chunks.note
            )
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
        if rest := choice.calls.rest(self._chunks.reply_id):
            delta = documents.as_object(entry["delta"]) or {}
            told = documents.as_array(delta.get("tool_calls")) or ()
            entry = {**entry, "delta": {**delta, "tool_calls": [*told, *rest]}}
        notes: list[Note] = []
        entry["finish_reason"] = choices.finish_reason(
            choice.finish_reason, choice.calls.begun, f"choices[{index}]", notes
        )
        self._chunks.note_all(notes)
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
            self._chunks.note_all(choices.other_thoughts(source, text, f"choices[{index}].delta"))
        handled = _DELTA_FIELDS if text is not None else _DELTA_FIELDS_WITHOUT_THOUGHT
        for name, member in source.items():
            if name not in handled and member not in (None, "", []):
                out[name] = member
        if fragments := source.get("tool_calls"):
            listed = documents.as_array(fragments)
            if listed is None:
                self._chunks.note(Note(f"choices[{index}].delta.tool_calls", "dropped", "not an array"))
            if calls := choice.calls.take(listed or (), self._chunks.reply_id):
                out["tool_calls"] = calls
        return out
