"""Each client, each feature: what others' programs get from the gateway, on recordings."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients import page
from tests.clients.clients import CLIENTS, EVERY_COLUMN, Client

pytestmark = pytest.mark.clients


TRIED = [(client, name) for client in CLIENTS for name in EVERY_COLUMN if client.expected(EVERY_COLUMN[name])]


@pytest.mark.parametrize(("client", "name"), TRIED, ids=[f"{client.name}: {name}" for client, name in TRIED])
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


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_errors(
    report_of: Callable[[Client], Any], record_property: Callable[[str, object], None], client: Client
) -> None:
    record_property(page.CELL, (client.name, page.ERRORS))
    report = report_of(client)
    assert {way: told["errors"] for way, told in report.items()} == dict.fromkeys(client.ways, client.errors)
