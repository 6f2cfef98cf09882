"""Gateways in processes of their own, and the environments of the clients."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.loopback import LoopThread, Upstream

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENTS: Final = ROOT / ".clients"
PROGRAMS: Final = Path(__file__).parent / "programs"
CASSETTES: Final = Path(__file__).parent / "cassettes"
WITHIN_S: Final = 120
ROWS: Final = 14
"""Tests there are: a run of fewer says nothing about the rest."""
_IDENTITY: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHANGING: Final = {"latency", "created_at", "completed_at"}


def ask(environment: str, program: str, *arguments: str) -> Any:
    """What a program prints in an environment, without what is new in every request.

    Null is left out too: releases differ in which absent fields they fill with it.
    """
    interpreter = ENVIRONMENTS / environment / "bin" / "python"
    quiet = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    done = subprocess.run(
        [str(interpreter), str(PROGRAMS / program), *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env=quiet,
    )
    assert done.returncode == 0, done.stderr
    return lasting(json.loads(done.stdout))


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: lasting(inner) for key, inner in value.items() if inner is not None and key not in _CHANGING
        }
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return _IDENTITY.sub("ID", value) if isinstance(value, str) else value


@contextmanager
def gateway(*options: str) -> Iterator[str]:
    """The address of a gateway that is started with these options."""
    command = [sys.executable, "gateway.py", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            process.wait(WITHIN_S)


@pytest.fixture(scope="session")
def bundled() -> Iterator[str]:
    with gateway() as url:
        yield url


@pytest.fixture(scope="session")
def conversations() -> Iterator[str]:
    """A gateway over the conversations that were recorded with these programs."""
    with gateway("--replay", str(CASSETTES)) as url:
        yield url


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    thread = LoopThread()
    with Upstream(thread) as server:
        yield server
    thread.close()


@pytest.fixture(scope="session")
def troubled(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway before the scripted server."""
    config = tmp_path_factory.mktemp("gateway") / "config.json"
    key = {"name": "k", "value": "", "models": ["*"], "weight": 1, "vllm_key_config": {"url": upstream.url}}
    config.write_text(json.dumps({"providers": {"vllm": {"keys": [key]}}}))
    with gateway("--config", str(config)) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Writes docs/clients.md, if all ran."""
    rows = {
        report.nodeid.partition("::")[2]: outcome
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.getreports(outcome)
        if "tests/clients/" in report.nodeid
    }
    if len(rows) < ROWS:
        return
    lines = [f"| `{name}` | {outcome} |" for name, outcome in sorted(rows.items())]
    heading = ["# Clients", "", "Written by `make test-clients`.", "", "| test | outcome |", "|---|---|"]
    (ROOT / "docs" / "clients.md").write_text("\n".join([*heading, *lines, ""]), "utf-8")
