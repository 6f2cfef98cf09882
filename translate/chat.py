"""Chat completions: ``POST /v1/chat/completions``, streamed and not.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#chat-api
"""

from collections.abc import Mapping
from typing import Final

from . import choices, documents, errors, messages, parameters
from .chat_stream import ChatInterpreter
from .envelope import extra_fields, raw_json
from .flat import request_model, taken_apart
from .fold import Fold, choose
from .plan import Body, Call, Failure, HeadLike, Note, Plan, ReplyLike
from .replies import document_of
from .types import Document

PATH: Final = "/v1/chat/completions"


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that an OpenAI-style body means."""
    return taken_apart(flat, {"messages": "input"})


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    outcome = _body(request, call)
    if isinstance(outcome, Failure):
        return _stamped(outcome, request, call)
    data = documents.encode(outcome[0])
    if isinstance(data, documents.Malformed):
        failure = errors.invalid(f"the request is not JSON: {data.reason}", data.place or None)
        return _stamped(failure, request, call)
    return Plan("POST", PATH if call.path is None else call.path, Body("application/json", data))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The answer in Bifrost's form; ``spent_ms`` is the time of all attempts."""
    outcome = _read(request, reply, spent_ms, call)
    if isinstance(outcome, Failure):
        return _stamped(outcome, request, call, latency=spent_ms, **_raw(request, reply, call))
    return outcome


def fold(request: Document, head: HeadLike, call: Call) -> Fold:
    """The state machine for a streamed answer that began with ``head``."""
    model = request_model(request)
    outcome = _body(request, call)
    body, notes = ({}, []) if isinstance(outcome, Failure) else outcome
    options = documents.as_object(body.get("stream_options")) or {}
    interpreter = ChatInterpreter(
        call,
        model,
        max(documents.as_integer(body.get("n")) or 1, 1),
        bool(options.get("continuous_usage_stats")),
        notes,
        body if call.raw_request else None,
    )
    return choose(head, call, model, interpreter)


def _body(request: Document, call: Call) -> tuple[dict[str, object], list[Note]] | Failure:
    model = request_model(request)
    if not model.strip():
        return errors.invalid("model is required", "model")
    params = request.get("params")
    params = {} if params is None else documents.as_object(params)
    if params is None:
        return errors.invalid("params must be an object", "params")
    notes: list[Note] = []
    history = messages.history(request.get("input"), notes)
    if isinstance(history, Failure):
        return history
    streaming = call.request_type == "chat_completion_stream"
    fields = parameters.chat_fields(params, streaming, call.structured_outputs, notes)
    if isinstance(fields, Failure):
        return fields
    return {"model": model, "messages": history, **fields}, notes


def _read(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    document = document_of(reply, "choices")
    if isinstance(document, Failure):
        return document
    said = [
        entry for entry in documents.as_array(document.get("choices")) or () if isinstance(entry, Mapping)
    ]
    if not said:
        return errors.unreadable("choices is missing or empty")
    outcome = _body(request, call)
    notes = [] if isinstance(outcome, Failure) else outcome[1]
    for index, source in enumerate(said):
        if _message_of(source) is None:
            return errors.unreadable(f"choices[{index}].message is missing")
    answer = _answer(document, request_model(request))
    answer["choices"] = [
        _choice(source, index, document.get("id"), notes) for index, source in enumerate(said)
    ]
    if (usage := choices.usage(document.get("usage"))) is not None:
        answer["usage"] = usage
    fields = extra_fields(call, request_model(request), spent_ms, notes=notes)
    answer["extra_fields"] = {**fields, **_raw(request, reply, call)}
    return answer


def _answer(document: Document, model: str) -> dict[str, object]:
    """The reply's own top level: Bifrost's fields filled in, other nulls left out."""
    answer: dict[str, object] = {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": (),
        "system_fingerprint": "",
    }
    answer |= choices.plain_fields(document, ("choices", "usage"))
    return answer


def _choice(source: Document, position: int, reply_id: object, notes: list[Note]) -> dict[str, object]:
    number = documents.as_integer(source.get("index"))
    index = position if number is None else number
    place = f"choices[{index}]"
    said = _message_of(source) or {}
    message = choices.message(said, choices.id_stem(reply_id, index), f"{place}.message", notes)
    return {
        "index": index,
        "message": message,
        "finish_reason": choices.finish_reason(
            source.get("finish_reason"), "tool_calls" in message, place, notes
        ),
        "logprobs": source.get("logprobs"),
        **choices.plain_fields(source, ("index", "message", "delta", "finish_reason", "logprobs")),
    }


def _message_of(source: Document) -> Document | None:
    """A choice's message; some servers call it ``delta`` here, too."""
    return documents.as_object(source.get("message")) or documents.as_object(source.get("delta"))


def _raw(request: Document, reply: ReplyLike, call: Call) -> dict[str, object]:
    out: dict[str, object] = {}
    if call.raw_request and not isinstance(outcome := _body(request, call), Failure):
        out["raw_request"] = outcome[0]
    if call.raw_response and reply.body:
        out["raw_response"] = raw_json(reply.body)
    return out


def _stamped(failure: Failure, request: Document, call: Call, **more: object) -> Failure:
    return errors.stamp(failure, call, request_model(request), **more)
