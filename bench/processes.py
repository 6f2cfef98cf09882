"""Processes under test: starting them, and what they use, from ``/proc``."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CORES: Final = sorted(os.sched_getaffinity(0))
_READY: Final = re.compile(r"listening on (?:port |http://127\.0\.0\.1:)(\d+)")

CORES: Final = set(_CORES)
"""All that there are for us."""

TARGET_CORE: Final = {_CORES[0]}
"""Where what is measured runs, alone."""

OTHER_CORES: Final = set(_CORES[1:]) or TARGET_CORE
"""Where the stand-in and the load come from."""


class NotStartedError(Exception):
    """A process did not get ready."""


class Process:
    """A server in a process group of its own."""

    def __init__(
        self, command: Sequence[str], cores: set[int], environment: Mapping[str, str] | None = None
    ) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        os.sched_setaffinity(self._process.pid, cores)  # threads and processes that it starts inherit that
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        stream = self._process.stdout
        for line in stream or ():
            self._told = [*self._told[-20:], line]
            self._lines.put(line)

    def port(self, patience_s: float = 20.0) -> int:
        """The port that the process says it listens on."""
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0 and self._process.poll() is None:
            with contextlib.suppress(queue.Empty):
                if found := _READY.search(self._lines.get(timeout=min(left, 0.2))):
                    return int(found[1])
        raise NotStartedError(self.last_words())

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        return "".join(self._told[-5:]).strip() or "it said nothing"

    def cpu_s(self) -> float:
        """User and system time of the process and of all that it started."""
        return sum(_cpu_ticks(pid) for pid in self._pids()) / _TICKS

    def rss_mb(self) -> float:
        """Resident memory of the same."""
        return sum(_resident(pid) for pid in self._pids()) / 1e6

    def _pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        out, queue_ = [], [self._process.pid]
        while queue_:
            pid = queue_.pop()
            out.append(pid)
            queue_ += children.get(pid, [])
        return out

    def stop(self) -> None:
        """End the process and all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(3)
                break
        self._listener.join(3)
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def running(
    command: Sequence[str], cores: set[int], environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    process = Process(command, cores, environment)
    try:
        yield process
    finally:
        process.stop()


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) if fields else 0  # with those of children that have ended


def _resident(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE if fields else 0
