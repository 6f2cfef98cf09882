"""Shapes of the JSON documents that translators read and write.

All of them are open: a key that is not listed here is carried, not refused.
The field lists follow Bifrost's schemas
(https://github.com/maximhq/bifrost/tree/main/core/schemas) and OpenAI's chat
completions (https://platform.openai.com/docs/api-reference/chat).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import NotRequired, TypedDict

Document = Mapping[str, object]
"""A JSON object, read only."""

RequestType = Literal[
    "list_models",
    "chat_completion",
    "chat_completion_stream",
    "responses",
    "responses_stream",
    "text_completion",
    "text_completion_stream",
    "embedding",
    "rerank",
    "transcription",
    "transcription_stream",
]
"""The operations that have translators; Bifrost's names."""


class ErrorField(TypedDict):
    """The ``error`` member of a BifrostError."""

    message: str
    type: NotRequired[str]
    code: NotRequired[str]
    param: NotRequired[object]
    error: NotRequired[str]
    event_id: NotRequired[str]


class BifrostError(TypedDict):
    """The one shape in which every error reaches the client.

    ``is_bifrost_error`` is true when the fault arose on this side of the
    server. The HTTP status is ``status_code``; without one it is 400 when
    ``is_bifrost_error`` is false, else 500. Inside a stream of the Responses
    API it is OpenAI's ``error`` event as well: ``type`` is ``error``, and
    ``code``, ``message``, ``param`` and ``sequence_number`` are there.
    """

    is_bifrost_error: bool
    error: ErrorField
    status_code: NotRequired[int]
    type: NotRequired[str]
    event_id: NotRequired[str]
    code: NotRequired[str | None]
    message: NotRequired[str]
    param: NotRequired[str | None]
    sequence_number: NotRequired[int]
    extra_fields: NotRequired[Mapping[str, object]]


class TranslationNote(TypedDict):
    """One entry of ``extra_fields.translation_notes``."""

    param: str
    action: str
    detail: str


class ExtraFields(TypedDict):
    """What Bifrost adds to every answer; ``latency`` in milliseconds.

    The models are absent where the request names none.
    """

    request_type: str
    provider: str
    routing_info: Mapping[str, object]
    original_model_requested: NotRequired[str]
    resolved_model_used: NotRequired[str]
    latency: int
    chunk_index: int
    raw_request: NotRequired[object]
    raw_response: NotRequired[object]
    translation_notes: NotRequired[Sequence[TranslationNote]]


class ChatRequest(TypedDict):
    """A Bifrost chat request. ``params`` may hold ``extra_params``."""

    model: str
    input: Sequence[Document]
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]


class ResponsesRequest(TypedDict):
    """A Bifrost Responses request. ``params`` may hold ``extra_params``."""

    model: str
    input: str | Sequence[Document]
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]


class TextCompletionRequest(TypedDict):
    """A Bifrost text completion request: ``input`` is the prompt, or several, as text or token ids."""

    model: str
    input: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]


class EmbeddingRequest(TypedDict):
    """A Bifrost embedding request: ``input`` is what to embed, as text or token ids."""

    model: str
    input: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]


class RerankRequest(TypedDict):
    """A Bifrost rerank request: documents, or one, are text or ``{"text", "id", "meta"}``."""

    model: str
    query: str
    documents: str | Document | Sequence[str | Document]
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]


class TranscriptionInput(TypedDict):
    """The audio of a transcription request.

    Without a ``filename`` one is chosen by how the bytes begin; without a
    ``content_type`` it is ``application/octet-stream``.
    """

    file: bytes
    filename: NotRequired[str]
    content_type: NotRequired[str]


class TranscriptionRequest(TypedDict):
    """A Bifrost transcription request. ``params`` may hold ``extra_params``."""

    model: str
    input: TranscriptionInput
    provider: NotRequired[str]
    params: NotRequired[Document]
    fallbacks: NotRequired[Sequence[object]]
