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


class SharedParameters(TypedDict, total=False):
    """Parameters that are treated alike wherever they stand; all others go to the server as they are."""

    extra_body: Document | None
    stream_options: Document | None


class ChatParameters(SharedParameters, total=False):
    """The parameters of a chat that have a rule of their own (``parameters`` says which)."""

    max_tokens: int | None
    max_completion_tokens: int | None
    reasoning: Document | None
    reasoning_effort: str | None
    reasoning_max_tokens: int | None
    tools: Sequence[Document] | None
    tool_choice: str | Document | None
    parallel_tool_calls: bool | None
    structured_outputs: Document | None
    guided_json: object
    guided_regex: str | None
    guided_choice: Sequence[str] | None
    guided_grammar: str | None


class ResponsesParameters(ChatParameters, total=False):
    """The parameters of a response that have a rule of their own (``response_parameters`` says which)."""

    instructions: str | None
    max_output_tokens: int | None
    text: Document | None
    include: Sequence[str] | None
    truncation: str | None
    background: bool | None
    top_logprobs: int | None


class TextCompletionParameters(SharedParameters, total=False):
    """The parameters of a text completion that have a rule of their own."""

    n: int | None
    prompt_embeds: object
    structured_outputs: Document | None


class EmbeddingParameters(SharedParameters, total=False):
    """The parameters of an embedding that decide how its vectors are read."""

    encoding_format: Literal["float", "base64"] | None
    embed_dtype: str | None
    endianness: Literal["native", "big", "little"] | None
    messages: Sequence[Document] | None


class RerankParameters(SharedParameters, total=False):
    """The parameters of a rerank that have a rule of their own; they may stand under ``params``, too."""

    top_n: int | None
    return_documents: bool | None


class TranscriptionParameters(TypedDict, total=False):
    """Fields of a form that have a rule of their own; all others go to the server as they are."""

    language: str
    prompt: str
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"]
    temperature: str
