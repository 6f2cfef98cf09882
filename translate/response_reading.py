"""What a choice of a chat completion says, read alike from whole replies and from chunks.

What has no place in a response is ``Unplaced``: it goes out as
``extra_fields.chat_completion``, each field where the chat completion has it,
such as ``kv_transfer_params`` at the top, ``token_ids`` in the choice, and
``annotations`` in the message.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from . import choices, documents
from .envelope import translation_notes
from .plan import Note
from .response_logprobs import Shares, shares
from .types import Document

_TOP: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "extra_fields"})
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_CHOICE: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE: Final = frozenset(
    {"role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content", "reasoning_details"}
)
_WORDS: Final = frozenset({"refusal", "reasoning", "reasoning_content"})
_CALL: Final = frozenset({"index", "id", "type", "function"})


class Heard(NamedTuple):
    """What is said, in the order in which it is said; empty where nothing is."""

    thought: str
    text: str
    refusal: str
    calls: Sequence[Document]
    tokens: Shares


class Unplaced:
    """Collects from a whole reply, or from the chunks of a stream, which add up to the same.

    ``tier`` is the service tier, which has a place in a response when it is one of OpenAI's.
    """

    __slots__ = ("_calls", "_choice", "_logprobs", "_message", "_top", "tier")

    def __init__(self) -> None:
        self.tier: str | None = None
        self._top: dict[str, object] = {}
        self._choice: dict[str, object] = {}
        self._message: dict[str, object] = {}
        self._logprobs: list[object] = []
        self._calls: dict[object, dict[str, object]] = {}

    def top(self, document: Document) -> None:
        """Of the reply itself."""
        for name, value in document.items():
            if name in _TOP or value in (None, ""):
                continue
            if name == "service_tier" and isinstance(value, str) and value in _TIERS:
                self.tier = value
            else:
                _gather(self._top, name, value)

    def logprobs(self, tokens: Sequence[Document]) -> None:
        """Tokens that are not those of the answer's text."""
        self._logprobs += tokens

    def hear(self, entry: Document, said: Document) -> Heard:
        """What a choice says in its message or delta; the rest is kept."""
        for name, value in entry.items():
            if name not in _CHOICE:
                _gather(self._choice, name, value)
        for name, value in said.items():
            known = name in _MESSAGE and (name not in _WORDS or isinstance(value, str))
            if value is not None and not known:
                _gather(self._message, name, value)
        thought, refusal = _text(said.get("reasoning")), _text(said.get("refusal"))
        details = said.get("reasoning_details")
        if details is not None and details != choices.reasoning_fields(thought)["reasoning_details"]:
            _gather(self._message, "reasoning_details", details)
        text = self._content(said.get("content"))
        calls = [call for call in documents.as_array(said.get("tool_calls")) or () if isinstance(call, dict)]
        for call in calls:
            for name, value in call.items():
                if name not in _CALL:
                    _gather(self._calls.setdefault(call.get("index"), {}), name, value)
        alone = not (thought or refusal or calls)
        return Heard(thought, text, refusal, calls, shares(entry.get("logprobs"), thought, text, alone))

    def _content(self, content: object) -> str:
        if content is None or isinstance(content, str):
            return content or ""
        texts: list[str] = []
        for part in documents.as_array(content) or (content,):
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                texts.append(text)
            else:
                _gather(self._message, "content", [part])
        return "".join(texts)

    def document(self) -> dict[str, object]:
        """All that was kept; empty when everything found a place."""
        message = dict(self._message)
        if self._calls:
            message["tool_calls"] = [{"index": index, **fields} for index, fields in self._calls.items()]
        choice = dict(self._choice)
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        if message:
            choice["message"] = message
        out = dict(self._top)
        if choice:
            out["choices"] = [{"index": 0, **choice}]
        return out


def _gather(kept: dict[str, object], name: str, value: object) -> None:
    """Arrays run on, and empty ones say nothing; of anything else, the latest counts."""
    before = kept.get(name)
    if not isinstance(value, list | tuple):
        kept[name] = value
    elif isinstance(before, list):
        before += value
    elif value:
        kept[name] = [*value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def closing_fields(
    fields: Document, notes: Iterable[Note], unplaced: Unplaced | None = None
) -> dict[str, object]:
    """``extra_fields`` at the end: those of the chat, more for the ledger, and what has no place."""
    raw = {name: fields[name] for name in ("raw_request", "raw_response") if name in fields}
    of_chat = documents.as_array(fields.get("translation_notes")) or ()
    out = {name: value for name, value in fields.items() if name not in raw and name != "translation_notes"}
    if ledger := [*translation_notes(notes), *of_chat]:
        out["translation_notes"] = ledger
    if unplaced is not None and (kept := unplaced.document()):
        out["chat_completion"] = kept
    return out | raw
