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
from typing import Any, Final, Literal

import openai
import pytest
import requests
from openai import OpenAI
from pydantic import BaseModel

from recording import dialogues
from recording.server import Server, serving

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = "vllm/tiny/chat"
NO_THOUGHT: Final = {"chat_template_kwargs": {"enable_thinking": False}}
WEATHER: Final[Any] = dialogues.WEATHER
WITHIN_S: Final = 20.0
TOKENS: Final = 900


class City(BaseModel):
    model_config = {"extra": "forbid"}
    city: Literal["Paris", "Rome"]


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with serving(ROOT / ".vllm/bin/python", ROOT / ".models", log) as server:
        yield server


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_plain(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("Hello"), temperature=0)
    (choice,) = answer.choices
    assert choice.message.content == "\n\nHello! How can I help you today?"
    assert getattr(choice.message, "reasoning", None) == "\nThe user greets me. I greet back.\n"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    spent = answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.total_tokens == spent > 13


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


def flat(tool: Any) -> Any:
    """A tool as the Responses API has it."""
    return {"type": "function", **tool["function"]}


def test_a_response(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Hello", temperature=0)
    assert response.output_text == "\n\nHello! How can I help you today?"
    thought, _message = response.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert [part.text for part in thought.content] == ["\nThe user greets me. I greet back.\n"]
    assert response.usage is not None
    assert 0 < response.usage.output_tokens_details.reasoning_tokens < response.usage.output_tokens


def test_a_streamed_response_cut_by_length(client: OpenAI) -> None:
    events = list(
        client.responses.create(
            model=MODEL, input="Hello", temperature=0, max_output_tokens=18, top_logprobs=1, stream=True
        )
    )
    last = events[-1]
    assert last.type == "response.incomplete"
    assert "\n\nHello! How can I help you today?".startswith(last.response.output_text)
    (message,) = [item for item in last.response.output if item.type == "message"]
    (text,) = [part for part in message.content if part.type == "output_text"]
    assert "".join(token.token for token in text.logprobs or ()) == text.text != ""


def test_a_response_of_a_form(client: OpenAI) -> None:
    response = client.responses.parse(
        model=MODEL, input="Give me Paris as JSON.", temperature=0, text_format=City, max_output_tokens=60
    )
    assert response.output_parsed == City(city="Paris")


def test_a_loop_of_responses_and_tools(client: OpenAI) -> None:
    conversation: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked: dict[str, Any] = {
        "model": MODEL,
        "temperature": 0,
        "tools": [flat(WEATHER)],
        "extra_body": NO_THOUGHT,
    }
    with client.responses.stream(input=conversation, **asked) as events:
        response = events.get_final_response()
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    result: dict[str, Any] = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": '{"celsius": 18, "sky": "clear"}',
    }
    conversation += [*response.output, result]
    with client.responses.stream(input=conversation, **asked) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        response = events.get_final_response()
    assert response.output_text == "".join(deltas) == "It is 18 degrees and clear in Paris."


def test_a_thought_is_fed_back(client: OpenAI) -> None:
    question: Any = {"role": "user", "content": "What is the capital of France?"}
    response = client.responses.create(model=MODEL, input=[question], temperature=0)
    conversation: Any = [question, *response.output, {"role": "user", "content": "And of Italy?"}]
    again = client.responses.create(
        model=MODEL, input=conversation, max_output_tokens=1, extra_body={"return_prompt_text": True}
    )
    fields: Any = again.to_dict()["extra_fields"]
    prompt = fields["chat_completion"]["prompt_text"]
    assert "France is a country. Its capital is Paris.\n" in prompt.partition("</think>")[0]


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
from pydantic import BaseModel
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
