"""Verdicts for people, and for machines: JSON, and the XML that continuous integration reads."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from xml.etree import ElementTree

from .verdicts import Outcome, Verdict, counted

_COLOURS: Final[dict[Outcome, str]] = {"same": "32", "changed": "31", "new": "33", "unknown": "33"}
_MOST_REPEATED: Final = 20
_OUTCOMES: Final[tuple[Outcome, ...]] = ("same", "changed", "new", "unknown")


def text(verdicts: Sequence[Verdict], colour: bool, remark: str = "") -> str:
    """What changed, recording by recording, and in several of them; a table, and a remark at the end."""
    lines = [*_details(verdicts, colour), *_repeated(verdicts), *_table(verdicts)]
    return "\n".join([*lines, remark] if remark else lines) + "\n"


def _details(verdicts: Sequence[Verdict], colour: bool) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.outcome == "same":
            continue
        word = f"\x1b[{_COLOURS[verdict.outcome]}m{verdict.outcome}\x1b[0m" if colour else verdict.outcome
        yield f"{word} {verdict.name}"
        yield from (f"    {line}" for line in verdict.lines)


def _repeated(verdicts: Sequence[Verdict]) -> Iterator[str]:
    counts = Counter(line for verdict in verdicts if verdict.outcome == "changed" for line in verdict.lines)
    several = [(line, count) for line, count in counts.most_common(_MOST_REPEATED) if count > 1]
    if several:
        yield "in several recordings"
    yield from (f"    {count} times {line}" for line, count in several)


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = counted(verdicts)
    width = max([len("operation"), *map(len, rows)])
    yield " ".join([f"{'operation':{width}}", *(f"{outcome:>8}" for outcome in _OUTCOMES)])
    for operation, row in sorted(rows.items()):
        yield " ".join([f"{operation:{width}}", *(f"{row.get(outcome, 0):>8}" for outcome in _OUTCOMES)])


def as_json(verdicts: Sequence[Verdict]) -> str:
    """All verdicts, and how many there are of each."""
    listed = [{**verdict._asdict(), "lines": list(verdict.lines)} for verdict in verdicts]
    return json.dumps({"summary": counted(verdicts), "verdicts": listed}, indent=1, ensure_ascii=False) + "\n"


def as_junit(verdicts: Sequence[Verdict]) -> str:
    """JUnit's XML: a suite for each operation, a failure for each changed recording."""
    suites = ElementTree.Element("testsuites")
    for operation, row in sorted(counted(verdicts).items()):
        own = [verdict for verdict in verdicts if verdict.operation == operation]
        suite = ElementTree.SubElement(
            suites, "testsuite", name=operation, tests=str(len(own)), failures=str(row.get("changed", 0))
        )
        for verdict in own:
            case = ElementTree.SubElement(suite, "testcase", classname=operation, name=verdict.name)
            said = _legal("\n".join(verdict.lines))
            if verdict.outcome == "changed":
                ElementTree.SubElement(case, "failure", message=_legal(verdict.lines[0])).text = said
            elif verdict.outcome != "same":
                ElementTree.SubElement(case, "skipped", message=verdict.outcome).text = said
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _legal(said: str) -> str:
    """XML has no way to write most control characters."""
    return "".join(char if char in "\t\n" or char >= " " else "\ufffd" for char in said)
