"""The values that say where a server is and how long to wait for it."""

from typing import Any

import pytest

from transports import Cut, Endpoint, Timeouts


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


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (Cut("connect", "connection refused"), True),
        (Cut("timeout", "connect: no connection within 10 s", "connect"), True),
        (Cut("timeout", "first byte: no answer within 10 s", "first byte"), False),
        (Cut("timeout", "connect: as somebody else may say"), False),
        (Cut("read", "connection reset"), False),
        (Cut("cancelled", "the client of the connection left"), False),
    ],
)
def test_a_server_is_out_of_reach_when_no_connection_came_about(cut: Cut, expected: bool) -> None:
    assert cut.unreachable is expected
