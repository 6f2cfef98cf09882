"""One request as a conversation: plans out, replies in, an outcome at the end."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from .exchange import Built
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


class PlanBuilt(Protocol):
    def __call__(self, built: Built | Failure, request: Document, call: Call, /) -> Plan | Failure: ...


class ParseBuilt(Protocol):
    def __call__(
        self, built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call, /
    ) -> Document | Failure: ...


class Once(NamedTuple):
    """``plan`` and ``parse`` of an operation for who keeps what was built of the request in between."""

    build: Build
    plan: PlanBuilt
    parse: ParseBuilt


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
    where building a request twice would cost.
    """

    from_flat: FromFlat
    plan: MakePlan
    parse: Parse
    follow_up: FollowUp = never
    fold: MakeFold | None = None
    noted: TakeNotes = nothing
    once: Once | None = None


def converse(
    operation: Operation, request: Document, call: Call
) -> Generator[Plan, ReplyLike, Document | Failure]:
    """Yields what to send and is sent the reply, until there is an outcome.

    Latencies add up. There are two attempts at most; when neither reply answers
    the question, the first one counts.
    """
    once = operation.once or _anew(operation)
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
    return once.parse(built, request, reply, spent_ms, call)


def _anew(operation: Operation) -> Once:
    """Functions that keep nothing."""
    return Once(
        lambda request, call: _NOTHING,
        lambda built, request, call: operation.plan(request, call),
        lambda built, request, reply, spent_ms, call: operation.parse(request, reply, spent_ms, call),
    )


_NOTHING: Final = Built({}, [])
