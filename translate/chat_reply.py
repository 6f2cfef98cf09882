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

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from . import choices, documents

_Text = Annotated[str, Meta(min_length=1)]
_Positive = Annotated[int, Meta(gt=0)]


class _Sparse(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """An object that is written without what is null."""


class _Function(_Sparse):
    name: str
    arguments: str


class _ToolCall(_Sparse, kw_only=True):
    index: int | None = None
    id: _Text
    type: Literal["function"]
    function: _Function


class _Message(_Sparse):
    role: _Text
    content: str | None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    reasoning: _Text | None = None
    reasoning_content: _Text | None = None
    reasoning_details: None = None  # servers have none
    tool_calls: list[_ToolCall] | None = None


class _Choice(_Sparse):
    index: int
    message: _Message
    finish_reason: _Text | None
    logprobs: None
    stop_reason: str | _Positive | None = None
    token_ids: None = None
    routed_experts: None = None


class _Exact(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object that is written just as it was read."""


class _PromptDetails(_Exact):
    cached_tokens: int
    created_cache_tokens: int | UnsetType | None = UNSET
    multimodal_tokens: int | UnsetType | None = UNSET
    cached_read_tokens: UnsetType = UNSET  # these three are Bifrost's
    cached_write_tokens: UnsetType = UNSET
    cache_write_tokens: UnsetType = UNSET


class _CompletionDetails(_Exact):
    reasoning_tokens: int


class _Usage(_Exact):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | UnsetType | None = UNSET
    completion_tokens_details: _CompletionDetails | UnsetType | None = UNSET


class _Answer(_Sparse, kw_only=True):
    id: str
    object: Literal["chat.completion"]
    created: _Positive
    model: str
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: Raw
    prompt_logprobs: None = None
    prompt_token_ids: None = None
    prompt_text: None = None
    kv_transfer_params: None = None
    ec_transfer_params: None = None
    metrics: None = None
    extra_fields: None = None  # likewise


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_usage: Final = msgspec.json.Decoder(_Usage).decode
_encode: Final = msgspec.json.Encoder().encode


def answer(body: bytes, extra_fields: Raw) -> documents.Encoded | None:
    """The answer that ``body`` is, with these ``extra_fields``; ``None`` when the rules must say."""
    try:
        said = _decode(body)
        usage = _usage(bytes(said.usage))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if usage is None:
        return None
    for choice in said.choices:
        message = choice.message
        if (message.reasoning or message.reasoning_content) and not _has_thought(message):
            return None
        if message.tool_calls:
            if not _has_called(message.tool_calls):
                return None
        elif choice.finish_reason == "tool_calls":
            return None
        else:
            message.tool_calls = None
    # From here on, members hold what is to be written in the place of what was read.
    if not said.system_fingerprint:
        said.system_fingerprint = ""
    said.usage = usage  # type: ignore[assignment]
    said.extra_fields = extra_fields  # type: ignore[assignment]
    details = usage.prompt_tokens_details
    tokens = usage.prompt_tokens, usage.completion_tokens, details.cached_tokens if details else None
    return documents.Encoded(_encode(said), None, b"", tokens)


def _has_thought(message: _Message) -> bool:
    """Gives thoughts all the names that clients read; false where two say different things."""
    first, other = message.reasoning, message.reasoning_content
    if first and other and first != other:
        return False
    fields = choices.reasoning_fields(first or other or "")
    message.reasoning = message.reasoning_content = first or other
    message.reasoning_details = fields["reasoning_details"]  # type: ignore[assignment]
    return True


def _has_called(calls: Sequence[_ToolCall]) -> bool:
    """Numbers calls in their order; false where the server did so in another one."""
    for index, call in enumerate(calls):
        if call.index not in (None, index):
            return False
        call.index = index
    return True


def _usage(data: bytes) -> _Usage | None:
    said = _decode_usage(data)
    if _encode(said) != data:
        return None
    details = said.prompt_tokens_details
    if details:
        written = details.created_cache_tokens
        if details.cached_tokens:
            details.cached_read_tokens = details.cached_tokens  # type: ignore[assignment]
        if written:
            details.cached_write_tokens = written  # type: ignore[assignment]
        elif written is None:
            details.created_cache_tokens = UNSET
        details.cache_write_tokens = written or 0  # type: ignore[assignment]
        if details.multimodal_tokens is None:
            details.multimodal_tokens = UNSET
    else:
        said.prompt_tokens_details = UNSET
    if not said.completion_tokens_details:
        said.completion_tokens_details = UNSET
    return said
