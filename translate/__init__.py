"""Pure translation between Bifrost requests and vLLM's HTTP API.

No function here does I/O, reads a clock or a setting, or changes what it was
given. Trouble is a ``Failure``, returned.
"""

from . import chat, completions, documents, embeddings, errors, models, rerank, responses, sse
from .conversation import Operation, converse, never
from .fold import Fold
from .plan import Body, Call, Chunk, Failure, Note, Plan
from .registry import OPERATIONS
from .types import BifrostError, ChatRequest, Document, ExtraFields, RequestType, ResponsesRequest

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
    "ResponsesRequest",
    "chat",
    "completions",
    "converse",
    "documents",
    "embeddings",
    "errors",
    "models",
    "never",
    "rerank",
    "responses",
    "sse",
]
