"""Tries openai-python, synchronous and asynchronous: chat completions, the Responses API, and the rest."""

import json
from typing import Any

import openai
from pydantic import BaseModel, ConfigDict
from trying import (
    CHAT,
    CITY_QUESTION,
    EMBED,
    FUNCTION,
    GREETING,
    NO_THOUGHT,
    SKY,
    SPEECH,
    TRANSCRIPTION,
    WEATHER,
    WEATHER_QUESTION,
    WITHIN_S,
    Features,
    joined,
    main,
    vector,
)

HELLO: Any = {"model": CHAT, "messages": [{"role": "user", "content": GREETING}], "temperature": 0}
STREAMED: Any = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
QUESTION: Any = {"role": "user", "content": WEATHER_QUESTION}
CALL: Any = {
    "model": CHAT,
    "messages": [QUESTION],
    "temperature": 0,
    "tools": [WEATHER],
    "extra_body": NO_THOUGHT,
}
RESPONSE: Any = {"model": CHAT, "input": GREETING, "temperature": 0}
RESPONSE_CALL: Any = {
    "model": CHAT,
    "temperature": 0,
    "tools": [{"type": "function", **FUNCTION}],
    "extra_body": NO_THOUGHT,
}


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


FORM: Any = {
    "model": CHAT,
    "messages": [{"role": "user", "content": CITY_QUESTION}],
    "temperature": 0,
    "extra_body": NO_THOUGHT,
    "response_format": City,
}
RESPONSE_FORM: Any = {
    "model": CHAT,
    "input": CITY_QUESTION,
    "temperature": 0,
    "extra_body": NO_THOUGHT,
    "text_format": City,
}
TEXT: Any = {"model": EMBED, "input": GREETING}
SETTINGS: Any = {"api_key": "unused", "max_retries": 0, "timeout": WITHIN_S}


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", **SETTINGS)


def patient(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", **SETTINGS)


def spoken() -> Any:
    return SPEECH.name, SPEECH.read_bytes(), "audio/wav"


def of_answer(answer: Any) -> Features:
    message, usage = answer.choices[0].message, answer.usage
    return {
        "chat": message.content,
        "reasoning": message.reasoning_content,
        "usage": [usage.prompt_tokens, usage.completion_tokens],
    }


def of_chunks(chunks: list[Any]) -> Features:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    usage = chunks[-1].usage
    return {
        "stream": joined([delta.content or "" for delta in deltas]),
        "reasoning in a stream": joined(
            [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
        ),
        "usage in a stream": [usage.prompt_tokens, usage.completion_tokens],
    }


def calls(message: Any) -> Any:
    return [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or ()]


def answered(message: Any) -> list[Any]:
    """The conversation that goes on with a result for each call."""
    results = [{"role": "tool", "tool_call_id": call.id, "content": SKY} for call in message.tool_calls or ()]
    return [QUESTION, message.model_dump(exclude_unset=True), *results]


def parsed(message: Any) -> Any:
    return message.parsed and message.parsed.model_dump()


def of_response(response: Any) -> Features:
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.content]
    return {"response": response.output_text, "reasoning in a response": "".join(thoughts)}


def of_events(events: list[Any]) -> Features:
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    thoughts = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    return {"stream of a response": joined(texts), "reasoning in a stream of a response": joined(thoughts)}


def response_calls(response: Any) -> Any:
    return [
        [item.name, json.loads(item.arguments)] for item in response.output if item.type == "function_call"
    ]


def continued(response: Any) -> list[Any]:
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": SKY}
        for item in response.output
        if item.type == "function_call"
    ]
    return [QUESTION, *response.output, *results]


def chat(url: str) -> Features:
    with client(url) as used:
        return of_answer(used.chat.completions.create(**HELLO))


def stream(url: str) -> Features:
    with client(url) as used:
        return of_chunks(list(used.chat.completions.create(**STREAMED)))


def tools(url: str) -> Features:
    with client(url) as used:
        message = used.chat.completions.create(**CALL).choices[0].message
        answer = used.chat.completions.create(**{**CALL, "messages": answered(message)})
        return {"tools": calls(message), "tool loop": answer.choices[0].message.content}


def tools_stream(url: str) -> Features:
    with client(url) as used, used.chat.completions.stream(**CALL) as events:
        return {"tools in a stream": calls(events.get_final_completion().choices[0].message)}


def structured(url: str) -> Features:
    with client(url) as used:
        return {"structured output": parsed(used.chat.completions.parse(**FORM).choices[0].message)}


def response(url: str) -> Features:
    with client(url) as used:
        return of_response(used.responses.create(**RESPONSE))


def response_events(url: str) -> Features:
    with client(url) as used:
        return of_events(list(used.responses.create(**RESPONSE, stream=True)))


def response_stream(url: str) -> Features:
    with client(url) as used, used.responses.stream(**RESPONSE) as events:
        events.until_done()
        return {"final response of a stream": of_response(events.get_final_response())["response"]}


def response_structured(url: str) -> Features:
    with client(url) as used:
        found = used.responses.parse(**RESPONSE_FORM).output_parsed
        return {"structured response": found and found.model_dump()}


