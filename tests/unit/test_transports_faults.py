"""The words for what breaks on the network, where no server of a test can break it."""

import errno
import http.client
import socket
import ssl

import pytest
import requests
import urllib3

from transports import Cut
from transports.faults import broken_body, causes, phrase, timed_out, unsendable

UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed: secret.example")


def wrapped(inner: BaseException) -> requests.ConnectionError:
    """As requests wraps what urllib3 wraps."""
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", inner))


PHRASES = {
    "connection refused": OSError(errno.ECONNREFUSED, "secret.example"),
    "connection reset": ConnectionAbortedError(errno.ECONNABORTED, "secret.example"),
    "host unreachable": OSError(errno.EHOSTUNREACH, "secret.example"),
    "network unreachable": OSError(errno.ENETUNREACH, "secret.example"),
    "connection timed out": OSError(errno.ETIMEDOUT, "secret.example"),
    "host name not found": socket.gaierror(-2, "secret.example"),
    "TLS certificate not trusted": UNTRUSTED,
    "TLS handshake failed": ssl.SSLError(1, "secret.example"),
    "the server closed the connection without an answer": http.client.RemoteDisconnected("secret.example"),
    "the body ended early": http.client.IncompleteRead(b"secret.example", 9),
    "not an HTTP answer": http.client.BadStatusLine("secret.example"),
}


@pytest.mark.parametrize(("words", "error"), PHRASES.items(), ids=PHRASES)
def test_each_trouble_has_its_words_however_deep_it_is_wrapped(words: str, error: BaseException) -> None:
    assert phrase(error) == words
    assert phrase(wrapped(error)) == words


def test_what_has_no_words_is_named_by_its_class() -> None:
    assert phrase(requests.ConnectionError("http://secret.example/?key=1")) == "ConnectionError"


def test_exceptions_that_hold_each_other_are_walked_once() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]


def test_tls_that_breaks_in_the_body_did_not_fail_in_the_handshake() -> None:
    assert broken_body(wrapped(ssl.SSLError(1, "x"))) == Cut("read", "the TLS connection broke")


def test_a_limit_is_named_with_its_phase_and_its_seconds() -> None:
    assert timed_out("connect", 10.0) == Cut("timeout", "connect: no connection within 10 s", "connect")
    assert timed_out("first byte", 600) == Cut("timeout", "first byte: no answer within 600 s", "first byte")
    assert timed_out("idle", 300.0) == Cut("timeout", "idle: no data for 300 s", "idle")
    assert timed_out("total", 0.25) == Cut("timeout", "total: not complete within 0.25 s", "total")
    assert timed_out("sending", 5) == Cut("timeout", "sending: request not taken within 5 s", "sending")
    assert timed_out("idle", None) == Cut("timeout", "idle: connection timed out", "idle")


@pytest.mark.parametrize("url", ["http://h:8000/v1/x?y=%20", "https://[::1]:8000/", "HTTP://h"])
def test_a_good_request_can_be_sent(url: str) -> None:
    assert unsendable(url, {"X-One": "a b\tc", "X-Empty": ""}) is None


@pytest.mark.parametrize("name", ["", "X One", "X:One", "X-Caf\u00e9", "X-One\n"])
def test_a_bad_header_name_cannot_be_sent(name: str) -> None:
    assert unsendable("http://h", {name: "1"}) == Cut(
        "connect", "a header holds characters that cannot be sent"
    )


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\x00", " a", "caf\u00e9", "\U0001f600", "a\n"])
def test_a_bad_header_value_cannot_be_sent(value: str) -> None:
    assert unsendable("http://h", {"X": value}) == Cut(
        "connect", "a header holds characters that cannot be sent"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8000/x",
        "//h/x",
        "ftp://h/",
        "http://",
        "http://[/",
        "http://h:x/",
        "http://h/\n",
        "http://h/\u00e9",
    ],
)
def test_a_bad_address_cannot_be_asked(url: str) -> None:
    assert unsendable(url, {}) == Cut("connect", "the address is not valid")
