"""The values that say where a server is and how long to wait for it."""

from typing import Any

import pytest

from transports import Endpoint, Timeouts


@pytest.mark.parametrize("limit", ["connect_s", "first_byte_s", "idle_s", "total_s"])
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_limit_is_positive_or_none(limit: str, seconds: float) -> None:
    limits: dict[str, Any] = {limit: seconds}
    with pytest.raises(ValueError, match="a limit is a positive number of seconds, or None for none"):
        Timeouts(**limits)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h:8000", "http://h:8000/v1/models"),
        ("http://h:8000/", "http://h:8000/v1/models"),
        ("http://h:8000/v1", "http://h:8000/v1/models"),
        ("http://h:8000/v1//", "http://h:8000/v1/models"),
        ("https://h/a/b/v1", "https://h/a/b/v1/models"),
        ("https://h/v10", "https://h/v10/v1/models"),
    ],
)
def test_an_address_may_end_in_v1(url: str, address: str) -> None:
    assert Endpoint(url).join("/v1/models") == address


def test_an_endpoint_prints_nothing_of_itself() -> None:
    endpoint = Endpoint("http://host.internal", "sk-secret", {"x-team": "red"})
    assert repr(endpoint) == "Endpoint(...)"
