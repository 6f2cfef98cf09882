"""Text completions, embeddings and rerank through the gateway, asked as clients ask."""

import json
from collections.abc import Iterator

import openai
import pytest
import requests

from tests.e2e.loopback import Upstream, reply, stream

COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 5,
    "model": "m",
    "choices": [
        {"index": 0, "text": " there", "logprobs": None, "finish_reason": "length", "stop_reason": None}
    ],
    "usage": {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1},
}
VECTORS = b'{"object":"list","data":[{"index":0,"object":"embedding","embedding":[0.10,-1E-5]}],"model":"m"}'
RANKING = {
    "id": "score-1",
    "results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.75}],
}
QUERY = {"model": "vllm/m", "query": "q", "documents": ["a", "b"]}


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        yield client


def test_completions(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.answers(reply(COMPLETION))
    answer = client.completions.create(model="vllm/m", prompt=[1, 2], max_tokens=1, extra_body={"top_k": 5})
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (" there", "length")
    seen = upstream.request()
    assert seen.line == "POST /v1/completions HTTP/1.1"
    assert seen.document == {"model": "m", "prompt": [1, 2], "max_tokens": 1, "top_k": 5}


def test_streamed_completions(client: openai.OpenAI, upstream: Upstream) -> None:
    part = {**COMPLETION, "choices": [{"index": 0, "text": "Hi", "finish_reason": None}], "usage": None}
    upstream.answers(stream(part, COMPLETION))
    chunks = list(client.completions.create(model="vllm/m", prompt="Say", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hi there"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "length"]
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None, None, 2]
    assert upstream.request().document == {
        "model": "m",
        "prompt": "Say",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_embeddings_pass_to_the_last_digit(url: str, http: requests.Session, upstream: Upstream) -> None:
    upstream.answers(reply(VECTORS))
    answer = http.post(f"{url}/v1/embeddings", json={"model": "vllm/m", "input": "a"})
    assert answer.status_code == 200
    assert b'"embedding":[0.10,-1E-5]' in answer.content
    assert answer.json()["extra_fields"]["request_type"] == "embedding"


def test_vectors_that_are_no_text_are_not_passed_on(
    url: str, http: requests.Session, upstream: Upstream
) -> None:
    upstream.answers(reply(b'{"data":[{"index":0,"embedding":["\xff"]}]}'))
    answer = http.post(f"{url}/v1/embeddings", json={"model": "vllm/m", "input": "a"})
    assert (answer.status_code, answer.json()["error"]) == (
        500,
        {"message": "failed to unmarshal response from provider API", "error": "not UTF-8 at byte 34"},
    )


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_embeddings_come_as_the_sdk_wants_them(
    client: openai.OpenAI, upstream: Upstream, encoding_format: str
) -> None:
    upstream.answers(
        reply({"data": [{"index": 0, "object": "embedding", "embedding": "AACAPwAAIMA="}], "model": "m"})
    )
    if encoding_format == "float":
        answer = client.embeddings.create(model="vllm/m", input="a", encoding_format="float")
    else:  # what the SDK asks for by itself
        answer = client.embeddings.create(model="vllm/m", input="a")
    assert [row.embedding for row in answer.data] == [[1.0, -2.5]]
    assert upstream.request().document["encoding_format"] == encoding_format


def test_streamed_words_that_are_no_text_end_the_stream_with_an_error(
    url: str, http: requests.Session, upstream: Upstream
) -> None:
    frames = b"".join(
        b'data: {"id":"i","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % words
        for words in (b"a", b"b", b"\\ud83d", b"c", b"\xff")
    )
    upstream.answers(reply(frames, 200, "text/event-stream"))
    messages = [{"role": "user", "content": "hi"}]
    answer = http.post(
        f"{url}/v1/chat/completions", json={"model": "vllm/m", "messages": messages, "stream": True}
    )
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    *chunks, last = events
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["a", "b", "\ud83d", "c"]
    assert last["error"]["message"] == "failed to unmarshal response from provider API"


def test_rerank(url: str, http: requests.Session, upstream: Upstream) -> None:
    upstream.answers(reply(RANKING))
    answer = http.post(f"{url}/v1/rerank", json={**QUERY, "params": {"return_documents": True}})
    document = answer.json()
    assert document["results"] == [
        {"index": 0, "relevance_score": 0.75, "document": {"text": "a"}},
        {"index": 1, "relevance_score": 0.5, "document": {"text": "b"}},
    ]
    seen = upstream.request()
    assert (seen.line, seen.document) == (
        "POST /v1/rerank HTTP/1.1",
        {"model": "m", "query": "q", "documents": ["a", "b"]},
    )


@pytest.mark.parametrize("path", ["/rerank", "/v2/rerank"])
def test_rerank_by_the_other_paths_of_vllm(
    url: str, http: requests.Session, upstream: Upstream, path: str
) -> None:
    """LiteLLM asks ``/rerank`` of a vLLM, Cohere's clients ``/v2/rerank``."""
    upstream.answers(reply(RANKING), reply(RANKING))
    answer, other = (http.post(url + each, json=QUERY).json() for each in (path, "/v1/rerank"))
    del answer["extra_fields"]["latency"], other["extra_fields"]["latency"]
    assert answer == other
    assert [upstream.request(index).line for index in range(2)] == ["POST /v1/rerank HTTP/1.1"] * 2
    assert upstream.request(0).body == upstream.request(1).body


def test_rerank_finds_the_path_and_remembers_it(url: str, http: requests.Session, upstream: Upstream) -> None:
    upstream.answers(reply({"detail": "Not Found"}, 404), reply(RANKING), reply(RANKING))
    for _ in range(2):
        assert http.post(f"{url}/v1/rerank", json=QUERY).status_code == 200
    lines = [upstream.request(index).line for index in range(3)]
    assert lines == ["POST /v1/rerank HTTP/1.1", "POST /rerank HTTP/1.1", "POST /rerank HTTP/1.1"]
    assert upstream.request(0).body == upstream.request(1).body


def test_rerank_follows_a_server_that_changed(url: str, http: requests.Session, upstream: Upstream) -> None:
    missing = reply({"detail": "Not Found"}, 404)
    upstream.answers(missing, reply(RANKING), missing, reply(RANKING), reply(RANKING))
    for _ in range(3):
        assert http.post(f"{url}/v1/rerank", json=QUERY).status_code == 200
    paths = [upstream.request(index).line.split()[1] for index in range(5)]
    assert paths == ["/v1/rerank", "/rerank", "/rerank", "/v1/rerank", "/v1/rerank"]


def test_rerank_reports_the_first_of_two_refusals(
    url: str, http: requests.Session, upstream: Upstream
) -> None:
    upstream.answers(reply({"detail": "first"}, 404), reply({"detail": "second"}, 405))
    answer = http.post(f"{url}/v1/rerank", json=QUERY)
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "first")


def test_what_cannot_be_sent_is_refused_here(url: str, http: requests.Session, upstream: Upstream) -> None:
    answer = http.post(f"{url}/v1/rerank", data=json.dumps({**QUERY, "top_n": 0}))
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        {"message": "top_n must be at least 1", "type": "invalid_request_error", "param": "top_n"},
    )
    assert upstream.seen == []
