"""List models: ``GET /v1/models``."""

from collections.abc import Mapping
from typing import Final

from . import documents, errors
from .choices import plain_fields
from .envelope import PROVIDER, extra_fields, raw_json
from .plan import Call, Failure, Plan, ReplyLike
from .replies import value_of
from .types import Document

PATH: Final = "/v1/models"


def from_flat(flat: Document) -> Document | Failure:
    """The request that a query means; it has no fields of its own yet."""
    return {"provider": PROVIDER, **flat}


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send: one GET, whatever the request."""
    return Plan("GET", PATH if call.path is None else call.path)


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The server's models under their ``vllm/`` names, all their fields kept."""
    outcome = _read(reply, spent_ms, call)
    return errors.stamp(outcome, call, "", latency=spent_ms) if isinstance(outcome, Failure) else outcome


def _read(reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    value = value_of(reply, "data")
    if isinstance(value, Failure):
        return value
    rows = documents.as_array(value.get("data") if isinstance(value, Mapping) else value)
    if rows is None:
        return errors.unreadable("data is missing")
    fields = extra_fields(call, "", spent_ms)
    if call.raw_response:
        fields["raw_response"] = raw_json(reply.body)
    return {"data": [_row(row) for row in rows if isinstance(row, Mapping)], "extra_fields": fields}


def _row(row: Document) -> dict[str, object]:
    out = plain_fields(row, ())
    name = documents.as_text(out.get("id"))
    if name is not None:
        out["id"] = f"{PROVIDER}/{name}"
    length = documents.as_integer(row.get("max_model_len"))
    if length is not None:
        out.setdefault("context_length", length)
    return out
