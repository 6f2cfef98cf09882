"""Rankings as vLLM writes them, for who only writes them on.

The members of a row are known, so that they are read by type, and a score
stays the bytes in which it came. What is out of the ordinary in any way is for
``rerank`` to read, and to say what is wrong with it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from . import documents
from .types import Document

_NULL: Final = documents.Raw(b"null")
_BEYOND_DOUBT: Final = 2**53  # above, numbers that differ may be one as a float


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    relevance_score: documents.Raw
    document: documents.Raw | UnsetType = UNSET


class _Result(msgspec.Struct, gc=False):
    index: int
    relevance_score: documents.Raw
    document: object


class _Reply(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    results: list[_Row]
    id: str | None = None
    model: str | None = None
    usage: documents.Raw = _NULL


_REPLY: Final = msgspec.json.Decoder(_Reply)
_SCORES: Final = msgspec.json.Decoder(list[float])


class Ranking(NamedTuple):
    """``results`` as they go to the client, and what came ``beside`` them.

    ``was_sorted`` and ``had_documents`` say so of what came; ``was_renamed``
    says that scores had another name.
    """

    results: object
    beside: Document
    was_sorted: bool
    had_documents: bool
    was_renamed: bool = False


def read(body: bytes, count: int, returned: Sequence[object] | None) -> Ranking | None:
    """The ranking of ``count`` documents, those ``returned`` handed back; ``None`` takes a closer look."""
    reply = documents.decode_as(_REPLY, body)
    if reply is None or not reply.results:
        return None
    rows = reply.results
    indexes = [row.index for row in rows]
    if min(indexes) < 0 or max(indexes) >= count or len(set(indexes)) < len(rows):
        return None
    usage = documents.decode(bytes(reply.usage))
    scores = documents.decode_as(_SCORES, b"[%b]" % b",".join([row.relevance_score for row in rows]))
    if isinstance(usage, documents.Malformed) or scores is None:
        return None
    falling = sorted(scores, reverse=True)
    if falling[0] >= _BEYOND_DOUBT or falling[-1] <= -_BEYOND_DOUBT:
        return None
    had_documents = any(row.document is not UNSET and row.document != _NULL for row in rows)
    was_sorted = scores == falling and len(set(scores)) == len(scores)
    if not was_sorted:
        keys = sorted(zip([-score for score in scores], indexes, range(len(rows)), strict=True))
        order = [place for _, _, place in keys]
        was_sorted = order == [*range(len(rows))]
        rows = [rows[place] for place in order]
    beside = {"id": reply.id, "model": reply.model, "usage": usage}
    return Ranking(_results(rows, returned), beside, was_sorted, had_documents)


def _results(rows: list[_Row], returned: Sequence[object] | None) -> Sequence[_Row | _Result]:
    if returned is None:
        for row in rows:
            row.document = UNSET
        return rows
    return [_Result(row.index, row.relevance_score, original(returned, row.index)) for row in rows]


def original(candidates: Sequence[object], index: int) -> object:
    """A document of the request as the answer gives it back."""
    document = candidates[index]
    return {"text": document} if isinstance(document, str) else document
