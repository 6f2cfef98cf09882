"""The tables that a benchmark prints, and writes into the docs."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmark reads /proc", allow_module_level=True)

from bench import report
from bench.targets import DIRECT, FLOOR, GATEWAY, LEAN, LITELLM


def figures(cpu_us: float, rate: float = 1000.0) -> dict[str, float]:
    return {"cpu, us": cpu_us, "rate, /s": rate, "added p50, ms": 0.25, "added p99, ms": 1.5}


def results() -> dict[str, Any]:
    chat = {DIRECT: 5.0, FLOOR: 150.0, GATEWAY: 180.0, LEAN: 99.0, LITELLM: 9000.0}
    return {
        "date": "2026-11-23",
        "command": "python -m bench",
        "rounds": 3,
        "seconds": 1.0,
        "python": "3.11.7",
        "versions": {"aiohttp": "3.14.5"},
        "machine": {"cpu": "some", "cores": 2, "load before": 0.5},
        "skipped": ["rerank: gateway answers 404 to /v1/rerank"],
        "micro": {"stream chunk": 2.5, "SSE event": 0.4},
        "memory": {LEAN: {"at rest, MB": 61.0}},
        "ready, s": {LEAN: 0.25},
        "processes": {"2": {"rate, /s": 12_000.0, "cpu, us": 100.04, "cores": 1.2}},
        "workloads": {
            "chat": {
                "per": "request",
                "faults": {GATEWAY: {"status 500": 3}},
                "targets": {name: figures(cpu) for name, cpu in chat.items()},
            }
        },
    }


def test_each_budget_is_judged_by_what_was_measured() -> None:
    rows = {row[0]: row[1:] for row in report.budget_rows(results())}
    assert rows["chat, over aiohttp"] == [
        "1.3 F (1.15 F)",
        "1.2 F",
        "holds; stretch goal missed by 4.3%",
        "50 x under LiteLLM",
    ]
    assert rows["chat, over httptools"] == [
        "0.65 F (0.5 F)",
        "0.66 F",
        "**missed**; stretch goal missed by 32.0%",
        "91 x under LiteLLM",
    ]
    assert rows["SSE reader: one event per read"] == [
        "0.75 us (0.5 us)",
        "0.4 us",
        "holds; stretch goal met by 20.0%",
        "",
    ]
    assert rows["memory at rest"] == [
        "60 MB (45 MB)",
        "61 MB",
        "**missed**; stretch goal missed by 35.6%",
        "",
    ]
    assert rows["ready after start"] == ["0.6 s (0.3 s)", "0.25 s", "holds; stretch goal met by 16.7%", ""]
    assert rows["rerank, 100 documents"] == ["1.6 F", "-", "not measured", ""]
    assert len(rows) == len(report.BUDGETS)


def test_a_workload_shows_each_target_in_floors_and_what_went_wrong() -> None:
    rows = report.workload_rows(results(), "chat")
    assert rows[0] == [DIRECT, "5.00", "0.03", "1,000", "0.25", "1.50", ""]
    assert rows[2] == [GATEWAY, "180.0", "1.20", "1,000", "0.25", "1.50", "status 500: 3"]


def test_processes_are_compared_by_what_a_core_carries() -> None:
    assert report.processes_rows(results()) == [["2", "12,000", "100.0", "1.20", "10,000"]]


def test_the_docs_are_written_between_their_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "performance.md"
    docs.write_text(f"before\n{report.BEGIN}\nof last time\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "DOCS", docs)
    for _ in range(2):
        report.write_docs(results())
        text = docs.read_text()
        assert re.fullmatch(
            rf"before\n{report.BEGIN}\n\n2026-11-23, .*\n\n{report.END}\nafter\n", text, re.DOTALL
        )
        assert "of last time" not in text
        assert "* rerank: gateway answers 404 to /v1/rerank" in text


def test_the_docs_have_a_place_for_them() -> None:
    text = report.DOCS.read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1
