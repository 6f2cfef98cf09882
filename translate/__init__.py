"""Pure translation between Bifrost requests and vLLM's HTTP API.

No function here does I/O, reads a clock or a setting, or changes what it was
given. Trouble is a ``Failure``, returned.
"""

from . import chat, documents, errors, models, sse, transcriptions
from .conversation import Operation, converse
from .fold import Fold
from .plan import Body, Call, Chunk, Failure, Note, Plan
from .registry import OPERATIONS
from .types import (
    BifrostError,
    ChatRequest,
    Document,
    ExtraFields,
    RequestType,
    TranscriptionInput,
    TranscriptionRequest,
)

__all__ = [
    "OPERATIONS",
    "BifrostError",
    "Body",
    "Call",
    "ChatRequest",
    "Chunk",
    "Document",
    "ExtraFields",
    "Failure",
    "Fold",
    "Note",
    "Operation",
    "Plan",
    "RequestType",
    "TranscriptionInput",
    "TranscriptionRequest",
    "chat",
    "converse",
    "documents",
    "errors",
    "models",
    "sse",
    "transcriptions",
]
