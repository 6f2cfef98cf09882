"""Chat through the gateway: what the server sees, and every byte that the client gets."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from routing.config import Alias, Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    PATIENCE_S,
    USAGE,
    Exchange,
    Upstream,
    delta,
    reply,
    stream,
)

PATHS = ["/v1/chat/completions", "/openai/v1/chat/completions", "/openai/chat/completions"]


def settled(document: Any) -> Any:
    """``document`` with every latency checked and made 0."""
    latency = document["extra_fields"]["latency"]
    assert isinstance(latency, int)
    assert latency >= 0
    return {**document, "extra_fields": {**document["extra_fields"], "latency": 0}}


def extra_fields(request_type: str, **more: object) -> Mapping[str, object]:
    return {
        "request_type": request_type,
        "provider": "vllm",
        "routing_info": {"provider": "vllm", "model": "m", "key": "k"},
        "original_model_requested": "m",
        "resolved_model_used": "m",
        "latency": 0,
        "chunk_index": 0,
        **more,
    }


def events(body: str) -> list[Any]:
    """The payloads of a stream, latencies made 0; its framing is checked to the byte."""
    payloads: list[Any] = []
    frames = body.split("\n\n")
    assert frames.pop() == ""
    for text in frames:
        assert text.startswith("data: ")
        payload = text.removeprefix("data: ")
        payloads.append(payload if payload == "[DONE]" else settled(json.loads(payload)))
    return payloads


@pytest.mark.parametrize("path", PATHS)
def test_a_chat(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(reply(COMPLETION))
    answer = http.post(url + path, json={**ASK, "top_k": 5})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert settled(answer.json()) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello"},
                "logprobs": None,
            }
        ],
        "usage": USAGE,
        "extra_fields": extra_fields("chat_completion"),
    }
    seen = upstream.request()
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen.header("authorization") == "Bearer key-canary-1"
    assert seen.header("content-type") == "application/json"
    assert seen.body == (b'{"model":"m","messages":[{"role":"user","content":"hi"}],"top_k":5}')


def chunk_of(index: int, said: Mapping[str, object], **more: object) -> Mapping[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "system_fingerprint": "",
        "choices": [{"index": 0, "delta": said, "finish_reason": None, "logprobs": None}],
        "extra_fields": extra_fields("chat_completion_stream", chunk_index=index),
        **more,
    }


LAST = {
    "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
    "usage": USAGE,
}


@pytest.mark.parametrize("path", PATHS)
def test_a_streamed_chat(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(stream(*HELLO))
    answer = http.post(url + path, json=ASK_STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert events(answer.text) == [
        chunk_of(0, {"role": "assistant", "content": ""}),
        chunk_of(1, {"content": "Hel"}),
        chunk_of(2, {"content": "lo"}),
        chunk_of(3, {}, **LAST),
        "[DONE]",
    ]
    seen = upstream.request()
    assert seen.document == {**ASK, "model": "m", "stream": True, "stream_options": {"include_usage": True}}
    assert seen.header("accept") == "text/event-stream"


@pytest.mark.parametrize("streamed", [None, False])
def test_stream_null_or_false_is_no_stream(
    url: str, upstream: Upstream, http: requests.Session, streamed: bool | None
) -> None:
    upstream.answers(reply(COMPLETION))
    answer = http.post(url + PATHS[0], json={**ASK, "stream": streamed})
    assert answer.json()["object"] == "chat.completion"
    assert "stream" not in upstream.request().document


def test_text_of_any_script_passes_unharmed(url: str, upstream: Upstream, http: requests.Session) -> None:
    text = "✅ 入 🌞 \u2028 \u0085 \x0b"
    upstream.answers(stream(delta(text, role="assistant"), delta("", finish="stop"), b"[DONE]"))
    answer = http.post(url + PATHS[0], json=ASK_STREAM)
    answer.encoding = "utf-8"
    assert events(answer.text)[0]["choices"][0]["delta"]["content"] == text


def test_an_alias_is_resolved_and_told(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    key = Key("k", "k", url=upstream.url, models=("*",), aliases={"fast": Alias("org/real", "Real")})
    upstream.answers(reply(COMPLETION), stream(*HELLO))
    url = serve(Config((key,))) + PATHS[0]
    told = {
        "routing_info": {
            "provider": "vllm",
            "model": "fast",
            "key": "k",
            "resolved_key_alias": {"model_id": "org/real", "model_name": "Real"},
        },
        "original_model_requested": "fast",
        "resolved_model_used": "org/real",
    }
    answer = http.post(url, json={**ASK, "model": "vllm/fast"})
    assert settled(answer.json())["extra_fields"] == extra_fields("chat_completion", **told)
    answer = http.post(url, json={**ASK_STREAM, "model": "vllm/fast"})
    assert events(answer.text)[0]["extra_fields"] == extra_fields("chat_completion_stream", **told)
    assert [upstream.request(number).document["model"] for number in (0, 1)] == ["org/real", "org/real"]


@pytest.mark.parametrize("model", ["m", "vllm/m"])
def test_a_model_needs_no_prefix_when_a_key_serves_it(
    url: str, upstream: Upstream, http: requests.Session, model: str
) -> None:
    upstream.answers(reply(COMPLETION))
    assert http.post(url + PATHS[0], json={**ASK, "model": model}).status_code == 200
    assert upstream.request().document["model"] == "m"


def test_a_pinned_key_is_used(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    keys = tuple(
        Key(name, f"id-{name}", value=f"sk-of-{name}", url=upstream.url, models=("*",)) for name in "abc"
    )
    url = serve(Config(keys)) + PATHS[0]
    upstream.always_answers(reply(COMPLETION))
    for number, (pin, used) in enumerate(
        [({"x-bf-api-key": "b"}, "b"), ({"x-bf-api-key": "b", "x-bf-api-key-id": "id-c"}, "c")]
    ):
        answer = http.post(url, json=ASK, headers=pin)
        assert answer.json()["extra_fields"]["routing_info"]["key"] == used
        assert upstream.request(number).header("authorization") == f"Bearer sk-of-{used}"


def test_a_key_for_an_old_server_gets_the_old_spelling(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    key = Key("k", "k", url=upstream.url, models=("*",), structured_outputs="legacy")
    upstream.answers(reply(COMPLETION))
    http.post(serve(Config((key,))) + PATHS[0], json={**ASK, "guided_regex": "a+"})
    assert upstream.request().document["guided_regex"] == "a+"
    assert upstream.request().header("authorization") is None


@pytest.mark.parametrize(
    ("config", "asked", "expected"),
    [
        pytest.param({}, {"x-bf-send-back-raw-request": "true"}, set(), id="not allowed"),
        pytest.param(
            {"allow_raw_override": True},
            {"x-bf-send-back-raw-request": "1", "x-bf-send-back-raw-response": "true"},
            {"raw_request", "raw_response"},
            id="allowed",
        ),
        pytest.param({"send_back_raw_response": True}, {}, {"raw_response"}, id="configured"),
        pytest.param(
            {"send_back_raw_response": True, "allow_raw_override": True},
            {"x-bf-send-back-raw-response": "F"},
            set(),
            id="configured and declined",
        ),
    ],
)
def test_raw_documents_on_request(
    serve: Serve,
    upstream: Upstream,
    http: requests.Session,
    config: dict[str, bool],
    asked: dict[str, str],
    expected: set[str],
) -> None:
    upstream.answers(reply(COMPLETION))
    url = serve(Config((Key("k", "k", url=upstream.url, models=("*",)),), **config))  # type: ignore[arg-type]
    fields = http.post(url + PATHS[0], json=ASK, headers=asked).json()["extra_fields"]
    assert {name for name in ("raw_request", "raw_response") if name in fields} == expected


def test_health_asks_no_server(serve: Serve, http: requests.Session) -> None:
    url = serve(
        Config(
            (
                Key("a", "a", value="sk-canary", url="http://127.0.0.1:9", models=("*",)),
                Key("b", "b"),
                Key("c", "c", url="http://127.0.0.1:9", enabled=False),
            )
        )
    )
    answer = http.get(f"{url}/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "keys": [
            {"name": "a", "status": "configured"},
            {"name": "b", "status": "no url"},
            {"name": "c", "status": "disabled"},
        ],
    }
    assert http.head(f"{url}/health").status_code == 200


def test_a_key_that_names_the_version_of_its_server_is_asked_as_that_version_reads(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    key = Key("k", "k", url=upstream.url, models=("*",), server_version="0.16.0")
    upstream.answers(reply(COMPLETION))
    answer = http.post(serve(Config((key,))) + PATHS[0], json={**ASK, "reasoning_effort": "max"})
    assert upstream.request().document["reasoning_effort"] == "high"
    assert answer.json()["extra_fields"]["translation_notes"] == [
        {
            "param": "reasoning_effort",
            "action": "converted",
            "detail": "high, which vLLM 0.16.0 accepts, as it does not max",
        }
    ]


def test_the_version_that_a_server_tells_counts_from_then_on_and_no_request_waits_for_it(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    """The first answer is there before the server has said which version it is."""
    answered = threading.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.seen.line.startswith("GET /version "):
            await asyncio.to_thread(answered.wait, PATIENCE_S)
            await reply({"version": "0.16.0"})(exchange)
        else:
            await reply(COMPLETION)(exchange)

    upstream.always_answers(answer)
    url = serve(Config((Key("k", "k", url=upstream.url, models=("*",), server_version="auto"),))) + PATHS[0]

    def effort() -> object:
        sent = http.post(url, json={**ASK, "reasoning_effort": "max"}, headers={"x-bf-dry-run": "true"})
        return json.loads(sent.json()["body"])["reasoning_effort"]

    assert http.post(url, json={**ASK, "reasoning_effort": "max"}).status_code == 200
    (asked,) = [seen for seen in upstream.seen if not seen.line.startswith("GET ")]
    assert asked.document["reasoning_effort"] == "max"
    answered.set()
    deadline = time.monotonic() + PATIENCE_S
    while effort() == "max":
        assert time.monotonic() < deadline, "it was not learnt"
    assert effort() == "high"
    assert sum(seen.line.startswith("GET /version ") for seen in upstream.seen) == 1
