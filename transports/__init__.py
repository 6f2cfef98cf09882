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
    from .cassette import Recording, Recordings
    from .cassette_store import CassetteStore
    from .cassette_writer import CassetteWriter, Limits
    from .connection_pool import ConnectionPool
    from .httptools_transport import HttptoolsTransport
    from .plain_session import PlainSession
    from .playback import Recut, Timing, as_timing
    from .recorder import AsyncRecordingTransport, Exchange, RecordingTransport, Sink
    from .redaction import Rule
    from .replay import AsyncReplayTransport, ReplayTransport
    from .requests_transport import RequestsTransport
    from .scripted_faults import Fault

__all__ = [
    "AiohttpTransport",
    "AsyncFinishable",
    "AsyncRecordingTransport",
    "AsyncReplayTransport",
    "AsyncStream",
    "AsyncTransport",
    "BodyLike",
    "CassetteStore",
    "CassetteWriter",
    "ConnectionPool",
    "Cut",
    "CutKind",
    "Endpoint",
    "Exchange",
    "Fault",
    "Finishable",
    "FoldLike",
    "HttptoolsTransport",
    "Limits",
    "Piece",
    "PlainSession",
    "PlanLike",
    "Recording",
    "RecordingTransport",
    "Recordings",
    "Recut",
    "ReplayTransport",
    "Reply",
    "RequestsTransport",
    "Rule",
    "Sink",
    "Stream",
    "Timeouts",
    "Timing",
    "Transport",
    "as_timing",
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
    "AsyncRecordingTransport": ".recorder",
    "AsyncReplayTransport": ".replay",
    "CassetteStore": ".cassette_store",
    "CassetteWriter": ".cassette_writer",
    "ConnectionPool": ".connection_pool",
    "Exchange": ".recorder",
    "Fault": ".scripted_faults",
    "HttptoolsTransport": ".httptools_transport",
    "Limits": ".cassette_writer",
    "Recording": ".cassette",
    "PlainSession": ".plain_session",
    "RecordingTransport": ".recorder",
    "Recordings": ".cassette",
    "Recut": ".playback",
    "ReplayTransport": ".replay",
    "RequestsTransport": ".requests_transport",
    "Rule": ".redaction",
    "Sink": ".recorder",
    "Timing": ".playback",
    "as_timing": ".playback",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return value
