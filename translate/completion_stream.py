"""What the frames of a streamed text completion mean.

Every text goes to the client as it comes, empty ones too. Finish reasons, and
what the server says beside them, wait for the final chunk, which has an entry
for every choice.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents
from .chunks import FRAME_FIELDS, Chunks
from .plan import Chunk, Note
from .types import Document

_MOST_CHOICES: Final = 16_384
_CHOICE_FIELDS: Final = frozenset({"index", "text", "finish_reason", "logprobs"})


class _Choice:
    __slots__ = ("finish_reason", "with_finish")

    def __init__(self) -> None:
        self.finish_reason: object = None
        self.with_finish: dict[str, object] = {}  # what the server said beside the finish reason


class CompletionInterpreter:
    """The frames of one streamed completion, in order; ``chunks`` makes what clients get."""

    expected = "choices"

    __slots__ = ("_choices", "_choices_asked", "_chunks", "_finished")

    def __init__(self, chunks: Chunks, choices_asked: int) -> None:
        self._chunks = chunks
        self._choices_asked = choices_asked
        self._choices: dict[int, _Choice] = {}
        self._finished = 0

    @property
    def started(self) -> bool:
        return bool(self._choices)

    @property
    def finished(self) -> bool:
        return self._finished == len(self._choices) >= self._choices_asked

    def repeat(self, payload: bytes, at_ms: int) -> Chunk | None:
        return None

    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]:
        self._chunks.remember(document, payload)
        entries: list[dict[str, object]] = []
        for position, source in enumerate(documents.as_array(document.get("choices")) or ()):
            if not isinstance(source, Mapping):
                self._chunks.note(choices.not_an_object(f"choices[{position}]"))
            elif (entry := self._entry(source, position)) is not None:
                entries.append(entry)
        others = choices.plain_fields(document, FRAME_FIELDS)
        if entries:
            return (self._chunks.chunk(entries, others, at_ms),)
        self._chunks.trail(others)
        return ()

    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]:
        self._chunks.note_all(notes)
        entries = [self._last_entry(index) for index in sorted(self._choices)]
        return (self._chunks.final(entries, at_ms),)

    def _entry(self, source: Document, position: int) -> dict[str, object] | None:
        index = choices.index(source, position)
        choice = self._choices.get(index)
        if choice is None:
            if len(self._choices) >= _MOST_CHOICES:
                self._chunks.note(Note("choices", "dropped", f"more than {_MOST_CHOICES} choices"))
                return None
            choice = self._choices[index] = _Choice()
        others = choices.plain_fields(source, _CHOICE_FIELDS)
        if reason := source.get("finish_reason"):
            self._finished += choice.finish_reason is None
            choice.finish_reason = reason
            for name in [name for name in others if not isinstance(others[name], list)]:
                choices.keep(choice.with_finish, name, others.pop(name), self._chunks.note)
        text, logprobs = source.get("text"), source.get("logprobs")
        if text is None and logprobs is None and not others:
            return None
        return {
            "index": index,
            "text": "" if text is None else text,
            "finish_reason": None,
            "logprobs": logprobs,
            **others,
        }

    def _last_entry(self, index: int) -> dict[str, object]:
        choice = self._choices[index]
        return {
            "index": index,
            "text": "",  # OpenAI's SDK lets clients add it to what they have
            "finish_reason": choice.finish_reason,
            "logprobs": None,
            **choice.with_finish,
        }
