"""Responses: ``POST /v1/responses`` for clients, chat completions for the server.

A request becomes that of a chat, the chat's own rules and notes apply to it,
and what the chat answers becomes a response.

https://platform.openai.com/docs/api-reference/responses
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import chat, documents, errors, parameters
from .exchange import opened
from .flat import request_model, taken_apart
from .fold import Fold
from .plan import Call, Failure, HeadLike, Note, Plan, ReplyLike
from .response_echo import echo
from .response_input import history
from .response_output import ONE_ANSWER, Output, concluded, identity
from .response_parameters import chat_parameters
from .response_reading import Heard, Unplaced, closing_fields
from .response_stream import ResponseFold
from .types import Document


class _Bridged(NamedTuple):
    """A request as that of a chat, what was done to get there, and what the response repeats of it."""

    request: Document
    notes: list[Note]
    echo: Mapping[str, object]


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that an OpenAI-style body means."""
    return taken_apart(flat, {"input": "input"})


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    bridged = _bridged(request)
    if isinstance(bridged, Failure):
        return errors.stamp(bridged, call, request_model(request))
    outcome = chat.plan(bridged.request, call)
    items = documents.encode({"input": request.get("input")}) if isinstance(outcome, Failure) else b""
    if isinstance(items, documents.Malformed):  # a chat would name the place in its messages
        failure = errors.invalid(f"the request is not JSON: {items.reason}", items.place)
        return errors.stamp(failure, call, request_model(request))
    return outcome


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request, as a response and as a chat."""
    bridged = _bridged(request)
    return () if isinstance(bridged, Failure) else (*bridged.notes, *chat.noted(bridged.request, call))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The response; ``spent_ms`` is the time of all attempts."""
    bridged = _or_nothing(_bridged(request), request)
    answer = chat.parse(bridged.request, reply, spent_ms, call._replace(verbatim=False))
    if isinstance(answer, Failure):
        return answer
    who = identity(answer)
    notes = list(bridged.notes)
    output, unplaced = Output(who.stem, notes.append), Unplaced()
    unplaced.top(answer)
    entry, *others = documents.as_array(answer.get("choices")) or ({},)
    if others:
        notes.append(ONE_ANSWER)
    choice = documents.as_object(entry) or {}
    _say(unplaced.hear(choice, documents.as_object(choice.get("message")) or {}), output, unplaced)
    out = concluded(who, bridged.echo, output, answer, unplaced.tier, choice.get("finish_reason"))
    fields = documents.as_object(answer.get("extra_fields")) or {}
    return {**out, "extra_fields": closing_fields(fields, notes, unplaced)}


def fold(request: Document, head: HeadLike, call: Call) -> Fold:
    """The state machine for a streamed answer that began with ``head``."""
    bridged = _or_nothing(_bridged(request), request)
    of_chat = chat.fold(bridged.request, head, call)
    return ResponseFold(of_chat, call, request_model(request), bridged.echo, bridged.notes)


def _bridged(request: Document) -> _Bridged | Failure:
    notes: list[Note] = []
    head = opened(request, notes)
    if isinstance(head, Failure):
        return head
    model, params = head
    given = parameters.merged(params, notes)
    if isinstance(given, Failure):
        return given
    instructions = given.get("instructions")
    messages = history(request.get("input"), instructions, notes)
    if isinstance(messages, Failure):
        return messages
    fields = chat_parameters(given, notes)
    if isinstance(fields, Failure):
        return fields
    # As extra_params they are taken by their names alone.
    asked = {
        "provider": request.get("provider"),
        "model": model,
        "input": messages,
        "params": {"extra_params": fields},
    }
    return _Bridged(asked, notes, echo(given, instructions))


def _or_nothing(bridged: _Bridged | Failure, request: Document) -> _Bridged:
    """A request that could not be sent still has an answer, if somebody brings one."""
    if isinstance(bridged, Failure):
        return _Bridged({**request, "input": (), "params": {}}, [], echo({}, None))
    return bridged


def _say(heard: Heard, output: Output, unplaced: Unplaced) -> None:
    if heard.thought:
        output.speech("reasoning_text").parts[-1].add(heard.thought)
    if heard.text:
        output.speech("output_text").parts[-1].add(heard.text, heard.tokens.text)
    if heard.refusal:
        output.speech("refusal").parts[-1].add(heard.refusal)
    for source in heard.calls:
        function = documents.as_object(source.get("function")) or {}
        output.call(source).add(documents.as_text(function.get("arguments")) or "")
    unplaced.logprobs([*heard.tokens.late, *heard.tokens.others])
