"""Operations that vLLM does not serve: the client is told so, and nobody is asked."""

import gzip
import json
import socket

import pytest
import requests

from routing import unsupported
from tests.e2e.loopback import PATIENCE_S, Upstream

SPEECH = "/v1/audio/speech"


def refusal(request_type: str) -> object:
    return {
        "is_bifrost_error": False,
        "error": {
            "message": f"{request_type} is not supported by vllm provider",
            "code": "unsupported_operation",
        },
        "extra_fields": {"request_type": request_type, "provider": "vllm"},
    }


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1", "/openai"])
def test_every_route(url: str, upstream: Upstream, http: requests.Session, prefix: str) -> None:
    for route in unsupported.ROUTES:
        path = route.path.format(id="an%2Fid", file="file-1")
        answer = http.request(route.method, f"{url}{prefix}/{path}")
        assert (answer.status_code, answer.json()) == (400, refusal(route.request_type)), route
        assert answer.headers["content-type"] == "application/json"
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("path", "body", "request_type"),
    [
        (SPEECH, {"stream_format": "sse"}, "speech_stream"),
        (SPEECH, {"stream_format": "audio"}, "speech"),
        ("/v1/images/generations", {"model": "vllm/m", "prompt": "x", "stream": True}, "image_generation_stream"),
        ("/v1/images/generations", {"stream": "true"}, "image_generation"),
        ("/v1/images/edits", {"stream": True}, "image_edit_stream"),
        ("/v1/images/variations", {"stream": True}, "image_variation"),
        ("/v1/responses/compact", {"stream": True}, "compaction"),
        (SPEECH, {"stream_format": "sse", "input": "x" * 65_536}, "speech"),
        (SPEECH, [True], "speech"),
    ],
)  # fmt: skip
def test_a_small_body_may_ask_for_a_stream(
    url: str, http: requests.Session, path: str, body: object, request_type: str
) -> None:
    answer = http.post(url + path, json=body)
    assert (answer.status_code, answer.json()) == (400, refusal(request_type))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not JSON", {}),
        (b"", {}),
        (b"\xff" * 100, {"content-type": "application/octet-stream"}),
        (gzip.compress(b'{"stream_format":"sse"}'), {"content-encoding": "gzip"}),
        (b"not gzip at all", {"content-encoding": "gzip"}),
    ],
    ids=["a text", "none", "bytes", "compressed", "wrongly compressed"],
)
def test_any_other_body_is_not_looked_into(
    url: str, http: requests.Session, body: bytes, headers: dict[str, str]
) -> None:
    answer = http.post(url + SPEECH, data=body, headers=headers)
    assert (answer.status_code, answer.json()) == (400, refusal("speech"))


def test_a_body_in_chunks_is_not_looked_into(url: str, http: requests.Session) -> None:
    answer = http.post(url + SPEECH, data=iter([b'{"stream_format":', b'"sse"}']))
    assert (answer.status_code, answer.json()) == (400, refusal("speech"))


@pytest.mark.parametrize("path", ["/v1/files", "/openai/v1/images/edits"])
def test_the_answer_does_not_wait_for_a_large_body(url: str, http: requests.Session, path: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 1000000000000\r\n\r\n--b\r\n" % path.encode()
        )
        received = b""
        while not received.endswith(b"}"):
            piece = client.recv(65_536)
            assert piece, received
            received += piece
    assert received.startswith(b"HTTP/1.1 400 ")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "unsupported_operation"
    assert http.get(f"{url}/health").status_code == 200


def test_the_connection_serves_the_next_request_once_the_body_has_come(
    url: str, http: requests.Session
) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = b"x" * 10_000_000
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        for request in (
            b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
            b"GET /v1/batches HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ):
            client.sendall(request)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    assert [name in received for name in (b"file_upload is not", b"batch_list is not")] == [True, True]
    assert received.count(b"HTTP/1.1 400 ") == 2
