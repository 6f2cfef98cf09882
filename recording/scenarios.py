"""What a scenario is: a question, and enough about its answer to notice a bad one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from translate.plan import Plan
from translate.types import RequestType

from .server import CHAT, EMBED, RERANK, TRANSCRIPTION, Served

Setting = Literal["open", "locked", "crowded", "doomed", "adapted"]
"""The state of the server that is asked: one that answers everybody; one that
wants a key; one that is full; one whose engine is killed while it talks; one
that serves an adapter beside its model, and the model under a second name."""

Key = Literal["none", "right", "wrong"]

Forms = tuple[RequestType, ...]

SERVED_BY: Final[Mapping[RequestType, Served]] = {
    "chat_completion": CHAT,
    "chat_completion_stream": CHAT,
    "text_completion": CHAT,
    "text_completion_stream": CHAT,
    "embedding": EMBED,
    "rerank": RERANK,
    "transcription": TRANSCRIPTION,
    "transcription_stream": TRANSCRIPTION,
    "list_models": CHAT,
}
"""Whose task it is."""


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
    thoughts, texts and calls of the answer, joined; ``body`` in the bytes.
    """

    status: int = 200
    finish: str = ""
    said: str = ""
    body: str = ""


def refused(body: str, status: int = 400) -> Expected:
    """An answer that is an error, and some of its words."""
    return Expected(status, body=body)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question, recorded once for each request type it is asked as.

    ``elsewhere`` is a server that is asked although another one serves these
    requests. ``again`` asks the same thing once before, unrecorded, so that the
    server finds the prompt in its cache. ``key`` is what a server that wants a
    key is given; it is not recorded.
    """

    name: str
    question: Question
    expected: Expected
    forms: Forms
    setting: Setting = "open"
    elsewhere: Served | None = None
    key: Key = "none"
    again: bool = False

    @property
    def served(self) -> Served:
        """The server that is asked."""
        return self.elsewhere or SERVED_BY[self.forms[0]]
