"""openai-python's Responses against the gateway, in all the ways in which it can be used."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

from tests.e2e.loopback import DONE, USAGE, USAGE_FRAME, Script, Upstream, reply, stream


class City(BaseModel):
    city: str
    people: int


WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather for a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CLOCK: Any = {
    "type": "function",
    "name": "get_time",
    "parameters": {"type": "object", "properties": {}},
    "strict": True,
}
CITY = '{"city": "Paris", "people": 2000000}'


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        yield client


def completion(finish: str = "stop", **message: object) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def frame(finish: str | None = None, **delta: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice]}


def told(finish: str, *deltas: dict[str, Any]) -> Script:
    """A stream of vLLM's."""
    opener = frame(role="assistant", content="")
    return stream(opener, *(frame(**delta) for delta in deltas), frame(finish), USAGE_FRAME, DONE)


def fragment(index: int, call_id: str | None = None, name: str | None = None, arguments: str = "") -> Any:
    head = {} if call_id is None else {"id": call_id, "type": "function"}
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, **head, "function": function}]}


def call(call_id: str, arguments: str, name: str = "get_weather") -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_create(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(completion(content="Hello", reasoning="hm")))
    response = client.responses.create(model="vllm/m", input="hi", metadata={"a": "b"})
    assert response.output_text == "Hello"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.status == "completed"
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (1, 2)


