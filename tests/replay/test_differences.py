"""Every difference from Bifrost that is stated is one, exactly as stated."""

import ast
import re
from typing import Any

import pytest

from tests import differences
from tests.contract.wheel import ROOT

ENTRIES = differences.entries()
NAMES = [entry["name"] for entry in [*ENTRIES, *differences.behaviours()]]


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES[: len(ENTRIES)])
def test_what_comes_out_differs_from_bifrost_where_it_is_stated(entry: Any) -> None:
    ours = differences.outcome(entry)
    assert ours == entry["ours"]
    assert list(differences.places(ours, entry["bifrost"])) == entry["places"]
    assert entry["places"] != []


def test_names_are_short_and_stable() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [name for name in NAMES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_every_difference_in_behaviour_has_its_test() -> None:
    tests = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {entry["test"] for entry in differences.behaviours()} <= tests


def test_the_page_says_what_the_list_says() -> None:
    assert (ROOT / "docs" / "differences.md").read_text() == differences.page()
