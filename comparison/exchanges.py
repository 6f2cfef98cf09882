"""A recorded exchange, run through the translators as they are today."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from .layers import translate, transports

_BY_PATH: Final[Mapping[str, translate.RequestType]] = {
    "/v1/chat/completions": "chat_completion",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
    "/rerank": "rerank",
    "/v1/models": "list_models",
}


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
    body = translate.documents.decode(recording.request_body or b"")
    if isinstance(body, Mapping) and body.get("stream") is True:
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
    body = plan.body.data if plan.body else b""
    return Translated(plan.method, plan.path, body, _result(recording, request, kind, call))


def _flat(recording: transports.Recording) -> translate.Document:
    body = translate.documents.decode(recording.request_body or b"{}")
    if not isinstance(body, Mapping):
        return {}
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
    body = (
        None if recording.request_body is None else translate.Body("application/json", recording.request_body)
    )
    asked = translate.Plan(recording.method, recording.path, body)
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
