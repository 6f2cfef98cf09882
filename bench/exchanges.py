"""What clients ask and what vLLM 0.32.0 answers, byte for byte in its spelling; no two runs differ."""

import json
from typing import Final

MODEL: Final = "bench"

EVENTS: Final = 260
"""Events of a stream: the role, 256 tokens, the finish, the usage, and ``[DONE]``."""

PROMPT: Final = "Explain in a few sentences why the sky is blue, and what makes a sunset red. " * 3


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# -- what clients ask; the model's name tells the stand-in how to answer --------------------------


def chat_request(how: str = "plain", prompt: str = PROMPT, **more: object) -> bytes:
    return _compact(
        {
            "model": f"{MODEL}-{how}",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": prompt},
            ],
            "temperature": 0.7,
            "max_completion_tokens": 256,
            **more,
        }
    )


def responses_request(how: str) -> bytes:
    return _compact({"model": f"{MODEL}-{how}", "input": PROMPT, "temperature": 0.7, "stream": True})


def embeddings_request() -> bytes:
    return _compact({"model": f"{MODEL}-plain", "input": [f"{PROMPT} {i}" for i in range(16)]})


def rerank_request() -> bytes:
    documents = [f"Document {i} says what there is to say about light and air." for i in range(100)]
    return _compact({"model": f"{MODEL}-plain", "query": "Why is the sky blue?", "documents": documents})


# -- what vLLM answers ----------------------------------------------------------------------------

_USAGE: Final = {
    "prompt_tokens": 62,
    "total_tokens": 318,
    "completion_tokens": 256,
    "prompt_tokens_details": {"cached_tokens": 0, "created_cache_tokens": 0, "multimodal_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
_SAID: Final = (
    "Sunlight is a mixture of all colours. On its way through the air it meets molecules that are much "
    "smaller than its wavelength, and these scatter blue light far more than red light. "
) * 3

CHAT: Final = _compact(
    {
        "id": "chatcmpl-af4de19c8f09f5f7",
        "object": "chat.completion",
        "created": 1795388272,
        "model": f"{MODEL}-plain",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant", "content": _SAID, "refusal": None, "annotations": None,
                    "audio": None, "function_call": None, "reasoning": None,
                },
                "logprobs": None, "finish_reason": "stop", "stop_reason": None, "token_ids": None,
                "routed_experts": None,
            }
        ],
        "service_tier": None, "system_fingerprint": "vllm-0.32.0-3cb8c505", "usage": _USAGE,
        "prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None, "kv_transfer_params": None,
        "ec_transfer_params": None, "metrics": None,
    }
)  # fmt: skip


def _event(choices: list[object], **more: object) -> bytes:
    chunk = {
        "id": "chatcmpl-9dca8f2463cc90c7", "object": "chat.completion.chunk", "created": 1795388272,
        "model": f"{MODEL}-plain", "choices": choices, **more,
    }  # fmt: skip
    return b"data: %b\n\n" % _compact(chunk)


def _token(text: str) -> bytes:
    choice = {
        "index": 0,
        "delta": {"content": text},
        "logprobs": None,
        "finish_reason": None,
        "token_ids": None,
    }
    return _event([choice])


_OPENER: Final = {
    "index": 0,
    "delta": {"role": "assistant", "content": ""},
    "logprobs": None,
    "finish_reason": None,
}
_FINISH: Final = {
    "index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop", "stop_reason": None,
    "token_ids": None,
}  # fmt: skip
_WORDS: Final = (_SAID * 9).split(" ")[: EVENTS - 4]

STREAM: Final = (
    _event([_OPENER], prompt_token_ids=None, prompt_text=None),
    *(_token(f" {word}") for word in _WORDS),
    _event([_FINISH]),
    _event([], usage=_USAGE),
    b"data: [DONE]\n\n",
)
"""The events of one streamed chat."""


def _component(vector: int, position: int) -> float:
    """A number with as many digits as a float32 has when it is printed as a double."""
    return ((vector * 1024 + position) * 2654435761 % 2**32 / 2**32 - 0.5) / 7


EMBEDDINGS: Final = _compact(
    {
        "id": "embd-acc2d4253970b43b",
        "object": "list",
        "created": 1795338214,
        "model": f"{MODEL}-plain",
        "data": [
            {"index": i, "object": "embedding", "embedding": [_component(i, k) for k in range(1024)]}
            for i in range(16)
        ],
        "usage": {
            "prompt_tokens": 992,
            "total_tokens": 992,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }
)

RERANK: Final = _compact(
    {
        "id": "score-9525f37a85ad3929",
        "model": f"{MODEL}-plain",
        "usage": {"prompt_tokens": 2400, "total_tokens": 2400},
        "results": [
            {
                "index": i * 37 % 100,
                "document": {
                    "text": f"Document {i * 37 % 100} says what there is to say about light and air.",
                    "multi_modal": None,
                },
                "relevance_score": 0.9669089317321777 - i * 0.0094135791015625,
            }
            for i in range(100)
        ],
    }
)
