"""What the programs that try clients share: the questions, and how they are put.

A program is run in the environment of its client and imports nothing of this
project but this file, which needs nothing but Python. Its argument is JSON:
``{"urls": {…}, "tasks": […], "faults": {…}}``, where each way, ``sync`` or
``async``, has a URL of its own. It prints JSON: for each way, what each feature
gave, which tasks failed and how, and the exception that each fault became.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHAT = "vllm/tiny/chat"
EMBED = "vllm/tiny/embed"
RERANK = "vllm/tiny/rerank"
TRANSCRIPTION = "vllm/tiny/transcription"
GREETING = "Hello"
WEATHER_QUESTION = "What is the weather in Paris?"
CITY_QUESTION = "Give me Paris as JSON."
DESCRIPTION = "Weather for a city"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
FUNCTION: dict[str, Any] = {"name": "get_weather", "description": DESCRIPTION, "parameters": PARAMETERS}
WEATHER: dict[str, Any] = {"type": "function", "function": FUNCTION}
SKY = '{"celsius": 18, "sky": "clear"}'
QUERY = "What is machine learning?"
DOCUMENTS = ["In machine learning, a model is trained on examples.", "Paris is the capital of France."]
NO_THOUGHT: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
"""A parameter of vLLM's own, which clients have to let through."""
SPEECH = Path(__file__).parents[3] / "recording" / "clips" / "hello.wav"
WITHIN_S = 20
WHY = "a scripted fault", "connection reset"
"""What the server, or the connection, says when it fails."""

Features = dict[str, Any]
Task = Callable[[str], Any]
"""Does something with the gateway at a URL; gives ``Features``, or an awaitable of them."""


def joined(pieces: Sequence[str]) -> str:
    """The text of a stream, which has to come in more than one piece."""
    if len([piece for piece in pieces if piece]) < 2:
        raise ValueError(f"not streamed: {pieces}")
    return "".join(pieces)


def vector(numbers: Sequence[float]) -> Features:
    """How long an embedding is, and how it begins."""
    return {"embeddings": [len(numbers), *(round(number, 5) for number in numbers[:2])]}


def scores(rows: Sequence[Any]) -> Features:
    """What each of ``DOCUMENTS`` is worth as an answer to ``QUERY``."""
    return {"rerank": [[row["index"], round(row["relevance_score"], 5)] for row in rows]}


def named(error: BaseException) -> str:
    """The class of an exception, after the package that it is from; or what it calls itself."""
    if name := getattr(error, "name_in_report", ""):
        return str(name)
    kind = type(error)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def said(error: BaseException) -> bool:
    """Whether a reader of the exception learns what went wrong."""
    return any(why in str(error) for why in WHY)


def features(
    do: Callable[[Task, str], Features], tasks: Mapping[str, Task], names: Sequence[str], url: str
) -> tuple[Features, dict[str, str]]:
    """What the tasks that are asked for give, and what those said that failed."""
    found: Features = {}
    failures: dict[str, str] = {}
    for name in names:
        if name in tasks:
            try:
                found |= do(tasks[name], url)
            except Exception as error:
                failures[name] = f"{named(error)}: {error}"
    return found, failures


def met(fault: str) -> tuple[str, ...]:
    """The tasks that meet with a fault: a status is for all, the others are for streams."""
    if "response" in fault:
        return ("response events",)
    return ("chat", "stream") if fault.isdigit() else ("stream",)


def errors(
    do: Callable[[Task, str], Features], tasks: Mapping[str, Task], faults: Mapping[str, str]
) -> dict[str, str]:
    """The exceptions of each fault, by the tasks that meet with it; one name where they are the same."""
    found: dict[str, str] = {}
    for fault, url in faults.items():
        raised: list[str] = []
        for name in met(fault):
            if name not in tasks:
                continue
            try:
                do(tasks[name], url)
                raised.append("none")
            except Exception as error:
                raised.append(named(error) + ("" if said(error) else f", which does not say why: {error}"))
        if raised:
            found[fault] = ", ".join(dict.fromkeys(raised))
    return found


def main(ways: Mapping[str, Mapping[str, Task]]) -> None:
    """Do what the argument says with the tasks of each way, by name."""
    asked = json.loads(sys.argv[1])
    report: dict[str, Any] = {}
    with asyncio.Runner() as runner:

        def wait_for(task: Task, url: str) -> Features:
            async def waiting() -> Features:
                found: Features = await asyncio.wait_for(task(url), WITHIN_S)
                return found

            return runner.run(waiting())

        for way, tasks in ways.items():
            if url := asked["urls"].get(way):
                do = wait_for if way == "async" else lambda task, url: task(url)
                found, failures = features(do, tasks, asked["tasks"], url)
                report[way] = {
                    "features": found,
                    "failures": failures,
                    "errors": errors(do, tasks, asked["faults"]),
                }
    json.dump(report, sys.stdout)
