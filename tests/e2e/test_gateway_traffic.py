"""Several servers, and servers that fail: retries, fallbacks, and what is never tried again."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import as_completed

import aiohttp
import pytest
import requests

from routing.limits import Concurrency
from routing.settings import Config, Key, Network, Retries, Selection
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    DONE,
    HELLO,
    Exchange,
    LoopThread,
    Script,
    Upstream,
    chunk,
    delta,
    frame,
    reply,
    stream,
    stream_head,
)

CHAT = "/v1/chat/completions"
FAILED = {"error": {"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}}
QUICK = Retries(max_retries=2, backoff_initial_s=0.001, backoff_max_s=0.001)


@pytest.fixture
def other(loop_thread: LoopThread) -> Iterator[Upstream]:
    with Upstream(loop_thread) as server:
        yield server


def key(upstream: Upstream, name: str = "a", **members: object) -> Key:
    return Key(name, name, value=f"secret-of-{name}", url=upstream.url, models=("*",), **members)  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_failure_of_the_server_is_tried_again(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    url = serve(Config((key(upstream),), retries=QUICK))
    healthy = reply(COMPLETION) if ask is ASK else stream(*HELLO)
    upstream.answers(reply(FAILED, 500), reply(FAILED, 503), healthy)
    answer = http.post(url + CHAT, json=ask)
    assert answer.status_code == 200
    assert "Hel" in answer.text
    assert len(upstream.seen) == 3
    assert len({request.body for request in upstream.seen}) == 1


def test_the_budget_is_kept(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(Config((key(upstream),), retries=QUICK))
    upstream.always_answers(reply(FAILED, 500))
    answer = http.post(url + CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "engine died")
    assert len(upstream.seen) == 3


def test_a_fault_of_the_client_is_final(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(Config((key(upstream),), retries=QUICK))
    said = {"error": {"message": "bad temperature", "type": "BadRequestError", "code": 400}}
    upstream.always_answers(reply(said, 400))
    answer = http.post(url + CHAT, json={**ASK, "fallbacks": ["vllm/other"]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "bad temperature")
    assert len(upstream.seen) == 1


def test_a_rejected_key_gives_way_to_another(
    serve: Serve, upstream: Upstream, other: Upstream, http: requests.Session
) -> None:
    config = Config((key(upstream), key(other, "b")), selection=Selection("fill_first"))
    url = serve(config)
    upstream.always_answers(reply({"error": "Unauthorized"}, 401))
    other.always_answers(reply(COMPLETION))
    answer = http.post(url + CHAT, json=ASK)
    assert answer.json()["extra_fields"]["routing_info"]["key"] == "b"
    assert [request.header("authorization") for request in (*upstream.seen, *other.seen)] == [
        "Bearer secret-of-a",
        "Bearer secret-of-b",
    ]


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_server_out_of_reach_gives_way_and_is_avoided(
    serve: Serve, upstream: Upstream, other: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    keys = (Key("a", "a", url=nobody, models=("*",)), key(upstream, "b"), key(other, "c"))
    selection = Selection("fill_first", cooldown_s=60, transient="rotate")
    url = serve(Config(keys, retries=QUICK, selection=selection))

    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    upstream.always_answers(reset)
    other.always_answers(reply(COMPLETION) if ask is ASK else stream(*HELLO))
    for _ in range(2):
        assert "Hel" in http.post(url + CHAT, json=ask).text
    statuses = {row["name"]: row["status"] for row in http.get(f"{url}/health").json()["keys"]}
    assert statuses == {"a": "resting", "b": "configured", "c": "configured"}
    assert len(other.seen) == 2


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_a_fallback_answers(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    url = serve(Config((key(upstream),)))
    healthy = reply(COMPLETION) if ask is ASK else stream(*HELLO)
    upstream.answers(reply(FAILED, 500), healthy)
    fallback = {"provider": "vllm", "model": "small", "params": {"temperature": 1}}
    answer = http.post(url + CHAT, json={**ask, "fallbacks": [fallback]})
    assert answer.status_code == 200
    document = (
        answer.json() if ask is ASK else json.loads(answer.text.split("\n\n")[0].removeprefix("data: "))
    )
    assert document["extra_fields"]["routing_info"] == {
        "provider": "vllm",
        "model": "small",
        "key": "a",
        "is_fallback": True,
        "primary_provider": "vllm",
        "primary_model": "m",
    }
    assert upstream.request(1).document["model"] == "small"
    assert upstream.request(1).document["temperature"] == 1


def test_when_all_fail_the_first_error_counts(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),)))
    upstream.answers(
        reply(FAILED, 500, x_number="1"), reply({"error": {"message": "second"}}, 503, x_number="2")
    )
    answer = http.post(url + CHAT, json={**ASK, "fallbacks": ["vllm/small"]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "engine died")
    assert answer.headers["x-number"] == "1"


def test_nothing_is_tried_again_after_the_first_event(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),), retries=QUICK))
    upstream.answers(stream(delta("Hel", role="assistant"), FAILED))
    answer = http.post(url + CHAT, json={**ASK_STREAM, "fallbacks": ["vllm/small"]})
    assert answer.status_code == 200
    last = answer.text.split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: "))["error"]["message"] == "engine died"
    assert len(upstream.seen) == 1


def test_a_first_event_that_is_an_error_may_be_tried_again(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),), retries=QUICK))
    upstream.answers(stream(FAILED, DONE), stream(*HELLO))
    assert http.post(url + CHAT, json=ASK_STREAM).text.endswith("data: [DONE]\n\n")


def silent(after: bytes = b"") -> Script:
    async def script(exchange: Exchange) -> None:
        if after:
            await exchange.send(after)
        await exchange.client_left()

    return script


@pytest.mark.parametrize("sent", [b"", stream_head()], ids=["nothing", "only headers"])
def test_a_first_event_that_is_late_goes_to_a_fallback(
    serve: Serve, upstream: Upstream, http: requests.Session, sent: bytes
) -> None:
    network = Network(first_event_timeout_s=0.05)
    url = serve(Config((key(upstream),), network=network))
    upstream.answers(silent(sent), stream(*HELLO))
    answer = http.post(url + CHAT, json={**ASK_STREAM, "fallbacks": ["vllm/small"]})
    assert answer.text.endswith("data: [DONE]\n\n")
    upstream.request(0).left.wait()


def test_a_first_event_that_is_late_everywhere(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),), network=Network(first_event_timeout_s=0.05)))
    upstream.always_answers(silent())
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert (answer.status_code, answer.json()["error"]) == (
        504,
        {
            "message": "request timed out: no event within 0.05 s",
            "type": "request_timed_out",
            "code": "first_event_timeout",
        },
    )


def test_comments_keep_a_silent_stream_alive(
    serve: Serve, upstream: Upstream, http: requests.Session, loop_thread: LoopThread
) -> None:
    url = serve(Config((key(upstream),), sse_keep_alive_s=0.02))
    go_on = upstream.signal()

    async def slow(exchange: Exchange) -> None:
        await exchange.send(stream_head())
        await go_on.happened()
        for payload in HELLO:
            await exchange.send(chunk(frame(payload)))
        await exchange.send(chunk(b""))

    upstream.answers(slow)
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b": keep-alive"
        go_on.set()
        rest = [line for line in lines if line.startswith(b"data:")]
    assert rest[-1] == b"data: [DONE]"


def test_comments_keep_a_stream_alive_that_falls_silent_on_its_way(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),), sse_keep_alive_s=0.02))
    go_on = upstream.signal()

    async def paused(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await go_on.happened()
        for payload in HELLO[1:]:
            await exchange.send(chunk(frame(payload)))
        await exchange.send(chunk(b""))

    upstream.answers(paused)
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        lines = filter(None, answer.iter_lines())
        line = next(lines)
        while not line.startswith(b"data:"):  # a comment may come before the first event
            line = next(lines)
        while line != b": keep-alive":
            line = next(lines)
        go_on.set()
        rest = [line for line in lines if line.startswith(b"data:")]
    assert rest[-1] == b"data: [DONE]"


def test_a_failure_after_a_comment_is_an_event(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream),), sse_keep_alive_s=0.02))
    go_on = upstream.signal()

    async def slow(exchange: Exchange) -> None:
        await go_on.happened()
        await reply(FAILED, 500)(exchange)

    upstream.answers(slow)
    with http.post(url + CHAT, json=ASK_STREAM, stream=True) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == b": keep-alive"
        go_on.set()
        (error,) = [line for line in lines if line.startswith(b"data:")]
    assert json.loads(error.removeprefix(b"data: "))["error"]["message"] == "engine died"


def test_only_so_many_run_and_wait(
    serve: Serve, upstream: Upstream, http: requests.Session, loop_thread: LoopThread
) -> None:
    """One runs, one waits, the third is sent away; the second gets its turn in the end."""
    url = serve(Config((key(upstream),), concurrency=Concurrency(1, 1)))
    go_on = upstream.signal()

    async def slow(exchange: Exchange) -> None:
        await go_on.happened()
        await reply(COMPLETION)(exchange)

    upstream.answers(slow, reply(COMPLETION))

    async def ask() -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.post(url + CHAT, json=ASK) as answer:
            return answer.status, answer.headers.get("retry-after", "")

    first = loop_thread.start(ask())
    upstream.request(0)
    others = [loop_thread.start(ask()) for _ in range(2)]
    refused = next(as_completed(others, 10))
    assert refused.result() == (503, "1")
    go_on.set()
    assert first.result(10) == (200, "")
    (waited,) = [future for future in others if future is not refused]
    assert waited.result(10) == (200, "")
    assert errors_counted(http, url) == {"bifrost_dropped": 1}


def errors_counted(http: requests.Session, url: str) -> dict[str, int]:
    """How many errors of which type the metrics have."""
    text = http.get(f"{url}/metrics").text
    found = re.findall(r'^bifrost_error_requests_total\{.*error_type="(\w+)".*\} (\S+)$', text, re.MULTILINE)
    return {kind: int(float(count)) for kind, count in found}


def test_whose_fault_it_was_is_counted(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(Config((Key("k", "k", url=upstream.url, models=("m",)),)))
    upstream.answers(reply(FAILED, 500))
    http.post(url + CHAT, json=ASK)
    http.post(url + CHAT, json={**ASK, "model": "vllm/unknown"})
    http.post(url + CHAT, data=b"no JSON")
    assert errors_counted(http, url) == {
        "provider_server_error": 1,
        "caller_model_not_available": 1,
        "caller_invalid_request": 1,
    }


def test_a_session_stays_with_its_key(
    serve: Serve, upstream: Upstream, other: Upstream, http: requests.Session
) -> None:
    url = serve(Config((key(upstream), key(other, "b"))))
    for server in (upstream, other):
        server.always_answers(reply(COMPLETION))
    used = {
        http.post(url + CHAT, json=ASK, headers={"x-bf-session-id": "s-1"}).json()["extra_fields"][
            "routing_info"
        ]["key"]
        for _ in range(8)
    }
    assert len(used) == 1


def test_the_less_busy_of_two_and_why(
    serve: Serve, upstream: Upstream, other: Upstream, http: requests.Session
) -> None:
    config = Config((key(upstream), key(other, "b")), selection=Selection("power_of_two_choices"))
    url = serve(config)
    for server in (upstream, other):
        server.always_answers(reply(COMPLETION))
    info = http.post(url + CHAT, json=ASK).json()["extra_fields"]["routing_info"]
    assert info["strategy"] == "power_of_two_choices"
    assert info["reason"].startswith("requests in flight: 0 with ")


def test_a_dry_run_sends_nothing(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(Config((key(upstream),)))
    answer = http.post(url + CHAT, json={**ASK, "max_tokens": 5}, headers={"x-bf-dry-run": "true"})
    assert answer.json() == {
        "method": "POST",
        "path": "/v1/chat/completions",
        "content_type": "application/json",
        "body": '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}',
        "translation_notes": [
            {"param": "max_tokens", "action": "renamed", "detail": "max_completion_tokens"}
        ],
        "routing_info": {"key": "a"},
    }
    assert upstream.seen == []


def test_lines_may_wait_for_others_and_the_metrics_are_up_to_date_all_the_same(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    batches: list[list[str]] = []
    lines = batches.append
    url = serve(Config((key(upstream),)), access=lambda batch: lines(list(batch)), pause_s=60.0)
    upstream.always_answers(reply(COMPLETION))
    for _ in range(3):
        assert http.post(url + CHAT, json=ASK).status_code == 200
    assert [len(batch) for batch in batches] == [1]
    counted = re.search(
        rf'^http_requests_total{{method="POST",path="{CHAT}",status="200"}} (.*)$',
        http.get(f"{url}/metrics").text,
        re.MULTILINE,
    )
    assert counted is not None
    assert counted[1] == "3.0"
    assert [len(batch) for batch in batches] == [1, 2]
    assert http.post(url + CHAT, json={**ASK, "model": 5}).status_code == 400
    assert [len(batch) for batch in batches] == [1, 2, 2]  # the error, and behind it who asked for metrics
