"""``python -m fuzz [--seconds N] [TARGET ...]``: puts bred bytes to every target, and requests to a gateway.

The seconds are for all targets together. Without a TARGET, requests by the
gateway's own schema follow, and ``docs/fuzzing.md`` is written. Ends with
status 1 when something broke; what broke it lies in ``build/fuzz``.
"""

import argparse
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from . import requests_by_schema
from .findings import FINDINGS
from .targets import ROOT, TARGETS

BUILD: Final = ROOT / "build" / "fuzz"
PAGE: Final = ROOT / "docs" / "fuzzing.md"
SECONDS: Final = 60
_PATIENCE_S: Final = 30  # for an interpreter to start, and to end
_SLOW_S: Final = 10  # an input that takes longer is a find
_EXECUTED: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


class Ran(NamedTuple):
    """One target: inputs tried, inputs kept, and those that broke something."""

    target: str
    executions: int
    seeds: int
    corpus: int
    broken: tuple[str, ...]


def run(target: str, seconds: int) -> Ran:
    """Put bytes to a target for some seconds; raises ``RuntimeError`` when it could not begin."""
    folder = BUILD / target.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    before = {*folder.glob("*-*")}
    options = [f"-max_total_time={seconds}", f"-timeout={_SLOW_S}", "-print_final_stats=1"]
    command = [sys.executable, "-m", "fuzz.one", target, str(folder), *options]
    with (folder / "log").open("wb") as log:
        subprocess.run(command, cwd=ROOT, stderr=log, check=False, timeout=seconds + _SLOW_S + _PATIENCE_S)
    told = (folder / "log").read_text(errors="replace")
    executed = _EXECUTED.search(told)
    broken = tuple(sorted(path.name for path in {*folder.glob("*-*")} - before))
    if executed is None and not broken:
        raise RuntimeError(f"{target}: {told[-2000:]}")
    count = int(executed[1]) if executed else 0
    return Ran(target, count, _files(folder / "seeds"), _files(folder / "corpus"), broken)


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.iterdir())


def page(ran: Sequence[Ran], asked: requests_by_schema.Asked, seconds: int) -> str:
    """What a run came to, for people."""
    rows = [
        f"| {each.target} | {TARGETS[each.target].promise} | {each.seeds:,} | {each.executions:,} "
        f"| {each.corpus:,} | {len(each.broken)} |"
        for each in ran
    ]
    total = (
        f"| all | | {sum(each.seeds for each in ran):,} | {sum(each.executions for each in ran):,} "
        f"| {sum(each.corpus for each in ran):,} | {sum(len(each.broken) for each in ran)} |"
    )
    found = [f"| {each.found_by} | {each.what} | `{each.test}` |" for each in FINDINGS]
    return _PAGE.format(
        seconds=seconds,
        python=platform.python_version(),
        atheris=version("atheris"),
        rows="\n".join([*rows, total]),
        schemathesis=version("schemathesis"),
        asked=asked,
        count=len(FINDINGS),
        found="\n".join(found),
    )


_PAGE: Final = """\
# Fuzzing

Written by `make fuzz FUZZ_SECONDS={seconds}`, with Python {python}.

## Bytes

[atheris](https://github.com/google/atheris) {atheris} breeds inputs by the code that they reach. The first
ones are what a real vLLM answered and was asked (`cassettes/`); every other change is one of a value in
their JSON. Each target has to keep a promise, not only to survive. What was bred is kept in `build/fuzz`, so
that the next run begins where this one ended.

| target | promise | first inputs | executions | inputs kept | broken |
|---|---|---|---|---|---|
{rows}

## Requests

[schemathesis](https://schemathesis.readthedocs.io) {schemathesis} makes requests from the gateway's own
`/openapi.json`, good ones and bad ones, with a healthy server behind it: {asked.operations} operations,
{asked.made:,} requests, {asked.good:,} of them answered as the document says, with no status of 500 or more.

## Found and fixed: {count}

| found by | what | test |
|---|---|---|
{found}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for all targets together")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    chosen = options.targets or list(TARGETS)
    ran: list[Ran] = []
    for target in chosen:
        ran.append(run(target, max(1, options.seconds // len(chosen))))
        print(f"{target}: {ran[-1].executions:,} executions, {ran[-1].corpus:,} kept", flush=True)
        for name in ran[-1].broken:
            print(f"  broken by build/fuzz/{target.replace(' ', '-')}/{name}", file=sys.stderr, flush=True)
    broken = any(each.broken for each in ran)
    if not options.targets:
        asked = requests_by_schema.run(requests_by_schema.EXAMPLES)
        print(f"requests: {asked.made:,} made, {asked.good:,} answered well", flush=True)
        broken = broken or asked.good < asked.made
        PAGE.write_text(page(ran, asked, options.seconds))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
