"""A streamed response, made of the chunks of a streamed chat.

A chat's chunks say what comes next; a response's events announce items, fill
them and close them. This module is the state machine between the two. It goes
by the rules on which every client can rely: ``response.created`` comes first,
an item's ``output_index`` is its place among all items, one item is open at a
time, whatever was announced is closed, and events are numbered 0, 1, 2, ...
The response at the end is the one that would have come without streaming.

The stream as a whole:

=========  ============  =====================================================
state      what comes    what goes out
=========  ============  =====================================================
silent     a failure     the failure alone, so that it can still have a status
silent     a chunk       ``created``, ``in_progress``, then as when speaking
speaking   a chunk       the events of the table below
speaking   the final     the same, every item closed, and then ``completed``,
           chunk         ``incomplete`` or ``failed``, by the finish reason
speaking   a failure     ``failed`` with the items so far, then the failure as
                         an ``error`` event, at which OpenAI's SDK raises
ended      anything      nothing
=========  ============  =====================================================

Within a chunk thoughts come before text, text before refusals, refusals before
calls. Which item is open decides what becomes of them:

====================  ===================  ===================  ==================
open item             a thought            text, a refusal      a new call
====================  ===================  ===================  ==================
none                  opens reasoning      opens a message      opens a call
reasoning             goes on              closes it, opens a   closes it, opens a
                                           message              call
message               closes it, opens     goes on; the other   closes it, opens a
                      reasoning            kind is a new part   call
call, arguments are   closes it, opens     closes it, opens a   closes it, opens a
a whole object        reasoning            message              call
call, unfinished      waits                waits                waits
====================  ===================  ===================  ==================

What waits is told when the unfinished call is closed, which is at the end: a
server that tells two calls by turns could go on with the first one at any time.
Arguments of the open call go out at once, those of a waiting call wait with it,
those of a closed call are dropped and noted.

Events of an item, from its announcement to its close:

=============  =========================================================
reasoning      ``output_item.added``, ``content_part.added``,
               ``reasoning_text.delta`` ..., ``reasoning_text.done``,
               ``content_part.done``, ``output_item.done``
message        ``output_item.added``, for each part ``content_part.added``,
               ``output_text.delta`` or ``refusal.delta`` ...,
               ``output_text.done`` or ``refusal.done``,
               ``content_part.done``; ``output_item.done``
call           ``output_item.added``, ``function_call_arguments.delta`` ...,
               ``function_call_arguments.done``, ``output_item.done``
=============  =========================================================
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import documents, errors
from .envelope import extra_fields
from .fold import Event, Fold
from .plan import Call, Chunk, CutLike, Failure, Note
from .response_logprobs import in_event
from .response_output import (
    ONE_ANSWER,
    FunctionCall,
    Identity,
    Item,
    Output,
    Part,
    PartKind,
    Speech,
    concluded,
    ending,
    identity,
    response,
)
from .response_reading import Unplaced, closing_fields
from .response_repetition import RepeatedDelta, learned
from .types import BifrostError, Document

LIMIT: Final = 256 * 1024 * 1024
"""Bytes that a stream may have unless told otherwise: the last event repeats all that was said."""

_CODES: Final[Mapping[int, str]] = {400: "invalid_prompt", 429: "rate_limit_exceeded"}


class ResponseFold:
    """The events of one response; ``chat`` is the fold of the chat that it is made of.

    ``echo`` is what the response repeats of its request, ``notes`` what was
    done to the request on its way to a chat.
    """

    __slots__ = (
        "_at_ms", "_call", "_calls", "_chat", "_choice", "_echo", "_fields", "_identity", "_last_at",
        "_like", "_limit", "_model", "_notes", "_open", "_opened_parts", "_output", "_raw", "_reason",
        "_repeated", "_sequence", "_size", "_unplaced", "_waits", "ended",
    )  # fmt: skip

    def __init__(
        self,
        chat: Fold,
        call: Call,
        model: str,
        echo: Mapping[str, object],
        notes: Sequence[Note] = (),
        limit: int = LIMIT,
    ) -> None:
        self.ended = False
        self._chat = chat
        self._call = call
        self._model = model
        self._echo = echo
        self._notes = dict.fromkeys(notes)  # in order, each once
        self._limit = limit
        self._size = 0
        self._at_ms = 0
        self._last_at = 0
        self._identity: Identity | None = None  # known once the response is created
        self._fields = extra_fields(call, model, 0)  # of every event, but for time and number
        self._raw: list[str] = []  # raw text of chunks, for the next event
        self._sequence = 0
        self._output = Output("", self._note)
        self._unplaced = Unplaced()
        self._choice: object = None  # the first one that speaks
        self._reason: object = None
        self._calls: dict[object, FunctionCall] = {}  # by the number that the chat gives them
        self._open = -1  # the place of the open item
        self._opened_parts = 0  # of the open item
        self._waits = False  # the open item is a call that may go on, and later items wait
        self._like: object = None  # the kind of the latest chunk, if others like it may follow
        self._repeated: tuple[RepeatedDelta, Part] | None = None  # what becomes of it

    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event]:
        if self.ended:
            return ()
        self._size += len(data)
        out = self._translated(self._chat.feed(data, at_ms), at_ms)
        if self._size > self._limit and not self.ended:
            self._fail(errors.stamp(errors.response_too_large(), self._call, self._model), out)
        return out

    def close(self, at_ms: int = 0, cut: CutLike | None = None) -> Sequence[Event]:
        return () if self.ended else self._translated(self._chat.close(at_ms, cut), at_ms)

    def _translated(self, events: Sequence[Event], at_ms: int) -> list[Event]:
        self._at_ms = at_ms
        out: list[Event] = []
        for event in events:
            if isinstance(event, Failure):
                self._fail(event, out)
            else:
                self._take(event, out)
        return out

    def _note(self, note: Note) -> None:
        self._notes[note] = None

    def _emit(self, out: list[Event], kind: str, **members: object) -> None:
        fields = self._fields | {"latency": self._at_ms - self._last_at, "chunk_index": self._sequence}
        if self._raw:
            fields["raw_response"] = "\n\n".join(self._raw)
            self._raw = []
        numbered = {"type": kind, "sequence_number": self._sequence, **members, "extra_fields": fields}
        out.append(Chunk(numbered, event=kind))
        self._sequence += 1
        self._last_at = self._at_ms

    def _repeat(self, delta: RepeatedDelta, part: Part, words: bytes, out: list[Event]) -> None:
        part.add(delta.text(words))
        out.append(delta.chunk(words, self._sequence, self._at_ms - self._last_at))
        self._sequence += 1
        self._last_at = self._at_ms

    def _learn(self, data: documents.Encoded, told: Sequence[Event]) -> None:
        """See whether the chunk became nothing but a delta; the next one like it will, too."""
        self._like = self._repeated = None
        if len(told) == 1 and isinstance(told[0], Chunk) and self._open >= 0:
            item = self._output.items[self._open]
            delta = learned(told[0].event or "", told[0].data)
            if delta is not None and isinstance(item, Speech):
                self._like, self._repeated = data.like, (delta, item.parts[-1])

    def _take(self, chunk: Chunk, out: list[Event]) -> None:
        data = chunk.data
        if type(data) is documents.Encoded:
            if self._repeated is not None and data.like is self._like:
                self._repeat(*self._repeated, data.words, out)
                return
            told: list[Event] = []
            self._read(chunk, told)
            self._learn(data, told)
            out += told
        else:
            self._like = self._repeated = None
            self._read(chunk, out)

    def _read(self, chunk: Chunk, out: list[Event]) -> None:
        data = chunk.data
        fields = documents.as_object(data.get("extra_fields")) or {}
        if raw := documents.as_text(fields.get("raw_response")):
            self._raw.append(raw)
        if self._identity is None:
            self._identity = identity(data)
            self._output = Output(self._identity.stem, self._note)
            begun = response(self._identity, self._echo, "in_progress")
            self._emit(out, "response.created", response=begun)
            self._emit(out, "response.in_progress", response=begun)
        self._unplaced.top(data)
        for entry in documents.as_array(data.get("choices")) or ():
            if isinstance(entry, Mapping):
                self._hear(entry, out)
        if chunk.final:
            self._finish(self._identity, chunk, out)

    def _hear(self, entry: Document, out: list[Event]) -> None:
        if self._choice is None:
            self._choice = entry.get("index")
        elif entry.get("index") != self._choice:
            self._note(ONE_ANSWER)
            return
        heard = self._unplaced.hear(entry, documents.as_object(entry.get("delta")) or {})
        self._reason = entry.get("finish_reason") or self._reason
        if not self._output.end_letter(heard.tokens.late):
            self._unplaced.logprobs(heard.tokens.late)
        self._unplaced.logprobs(heard.tokens.others)
        if heard.thought:
            self._speak("reasoning_text", heard.thought, (), out)
        if heard.text:
            self._speak("output_text", heard.text, heard.tokens.text, out)
        if heard.refusal:
            self._speak("refusal", heard.refusal, (), out)
        for source in heard.calls:
            self._take_call(source, out)

    def _speak(self, kind: PartKind, text: str, tokens: Sequence[Document], out: list[Event]) -> None:
        item = self._output.speech(kind)
        part = item.parts[-1]
        part.add(text, tokens)
        if item.place != self._open:
            self._begin(item, out)
        elif part.place == self._opened_parts:
            self._turn_to(item, part, out)
        else:
            self._delta(item, part, text, tokens, out)

    def _take_call(self, source: Document, out: list[Event]) -> None:
        function = documents.as_object(source.get("function")) or {}
        arguments = documents.as_text(function.get("arguments")) or ""
        call = self._calls.get(source.get("index"))
        if call is None:
            call = self._calls[source.get("index")] = self._output.call(source)
            call.add(arguments)
            self._begin(call, out)
        elif call.place < self._open:
            self._note(Note(f"output[{call.place}].arguments", "dropped", "what came after a whole object"))
        else:
            call.add(arguments)
            if call.place == self._open:
                self._tell_arguments(call, arguments, out)

    def _begin(self, item: Item, out: list[Event]) -> None:
        """Announce an item that has just been begun, unless the open one may go on."""
        if self._waits:
            return
        if self._open >= 0:
            before = self._output.items[self._open]
            if isinstance(before, FunctionCall) and not before.is_whole:
                self._waits = True
                return
            self._close(before, True, out)
        self._announce(item, out)

    def _announce(self, item: Item, out: list[Event]) -> None:
        """Open an item and tell all that it has so far."""
        self._open, self._opened_parts = item.place, 0
        self._emit(out, "response.output_item.added", output_index=item.place, item=item.empty())
        if isinstance(item, FunctionCall):
            self._tell_arguments(item, item.arguments, out)
        else:
            for part in item.parts:
                self._turn_to(item, part, out)

    def _turn_to(self, item: Speech, part: Part, out: list[Event]) -> None:
        """Open a part, after the one before it is closed, and tell all that it has so far."""
        if part.place:
            self._close_part(item, item.parts[part.place - 1], out)
        self._opened_parts += 1
        empty = Part(part.kind, part.place).document()
        self._emit(out, "response.content_part.added", **_where(item, part), part=empty)
        if part.text:
            self._delta(item, part, part.text, part.tokens, out)

    def _delta(
        self, item: Speech, part: Part, text: str, tokens: Sequence[Document], out: list[Event]
    ) -> None:
        beside = {"logprobs": [in_event(token) for token in tokens]} if part.kind == "output_text" else {}
        self._emit(out, f"response.{part.kind}.delta", **_where(item, part), delta=text, **beside)

    def _close_part(self, item: Speech, part: Part, out: list[Event]) -> None:
        told: dict[str, object] = {"refusal" if part.kind == "refusal" else "text": part.text}
        if part.kind == "output_text":
            told["logprobs"] = [in_event(token) for token in part.tokens]
        self._emit(out, f"response.{part.kind}.done", **_where(item, part), **told)
        self._emit(out, "response.content_part.done", **_where(item, part), part=part.document())

    def _tell_arguments(self, call: FunctionCall, arguments: str, out: list[Event]) -> None:
        if arguments:
            kind = "response.function_call_arguments.delta"
            self._emit(out, kind, item_id=call.id, output_index=call.place, delta=arguments)

    def _close(self, item: Item, complete: bool, out: list[Event]) -> None:
        if isinstance(item, Speech):
            self._close_part(item, item.parts[-1], out)
        else:
            if complete and self._output.completed(item):
                self._tell_arguments(item, item.arguments, out)
            self._emit(
                out,
                "response.function_call_arguments.done",
                item_id=item.id,
                output_index=item.place,
                name=item.name,
                arguments=item.arguments,
            )
        document = item.document("completed" if complete else "incomplete")
        self._emit(out, "response.output_item.done", output_index=item.place, item=document)

    def _finish(self, who: Identity, chat: Chunk, out: list[Event]) -> None:
        self.ended = True
        end = ending(self._reason)
        items = self._output.finished()
        while self._open < len(items) - 1:
            if self._open >= 0:
                self._close(items[self._open], True, out)
            self._announce(items[self._open + 1], out)
        self._close(items[-1], end.status == "completed", out)
        whole = concluded(who, self._echo, self._output, chat.data, self._unplaced.tier, self._reason)
        fields = dict(documents.as_object(chat.data.get("extra_fields")) or {})
        fields.pop("raw_response", None)  # an event before this one has it
        fields["chunk_index"] = self._sequence
        data = {
            "type": f"response.{end.status}",
            "sequence_number": self._sequence,
            "response": {**whole, "extra_fields": closing_fields(fields, self._notes, self._unplaced)},
            "extra_fields": closing_fields(fields, self._notes),
        }
        out.append(Chunk(data, final=True, event=f"response.{end.status}"))

    def _fail(self, failure: Failure, out: list[Event]) -> None:
        self.ended = True
        if self._identity is None:
            out.append(failure)
            return
        field = failure.error["error"]
        code = _CODES.get(errors.http_status(failure.error), "server_error")
        reported = {"code": code, "message": field["message"]}
        items = self._output.documents(max(self._open, 0))
        failed = response(self._identity, self._echo, "failed", items, error=reported)
        self._emit(out, "response.failed", response=failed)
        param = field.get("param")
        error: BifrostError = {
            "type": "error",
            "sequence_number": self._sequence,
            "code": field.get("code"),
            "message": field["message"],
            "param": param if isinstance(param, str) else None,
            **failure.error,
        }
        out.append(Failure(error, event="error"))


def _where(item: Speech, part: Part) -> dict[str, object]:
    return {"item_id": item.id, "output_index": item.place, "content_index": part.place}
