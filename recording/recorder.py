"""From a scenario to a plan, from a plan to an exchange, from there to a cassette.

What is stored is what the project's own transport sent and received. vcrpy
writes the file, but it does not stand in the way of the bytes, since it would
join the chunks of a stream and hold them back.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

from vcr.persisters.filesystem import FilesystemPersister  # type: ignore[import-untyped]
from vcr.request import Request  # type: ignore[import-untyped]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

from translate import OPERATIONS, chat, completions, embeddings, rerank
from translate.plan import Body, Call, Failure, Plan
from translate.types import RequestType
from transports.base import Cut, Endpoint, Transport, request_headers, whole

from .scenarios import Expected, Scenario, ToServer

RECORDED_HOST: Final = "http://localhost:8000"
REQUEST_HEADERS: Final = frozenset({"content-type", "accept"})
# They describe bytes on a connection, not the decoded body that is kept; a cookie is nobody's business.
UNRECORDED: Final = frozenset({"content-encoding", "content-length", "set-cookie", "transfer-encoding"})
PATHS: Final[Mapping[RequestType, str]] = {
    "chat_completion": chat.PATH,
    "chat_completion_stream": chat.PATH,
    "text_completion": completions.PATH,
    "text_completion_stream": completions.PATH,
    "embedding": embeddings.PATH,
    "rerank": rerank.PATHS[0],
}
"""Where JSON goes that no translator has seen."""


class RecordingError(Exception):
    """A scenario that could not be recorded, and why."""


class Exchange(NamedTuple):
    """A plan, what came back, and how it came: milliseconds and bytes of each read."""

    plan: Plan
    streaming: bool
    status: int
    headers: Mapping[str, str]
    body: bytes
    cuts: Sequence[tuple[int, int]]
    broken: Cut | None


def is_streamed(form: RequestType) -> bool:
    return form.endswith("_stream")


def plan_of(scenario: Scenario, form: RequestType) -> Plan:
    """What to send upstream when the scenario's question is asked as ``form``."""
    question = scenario.question
    if isinstance(question, Plan):
        return question
    if isinstance(question, ToServer):
        document = {**question.document, "stream": True} if is_streamed(form) else question.document
        return Plan("POST", PATHS[form], Body("application/json", json.dumps(document).encode()))
    operation = OPERATIONS[form]
    request = operation.from_flat(question.document)
    plan = request if isinstance(request, Failure) else operation.plan(request, Call(form))
    if isinstance(plan, Failure):
        raise RecordingError(f"the translator refuses the question: {plan.error['error']['message']}")
    return plan


def perform(
    transport: Transport, form: RequestType, plan: Plan, watch: Callable[[int], None] | None = None
) -> Exchange:
    """Ask once, and keep what came of it; ``watch`` is told how many reads a stream has taken."""
    if not is_streamed(form):
        reply = transport.send(plan)
        return Exchange(plan, False, reply.status, reply.headers, reply.body, (), reply.cut)
    with transport.stream(plan) as stream:
        pieces = []
        for piece in stream.pieces:
            pieces.append(piece)
            if watch is not None:
                watch(len(pieces))
    broken = stream.head.cut or (pieces[-1].cut if pieces else None)
    cuts = [(piece.at_ms, len(piece.data)) for piece in pieces if piece.data]
    body = b"".join(piece.data for piece in pieces)
    return Exchange(plan, True, stream.head.status, stream.head.headers, body, cuts, broken)


def verify(exchange: Exchange, expected: Expected) -> None:
    """Raise unless the exchange is whole and is what the scenario is about."""
    text = exchange.body.decode(errors="replace")
    if exchange.broken is not None:
        raise RecordingError(f"broken off: {exchange.broken.kind}: {exchange.broken.detail}")
    if exchange.status != expected.status:
        raise RecordingError(f"status {exchange.status} instead of {expected.status}: {text[:400]}")
    if expected.body not in text:
        raise RecordingError(f"{expected.body!r} is not in the body: {text[:2000]}")
    words, reasons = _told(text)
    if expected.said not in words:
        raise RecordingError(f"{expected.said!r} was not said, but {words!r}")
    if expected.finish and set(reasons) != {expected.finish}:
        raise RecordingError(f"finished by {reasons} instead of {expected.finish}: {words!r}")


def save(exchange: Exchange, path: Path, secrets: Sequence[str]) -> None:
    """Write the cassette, and beside it the cuts of a stream; refuse what tells a secret.

    ``secrets`` are texts that may not be found in what was written.
    """
    request, response = _request(exchange), _response(exchange)
    FilesystemPersister.save_cassette(path, {"requests": [request], "responses": [response]}, yamlserializer)
    written = [path]
    if exchange.streaming:
        written.append(cuts_path(path))
        written[1].write_text(json.dumps(exchange.cuts) + "\n")
    try:
        (kept,), (answered,) = FilesystemPersister.load_cassette(path, yamlserializer)[:2]
        if (kept.method, kept.uri, kept.body or None) != (request.method, request.uri, request.body or None):
            raise RecordingError("the request does not survive being written")
        if answered["body"]["string"] != exchange.body:
            raise RecordingError("the body does not survive being written")
        contents = [file.read_bytes() for file in written]
        # YAML escapes and folds long lines: look at what will be read from them, too.
        contents += [repr(part).encode() for part in (kept.uri, dict(kept.headers), answered["headers"])]
        contents += [kept.body or b"", exchange.body]
        if any(secret.encode() in content for secret in secrets for content in contents):
            raise RecordingError("the recording holds a key or a path of this machine")
    except RecordingError:
        for file in written:
            file.unlink()
        raise


def cuts_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".yaml") + ".cuts.json")


def _request(exchange: Exchange) -> Any:
    sent = request_headers(Endpoint(RECORDED_HOST), exchange.plan, exchange.streaming)
    headers = {name: value for name, value in sent.items() if name.lower() in REQUEST_HEADERS}
    body = whole(exchange.plan.body) if exchange.plan.body else None
    return Request(exchange.plan.method, RECORDED_HOST + exchange.plan.path, body, headers)


def _response(exchange: Exchange) -> dict[str, object]:
    return {
        "status": {"code": exchange.status, "message": HTTPStatus(exchange.status).phrase},
        "headers": {name: [value] for name, value in exchange.headers.items() if name not in UNRECORDED},
        "body": {"string": exchange.body},
    }


def _told(text: str) -> tuple[str, list[str]]:
    """All that an answer says, choice by choice, and the finish reasons of the choices."""
    words: defaultdict[int, list[str]] = defaultdict(list)
    reasons: list[str] = []
    for document in _documents(text):
        words[0].append(_words(document))
        for choice in document.get("choices", ()):
            said = choice.get("message") or choice.get("delta") or choice
            words[choice.get("index", 0)].append(_words(said))
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
    return "".join("".join(words[index]) for index in sorted(words)), reasons


def _words(said: Mapping[str, Any]) -> str:
    """What stands under the names that hold text, and in calls."""
    texts = [said.get(name) for name in ("reasoning", "content", "text")]
    for call in said.get("tool_calls") or ():
        texts += [call["function"].get(name) for name in ("name", "arguments")]
    return "".join(text for text in texts if text)


def _documents(text: str) -> Iterator[Mapping[str, Any]]:
    for line in text.split("\n\n") if text.startswith("data:") else [text]:
        try:
            document = json.loads(line.removeprefix("data: "))
        except ValueError:
            continue  # [DONE], or an error that is not JSON
        if isinstance(document, Mapping):
            yield document
