"""``python -m bench``: start everything, load each in turn, print one table, write results and docs."""

import argparse
import asyncio
import compileall
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from . import exchanges, micro, peers, report, scale, targets
from .load import Holding, Load, loaded, post
from .processes import OTHER_CORES, NotStartedError
from .targets import DIRECT, OURS, THEIRS, Target, answers
from .workloads import WORKLOADS, Workload

RESULTS: Final = Path(__file__).with_name("results.json")
_WARM_S: Final = 0.3
_HELD_STREAMS: Final = 200


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments().parse_args(argv)
    os.sched_setaffinity(0, OTHER_CORES)
    _compile()
    results = uvloop.run(_measured(options))
    print(report.as_text(results))
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.out == RESULTS:
        report.write_docs(results)
    return 0


def _compile() -> None:
    """As pip does when it installs, so that no import is timed that compiles."""
    for package in ("translate", "transports", "routing", "serving", "comparison"):
        compileall.compile_dir(targets.ROOT / package, quiet=1)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a look: one short round, no peers, nothing written"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each load (default: 3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of one load (default: 1)")
    parser.add_argument("--only", metavar="TEXT", default="", help="the workloads whose name has this in it")
    parser.add_argument("--no-peers", action="store_true", help="leave out the other gateways")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results here, not into the docs")
    parser.set_defaults(out=None)
    return parser


async def _measured(options: argparse.Namespace) -> dict[str, Any]:
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = options.seconds or (0.3 if options.quick else 1.0)
    chosen = [workload for workload in WORKLOADS if options.only in workload.name]
    if not (options.quick or options.only or options.out):
        options.out = RESULTS
    results: dict[str, Any] = _circumstances(rounds, seconds)
    _say("the translators alone")
    results["micro"] = {name: round(time_, 3) for name, time_ in micro.measured().items()}
    with ExitStack() as stack:
        direct = stack.enter_context(targets.stand_in())
        up = [direct, *_started(stack, direct.port, options.quick or options.no_peers, results)]
        results["memory"] = {target.name: {"at rest, MB": target.process.rss_mb()} for target in up}
        results["ready, s"] = {target.name: round(target.ready_s, 3) for target in up}
        for workload in chosen:
            _say(workload.name)
            results["workloads"][workload.name] = await _workload(workload, up, rounds, seconds, results)
        if not options.only:
            _say("memory")
            for target in up[1:]:
                await _memory(target, results)
            _say("several processes")
            results["processes"] = await scale.measured(direct.port, rounds, seconds)
    return results


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _circumstances(rounds: int, seconds: float) -> dict[str, Any]:
    libraries = ("aiohttp", "httptools", "msgspec", "uvloop")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": " ".join(["python", "-m", "bench", *sys.argv[1:]]),
        "rounds": rounds,
        "seconds": seconds,
        "python": platform.python_version(),
        "versions": versions | {peer.name: peer.version() for peer in peers.PEERS if peer.is_installed()},
        "machine": {
            "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.machine(),
            "cores": os.cpu_count(),
            "load before": round(os.getloadavg()[0], 2),
        },
        "workloads": {},
        "skipped": [],
    }


def _started(stack: ExitStack, upstream: int, without_peers: bool, results: dict[str, Any]) -> list[Target]:
    up = []
    for name, start in {**OURS, **({} if without_peers else THEIRS)}.items():
        _say(f"starting {name}")
        try:
            up.append(stack.enter_context(targets.started(name, start, upstream)))
        except NotStartedError as error:
            _skip(f"{name}: {error}", results)
    return up


def _skip(line: str, results: dict[str, Any]) -> None:
    results["skipped"].append(line)
    _say(f"skipped {line}")


async def _workload(
    workload: Workload, up: Sequence[Target], rounds: int, seconds: float, results: dict[str, Any]
) -> dict[str, Any]:
    """Interleaved rounds, each in the opposite order of the one before; the medians of each target."""
    loop = asyncio.get_running_loop()
    able = []
    for target in up:
        # The stand-in has no Responses API: the gateway makes one out of its chat.
        why_not = await loop.run_in_executor(None, answers, target.port, workload.path, workload.body)
        if why_not:
            _skip(f"{workload.name}: {target.name} {why_not}", results)
        else:
            able.append(target)
    request = post(workload.path, workload.body)
    for target in able:
        await loaded(target.port, request, min(workload.connections, 4), _WARM_S)
    seen: dict[str, list[dict[str, float]]] = {target.name: [] for target in able}
    faults: dict[str, dict[str, int]] = {}
    for number in range(rounds):
        for target in able if number % 2 == 0 else reversed(able):
            before = target.process.cpu_s()
            load = await loaded(
                target.port, request, workload.connections, workload.seconds(seconds), workload.count
            )
            await asyncio.sleep(0.02)  # what is left to be done after the last answer
            seen[target.name].append(_figures(workload, load, target.process.cpu_s() - before))
            if load.faults:
                faults[target.name] = load.faults
    medians = {name: _medians(rows) for name, rows in seen.items()}
    if DIRECT in medians:
        for figures in medians.values():
            figures["added p50, ms"] = round(figures["p50, ms"] - medians[DIRECT]["p50, ms"], 3)
            figures["added p99, ms"] = round(figures["p99, ms"] - medians[DIRECT]["p99, ms"], 3)
    return {"per": workload.per, "targets": medians, "faults": faults, "rounds": seen}


def _figures(workload: Workload, load: Load, cpu_s: float) -> dict[str, float]:
    """What one load shows. Work is counted where it comes from: in requests, or in events of the stand-in."""
    work: float = load.answers
    if workload.per == "event":
        whole = load.answers * exchanges.EVENTS
        work = whole if workload.count is None or load.answers == workload.connections else load.events
    latencies = sorted(load.latencies) or [float("nan")]
    return {
        "cpu, us": round(cpu_s / max(work, 1) * 1e6, 3),
        "rate, /s": round(work / load.seconds, 1),
        "p50, ms": round(statistics.median(latencies) * 1e3, 3),
        "p99, ms": round(latencies[int(len(latencies) * 0.99)] * 1e3, 3),
        "first byte p50, ms": round(statistics.median(load.first_bytes or [float("nan")]) * 1e3, 3),
        "cpu used, s": round(cpu_s, 3),
    }


def _medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


async def _memory(target: Target, results: dict[str, Any]) -> None:
    """After all loads, and what each of some open streams adds."""
    row = results["memory"][target.name]
    row["after the loads, MB"] = target.process.rss_mb()
    holding = Holding(target.port, post("/v1/chat/completions", exchanges.chat_request("hold", stream=True)))
    try:
        await holding.open(_HELD_STREAMS)
        row["per open stream, KB"] = (
            (target.process.rss_mb() - row["after the loads, MB"]) * 1e3 / _HELD_STREAMS
        )
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        _skip(f"open streams: {target.name}: {type(error).__name__}", results)
    finally:
        await holding.close()
    results["memory"][target.name] = {name: round(value, 1) for name, value in row.items()}


if __name__ == "__main__":
    sys.exit(main())
