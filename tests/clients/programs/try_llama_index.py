"""Tries LlamaIndex's ``OpenAILike`` and ``OpenAILikeEmbedding``, synchronous and asynchronous."""

import json
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses
from pydantic import BaseModel, ConfigDict
from trying import (
    CHAT,
    CITY_QUESTION,
    DESCRIPTION,
    EMBED,
    GREETING,
    NO_THOUGHT,
    PARAMETERS,
    SKY,
    WEATHER_QUESTION,
    WITHIN_S,
    Features,
    joined,
    main,
    vector,
)

HELLO = [ChatMessage(role="user", content=GREETING)]
QUESTION = ChatMessage(role="user", content=WEATHER_QUESTION)
SETTINGS: Any = {"api_key": "unused", "max_retries": 0, "timeout": WITHIN_S}


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


class Weather(ToolMetadata):
    """The tool's parameters as they are, not as a model made of a signature has them."""

    def get_parameters_dict(self) -> dict[str, Any]:
        return PARAMETERS


TOOL = FunctionTool(
    fn=lambda city, unit="": SKY, metadata=Weather(name="get_weather", description=DESCRIPTION)
)


def model(url: str, **more: Any) -> OpenAILike:
    return OpenAILike(
        api_base=f"{url}/v1",
        model=CHAT,
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        temperature=0,
        additional_kwargs=more,
        **SETTINGS,
    )


def quick(url: str) -> OpenAILike:
    return model(url, extra_body=NO_THOUGHT)


def responder(url: str) -> OpenAILikeResponses:
    return OpenAILikeResponses(
        api_base=f"{url}/v1",
        model=CHAT,
        is_chat_model=True,
        is_function_calling_model=True,
        temperature=0,
        **SETTINGS,
    )


def embedder(url: str) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(model_name=EMBED, api_base=f"{url}/v1", **SETTINGS)


def told(answer: Any) -> Any:
    thoughts = [block.content for block in answer.message.blocks if block.block_type == "thinking"]
    return "".join(thoughts) or None


def usage(answer: Any) -> Any:
    found = answer.raw.usage
    return found and [found.prompt_tokens, found.completion_tokens]


def of_answer(answer: Any) -> Features:
    return {"chat": answer.message.content, "reasoning": told(answer), "usage": usage(answer)}


def of_chunks(chunks: list[Any]) -> Features:
    return {
        "stream": joined([chunk.delta or "" for chunk in chunks]),
        "reasoning in a stream": told(chunks[-1]),
        "usage in a stream": usage(chunks[-1]),
    }


def of_response(answer: Any) -> Features:
    return {"response": answer.message.content, "reasoning in a response": told(answer)}


def of_response_chunks(chunks: list[Any]) -> Features:
    return {
        "stream of a response": joined([chunk.delta or "" for chunk in chunks]),
        "reasoning in a stream of a response": told(chunks[-1]),
    }


def calls(llm: OpenAILike, answer: Any) -> Any:
    found = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    return [[call.tool_name, call.tool_kwargs] for call in found]


def answered(llm: OpenAILike, answer: Any) -> list[ChatMessage]:
    results = [
        ChatMessage(role="tool", content=SKY, additional_kwargs={"tool_call_id": call.tool_id})
        for call in llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    ]
    return [QUESTION, answer.message, *results]


def formed(answer: Any) -> Features:
    return {"structured output": json.loads(answer.message.content)}


def chat(url: str) -> Features:
    return of_answer(model(url).chat(HELLO))


def stream(url: str) -> Features:
    return of_chunks(list(model(url, stream_options={"include_usage": True}).stream_chat(HELLO)))


def tools(url: str) -> Features:
    llm = quick(url)
    called = llm.chat_with_tools([TOOL], chat_history=[QUESTION])
    answer = llm.chat_with_tools([TOOL], chat_history=answered(llm, called))
    return {"tools": calls(llm, called), "tool loop": answer.message.content}


def tools_stream(url: str) -> Features:
    llm = quick(url)
    return {
        "tools in a stream": calls(llm, list(llm.stream_chat_with_tools([TOOL], chat_history=[QUESTION]))[-1])
    }


def structured(url: str) -> Features:
    return formed(quick(url).as_structured_llm(City).chat([ChatMessage(role="user", content=CITY_QUESTION)]))


def embeddings(url: str) -> Features:
    return vector(embedder(url).get_text_embedding(GREETING))


def response(url: str) -> Features:
    return of_response(responder(url).chat(HELLO))


def response_events(url: str) -> Features:
    return of_response_chunks(list(responder(url).stream_chat(HELLO)))


async def response_async(url: str) -> Features:
    return of_response(await responder(url).achat(HELLO))


async def response_events_async(url: str) -> Features:
    return of_response_chunks([chunk async for chunk in await responder(url).astream_chat(HELLO)])


async def chat_async(url: str) -> Features:
    return of_answer(await model(url).achat(HELLO))


async def stream_async(url: str) -> Features:
    llm = model(url, stream_options={"include_usage": True})
    return of_chunks([chunk async for chunk in await llm.astream_chat(HELLO)])


async def tools_async(url: str) -> Features:
    llm = quick(url)
    called = await llm.achat_with_tools([TOOL], chat_history=[QUESTION])
    answer = await llm.achat_with_tools([TOOL], chat_history=answered(llm, called))
    return {"tools": calls(llm, called), "tool loop": answer.message.content}


async def tools_stream_async(url: str) -> Features:
    llm = quick(url)
    chunks = [chunk async for chunk in await llm.astream_chat_with_tools([TOOL], chat_history=[QUESTION])]
    return {"tools in a stream": calls(llm, chunks[-1])}


async def structured_async(url: str) -> Features:
    llm = quick(url).as_structured_llm(City)
    return formed(await llm.achat([ChatMessage(role="user", content=CITY_QUESTION)]))


async def embeddings_async(url: str) -> Features:
    return vector(await embedder(url).aget_text_embedding(GREETING))


if __name__ == "__main__":
    main(
        {
            "sync": {
                "chat": chat,
                "stream": stream,
                "tools": tools,
                "tools stream": tools_stream,
                "structured": structured,
                "response": response,
                "response events": response_events,
                "embeddings": embeddings,
            },
            "async": {
                "chat": chat_async,
                "stream": stream_async,
                "tools": tools_async,
                "tools stream": tools_stream_async,
                "structured": structured_async,
                "response": response_async,
                "response events": response_events_async,
                "embeddings": embeddings_async,
            },
        }
    )
