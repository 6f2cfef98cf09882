"""openai-python does things with the gateway, and prints as a JSON list what it got.

``python with_openai.py URL TASK ...``, in the environment of the release that is
tried: this file imports nothing of this project.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from pydantic import BaseModel

CHAT = "vllm/tiny/chat"
HELLO: Any = [{"role": "user", "content": "Hello"}]
NO_THOUGHT = {"chat_template_kwargs": {"enable_thinking": False}}
SPEECH = Path(__file__).parents[3] / "recording" / "clips" / "hello.wav"
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
FUNCTION = {"name": "get_weather", "description": "Weather for a city", "parameters": PARAMETERS}
WEATHER: Any = {"type": "function", "function": FUNCTION}
WEATHER_ITEM: Any = {"type": "function", **FUNCTION}
QUESTION: Any = {"role": "user", "content": "What is the weather in Paris?"}
SKY = '{"celsius": 18, "sky": "clear"}'


class City(BaseModel):
    city: str
    country: str


def plain(value: Any) -> Any:
    """What a client's object holds, as JSON has it; what was not sent is left out."""
    return value.model_dump(mode="json", exclude_unset=True, warnings=False)


def chat(client: openai.OpenAI) -> Any:
    return plain(client.chat.completions.create(model=CHAT, messages=HELLO, temperature=0))


def chat_stream(client: openai.OpenAI) -> Any:
    chunks = client.chat.completions.create(model=CHAT, messages=HELLO, temperature=0, stream=True)
    return [plain(chunk) for chunk in chunks]


def chat_tools(client: openai.OpenAI) -> Any:
    answer = client.chat.completions.create(
        model=CHAT, messages=[QUESTION], temperature=0, tools=[WEATHER], extra_body=NO_THOUGHT
    )
    return plain(answer)


def chat_tools_stream(client: openai.OpenAI) -> Any:
    with client.chat.completions.stream(
        model=CHAT, messages=[QUESTION], temperature=0, tools=[WEATHER], extra_body=NO_THOUGHT
    ) as events:
        return plain(events.get_final_completion())


def chat_async(client: openai.OpenAI) -> Any:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="unused", max_retries=0) as other:
            answer = await other.chat.completions.create(model=CHAT, messages=HELLO, temperature=0)
            chunks = await other.chat.completions.create(
                model=CHAT, messages=HELLO, temperature=0, stream=True
            )
            return [plain(answer), [plain(chunk) async for chunk in chunks]]

    return asyncio.run(ask())


def response(client: openai.OpenAI) -> Any:
    return plain(client.responses.create(model=CHAT, input="Hello", temperature=0))


def response_events(client: openai.OpenAI) -> Any:
    events = client.responses.create(model=CHAT, input="Hello", temperature=0, stream=True)
    return [plain(event) for event in events]


def response_stream(client: openai.OpenAI) -> Any:
    with client.responses.stream(model=CHAT, input="Hello", temperature=0) as events:
        kinds = [event.type for event in events]
        return {"events": kinds, "final": plain(events.get_final_response())}


def response_tools(client: openai.OpenAI, *, streamed: bool = False) -> Any:
    """Two turns: the call, then the answer to its result. Gives the outputs of both."""
    conversation = [QUESTION]
    outputs: list[Any] = []
    while not outputs or any(item["type"] == "function_call" for item in outputs[-1]):
        asked: Any = {"model": CHAT, "input": conversation, "temperature": 0, "tools": [WEATHER_ITEM]}
        if streamed:
            with client.responses.stream(**asked) as events:
                answer: Any = events.get_final_response()
        else:
            answer = client.responses.create(**asked)
        conversation += answer.output
        for item in answer.output:
            if item.type == "function_call":
                result = {"type": "function_call_output", "call_id": item.call_id, "output": SKY}
                conversation.append(result)
        outputs.append(plain(answer)["output"])
    return outputs


def response_tools_stream(client: openai.OpenAI) -> Any:
    return response_tools(client, streamed=True)


def response_parse(client: openai.OpenAI) -> Any:
    answer = client.responses.parse(
        model=CHAT,
        input="Give me Paris as JSON.",
        temperature=0,
        text_format=City,
        extra_body=NO_THOUGHT,
    )
    return {"parsed": answer.output_parsed and plain(answer.output_parsed), "answer": plain(answer)}


def embeddings(client: openai.OpenAI) -> Any:
    """In base64, which this client asks for by itself and decodes."""
    answer = plain(client.embeddings.create(model="vllm/tiny/embed", input="Hello"))
    answer["data"] = [{**row, "embedding": len(row["embedding"])} for row in answer["data"]]
    return answer


def models(client: openai.OpenAI) -> Any:
    return [plain(model) for model in client.models.list()]


def transcription(client: openai.OpenAI) -> Any:
    spoken = SPEECH.name, SPEECH.read_bytes(), "audio/wav"
    return plain(client.audio.transcriptions.create(model="vllm/tiny/transcription", file=spoken))


def error(client: openai.OpenAI) -> Any:
    return failure(lambda: client.chat.completions.create(model=CHAT, messages=HELLO))


def error_of_stream(client: openai.OpenAI) -> Any:
    chunks: list[Any] = []

    def read() -> None:
        chunks.extend(client.chat.completions.create(model=CHAT, messages=HELLO, stream=True))

    return failure(read)


def error_within_stream(client: openai.OpenAI) -> Any:
    said: list[str] = []

    def read() -> None:
        for chunk in client.chat.completions.create(model=CHAT, messages=HELLO, stream=True):
            said.extend(choice.delta.content or "" for choice in chunk.choices)

    return {**failure(read), "before": "".join(said)}


def error_of_response(client: openai.OpenAI) -> Any:
    return failure(lambda: client.responses.create(model=CHAT, input="Hello"))


def failure(act: Callable[[], object]) -> dict[str, Any]:
    try:
        act()
    except openai.APIError as raised:
        status = getattr(raised, "status_code", None)
        return {"class": type(raised).__name__, "status": status, "code": raised.code, "type": raised.type}
    return {"class": None}


TASKS: dict[str, Callable[[openai.OpenAI], Any]] = {
    task.__name__: task
    for task in (
        *(chat, chat_stream, chat_tools, chat_tools_stream, chat_async),
        *(response, response_events, response_stream, response_parse),
        *(response_tools, response_tools_stream),
        *(embeddings, models, transcription),
        *(error, error_of_stream, error_within_stream, error_of_response),
    )
}


if __name__ == "__main__":
    with openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="unused", max_retries=0) as client:
        json.dump([TASKS[task](client) for task in sys.argv[2:]], sys.stdout)
