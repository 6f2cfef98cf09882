"""Runs the programs that try clients, each in the environment of its client."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.clients import environments
from tests.clients.clients import TASKS, Client, Way

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = Path(__file__).parent / "programs"
CASSETTES: Final = Path(__file__).parent / "cassettes"
SPEECH: Final = ROOT / "recording" / "clips" / "hello.wav"
WITHIN_S: Final = 120
_IDENTITY: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CHANGING: Final = {"latency", "created_at", "completed_at"}


def missing(client: Client) -> str:
    """Why a client cannot be tried on this machine; empty when it can."""
    if client.environment:
        return environments.missing(client.environment)
    return "" if shutil.which(client.package) else f"{client.package} is not there: install it"


def version(client: Client) -> str:
    """The release that is tried."""
    if not client.environment:
        told = subprocess.run([client.package, "--version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[1]
    pinned = environments.pins(client.environment)
    if pinned.suffix == ".json":
        packages = json.loads(pinned.read_text("utf-8"))["packages"]
        return str(packages[f"node_modules/{client.package}"]["version"])
    pairs = (line.split("==") for line in pinned.read_text("utf-8").splitlines())
    return dict(pair for pair in pairs)[client.package]


def tried(
    client: Client, urls: Mapping[Way, str], tasks: Sequence[str], faults: Mapping[str, str]
) -> dict[str, Any]:
    """What a client made of gateways: one for each way, and one for each fault."""
    asked = {"urls": urls, "tasks": tasks, "faults": faults, "speech": str(SPEECH)}
    folder = environments.FOLDER / client.environment
    program = PROGRAMS / client.program
    if program.suffix == ".mjs":  # imports packages of the folder that it is in
        for each in (program, PROGRAMS / "trying.mjs"):
            shutil.copy(each, folder)
        interpreter, program = environments.node(), folder / client.program
    else:
        interpreter = folder / "bin" / "python" if client.environment else Path(sys.executable)
    report: dict[str, Any] = _printed(interpreter, program, json.dumps(asked), *client.arguments)
    return report


def ask(environment: str, program: str, *arguments: str) -> Any:
    """What a program prints in an environment, without what is new in every request.

    Null is left out too: releases differ in which absent fields they fill with it.
    """
    interpreter = environments.FOLDER / environment / "bin" / "python"
    return lasting(_printed(interpreter, PROGRAMS / program, *arguments))


def _printed(interpreter: Path, program: Path, *arguments: str) -> Any:
    quiet = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    done = subprocess.run(
        [str(interpreter), str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env=quiet,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: lasting(inner) for key, inner in value.items() if inner is not None and key not in _CHANGING
        }
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return _IDENTITY.sub("ID", value) if isinstance(value, str) else value


def every_task() -> list[str]:
    return [task for tasks in TASKS.values() for task in tasks]


@contextmanager
def gateway(*options: str) -> Iterator[str]:
    """The address of a gateway in a process of its own, started with these options."""
    command = [sys.executable, "gateway.py", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            process.wait(WITHIN_S)


@contextmanager
def before(server: str, folder: Path, *options: str) -> Iterator[str]:
    """The address of a gateway in front of a server; ``folder`` takes its configuration."""
    config = folder / "config.json"
    key = {"name": "recorded", "value": "", "models": ["*"], "weight": 1, "vllm_key_config": {"url": server}}
    config.write_text(json.dumps({"providers": {"vllm": {"keys": [key]}}}))
    with gateway("--config", str(config), *options) as url:
        yield url
