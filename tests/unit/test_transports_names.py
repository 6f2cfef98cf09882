"""What ``transports`` offers, and what importing it loads."""

import subprocess
import sys

import pytest

import transports
from transports import Endpoint, reply_headers

LOADED = """
import sys
import transports
libraries = {"aiohttp", "httptools", "requests", "yaml"}
assert not libraries & set(sys.modules), "importing loads a library"
getattr(transports, sys.argv[1])
print(*sorted(libraries & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("Endpoint", ""),
        ("RequestsTransport", "requests"),
        ("AiohttpTransport", "aiohttp"),
        ("HttptoolsTransport", "httptools"),
        ("ConnectionPool", "httptools"),
        ("AsyncRecordingTransport", ""),
        ("Recordings", "yaml"),
        ("CassetteWriter", "yaml"),
    ],
)
def test_a_transport_loads_its_own_library_only(name: str, library: str) -> None:
    command = [sys.executable, "-c", LOADED, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == library


def test_every_public_name_is_there_and_in_order() -> None:
    assert sorted(transports.__all__) == transports.__all__
    for name in transports.__all__:
        assert getattr(transports, name) is not None


def test_a_name_that_is_not_there_is_missed_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'HttpxTransport'"):
        transports.HttpxTransport  # noqa: B018


def test_headers_are_joined_trimmed_and_put_on_one_line() -> None:
    pairs = [
        ("Set-Cookie", "a=1"),
        ("X-Fold", "one\r\n two\r\n\tthree"),
        ("set-cookie", " b=2 "),
        ("X-E", ""),
    ]
    assert reply_headers(pairs) == {"set-cookie": "a=1, b=2", "x-fold": "one two three", "x-e": ""}


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1//"])
def test_an_endpoint_may_end_in_slashes_or_in_its_version(url: str) -> None:
    assert Endpoint(url).join("/v1/models") == "http://h:1/v1/models"
