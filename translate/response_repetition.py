"""A shorter way for the words of a streamed response.

A chat's chunk that is like the one before it but for its words becomes an
event that is like the one before it but for its words and numbers. What comes
out is equal, byte for byte, to what the long way gives.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from . import documents
from .plan import Chunk
from .repetition import GAP, TAIL
from .types import Document

_decode_words: Final = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class RepeatedDelta:
    """One kind of event: its name, and its bytes around its number, its words, and its time."""

    event: str
    start: bytes
    before: bytes
    after: bytes

    def text(self, words: bytes) -> str:
        """What the words say."""
        return _decode_words(words)

    def chunk(self, words: bytes, number: int, latency: int) -> Chunk:
        """The event with these words, which are JSON."""
        data = b'%b%d%b%b%b,"latency":%d,"chunk_index":%d}}' % (
            self.start, number, self.before, words, self.after, latency, number,
        )  # fmt: skip
        return Chunk(documents.Encoded(data), event=self.event)


def learned(event: str, data: Document) -> RepeatedDelta | None:
    """What there is to learn from an event; ``None`` when it is not one of plain words."""
    fields = documents.as_object(data.get("extra_fields"))
    if not isinstance(data.get("delta"), str) or fields is None or data.get("logprobs"):
        return None
    gaps = {"sequence_number": 0, "delta": GAP, "extra_fields": {**fields, "latency": 0, "chunk_index": 0}}
    encoded, gap = documents.encode({**data, **gaps}), documents.encode(GAP)
    start = b'{"type":"%b","sequence_number":' % event.encode()
    if not isinstance(encoded, bytes) or not isinstance(gap, bytes) or not encoded.endswith(TAIL):
        return None
    parts = encoded.removesuffix(TAIL).removeprefix(start + b"0").split(gap)
    if not encoded.startswith(start + b"0,") or len(parts) != 2:
        return None
    return RepeatedDelta(event, start, parts[0], parts[1])
