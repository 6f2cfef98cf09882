"""Tries the OpenAI Agents SDK, over the Responses API and over chat completions."""

import json
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict
from trying import (
    CHAT,
    CITY_QUESTION,
    DESCRIPTION,
    GREETING,
    NO_THOUGHT,
    PARAMETERS,
    SKY,
    WEATHER_QUESTION,
    WITHIN_S,
    Features,
    joined,
    main,
)


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


async def sky(_context: Any, _arguments: str) -> str:
    return SKY


TOOL = FunctionTool("get_weather", DESCRIPTION, PARAMETERS, sky, strict_json_schema=False)
PLAIN = ModelSettings(temperature=0, include_usage=True)
QUICK = ModelSettings(temperature=0, extra_body=NO_THOUGHT)


def agent(url: str, kind: Any, settings: ModelSettings = PLAIN, **more: Any) -> Agent[Any]:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=WITHIN_S)
    return Agent(name="Tried", model=kind(CHAT, client), model_settings=settings, **more)


def calls(result: Any) -> Any:
    items = [item.raw_item for item in result.new_items if item.type == "tool_call_item"]
    return [[item.name, json.loads(item.arguments)] for item in items]


def told(result: Any) -> str:
    items = [item.raw_item for item in result.new_items if item.type == "reasoning_item"]
    parts = [part for item in items for part in (item.content or item.summary or ())]
    return "".join(part.text for part in parts)


def usage(result: Any) -> list[int]:
    used = result.context_wrapper.usage
    return [used.input_tokens, used.output_tokens]


async def streamed(agent: Agent[Any], question: str) -> tuple[Any, list[str]]:
    """The result of a run that is streamed, and the pieces of its text."""
    result = Runner.run_streamed(agent, question)
    pieces = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    return result, pieces


async def chat(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIChatCompletionsModel), GREETING)
    return {"chat": result.final_output, "reasoning": told(result), "usage": usage(result)}


async def stream(url: str) -> Features:
    result, pieces = await streamed(agent(url, OpenAIChatCompletionsModel), GREETING)
    return {
        "stream": joined(pieces),
        "reasoning in a stream": told(result),
        "usage in a stream": usage(result),
    }


async def tools(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIChatCompletionsModel, QUICK, tools=[TOOL]), WEATHER_QUESTION)
    return {"tools": calls(result), "tool loop": result.final_output}


async def tools_stream(url: str) -> Features:
    asked = agent(url, OpenAIChatCompletionsModel, QUICK, tools=[TOOL])
    return {"tools in a stream": calls((await streamed(asked, WEATHER_QUESTION))[0])}


async def structured(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIChatCompletionsModel, QUICK, output_type=City), CITY_QUESTION)
    return {"structured output": result.final_output.model_dump()}


async def response(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIResponsesModel), GREETING)
    return {"response": result.final_output, "reasoning in a response": told(result)}


async def response_events(url: str) -> Features:
    result, pieces = await streamed(agent(url, OpenAIResponsesModel), GREETING)
    return {"stream of a response": joined(pieces), "reasoning in a stream of a response": told(result)}


async def response_tools(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIResponsesModel, QUICK, tools=[TOOL]), WEATHER_QUESTION)
    return {"tools in a response": calls(result), "tool loop of responses": result.final_output}


async def response_tools_stream(url: str) -> Features:
    asked = agent(url, OpenAIResponsesModel, QUICK, tools=[TOOL])
    result, _ = await streamed(asked, WEATHER_QUESTION)
    return {"streamed tool loop of responses": result.final_output}


async def response_structured(url: str) -> Features:
    result = await Runner.run(agent(url, OpenAIResponsesModel, QUICK, output_type=City), CITY_QUESTION)
    return {"structured response": result.final_output.model_dump()}


if __name__ == "__main__":
    set_tracing_disabled(True)
    main(
        {
            "async": {
                "chat": chat,
                "stream": stream,
                "tools": tools,
                "tools stream": tools_stream,
                "structured": structured,
                "response": response,
                "response events": response_events,
                "response tools": response_tools,
                "response tools stream": response_tools_stream,
                "response structured": response_structured,
            },
        }
    )
