"""The results as one table, on the terminal and in the docs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .targets import DIRECT, FLOOR, GATEWAY, LEAN, LITELLM

DOCS: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN: Final = "<!-- written by python -m bench: begin -->"
END: Final = "<!-- written by python -m bench: end -->"

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """One promise: ``value`` finds what was measured, which must not exceed ``most``.

    ``least_of_litellm`` is how many times cheaper than LiteLLM it must be.
    ``at_least`` turns the comparison round.
    """

    work: str
    unit: str
    most: float
    stretch: float
    value: Callable[[Results], float]
    litellm: Callable[[Results], float] | None = None
    least_of_litellm: float = 0.0
    at_least: bool = False


def _figure(results: Results, workload: str, target: str, name: str = "cpu, us") -> float:
    figure: float = results["workloads"][workload]["targets"][target][name]
    return figure


def _ours(results: Results) -> str:
    """The gateway in the form that is meant to be used."""
    return LEAN if LEAN in results["memory"] else GATEWAY


def _in_floors(workload: str, target: str | None = None) -> Callable[[Results], float]:
    return lambda results: (
        _figure(results, workload, target or _ours(results)) / _figure(results, workload, FLOOR)
    )


def _under_litellm(workload: str, target: str | None = None) -> Callable[[Results], float]:
    return lambda results: (
        _figure(results, workload, LITELLM) / _figure(results, workload, target or _ours(results))
    )


def _micro(name: str) -> Callable[[Results], float]:
    return lambda results: float(results["micro"][name])


def _transforms(results: Results) -> float:
    micro = results["micro"]
    return float((micro["LiteLLM's request"] + micro["LiteLLM's reply"]) / micro["request and reply"])


def _responses(results: Results) -> float:
    ours = _ours(results)
    return _figure(results, "responses stream, burst", ours) / _figure(results, "stream, burst", ours)


def _memory(name: str) -> Callable[[Results], float]:
    return lambda results: float(results["memory"][_ours(results)][name])


BUDGETS: Final = (
    Budget(
        "translators: request and 1.3 KB reply", "us", 12, 8, _micro("request and reply"), _transforms, 15
    ),
    Budget("translators: stream chunk", "us", 3, 1.5, _micro("stream chunk")),
    Budget("SSE reader: one event per read", "us", 0.75, 0.5, _micro("SSE event")),
    Budget(
        "chat, over aiohttp",
        "F",
        1.30,
        1.15,
        _in_floors("chat", GATEWAY),
        _under_litellm("chat", GATEWAY),
        45,
    ),
    Budget(
        "chat, over httptools", "F", 0.65, 0.50, _in_floors("chat", LEAN), _under_litellm("chat", LEAN), 90
    ),
    Budget("chat, 109 KB prompt", "F", 1.1, 0.85, _in_floors("chat, 109 KB prompt")),
    Budget(
        "stream in one burst, events per second and core",
        "/s",
        150_000,
        300_000,
        lambda results: 1e6 / _figure(results, "stream, burst", _ours(results)),
        _under_litellm("stream, burst"),
        60,
        at_least=True,
    ),
    Budget("64 streams that drip, per event", "F", 1.5, 1.15, _in_floors("stream, drip")),
    Budget(
        "64 streams that drip, share of the rate kept",
        "",
        0.97,
        1.0,
        lambda results: (
            _figure(results, "stream, drip", _ours(results), "rate, /s")
            / _figure(results, "stream, drip", DIRECT, "rate, /s")
        ),
        at_least=True,
    ),
    Budget("embeddings, 16 x 1,024 floats", "F", 2.0, 1.1, _in_floors("embeddings")),
    Budget("rerank, 100 documents", "F", 1.6, 1.2, _in_floors("rerank")),
    Budget("Responses stream, per event, in chat streams", "x", 2.0, 1.4, _responses),
    Budget(
        "added median latency, one connection",
        "ms",
        0.45,
        0.27,
        lambda results: _figure(results, "chat, one connection", _ours(results), "added p50, ms"),
    ),
    Budget("memory at rest", "MB", 60, 45, _memory("at rest, MB")),
    Budget("memory per open stream", "KB", 40, 20, _memory("per open stream, KB")),
    Budget("import of the translators", "ms", 50, 30, _micro("import translate, ms")),
    Budget("ready after start", "s", 0.6, 0.3, lambda results: float(results["ready, s"][_ours(results)])),
)


def _number(value: float, unit: str) -> str:
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def budget_rows(results: Results) -> list[list[str]]:
    """Each budget beside what was measured; what was not measured says so."""
    rows = []
    for budget in BUDGETS:
        try:
            value = budget.value(results)
        except KeyError:
            rows.append([budget.work, _number(budget.most, budget.unit), "-", "not measured", ""])
            continue
        met = value >= budget.most if budget.at_least else value <= budget.most
        reached = value >= budget.stretch if budget.at_least else value <= budget.stretch
        away = f"{abs(value / budget.stretch - 1):.1%}"
        verdict = (
            f"{'holds' if met else '**missed**'}; stretch goal {'met' if reached else 'missed'} by {away}"
        )
        beside = ""
        if budget.litellm is not None:
            try:
                times = budget.litellm(results)
                enough = (
                    "" if times >= budget.least_of_litellm else f", **{budget.least_of_litellm:g} wanted**"
                )
                beside = f"{times:.0f} x under LiteLLM{enough}"
            except KeyError:
                beside = ""
        target = f"{_number(budget.most, budget.unit)} ({_number(budget.stretch, budget.unit)})"
        rows.append([budget.work, target, _number(value, budget.unit), verdict, beside])
    return rows


def workload_rows(results: Results, workload: str) -> list[list[str]]:
    """One workload: each target's CPU time, and that in floors."""
    seen = results["workloads"][workload]
    floor = seen["targets"].get(FLOOR, {}).get("cpu, us")
    rows = []
    for name, figures in seen["targets"].items():
        cpu = figures["cpu, us"]
        in_floors = f"{cpu / floor:.2f}" if floor else ""
        faults = ", ".join(f"{what}: {number}" for what, number in seen["faults"].get(name, {}).items())
        rows.append(
            [
                name,
                f"{cpu:,.1f}" if cpu >= 10 else f"{cpu:.2f}",
                in_floors,
                f"{figures['rate, /s']:,.0f}",
                f"{figures.get('added p50, ms', float('nan')):.2f}",
                f"{figures.get('added p99, ms', float('nan')):.2f}",
                faults,
            ]
        )
    return rows