def response_tools(url: str) -> Features:
    with client(url) as used:
        called = used.responses.create(**RESPONSE_CALL, input=[QUESTION])
        answer = used.responses.create(**RESPONSE_CALL, input=continued(called))
        return {"tools in a response": response_calls(called), "tool loop of responses": answer.output_text}


def response_tools_stream(url: str) -> Features:
    with client(url) as used:
        with used.responses.stream(**RESPONSE_CALL, input=[QUESTION]) as events:
            called = events.get_final_response()
        with used.responses.stream(**RESPONSE_CALL, input=continued(called)) as events:
            return {"streamed tool loop of responses": events.get_final_response().output_text}


def embeddings(url: str) -> Features:
    """In base64, which this client asks for by itself and decodes."""
    with client(url) as used:
        return vector(used.embeddings.create(**TEXT).data[0].embedding)


def models(url: str) -> Features:
    with client(url) as used:
        return {"models": [model.id for model in used.models.list()]}


def transcription(url: str) -> Features:
    with client(url) as used:
        answer = used.audio.transcriptions.create(model=TRANSCRIPTION, file=spoken())
        return {"transcription": answer.text}


async def chat_async(url: str) -> Features:
    async with patient(url) as used:
        return of_answer(await used.chat.completions.create(**HELLO))


async def stream_async(url: str) -> Features:
    async with patient(url) as used:
        return of_chunks([chunk async for chunk in await used.chat.completions.create(**STREAMED)])


async def tools_async(url: str) -> Features:
    async with patient(url) as used:
        message = (await used.chat.completions.create(**CALL)).choices[0].message
        answer = await used.chat.completions.create(**{**CALL, "messages": answered(message)})
        return {"tools": calls(message), "tool loop": answer.choices[0].message.content}


async def tools_stream_async(url: str) -> Features:
    """By hand: in 1.x and 2.x the asynchronous ``stream()`` takes strict tools alone."""
    async with patient(url) as used:
        chunks = [chunk async for chunk in await used.chat.completions.create(**CALL, stream=True)]
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    parts = [call.function for delta in deltas for call in delta.tool_calls or ()]
    names = [part.name for part in parts if part.name]
    return {"tools in a stream": [[*names, json.loads("".join(part.arguments or "" for part in parts))]]}


async def structured_async(url: str) -> Features:
    async with patient(url) as used:
        answer = await used.chat.completions.parse(**FORM)
        return {"structured output": parsed(answer.choices[0].message)}


async def response_async(url: str) -> Features:
    async with patient(url) as used:
        return of_response(await used.responses.create(**RESPONSE))


async def response_events_async(url: str) -> Features:
    async with patient(url) as used:
        return of_events([event async for event in await used.responses.create(**RESPONSE, stream=True)])


async def response_stream_async(url: str) -> Features:
    async with patient(url) as used, used.responses.stream(**RESPONSE) as events:
        final = await events.get_final_response()
        return {"final response of a stream": of_response(final)["response"]}


async def response_structured_async(url: str) -> Features:
    async with patient(url) as used:
        found = (await used.responses.parse(**RESPONSE_FORM)).output_parsed
        return {"structured response": found and found.model_dump()}


async def response_tools_async(url: str) -> Features:
    async with patient(url) as used:
        called = await used.responses.create(**RESPONSE_CALL, input=[QUESTION])
        answer = await used.responses.create(**RESPONSE_CALL, input=continued(called))
        return {"tools in a response": response_calls(called), "tool loop of responses": answer.output_text}


async def response_tools_stream_async(url: str) -> Features:
    async with patient(url) as used:
        async with used.responses.stream(**RESPONSE_CALL, input=[QUESTION]) as events:
            called = await events.get_final_response()
        async with used.responses.stream(**RESPONSE_CALL, input=continued(called)) as events:
            answer = await events.get_final_response()
            return {"streamed tool loop of responses": answer.output_text}


async def embeddings_async(url: str) -> Features:
    async with patient(url) as used:
        return vector((await used.embeddings.create(**TEXT)).data[0].embedding)


async def models_async(url: str) -> Features:
    async with patient(url) as used:
        return {"models": [model.id async for model in used.models.list()]}


async def transcription_async(url: str) -> Features:
    async with patient(url) as used:
        answer = await used.audio.transcriptions.create(model=TRANSCRIPTION, file=spoken())
        return {"transcription": answer.text}


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
                "response stream": response_stream,
                "response structured": response_structured,
                "response tools": response_tools,
                "response tools stream": response_tools_stream,
                "embeddings": embeddings,
                "models": models,
                "transcription": transcription,
            },
            "async": {
                "chat": chat_async,
                "stream": stream_async,
                "tools": tools_async,
                "tools stream": tools_stream_async,
                "structured": structured_async,
                "response": response_async,
                "response events": response_events_async,
                "response stream": response_stream_async,
                "response structured": response_structured_async,
                "response tools": response_tools_async,
                "response tools stream": response_tools_stream_async,
                "embeddings": embeddings_async,
                "models": models_async,
                "transcription": transcription_async,
            },
        }
    )
