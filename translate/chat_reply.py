"""The replies that servers give to nearly every chat, read by their types.

What most replies hold is known: texts, counts, and a dozen members that are
null. They are read into structs whose members stand in the order of an answer
and which are written without those that are null, so that little is left to
do for a caller who only encodes what comes out. A reply that holds anything
else, or in which there is something to repair or to note, is left to the rules
in ``choices``.

Why the answer is the one that these would give: structs refuse members that
they do not name, other types, and whole numbers that are not spelled as such.
The order of members decides nothing in an answer but where those stand that
have no place of their own, of which an object here has one at most; ``usage``,
whose counts stay in their order, is written again and compared. A member that
comes twice counts as it does in a dictionary. What is left is ``-0``, which a
struct takes for 0, as do the rules, save for ``created`` and ``stop_reason``.
"""

from collections.abc import Mapping
from typing import Final, Literal, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from . import choices, documents
from .types import Document


class _Sparse(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """An object that is written without what is null."""


class _Function(_Sparse):
    name: str
    arguments: str


class _ToolCall(_Sparse, kw_only=True):
    index: int | None = None
    id: str
    type: Literal["function"]
    function: _Function


class _Message(_Sparse):
    role: str
    content: str | None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: object = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(_Sparse):
    index: int
    message: _Message
    finish_reason: str | None
    logprobs: None
    stop_reason: str | int | None = None
    token_ids: None = None
    routed_experts: None = None


class _Exact(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object that is written just as it was read."""


class _PromptDetails(_Exact):
    cached_tokens: int
    created_cache_tokens: int | UnsetType | None = UNSET
    multimodal_tokens: int | UnsetType | None = UNSET
    cached_read_tokens: int | UnsetType = UNSET
    cached_write_tokens: int | UnsetType = UNSET
    cache_write_tokens: int | UnsetType = UNSET


class _CompletionDetails(_Exact):
    reasoning_tokens: int


class _Usage(_Exact):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | UnsetType | None = UNSET
    completion_tokens_details: _CompletionDetails | UnsetType | None = UNSET


class Answer(_Sparse, kw_only=True):
    """An answer, but for its ``extra_fields``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: Raw
    prompt_logprobs: None = None
    prompt_token_ids: None = None
    prompt_text: None = None
    kv_transfer_params: None = None
    ec_transfer_params: None = None
    metrics: None = None
    extra_fields: Document | None = None


_decode: Final = msgspec.json.Decoder(Answer).decode
_decode_usage: Final = msgspec.json.Decoder(_Usage).decode
_encode: Final = msgspec.json.Encoder().encode


def answer(body: bytes) -> Answer | None:
    """The answer that ``body`` is; ``None`` when the rules must say."""
    try:
        said = _decode(body)
        usage = _usage(bytes(said.usage))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if usage is None or not said.created or said.extra_fields is not None:
        return None
    for choice in said.choices:
        if not _is_settled(choice):
            return None
    said.usage = cast("Raw", usage)  # what it says in the place of how it said it
    said.system_fingerprint = said.system_fingerprint or ""
    return said if said.choices else None


def encoded(said: Answer, extra_fields: Mapping[str, object]) -> Mapping[str, object]:
    """The answer with these, as JSON; as a dictionary where they are such that this takes longer."""
    said.extra_fields = extra_fields
    data = documents.encode(said)
    if isinstance(data, bytes):
        usage = cast("_Usage", said.usage)
        details = usage.prompt_tokens_details
        cached = details.cached_tokens if details else None
        return documents.Encoded(data, tokens=(usage.prompt_tokens, usage.completion_tokens, cached))
    said.extra_fields = None
    return {**msgspec.to_builtins(said), "extra_fields": extra_fields}


def _is_settled(said: _Choice) -> bool:
    """Whether a choice is what clients get, once its thoughts and calls have all their members."""
    message = said.message
    if not message.role or message.reasoning_details is not None or said.stop_reason == 0:
        return False
    if message.reasoning is not None or message.reasoning_content is not None:
        first, other = message.reasoning, message.reasoning_content
        text = first or other
        if not text or (other and other != text):
            return False
        fields = choices.reasoning_fields(text)
        message.reasoning = message.reasoning_content = text
        message.reasoning_details = fields["reasoning_details"]
    if message.tool_calls:
        for index, call in enumerate(message.tool_calls):
            if not call.id or call.index not in (None, index):
                return False
            call.index = index
    elif said.finish_reason == "tool_calls":
        return False
    else:
        message.tool_calls = None
    said.finish_reason = said.finish_reason or None
    return True


def _usage(data: bytes) -> _Usage | None:
    said = _decode_usage(data)
    if _encode(said) != data:
        return None
    details = said.prompt_tokens_details
    if details:
        if (
            details.cached_read_tokens is not UNSET
            or details.cached_write_tokens is not UNSET
            or details.cache_write_tokens is not UNSET
        ):
            return None
        if details.cached_tokens:
            details.cached_read_tokens = details.cached_tokens
        if details.created_cache_tokens:
            details.cached_write_tokens = details.created_cache_tokens
        details.cache_write_tokens = details.created_cache_tokens or 0
        if details.created_cache_tokens is None:
            details.created_cache_tokens = UNSET
        if details.multimodal_tokens is None:
            details.multimodal_tokens = UNSET
    else:
        said.prompt_tokens_details = UNSET
    if not said.completion_tokens_details:
        said.completion_tokens_details = UNSET
    return said
