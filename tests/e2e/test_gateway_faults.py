"""Faults of the gateway itself: told in one sentence, logged in full, and nobody else's secret."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import requests

from routing import headers
from serving import uplink
from tests.e2e.loopback import ASK, ASK_STREAM, COMPLETION, HELLO, PATIENCE_S, Upstream, reply, stream
from translate import Plan, documents
from transports import AsyncStream

CHAT = "/v1/chat/completions"
INTERNAL = {"is_bifrost_error": True, "status_code": 500, "error": {"message": "internal server error"}}


class BrokenError(Exception):
    """What happens when the gateway has a fault."""


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_before_the_answer(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ask: dict[str, object],
) -> None:
    def fail(*_: object) -> None:
        raise BrokenError

    upstream.answers(reply(COMPLETION) if ask is ASK else stream(*HELLO))
    monkeypatch.setattr(headers, "to_client", fail)
    answer = http.post(url + CHAT, json=ask, headers={"x-request-id": "r-1"})
    assert answer.status_code == 500
    assert answer.json() == INTERNAL
    (record,) = caplog.records
    assert record.getMessage() == "request r-1: internal error"
    assert "BrokenError" in caplog.text


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk that says "lo" can be written."""
    encode = documents.encode

    def fail(value: Any) -> object:
        if isinstance(value, Mapping) and "choices" in value and "'lo'" in repr(dict(value)):
            raise BrokenError
        return encode(value)

    monkeypatch.setattr(documents, "encode", fail)


@pytest.mark.usefixtures("unwritable")
def test_amid_a_stream(
    url: str, upstream: Upstream, http: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answers(stream(*HELLO))
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert answer.status_code == 200
    *_, last, end = answer.text.split("\n\n")
    assert (json.loads(last.removeprefix("data: ")), end) == (INTERNAL, "")
    assert "BrokenError" in caplog.text


def test_after_a_stream(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream_of = uplink.Uplink.stream

    @asynccontextmanager
    async def fail_afterwards(self: uplink.Uplink, plan: Plan) -> AsyncIterator[AsyncStream]:
        async with stream_of(self, plan) as opened:
            yield opened
        raise BrokenError

    monkeypatch.setattr(uplink.Uplink, "stream", fail_afterwards)
    upstream.answers(stream(*HELLO), reply(COMPLETION))
    answer = http.post(url + CHAT, json=ASK_STREAM)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert http.post(url + CHAT, json=ASK).json()["object"] == "chat.completion"
    assert "BrokenError" in caplog.text


def test_what_is_not_http_is_refused_and_not_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization sk-canary-2\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.0 400 ")
    assert caplog.records == []
