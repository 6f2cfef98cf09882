"""The operations, one row each."""

from collections.abc import Mapping
from typing import Final

from . import chat, completions, embeddings, models, rerank, responses
from .conversation import Operation
from .types import RequestType

OPERATIONS: Final[Mapping[RequestType, Operation]] = {
    "list_models": Operation(models.from_flat, models.plan, models.parse),
    "chat_completion": Operation(chat.from_flat, chat.plan, chat.parse),
    "chat_completion_stream": Operation(chat.from_flat, chat.plan, chat.parse, fold=chat.fold),
    "responses": Operation(responses.from_flat, responses.plan, responses.parse),
    "responses_stream": Operation(responses.from_flat, responses.plan, responses.parse, fold=responses.fold),
    "text_completion": Operation(completions.from_flat, completions.plan, completions.parse),
    "text_completion_stream": Operation(
        completions.from_flat, completions.plan, completions.parse, fold=completions.fold
    ),
    "embedding": Operation(embeddings.from_flat, embeddings.plan, embeddings.parse),
    "rerank": Operation(rerank.from_flat, rerank.plan, rerank.parse, rerank.follow_up),
}
