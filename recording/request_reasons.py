"""Why a field that vLLM accepts does not go out as it came in, place by place.

What is not here goes out as it is. A place is that of the request or, where
something is added, that of what is sent; ``[]`` stands for every item.
"""

from collections.abc import Mapping
from typing import Final

from translate.types import RequestType

_PLAIN_STREAM: Final = "false is the default; left out"
_NOT_STREAMED: Final = "dropped where the answer is not streamed: vLLM answers 400 to it there"
_USAGE: Final = "added, and true whatever the client said: the final chunk carries usage"
_RENAMED: Final = "max_tokens becomes max_completion_tokens, its newer name, unless both are set"
_NO_MEMORY: Final = "refused: nothing is stored, where vLLM ignores it or finds nothing"
_BY_ANOTHER_NAME: Final = "by its name in a chat completion: "
_ADDED: Final = "made of another field: "

_WHOLE: Final[Mapping[str, str]] = {"stream": _PLAIN_STREAM, "stream_options": _NOT_STREAMED}
_STREAM: Final[Mapping[str, str]] = {"stream_options": _USAGE, "stream_options.include_usage": _USAGE}
_CHAT: Final[Mapping[str, str]] = {"max_tokens": _RENAMED, "max_completion_tokens": _RENAMED}
_RESPONSE: Final[Mapping[str, str]] = {
    "background": "false is the default and left out; true is refused: nothing is stored",
    "include": "log probabilities of the text become logprobs; the rest is dropped, vLLM has no such parts",
    "instructions": "the first message of the system",
    "logprobs": _ADDED + "include, or top_logprobs, to which vLLM answers 400 without it",
    "max_completion_tokens": _ADDED + "max_output_tokens",
    "max_output_tokens": _BY_ANOTHER_NAME + "max_completion_tokens",
    "max_tool_calls": "dropped: it counts calls of tools that a provider runs itself",
    "parallel_tool_calls": "dropped where there are no tools: vLLM answers 400 to it there",
    "previous_response_id": _NO_MEMORY,
    "prompt": _NO_MEMORY,
    "prompt_cache_key": "dropped: OpenAI's, without effect on a chat completion of vLLM",
    "reasoning": "the effort becomes reasoning_effort; the rest is dropped, vLLM does not summarise thoughts",
    "reasoning_effort": _ADDED + "reasoning.effort",
    "response_format": _ADDED + "text.format",
    "store": "dropped: nothing is stored",
    "text": "the format becomes response_format; verbosity is dropped, vLLM has none",
    "tool_choice": "nested as chat completions have it; allowed_tools sends only those tools",
    "tools": "functions are nested as chat completions have them; tools that OpenAI runs itself are refused",
    "truncation": "dropped: vLLM answers 400 to a prompt that is too long",
}

REASONS: Final[Mapping[RequestType, Mapping[str, str]]] = {
    "chat_completion": {**_WHOLE, **_CHAT},
    "chat_completion_stream": {**_STREAM, **_CHAT},
    "text_completion": _WHOLE,
    "text_completion_stream": _STREAM,
    "embedding": {
        "encoding_format": "as it is, but bytes and bytes_only are refused: their answer is not JSON",
    },
    "rerank": {
        "documents": "as they are, but one that is in no list is put into a list, which older servers want",
    },
    "transcription": {
        "stream": _PLAIN_STREAM,
        "stream_include_usage": _NOT_STREAMED,
        "stream_continuous_usage_stats": _NOT_STREAMED,
    },
    "transcription_stream": {
        "response_format": "as it is, but verbose_json is refused: vLLM does not stream it",
        "stream_include_usage": _USAGE,
    },
    "responses": {**_RESPONSE, "stream": _PLAIN_STREAM},
    "responses_stream": {
        **_RESPONSE,
        "stream_options": "include_usage is added: the last event carries usage",
    },
}
"""By the operation and the place."""

SKIPPED: Final[Mapping[str, str]] = {
    "model": "without the prefix `vllm/`, or what an alias stands for",
    "input": "of a response: the messages of a chat completion",
    "file": "of a transcription: the same bytes under the same name",
}
"""What is translated as a whole, and tried elsewhere."""
