"""Each client, each feature: what others' programs get from the gateway, on recordings."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients import page
from tests.clients.clients import CLIENTS, EVERY_COLUMN, Client

pytestmark = pytest.mark.clients


def alone(client: Client, *more: str) -> Any:
    """Parameters of a test; those of one client go to one process, which drives it once."""
    group = pytest.mark.xdist_group(client.name)
    return pytest.param(client, *more, marks=group, id=": ".join((client.name, *more)))


@pytest.mark.parametrize(
    ("client", "name"),
    [
        alone(client, name)
        for client in CLIENTS
        for name in EVERY_COLUMN
        if client.expected(EVERY_COLUMN[name])
    ],
)
def test_feature(
    report_of: Callable[[Client], Any],
    record_property: Callable[[str, object], None],
    client: Client,
    name: str,
) -> None:
    record_property(page.CELL, (client.name, name))
    report = report_of(client)
    assert set(report) == set(client.ways)
    expected = client.expected(EVERY_COLUMN[name])
    for told in report.values():
        found = {feature: told["features"].get(feature) or None for feature in expected}
        assert found == expected, told["failures"]


@pytest.mark.parametrize("client", [alone(client) for client in CLIENTS])
def test_errors(
    report_of: Callable[[Client], Any], record_property: Callable[[str, object], None], client: Client
) -> None:
    record_property(page.CELL, (client.name, page.ERRORS))
    report = report_of(client)
    assert {way: told["errors"] for way, told in report.items()} == dict.fromkeys(client.ways, client.errors)
