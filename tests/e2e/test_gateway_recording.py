"""A gateway that records: the session that it wrote plays the same to the same client."""

import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from routing import confidential
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    MODELS,
    PATIENCE_S,
    Exchange,
    Upstream,
    chunk,
    delta,
    frame,
    head,
    reply,
    stream,
    stream_head,
)
from transports import CassetteWriter, Cut, PlanLike, Recordings
from transports import Exchange as Recorded

CHAT = "/v1/chat/completions"
KEY = "key-canary-1"
CALL = {
    **delta(),
    "choices": [
        {
            "index": 0,
            "delta": {
                "tool_calls": [
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ]
            },
            "finish_reason": "tool_calls",
        }
    ],
}


def config(url: str) -> Config:
    return Config(keys=(Key("k", "k", value=KEY, url=url, models=("*",)),))


class Notebook:
    """A sink that keeps what it is told, and can be waited for."""

    def __init__(self) -> None:
        self.exchanges: list[Recorded] = []
        self._came = threading.Condition()

    def wants(self, plan: PlanLike) -> int:
        return 10**6

    def put(self, exchange: Recorded) -> None:
        with self._came:
            self.exchanges.append(exchange)
            self._came.notify_all()

    def outgrown(self) -> None:
        raise AssertionError

    def told(self, number: int) -> list[Recorded]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.exchanges) >= number, PATIENCE_S)
            return self.exchanges


def session(url: str) -> list[object]:
    """What a client sees that asks and leaves in all the ways there are; without what differs each time."""
    seen: list[object] = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="of-the-client", max_retries=0) as client:
        ask: Any = {"model": "vllm/m", "messages": [{"role": "user", "content": "hi"}]}

        def create(**more: Any) -> Any:
            return client.chat.completions.create(**{**ask, **more})

        seen.append(untimed(create()))
        seen.append([untimed(part) for part in create(stream=True)])
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        seen.append([untimed(part) for part in create(stream=True, tools=tools)])
        for more in ({"temperature": 3}, {"stream": True, "temperature": 3}):
            with pytest.raises(openai.BadRequestError) as refused:
                create(**more)
            seen.append(untimed(refused.value.body))
        broken = create(stream=True, stop="x")
        seen.append(untimed(next(broken)))
        with pytest.raises(openai.APIError) as broke:
            list(broken)
        seen.append(str(broke.value))
        with create(stream=True, seed=1) as left:
            seen.append(untimed(next(left)))
        seen.append([model.id for model in client.models.list()])
        seen.append([untimed(create(seed=2)) for _ in range(2)])
    return seen


def untimed(answer: Any) -> Any:
    document = answer if isinstance(answer, Mapping) else answer.to_dict()
    document.get("extra_fields", {}).pop("latency", None)
    return document


def test_a_session_is_recorded_and_plays_the_same(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    async def breaking(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(delta("Hel", role="assistant"))))
        exchange.hang_up()

    async def unfinished(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(delta("Hel", role="assistant"))))
        await exchange.client_left()

    refusal = reply({"error": {"message": "too hot", "type": "BadRequestError", "code": 400}}, 400)
    other = {**COMPLETION, "id": "chatcmpl-2"}
    upstream.answers(
        reply(COMPLETION, set_cookie="a=1"),
        stream(*HELLO),
        stream(delta("", role="assistant"), CALL, b"[DONE]"),
        refusal,
        refusal,
        breaking,
        unfinished,
        reply(MODELS),
        reply(COMPLETION),
        reply(other),
    )
    with CassetteWriter(tmp_path, secrets=confidential.texts(config(upstream.url))) as writer:
        live = session(serve(config(upstream.url), sink=writer))
        upstream.request(6).left.wait()
    assert writer.tally == {"written": 10}

    recordings = Recordings.load(tmp_path)
    folders = sorted(recording.name.partition("/")[0] for recording in recordings)
    assert folders == ["chat_completion"] * 4 + ["chat_completion_stream"] * 5 + ["list_models"]
    assert {recording.cut for recording in recordings} == {
        None,
        Cut("read", "the body ended early"),
        Cut("cancelled", "the caller left"),
    }
    assert session(serve(config("http://nowhere.invalid"), recordings)) == live
    for file in tmp_path.rglob("*.*"):
        text = file.read_text()
        assert not any(word in text for word in (KEY, "of-the-client", "uthorization", "cookie", "127.0.0.1"))


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_client_that_leaves_before_the_answer_is_recorded(
    serve: Serve, upstream: Upstream, ask: dict[str, object]
) -> None:
    async def silence(exchange: Exchange) -> None:
        await exchange.client_left()

    upstream.answers(silence)
    book = Notebook()
    host, port = serve(config(upstream.url), sink=book).removeprefix("http://").split(":")
    body = json.dumps(ask).encode()
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        line = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(line.encode() + body)
        upstream.request()
    (recorded,) = book.told(1)
    left = Cut("cancelled", "the caller left")
    assert (recorded.head.status, recorded.head.cut, recorded.pieces) == (0, left, ())


