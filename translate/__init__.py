"""Pure translation between Bifrost requests and vLLM's HTTP API.

No function here does I/O, reads a clock or a setting, or changes what it was
given. Trouble is a ``Failure``, returned.
"""

from . import (
    chat,
    completions,
    documents,
    embeddings,
    errors,
    explanation,
    models,
    rerank,
    responses,
    servers,
    sse,
    transcriptions,
)
from .conversation import Begun, Operation, Prepared, converse, never, prepared
from .errors import unsupported
from .explanation import explained
from .flat import named_model
from .fold import Fold
from .plan import Body, Call, Chunk, Failure, Note, Plan
from .registry import OPERATIONS, UNSUPPORTED
from .types import (
    BifrostError,
    ChatRequest,
    Document,
    EmbeddingRequest,
    ExtraFields,
    RequestType,
    RerankRequest,
    ResponsesRequest,
    TextCompletionRequest,
    TranscriptionInput,
    TranscriptionRequest,
)

__all__ = [
    "OPERATIONS",
    "UNSUPPORTED",
    "Begun",
    "BifrostError",
    "Body",
    "Call",
    "ChatRequest",
    "Chunk",
    "Document",
    "EmbeddingRequest",
    "ExtraFields",
    "Failure",
    "Fold",
    "Note",
    "Operation",
    "Plan",
    "Prepared",
    "RequestType",
    "RerankRequest",
    "ResponsesRequest",
    "TextCompletionRequest",
    "TranscriptionInput",
    "TranscriptionRequest",
    "chat",
    "completions",
    "converse",
    "documents",
    "embeddings",
    "errors",
    "explained",
    "explanation",
    "models",
    "named_model",
    "never",
    "prepared",
    "rerank",
    "responses",
    "servers",
    "sse",
    "transcriptions",
    "unsupported",
]
