"""Who is let in, from which pages, and what is noticed of it."""

import json
import logging

import pytest
import requests

from routing.access_log import Log
from routing.auth import Auth
from routing.cors import Cors
from routing.header_settings import Required
from routing.settings import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import ASK, ASK_STREAM, COMPLETION, HELLO, Upstream, reply, stream

CHAT = "/v1/chat/completions"


def config(upstream: Upstream, **members: object) -> Config:
    key = Key("k", "k", value="key-canary-1", url=upstream.url, models=("*",))
    return Config((key,), **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "api_key_required"),
        ({"authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer client-canary-2"}, 200, None),
        ({"x-api-key": "client-canary-2"}, 200, None),
    ],
)
def test_clients_need_a_key(
    serve: Serve,
    upstream: Upstream,
    http: requests.Session,
    headers: dict[str, str],
    status: int,
    code: str | None,
) -> None:
    url = serve(config(upstream, auth=Auth(("client-canary-2",))))
    upstream.always_answers(reply(COMPLETION))
    answer = http.post(url + CHAT, json=ASK, headers=headers)
    assert answer.status_code == status
    assert answer.json().get("error", {}).get("code") == code
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="bifrost-vllm"'
        assert upstream.seen == []
    else:
        assert "client-canary-2" not in str(upstream.request().headers)
    assert http.get(f"{url}/health").status_code == 200
    assert http.get(f"{url}/metrics", headers=headers).status_code == status


def test_pages_that_may_ask(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(config(upstream, cors=Cors(("https://app.example.com",))))
    upstream.always_answers(reply(COMPLETION))
    allowed = http.options(url + CHAT, headers={"origin": "https://app.example.com"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (
        200,
        "https://app.example.com",
    )
    refused = http.options(url + CHAT, headers={"origin": "https://evil.example.com"})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    answer = http.post(url + CHAT, json=ASK, headers={"origin": "https://app.example.com"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    silent = http.post(url + CHAT, json=ASK, headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in silent.headers


def test_headers_that_must_be_there(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    url = serve(config(upstream, required_headers=(Required("x-team"),)))
    upstream.always_answers(reply(COMPLETION))
    answer = http.post(url + CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "missing required headers: x-team",
    )
    assert http.post(url + CHAT, json=ASK, headers={"x-team": "a"}).status_code == 200


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_what_is_counted(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    url = serve(config(upstream))
    upstream.answers(
        reply(COMPLETION) if ask is ASK else stream(*HELLO), reply({"error": {"message": "no"}}, 400)
    )
    http.post(url + CHAT, json=ask).raise_for_status()
    assert http.post(url + CHAT, json=ask).status_code == 400
    metrics = http.get(f"{url}/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = dict(line.rsplit(" ", 1) for line in metrics.text.splitlines() if not line.startswith("#"))
    kind = "chat_completion" if ask is ASK else "chat_completion_stream"
    labels = (
        f'alias="",fallback_index="0",method="{kind}",model="m",provider="vllm",routing_engine_used="",'
        'selected_key_id="k",selected_key_name="k"'
    )
    assert values[f"bifrost_success_requests_total{{{labels}}}"] == "1.0"
    assert values[f"bifrost_input_tokens_total{{{labels}}}"] == "1.0"
    assert values[f"bifrost_output_tokens_total{{{labels}}}"] == "2.0"
    assert values[f'http_requests_total{{method="POST",path="{CHAT}",status="200"}}'] == "1.0"
    assert values[f'http_requests_total{{method="POST",path="{CHAT}",status="400"}}'] == "1.0"
    assert values['bifrost_active_requests{method="POST"}'] == "0.0"
    assert values['bifrost_provider_key_up{key_id="k",key_name="k",provider="vllm"}'] == "0.0"
    if ask is ASK_STREAM:
        assert values[f"bifrost_stream_first_token_latency_seconds_count{{{labels}}}"] == "1.0"


def test_one_line_for_every_request(
    serve: Serve, upstream: Upstream, http: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bifrost_vllm.access")
    url = serve(config(upstream, log=Log(format="json")))
    upstream.answers(reply(COMPLETION), reply({"error": {"message": "no", "type": "T", "code": 400}}, 400))
    for number in range(2):
        http.post(url + CHAT, json=ASK, headers={"x-request-id": f"r-{number}"})
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    for line in lines:
        for measured in ("time", "duration_ms", "bytes_in", "bytes_out"):
            assert line.pop(measured)
    common = {
        "method": "POST",
        "path": CHAT,
        "client": "127.0.0.1",
        "operation": "chat_completion",
        "model": "m",
        "resolved_model": "m",
        "key": "k",
    }
    assert lines == [
        {
            "request_id": "r-0",
            "status": 200,
            "outcome": "ok",
            "input_tokens": 1,
            "output_tokens": 2,
            **common,
        },
        {
            "request_id": "r-1",
            "status": 400,
            "outcome": "error",
            "error_type": "T",
            "error_code": "400",
            **common,
        },
    ]
    assert "canary" not in caplog.text


def test_no_line_where_none_is_wanted(
    serve: Serve, upstream: Upstream, http: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bifrost_vllm.access")
    url = serve(config(upstream, log=Log(enabled=False)))
    upstream.answers(reply(COMPLETION))
    assert http.post(url + CHAT, json=ASK).status_code == 200
    assert caplog.records == []
