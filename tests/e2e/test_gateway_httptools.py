"""The gateway over the lean transport: the same answers, and a stale connection that nobody notices."""

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import requests

import gateway
from routing.settings import Config, Key
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    Exchange,
    LoopThread,
    Upstream,
    reply,
    stream,
)

CHAT = "/v1/chat/completions"


@pytest.fixture
def lean(loop_thread: LoopThread, upstream: Upstream) -> Iterator[str]:
    running = AsyncExitStack()
    key = Key("k", "k", value="key-canary-1", url=upstream.url, models=("*",))
    app = gateway.application(Config((key,)), transport="httptools")
    port = loop_thread.run(running.enter_async_context(gateway.listening(app, "127.0.0.1", 0)))
    yield f"http://127.0.0.1:{port}"
    loop_thread.run(running.aclose())


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_the_same_answers(
    lean: str, url: str, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    upstream.always_answers(reply(COMPLETION, x_one="1") if ask is ASK else stream(*HELLO, x_one="1"))
    answers = [http.post(base + CHAT, json=ask) for base in (lean, url)]
    texts = [re.sub('"latency":[0-9]+', '"latency":0', answer.text) for answer in answers]
    assert texts[0] == texts[1]
    assert [answer.headers["x-one"] for answer in answers] == ["1", "1"]
    assert upstream.request(0).header("authorization") == "Bearer key-canary-1"


def test_a_connection_that_was_closed_meanwhile(
    lean: str, upstream: Upstream, http: requests.Session
) -> None:
    async def once_more(exchange: Exchange) -> None:
        exchange.reset()

    upstream.answers(reply(COMPLETION), once_more, reply(COMPLETION))
    for _ in range(2):
        assert http.post(lean + CHAT, json=ASK).status_code == 200
    assert len(upstream.seen) == 3


def test_a_server_that_is_not_there(lean: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(reply({"error": {"message": "no", "code": 503}}, 503, retry_after="7"))
    answer = http.post(lean + CHAT, json=ASK)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
