"""The operations, one row each."""

from collections.abc import Mapping
from typing import Final

from . import chat, completions, embeddings, models, rerank, responses, transcriptions
from .conversation import Operation
from .types import RequestType

OPERATIONS: Final[Mapping[RequestType, Operation]] = {
    "list_models": Operation(models.from_flat, models.plan, models.parse, noted=models.noted),
    "chat_completion": Operation(
        chat.from_flat, chat.plan, chat.parse, noted=chat.noted, once=chat.ONCE, of_flat=chat.OF_FLAT
    ),
    "chat_completion_stream": Operation(
        chat.from_flat, chat.plan, chat.parse, fold=chat.fold, noted=chat.noted, of_flat=chat.OF_FLAT
    ),
    "responses": Operation(responses.from_flat, responses.plan, responses.parse, noted=responses.noted),
    "responses_stream": Operation(
        responses.from_flat, responses.plan, responses.parse, fold=responses.fold, noted=responses.noted
    ),
    "text_completion": Operation(
        completions.from_flat,
        completions.plan,
        completions.parse,
        noted=completions.noted,
        once=completions.ONCE,
    ),
    "text_completion_stream": Operation(
        completions.from_flat,
        completions.plan,
        completions.parse,
        fold=completions.fold,
        noted=completions.noted,
    ),
    "embedding": Operation(
        embeddings.from_flat,
        embeddings.plan,
        embeddings.parse,
        noted=embeddings.noted,
        once=embeddings.ONCE,
    ),
    "rerank": Operation(
        rerank.from_flat, rerank.plan, rerank.parse, rerank.follow_up, noted=rerank.noted, once=rerank.ONCE
    ),
    "transcription": Operation(
        transcriptions.from_flat, transcriptions.plan, transcriptions.parse, noted=transcriptions.noted
    ),
    "transcription_stream": Operation(
        transcriptions.from_flat,
        transcriptions.plan,
        transcriptions.parse,
        fold=transcriptions.fold,
        noted=transcriptions.noted,
    ),
}

UNSUPPORTED: Final = frozenset({
    "batch_cancel", "batch_create", "batch_delete", "batch_list", "batch_results", "batch_retrieve",
    "cached_content_create", "cached_content_delete", "cached_content_list", "cached_content_retrieve",
    "cached_content_update",
    "compaction",
    "container_create", "container_delete", "container_list", "container_retrieve",
    "container_file_content", "container_file_create", "container_file_delete", "container_file_list",
    "container_file_retrieve",
    "count_tokens",
    "decisions",
    "file_content", "file_delete", "file_list", "file_retrieve", "file_upload",
    "image_edit", "image_edit_stream", "image_generation", "image_generation_stream", "image_variation",
    "ocr",
    "passthrough", "passthrough_stream",
    "responses_cancel", "responses_delete", "responses_input_items", "responses_retrieve",
    "speech", "speech_stream",
    "video_delete", "video_download", "video_edit", "video_generation", "video_list", "video_remix",
    "video_retrieve",
})  # fmt: skip
"""Bifrost's types of requests that vLLM does not serve; ``errors.unsupported`` answers them."""
