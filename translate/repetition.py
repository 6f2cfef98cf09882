"""A shorter way for the frames that make up most of a stream.

Frame after frame differs in nothing but a few words. Once one has gone the
long way (decoded, interpreted, encoded), the next one of the same bytes
around its words needs neither: its words go into the gaps of the bytes that
were written then. What comes out is equal, byte for byte; anything that is
not such a frame goes the long way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from . import documents
from .choices import reasoning_fields
from .types import Document

GAP: Final = "\x01words\x01"
"""Stands where words will be, in what is encoded once."""

TAIL: Final = b',"latency":0,"chunk_index":0}}'
"""How every chunk ends, but for its numbers."""

_decode_words: Final = msgspec.json.Decoder(str).decode
_encode_words: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Repetition:
    """One kind of frame: its bytes around the words, and those of the chunk that it becomes."""

    start: bytes
    end: bytes
    parts: tuple[bytes, ...]

    def words(self, payload: bytes) -> bytes | None:
        """The words of a frame of this kind, as JSON; ``None`` when it is not one, or says nothing."""
        start, end = self.start, self.end
        if not payload.startswith(start) or not payload.endswith(end):
            return None
        try:
            text = _decode_words(payload[len(start) : len(payload) - len(end)])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return _encode_words(text) if text else None

    def chunk(self, words: bytes, latency: int, index: int) -> documents.Encoded:
        """The chunk with ``words``."""
        data = b'%b,"latency":%d,"chunk_index":%d}}' % (words.join(self.parts), latency, index)
        return documents.Encoded(data, self, words)


def learned(payload: bytes, document: Document, chunk: Document) -> Repetition | None:
    """What there is to learn from a frame and the chunk that it became; ``None`` when it is not plain."""
    entry = _plain_entry(chunk)
    if entry is None or document.get("usage"):  # the last usage counts, whatever came in between
        return None
    delta = documents.as_object(entry["delta"]) or {}
    text = delta.get("content", delta.get("reasoning"))
    if not isinstance(text, str) or not text:
        return None
    if delta == {"content": text}:
        gap: Mapping[str, object] = {"content": GAP}
    elif delta == reasoning_fields(text):
        gap = reasoning_fields(GAP)
    else:
        return None
    token = documents.encode(text)
    if not isinstance(token, bytes):
        return None
    start, found, end = payload.partition(token)
    if not found or not _is_the_place(start, end, document, text):
        return None
    fields = documents.as_object(chunk["extra_fields"]) or {}
    data = documents.encode(
        {
            **chunk,
            "choices": [{**entry, "delta": gap}],
            "extra_fields": {**fields, "latency": 0, "chunk_index": 0},
        }
    )
    if not isinstance(data, bytes) or not data.endswith(TAIL):
        return None
    parts = data.removesuffix(TAIL).split(_encode_words(GAP))
    return Repetition(start, end, tuple(parts)) if len(parts) == len(gap) + 1 else None


def _plain_entry(chunk: Document) -> Document | None:
    """The only choice of a chunk, when there is nothing beside it that may change."""
    entries = documents.as_array(chunk.get("choices")) or ()
    entry = documents.as_object(entries[0]) if len(entries) == 1 else None
    if entry is None or chunk.keys() - _HEAD:
        return None
    return entry if entry.keys() == _ENTRY and entry["finish_reason"] is entry["logprobs"] is None else None


_HEAD: Final = frozenset(
    {"id", "object", "created", "model", "system_fingerprint", "choices", "extra_fields"}
)
_ENTRY: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})


def _is_the_place(start: bytes, end: bytes, document: Document, text: str) -> bool:
    """Whether what stands between ``start`` and ``end`` is the text of the delta."""
    other = documents.decode(start + _encode_words(GAP) + end)
    try:
        delta = other["choices"][0]["delta"]  # type: ignore[index]
        names = [name for name in ("content", "reasoning", "reasoning_content") if delta.get(name) == GAP]
        for name in names:
            delta[name] = text
    except (TypeError, LookupError, AttributeError):
        return False
    return bool(names) and other == document
