"""The same question to several versions of vLLM gives the same answer, apart from what is named."""

from pathlib import Path

from comparison import versions
from transports import Recordings

ROOT = Path(__file__).parents[2]
ROWS = versions.compared(Recordings.load(ROOT / "cassettes"))


def test_every_difference_has_a_reason() -> None:
    unexplained = [
        (row.question, row.version, place)
        for row in ROWS
        for place in row.places
        if versions.reason_for(row, place) is None
    ]
    assert unexplained == []


def test_every_reason_explains_a_difference_at_each_of_its_places_in_each_of_its_versions() -> None:
    found = {(versions.reason_for(row, place), place) for row in ROWS for place in row.places}
    assert {(reason, place) for reason in versions.REASONS for place in reason.places} <= found
    seen = {(versions.reason_for(row, place), row.version) for row in ROWS for place in row.places}
    assert {(reason, version) for reason in versions.REASONS for version in reason.versions} <= seen


def test_most_of_what_0_16_was_asked_by_the_recorder_is_compared() -> None:
    compared = [row for row in ROWS if row.version == "0.16.0"]
    assert len(compared) > 60
    assert sum(not row.places for row in compared) > 15


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "versions.md").read_text("utf-8")
    assert versions.renewed(page, ROWS) == page, f"run: python -m comparison.versions --page {page}"
