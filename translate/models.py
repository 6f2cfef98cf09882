"""List models: ``GET /v1/models``."""

from collections.abc import Mapping, Sequence
from typing import Final

from . import documents, errors
from .choices import not_an_object, plain_fields
from .envelope import PROVIDER, extra_fields, raw_json
from .plan import Call, Failure, Note, Plan, ReplyLike
from .replies import value_of
from .types import Document

PATH: Final = "/v1/models"

_ADDRESS: Final = frozenset({"provider", "model", "fallbacks"})
_NO_PARAMETERS: Final = "the server lists all models, and takes no parameters"


def from_flat(flat: Document) -> Document | Failure:
    """The request that a query means; it has no fields of its own."""
    return {"provider": PROVIDER, **flat}


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send: one GET, whatever the request."""
    return Plan("GET", PATH if call.path is None else call.path)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request: a list of models has no parameters."""
    return [Note(name, "dropped", _NO_PARAMETERS) for name in request if name not in _ADDRESS]


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The server's models under their ``vllm/`` names, all their fields kept."""
    notes = [*noted(request, call)]
    read = _rows(reply)
    raw = {"raw_response": raw_json(reply.body)} if call.raw_response and reply.body else {}
    if isinstance(read, Failure):
        return errors.stamp(read, call, "", latency=spent_ms, **raw)
    rows, others = read
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            notes.append(not_an_object(f"data[{number}]"))
    data = [_row(row) for row in rows if isinstance(row, Mapping)]
    about = extra_fields(call, "", spent_ms, notes=notes)
    return {**others, "data": data, "extra_fields": {**about, **raw}}


def _rows(reply: ReplyLike) -> tuple[Sequence[object], dict[str, object]] | Failure:
    """The models, and what is said beside them."""
    value = value_of(reply, "data")
    if isinstance(value, Failure):
        return value
    beside = value if isinstance(value, Mapping) else {"data": value}
    rows = documents.as_array(beside.get("data"))
    return errors.unreadable("data is missing") if rows is None else (rows, plain_fields(beside, ("data",)))


def _row(row: Document) -> dict[str, object]:
    out = plain_fields(row, ())
    name = documents.as_text(out.get("id"))
    if name is not None:
        out["id"] = f"{PROVIDER}/{name}"
    length = documents.as_integer(row.get("max_model_len"))
    if length is not None:
        out.setdefault("context_length", length)
    return out
