"""The translators and the SSE reader alone, in this process: CPU time, no network."""

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, TypeVar

from sseclient import SSEClient

from translate import OPERATIONS, Call, Failure, Plan, Prepared, chat, documents, prepared, sse
from transports import Reply

from . import exchanges, peers
from .cpu_time import cpu_us

_ROOT: Final = Path(__file__).parents[1]
_REPEATS: Final = 9

_CALL: Final = Call("chat_completion", verbatim=True)
_STREAMED: Final = Call("chat_completion_stream", verbatim=True)
_EVENTS: Final = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
_REPLY: Final = Reply(200, {"content-type": "application/json"}, exchanges.CHAT)


_T = TypeVar("_T")


def _good(outcome: _T | Failure | documents.Malformed) -> _T:
    if isinstance(outcome, (Failure, documents.Malformed)):
        raise TypeError(outcome)
    return outcome


_FLAT: Final = exchanges.chat_request()
_FLAT_STREAMED: Final = exchanges.chat_request(stream=True)


def _request(flat: bytes, call: Call) -> tuple[Any, Plan]:
    request = _good(chat.from_flat(_good(documents.decode_object(flat, strict=True))))
    return request, _good(chat.plan(request, call))


def _ready() -> Prepared:
    ready = prepared(OPERATIONS["chat_completion"], _CALL, f"{exchanges.MODEL}-plain")
    if ready is None:
        raise TypeError("a chat is not prepared")
    return ready


_READY: Final = _ready()


def _begun(flat: bytes) -> Any:
    """What a caller does first, without a look at what can go wrong: ``_checked`` has that."""
    return _begin(_decode(flat, strict=True))


def _exchange() -> bytes:
    answer: bytes = documents.encode(_end(_begun(_FLAT), _REPLY))  # type: ignore[assignment]
    return answer


def _checked() -> bytes:
    return _good(documents.encode(_good(_READY.end(_good(_begun(_FLAT)), _REPLY))))


_decode: Final[Any] = documents.decode_object
_begin: Final[Any] = _READY.begin
_end: Final[Any] = _READY.end


def _stream() -> int:
    """A whole stream, one event per read, as bytes of the client's events."""
    fold = chat.fold(_request(_FLAT_STREAMED, _STREAMED)[0], _EVENTS, _STREAMED)
    size = 0
    for at_ms, event in enumerate(exchanges.STREAM):
        for chunk in fold.feed(event, at_ms):
            size += len(sse.frame(_good(documents.encode(_good(chunk).data))))
    return size


def _read_each() -> int:
    reader = sse.Reader()
    return sum(len(reader.feed(event)) for event in exchanges.STREAM)


def _read_by_sseclient() -> int:
    return sum(1 for _ in SSEClient(iter(exchanges.STREAM)).events())


def _import_ms(statement: str) -> float:
    def once(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    once(statement)
    bare = statistics.median(once("pass") for _ in range(_REPEATS))
    return (statistics.median(once(statement) for _ in range(_REPEATS)) - bare) * 1e3


def measured() -> dict[str, float]:
    """Microseconds per piece of work, milliseconds of an import."""
    events = len(exchanges.STREAM)
    if _exchange() != _checked():
        raise TypeError("an exchange gives something else")
    times = {
        "request and reply": cpu_us(_exchange),
        "request": cpu_us(lambda: _begun(_FLAT)),
        "stream chunk": cpu_us(_stream, events),
        "SSE event": cpu_us(_read_each, events),
        "SSE event, sseclient-py": cpu_us(_read_by_sseclient, events),
        "json.loads of the reply": cpu_us(lambda: json.loads(exchanges.CHAT)),
        "import translate, ms": _import_ms("import translate"),
    }
    return times | _of_litellm()


def _of_litellm() -> dict[str, float]:
    """What LiteLLM's own transforms take for the same request and reply, in its environment."""
    litellm = next(peer for peer in peers.PEERS if peer.name == "litellm")
    if not litellm.is_installed():
        return {}
    command = [str(litellm.python), "-m", "bench.litellm_transforms"]
    outcome = subprocess.run(
        command, capture_output=True, text=True, env=litellm.environment, cwd=_ROOT, check=False
    )
    if outcome.returncode:
        print(f"LiteLLM's transforms: {outcome.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    times: dict[str, float] = json.loads(outcome.stdout)
    return times
