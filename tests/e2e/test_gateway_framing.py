"""Requests whose bytes another server could take apart otherwise never reach an upstream.

These are refused while they are parsed. After a refusal the connection is
closed, so that what is left of the bytes is never taken for another request.
"""

import json
import re
import socket

import pytest

from tests.e2e.loopback import ASK, COMPLETION, PATIENCE_S, Upstream, reply

BODY = json.dumps(ASK).encode()
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: inner\r\n%b\r\n\r\n%b" % (LENGTH, BODY)


def post(*headers: bytes, body: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: h", *headers, b"", body])


def exchanged(url: str, request: bytes) -> bytes:
    """All that comes back until the gateway closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(request)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    return received


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(post(LENGTH, LENGTH, body=BODY), id="a length twice"),
        pytest.param(post(b"Content-Length: 0", LENGTH, body=BODY + SMUGGLED), id="two lengths"),
        pytest.param(post(b"Content-Length: 5, 5", body=BODY), id="two lengths in one"),
        pytest.param(post(b"Content-Length: +5", body=BODY), id="a length with a sign"),
        pytest.param(post(b"Content-Length: -5", body=BODY), id="a length below zero"),
        pytest.param(post(b"Content-Length: 0x5", body=BODY), id="a length to another base"),
        pytest.param(post(b"Content-Length: 5_0", body=BODY), id="a length with an underscore"),
        pytest.param(post(b"Content-Length:", body=BODY), id="an empty length"),
        pytest.param(post(LENGTH, CHUNKED, body=CHUNKS + SMUGGLED), id="a length and chunks"),
        pytest.param(post(CHUNKED, LENGTH, body=CHUNKS + SMUGGLED), id="chunks and a length"),
        pytest.param(post(CHUNKED, CHUNKED, body=CHUNKS), id="chunks twice"),
        pytest.param(
            post(b"Transfer-Encoding: chunked, identity", body=CHUNKS), id="chunks are not the last coding"
        ),
        pytest.param(post(b"Transfer-Encoding: identity", LENGTH, body=BODY), id="identity"),
        pytest.param(post(b"Transfer-Encoding: xchunked", body=CHUNKS), id="a coding that is nearly chunks"),
        pytest.param(post(b"Transfer-Encoding : chunked", body=CHUNKS), id="a space before the colon"),
        pytest.param(post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS), id="a space of another kind"),
        pytest.param(post(b"X-A: a\r\n " + CHUNKED, LENGTH, body=BODY), id="a folded header"),
        pytest.param(post(b"X-A: a\rContent-Length: 0", LENGTH, body=BODY), id="a lone CR"),
        pytest.param(post(b"X-A: a\nContent-Length: 0", LENGTH, body=BODY), id="a lone LF"),
        pytest.param(post(b"X-A: a\x00b", LENGTH, body=BODY), id="a NUL"),
        pytest.param(post(b"X A: 1", LENGTH, body=BODY), id="a space in a name"),
        pytest.param(post(b": 1", LENGTH, body=BODY), id="no name"),
        pytest.param(post(b"X-\xe9: 1", LENGTH, body=BODY), id="a name that is not ASCII"),
        pytest.param(post(b"no colon", LENGTH, body=BODY), id="no colon"),
        pytest.param(post(b"Host: other", LENGTH, body=BODY), id="two hosts"),
        pytest.param(post(LENGTH, body=BODY).replace(b"Host: h\r\n", b""), id="no host"),
        pytest.param(post(LENGTH, body=BODY).replace(b"\r\n", b"\n"), id="lines without CR"),
        pytest.param(post(CHUNKED, body=b"0x5\r\nabcde\r\n0\r\n\r\n"), id="a chunk size to another base"),
        pytest.param(post(CHUNKED, body=b"-5\r\nabcde\r\n0\r\n\r\n"), id="a chunk size below zero"),
        pytest.param(post(CHUNKED, body=b" 5\r\nabcde\r\n0\r\n\r\n"), id="a space before a chunk size"),
        pytest.param(post(CHUNKED, body=b"5\nabcde\r\n0\r\n\r\n"), id="a chunk size without CR"),
        pytest.param(post(CHUNKED, body=b"5;a\nb\r\nabcde\r\n0\r\n\r\n"), id="a LF in a chunk extension"),
        pytest.param(
            post(CHUNKED, body=b"5\r\nabcdeXX0\r\n\r\n" + SMUGGLED), id="a chunk that is longer than it says"
        ),
        pytest.param(
            post(LENGTH, body=BODY, line=b"POST /v1/chat\x01 HTTP/1.1"), id="a control character in the path"
        ),
        pytest.param(post(LENGTH, body=BODY, line=b"POST /v1/models HTTP/1.1 x"), id="more than a version"),
    ],
)
def test_a_request_that_others_could_take_apart_otherwise(
    url: str, upstream: Upstream, request_bytes: bytes
) -> None:
    upstream.always_answers(reply(COMPLETION))
    assert statuses(exchanged(url, request_bytes)) == [b"400"]
    assert upstream.seen == []


def test_what_follows_a_whole_request_is_the_next_one(url: str, upstream: Upstream) -> None:
    upstream.always_answers(reply(COMPLETION))
    last = post(LENGTH, b"Connection: close", body=BODY)
    answer = exchanged(url, post(LENGTH, body=BODY) + post(CHUNKED, body=CHUNKS) + last)
    assert statuses(answer) == [b"200"] * 3
    assert [seen.document for seen in upstream.seen] == [{**ASK, "model": "m"}] * 3
