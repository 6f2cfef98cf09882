"""routing.header_settings: headers that a request must have."""

import re

import pytest

from routing.header_settings import Required, unmet

REQUIRED = (
    Required("X-Tenant"),
    Required("X-Region", re.compile("us-east-1|eu-west-1")),
    Required("X-Proxy", secret="open sesame"),
)
MET = [("x-tenant", ""), ("X-REGION", "us-east-1"), ("x-proxy", "open sesame")]


@pytest.mark.parametrize(
    ("client", "complaint"),
    [
        pytest.param(MET, "", id="all are there"),
        pytest.param([], "missing required headers: X-Tenant, X-Region, X-Proxy", id="none is there"),
        pytest.param(
            [MET[0], ("x-region", "us-east-12"), MET[2]],
            "invalid required header value: X-Region",
            id="the whole value must match",
        ),
        pytest.param(
            [MET[0], MET[1], ("x-proxy", "open")],
            "invalid required header value: X-Proxy",
            id="a wrong secret",
        ),
        pytest.param(
            [MET[1], ("x-proxy", "\ud800é")],
            "missing required headers: X-Tenant; invalid required header value: X-Proxy",
            id="both",
        ),
        pytest.param(
            [*MET, ("x-region", "elsewhere")], "", id="of a header that comes twice the first counts"
        ),
    ],
)
def test_unmet(client: list[tuple[str, str]], complaint: str) -> None:
    assert unmet(REQUIRED, client) == complaint


def test_nothing_is_required() -> None:
    assert unmet((), []) == ""


def test_a_secret_that_is_not_set_is_met_by_nothing() -> None:
    assert (
        unmet((Required("X-Proxy", secret=""),), [("x-proxy", "")])
        == "invalid required header value: X-Proxy"
    )


def test_it_prints_no_secret() -> None:
    assert "sesame" not in repr(REQUIRED)
