"""routing.secrets: a key's value never reaches the client, nor a recording."""

import json

import pytest

from routing.config import Config, Key, Network
from routing.secrets import hide, of


@pytest.mark.parametrize(
    ("value", "secret", "expected"),
    [
        pytest.param(
            {"error": {"message": "bad key sk-abc!"}}, "sk-abc", {"error": {"message": "bad key ***!"}}
        ),
        pytest.param([{"a": ["sk-abc", 1, None, True, 1.5]}], "sk-abc", [{"a": ["***", 1, None, True, 1.5]}]),
        pytest.param({"sk-abc": 1}, "sk-abc", {"***": 1}, id="in a name"),
        pytest.param({"m": "sk-abc"}, "", {"m": "sk-abc"}, id="no secret"),
        pytest.param({"m": "a cat"}, "a", {"m": "a cat"}, id="too short to be one"),
        pytest.param(
            {"raw": json.dumps({"k": 'se"cret'})}, 'se"cret', {"raw": '{"k": "***"}'}, id="as JSON text"
        ),
    ],
)
def test_hide(value: object, secret: str, expected: object) -> None:
    assert hide(value, secret) == expected


def test_what_is_nested_too_deeply_is_hidden_as_a_whole() -> None:
    value: object = "sk-abc"
    for _ in range(5_000):
        value = [value]
    hidden = hide(value, "sk-abc")
    for _ in range(64):
        assert isinstance(hidden, list)
        (hidden,) = hidden
    assert hidden == "***"


def test_several_secrets_and_the_longest_first() -> None:
    assert hide({"m": "sk-abc-def sk-abc other"}, "sk-abc", "", "sk-abc-def", "oth") == {"m": "*** *** other"}
    assert hide("sk-abc", "sk-abc", "***") == "***"


def test_the_secrets_of_a_configuration_are_its_keys_its_credentials_and_its_hosts() -> None:
    urls = (
        "https://me:pass-word@gpu-7.internal:8000/v1",
        "http://vllm:8000",
        "http://vllm",
        "http://localhost:8000",
        "http://127.0.0.1:36875",
        "http://[::1]:8000",
        "http://[",
        "",
    )
    keys = tuple(Key(f"k{n}", f"k{n}", value="sk-1" if n < 2 else "", url=url) for n, url in enumerate(urls))
    headers = {"X-Api-Key": "extra-key", "Authorization": "Basic abc", "X-Team": "blue"}
    assert of(Config(keys, network=Network(extra_headers=headers))) == (
        "extra-key",
        "Basic abc",
        "sk-1",
        "pass-word",
        "gpu-7.internal:8000",
        "vllm:8000",
    )