BUDGET_HEAD: Final = ["work", "budget (stretch goal)", "measured", "", "beside LiteLLM"]
WORKLOAD_HEAD: Final = ["", "CPU, us", "in F", "per second", "added p50, ms", "added p99, ms", "faults"]
MEMORY_HEAD: Final = ["", "at rest, MB", "after the loads, MB", "per open stream, KB", "ready after, s"]


def memory_rows(results: Results) -> list[list[str]]:
    return [
        [
            name,
            *(f"{row[column]:.1f}" if column in row else "-" for column in MEMORY_HEAD[1:4]),
            f"{results['ready, s'][name]:.2f}",
        ]
        for name, row in results["memory"].items()
        if name != DIRECT
    ]


PROCESSES_HEAD: Final = [
    "processes",
    "chats per second",
    "CPU, us",
    "cores used",
    "chats per second and core",
]


def processes_rows(results: Results) -> list[list[str]]:
    return [
        [
            number,
            f"{row['rate, /s']:,.0f}",
            f"{row['cpu, us']:.1f}",
            f"{row['cores']:.2f}",
            f"{row['rate, /s'] / row['cores']:,.0f}",
        ]
        for number, row in results.get("processes", {}).items()
    ]


def _tables(results: Results) -> list[tuple[str, list[str], list[list[str]]]]:
    tables = [("Budgets", BUDGET_HEAD, budget_rows(results))]
    for name, seen in results["workloads"].items():
        if seen["targets"]:
            tables.append((f"{name}, per {seen['per']}", WORKLOAD_HEAD, workload_rows(results, name)))
    tables.append(("Memory and start", MEMORY_HEAD, memory_rows(results)))
    if rows := processes_rows(results):
        tables.append(("Processes on all cores, beside load and stand-in", PROCESSES_HEAD, rows))
    micro = [[name, f"{value:.2f}"] for name, value in results["micro"].items()]
    tables.append(("In process, CPU us", ["", "us"], micro))
    return tables


def as_text(results: Results) -> str:
    """The tables for a terminal."""
    lines = [_circumstances(results)]
    for title, head, rows in _tables(results):
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines += ["", title]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in [head, *rows]
        ]
    lines += ["", *(f"skipped: {line}" for line in results["skipped"])]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(results: Results) -> str:
    """The same for the docs."""
    lines = [_circumstances(results)]
    for title, head, rows in _tables(results):
        lines += ["", f"### {title[:1].upper()}{title[1:]}", "", _row(head), _row(["---"] * len(head))]
        lines += [_row(row) for row in rows]
    if results["skipped"]:
        lines += ["", "Left out:", "", *(f"* {line}" for line in results["skipped"])]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _circumstances(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    machine = results["machine"]
    return (
        f"{results['date']}, `{results['command']}`: medians of {results['rounds']} interleaved rounds of "
        f"{results['seconds']:g} s; Python {results['python']}, {versions}; {machine['cores']} cores, "
        f"{machine['cpu']}, load {machine['load before']:g} before."
    )


def write_docs(results: Results) -> None:
    """Put the tables between the markers of the docs."""
    before, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n\n{as_markdown(results)}\n\n{END}{after}")
