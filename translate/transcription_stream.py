"""What the frames of a streamed transcription mean.

vLLM speaks as its chat does: ``transcription.chunk`` frames with ``choices``.
OpenAI's clients want events (https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event):
``transcript.text.delta`` with a piece of text each, at the end one
``transcript.text.done`` with the whole text and the usage. Frames that are such
events already are taken, too (https://github.com/vllm-project/vllm/issues/49116).

vLLM hears long audio in segments of at most 30 s, and each segment has its own
finish reason. So a finish reason ends nothing. The end is ``[DONE]``. Without it
the stream is whole if the server has said its last word: the usage in a frame
of its own, which it is always asked for, or a ``transcript.text.done``. If not,
more segments may have been to come: that is a truncated stream, whatever the
last finish reason.

What a frame says beside its text (finish reason, logprobs, fields that nobody
here knows) is on its event. A frame without text waits: the last one's fields
go into the final event, those of an earlier segment's end are an event of their
own, with an empty delta, before the next segment's text.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents, sse
from .chunks import FRAME_FIELDS, Chunks
from .plan import Chunk, Note
from .types import Document

DELTA: Final = "transcript.text.delta"
DONE: Final = "transcript.text.done"

_MOST_SWALLOWED: Final = 256  # frames without text, in a row
_EVENT_FIELDS: Final = FRAME_FIELDS - {"object", "choices"} | {"type", "delta", "text", "extra_fields"}


class TranscriptInterpreter:
    """The frames of one streamed transcription, in order; ``chunks`` makes what clients get."""

    expected = "choices"

    __slots__ = ("_chunks", "_said", "_swallowed", "_waiting", "_whole_text", "finished", "started")

    def __init__(self, chunks: Chunks) -> None:
        self.started = False
        self.finished = False  # the server has said its last word
        self._chunks = chunks
        self._said: bytearray | None = bytearray()  # all text so far; None once it is too much
        self._whole_text: str | None = None  # the same, when the server itself has told it
        self._waiting: dict[str, object] = {}  # fields of frames without text
        self._swallowed = 0

    def repeat(self, payload: bytes, at_ms: int) -> Chunk | None:
        return None

    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]:
        out: list[Chunk] = []
        kind = document.get("type")
        listed = document.get("choices")
        if listed is None and isinstance(kind, str) and kind.startswith("transcript."):
            self.started = True
            self._take_event(kind, document, payload, at_ms, out)
            return out
        self.started |= listed is not None
        self._chunks.remember(document, payload)
        entries = [entry for entry in documents.as_array(listed) or () if isinstance(entry, Mapping)]
        fields = choices.plain_fields(document, FRAME_FIELDS)
        for entry in entries:
            self._take_choice(entry, fields, at_ms, out)
            fields = {}
        self._wait(fields, at_ms, out)
        self.finished |= not entries and bool(documents.as_object(document.get("usage")))
        return out

    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]:
        self._chunks.note_all(notes)
        text = self._whole_text
        if text is None and self._said is None:
            self._chunks.note(Note("text", "dropped", f"more than {sse.LIMIT} bytes: the deltas have it"))
        if text is None:
            text = (self._said or b"").decode(errors="surrogatepass")
        data = {"type": DONE, "text": text, **self._chunks.identity, **self._waiting}
        return (self._chunks.stamped_last(data, at_ms),)

    def _take_event(
        self, kind: str, document: Document, payload: bytes, at_ms: int, out: list[Chunk]
    ) -> None:
        """A frame that is one of OpenAI's events."""
        if kind not in {DELTA, DONE}:
            self._chunks.remember({}, payload)  # its id is not that of the stream
            out.append(self._chunks.stamped(choices.plain_fields(document, ("extra_fields",)), at_ms))
            return
        self._chunks.remember(document, payload)
        handled = FRAME_FIELDS | {"type"}
        if kind == DELTA:
            fields = choices.plain_fields(document, handled | {"delta"})
            self._hear(document.get("delta"), fields, at_ms, out)
            return
        if isinstance(text := document.get("text"), str):
            if self._whole_text not in {None, text}:
                self._chunks.note(Note("text", "dropped", "the server told the whole text twice"))
            self._whole_text = text
        self._wait(choices.plain_fields(document, handled | {"text"}), at_ms, out)
        self.finished = True

    def _take_choice(self, entry: Document, fields: dict[str, object], at_ms: int, out: list[Chunk]) -> None:
        """A frame as vLLM sends it, where there is one choice."""
        delta = documents.as_object(entry.get("delta")) or {}
        for source, handled in ((entry, "delta"), (delta, "content")):
            for name, value in choices.plain_fields(source, (handled,)).items():
                if name in fields:
                    self._chunks.note(Note(name, "dropped", "a frame said it twice"))
                fields[name] = value
        self._hear(delta.get("content"), fields, at_ms, out)

    def _hear(self, text: object, fields: dict[str, object], at_ms: int, out: list[Chunk]) -> None:
        """A piece of text, and what was said beside it."""
        if text and not isinstance(text, str):
            fields["content"] = text
        if (text or fields) and "finish_reason" in self._waiting:  # of an earlier segment
            self._flush(at_ms, out)
        self._wait(fields, at_ms, out)
        if text and isinstance(text, str):
            self._say(text)
            self._flush(at_ms, out, text)

    def _say(self, text: str) -> None:
        self.finished = False
        self._whole_text = None
        if self._said is not None:
            self._said += text.encode(errors="surrogatepass")
            if len(self._said) > sse.LIMIT:
                self._said = None

    def _wait(self, fields: Mapping[str, object], at_ms: int, out: list[Chunk]) -> None:
        if self._swallowed == _MOST_SWALLOWED:
            self._flush(at_ms, out)
        self._swallowed += bool(fields)
        for name, value in fields.items():
            if name in _EVENT_FIELDS:
                self._chunks.note(Note(name, "dropped", "an event has something else by that name"))
            else:
                longer = choices.joined(self._waiting.get(name), value)
                choices.keep(self._waiting, name, longer, self._chunks.note)

    def _flush(self, at_ms: int, out: list[Chunk], text: str = "") -> None:
        """An event with ``text`` and all that waits."""
        data = {"type": DELTA, "delta": text, **self._chunks.identity, **self._waiting}
        self._waiting, self._swallowed = {}, 0
        out.append(self._chunks.stamped(data, at_ms))
