"""Requests of the Responses API that two answers to are worth a look side by side.

The texts are those that the project's tiny model has learnt, with the tools
that it knows; another model gives other texts, and much the same shapes.
"""

from collections.abc import Mapping
from typing import Final

from .layers import translate

_WEATHER: Final[translate.Document] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
_SCHEMA: Final[translate.Document] = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}
_QUICK: Final[translate.Document] = {"reasoning": {"effort": "none"}}
_ASKED: Final[translate.Document] = {"role": "user", "content": "What is the weather in Paris?"}
_CALLED: Final[translate.Document] = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city": "Paris"}',
}
_RESULT: Final[translate.Document] = {
    "type": "function_call_output",
    "call_id": "call_1",
    "output": "18 and clear",
}

QUESTIONS: Final[Mapping[str, translate.Document]] = {
    "text": {"input": "Hello", **_QUICK},
    "reasoning": {"input": "What is the capital of France?"},
    "instructions": {"input": "Hello", "instructions": "You are a pirate.", **_QUICK},
    "one call": {"input": "What is the weather in Paris?", "tools": [_WEATHER], **_QUICK},
    "two calls": {"input": "What is the weather in Paris and Rome?", "tools": [_WEATHER]},
    "named call": {
        "input": "Use the tool for Lima.",
        "tools": [_WEATHER],
        "tool_choice": {"type": "function", "name": "get_weather"},
        **_QUICK,
    },
    "tool result": {"input": [_ASKED, _CALLED, _RESULT], "tools": [_WEATHER], **_QUICK},
    "json_schema": {
        "input": "Give me Paris as JSON.",
        "text": {"format": {"type": "json_schema", "name": "place", "schema": _SCHEMA}},
        **_QUICK,
    },
    "cut": {"input": "Count to five.", "max_output_tokens": 8, **_QUICK},
    "logprobs": {
        "input": "Name a colour.",
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 1,
        "max_output_tokens": 4,
        **_QUICK,
    },
    "echo": {
        "input": "Hello",
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "presence_penalty": 0.1,
        "service_tier": "flex",
        "top_p": 0.9,
        "truncation": "auto",
        "user": "u",
        "max_output_tokens": 4,
        **_QUICK,
    },
    "conversation": {"input": "Hello", "conversation": "conv_1", "max_output_tokens": 4, **_QUICK},
    "hosted tool": {
        "input": "Hello",
        "tools": [{"type": "web_search"}],
        "max_output_tokens": 4,
        **_QUICK,
    },
    "earlier response": {"input": "Hello", "previous_response_id": "resp_1"},
    "in the background": {"input": "Hello", "background": True},
    "no input": {},
    "temperature": {"input": "Hello", "temperature": 9},
    "unknown model": {"input": "Hello", "model": "nobody"},
}
"""By name; ``model``, a temperature of 0 and a limit of 64 tokens are added where they say none."""


def body(question: translate.Document, model: str, streamed: bool) -> translate.Document:
    """A question as a client sends it to ``model``."""
    defaults = {"model": model, "temperature": 0, "max_output_tokens": 64}
    return {**defaults, **question, **({"stream": True} if streamed else {})}
