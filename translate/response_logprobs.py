"""Log probabilities of tokens: which belong to the text of an answer, and in what form.

A chat completion lists all tokens in one row: thoughts, marks that nobody sees,
texts and calls. A response has a list beside each text. Which tokens make up a
text is found by their bytes, since a token may be part of a letter. vLLM gives
the bytes of a letter to its first token and leaves the others empty.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from . import documents
from .types import Document

_MOST_TRIES: Final = 64


class Shares(NamedTuple):
    """Tokens by what they belong to, in order; ``late`` ones end what was said before."""

    late: Sequence[Document]
    text: Sequence[Document]
    others: Sequence[Document]


NO_SHARES: Final = Shares((), (), ())


def shares(logprobs: object, thought: str, text: str, alone: bool) -> Shares:
    """The tokens of ``logprobs``, parted by what was said with them: first ``thought``, then ``text``.

    When ``text`` is not found among them, all are its own if it is ``alone``, else none.
    """
    if logprobs is None:
        return NO_SHARES
    tokens = [
        token
        for token in documents.as_array((documents.as_object(logprobs) or {}).get("content")) or ()
        if isinstance(token, Mapping)
    ]
    if not tokens:
        return NO_SHARES
    spelled = [_bytes(token) for token in tokens]
    begin = next((place for place, part in enumerate(spelled) if part), len(tokens))
    if not all(_is_sound(token) for token in tokens[:begin]):
        return Shares((), (), tokens)
    late, tokens, spelled = tokens[:begin], tokens[begin:], spelled[begin:]
    if not text or not all(_is_sound(token) for token in tokens):
        return Shares(late, (), tokens)
    first, last = _place(spelled, thought.encode(errors="surrogatepass"), text.encode(errors="surrogatepass"))
    if first < 0:
        return Shares(late, tokens, ()) if alone else Shares(late, (), tokens)
    return Shares(late, tokens[first:last], [*tokens[:first], *tokens[last:]])


def _place(spelled: Sequence[bytes], thought: bytes, text: bytes) -> tuple[int, int]:
    """From which token to which the text goes; -1 when it is not there."""
    whole = b"".join(spelled)
    offsets = [0, *accumulate(map(len, spelled))]
    starts = set(offsets)
    before = _find(whole, thought, 0, starts) if thought else -1
    start = _find(whole, text, 0 if before < 0 else before + len(thought), starts)
    if start < 0:
        return -1, -1
    first = bisect_right(offsets, start) - 1
    # The last token that begins inside the text, and empty ones that end its last letter.
    last = bisect_left(offsets, start + len(text), first + 1)
    while last < len(spelled) and not spelled[last]:
        last += 1
    return first, last


def _find(whole: bytes, wanted: bytes, begin: int, starts: set[int]) -> int:
    """Where a token begins and ``wanted`` stands; -1 when that is nowhere, or hard to find."""
    for _ in range(_MOST_TRIES):
        begin = whole.find(wanted, begin)
        if begin < 0 or begin in starts:
            return begin
        begin += 1
    return -1


def in_text(token: Document) -> dict[str, object]:
    """A token in the form that it has beside a whole text."""
    return {
        "token": token["token"],
        "bytes": list(_bytes(token)),
        "logprob": token["logprob"],
        "top_logprobs": [
            {"token": other["token"], "bytes": list(_bytes(other)), "logprob": other["logprob"]}
            for other in _alternatives(token)
        ],
    }


def in_event(token: Document) -> dict[str, object]:
    """A token in the form that it has in an event, which is without bytes."""
    return {
        "token": token["token"],
        "logprob": token["logprob"],
        "top_logprobs": [
            {"token": other["token"], "logprob": other["logprob"]} for other in _alternatives(token)
        ],
    }


def _alternatives(token: Document) -> Sequence[Document]:
    others = documents.as_array(token.get("top_logprobs")) or ()
    return [other for other in others if isinstance(other, Mapping) and _is_sound(other)]


def _is_sound(token: Document) -> bool:
    logprob = token.get("logprob")
    return (
        isinstance(token.get("token"), str)
        and isinstance(logprob, int | float)
        and not isinstance(logprob, bool)
        and not documents.is_non_finite(logprob)
    )


def _bytes(token: Document) -> bytes:
    listed = documents.as_array(token.get("bytes"))
    if listed is not None and all(type(byte) is int and 0 <= byte < 256 for byte in listed):
        return bytes(byte for byte in listed if isinstance(byte, int))
    text = token.get("token")
    return text.encode(errors="surrogatepass") if isinstance(text, str) else b""
