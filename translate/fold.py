"""How a stream of bytes becomes events: the machinery that operations share.

A fold is fed bytes and closed once; it answers with events. It never raises
and ends in exactly one way: a ``Chunk`` with ``final`` or a ``Failure``, after
which it says nothing more. What differs between operations, namely what one
JSON document of the stream means, is an ``Interpreter``.

How a stream ends, in the order in which it is decided:

==============================================  ===================================
what happens                                    outcome
==============================================  ===================================
a frame that holds an error                     that error
a frame that is not a JSON object               "failed to unmarshal" error
an event over the size limit                    ``event_too_large`` error
``[DONE]`` after some event                     final chunk
``[DONE]`` alone                                ``empty_stream`` error
two comments in a row, every choice finished    final chunk
the end or a cut, every choice finished         final chunk
cancelled by the caller                         499
time ran out                                    504
any other end or cut                            502, ``stream_truncated``
==============================================  ===================================
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from . import documents, errors, sse
from .envelope import raw_json
from .plan import Call, Chunk, CutLike, Failure, HeadLike, Note, ReplyLike

Event = Chunk | Failure

_REFUSAL_LIMIT: Final = 1024 * 1024
_PATIENCE: Final = 2  # comment lines in a row after which a finished stream is over
_PEEK: Final = 1024  # bytes of blanks after which a body is no stream of events
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:")


class Fold(Protocol):
    """Bytes in, events out.

    ``feed`` takes any piece of the body; ``close`` says that no more comes and
    how that came about. ``at_ms`` counts from the start of the call. ``ended``
    is true once the last event is out.
    """

    @property
    def ended(self) -> bool: ...
    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event]: ...
    def close(self, at_ms: int = 0, cut: CutLike | None = None) -> Sequence[Event]: ...


class Interpreter(Protocol):
    """What the JSON documents of one stream mean.

    ``expected`` is the member that every document of a healthy stream has;
    ``started`` tells that the server has said something, ``finished`` that it
    has said all but its farewell. ``repeat`` gives the chunk of a document that
    need not be decoded, since one like it came before; ``take`` gives the chunks that one document
    completes, ``last`` those that waited for the end, of which the last one is
    final.
    """

    @property
    def expected(self) -> str: ...
    @property
    def started(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    def repeat(self, payload: bytes, at_ms: int) -> Chunk | None: ...
    def take(self, document: Mapping[str, object], payload: bytes, at_ms: int) -> Sequence[Chunk]: ...
    def last(self, at_ms: int, notes: Sequence[Note]) -> Sequence[Chunk]: ...


class JSONFold:
    """A stream of server-sent JSON documents that ends with ``[DONE]``."""

    __slots__ = ("_beats", "_call", "_interpreter", "_model", "_reader", "ended")

    def __init__(self, interpreter: Interpreter, call: Call, model: str, limit: int = sse.LIMIT) -> None:
        self.ended = False
        self._interpreter = interpreter
        self._call = call
        self._model = model
        self._reader = sse.Reader(limit)
        self._beats = 0

    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event]:
        out: list[Event] = []
        if self.ended:
            return out
        for payload in self._reader.feed(data):
            chunk = self._interpreter.repeat(payload, at_ms)
            if chunk is not None:
                self._beats = 0
                out.append(chunk)
                continue
            self._take(payload, at_ms, out)
            if self.ended:
                return out
        if self._reader.overflowed:
            self._fail(errors.event_too_large(), out)
        return out

    def close(self, at_ms: int = 0, cut: CutLike | None = None) -> Sequence[Event]:
        out: list[Event] = []
        broken: list[Note] = []
        if self.ended:
            return out
        for payload in self._reader.close():
            if self.ended:
                break
            if payload.strip() == b"[DONE]" or isinstance(documents.decode(payload), Mapping):
                self._take(payload, at_ms, out)
            else:
                broken.append(Note("stream", "dropped", "an event that broke off"))
        if self.ended:
            return out
        if self._interpreter.finished and (cut is None or cut.kind != "cancelled"):
            self._finish(at_ms, broken, out)
        elif cut is not None and cut.kind in {"cancelled", "timeout"}:
            self._fail(errors.from_cut(cut), out)
        else:
            self._fail(errors.truncated("" if cut is None else cut.detail), out)
        return out

    def _take(self, payload: bytes, at_ms: int, out: list[Event]) -> None:
        if payload == sse.KEEP_ALIVE:
            self._beats += 1
            if self._beats >= _PATIENCE and self._interpreter.finished:
                self._finish(at_ms, (), out)
            return
        self._beats = 0
        document = documents.decode(payload)
        if isinstance(document, dict):
            failure = errors.from_document(document, self._interpreter.expected, 500)
            if failure is not None:
                self._fail(failure, out)
            else:
                out.extend(self._interpreter.take(document, payload, at_ms))
        elif payload.strip() != b"[DONE]":
            self._fail(errors.unreadable(f"not a JSON object: {_excerpt(payload)}"), out)
        elif self._interpreter.started:
            self._finish(at_ms, (), out)
        else:
            self._fail(errors.empty_stream(), out)

    def _finish(self, at_ms: int, notes: Sequence[Note], out: list[Event]) -> None:
        self.ended = True
        out.extend(self._interpreter.last(at_ms, notes))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self.ended = True
        out.append(errors.stamp(failure, self._call, self._model))


def _excerpt(payload: bytes) -> str:
    return errors.redact(payload[:80].decode(errors="replace"))


class _Refusal(NamedTuple):
    """The body of a refused stream, as the reply that it is."""

    status: int
    headers: Mapping[str, str]
    elapsed_ms: int
    cut: CutLike | None
    body: bytes


class RefusedFold:
    """A stream that the server did not start: collects, then fails once."""

    __slots__ = ("_body", "_call", "_expected", "_head", "_model", "ended")

    def __init__(self, head: HeadLike, call: Call, model: str, expected: str) -> None:
        self.ended = False
        self._head = head
        self._call = call
        self._model = model
        self._expected = expected
        self._body = bytearray()

    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event]:
        if self.ended:
            return ()
        self._body += data[: _REFUSAL_LIMIT - len(self._body)]
        return self.close(at_ms) if len(self._body) == _REFUSAL_LIMIT else ()

    def close(self, at_ms: int = 0, cut: CutLike | None = None) -> Sequence[Event]:
        if self.ended:
            return ()
        self.ended = True
        head = self._head
        reply = _Refusal(head.status, head.headers, head.elapsed_ms, head.cut, bytes(self._body))
        failure = self._failure(reply, cut)
        raw = {"raw_response": raw_json(reply.body)} if self._call.raw_response and reply.body else {}
        return (errors.stamp(failure, self._call, self._model, latency=at_ms, **raw),)

    def _failure(self, reply: ReplyLike, cut: CutLike | None) -> Failure:
        if reply.cut is not None:
            return errors.from_cut(reply.cut)
        if cut is not None and (not reply.body or cut.kind == "cancelled"):
            return errors.from_cut(cut)
        if reply.status != 200:
            return errors.from_reply(reply)
        document = documents.decode(reply.body)
        if isinstance(document, Mapping):
            failure = errors.from_document(document, self._expected)
            if failure is not None:
                return failure
        return errors.non_sse(reply.body, reply.headers.get("content-type", ""))


class SniffingFold:
    """HTTP 200 without an event-stream content type: looks before it chooses."""

    __slots__ = ("_chosen", "_events", "_refused", "_start")

    def __init__(self, events: Fold, refused: Fold) -> None:
        self._events = events
        self._refused = refused
        self._chosen: Fold | None = None
        self._start = b""

    @property
    def ended(self) -> bool:
        return self._chosen is not None and self._chosen.ended

    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event]:
        if self._chosen is not None:
            return self._chosen.feed(data, at_ms)
        self._start += data
        verdict = _are_events(self._start[:_PEEK])
        if verdict is None and len(self._start) < _PEEK:
            return ()
        return self._choose(verdict is True).feed(self._start, at_ms)

    def close(self, at_ms: int = 0, cut: CutLike | None = None) -> Sequence[Event]:
        if self._chosen is not None:
            return self._chosen.close(at_ms, cut)
        chosen = self._choose(bool(self._start.strip()) and _are_events(self._start) is not False)
        return [*chosen.feed(self._start, at_ms), *chosen.close(at_ms, cut)]

    def _choose(self, are_events: bool) -> Fold:
        self._chosen = self._events if are_events else self._refused
        return self._chosen


def _are_events(start: bytes) -> bool | None:
    """Whether a body that starts so is a stream of events; ``None`` if that is still open."""
    if len(start) < len(sse.BOM) and sse.BOM.startswith(start):
        return None
    text = start.removeprefix(sse.BOM).lstrip(b" \t")
    if text[:1] in {b":", b"\n", b"\r"} or text.startswith(_FIELDS):
        return True
    return None if any(field.startswith(text) for field in _FIELDS) else False


def choose(head: HeadLike, call: Call, model: str, interpreter: Interpreter, limit: int = sse.LIMIT) -> Fold:
    """The fold that fits the head of a streamed reply."""
    refused = RefusedFold(head, call, model, interpreter.expected)
    if head.cut is not None or head.status != 200:
        return refused
    events = JSONFold(interpreter, call, model, limit)
    if "text/event-stream" in head.headers.get("content-type", "").lower():
        return events
    return SniffingFold(events, refused)
