"""The gateway in front of a real vLLM: ``make live``.

Starts the server that ``make record`` sets up, a gateway before it in a process
of its own, and drives both with openai-python as an application would.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import openai
import pytest
import requests
from openai import OpenAI

from recording import dialogues
from recording.server import Server, serving

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = "vllm/tiny/chat"
NO_THOUGHT: Final = {"chat_template_kwargs": {"enable_thinking": False}}
WEATHER: Final[Any] = dialogues.WEATHER
WITHIN_S: Final = 20.0
TOKENS: Final = 900


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with serving(ROOT / ".vllm/bin/python", ROOT / ".models", log) as server:
        yield server


@pytest.fixture(scope="module")
def gateway_url(vllm: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("gateway") / "config.json"
    key = {"name": "real", "value": "", "models": ["*"], "weight": 1, "vllm_key_config": {"url": vllm.url}}
    config.write_text(json.dumps({"providers": {"vllm": {"keys": [key]}}}))
    command = [sys.executable, "gateway.py", "serve", "--config", str(config), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3]
        process.terminate()
        assert process.wait(WITHIN_S) == 0


@pytest.fixture
def client(gateway_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_plain(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), temperature=0)
    (choice,) = answer.choices
    assert choice.message.content == "\n\nHello! How can I help you today?"
    assert getattr(choice.message, "reasoning", None) == "\nThe user greets me. I greet back.\n"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 25


def test_streamed(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=user("Hello"), temperature=0, stream=True, extra_body=NO_THOUGHT
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "Hello! How can I help you today?"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].usage is not None


def test_tools(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user("What is the weather in Paris and Rome?"),
        temperature=0,
        tools=[WEATHER],
        extra_body=NO_THOUGHT,
    )
    calls: list[Any] = list(answer.choices[0].message.tool_calls or ())
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
    ]
    with client.chat.completions.stream(
        model=MODEL,
        messages=user("What is the weather in Paris and Rome?"),
        temperature=0,
        tools=[WEATHER],
        extra_body=NO_THOUGHT,
    ) as stream:
        streamed: list[Any] = list(stream.get_final_completion().choices[0].message.tool_calls or ())
    assert [call.function.arguments for call in streamed] == [call.function.arguments for call in calls]


def test_structured_output(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user("Give me Paris as JSON."),
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "city",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        },
        max_completion_tokens=60,
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Paris"}


def test_models_and_errors(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["vllm/tiny/chat"]
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="vllm/none", messages=user("Hello"))
    with pytest.raises(openai.BadRequestError, match="temperature must be"):
        client.chat.completions.create(model=MODEL, messages=user("Hello"), temperature=3)


def metric(server: Server, name: str) -> float:
    """What vLLM says of itself."""
    lines = requests.get(f"{server.url}/metrics", timeout=WITHIN_S).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def wait_until(server: Server, count: int) -> None:
    deadline = time.monotonic() + WITHIN_S
    while (running := metric(server, "num_requests_running")) != count:
        assert time.monotonic() < deadline, f"vLLM still runs {running} requests, not {count}"


CLIENT: Final = """
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="unused")
answer = client.chat.completions.create(
    model="vllm/tiny/chat", messages=[{"role": "user", "content": "Hello"}], max_completion_tokens=int(sys.argv[3]),
    stream=sys.argv[2] == "stream", extra_body={"ignore_eos": True})
for chunk in answer if sys.argv[2] == "stream" else ():
    print(chunk.id, flush=True)
"""


@pytest.mark.parametrize("form", ["stream", "plain"])
def test_a_client_that_is_killed_takes_its_request_with_it(vllm: Server, gateway_url: str, form: str) -> None:
    wait_until(vllm, 0)
    before = metric(vllm, "generation_tokens_total")
    command = [sys.executable, "-c", CLIENT, f"{gateway_url}/v1", form, str(TOKENS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_until(vllm, 1)
        if form == "stream":
            assert process.stdout is not None
            assert process.stdout.readline().startswith("chatcmpl-")
        process.kill()
    wait_until(vllm, 0)
    assert metric(vllm, "generation_tokens_total") - before < TOKENS / 2
