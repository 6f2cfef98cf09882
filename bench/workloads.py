"""What is measured: each row is one kind of work, and how it is loaded."""

from dataclasses import dataclass
from typing import Final

from . import exchanges
from .upstream import TICK_S

DRIP_S: Final = exchanges.EVENTS * TICK_S
"""How long the stand-in takes to drip one stream."""


@dataclass(frozen=True)
class Workload:
    """``per`` is what the CPU time is divided by: answers, or events of the stand-in.

    ``count`` requests go over each connection; without one, as many as the
    time allows.
    """

    name: str
    path: str
    body: bytes
    connections: int = 16
    per: str = "request"
    count: int | None = None
    is_latency: bool = False

    def seconds(self, usual: float) -> float:
        return usual if self.count is None else 3 * DRIP_S


_CHAT: Final = "/v1/chat/completions"

WORKLOADS: Final = (
    Workload("chat", _CHAT, exchanges.chat_request()),
    Workload("chat, 109 KB prompt", _CHAT, exchanges.chat_request(prompt="The sky is blue. " * 6400)),
    Workload("stream, burst", _CHAT, exchanges.chat_request("burst", stream=True), 8, "event"),
    Workload("stream, drip", _CHAT, exchanges.chat_request("drip", stream=True), 64, "event", 1),
    Workload("embeddings", "/v1/embeddings", exchanges.embeddings_request()),
    Workload("rerank", "/v1/rerank", exchanges.rerank_request()),
    Workload("responses stream, burst", "/v1/responses", exchanges.responses_request("burst"), 8, "event"),
    Workload("chat, one connection", _CHAT, exchanges.chat_request(), 1, is_latency=True),
)
