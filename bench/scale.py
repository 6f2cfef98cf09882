"""The gateway in one and in two processes, on cores that it shares with the load and the stand-in."""

import asyncio
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from . import peers
from .load import loaded, post
from .processes import CORES, Process, running
from .targets import configuration, wait_for
from .workloads import WORKLOADS

PROCESSES: Final = (1, 2)
_CONNECTIONS: Final = 32
_WARM_S: Final = 0.5


async def measured(upstream: int, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """For each number of processes: chats per second, CPU time per chat, and the cores kept busy with it."""
    chat = WORKLOADS[0]
    request = post(chat.path, chat.body)
    seen: dict[int, list[Mapping[str, float]]] = {number: [] for number in PROCESSES}
    own_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        with ExitStack() as stack:
            up = {number: _started(stack, upstream, number) for number in PROCESSES}
            for process, port in up.values():
                await asyncio.to_thread(wait_for, process, f"http://127.0.0.1:{port}/health")
                await loaded(port, request, _CONNECTIONS, _WARM_S)
            for _ in range(rounds):
                for number, (process, port) in up.items():
                    before = process.cpu_s()
                    load = await loaded(port, request, _CONNECTIONS, seconds)
                    spent_s = process.cpu_s() - before
                    seen[number].append(
                        {
                            "rate, /s": load.answers / load.seconds,
                            "cpu, us": spent_s / max(load.answers, 1) * 1e6,
                            "cores": spent_s / load.seconds,
                        }
                    )
    finally:
        os.sched_setaffinity(0, own_cores)
    return {
        str(number): {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
        for number, rows in seen.items()
    }


def _started(stack: ExitStack, upstream: int, processes: int) -> tuple[Process, int]:
    port = peers.free_port()
    command = [
        sys.executable, "gateway.py", "serve", "--config", str(configuration(upstream)), "--port", str(port),
        "--workers", str(processes), "--transport", "httptools",
    ]  # fmt: skip
    return stack.enter_context(running(command, CORES)), port
