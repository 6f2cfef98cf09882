"""What a scenario is: a question, and enough about its answer to notice a bad one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from translate.plan import Plan
from translate.types import RequestType

Setting = Literal["open", "locked", "crowded", "doomed"]
"""The server that is asked: one that answers everybody; one that wants a key
and is given none; one that is full; one whose engine is killed while it talks."""

PLAIN: Final[tuple[RequestType, ...]] = ("chat_completion",)
STREAMED: Final[tuple[RequestType, ...]] = ("chat_completion_stream",)
BOTH: Final = PLAIN + STREAMED
MODELS: Final[tuple[RequestType, ...]] = ("list_models",)


class FromClient(NamedTuple):
    """What a client posts to the gateway; the translator makes the plan of it."""

    document: Mapping[str, object]


class ToServer(NamedTuple):
    """JSON that is posted as it is, since the translator would never send it."""

    document: Mapping[str, object]


Question = FromClient | ToServer | Plan


@dataclass(frozen=True, slots=True)
class Expected:
    """What must hold of an answer, or the recording is refused.

    ``finish`` is the finish reason of every choice. ``said`` stands in the
    thoughts, texts and calls of the choices, joined; ``body`` in the bytes.
    """

    status: int = 200
    finish: str = ""
    said: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question, recorded once for each request type it is asked as.

    ``again`` asks the same thing once before, unrecorded, so that the server
    finds the prompt in its cache.
    """

    name: str
    question: Question
    expected: Expected = field(default_factory=Expected)
    forms: tuple[RequestType, ...] = BOTH
    setting: Setting = "open"
    again: bool = False
