"""routing.secrets: a key's value never reaches the client."""

import json

import pytest

from routing.secrets import hide


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
