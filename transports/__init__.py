"""How plans get to a server and answers come back: over requests, over aiohttp, or from recordings.

A transport is imported with its library when its name is first used, so that
a program with one of the libraries does not load the other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .base import (
    AsyncFinishable,
    AsyncStream,
    AsyncTransport,
    BodyLike,
    Cut,
    CutKind,
    Endpoint,
    Finishable,
    FoldLike,
    Piece,
    PlanLike,
    Reply,
    Stream,
    Timeouts,
    Transport,
    batches,
    batches_async,
    fold,
    fold_async,
    reply_headers,
    request_headers,
    run,
    run_async,
    whole,
)

if TYPE_CHECKING:
    from .aiohttp_transport import AiohttpTransport
    from .replay import AsyncReplayTransport, Recording, Recordings, Recut, ReplayTransport
    from .requests_transport import RequestsTransport

__all__ = [
    "AiohttpTransport",
    "AsyncFinishable",
    "AsyncReplayTransport",
    "AsyncStream",
    "AsyncTransport",
    "BodyLike",
    "Cut",
    "CutKind",
    "Endpoint",
    "Finishable",
    "FoldLike",
    "Piece",
    "PlanLike",
    "Recording",
    "Recordings",
    "Recut",
    "ReplayTransport",
    "Reply",
    "RequestsTransport",
    "Stream",
    "Timeouts",
    "Transport",
    "batches",
    "batches_async",
    "fold",
    "fold_async",
    "reply_headers",
    "request_headers",
    "run",
    "run_async",
    "whole",
]

_MODULES: Final = {
    "AiohttpTransport": ".aiohttp_transport",
    "AsyncReplayTransport": ".replay",
    "Recording": ".replay",
    "Recordings": ".replay",
    "Recut": ".replay",
    "ReplayTransport": ".replay",
    "RequestsTransport": ".requests_transport",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return value
