"""Why vLLM's own responses differ from those made of its chat completions, place by place."""

from collections.abc import Mapping
from typing import Final

_NOT_TOLD: Final = "a field of vLLM's own that chat completions do not tell; null here would be invented"
_ABSENT: Final = "an optional field, null in every answer of vLLM here; left out instead"
_ECHOED: Final = "a request that names none had none; the field of OpenAI's schema is there all the same"
_BIFROST: Final = "what Bifrost adds to every answer: provider, models, latency, notes"
_ERROR: Final = "a field of Bifrost's errors"
_CUT: Final = (
    "vLLM ends every stream with response.completed; OpenAI's event for a cut one is response.incomplete"
)
_TRANSFER: Final = (
    "null in chat completions too, and then left out; a value is kept under `extra_fields.chat_completion`"
)
_TURNS: Final = "counts by turn of vLLM's own loop with hosted tools, of which there is none here"

REASONS: Final[Mapping[str, str]] = {
    "event.extra_fields": _BIFROST,
    "event.last.type": _CUT,
    "event.response.output_text.done.logprobs[]": "vLLM leaves the list empty at the end of a text; here it "
    "has all that the deltas had",
    "events[]": _CUT,
    "refusal.error.code": "vLLM repeats the HTTP status as a number; codes are texts here, and an error "
    "found before anything is sent has none",
    "refusal.error.message": "what is refused before it is sent is refused in words of our own, which "
    "name the field",
    "refusal.error.param": "the field itself, without vLLM's prefix for the body",
    "refusal.error.type": "OpenAI's type of this error, which clients look for",
    "refusal.extra_fields": _BIFROST,
    "refusal.is_bifrost_error": _ERROR,
    "refusal.status_code": _ERROR,
    "response.ec_transfer_params": _TRANSFER,
    "response.error": "OpenAI's schema wants the field, null where nothing failed; vLLM leaves it out",
    "response.extra_fields": _BIFROST,
    "response.input_messages": _NOT_TOLD,
    "response.kv_transfer_params": _TRANSFER,
    "response.metadata": "OpenAI's clients want an object; without any it is empty",
    "response.output[].async": _ABSENT,
    "response.output[].caller": _ABSENT,
    "response.output[].content": "an item is announced with a list that is empty, which clients append to",
    "response.output[].content[].logprobs": "OpenAI's schema wants a list; without any it is empty",
    "response.output[].encrypted_content": _ABSENT,
    "response.output[].namespace": _ABSENT,
    "response.output[].phase": _ABSENT,
    "response.output[].status": "every item has a status, reasoning too; the last item of a cut response is "
    "incomplete, where vLLM calls it completed",
    "response.output_messages": _NOT_TOLD,
    "response.prompt": "a stored prompt, of which there is none",
    "response.prompt_cache_key": _ECHOED,
    "response.reasoning": "the members that OpenAI documents, null where the request names none",
    "response.reasoning.context": _ABSENT,
    "response.reasoning.generate_summary": "deprecated by OpenAI for `summary`; left out",
    "response.reasoning.mode": _ABSENT,
    "response.safety_identifier": _ECHOED,
    "response.service_tier": "vLLM repeats the request's or says auto; here it is what the "
    "server says of the chat completion, and that is null",
    "response.stop_reason": "Bifrost's field: the finish reason of the chat completion",
    "response.store": "nothing is stored, and the response says so",
    "response.temperature": "the same number; vLLM writes every one with a fraction, here it is as it was "
    "sent",
    "response.text": "OpenAI's default, spelt out",
    "response.text.verbosity": _ABSENT,
    "response.tool_choice": "without tools vLLM says none; OpenAI's default is auto",
    "response.tools[].allowed_callers": _ABSENT,
    "response.tools[].async": _ABSENT,
    "response.tools[].defer_loading": _ABSENT,
    "response.tools[].output_schema": _ABSENT,
    "response.top_p": "vLLM says what it used: its default, and 1 at temperature 0; here it is as "
    "it was sent",
    "response.usage.input_tokens_details.cached_read_tokens": "Bifrost's name for `cached_tokens`, there "
    "when the cache was hit",
    "response.usage.input_tokens_details.cached_tokens_per_turn": _TURNS,
    "response.usage.input_tokens_details.created_cache_tokens": "chat completions' own name for "
    "`cache_write_tokens`, kept beside it",
    "response.usage.input_tokens_details.input_tokens_per_turn": _TURNS,
    "response.usage.output_tokens_details.output_tokens_per_turn": _TURNS,
    "response.usage.output_tokens_details.tool_output_tokens": _TURNS,
    "response.usage.output_tokens_details.tool_output_tokens_per_turn": _TURNS,
    "status": "a conversation, a response that is stored and a hosted tool are refused before anything is "
    "sent; vLLM ignores the first and the last without a word, and finds no response that it did not store",
}
"""By the places of ``comparison.responses``."""
