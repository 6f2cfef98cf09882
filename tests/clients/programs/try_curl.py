"""Tries curl, for which this program does nothing but read JSON and events."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

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

QUESTION = {"role": "user", "content": WEATHER_QUESTION}
HELLO = {"model": CHAT, "messages": [{"role": "user", "content": GREETING}], "temperature": 0}
CALL = {"model": CHAT, "messages": [QUESTION], "temperature": 0, "tools": [WEATHER], **NO_THOUGHT}
RESPONSE = {"model": CHAT, "input": GREETING, "temperature": 0}
RESPONSE_CALL = {
    "model": CHAT,
    "input": [QUESTION],
    "temperature": 0,
    "tools": [{"type": "function", **FUNCTION}],
    **NO_THOUGHT,
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
    "required": ["city", "country"],
    "additionalProperties": False,
}
STATUS = "\n%{http_code}"


class CurlError(Exception):
    """How curl tells that something went wrong, and what it printed."""

    def __init__(self, name_in_report: str, printed: str) -> None:
        super().__init__(printed)
        self.name_in_report = name_in_report


def curl(*arguments: str) -> str:
    """What it prints; an error when it says so by its exit status."""
    command = ["curl", "--silent", "--fail-with-body", "--max-time", str(WITHIN_S), "--write-out", STATUS]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    body, _, status = done.stdout.rpartition("\n")
    if done.returncode:
        raise CurlError(f"exit status {done.returncode}, HTTP {status}", body)
    return body


def post(url: str, path: str, document: Any) -> Any:
    return json.loads(curl(f"{url}/v1/{path}", "--data", json.dumps(document)))


def events(url: str, path: str, document: Any) -> Iterator[Any]:
    body = curl(f"{url}/v1/{path}", "--no-buffer", "--data", json.dumps({**document, "stream": True}))
    payloads = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    for payload in payloads:
        if payload == "[DONE]":
            return
        event = json.loads(payload)
        if event.get("error"):
            ending = "" if event.get("type") else ", no `[DONE]`"
            raise CurlError(f"exit status 0, an event with `error`{ending}", payload)
        yield event


def calls(message: Any) -> Any:
    return [
        [call["function"]["name"], json.loads(call["function"]["arguments"])]
        for call in message["tool_calls"]
    ]


def chat(url: str) -> Features:
    answer = post(url, "chat/completions", HELLO)
    message, usage = answer["choices"][0]["message"], answer["usage"]
    return {
        "chat": message["content"],
        "reasoning": message["reasoning"],
        "usage": [usage["prompt_tokens"], usage["completion_tokens"]],
    }


def stream(url: str) -> Features:
    asked = {**HELLO, "stream_options": {"include_usage": True}}
    chunks = list(events(url, "chat/completions", asked))
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    usage = chunks[-1]["usage"]
    return {
        "stream": joined([delta.get("content") or "" for delta in deltas]),
        "reasoning in a stream": joined([delta.get("reasoning") or "" for delta in deltas]),
        "usage in a stream": [usage["prompt_tokens"], usage["completion_tokens"]],
    }


def tools(url: str) -> Features:
    message = post(url, "chat/completions", CALL)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": SKY} for call in message["tool_calls"]]
    answer = post(url, "chat/completions", {**CALL, "messages": [QUESTION, message, *results]})
    return {"tools": calls(message), "tool loop": answer["choices"][0]["message"]["content"]}


def tools_stream(url: str) -> Features:
    chunks = events(url, "chat/completions", CALL)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    parts = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    names = [part["name"] for part in parts if part.get("name")]
    arguments = "".join(part.get("arguments") or "" for part in parts)
    return {"tools in a stream": [[*names, json.loads(arguments)]]}


def structured(url: str) -> Features:
    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": CITY, "strict": True}}
    asked = {**HELLO, "messages": [{"role": "user", "content": CITY_QUESTION}], "response_format": form}
    answer = post(url, "chat/completions", {**asked, **NO_THOUGHT})
    return {"structured output": json.loads(answer["choices"][0]["message"]["content"])}


def said(response: Any, kind: str) -> str:
    parts = [part for item in response["output"] if item["type"] == kind for part in item["content"]]
    return "".join(part["text"] for part in parts)


def response(url: str) -> Features:
    answer = post(url, "responses", RESPONSE)
    return {"response": said(answer, "message"), "reasoning in a response": said(answer, "reasoning")}


def response_events(url: str) -> Features:
    told = list(events(url, "responses", RESPONSE))
    texts = [event["delta"] for event in told if event["type"] == "response.output_text.delta"]
    thoughts = [event["delta"] for event in told if event["type"] == "response.reasoning_text.delta"]
    return {"stream of a response": joined(texts), "reasoning in a stream of a response": joined(thoughts)}


def response_tools(url: str) -> Features:
    output = post(url, "responses", RESPONSE_CALL)["output"]
    called = [item for item in output if item["type"] == "function_call"]
    results = [{"type": "function_call_output", "call_id": item["call_id"], "output": SKY} for item in called]
    answer = post(url, "responses", {**RESPONSE_CALL, "input": [QUESTION, *output, *results]})
    return {
        "tools in a response": [[item["name"], json.loads(item["arguments"])] for item in called],
        "tool loop of responses": said(answer, "message"),
    }


def embeddings(url: str) -> Features:
    return vector(post(url, "embeddings", {"model": EMBED, "input": GREETING})["data"][0]["embedding"])


def rerank(url: str) -> Features:
    asked = {"model": RERANK, "query": QUERY, "documents": DOCUMENTS}
    return scores(post(url, "rerank", asked)["results"])


def models(url: str) -> Features:
    return {"models": [model["id"] for model in json.loads(curl(f"{url}/v1/models"))["data"]]}


def transcription(url: str) -> Features:
    form = ["--form", f"model={TRANSCRIPTION}", "--form", f"file=@{SPEECH};type=audio/wav"]
    return {"transcription": json.loads(curl(f"{url}/v1/audio/transcriptions", *form))["text"]}


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
                "embeddings": embeddings,
                "rerank": rerank,
                "models": models,
                "transcription": transcription,
            }
        }
    )
