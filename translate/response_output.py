"""What a response says: its output items, and the object around them.

Items stand in the order in which they were begun, and the place of an item is
its ``output_index``. Ids are made of the chat completion's id and that place,
so that equal replies give equal responses.

https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from . import choices, documents
from .plan import Note
from .response_logprobs import in_text
from .types import Document

PartKind = Literal["reasoning_text", "output_text", "refusal"]
Status = Literal["in_progress", "completed", "incomplete"]

ONE_ANSWER: Final = Note("choices", "dropped", "a response is one answer")

_LONGEST_STEM: Final = 64
_LARGEST: Final = 2**53  # what a float holds exactly


class Ending(NamedTuple):
    """How a response ends, and why it is not complete."""

    status: Literal["completed", "incomplete", "failed"]
    reason: str | None = None


_ENDINGS: Final[Mapping[object, Ending]] = {
    "length": Ending("incomplete", "max_output_tokens"),
    "content_filter": Ending("incomplete", "content_filter"),
    "guardrail_intervened": Ending("incomplete", "content_filter"),
    "abort": Ending("failed"),
    "error": Ending("failed"),
}
"""By the finish reason of the chat; any other is a completion."""


def ending(finish_reason: object) -> Ending:
    """What a finish reason means for a response."""
    return _ENDINGS.get(finish_reason if isinstance(finish_reason, str) else None, Ending("completed"))


class Part:
    """One part of an item's content; ``tokens`` are those of its text."""

    __slots__ = ("_texts", "kind", "place", "tokens")

    def __init__(self, kind: PartKind, place: int) -> None:
        self.kind: PartKind = kind
        self.place = place
        self.tokens: list[Document] = []
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def add(self, text: str, tokens: Sequence[Document] = ()) -> None:
        self._texts.append(text)
        self.tokens += tokens

    def document(self) -> dict[str, object]:
        """The part as it stands in an item."""
        if self.kind == "refusal":
            return {"type": self.kind, "refusal": self.text}
        if self.kind == "reasoning_text":
            return {"type": self.kind, "text": self.text}
        logprobs = [in_text(token) for token in self.tokens]
        return {"type": self.kind, "text": self.text, "annotations": [], "logprobs": logprobs}


class Speech:
    """A message, or thoughts."""

    __slots__ = ("id", "kind", "parts", "place")

    def __init__(self, kind: Literal["reasoning", "message"], stem: str, place: int) -> None:
        self.kind = kind
        self.place = place
        self.id = f"{'rs' if kind == 'reasoning' else 'msg'}_{stem}_{place}"
        self.parts: list[Part] = []

    def document(self, status: Status) -> dict[str, object]:
        """The item with what it has so far."""
        return self._document(status, [part.document() for part in self.parts])

    def empty(self) -> dict[str, object]:
        """The item as it is announced."""
        return self._document("in_progress", [])

    def _document(self, status: Status, content: Sequence[object]) -> dict[str, object]:
        head = {"id": self.id, "type": self.kind, "status": status}
        if self.kind == "reasoning":
            return {**head, "summary": [], "content": content}
        return {**head, "role": "assistant", "content": content}


