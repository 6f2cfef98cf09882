"""Tries Pydantic AI with its provider for vLLM. It is asynchronous; its synchronous calls run a loop."""

from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent, NativeOutput, Tool
from pydantic_ai.embeddings import Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.messages import ThinkingPart, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.vllm import VLLMProvider
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

SETTINGS: Any = {"temperature": 0}
QUICK: Any = {"temperature": 0, "extra_body": NO_THOUGHT}
TOOL: Any = Tool.from_schema(lambda **_arguments: SKY, "get_weather", DESCRIPTION, PARAMETERS)


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


FORM = NativeOutput(City, strict=True, template=False)
"""No template: the schema is not repeated in the prompt."""


def provider(url: str) -> VLLMProvider:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=WITHIN_S)
    return VLLMProvider(openai_client=client)


def agent(url: str, settings: Any = SETTINGS, **more: Any) -> Agent[None, Any]:
    return Agent(OpenAIChatModel(CHAT, provider=provider(url)), model_settings=settings, **more)


def responder(url: str, settings: Any = SETTINGS, **more: Any) -> Agent[None, Any]:
    return Agent(OpenAIResponsesModel(CHAT, provider=provider(url)), model_settings=settings, **more)


def embedder(url: str) -> Embedder:
    return Embedder(OpenAIEmbeddingModel(EMBED, provider=provider(url)))


def parts(result: Any, kind: type) -> list[Any]:
    return [part for message in result.new_messages() for part in message.parts if isinstance(part, kind)]


def told(result: Any) -> Any:
    return "".join(part.content for part in parts(result, ThinkingPart)) or None


def raw(result: Any) -> str:
    """Thoughts that are not summaries, which it keeps aside."""
    details = [part.provider_details or {} for part in parts(result, ThinkingPart)]
    return "".join(text for each in details for text in each.get("raw_content", ()))


def usage(result: Any) -> list[int]:
    used = result.usage
    return [used.input_tokens, used.output_tokens]


def calls(result: Any) -> Any:
    return [[part.tool_name, part.args_as_dict()] for part in parts(result, ToolCallPart)]


def of_answer(result: Any) -> Features:
    return {"chat": result.output, "reasoning": told(result), "usage": usage(result)}


def of_response(result: Any) -> Features:
    return {"response": result.output, "reasoning in a response": raw(result)}


def chat(url: str) -> Features:
    return of_answer(agent(url).run_sync(GREETING))


def tools(url: str) -> Features:
    result = agent(url, QUICK, tools=[TOOL]).run_sync(WEATHER_QUESTION)
    return {"tools": calls(result), "tool loop": result.output}


def structured(url: str) -> Features:
    result = agent(url, QUICK, output_type=FORM).run_sync(CITY_QUESTION)
    return {"structured output": result.output.model_dump()}


def embeddings(url: str) -> Features:
    return vector(embedder(url).embed_query_sync(GREETING).embeddings[0])


def stream(url: str) -> Features:
    result = agent(url).run_stream_sync(GREETING)
    return {"stream": joined(list(result.stream_text(delta=True, debounce_by=None)))} | of_stream(result)


def of_stream(result: Any) -> Features:
    return {"reasoning in a stream": told(result), "usage in a stream": usage(result)}


def tools_stream(url: str) -> Features:
    result = agent(url, QUICK, tools=[TOOL]).run_stream_sync(WEATHER_QUESTION)
    result.get_output()
    return {"tools in a stream": calls(result)}


def response(url: str) -> Features:
    return of_response(responder(url).run_sync(GREETING))


def response_events(url: str) -> Features:
    result = responder(url).run_stream_sync(GREETING)
    pieces = list(result.stream_text(delta=True, debounce_by=None))
    return {"stream of a response": joined(pieces), "reasoning in a stream of a response": raw(result)}


def response_tools(url: str) -> Features:
    result = responder(url, QUICK, tools=[TOOL]).run_sync(WEATHER_QUESTION)
    return {"tools in a response": calls(result), "tool loop of responses": result.output}


def response_structured(url: str) -> Features:
    result = responder(url, QUICK, output_type=FORM).run_sync(CITY_QUESTION)
    return {"structured response": result.output.model_dump()}


async def chat_async(url: str) -> Features:
    return of_answer(await agent(url).run(GREETING))


async def stream_async(url: str) -> Features:
    async with agent(url).run_stream(GREETING) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return {"stream": joined(pieces)} | of_stream(result)


async def tools_async(url: str) -> Features:
    result = await agent(url, QUICK, tools=[TOOL]).run(WEATHER_QUESTION)
    return {"tools": calls(result), "tool loop": result.output}


async def tools_stream_async(url: str) -> Features:
    async with agent(url, QUICK, tools=[TOOL]).run_stream_events(WEATHER_QUESTION) as events:
        found = [event async for event in events]
    return {"tools in a stream": calls(found[-1].result)}


async def structured_async(url: str) -> Features:
    result = await agent(url, QUICK, output_type=FORM).run(CITY_QUESTION)
    return {"structured output": result.output.model_dump()}


async def response_async(url: str) -> Features:
    return of_response(await responder(url).run(GREETING))


async def response_events_async(url: str) -> Features:
    async with responder(url).run_stream(GREETING) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return {"stream of a response": joined(pieces), "reasoning in a stream of a response": raw(result)}


async def response_tools_async(url: str) -> Features:
    result = await responder(url, QUICK, tools=[TOOL]).run(WEATHER_QUESTION)
    return {"tools in a response": calls(result), "tool loop of responses": result.output}


async def response_structured_async(url: str) -> Features:
    result = await responder(url, QUICK, output_type=FORM).run(CITY_QUESTION)
    return {"structured response": result.output.model_dump()}


async def embeddings_async(url: str) -> Features:
    return vector((await embedder(url).embed_query(GREETING)).embeddings[0])


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
                "response tools": response_tools,
                "response structured": response_structured,
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
                "response tools": response_tools_async,
                "response structured": response_structured_async,
                "embeddings": embeddings_async,
            },
        }
    )
