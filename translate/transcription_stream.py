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
from .envelope import extra_fields, raw_text
from .plan import Call, Chunk, Note
from .tool_calls import keep
from .types import Document

DELTA: Final = "transcript.text.delta"
DONE: Final = "transcript.text.done"

_MOST_SWALLOWED: Final = 256  # frames without text, in a row
_RAW_LIMIT: Final = 1024 * 1024
_IDENTITY: Final = ("id", "created", "model")
_FRAME_FIELDS: Final = frozenset({*_IDENTITY, "object", "choices", "usage"})
_EVENT_FIELDS: Final = frozenset({*_IDENTITY, "type", "delta", "text", "usage", "extra_fields"})


class TranscriptInterpreter:
    """The frames of one streamed transcription, in order."""

    expected = "choices"

    __slots__ = (
        "_call", "_chunks", "_continuous", "_identity", "_last_at", "_model", "_notes", "_raw", "_raw_size",
        "_said", "_swallowed", "_usage", "_waiting", "_whole_text", "finished", "started",
    )  # fmt: skip

    def __init__(self, call: Call, model: str, continuous_usage: bool, notes: Sequence[Note]) -> None:
        self.started = False
        self.finished = False  # the server has said its last word
        self._call = call
        self._model = model
        self._continuous = continuous_usage
        self._notes = dict.fromkeys(notes)  # in order, each once
        self._identity: dict[str, object] = {}
        self._said: bytearray | None = bytearray()  # all text so far; None once it is too much
        self._whole_text: str | None = None  # the same, when the server itself has told it
        self._usage: dict[str, object] | None = None
        self._waiting: dict[str, object] = {}  # fields of frames without text
        self._swallowed = 0
        self._chunks = 0
        self._last_at = 0
        self._raw: list[str] = []
        self._raw_size = 0

    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]:
        out: list[Chunk] = []
        tells_usage = self._remember(document, payload)
        kind = document.get("type")
        listed = document.get("choices")
        if listed is None and isinstance(kind, str) and kind.startswith("transcript."):
            self.started = True
            self._take_event(kind, document, at_ms, out)
            return out
        self.started |= listed is not None
        self._identify(document)
        entries = [entry for entry in documents.as_array(listed) or () if isinstance(entry, Mapping)]
        fields = choices.plain_fields(document, _FRAME_FIELDS)
        for entry in entries:
            self._take_choice(entry, fields, at_ms, out)
            fields = {}
        self._wait(fields, at_ms, out)
        self.finished |= tells_usage and not entries
        return out

    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]:
        self._notes |= dict.fromkeys(notes)
        text = self._whole_text
        if text is None and self._said is None:
            self._note(Note("text", "dropped", f"more than {sse.LIMIT} bytes: the deltas have it"))
        if text is None:
            text = (self._said or b"").decode(errors="surrogatepass")
        data: dict[str, object] = {"type": DONE, "text": text}
        if self._usage is not None:
            data["usage"] = self._usage
        data |= self._identity | self._waiting
        fields = extra_fields(self._call, self._model, at_ms, self._chunks, self._notes)
        if self._raw:
            fields["raw_response"] = self._drain_raw()
        data["extra_fields"] = fields
        return (Chunk(data, final=True),)

    def _remember(self, document: Document, payload: bytes) -> bool:
        """Keep what later events will tell; whether there was usage."""
        if self._call.raw_response and self._raw_size < _RAW_LIMIT:
            self._raw_size += len(payload)
            self._raw.append(raw_text(payload))
        usage = choices.usage(document.get("usage"))
        if usage is not None:
            self._usage = usage
        return usage is not None

    def _identify(self, document: Document) -> None:
        for name in _IDENTITY:
            if value := document.get(name):
                self._identity[name] = value

    def _note(self, note: Note) -> None:
        self._notes[note] = None

    def _take_event(self, kind: str, document: Document, at_ms: int, out: list[Chunk]) -> None:
        """A frame that is one of OpenAI's events."""
        if kind not in {DELTA, DONE}:
            out.append(self._event(choices.plain_fields(document, ("extra_fields",)), at_ms))
            return
        self._identify(document)
        handled = {*_IDENTITY, "type", "usage"}
        if kind == DELTA:
            fields = choices.plain_fields(document, {*handled, "delta"})
            self._hear(document.get("delta"), fields, at_ms, out)
            return
        if isinstance(text := document.get("text"), str):
            if self._whole_text not in {None, text}:
                self._note(Note("text", "dropped", "the server told the whole text twice"))
            self._whole_text = text
        self._wait(choices.plain_fields(document, {*handled, "text"}), at_ms, out)
        self.finished = True

    def _take_choice(self, entry: Document, fields: dict[str, object], at_ms: int, out: list[Chunk]) -> None:
        """A frame as vLLM sends it, where there is one choice."""
        delta = documents.as_object(entry.get("delta")) or {}
        for source, handled in ((entry, "delta"), (delta, "content")):
            for name, value in choices.plain_fields(source, (handled,)).items():
                if name in fields:
                    self._note(Note(name, "dropped", "a frame said it twice"))
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
                self._note(Note(name, "dropped", "an event has something else by that name"))
            else:
                keep(self._waiting, name, choices.joined(self._waiting.get(name), value), self._note)

    def _flush(self, at_ms: int, out: list[Chunk], text: str = "") -> None:
        """An event with ``text`` and all that waits."""
        data: dict[str, object] = {"type": DELTA, "delta": text, **self._identity, **self._waiting}
        if self._continuous and self._usage is not None:
            data["usage"] = self._usage
        self._waiting, self._swallowed = {}, 0
        out.append(self._event(data, at_ms))

    def _event(self, data: dict[str, object], at_ms: int) -> Chunk:
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
