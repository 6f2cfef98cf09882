"""One request as a conversation: plans out, replies in, an outcome at the end."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    ``plan`` did to a request.
    """

    from_flat: FromFlat
    plan: MakePlan
    parse: Parse
    follow_up: FollowUp = never
    fold: MakeFold | None = None
    noted: TakeNotes = nothing


def converse(
    operation: Operation, request: Document, call: Call
) -> Generator[Plan, ReplyLike, Document | Failure]:
    """Yields what to send and is sent the reply, until there is an outcome.

    Latencies add up. There are two attempts at most; when neither reply answers
    the question, the first one counts.
    """
    plan = operation.plan(request, call)
    if isinstance(plan, Failure):
        return plan
    reply = yield plan
    spent_ms = reply.elapsed_ms
    second = operation.follow_up(plan, reply, call)
    if second is not None:
        later = yield second
        spent_ms += later.elapsed_ms
        if operation.follow_up(second, later, call) is None:
            reply = later
    return operation.parse(request, reply, spent_ms, call)
