"""Vectors as vLLM writes them, for who only writes them on.

The members of a row are known, so that they are read by type, and a vector
stays the bytes in which it came: it is checked to be JSON, and not copied.
What is out of the ordinary in any way is for ``embeddings`` to read.
"""

from typing import Final, Literal

import msgspec

from . import documents
from .types import Document

_MOST_DIGITS: Final = 18


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: documents.Raw
    object: Literal["embedding"]
    embedding: documents.Raw


_Beside = dict[str, documents.Raw] | str | int | bool | None
_REPLY: Final = msgspec.json.Decoder(dict[str, list[_Row] | _Beside])


def read(body: bytes, in_base64: bool) -> Document | None:
    """A reply with its rows in the order of their numbers; ``None`` takes a closer look.

    Vectors are arrays, or texts when they are ``in_base64``.
    """
    members = documents.decode_as(_REPLY, body)
    if members is None:
        return None
    rows = members.pop("data", None)
    if not isinstance(rows, list) or any(isinstance(member, list) for member in members.values()):
        return None
    if not all(map(_is_text if in_base64 else _is_array, rows)):
        return None
    numbers = [bytes(row.index) for row in rows]
    if not all(map(bytes.isdigit, numbers)) or max(map(len, numbers), default=0) > _MOST_DIGITS:
        return None
    order = sorted(range(len(rows)), key=[*map(int, numbers)].__getitem__)
    beside = documents.decoded(members)
    return None if beside is None else {**beside, "data": [rows[place] for place in order]}


def _is_array(row: _Row) -> bool:
    return memoryview(row.embedding)[0] == ord("[")


def _is_text(row: _Row) -> bool:
    """Whether it is text in its only spelling."""
    return memoryview(row.embedding)[0] == ord('"') and b"\\" not in bytes(row.embedding)