def test_create_with_stream(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(told("stop", {"reasoning": "hm"}, {"content": "Hel"}, {"content": "lo"}))
    with client.responses.create(model="vllm/m", input="hi", stream=True) as events:
        kinds = [event.type for event in events]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_stream_and_its_final_response(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(told("stop", {"reasoning": "hm"}, {"content": "Hel"}, {"content": "lo"}))
    with client.responses.stream(model="vllm/m", input="hi") as events:
        snapshots = [event.snapshot for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response()
    assert snapshots == ["Hel", "Hello"]
    assert final.output_text == "Hello"
    assert final.usage is not None
    assert final.usage.total_tokens == 3


def test_stream_of_calls_only(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(
        told(
            "tool_calls",
            fragment(0, "c1", "get_weather"),
            fragment(0, arguments='{"city":'),
            fragment(0, arguments=' "Paris"}'),
            fragment(1, "c2", "get_time"),
        )
    )
    with client.responses.stream(model="vllm/m", input="hi", tools=[WEATHER, CLOCK]) as events:
        final = events.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(item.call_id, item.name, item.parsed_arguments) for item in calls] == [
        ("c1", "get_weather", {"city": "Paris"}),
        ("c2", "get_time", {}),
    ]


def test_parse(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(completion(content=CITY, reasoning="hm")))
    response = client.responses.parse(model="vllm/m", input="hi", text_format=City)
    assert response.output_parsed == City(city="Paris", people=2_000_000)
    sent = upstream.request().document["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "City"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["required"] == ["city", "people"]


def test_parse_of_a_stream(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(told("stop", {"content": CITY[:9]}, {"content": CITY[9:]}))
    with client.responses.stream(model="vllm/m", input="hi", text_format=City) as events:
        parsed = [event.parsed for event in events if event.type == "response.output_text.done"]
        final = events.get_final_response()
    assert parsed == [City(city="Paris", people=2_000_000)]
    assert final.output_parsed == City(city="Paris", people=2_000_000)


def test_parse_of_calls(client: openai.OpenAI, upstream: Upstream) -> None:
    calls = [call("c1", '{"city": "Paris"}'), call("c2", "", "get_time")]
    upstream.answers(reply(completion("tool_calls", content=None, tool_calls=calls)))
    response = client.responses.parse(model="vllm/m", input="hi", tools=[WEATHER, CLOCK])
    parsed = [item.parsed_arguments for item in response.output if item.type == "function_call"]
    assert parsed == [{"city": "Paris"}, {}]
    assert response.output_text == ""


def test_a_refusal(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(told("stop", {"refusal": "I will"}, {"refusal": " not"}))
    with client.responses.stream(model="vllm/m", input="hi") as events:
        deltas = [event.delta for event in events if event.type == "response.refusal.delta"]
        final = events.get_final_response()
    assert deltas == ["I will", " not"]
    (message,) = final.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "refusal"
    assert part.refusal == "I will not"


def test_an_answer_cut_by_length(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(told("length", {"content": "Hel"}))
    events = list(client.responses.create(model="vllm/m", input="hi", max_output_tokens=1, stream=True))
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output_text == "Hel"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_loop_with_tools(client: openai.OpenAI, upstream: Upstream, streamed: bool) -> None:
    if streamed:
        upstream.answers(
            told(
                "tool_calls",
                {"reasoning": "two cities"},
                {"content": "Let me look."},
                fragment(0, "c1", "get_weather", '{"city": "Paris"}'),
                fragment(1, "c2", "get_weather", '{"city": "Rome"}'),
            ),
            told("stop", {"reasoning": "both"}, {"content": "Fine in both."}),
        )
    else:
        calls = [call("c1", '{"city": "Paris"}'), call("c2", '{"city": "Rome"}')]
        first = completion("tool_calls", content="Let me look.", reasoning="two cities", tool_calls=calls)
        upstream.answers(reply(first), reply(completion(content="Fine in both.", reasoning="both")))

    def ask(items: Any) -> Any:
        if not streamed:
            return client.responses.create(model="vllm/m", input=items, tools=[WEATHER])
        with client.responses.stream(model="vllm/m", input=items, tools=[WEATHER]) as events:
            return events.get_final_response()

    conversation: list[Any] = [{"role": "user", "content": "Paris and Rome?"}]
    response = ask(conversation)
    conversation += response.output
    for item in response.output:
        if isinstance(item, ResponseFunctionToolCall):
            output = f"18 in {item.arguments}"
            conversation.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
    assert ask(conversation).output_text == "Fine in both."
    assert upstream.request(1).document["messages"] == [
        {"role": "user", "content": "Paris and Rome?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning": "two cities",
            "reasoning_content": "two cities",
            "tool_calls": [call("c1", '{"city": "Paris"}'), call("c2", '{"city": "Rome"}')],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '18 in {"city": "Paris"}'},
        {"role": "tool", "tool_call_id": "c2", "content": '18 in {"city": "Rome"}'},
    ]


def test_an_error_before_the_start_has_its_class(client: openai.OpenAI, upstream: Upstream) -> None:
    said = {"message": "so it is", "type": "SomeError", "param": "messages", "code": 429}
    upstream.answers(reply({"error": said}, 429), reply({"error": said}, 429))
    for streamed in (False, True):
        with pytest.raises(openai.RateLimitError, match="so it is"):
            client.responses.create(model="vllm/m", input="hi", stream=streamed)


def test_an_error_after_the_start_raises_where_it_is_read(client: openai.OpenAI, upstream: Upstream) -> None:
    bad = {"error": {"message": "engine died", "code": 500}}
    upstream.answers(*[stream(frame(role="assistant", content="Hel"), bad, DONE)] * 2)
    seen = []
    with pytest.raises(openai.APIError, match="engine died"):  # noqa: PT012 - the events before it count
        for event in client.responses.create(model="vllm/m", input="hi", stream=True):
            seen.append(event)  # noqa: PERF402
    last = seen[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "engine died"
    assert last.response.output_text == "Hel"
    with (
        client.responses.stream(model="vllm/m", input="hi") as events,
        pytest.raises(openai.APIError, match="engine died"),
    ):
        events.until_done()


def test_what_cannot_be_carried_is_a_bad_request(client: openai.OpenAI, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="vllm/m", input="hi", tools=[{"type": "web_search"}])
    assert raised.value.param == "tools[0].type"
    assert upstream.connections == 0


def test_the_parameters_of_vllm(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(completion(content="x")))
    client.responses.create(
        model="vllm/m",
        input="hi",
        top_logprobs=2,
        extra_body={"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}},
    )
    assert upstream.request().document == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "top_logprobs": 2,
        "logprobs": True,
        "top_k": 20,
        "chat_template_kwargs": {"enable_thinking": False},
    }
