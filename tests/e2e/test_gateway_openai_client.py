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


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1", "/openai"])
def test_models_retrieve(url: str, upstream: Upstream, prefix: str) -> None:
    name = "org/name with space%2F"
    row = {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 8}
    upstream.always_answers(reply({"object": "list", "data": [row]}))
    with openai.OpenAI(base_url=url + prefix, api_key="of-the-client", max_retries=0) as client:
        model = client.models.retrieve(f"vllm/{name}")
        assert client.models.retrieve(name).id == model.id
        assert (model.id, model.created, model.object, model.owned_by) == (f"vllm/{name}", 1, "model", "vllm")
        assert model.model_extra is not None
        assert model.model_extra["context_length"] == 8
        page = client.models.list()
        assert [each.id for each in page] == [each.id for each in page.data] == [f"vllm/{name}"]
        with pytest.raises(openai.NotFoundError) as raised:
            client.models.retrieve("vllm/org")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


UNSUPPORTED: list[tuple[str, Callable[[openai.OpenAI], object]]] = [
    ("image_generation", lambda client: client.images.generate(model="vllm/m", prompt="x")),
    (
        "image_generation_stream",
        lambda client: client.images.generate(model="vllm/m", prompt="x", stream=True),
    ),
    ("image_edit", lambda client: client.images.edit(image=b"png", prompt="x")),
    ("speech", lambda client: client.audio.speech.create(model="vllm/m", voice="alloy", input="x")),
    (
        "speech_stream",
        lambda client: client.audio.speech.create(
            model="vllm/m", voice="alloy", input="x", stream_format="sse"
        ),
    ),
    ("file_upload", lambda client: client.files.create(file=b"x" * 4_000_000, purpose="batch")),
    ("file_list", lambda client: client.files.list()),
    ("file_retrieve", lambda client: client.files.retrieve("f")),
    ("file_content", lambda client: client.files.content("f")),
    ("file_delete", lambda client: client.files.delete("f")),
    (
        "batch_create",
        lambda client: client.batches.create(
            input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h"
        ),
    ),
    ("batch_list", lambda client: client.batches.list()),
    ("batch_retrieve", lambda client: client.batches.retrieve("b")),
    ("batch_cancel", lambda client: client.batches.cancel("b")),
    ("container_create", lambda client: client.containers.create(name="c")),
    ("container_file_list", lambda client: client.containers.files.list("c")),
    ("count_tokens", lambda client: client.responses.input_tokens.count(model="vllm/m", input="x")),
    ("compaction", lambda client: client.responses.compact(model="vllm/m", input="x")),
    ("responses_retrieve", lambda client: client.responses.retrieve("r")),
    ("responses_delete", lambda client: client.responses.delete("r")),
    ("responses_cancel", lambda client: client.responses.cancel("r")),
    ("responses_input_items", lambda client: client.responses.input_items.list("r")),
]


@pytest.mark.parametrize(("request_type", "request_it"), UNSUPPORTED, ids=[row[0] for row in UNSUPPORTED])
def test_what_vllm_does_not_serve(
    client: openai.OpenAI,
    upstream: Upstream,
    request_type: str,
    request_it: Callable[[openai.OpenAI], object],
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        request_it(client)
    assert raised.value.code == "unsupported_operation"
    assert f"{request_type} is not supported by vllm provider" in raised.value.message
    assert upstream.seen == []


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
