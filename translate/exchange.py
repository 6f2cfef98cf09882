"""What operations on JSON have in common: a body goes out, an object comes back.

What an operation makes of a request is ``Built``, its own rules apart from
these.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from . import documents, errors
from .envelope import extra_fields, raw_json
from .flat import request_model
from .plan import Body, Call, Failure, Note, Plan, ReplyLike
from .types import Document

_INPUT: Final = frozenset({"input"})
_MEMBERS: Final = frozenset({"provider", "model", "params", "fallbacks"})
_WITH_INPUT: Final = _MEMBERS | _INPUT

_tuple: Final = tuple.__new__  # takes half the time of a named tuple's own, which is Python


class Built(msgspec.Struct, frozen=True, gc=False):
    """The body of a request, what was done to get there, and the path to which it goes."""

    path: str
    body: Mapping[str, object]
    notes: list[Note]


def opened(
    request: Document, notes: list[Note], inputs: frozenset[str] = _INPUT
) -> tuple[str, Document] | Failure:
    """The model and the parameters of a request that has these ``inputs``."""
    known = _WITH_INPUT if inputs is _INPUT else _MEMBERS | inputs
    if not known.issuperset(request):
        notes.extend(
            Note(name, "dropped", "a request has no such member: parameters belong into params")
            for name in request
            if name not in known
        )
    model = request_model(request)
    if not model.strip():
        return no_model()
    params = request.get("params")
    if type(params) is not dict:
        params = {} if params is None else documents.as_object(params)
    if params is None:
        return errors.invalid("params must be an object", "params")
    return model, params


def no_model() -> Failure:
    """A request that names no model."""
    return errors.invalid("model is required", "model")


def planned(built: Built | Failure, model: str, call: Call) -> Plan | Failure:
    """The plan that posts ``built``, which asks for ``model``."""
    if isinstance(built, Failure):
        return errors.stamp(built, call, model)
    data = documents.encode(built.body)
    if isinstance(data, documents.Malformed):
        failure = errors.invalid(f"the request is not JSON: {data.reason}", data.place or None)
        return errors.stamp(failure, call, model)
    body = _tuple(Body, ("application/json", data, ()))
    return _tuple(Plan, ("POST", built.path if call.path is None else call.path, body))


def sent(built: Built | Failure) -> Built:
    """What was built; nothing, where it could not be: an answer that somebody brings is read all the same."""
    return Built("", {}, []) if isinstance(built, Failure) else built


def ledger(built: Built | Failure) -> list[Note]:
    """The notes on a request, to be continued with those on its reply."""
    return [] if isinstance(built, Failure) else built.notes.copy()


def answered(
    outcome: dict[str, object] | Failure,
    built: Built | Failure,
    notes: list[Note],
    model: str,
    reply: ReplyLike,
    spent_ms: int,
    call: Call,
) -> Document | Failure:
    """``outcome`` with the ``extra_fields`` that every answer has; the request asked for ``model``."""
    raw: dict[str, object] = {}
    if call.raw_request and not isinstance(built, Failure):
        raw["raw_request"] = built.body
    if call.raw_response and reply.body:
        raw["raw_response"] = raw_json(reply.body)
    if isinstance(outcome, Failure):
        return errors.stamp(outcome, call, model, latency=spent_ms, **raw)
    if "extra_fields" in outcome:
        notes.append(Note("extra_fields", "dropped", "the answer has its own"))
    fields = extra_fields(call, model, spent_ms, notes=notes)
    fields.update(raw)
    outcome["extra_fields"] = fields
    return outcome
