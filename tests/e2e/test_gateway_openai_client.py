"""openai-python talks to the gateway as it would to OpenAI."""

from collections.abc import Callable, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.e2e.loopback import COMPLETION, HELLO, MODELS, Script, Upstream, delta, reply, stream


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI) -> ChatCompletion:
    return client.chat.completions.create(model="vllm/m", messages=[{"role": "user", "content": "hi"}])


def ask_stream(client: openai.OpenAI) -> openai.Stream[ChatCompletionChunk]:
    return client.chat.completions.create(
        model="vllm/m", messages=[{"role": "user", "content": "hi"}], stream=True
    )


def test_create(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(COMPLETION))
    answer = ask(client)
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3
    assert upstream.request().header("authorization") == "Bearer key-canary-1"


def test_create_with_stream(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(stream(*HELLO))
    chunks = list(ask_stream(client))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None, None, None, 3]


def test_models_list(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(MODELS))
    assert [model.id for model in client.models.list()] == ["vllm/m"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("request_it", [ask, ask_stream])
def test_errors_have_their_classes(
    client: openai.OpenAI,
    upstream: Upstream,
    status: int,
    kind: type[openai.APIStatusError],
    request_it: Callable[[openai.OpenAI], object],
) -> None:
    said = {"message": "so it is", "type": "SomeError", "param": "messages", "code": status}
    upstream.answers(reply({"error": said}, status))
    with pytest.raises(kind, match="so it is") as raised:
        request_it(client)
    assert raised.value.status_code == status
    assert raised.value.type == "SomeError"
    assert raised.value.param == "messages"
    assert raised.value.code == str(status)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(stream({"error": {"message": "so it is", "code": 400}}), id="as first event"),
        pytest.param(reply({"error": {"message": "so it is", "code": 400}}), id="as JSON"),
    ],
)
def test_a_stream_that_fails_at_once_is_an_error_of_the_call(
    client: openai.OpenAI, upstream: Upstream, script: Script
) -> None:
    upstream.answers(script)
    with pytest.raises(openai.BadRequestError, match="so it is"):
        ask_stream(client)


def test_a_stream_that_fails_later_raises_where_it_is_read(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(
        stream(delta("Hel", role="assistant"), {"error": {"message": "engine died", "code": 500}})
    )
    chunks = ask_stream(client)
    assert next(chunks).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="engine died"):
        next(chunks)


def test_a_stream_may_be_left(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(stream(*HELLO), reply(COMPLETION))
    with ask_stream(client) as chunks:
        next(chunks)
    assert ask(client).choices[0].message.content == "Hello"
