"""The OpenAI Agents SDK talks about the weather, and prints as JSON what it got.

``python with_agents.py URL responses|chat [stream]``, in an environment that has it.
"""

import asyncio
import json
import sys
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@function_tool
def get_weather(city: str) -> str:
    """Weather for a city"""
    return json.dumps({"celsius": 18, "sky": "clear"} if city == "Paris" else {"celsius": 25, "sky": "sunny"})


async def converse(url: str, form: str, streamed: bool) -> Any:
    set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        kind = OpenAIResponsesModel if form == "responses" else OpenAIChatCompletionsModel
        agent = Agent(
            name="Weather",
            model=kind("vllm/tiny/chat", client),
            model_settings=ModelSettings(temperature=0, max_tokens=80),
            tools=[get_weather],
        )
        asked = "What is the weather in Paris?"
        events: list[str] = []
        if streamed:
            running = Runner.run_streamed(agent, asked)
            async for event in running.stream_events():
                if event.type == "raw_response_event":
                    events.append(event.data.type)  # noqa: PERF401
            result: Any = running
        else:
            result = await Runner.run(agent, asked)
    return {"items": result.to_input_list(), "final": result.final_output, "events": events}


if __name__ == "__main__":
    json.dump(
        asyncio.run(converse(sys.argv[1], sys.argv[2], "stream" in sys.argv[3:])), sys.stdout, default=str
    )
