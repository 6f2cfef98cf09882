"""routing.fields: what a setting may be."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from routing import fields
from routing.fields import Group, Number, Setting, Text, duration_s
from routing.reading import At


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("7ns", 7e-9),
        ("0s", 0.0),
        ("", None),
        ("5", None),
        ("5 s", None),
        ("-5s", None),
        ("s", None),
        ("5d", None),
        ("1e3s", None),
        ("9" * 100 + "s", None),
    ],
)
def test_durations_as_go_writes_them(text: str, expected: float | None) -> None:
    assert duration_s(text) == (None if expected is None else pytest.approx(expected))


@dataclass(frozen=True, slots=True)
class Inner:
    depth: Annotated[float, Setting("depth", Number(1, 9), "How deep.")] = 2.0


@dataclass(frozen=True, slots=True)
class Outer:
    name: Annotated[str, Setting("about.name", Text(), "What it is called.", required=True)] = ""
    inner: Annotated[Inner, Group("about.inner")] = Inner()
    computed: int = 7


def test_a_class_is_read_from_where_its_settings_stand() -> None:
    at = At({"about": {"name": "n", "inner": {"depth": 5, "more": 1}, "old": 1}, "odd": 1}, {})
    assert fields.read(Outer, at) == Outer("n", Inner(5))
    fields.report_strangers(fields.tree(Outer), {"about.old": "too old", "*": "who knows"}, at)
    assert [str(finding) for finding in at.findings] == [
        "$.about.inner.more: unknown key",
        "$.about.old: too old",
        "$.odd: who knows",
    ]


def test_what_is_missing_or_wrong_has_its_default() -> None:
    at = At({"about": {"inner": {"depth": 10}}}, {})
    assert fields.read(Outer, at) == Outer()
    assert [str(finding) for finding in at.findings] == [
        "$.about.name: missing",
        "$.about.inner.depth: expected a number from 1 to 9, got 10",
    ]


def test_a_class_describes_itself() -> None:
    assert fields.properties(Outer, {"about.old": "too old"}) == {
        "type": "object",
        "properties": {
            "about": {
                "type": ["object", "null"],
                "properties": {
                    "name": {"description": "What it is called.", "type": "string"},
                    "inner": {
                        "type": ["object", "null"],
                        "properties": {
                            "depth": {
                                "description": "How deep.",
                                "type": ["number", "null"],
                                "minimum": 1,
                                "maximum": 9,
                                "default": 2.0,
                            }
                        },
                    },
                    "old": {"description": "Too old."},
                },
                "required": ["name"],
            }
        },
    }


def test_a_setting_under_another_is_a_mistake_of_ours() -> None:
    @dataclass(frozen=True)
    class Wrong:
        outer: Annotated[str, Setting("a", Text(), "A.")] = ""
        inner: Annotated[str, Setting("a.b", Text(), "B.")] = ""

    with pytest.raises(TypeError, match="a is a setting"):
        fields.tree(Wrong)
