"""One request as a conversation: plans out, replies in, an outcome at the end."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from .envelope import Stamp, stamp
from .exchange import Built, planned
from .flat import request_model
from .fold import Fold
from .plan import Call, Failure, HeadLike, Note, Plan, ReplyLike
from .types import Document


class FromFlat(Protocol):
    def __call__(self, flat: Document, /) -> Document | Failure: ...


class MakePlan(Protocol):
    def __call__(self, request: Document, call: Call, /) -> Plan | Failure: ...


class Parse(Protocol):
    def __call__(
        self, request: Document, reply: ReplyLike, spent_ms: int, call: Call, /
    ) -> Document | Failure: ...


class FollowUp(Protocol):
    def __call__(self, plan: Plan, reply: ReplyLike, call: Call, /) -> Plan | None: ...


class MakeFold(Protocol):
    def __call__(self, request: Document, head: HeadLike, call: Call, /) -> Fold: ...


class TakeNotes(Protocol):
    def __call__(self, request: Document, call: Call, /) -> Sequence[Note]: ...


class Build(Protocol):
    def __call__(self, request: Document, call: Call, /) -> Built | Failure: ...


class ParseBuilt(Protocol):
    def __call__(
        self, built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call, /
    ) -> Document | Failure: ...


class BuildOfFlat(Protocol):
    def __call__(self, flat: Document, model: str, call: Call, /) -> Built | Failure: ...


class ParseOfModel(Protocol):
    def __call__(
        self,
        built: Built | Failure,
        model: str,
        reply: ReplyLike,
        spent_ms: int,
        call: Call,
        stamp: Stamp | None,
        /,
    ) -> Document | Failure: ...


class FoldOfModel(Protocol):
    def __call__(self, built: Built | Failure, model: str, head: HeadLike, call: Call, /) -> Fold: ...


class OfFlat(msgspec.Struct, frozen=True):
    """The steps of an operation from a flat body that ``from_flat`` takes, asking for any model."""

    build: BuildOfFlat
    parse: ParseOfModel
    fold: FoldOfModel


class Once(NamedTuple):
    """``plan`` and ``parse`` of an operation for who keeps what was built of the request in between."""

    build: Build
    parse: ParseBuilt

    def plan(self, built: Built | Failure, request: Document, call: Call) -> Plan | Failure:
        """What to send, once a request is built."""
        return planned(built, request_model(request), call)


def nothing(request: Document, call: Call) -> Sequence[Note]:
    """The ledger of an operation that changes nothing."""
    return ()


def never(plan: Plan, reply: ReplyLike, call: Call) -> Plan | None:
    """The follow-up of an operation that has none."""
    return None


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the registry: the pure functions of an operation.

    ``follow_up`` says what to send after a reply that does not answer the
    question; ``fold`` is there for streamed operations; ``noted`` is what
    ``plan`` did to a request. ``once`` does the same as ``plan`` and ``parse``,
    where building a request twice would cost; ``of_flat`` is for ``prepared``.
    """

    from_flat: FromFlat
    plan: MakePlan
    parse: Parse
    follow_up: FollowUp = never
    fold: MakeFold | None = None
    noted: TakeNotes = nothing
    once: Once | None = None
    of_flat: OfFlat | None = None


def converse(
    operation: Operation, request: Document, call: Call
) -> Generator[Plan, ReplyLike, Document | Failure]:
    """Yields what to send and is sent the reply, until there is an outcome.

    Latencies add up. There are two attempts at most; when neither reply answers
    the question, the first one counts.
    """
    once, built = operation.once, _NOTHING
    if once is None:
        plan = operation.plan(request, call)
    else:
        built = once.build(request, call)
        plan = once.plan(built, request, call)
    if isinstance(plan, Failure):
        return plan
    reply = yield plan
    spent_ms = reply.elapsed_ms
    second = None if operation.follow_up is never else operation.follow_up(plan, reply, call)
    if second is not None:
        later = yield second
        spent_ms += later.elapsed_ms
        if operation.follow_up(second, later, call) is None:
            reply = later
    if once is None:
        return operation.parse(request, reply, spent_ms, call)
    return once.parse(built, request, reply, spent_ms, call)


_NOTHING: Final[Built | Failure] = Built("", {}, [])


class Begun(msgspec.Struct, frozen=True, gc=False):
    """A request under way: what to send, and what it was made of."""

    plan: Plan
    built: Built | Failure


class Prepared(msgspec.Struct, frozen=True):
    """An operation for one call and one model, with all done that does not depend on a request.

    Plans, outcomes and streams are those of the operation for the request that
    ``from_flat`` makes of a flat body, when it asks ``vllm`` for ``model``.
    """

    model: str
    call: Call
    steps: OfFlat
    stamp: Stamp | None

    def begin(self, flat: Document) -> Begun | Failure:
        """What to send for a body that ``from_flat`` takes."""
        built = self.steps.build(flat, self.model, self.call)
        plan = planned(built, self.model, self.call)
        return plan if isinstance(plan, Failure) else Begun(plan, built)

    def end(self, begun: Begun, reply: ReplyLike) -> Document | Failure:
        """The outcome of the one attempt."""
        return self.steps.parse(begun.built, self.model, reply, reply.elapsed_ms, self.call, self.stamp)

    def fold(self, begun: Begun, head: HeadLike) -> Fold:
        """The state machine for a streamed answer that began with ``head``."""
        return self.steps.fold(begun.built, self.model, head, self.call)


def prepared(operation: Operation, call: Call, model: str) -> Prepared | None:
    """``operation`` for this call and model; ``None`` where it gains nothing by that."""
    if operation.of_flat is None:
        return None
    bare = call.verbatim and not (call.raw_request or call.raw_response)
    return Prepared(model, call, operation.of_flat, stamp(call, model) if bare else None)
