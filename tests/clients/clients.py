"""The clients that are tried: where they live, what they give, and what they cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Way = Literal["sync", "async"]

HELLO: Final = "\n\nHello! How can I help you today?"
THOUGHT: Final = "\nThe user greets me. I greet back.\n"
USAGE: Final = [13, 27]
CALLS: Final = [["get_weather", {"city": "Paris"}]]
ANSWER: Final = "It is 18 degrees and clear in Paris."
CITY: Final = {"city": "Paris", "country": "France"}

Column = Mapping[str, Any]
COLUMNS: Final[Mapping[str, Column]] = {
    "chat": {"chat": HELLO, "usage": USAGE},
    "stream": {"stream": HELLO, "usage in a stream": USAGE},
    "reasoning": {"reasoning": THOUGHT, "reasoning in a stream": THOUGHT},
    "tools": {"tools": CALLS, "tool loop": ANSWER, "tools in a stream": CALLS},
    "structured output": {"structured output": CITY},
    "embeddings": {"embeddings": [384, -0.06287, 0.05507]},
    "rerank": {"rerank": [[0, 0.96807], [1, 0.03209]]},
    "models": {"models": ["vllm/tiny/chat"]},
    "transcription": {"transcription": " Hello world."},
}
"""What each feature gives, by the columns of the first table on the page."""

RESPONSES: Final[Mapping[str, Column]] = {
    "create": {"response": HELLO},
    "create, streamed": {"stream of a response": HELLO},
    "stream with final response": {"final response of a stream": HELLO},
    "reasoning": {
        "reasoning in a response": THOUGHT,
        "reasoning in a stream of a response": THOUGHT,
    },
    "structured output": {"structured response": CITY},
    "two turns with a tool": {"tools in a response": CALLS, "tool loop of responses": ANSWER},
    "the same, streamed": {"streamed tool loop of responses": ANSWER},
}
"""The same of the second table, the Responses API."""

EVERY_COLUMN: Final[Mapping[str, Column]] = {
    **COLUMNS,
    **{f"Responses: {name}": column for name, column in RESPONSES.items()},
}

FAULTS: Final[Mapping[str, str]] = {
    "400": "status=400",
    "401": "status=401",
    "404": "status=404",
    "429": "status=429",
    "503": "status=503",
    "error in a stream": "error-frame-after=4",
    "reset in a stream": "reset-after=1500",
    "error in a streamed response": "error-frame-after=4",
}
"""What a replay is told to do, by the columns of the last table. Statuses alone befall plain questions too."""

OPENAI_ERRORS: Final = {
    "400": "openai.BadRequestError",
    "401": "openai.AuthenticationError",
    "404": "openai.NotFoundError",
    "429": "openai.RateLimitError",
    "503": "openai.InternalServerError",
    "error in a stream": "openai.APIError",
    "reset in a stream": "openai.APIError",
    "error in a streamed response": "openai.APIError",
}
_STREAM_FAULTS: Final = ("error in a stream", "reset in a stream")
LANGCHAIN_ERRORS: Final = {
    "400": "langchain_openai.OpenAIInvalidRequestError",
    "401": "langchain_openai.OpenAIAuthenticationError",
    "404": "langchain_openai.OpenAIModelNotFoundError",
    "429": "langchain_openai.OpenAIRateLimitError",
    "503": "langchain_openai.OpenAIAPIError",
    **dict.fromkeys(_STREAM_FAULTS, "openai.APIError"),
    "error in a streamed response": "builtins.ValueError",
}
LITELLM_ERRORS: Final = {
    "400": "litellm.BadRequestError",
    "401": "litellm.AuthenticationError",
    "404": "litellm.NotFoundError",
    "429": "litellm.RateLimitError",
    "503": "litellm.ServiceUnavailableError",
    **dict.fromkeys(_STREAM_FAULTS, "litellm.MidStreamFallbackError"),
    "error in a streamed response": "none",
}
PYDANTIC_AI_ERRORS: Final = {
    "400": "pydantic_ai.ModelRequestRejectedError",
    "401": "pydantic_ai.ModelAuthenticationError",
    "404": "pydantic_ai.ModelNotFoundError",
    "429": "pydantic_ai.ModelRateLimitError",
    "503": "pydantic_ai.ModelUnavailableError",
    "error in a stream": "pydantic_ai.ModelServerError",
    "reset in a stream": "pydantic_ai.ModelAPIError",
    "error in a streamed response": "pydantic_ai.ModelServerError",
}
AI_SDK_ERRORS: Final = {
    **{status: "APICallError" for status in FAULTS if status.isdigit()},
    **dict.fromkeys(_STREAM_FAULTS, "StreamProviderError"),
}
CURL_ERRORS: Final = {
    **{status: f"exit status 22, HTTP {status}" for status in FAULTS if status.isdigit()},
    **dict.fromkeys(_STREAM_FAULTS, "exit status 0, an event with `error`, no `[DONE]`"),
    "error in a streamed response": "exit status 0, an event with `error`",
}

TASKS: Final = {
    "chat": (
        *("chat", "stream", "tools", "tools stream", "structured", "models"),
        *("response", "response events", "response stream", "response structured"),
        *("response tools", "response tools stream"),
    ),
    "embeddings": ("embeddings",),
    "rerank": ("rerank",),
    "transcription": ("transcription",),
}
"""The tasks of the programs, by the server that is asked, which is called as the column that it is for."""


@dataclass(frozen=True, slots=True)
class Client:
    """One row: a client in one release.

    ``environment`` is a folder of ``.clients``, or empty for a program that the
    machine has. ``package`` is what the client is called there, in whose version
    a reader is interested. ``lacks`` are features that there is no call for;
    ``limits`` such as there is one for, which gives nothing, and why.
    """

    name: str
    environment: str
    package: str
    program: str
    arguments: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ("sync", "async")
    lacks: frozenset[str] = frozenset()
    limits: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=lambda: OPENAI_ERRORS)
    cassettes: str = ""
    """A folder, unless that of the environment; releases share one."""

    @property
    def recordings(self) -> str:
        return self.cassettes or self.environment or self.program

    def expected(self, column: Column) -> dict[str, Any]:
        """What the features of a column give here."""
        return {
            name: None if name in self.limits else value
            for name, value in column.items()
            if name not in self.lacks
        }


def _features(*columns: str) -> frozenset[str]:
    return frozenset(name for column in columns for name in EVERY_COLUMN[column])


_RESPONSES: Final = tuple(f"Responses: {name}" for name in RESPONSES)
_FINAL: Final = frozenset({"final response of a stream"})
_STREAMED_LOOP: Final = frozenset({"streamed tool loop of responses"})

CLIENTS: Final = (
    *(
        Client(
            f"openai-python {version}",
            f"openai-{folder}",
            "openai",
            "try_openai.py",
            lacks=_features("rerank"),
            cassettes="openai",
        )
        for version, folder in (("1.x", "1"), ("2.x", "2"), ("newest", "newest"))
    ),
    Client(
        "OpenAI Agents SDK",
        "openai-agents",
        "openai-agents",
        "try_agents.py",
        ways=("async",),
        errors={**OPENAI_ERRORS, "error in a streamed response": "agents.ModelBehaviorError"},
        lacks=_features("embeddings", "rerank", "models", "transcription") | _FINAL,
    ),
    Client(
        "LangChain (langchain-openai)",
        "langchain",
        "langchain-openai",
        "try_langchain.py",
        lacks=_features("rerank", "models", "transcription") | _FINAL | _STREAMED_LOOP,
        limits={
            **dict.fromkeys(
                ("reasoning", "reasoning in a stream"),
                "`ChatOpenAI` reads the fields of OpenAI's own chat completions alone; with `use_responses_api=True` "
                "thoughts are there",
            ),
            "reasoning in a stream of a response": "of a streamed response it reads summaries alone",
        },
        errors=LANGCHAIN_ERRORS,
    ),
    Client(
        "LlamaIndex (OpenAILike)",
        "llama-index",
        "llama-index-llms-openai-like",
        "try_llama_index.py",
        lacks=_features("rerank", "models", "transcription", *_RESPONSES[4:]) | _FINAL,
    ),
    *(
        Client(
            f"LiteLLM (`{provider}/`)",
            "litellm",
            "litellm",
            "try_litellm.py",
            (provider,),
            lacks=_features("models", *no_rerank) | _FINAL | _STREAMED_LOOP,
            limits={
                "reasoning in a stream of a response": "it asks for a whole response, and makes a stream of its "
                "text, for models that are not in its list of prices",
            },
            errors=LITELLM_ERRORS,
            cassettes=f"litellm-{provider}",
        )
        for provider, no_rerank in (("hosted_vllm", ()), ("openai", ("rerank",)))
    ),
    Client(
        "Pydantic AI",
        "pydantic-ai",
        "pydantic-ai-slim",
        "try_pydantic_ai.py",
        lacks=_features("rerank", "models", "transcription") | _FINAL | _STREAMED_LOOP,
        errors=PYDANTIC_AI_ERRORS,
    ),
    Client(
        "openai-node",
        "openai-node",
        "openai",
        "try_openai_node.mjs",
        ways=("async",),
        lacks=_features("rerank") | _STREAMED_LOOP,
        errors={fault: name.removeprefix("openai.") for fault, name in OPENAI_ERRORS.items()},
    ),
    Client(
        "Vercel AI SDK (openai-compatible)",
        "ai-sdk",
        "@ai-sdk/openai-compatible",
        "try_ai_sdk.mjs",
        ways=("async",),
        lacks=_features("rerank", "models", "transcription", *_RESPONSES),
        errors=AI_SDK_ERRORS,
    ),
    Client(
        "curl",
        "",
        "curl",
        "try_curl.py",
        ways=("sync",),
        lacks=_features("Responses: structured output") | _FINAL | _STREAMED_LOOP,
        errors=CURL_ERRORS,
        cassettes="curl",
    ),
)
