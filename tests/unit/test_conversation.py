"""One request as a conversation: when it goes on, and what it adds up to."""

from collections.abc import Mapping

import pytest

from translate import OPERATIONS, Body, Call, Document, Failure, Operation, Plan, converse, errors
from translate.plan import ReplyLike
from transports.base import Cut, Reply, run

REQUEST: Mapping[str, object] = {"model": "m"}
CALL = Call("chat_completion")
FIRST = Plan("POST", "/v1/thing", Body("application/json", b"{}"))
SECOND = FIRST._replace(path="/thing")


def make_plan(request: Document, call: Call) -> Plan | Failure:
    return FIRST if request else errors.invalid("empty")


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    said = {"body": reply.body} if reply.body else {}
    return {"status": reply.status, "spent_ms": spent_ms, **said}


def follow_up(plan: Plan, reply: ReplyLike, call: Call) -> Plan | None:
    return SECOND if reply.status == 404 and reply.cut is None else None


OPERATION = Operation(lambda flat: flat, make_plan, parse, follow_up)


class Script:
    """A transport that answers from a list and keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.plans: list[object] = []

    def send(self, plan: object) -> Reply:
        self.plans.append(plan)
        return self.replies.pop(0)

    def stream(self, plan: object) -> object:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("replies", "plans", "outcome"),
    [
        pytest.param(
            [Reply(200, {}, elapsed_ms=5)], [FIRST], {"status": 200, "spent_ms": 5}, id="one answer"
        ),
        pytest.param(
            [Reply(404, {}, elapsed_ms=5), Reply(200, {}, elapsed_ms=7)],
            [FIRST, SECOND],
            {"status": 200, "spent_ms": 12},
            id="a second try, times added",
        ),
        pytest.param(
            [Reply(404, {}), Reply(200, {})],
            [FIRST, SECOND],
            {"status": 200, "spent_ms": 0},
            id="the second answer counts",
        ),
        pytest.param(
            [Reply(404, {}, b"first", 1), Reply(404, {}, b"second", 2)],
            [FIRST, SECOND],
            {"status": 404, "spent_ms": 3, "body": b"first"},
            id="never a third, and the first one counts",
        ),
        pytest.param(
            [Reply(404, {}, b"first"), Reply(500, {}, b"second")],
            [FIRST, SECOND],
            {"status": 500, "spent_ms": 0, "body": b"second"},
            id="another error is an answer",
        ),
        pytest.param(
            [Reply(404, {}, cut=Cut("read", "x"))],
            [FIRST],
            {"status": 404, "spent_ms": 0},
            id="a broken answer is final",
        ),
    ],
)
def test_conversations(replies: list[Reply], plans: object, outcome: object) -> None:
    script = Script(*replies)
    assert run(script, converse(OPERATION, REQUEST, CALL)) == outcome  # type: ignore[arg-type]
    assert script.plans == plans


def test_a_request_that_cannot_be_planned_is_not_sent() -> None:
    script = Script()
    assert run(script, converse(OPERATION, {}, CALL)) == errors.invalid("empty")  # type: ignore[arg-type]
    assert script.plans == []


def test_every_streamed_operation_has_a_fold() -> None:
    streamed = {name for name, operation in OPERATIONS.items() if operation.fold is not None}
    assert streamed == {name for name in OPERATIONS if name.endswith("_stream")}