def test_a_connection_that_had_gone_stale_is_no_exchange(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    async def once(exchange: Exchange) -> None:
        await reply(COMPLETION)(exchange)

    async def gone(exchange: Exchange) -> None:
        exchange.hang_up()

    book = Notebook()
    url = serve(config(upstream.url), sink=book)
    upstream.answers(once, gone, reply(COMPLETION))
    assert [http.post(url + CHAT, json=ASK).status_code for _ in range(2)] == [200, 200]
    assert len(upstream.seen) == 3
    assert [(each.head.status, each.label) for each in book.told(2)] == [(200, "chat_completion")] * 2


def test_a_fallback_to_another_path_is_two_exchanges(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    ranking = {"id": "score-1", "results": [{"index": 0, "relevance_score": 0.5}]}
    upstream.answers(reply({"detail": "Not Found"}, 404), reply(ranking))
    book = Notebook()
    url = serve(config(upstream.url), sink=book)
    answer = http.post(f"{url}/v1/rerank", json={"model": "vllm/m", "query": "q", "documents": ["a"]})
    assert answer.status_code == 200
    assert [(each.plan.path, each.head.status) for each in book.told(2)] == [
        ("/v1/rerank", 404),
        ("/rerank", 200),
    ]


def test_what_follows_an_error_in_a_stream_is_recorded(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    error = {"error": {"message": "engine died", "code": 500}}
    frames = [frame(delta("Hel", role="assistant")), frame(error), frame(b"[DONE]")]

    async def script(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frames[0]))
        await exchange.send(chunk(frames[1]))
        await exchange.send(chunk(frames[2]) + chunk(b""))

    upstream.answers(script)
    book = Notebook()
    answer = http.post(serve(config(upstream.url), sink=book) + CHAT, json=ASK_STREAM)
    assert (
        json.loads(answer.text.split("\n\n")[1].removeprefix("data: "))["error"]["message"] == "engine died"
    )
    (recorded,) = book.told(1)
    assert b"".join(piece.data for piece in recorded.pieces) == b"".join(frames)
    assert all(piece.cut is None for piece in recorded.pieces)


def test_a_refusal_of_the_gateway_is_no_exchange(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    book = Notebook()
    url = serve(config(upstream.url), sink=book)
    assert http.post(url + CHAT, data=b"{").status_code == 400
    assert http.post(url + CHAT, json={**ASK, "messages": None}).status_code == 400
    assert (book.exchanges, upstream.seen) == ([], [])


def test_an_answer_that_is_cut_short_is_recorded_so(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length="100") + b'{"id":')
        exchange.hang_up()

    upstream.answers(half)
    book = Notebook()
    assert http.post(serve(config(upstream.url), sink=book) + CHAT, json=ASK).status_code == 502
    (recorded,) = book.told(1)
    (piece,) = recorded.pieces
    assert (piece.data, piece.cut) == (b'{"id":', Cut("read", "the body ended early"))
