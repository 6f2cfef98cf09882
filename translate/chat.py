"""Chat completions: ``POST /v1/chat/completions``, streamed and not.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#chat-api
"""

from collections.abc import Sequence
from typing import Final

from . import chat_reply, choices, documents, errors, messages, parameters
from .chat_stream import ChatInterpreter
from .chunks import generated
from .conversation import OfFlat, Once
from .envelope import Stamp, encoded_fields
from .exchange import Built, answered, ledger, no_model, opened, sent
from .flat import parameters_of, request_model, taken_apart
from .fold import Fold, choose
from .plan import Call, Failure, HeadLike, Note, Plan, ReplyLike
from .replies import document_of
from .types import Document

PATH: Final = "/v1/chat/completions"
_CHOICE: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
STREAMS: Final = frozenset({"chat_completion_stream", "responses_stream"})
"""The operations for which the server is asked to stream."""


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that an OpenAI-style body means."""
    return taken_apart(flat, {"messages": "input"})


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    return ONCE.plan(_built(request, call), request, call)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request."""
    return ledger(_built(request, call))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The answer in Bifrost's form; ``spent_ms`` is the time of all attempts."""
    return _parsed(_built(request, call), request, reply, spent_ms, call)


def _parsed(
    built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call
) -> Document | Failure:
    return _answer(built, request_model(request), reply, spent_ms, call)


def _answer(
    built: Built | Failure,
    model: str,
    reply: ReplyLike,
    spent_ms: int,
    call: Call,
    stamp: Stamp | None = None,
) -> Document | Failure:
    if reply.status == 200 and reply.cut is None:
        made = () if isinstance(built, Failure) else built.notes
        fields = None
        if stamp is not None:
            fields = stamp.fields(spent_ms, made)
        elif call.verbatim and not (call.raw_request or call.raw_response):
            fields = encoded_fields(call, model, spent_ms, made)
        answer = None if fields is None else chat_reply.answer(reply.body, fields)
        if answer is not None:
            return answer
    notes = ledger(built)
    return answered(_read(model, reply, notes), built, notes, model, reply, spent_ms, call)


def fold(request: Document, head: HeadLike, call: Call) -> Fold:
    """The state machine for a streamed answer that began with ``head``."""
    return _fold(_built(request, call), request_model(request), head, call)


def _fold(built: Built | Failure, model: str, head: HeadLike, call: Call) -> Fold:
    asked = sent(built)
    chunks = generated(call, "chat.completion.chunk", model, asked)
    interpreter = ChatInterpreter(chunks, max(documents.as_integer(asked.body.get("n")) or 1, 1))
    return choose(head, call, model, interpreter)


def _built(request: Document, call: Call) -> Built | Failure:
    notes: list[Note] = []
    head = opened(request, notes)
    if isinstance(head, Failure):
        return head
    model, params = head
    return _built_from(model, request.get("input"), params, call, notes)


def _built_from(model: str, said: object, params: Document, call: Call, notes: list[Note]) -> Built | Failure:
    history = messages.history(said, notes)
    if isinstance(history, Failure):
        return history
    streaming = call.request_type in STREAMS
    fields = parameters.chat_fields(params, streaming, call, notes)
    if isinstance(fields, Failure):
        return fields
    return Built(PATH, {"model": model, "messages": history, **fields}, notes)


def _built_of_flat(flat: Document, model: str, call: Call) -> Built | Failure:
    """The same of what a client wrote, without taking it apart."""
    notes: list[Note] = []
    if not model.strip():
        return no_model()
    if not parameters.go_as_they_are(flat, parameters.RULED_IN_FLAT):
        params = parameters_of(flat)
        return _built_from(model, params.pop("messages", None), params, call, notes)
    history = messages.history(flat.get("messages"), notes)
    if isinstance(history, Failure):
        return history
    body: dict[str, object] = {"model": model, "messages": history, **flat}
    body["model"] = model
    body["messages"] = history
    body.pop("stream", None)
    if call.request_type in STREAMS:
        parameters.ask_for_stream(body, {})
    return Built(PATH, body, notes)


ONCE: Final = Once(_built, _parsed)
OF_FLAT: Final = OfFlat(_built_of_flat, _answer, _fold)


def _read(model: str, reply: ReplyLike, notes: list[Note]) -> dict[str, object] | Failure:
    document = document_of(reply, "choices")
    if isinstance(document, Failure):
        return document
    said = choices.listed(document, notes)
    if isinstance(said, Failure):
        return said
    out: list[dict[str, object]] = []
    for position, source in enumerate(said):
        message = _message_of(source)
        if message is None:
            return errors.unreadable(f"choices[{position}].message is missing")
        out.append(_choice(source, message, position, document.get("id"), notes))
    answer = choices.answer(document, "chat.completion", model, notes)
    answer["choices"] = out
    return answer


def _choice(
    source: Document, said: Document, position: int, reply_id: object, notes: list[Note]
) -> dict[str, object]:
    index = choices.numbered(source, position, notes)
    place = f"choices[{index}]"
    message = choices.message(said, choices.id_stem(reply_id, index), f"{place}.message", notes)
    return {
        "index": index,
        "message": message,
        "finish_reason": choices.finish_reason(
            source.get("finish_reason"), "tool_calls" in message, place, notes
        ),
        "logprobs": source.get("logprobs"),
        **choices.plain_fields(source, _CHOICE),
    }


def _message_of(source: Document) -> Document | None:
    """A choice's message; some servers call it ``delta`` here, too."""
    return documents.as_object(source.get("message")) or documents.as_object(source.get("delta"))
