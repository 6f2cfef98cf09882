"""Responses through the gateway: what the server sees, and every byte that the client gets."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

import gateway
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import COMPLETION, DONE, HELLO, USAGE, Script, Upstream, delta, reply, stream
from tests.openai_schema import assert_event, assert_response
from tests.response_client import StrictClient, accumulated
from transports import Recordings

PATHS = ["/v1/responses", "/openai/v1/responses", "/openai/responses"]
ASK = {"model": "vllm/m", "input": "hi", "instructions": "be brief"}
ASK_STREAM = {**ASK, "stream": True}
SENT = {
    "model": "m",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
}


def frames(body: str) -> list[Any]:
    """The documents of a stream; its framing is checked to the byte."""
    documents = []
    *texts, end = body.split("\n\n")
    assert end == ""
    for text in texts:
        name, data = text.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert text == f"event: {document['type']}\ndata: {data.removeprefix('data: ')}"
        assert name == f"event: {document['type']}"
        documents.append(document)
    return documents


@pytest.mark.parametrize("path", PATHS)
def test_a_response(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(reply(COMPLETION))
    answer = http.post(url + path, json={**ASK, "top_k": 5, "max_output_tokens": 3})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert assert_response(document).output_text == "Hello"
    assert document["extra_fields"]["request_type"] == "responses"
    assert document["extra_fields"]["routing_info"] == {"provider": "vllm", "model": "m", "key": "k"}
    seen = upstream.request()
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen.document == {**SENT, "top_k": 5, "max_completion_tokens": 3}
    assert list(seen.document) == ["model", "messages", "top_k", "max_completion_tokens"]


@pytest.mark.parametrize("path", PATHS)
def test_a_streamed_response(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(stream(*HELLO))
    answer = http.post(url + path, json=ASK_STREAM)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    documents = frames(answer.content.decode())
    for document in documents:
        assert_event(document)
        assert document["extra_fields"]["request_type"] == "responses_stream"
    final = accumulated(documents)
    assert final["output"][0]["content"][0]["text"] == "Hello"
    assert final["usage"]["total_tokens"] == USAGE["total_tokens"]
    assert final["instructions"] == "be brief"
    assert upstream.request().document == {**SENT, "stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param(reply({"error": {"message": "so it is", "code": 404}}, 404), 404, id="status"),
        pytest.param(reply({"error": {"message": "so it is", "code": 400}}), 400, id="an error inside 200"),
        pytest.param(reply({"detail": "so it is"}, 503), 503, id="overload"),
    ],
)
def test_an_error_before_the_start_is_a_plain_one(
    url: str,
    upstream: Upstream,
    http: requests.Session,
    ask: Mapping[str, object],
    script: Script,
    status: int,
) -> None:
    upstream.answers(script)
    answer = http.post(f"{url}/v1/responses", json=ask)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()
    assert error["error"]["message"] == "so it is"
    assert error["is_bifrost_error"] is False
    assert "type" not in error


def test_an_error_as_the_first_event_has_its_status(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(stream({"error": {"message": "so it is", "code": 400}}, DONE))
    answer = http.post(f"{url}/v1/responses", json=ASK_STREAM)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "so it is")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (stream(delta("Hel", role="assistant"), {"error": {"message": "died of key-canary-1"}}, DONE), "died of ***"),
        (stream(delta("Hel", role="assistant")), "provider closed the stream before sending a completion marker"),
    ],
    ids=["in band", "cut"],
)  # fmt: skip
def test_an_error_after_the_start_fails_the_response(
    url: str, upstream: Upstream, http: requests.Session, script: Script, message: str
) -> None:
    upstream.answers(script)
    answer = http.post(f"{url}/v1/responses", json=ASK_STREAM)
    assert answer.status_code == 200
    assert "key-canary-1" not in answer.text
    *documents, failed, error = frames(answer.content.decode())
    client = StrictClient()
    for document in (*documents, failed):
        assert_event(document)
        client.take(document)
    assert failed["type"] == "response.failed"
    assert client.final["error"]["message"].startswith(message)
    assert error["type"] == "error"
    assert error["error"]["message"] == error["message"] == client.final["error"]["message"]
    assert error["sequence_number"] == failed["sequence_number"] + 1
    assert error["is_bifrost_error"] is False


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["plain", "streamed"])
def test_what_cannot_be_carried_never_reaches_the_server(
    url: str, upstream: Upstream, http: requests.Session, ask: Mapping[str, object]
) -> None:
    answer = http.post(f"{url}/v1/responses", json={**ask, "previous_response_id": "resp_1"})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "previous_response_id is not supported by vllm provider: "
        "nothing is stored here, send the whole conversation as input",
        "type": "invalid_request_error",
        "param": "previous_response_id",
    }
    assert upstream.connections == 0


def test_what_was_sent_and_received_comes_along_when_asked(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(reply(COMPLETION))
    keys = (Key("k", "k", url=upstream.url, models=("*",)),)
    url = serve(Config(keys, send_back_raw_request=True, send_back_raw_response=True))
    fields = http.post(f"{url}/v1/responses", json=ASK).json()["extra_fields"]
    assert fields["raw_request"] == SENT
    assert fields["raw_response"] == COMPLETION


def test_a_recorded_chat_answers(serve: Serve, http: requests.Session) -> None:
    url = serve(gateway.RECORDED, Recordings.load(gateway.BUNDLED).newest())
    ask = {"model": "vllm/tiny/chat", "temperature": 0, "input": "Hello"}
    whole = http.post(f"{url}/v1/responses", json=ask).json()
    streamed = accumulated(
        frames(http.post(f"{url}/v1/responses", json={**ask, "stream": True}).content.decode())
    )
    said = [
        [part["text"] for item in response["output"] for part in item["content"]]
        for response in (whole, streamed)
    ]
    assert said == [["\nThe user greets me. I greet back.\n", "\n\nHello! How can I help you today?"]] * 2
    assert whole["usage"] == streamed["usage"]
