"""The replies that servers give to nearly every chat, read by their types.

What most replies hold is known: texts, counts, and a dozen members that are
null. Decoded into structs, such a reply needs no look at what else there might
be, and its answer takes the place that the rules in ``choices`` would give to
each of its members. A reply that holds anything else, or in which there is
something to repair or to note, is left to those rules.

Why the answer is the same: a struct refuses members that it does not name,
numbers where text should be, and whole numbers that are not spelled as such.
The order of members decides nothing but where those stand that have no place
of their own in an answer, of which there is one at most in every object here,
and the order of the counts in ``usage``, which stays. One that comes twice
counts as it does in a dictionary. What is left is ``-0``, which a struct takes
for 0, as do all rules, save for ``created`` and ``stop_reason``.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from . import choices, documents
from .plan import Note

_Null = UnsetType | None


class _Struct(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pass


class _Function(_Struct):
    name: str
    arguments: str


class _ToolCall(_Struct):
    id: str
    function: _Function
    type: Literal["function"]


class _Message(_Struct):
    role: str
    content: str | None
    refusal: _Null = UNSET
    annotations: _Null = UNSET
    audio: _Null = UNSET
    function_call: _Null = UNSET
    tool_calls: list[_ToolCall] | _Null = UNSET
    reasoning: str | _Null = UNSET
    reasoning_content: str | _Null = UNSET


class _Choice(_Struct):
    index: int
    message: _Message
    finish_reason: str
    logprobs: _Null = UNSET
    stop_reason: str | int | _Null = UNSET
    token_ids: _Null = UNSET
    routed_experts: _Null = UNSET


class _PromptDetails(_Struct):
    cached_tokens: int
    created_cache_tokens: int | _Null = UNSET
    multimodal_tokens: int | _Null = UNSET


class _CompletionDetails(_Struct):
    reasoning_tokens: int


class _Usage(_Struct):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | _Null = UNSET
    completion_tokens_details: _CompletionDetails | _Null = UNSET


class _Reply(_Struct):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    service_tier: str | _Null = UNSET
    system_fingerprint: str | _Null = UNSET
    usage: msgspec.Raw | UnsetType = UNSET
    prompt_logprobs: _Null = UNSET
    prompt_token_ids: _Null = UNSET
    prompt_text: _Null = UNSET
    kv_transfer_params: _Null = UNSET
    ec_transfer_params: _Null = UNSET
    metrics: _Null = UNSET


_decode: Final = msgspec.json.Decoder(_Reply).decode
_decode_usage: Final = msgspec.json.Decoder(_Usage).decode
_encode: Final = msgspec.json.Encoder().encode


def answer(body: bytes, notes: list[Note]) -> dict[str, object] | None:
    """The answer that ``body`` is, without ``extra_fields``; ``None`` when the rules must say."""
    try:
        said = _decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    entries: list[dict[str, object]] = []
    for each in said.choices:
        entry = _choice(each)
        if entry is None:
            return None
        entries.append(entry)
    if not entries or not said.created:
        return None
    out: dict[str, object] = {
        "id": said.id,
        "object": "chat.completion",
        "created": said.created,
        "model": said.model,
        "choices": entries,
        "system_fingerprint": said.system_fingerprint or "",
    }
    if said.service_tier is not None and said.service_tier is not UNSET:
        out["service_tier"] = said.service_tier
    if said.usage is not UNSET:
        counts = _usage(bytes(said.usage), notes)
        if counts is not None:
            out["usage"] = counts
    return out


def _choice(said: _Choice) -> dict[str, object] | None:
    message, reason = said.message, said.finish_reason
    if not message.role or not reason:
        return None
    told: dict[str, object] = {"role": message.role, "content": message.content}
    if message.reasoning or message.reasoning_content:
        first, other = message.reasoning, message.reasoning_content
        if first and other and first != other:
            return None
        told.update(choices.reasoning_fields(str(first or other)))
    elif message.reasoning == "" or message.reasoning_content == "":
        return None
    if message.tool_calls:
        if not all(call.id for call in message.tool_calls):
            return None
        told["tool_calls"] = [_tool_call(call, index) for index, call in enumerate(message.tool_calls)]
    elif reason == "tool_calls":
        return None
    entry = {"index": said.index, "message": told, "finish_reason": reason, "logprobs": None}
    if said.stop_reason is not None and said.stop_reason is not UNSET:
        if said.stop_reason == 0:
            return None
        entry["stop_reason"] = said.stop_reason
    return entry


def _tool_call(said: _ToolCall, index: int) -> dict[str, object]:
    function = said.function
    return {
        "index": index,
        "id": said.id,
        "type": "function",
        "function": {"name": function.name, "arguments": function.arguments},
    }


def _usage(data: bytes, notes: list[Note]) -> dict[str, object] | None:
    try:
        said = _decode_usage(data)
        if _encode(said) != data:
            return choices.usage(documents.decode(data), notes)
    except (msgspec.MsgspecError, ValueError):
        return choices.usage(documents.decode(data), notes)
    out: dict[str, object] = {
        "prompt_tokens": said.prompt_tokens,
        "total_tokens": said.total_tokens,
        "completion_tokens": said.completion_tokens,
    }
    if details := said.prompt_tokens_details:
        read, written = details.cached_tokens, details.created_cache_tokens
        counts: dict[str, object] = {"cached_tokens": read}
        if written is not None and written is not UNSET:
            counts["created_cache_tokens"] = written
        if details.multimodal_tokens is not None and details.multimodal_tokens is not UNSET:
            counts["multimodal_tokens"] = details.multimodal_tokens
        if read:
            counts["cached_read_tokens"] = read
        if written:
            counts["cached_write_tokens"] = written
        counts["cache_write_tokens"] = written or 0
        out["prompt_tokens_details"] = counts
    if spent := said.completion_tokens_details:
        out["completion_tokens_details"] = {"reasoning_tokens": spent.reasoning_tokens}
    return out
