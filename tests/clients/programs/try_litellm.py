"""Tries LiteLLM's client; the argument after the JSON is its provider, ``hosted_vllm`` or ``openai``."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm
from pydantic import BaseModel, ConfigDict
from trying import (
    CHAT,
    CITY_QUESTION,
    DOCUMENTS,
    EMBED,
    FUNCTION,
    GREETING,
    NO_THOUGHT,
    QUERY,
    RERANK,
    SKY,
    SPEECH,
    TRANSCRIPTION,
    WEATHER,
    WEATHER_QUESTION,
    WITHIN_S,
    Features,
    joined,
    main,
    scores,
    vector,
)

QUESTION: Any = {"role": "user", "content": WEATHER_QUESTION}
PROVIDER = sys.argv[2] if len(sys.argv) > 2 else "hosted_vllm"


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


def settings(url: str, model: str) -> Any:
    return {
        "model": f"{PROVIDER}/{model}",
        "api_base": f"{url}/v1",
        "api_key": "unused",
        "num_retries": 0,
        "max_retries": 0,
        "timeout": WITHIN_S,
    }


def hello(url: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": GREETING}]
    return {**settings(url, CHAT), "messages": messages, "temperature": 0, **more}


def streamed(url: str) -> Any:
    return hello(url, stream=True, stream_options={"include_usage": True})


def call(url: str, messages: Any = (QUESTION,), **more: Any) -> Any:
    asked = {**hello(url, **more), "messages": [*messages]}
    return {**asked, "tools": [WEATHER], "extra_body": NO_THOUGHT}


def form(url: str) -> Any:
    asked = hello(url, extra_body=NO_THOUGHT, response_format=City)
    return {**asked, "messages": [{"role": "user", "content": CITY_QUESTION}]}


def text(url: str) -> Any:
    return {**settings(url, EMBED), "input": [GREETING]}


def reranking(url: str) -> Any:
    return {**settings(url, RERANK), "query": QUERY, "documents": DOCUMENTS}


def response_call(url: str, items: Any = (QUESTION,)) -> Any:
    tool = {"type": "function", **FUNCTION}
    asked = {**settings(url, CHAT), "input": [*items], "temperature": 0}
    return {**asked, "tools": [tool], "extra_body": NO_THOUGHT}


def response_form(url: str) -> Any:
    asked = {**settings(url, CHAT), "input": CITY_QUESTION, "temperature": 0}
    return {**asked, "text_format": City, "extra_body": NO_THOUGHT}


def of_answer(answer: Any) -> Features:
    message, usage = answer.choices[0].message, answer.usage
    return {
        "chat": message.content,
        "reasoning": getattr(message, "reasoning_content", None),
        "usage": [usage.prompt_tokens, usage.completion_tokens],
    }


def of_chunks(chunks: list[Any]) -> Features:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    usages = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    thoughts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    return {
        "stream": joined([delta.content or "" for delta in deltas]),
        "reasoning in a stream": "".join(thoughts) or None,
        "usage in a stream": usages and [usages[-1].prompt_tokens, usages[-1].completion_tokens],
    }


def calls(message: Any) -> Any:
    return [[each.function.name, json.loads(each.function.arguments)] for each in message.tool_calls or ()]


def answered(message: Any) -> list[Any]:
    results = [{"role": "tool", "tool_call_id": each.id, "content": SKY} for each in message.tool_calls or ()]
    return [QUESTION, message, *results]


def of_chunks_with_calls(chunks: list[Any]) -> Features:
    whole = litellm.stream_chunk_builder(chunks)
    return {"tools in a stream": calls(whole.choices[0].message)}


def formed(answer: Any) -> Features:
    return {"structured output": json.loads(answer.choices[0].message.content)}


def said(response: Any) -> str:
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    return "".join(part.text for part in parts)


def of_response(response: Any) -> Features:
    thoughts = [
        part["text"] if isinstance(part, dict) else part.text
        for item in response.output
        if item.type == "reasoning"
        for part in item.content or ()
    ]
    return {"response": said(response), "reasoning in a response": "".join(thoughts)}


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
    return [QUESTION, *(item.model_dump(exclude_none=True) for item in response.output), *results]


def of_events(events: list[Any]) -> Features:
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    thoughts = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    return {"stream of a response": joined(texts), "reasoning in a stream of a response": "".join(thoughts)}


def chat(url: str) -> Features:
    return of_answer(litellm.completion(**hello(url)))


def stream(url: str) -> Features:
    return of_chunks(list(litellm.completion(**streamed(url))))


def tools(url: str) -> Features:
    message = litellm.completion(**call(url)).choices[0].message
    answer = litellm.completion(**call(url, answered(message)))
    return {"tools": calls(message), "tool loop": answer.choices[0].message.content}


def tools_stream(url: str) -> Features:
    return of_chunks_with_calls(list(litellm.completion(**call(url, stream=True))))


def structured(url: str) -> Features:
    return formed(litellm.completion(**form(url)))


def embeddings(url: str) -> Features:
    return vector(litellm.embedding(**text(url)).data[0]["embedding"])


def transcription(url: str) -> Features:
    with SPEECH.open("rb") as file:
        return {"transcription": litellm.transcription(**settings(url, TRANSCRIPTION), file=file).text}


def rerank(url: str) -> Features:
    return scores(litellm.rerank(**reranking(url)).results)


def response(url: str) -> Features:
    return of_response(litellm.responses(**settings(url, CHAT), input=GREETING, temperature=0))


def response_events(url: str) -> Features:
    events = litellm.responses(**settings(url, CHAT), input=GREETING, temperature=0, stream=True)
    return of_events(list(events))


def response_tools(url: str) -> Features:
    called = litellm.responses(**response_call(url))
    answer = litellm.responses(**response_call(url, continued(called)))
    return {"tools in a response": response_calls(called), "tool loop of responses": said(answer)}


def response_structured(url: str) -> Features:
    return {"structured response": json.loads(said(litellm.responses(**response_form(url))))}


async def chat_async(url: str) -> Features:
    return of_answer(await litellm.acompletion(**hello(url)))


async def stream_async(url: str) -> Features:
    return of_chunks([chunk async for chunk in await litellm.acompletion(**streamed(url))])


async def tools_async(url: str) -> Features:
    message = (await litellm.acompletion(**call(url))).choices[0].message
    answer = await litellm.acompletion(**call(url, answered(message)))
    return {"tools": calls(message), "tool loop": answer.choices[0].message.content}


async def tools_stream_async(url: str) -> Features:
    chunks = await litellm.acompletion(**call(url, stream=True))
    return of_chunks_with_calls([chunk async for chunk in chunks])


async def structured_async(url: str) -> Features:
    return formed(await litellm.acompletion(**form(url)))


async def embeddings_async(url: str) -> Features:
    return vector((await litellm.aembedding(**text(url))).data[0]["embedding"])


async def transcription_async(url: str) -> Features:
    with SPEECH.open("rb") as file:
        answer = await litellm.atranscription(**settings(url, TRANSCRIPTION), file=file)
    return {"transcription": answer.text}


async def rerank_async(url: str) -> Features:
    return scores((await litellm.arerank(**reranking(url))).results)


async def response_async(url: str) -> Features:
    return of_response(await litellm.aresponses(**settings(url, CHAT), input=GREETING, temperature=0))


async def response_events_async(url: str) -> Features:
    events = await litellm.aresponses(**settings(url, CHAT), input=GREETING, temperature=0, stream=True)
    return of_events([event async for event in events])


async def response_tools_async(url: str) -> Features:
    called = await litellm.aresponses(**response_call(url))
    answer = await litellm.aresponses(**response_call(url, continued(called)))
    return {"tools in a response": response_calls(called), "tool loop of responses": said(answer)}


async def response_structured_async(url: str) -> Features:
    return {"structured response": json.loads(said(await litellm.aresponses(**response_form(url))))}


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    ways: Any = {
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
            "rerank": rerank,
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
            "response tools": response_tools_async,
            "response structured": response_structured_async,
            "embeddings": embeddings_async,
            "rerank": rerank_async,
            "transcription": transcription_async,
        },
    }
    if PROVIDER == "openai":  # whose API has no rerank
        for tasks in ways.values():
            del tasks["rerank"]
    main(ways)