class FunctionCall:
    """A call of a function."""

    __slots__ = ("_arguments", "call_id", "id", "name", "place")

    def __init__(self, stem: str, place: int, call_id: str, name: str) -> None:
        self.place = place
        self.id = f"fc_{stem}_{place}"
        self.call_id = call_id
        self.name = name
        self._arguments: list[str] = []

    @property
    def arguments(self) -> str:
        if len(self._arguments) > 1:
            self._arguments = ["".join(self._arguments)]
        return self._arguments[0] if self._arguments else ""

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a JSON object, to which nothing can be added."""
        return isinstance(documents.decode(self.arguments.encode(errors="surrogatepass")), Mapping)

    def add(self, arguments: str) -> None:
        if arguments:
            self._arguments.append(arguments)

    def document(self, status: Status) -> dict[str, object]:
        """The item with what it has so far."""
        return self._document(status, self.arguments)

    def empty(self) -> dict[str, object]:
        """The item as it is announced."""
        return self._document("in_progress", "")

    def _document(self, status: Status, arguments: str) -> dict[str, object]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": arguments,
        }


Item = Speech | FunctionCall


class Output:
    """The items of one response, as they come."""

    __slots__ = ("_call_ids", "_note", "_stem", "items")

    def __init__(self, stem: str, note: Callable[[Note], None]) -> None:
        self.items: list[Item] = []
        self._stem = stem
        self._note = note
        self._call_ids: set[str] = set()

    def speech(self, kind: PartKind) -> Speech:
        """The item that takes words of this kind now; its last part is where they go."""
        wanted: Literal["reasoning", "message"] = "reasoning" if kind == "reasoning_text" else "message"
        last = self.items[-1] if self.items else None
        if not isinstance(last, Speech) or last.kind != wanted:
            last = Speech(wanted, self._stem, len(self.items))
            self.items.append(last)
        if not last.parts or last.parts[-1].kind != kind:
            last.parts.append(Part(kind, len(last.parts)))
        return last

    def end_letter(self, tokens: Sequence[Document]) -> bool:
        """Take tokens that end a letter of the text said last; false when no text was."""
        last = self.items[-1] if self.items else None
        if not isinstance(last, Speech) or last.parts[-1].kind != "output_text":
            return False
        last.parts[-1].add("", tokens)
        return True

    def call(self, source: Document) -> FunctionCall:
        """A new call without arguments yet; ``source`` is one of a chat completion.

        No two calls have the same id, since clients answer them by it.
        """
        place = len(self.items)
        function = documents.as_object(source.get("function")) or {}
        name, call_id = documents.as_text(function.get("name")), documents.as_text(source.get("id"))
        if not call_id or call_id in self._call_ids:
            call_id = choices.call_id(self._stem, place)
            self._note(Note(f"output[{place}].call_id", "repaired", "the server's was not unique"))
        self._call_ids.add(call_id)
        call = FunctionCall(self._stem, place, call_id, name or "")
        self.items.append(call)
        return call

    def completed(self, call: FunctionCall) -> bool:
        """Whether a call that is complete had no arguments; then it is given some that are JSON."""
        if call.arguments:
            return False
        call.add("{}")
        self._note(Note(f"output[{call.place}].arguments", "defaulted", "the server sent none"))
        return True

    def finished(self) -> Sequence[Item]:
        """All items at the end: at least an empty message."""
        if not self.items:
            self.speech("output_text")
        return self.items

    def documents(self, unfinished: int) -> list[dict[str, object]]:
        """All items; from the place ``unfinished`` on they are incomplete."""
        return [
            item.document("completed" if item.place < unfinished else "incomplete") for item in self.items
        ]


class Identity(NamedTuple):
    """What stays the same from the first event of a response to its last."""

    stem: str
    created_at: int
    model: str


def identity(document: Document) -> Identity:
    """The identity of the response that a chat completion, or a chunk of one, becomes."""
    stem = documents.as_text(document.get("id")) or ""
    created = documents.as_integer(document.get("created")) or 0
    return Identity(
        stem.removeprefix("chatcmpl-")[:_LONGEST_STEM] or "0",
        created if abs(created) < _LARGEST else 0,
        documents.as_text(document.get("model")) or "",
    )


def response(
    identity: Identity,
    echo: Mapping[str, object],
    status: str,
    output: Sequence[object] = (),
    incomplete: str | None = None,
    error: Document | None = None,
) -> dict[str, object]:
    """A response; ``echo`` is what it repeats of its request."""
    return {
        "id": f"resp_{identity.stem}",
        "object": "response",
        "created_at": identity.created_at,
        "status": status,
        "error": error,
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "model": identity.model,
        "output": [*output],
        "service_tier": None,
        **echo,
        "usage": None,
    }


def concluded(
    identity: Identity,
    echo: Mapping[str, object],
    output: Output,
    chat: Document,
    tier: str | None,
    finish_reason: object,
) -> dict[str, object]:
    """The response at its end; ``chat`` is the chat completion, or its last chunk."""
    end = ending(finish_reason)
    items = output.finished()
    unfinished = len(items) if end.status == "completed" else len(items) - 1
    for item in items[:unfinished]:
        if isinstance(item, FunctionCall):
            output.completed(item)
    error = None
    if end.status == "failed":
        error = {"code": "server_error", "message": f"the server ended the answer: {finish_reason}"}
    out = response(identity, echo, end.status, output.documents(unfinished), end.reason, error)
    out |= {"service_tier": tier, "usage": usage(chat.get("usage"))}
    if isinstance(finish_reason, str):
        out["stop_reason"] = finish_reason
    return out


def usage(value: object) -> dict[str, object] | None:
    """Token counts, ``None`` when the server sent none; details that it left out are 0."""
    source = documents.as_object(value)
    if source is None:
        return None
    given = documents.as_integer(source.get("prompt_tokens")) or 0
    total = documents.as_integer(source.get("total_tokens"))
    made = documents.as_integer(source.get("completion_tokens"))
    if made is None:
        made = max((total or 0) - given, 0)
    read = documents.as_object(source.get("prompt_tokens_details")) or {}
    written = documents.as_object(source.get("completion_tokens_details")) or {}
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    details = ("prompt_tokens_details", "completion_tokens_details")
    return {
        "input_tokens": given,
        "input_tokens_details": {
            **read,
            "cached_tokens": documents.as_integer(read.get("cached_tokens")) or 0,
            "cache_write_tokens": documents.as_integer(read.get("cache_write_tokens")) or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {
            **written,
            "reasoning_tokens": documents.as_integer(written.get("reasoning_tokens")) or 0,
        },
        "total_tokens": given + made if total is None else total,
        **choices.plain_fields(source, (*counts, *details)),
    }
