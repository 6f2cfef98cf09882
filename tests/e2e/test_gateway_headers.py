"""Headers: what goes upstream, what comes back, and what every answer has."""

import re

import pytest
import requests

from routing.config import Config, Key, Network
from routing.headers import Filter
from tests.e2e.conftest import Serve
from tests.e2e.loopback import ASK, ASK_STREAM, COMPLETION, HELLO, Script, Upstream, reply, stream

CHAT = "/v1/chat/completions"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWN = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-security-policy": "frame-ancestors 'none'",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "server": "bifrost-vllm",
}
LEFT_BEHIND = {
    "set_cookie": "c=1",
    "keep_alive": "timeout=5",
    "www_authenticate": "Bearer",
    "strict_transport_security": "max-age=1",
    "alt_svc": "h3",
    "access_control_allow_origin": "*",
    "server": "uvicorn",
    "x_request_id": "theirs",
    "x_frame_options": "SAMEORIGIN",
}


@pytest.mark.parametrize(
    ("ask", "script", "status"),
    [
        pytest.param(ASK, reply(COMPLETION, x_vllm="1", **LEFT_BEHIND), 200, id="success"),
        pytest.param(ASK_STREAM, stream(*HELLO, x_vllm="1", **LEFT_BEHIND), 200, id="stream"),
        pytest.param(ASK, reply({"error": "no"}, 429, x_vllm="1", **LEFT_BEHIND), 429, id="error"),
        pytest.param(
            ASK_STREAM, stream({"error": "no"}, x_vllm="1", **LEFT_BEHIND), 500, id="error as first event"
        ),
    ],
)
def test_what_comes_back(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    ask: dict[str, object],
    script: Script,
    status: int,
) -> None:
    upstream.answers(script)
    answer = http.post(url + CHAT, json=ask, headers={"X-Request-Id": "my id "})
    assert answer.status_code == status
    framing = {"content-length", "transfer-encoding", "date", "content-type"}
    of_streams = (
        {"cache-control", "x-accel-buffering"} if "event-stream" in answer.headers["content-type"] else set()
    )
    names = {name.lower() for name in answer.headers} - framing - of_streams
    assert {name: answer.headers[name] for name in names} == {**OWN, "x-vllm": "1", "x-request-id": "my id"}


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_what_goes_upstream(
    serve: Serve, upstream: Upstream, http: requests.Session, ask: dict[str, object]
) -> None:
    key = Key("k", "k", value="secret-1", url=upstream.url, models=("*",))
    url = serve(Config((key,), network=Network({"x-team": "red", "x-org": "o"})))
    upstream.answers(reply(COMPLETION))
    http.post(
        url + CHAT,
        json=ask,
        headers={
            "Authorization": "Bearer of-the-client",
            "X-Api-Key": "of-the-client",
            "Cookie": "c=1",
            "User-Agent": "the client's",
            "X-Request-Id": "r-1",
            "x-bf-eh-X-Team": "blue",
            "x-bf-eh-Authorization": "Bearer smuggled",
            "x-bf-eh-Host": "smuggled",
            "x-bf-eh-Cookie": "smuggled",
            "x-bf-eh-Transfer-Encoding": "smuggled",
            "x-bf-eh-Content-Type": "smuggled/type",
            "x-bf-api-key": "k",
            "x-bf-passthrough-extra-params": "true",
        },
    )
    seen = upstream.request()
    expected = {
        "host": f"127.0.0.1:{upstream.port}",
        "authorization": "Bearer secret-1",
        "content-type": "application/json",
        "content-length": str(len(seen.body)),
        "user-agent": "bifrost-vllm",
        "x-request-id": "r-1",
        "x-team": "blue",
        "x-org": "o",
    }
    if ask is ASK_STREAM:
        expected |= {"accept": "text/event-stream", "cache-control": "no-cache"}
    sent = dict(seen.headers)
    assert {name: sent[name] for name in sent.keys() - {"accept-encoding", "accept"}} == {
        name: value for name, value in expected.items() if name != "accept"
    }
    assert len(sent) == len(seen.headers)


def test_the_client_may_bring_a_key_when_there_is_none(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config((Key("k", "k", url=upstream.url, models=("*",)),)))
    upstream.always_answers(reply(COMPLETION))
    http.post(url + CHAT, json=ASK, headers={"Authorization": "Bearer of-the-client"})
    assert upstream.request(0).header("authorization") is None
    http.post(url + CHAT, json=ASK, headers={"x-bf-eh-authorization": "Bearer meant-for-vllm"})
    assert upstream.request(1).header("authorization") == "Bearer meant-for-vllm"


def test_a_header_that_cannot_be_sent_is_refused(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    answer = http.post(url + CHAT, json=ASK, headers={"x-bf-eh-x-name": "naïve".encode()})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "the value of the header x-bf-eh-x-name cannot be sent",
        "type": "invalid_request_error",
        "param": "x-bf-eh-x-name",
    }
    assert upstream.seen == []


@pytest.mark.parametrize("given", [None, "", "x" * 257, "naïve".encode()])
def test_a_request_without_a_usable_id_gets_one(
    url: str, upstream: Upstream, http: requests.Session, given: str | bytes | None
) -> None:
    upstream.answers(reply(COMPLETION))
    answer = http.post(url + CHAT, json=ASK, headers={} if given is None else {"x-request-id": given})
    assert UUID.fullmatch(answer.headers["x-request-id"])
    assert upstream.request().header("x-request-id") == answer.headers["x-request-id"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("GET", "/nowhere"), ("PUT", CHAT)])
def test_every_answer_has_the_gateways_own_headers(
    url: str, http: requests.Session, method: str, path: str
) -> None:
    answer = http.request(method, url + path, headers={"x-request-id": "r-1"})
    assert {name: answer.headers[name] for name in OWN} == OWN
    assert answer.headers["x-request-id"] == "r-1"


def test_the_operators_rules_hold(serve: Serve, upstream: Upstream, http: requests.Session) -> None:
    rules = Filter(allowlist=("x-team", "x-secret*"), denylist=("x-secret-b",))
    url = serve(Config((Key("k", "k", url=upstream.url, models=("*",)),), header_filter=rules))
    upstream.answers(reply(COMPLETION))
    sent = {
        "x-team": "red",
        "x-bf-eh-x-secret-a": "a",
        "x-bf-eh-x-secret-b": "b",
        "x-secret-b": "b",
        "x-bf-eh-x-other": "c",
    }
    assert http.post(url + CHAT, json=ASK, headers=sent).status_code == 200
    arrived = upstream.request()
    names = ("x-team", "x-secret-a", "x-secret-b", "x-other")
    assert [arrived.header(name) for name in names] == ["red", "a", None, None]
