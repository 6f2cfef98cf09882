"""From a scenario to a plan, from a plan to an exchange, from there to a cassette.

What is stored is what the project's own transport sent and received.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from translate import OPERATIONS, chat, completions, embeddings, rerank
from translate.plan import Body, Call, Failure, Plan
from translate.types import RequestType
from transports.base import Cut, Endpoint, Transport, request_headers, whole
from transports.cassette import RECORDED_HOST, Recording, Recordings, cuts_path, written
from transports.redaction import Secrets

from .scenarios import Expected, Scenario, ToServer

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


class UnexpectedError(RecordingError):
    """An answer that is whole, and not what the scenario is about."""


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
    """Raise unless the exchange is whole, and ``UnexpectedError`` unless it is what the scenario is about."""
    text = exchange.body.decode(errors="replace")
    if exchange.broken is not None:
        raise RecordingError(f"broken off: {exchange.broken.kind}: {exchange.broken.detail}")
    if exchange.status != expected.status:
        raise UnexpectedError(f"status {exchange.status} instead of {expected.status}: {text[:400]}")
    if expected.body not in text:
        raise UnexpectedError(f"{expected.body!r} is not in the body: {text[:2000]}")
    words, reasons = _told(text)
    if expected.said not in words:
        raise UnexpectedError(f"{expected.said!r} was not said, but {words!r}")
    if expected.finish and set(reasons) != {expected.finish}:
        raise UnexpectedError(f"finished by {reasons} instead of {expected.finish}: {words!r}")


def save(exchange: Exchange, path: Path, private: Sequence[str], home: Path) -> int:
    """Write the cassette, and beside it the cuts of a stream; gives the size of the cassette.

    Raises when one of the ``private`` texts, keys and paths of this machine, would be written. Older servers
    name their own files in errors: where vLLM is installed, ``home``, is written as ``/vllm``.
    """
    recording = _recording(exchange, str(home))
    files = written(recording)
    # YAML escapes and folds what is in the file: look at what will be read from it, too.
    bodies = recording.request_body or b"", recording.body
    if Secrets(private).are_in(*files, *bodies):
        raise RecordingError("the recording would hold a key or a path of this machine")
    path.write_bytes(files.cassette)
    if exchange.streaming:
        cuts_path(path).write_bytes(files.cuts)
    (kept,) = Recordings.load(path)
    if replace(kept, name=recording.name, cuts=recording.cuts) != recording:
        path.unlink()
        raise RecordingError("the exchange does not survive being written")
    return len(files.cassette)


def _recording(exchange: Exchange, home: str) -> Recording:
    plan = exchange.plan
    sent = request_headers(Endpoint(RECORDED_HOST), plan, exchange.streaming)
    return Recording(
        "",
        plan.method,
        plan.path,
        whole(plan.body) if plan.body else None,
        exchange.status,
        {name: value for name, value in exchange.headers.items() if name not in UNRECORDED},
        exchange.body if exchange.streaming else exchange.body.replace(home.encode(), b"/vllm"),
        tuple(exchange.cuts),
        {name: value for name, value in sent.items() if name.lower() in REQUEST_HEADERS},
    )


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
