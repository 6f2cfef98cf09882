"""What every whole reply must pass before an operation reads it."""

from . import documents, errors
from .plan import Failure, ReplyLike
from .types import Document


def value_of(reply: ReplyLike, expected: str) -> object | Failure:
    """The JSON value that a reply holds, unless it is an error in one of its many forms.

    ``expected`` is the member that a success always has.
    """
    if reply.cut is not None:
        return errors.from_cut(reply.cut)
    if reply.status != 200:
        return errors.from_reply(reply)
    value = documents.decode(reply.body)
    if isinstance(value, documents.Malformed):
        return _not_json(reply, value)
    if not isinstance(value, dict):
        return value
    failure = errors.from_document(value, expected)
    return value if failure is None else failure


def document_of(reply: ReplyLike, expected: str) -> Document | Failure:
    """The same, where only an object will do."""
    value = value_of(reply, expected)
    if isinstance(value, (dict, Failure)):
        return value
    return errors.unreadable(f"expected an object, got {documents.type_name(value)}")


def _not_json(reply: ReplyLike, malformed: documents.Malformed) -> Failure:
    text = reply.body.decode(errors="replace").strip()
    if not text:
        return errors.rejected("empty response received from provider", None, is_bifrost_error=True)
    if errors.is_html(text, reply.headers.get("content-type", "")):
        return errors.rejected("HTML response received from provider", 502, cause=text)
    return errors.unreadable(malformed.reason)
