"""A recorded exchange, run through the translators as they are today."""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from .layers import forms, translate, transports

_BY_PATH: Final[Mapping[str, translate.RequestType]] = {
    "/v1/chat/completions": "chat_completion",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
    "/rerank": "rerank",
    "/v1/models": "list_models",
    "/v1/audio/transcriptions": "transcription",
}
_FORM: Final = re.compile(rb"--([!-~]{1,200})\r\n")


class Translated(NamedTuple):
    """What the translators make of a recording: what they would send, and what clients get.

    ``body`` is empty where they would refuse to send anything; ``result`` then
    is that refusal.
    """

    method: str
    path: str
    body: bytes
    result: object


def request_type(recording: transports.Recording) -> translate.RequestType | None:
    """The operation that a recording is about: its folder says it, else its path."""
    folder = recording.name.partition("/")[0]
    for known in translate.OPERATIONS:
        if folder == known:
            return known
    plain = _BY_PATH.get(recording.path)
    streamed = f"{plain}_stream"
    streaming = _asked(recording).get("stream")
    if streaming is True or streaming == "true":  # as JSON, as a form
        for known in translate.OPERATIONS:
            if known == streamed:
                return known
    return plain


def translated(recording: transports.Recording, kind: translate.RequestType) -> Translated:
    """``recording`` with its request as a client would send it, and its answer as it came."""
    operation, call = translate.OPERATIONS[kind], translate.Call(kind, path=recording.path)
    request = operation.from_flat(_flat(recording))
    plan = request if isinstance(request, translate.Failure) else operation.plan(request, call)
    if isinstance(request, translate.Failure) or isinstance(plan, translate.Failure):
        refusal = request if isinstance(request, translate.Failure) else plan
        return Translated(recording.method, recording.path, b"", _plain(refusal))
    body = transports.whole(plan.body) if plan.body else b""
    return Translated(plan.method, plan.path, body, _result(recording, request, kind, call))


def posted(recording: transports.Recording) -> translate.Plan:
    """What was sent; that a body is a form shows in how it begins."""
    body = recording.request_body
    if body is None:
        return translate.Plan(recording.method, recording.path)
    found = _FORM.match(body)
    kind = f"multipart/form-data; boundary={found[1].decode()}" if found else "application/json"
    return translate.Plan(recording.method, recording.path, translate.Body(kind, body))


def _asked(recording: transports.Recording) -> translate.Document:
    """The members of the body that was sent."""
    body = recording.request_body or b"{}"
    if found := _FORM.match(body):
        reader = forms.Reader(found[1])
        reader.feed(body)
        form = reader.close()
        return form if isinstance(form, dict) else {}
    value = translate.documents.decode(body)
    return value if isinstance(value, Mapping) else {}


def _flat(recording: transports.Recording) -> translate.Document:
    body = _asked(recording)
    named = {"model": f"vllm/{body['model']}"} if isinstance(body.get("model"), str) else {}
    return {**body, **named}


def _result(
    recording: transports.Recording,
    request: translate.Document,
    kind: translate.RequestType,
    call: translate.Call,
) -> object:
    operation = translate.OPERATIONS[kind]
    transport = transports.ReplayTransport((recording,))
    asked = posted(recording)
    if operation.fold is None:
        reply = transport.send(asked)
        return _plain(operation.parse(request, reply, reply.elapsed_ms, call))
    with transport.stream(asked) as stream:
        return [
            _plain(event)
            for event in transports.fold(stream.pieces, operation.fold(request, stream.head, call))
        ]


def _plain(outcome: translate.Document | translate.Plan | translate.Chunk | translate.Failure) -> object:
    """An outcome as plain JSON, as a client would read it."""
    if isinstance(outcome, translate.Failure):
        outcome = outcome.error
    elif isinstance(outcome, translate.Chunk):
        outcome = outcome.data
    data = translate.documents.encode(outcome)
    return json.loads(data) if isinstance(data, bytes) else None
