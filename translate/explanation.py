"""What would be sent, and why, without sending it."""

import shlex
from typing import Final, Literal

from . import documents
from .conversation import Operation
from .envelope import raw_text, translation_notes
from .plan import Call, Failure
from .types import Document

Style = Literal["text", "json", "curl"]

EXAMPLE_URL: Final = "http://localhost:8000"


def explained(operation: Operation, request: Document, call: Call) -> Document | Failure:
    """The plan of a request and the ledger of its making, as a document.

    ``body`` is the text that would be sent, null when there is none. There is
    no host and no key in it.
    """
    plan = operation.plan(request, call)
    if isinstance(plan, Failure):
        return plan
    return {
        "method": plan.method,
        "path": plan.path,
        "content_type": None if plan.body is None else plan.body.content_type,
        "body": None if plan.body is None else raw_text(b"".join((plan.body.data, *plan.body.rest))),
        "translation_notes": translation_notes(operation.noted(request, call)),
    }


def written(explained: Document, style: Style) -> str:
    """What was explained: for people, as JSON, or as the command that would send it."""
    if style == "json":
        data = documents.encode(explained)
        return f"{raw_text(data)}\n" if isinstance(data, bytes) else ""
    return _curl(explained) if style == "curl" else _text(explained)


def _text(explained: Document) -> str:
    lines = [f"{explained['method']} {explained['path']}"]
    if explained["body"] is not None:
        lines += [f"content-type: {explained['content_type']}", "", str(explained["body"])]
    if notes := documents.as_array(explained["translation_notes"]):
        lines.append("")
        for note in map(documents.as_object, notes):
            if note is not None:
                lines.append(f"{note['param']} {note['action']}: {note['detail']}")
    # A name in a request may hold half a character, which is no text elsewhere.
    return "\n".join(lines).encode(errors="backslashreplace").decode() + "\n"


def _curl(explained: Document) -> str:
    words = ["curl", "-X", str(explained["method"]), f"{EXAMPLE_URL}{explained['path']}"]
    if explained["body"] is not None:
        words += ["-H", f"content-type: {explained['content_type']}", "--data-binary", str(explained["body"])]
    return shlex.join(words) + "\n"
