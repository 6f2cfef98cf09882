"""The operations, one row each."""

from collections.abc import Mapping
from typing import Final

from . import chat, completions, embeddings, models, rerank
from .conversation import Operation
from .types import RequestType

OPERATIONS: Final[Mapping[RequestType, Operation]] = {
    "list_models": Operation(models.from_flat, models.plan, models.parse),
    "chat_completion": Operation(chat.from_flat, chat.plan, chat.parse, noted=chat.noted),
    "chat_completion_stream": Operation(
        chat.from_flat, chat.plan, chat.parse, fold=chat.fold, noted=chat.noted
    ),
    "text_completion": Operation(
        completions.from_flat, completions.plan, completions.parse, noted=completions.noted
    ),
    "text_completion_stream": Operation(
        completions.from_flat,
        completions.plan,
        completions.parse,
        fold=completions.fold,
        noted=completions.noted,
    ),
    "embedding": Operation(embeddings.from_flat, embeddings.plan, embeddings.parse, noted=embeddings.noted),
    "rerank": Operation(rerank.from_flat, rerank.plan, rerank.parse, rerank.follow_up, noted=rerank.noted),
}
