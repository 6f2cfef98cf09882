"""What the chunks of one stream share, whatever they are chunks of.

The identity that the server gave once, usage, top-level fields that came on
frames without a chunk of their own, the ledger, raw text and timing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents
from .envelope import extra_fields, raw_text
from .exchange import Built
from .plan import Call, Chunk, Note
from .repetition import Repetition
from .types import Document

FRAME_FIELDS: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
)
"""Top-level fields of a frame that have a place in every chunk."""

_RAW_LIMIT: Final = 1024 * 1024


class Chunks:
    """Makes the chunks of one stream, in order, the final one last.

    ``kind`` is their ``object``. ``continuous`` says that the client asked for
    usage on every chunk.
    """

    __slots__ = (
        "_call", "_continuous", "_count", "_identity", "_kind", "_last_at", "_model", "_notes", "_raw",
        "_raw_request", "_raw_size", "_trailing", "_usage",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        kind: str,
        model: str,
        continuous: bool,
        notes: Sequence[Note],
        raw_request: object = None,
    ) -> None:
        self._call = call
        self._kind = kind
        self._model = model
        self._continuous = continuous
        self._notes = dict.fromkeys(notes)  # in order, each once
        self._raw_request = raw_request
        self._identity: dict[str, object] = {}
        self._trailing: dict[str, object] = {}  # top-level fields of frames that were swallowed
        self._usage: dict[str, object] | None = None
        self._count = 0
        self._last_at = 0
        self._raw: list[str] = []
        self._raw_size = 0

    @property
    def may_repeat(self) -> bool:
        """Whether chunks are wanted encoded, and are alike but for their words."""
        return self._call.verbatim and not self._call.raw_response and not self._continuous

    @property
    def reply_id(self) -> object:
        """The id that the server gave, if it did."""
        return self._identity.get("id")

    @property
    def identity(self) -> Mapping[str, object]:
        """What the server called the stream: its id, its model and the like, as far as it said."""
        return self._identity

    def remember(self, document: Document, payload: bytes) -> bool:
        """What a frame says of the whole stream; ``payload`` is the frame as it came.

        True when it says something new.
        """
        identity = self._identity
        news = False
        for name in ("id", "created", "model", "system_fingerprint"):
            if (value := document.get(name)) and identity.get(name) != value:
                identity[name] = value
                news = True
        if (counts := document.get("usage")) is not None:
            notes: list[Note] = []
            if (usage := choices.usage(counts, notes)) is not None:
                self._usage = usage
            if notes:
                self.note_all(notes)
        if self._call.raw_response and self._raw_size < _RAW_LIMIT:
            self._raw_size += len(payload)
            self._raw.append(raw_text(payload))
        return news

    def repeated(self, repetition: Repetition, words: bytes, at_ms: int) -> Chunk:
        """The chunk of a frame that is like one before it but for its words."""
        chunk = Chunk(repetition.chunk(words, at_ms - self._last_at, self._count))
        self._count += 1
        self._last_at = at_ms
        return chunk

    def trail(self, fields: Mapping[str, object]) -> None:
        """Keep top-level fields for the final chunk."""
        for name, value in fields.items():
            choices.keep(self._trailing, name, value, self.note)

    def note(self, note: Note) -> None:
        """Add to the ledger."""
        self._notes[note] = None

    def note_all(self, notes: Sequence[Note]) -> None:
        """Add to the ledger."""
        self._notes |= dict.fromkeys(notes)

    def chunk(self, entries: Sequence[object], others: Mapping[str, object], at_ms: int) -> Chunk:
        """A chunk of these choices, with these top-level fields beside them."""
        return self.stamped({**self._head(), "choices": entries, **others}, at_ms)

    def final(self, entries: Sequence[object], at_ms: int) -> Chunk:
        """The last chunk, with all that waited for the end."""
        return self.stamped_last({**self._head(), "choices": entries}, at_ms)

    def stamped(self, data: dict[str, object], at_ms: int) -> Chunk:
        """``data`` as a chunk, with what every chunk carries."""
        if self._continuous and self._usage is not None:
            data["usage"] = self._usage
        fields = extra_fields(self._call, self._model, at_ms - self._last_at, self._count)
        if self._raw:
            fields["raw_response"] = self._drain_raw()
        data["extra_fields"] = fields
        self._count += 1
        self._last_at = at_ms
        return Chunk(data)

    def stamped_last(self, data: dict[str, object], at_ms: int) -> Chunk:
        """``data`` as the last chunk, with what waited for the end."""
        if self._usage is not None:
            data["usage"] = self._usage
        data |= self._trailing
        fields = extra_fields(self._call, self._model, at_ms, self._count, self._notes)
        if self._call.raw_request and self._raw_request is not None:
            fields["raw_request"] = self._raw_request
        if self._raw:
            fields["raw_response"] = self._drain_raw()
        data["extra_fields"] = fields
        return Chunk(data, final=True)

    def _head(self) -> dict[str, object]:
        identity = self._identity
        return {
            "id": identity.get("id", ""),
            "object": self._kind,
            "created": identity.get("created", 0),
            "model": identity.get("model", self._model),
            "system_fingerprint": identity.get("system_fingerprint", ""),
        }

    def _drain_raw(self) -> str:
        text = "\n\n".join(self._raw)
        self._raw, self._raw_size = [], 0
        return text


def generated(call: Call, kind: str, model: str, asked: Built) -> Chunks:
    """The chunks of a generation that ``asked`` for them with OpenAI's ``stream_options``."""
    options = documents.as_object(asked.body.get("stream_options")) or {}
    continuous = bool(options.get("continuous_usage_stats"))
    return Chunks(call, kind, model, continuous, asked.notes, asked.body if call.raw_request else None)
