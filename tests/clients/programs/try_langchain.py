"""Tries langchain-openai: ``ChatOpenAI`` and ``OpenAIEmbeddings``, synchronous and asynchronous."""

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, ConfigDict
from trying import (
    CHAT,
    CITY_QUESTION,
    EMBED,
    GREETING,
    NO_THOUGHT,
    SKY,
    WEATHER,
    WEATHER_QUESTION,
    WITHIN_S,
    Features,
    joined,
    main,
    vector,
)

QUESTION = HumanMessage(WEATHER_QUESTION)


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: str
    country: str


def model(url: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{url}/v1",
        api_key="unused",
        model=CHAT,
        temperature=0,
        max_retries=0,
        timeout=WITHIN_S,
        stream_usage=True,
        **more,
    )


def caller(url: str) -> Any:
    return model(url, extra_body=NO_THOUGHT).bind_tools([WEATHER])


def former(url: str) -> Any:
    return model(url, extra_body=NO_THOUGHT).with_structured_output(City, method="json_schema")


def embedder(url: str) -> OpenAIEmbeddings:
    """It sends tokens unless told otherwise, which are those of OpenAI's models."""
    return OpenAIEmbeddings(
        base_url=f"{url}/v1",
        api_key="unused",
        model=EMBED,
        max_retries=0,
        timeout=WITHIN_S,
        check_embedding_ctx_length=False,
    )


def of_answer(answer: AIMessage) -> Features:
    usage = answer.usage_metadata
    return {
        "chat": answer.text,
        "reasoning": answer.additional_kwargs.get("reasoning_content"),
        "usage": usage and [usage["input_tokens"], usage["output_tokens"]],
    }


def of_chunks(chunks: list[Any]) -> Features:
    whole = sum(chunks[1:], start=chunks[0])
    usage = whole.usage_metadata
    return {
        "stream": joined([chunk.text for chunk in chunks]),
        "reasoning in a stream": whole.additional_kwargs.get("reasoning_content"),
        "usage in a stream": usage and [usage["input_tokens"], usage["output_tokens"]],
    }


def thought(answer: Any) -> str:
    """Thoughts that are not summaries, which it leaves where they were."""
    parts = [part for block in answer.content if block["type"] == "reasoning" for part in block["content"]]
    return "".join(part["text"] for part in parts)


def of_response(answer: AIMessage) -> Features:
    return {"response": answer.text, "reasoning in a response": thought(answer)}


def of_response_chunks(chunks: list[Any]) -> Features:
    return {
        "stream of a response": joined([chunk.text for chunk in chunks]),
        "reasoning in a stream of a response": thought(sum(chunks[1:], start=chunks[0])),
    }


def calls(answer: Any) -> Any:
    return [[call["name"], call["args"]] for call in answer.tool_calls]


def answered(answer: AIMessage) -> list[Any]:
    return [QUESTION, answer, *(ToolMessage(SKY, tool_call_id=call["id"]) for call in answer.tool_calls)]


def chat(url: str) -> Features:
    return of_answer(model(url).invoke(GREETING))


def stream(url: str) -> Features:
    return of_chunks(list(model(url).stream(GREETING)))


def tools(url: str) -> Features:
    called = caller(url).invoke([QUESTION])
    return {"tools": calls(called), "tool loop": caller(url).invoke(answered(called)).text}


def tools_stream(url: str) -> Features:
    chunks = list(caller(url).stream([QUESTION]))
    return {"tools in a stream": calls(sum(chunks[1:], start=chunks[0]))}


def structured(url: str) -> Features:
    return {"structured output": former(url).invoke(CITY_QUESTION).model_dump()}


def embeddings(url: str) -> Features:
    return vector(embedder(url).embed_query(GREETING))


def response(url: str) -> Features:
    return of_response(model(url, use_responses_api=True).invoke(GREETING))


def response_events(url: str) -> Features:
    chunks = list(model(url, use_responses_api=True).stream(GREETING))
    return of_response_chunks(chunks)


def response_caller(url: str) -> Any:
    return model(url, use_responses_api=True, extra_body=NO_THOUGHT).bind_tools([WEATHER])


def response_former(url: str) -> Any:
    asked = model(url, use_responses_api=True, extra_body=NO_THOUGHT)
    return asked.with_structured_output(City, method="json_schema")


def response_tools(url: str) -> Features:
    asked = response_caller(url)
    called = asked.invoke([QUESTION])
    return {
        "tools in a response": calls(called),
        "tool loop of responses": asked.invoke(answered(called)).text,
    }


def response_structured(url: str) -> Features:
    return {"structured response": response_former(url).invoke(CITY_QUESTION).model_dump()}


async def chat_async(url: str) -> Features:
    return of_answer(await model(url).ainvoke(GREETING))


async def stream_async(url: str) -> Features:
    return of_chunks([chunk async for chunk in model(url).astream(GREETING)])


async def tools_async(url: str) -> Features:
    called = await caller(url).ainvoke([QUESTION])
    return {"tools": calls(called), "tool loop": (await caller(url).ainvoke(answered(called))).text}


async def tools_stream_async(url: str) -> Features:
    chunks = [chunk async for chunk in caller(url).astream([QUESTION])]
    return {"tools in a stream": calls(sum(chunks[1:], start=chunks[0]))}


async def structured_async(url: str) -> Features:
    return {"structured output": (await former(url).ainvoke(CITY_QUESTION)).model_dump()}


async def embeddings_async(url: str) -> Features:
    return vector(await embedder(url).aembed_query(GREETING))


async def response_async(url: str) -> Features:
    return of_response(await model(url, use_responses_api=True).ainvoke(GREETING))


async def response_events_async(url: str) -> Features:
    chunks = [chunk async for chunk in model(url, use_responses_api=True).astream(GREETING)]
    return of_response_chunks(chunks)


async def response_tools_async(url: str) -> Features:
    asked = response_caller(url)
    called = await asked.ainvoke([QUESTION])
    answer = await asked.ainvoke(answered(called))
    return {"tools in a response": calls(called), "tool loop of responses": answer.text}


async def response_structured_async(url: str) -> Features:
    return {"structured response": (await response_former(url).ainvoke(CITY_QUESTION)).model_dump()}


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
