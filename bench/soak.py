"""A soak: hundreds of streams at once over two servers that fail, to clients that leave.

One of the servers is killed and revived twice and stalls once. What must hold:
every request ends in an answer or an error, no stream has two ends, the
gateway's memory is flat, and in the end nothing is open and nothing runs.

``python -m bench.soak`` takes five minutes and writes what it saw to docs/soak.md.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httptools
import uvloop

from . import exchanges
from .peers import free_port
from .processes import OTHER_CORES, TARGET_CORE, Process

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs" / "soak.md"
BEGIN: Final = "<!-- written by python -m bench.soak: begin -->"
END: Final = "<!-- written by python -m bench.soak: end -->"

TICK_S: Final = 0.1
SILENCE_S: Final = 30.0
"""After so long without a byte a request counts as not answered. The gateway gives up far earlier."""

LEAVE: Final = 0.3
WHOLE: Final = 0.1
"""The shares of requests whose client leaves, and that are not streamed."""

EVENTS: Final = ("kill", "revive", "stall", "resume", "kill", "revive")
AT: Final = (0.20, 0.30, 0.45, 0.55, 0.70, 0.80)
"""What happens to the first server, and when, in shares of the whole time."""

WARM: Final = (0.35, 0.45)
LATE: Final = (0.90, 1.00)
"""When memory is looked at, in shares of the whole time: after the first death of a server, and after the
last. A death makes a peak of connections, which the allocator remembers; a second one must not add to it."""

GROWTH: Final = 1.05
"""Between the two, memory may grow by this factor."""

_DRAIN_S: Final = 30.0
_ACTIVE: Final = re.compile(rb"^bifrost_active_requests\{[^}]*\} (\S+)$", re.MULTILINE)


class Answer:
    """One answer as it is read, and how it ended."""

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self.begun = False
        self.ends: list[str] = []
        self.follows = False
        self.events = 0
        self._tail = b""
        self._streamed = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self.begun = True
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._tail += data
        if self._streamed:
            *frames, self._tail = self._tail.split(b"\n\n")
            for frame in frames:
                self._event(frame)

    def _event(self, frame: bytes) -> None:
        self.events += 1
        self.follows = bool(self.ends)
        if frame == b"data: [DONE]":
            self.ends.append("finished")
        elif b'"choices"' not in frame and "error" in json.loads(frame.removeprefix(b"data: ")):
            self.ends.append("broken off, with an error")

    def on_message_complete(self) -> None:
        self.complete = True

    def verdict(self) -> tuple[str, bool]:
        """How it ended, and whether that is as it should be."""
        if not self.begun:
            return "no answer", False
        if self._streamed:
            if len(self.ends) > 1 or self.follows:
                return "two ends", False
            if not self.ends or self._tail or not self.complete:
                return "cut off without a word", False
            return self.ends[0], True
        if not self.complete:
            return "cut off without a word", False
        document = json.loads(self._tail)
        if self.status == 200:
            return ("finished, not streamed", True) if "choices" in document else ("no completion", False)
        return (f"refused with {self.status}", True) if "error" in document else ("no error", False)


@dataclass
class Soak:
    """What came of it. ``held`` are samples of memory in MB and of open sockets, by second."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    held: list[tuple[float, float, int]] = field(default_factory=list)

    def ended(self, answer: Answer) -> None:
        outcome, good = answer.verdict()
        self.events += answer.events
        self.outcomes[outcome] += 1
        if not good:
            self.faults[outcome] += 1

    def memory(self, seconds: float, window: tuple[float, float]) -> float:
        """The mean of a part of the time."""
        begin, end = (seconds * share for share in window)
        samples = [held for at, held, _ in self.held if begin <= at <= end]
        return sum(samples) / len(samples)


class Server:
    """One stand-in, on a port that it keeps through its deaths."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = self._started()

    def _started(self) -> Process:
        command = [sys.executable, "-m", "bench.upstream", "--port", str(self.port), "--tick", str(TICK_S)]
        process = Process(command, OTHER_CORES)
        process.port()
        return process

    def suffer(self, event: str) -> None:
        match event:
            case "kill":
                os.kill(self._process.pid, signal.SIGKILL)
            case "revive":
                self._process.stop()
                self._process = self._started()
            case "stall":
                os.kill(self._process.pid, signal.SIGSTOP)
            case "resume":
                os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)
        self._process.stop()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--write", action="store_true", help="write docs/soak.md however short the soak is")
    options = parser.parse_args(argv)
    lines, good = uvloop.run(_soaked(options.minutes * 60, options.streams))
    print("\n".join(lines))
    if options.write or options.minutes >= 5:
        _write_docs(lines, options.minutes, options.streams)
    return 0 if good else 1


async def _soaked(seconds: float, streams: int) -> tuple[list[str], bool]:
    os.sched_setaffinity(0, OTHER_CORES)
    soak = Soak()
    with ExitStack() as stack:
        first, second = Server(), Server()
        stack.callback(first.stop)
        stack.callback(second.stop)
        gateway = _gateway((first, second), streams)
        stack.callback(gateway.stop)
        port = gateway.port()
        sockets_before = _sockets(gateway.pid)
        began = time.monotonic()
        watching = asyncio.ensure_future(_watch(gateway, soak, began))
        fate = asyncio.ensure_future(_fate(first, seconds))
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(_client(port, began + seconds, soak))
        await fate
        watching.cancel()
        at_once = Soak()  # if places, connections or turns had leaked, these would not all be served
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(_ask(port, at_once, exchanges.chat_request("plain"), None))
        drained_s, active, sockets = await _drained(port, gateway.pid, sockets_before)
        alive = gateway.is_running()
    warm, late = soak.memory(seconds, WARM), soak.memory(seconds, LATE)
    tenths = [soak.memory(seconds, (number / 10, (number + 1) / 10)) for number in range(10)]
    most = max(number for _, _, number in soak.held)
    checks = [
        (
            "every request had an answer or an error, and no stream two ends",
            not soak.faults,
            f"{dict(soak.faults)}",
        ),
        ("memory was flat", late <= warm * GROWTH, f"{warm:.1f} MB, then {late:.1f} MB"),
        ("no request is left", active == 0, f"{active:g}"),
        ("no connection is left", sockets <= sockets_before, f"{sockets_before} before, {sockets} after"),
        (
            f"afterwards, {streams} requests at once are all answered",
            at_once.outcomes == {"finished, not streamed": streams},
            f"{dict(at_once.outcomes)}",
        ),
        ("the gateway still runs", alive, ""),
    ]
    lines = [
        "| | |",
        "| --- | --- |",
        f"| when | {datetime.now(UTC):%Y-%m-%d}, load of the machine {os.getloadavg()[1]:.1f} |",
        f"| requests | {soak.outcomes.total():,} |",
        *(f"| ... {outcome} | {number:,} |" for outcome, number in soak.outcomes.most_common()),
        f"| events relayed | {soak.events:,} |",
        f"| sockets of the gateway, at most | {most:,} |",
        f"| memory, tenth by tenth of the time | {', '.join(f'{held:.0f}' for held in tenths)} MB |",
        f"| memory, {WARM[0]:.0%} to {WARM[1]:.0%} of the time | {warm:.1f} MB |",
        f"| memory, {LATE[0]:.0%} to {LATE[1]:.0%} of the time | {late:.1f} MB |",
        f"| back at rest after | {drained_s:.1f} s |",
        *(f"| {what} | {'yes' if good else f'**no**: {detail}'} |" for what, good, detail in checks),
    ]
    return lines, all(good for _, good, _ in checks)


def _gateway(servers: Sequence[Server], streams: int) -> Process:
    keys = [
        {
            "name": f"server-{number}",
            "value": "sk-soak",
            "models": ["*"],
            "vllm_key_config": {"url": f"http://127.0.0.1:{server.port}"},
        }
        for number, server in enumerate(servers)
    ]
    network = {
        "max_retries": 3,
        "retry_backoff_initial": 100,
        "retry_backoff_max": 1000,
        "stream_idle_timeout_in_seconds": 5,
        "first_event_timeout_in_seconds": 5,
        "default_request_timeout_in_seconds": 20,
    }
    vllm = {
        "keys": keys,
        "network_config": network,
        "concurrency_and_buffer_size": {"concurrency": streams, "buffer_size": streams},
        "key_selection": {"strategy": "power_of_two_choices", "cooldown_seconds": 2},
    }
    config = ROOT / "build" / "soak.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({"providers": {"vllm": vllm}}))
    command = [sys.executable, "gateway.py", "serve", "--config", str(config), "--port", "0"]
    return Process(command, TARGET_CORE)


async def _fate(server: Server, seconds: float) -> None:
    began = time.monotonic()
    for event, share in zip(EVENTS, AT, strict=True):
        await asyncio.sleep(max(0.0, began + share * seconds - time.monotonic()))
        print(f"{time.monotonic() - began:.0f} s: {event}", file=sys.stderr, flush=True)
        await asyncio.to_thread(server.suffer, event)


async def _client(port: int, end: float, soak: Soak) -> None:
    """Ask, and ask again, until the time is over."""
    await asyncio.sleep(random.random())  # noqa: S311 - load, not secrets
    while time.monotonic() < end:
        streamed = random.random() >= WHOLE  # noqa: S311
        request = exchanges.chat_request("drip", stream=True) if streamed else exchanges.chat_request("plain")
        stay_s = None
        if random.random() < LEAVE:  # noqa: S311
            stay_s = random.random() * TICK_S * exchanges.EVENTS if streamed else 0.001  # noqa: S311
        await _ask(port, soak, request, stay_s)


async def _ask(port: int, soak: Soak, body: bytes, stay_s: float | None) -> None:
    """One request on a connection of its own; the client leaves after ``stay_s``, if it is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    answer = Answer()
    leaving = False
    try:
        async with asyncio.timeout(stay_s) as stay:
            try:
                while data := await asyncio.wait_for(reader.read(65_536), SILENCE_S):
                    answer.feed(data)
            except TimeoutError:
                if stay.expired():
                    raise
    except TimeoutError:
        leaving = True
    except ConnectionError:
        pass  # the verdict tells whether the answer was whole
    finally:
        writer.transport.abort()
    if leaving and len(answer.ends) < 2 and not answer.follows:
        soak.events += answer.events
        soak.outcomes["left by the client"] += 1
    else:
        soak.ended(answer)


async def _watch(gateway: Process, soak: Soak, began: float) -> None:
    while True:
        soak.held.append((time.monotonic() - began, gateway.rss_mb(), _sockets(gateway.pid)))
        await asyncio.sleep(0.5)


async def _drained(port: int, pid: int, sockets_before: int) -> tuple[float, float, int]:
    """Wait until nothing is open any more; seconds, active requests and sockets in the end."""
    began = time.monotonic()
    while True:
        active = await asyncio.to_thread(_active, port)
        await asyncio.sleep(0.2)
        sockets = _sockets(pid)
        took_s = time.monotonic() - began
        if (active == 0 and sockets <= sockets_before) or took_s > _DRAIN_S:
            return took_s, active, sockets


def _active(port: int) -> float:
    """What ``/metrics`` says, without the request that asks."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"connection": "close"})
    with urllib.request.urlopen(request, timeout=SILENCE_S) as answer:
        return sum(map(float, _ACTIVE.findall(answer.read()))) - 1


def _sockets(pid: int) -> int:
    """How many sockets a process has open, of any kind."""
    number = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            number += str(entry.readlink()).startswith("socket:")
        except OSError:  # closed meanwhile
            continue
    return number


def _write_docs(lines: Sequence[str], minutes: float, streams: int) -> None:
    """Put the table between the markers of the docs."""
    before, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    said = f"`python -m bench.soak --minutes {minutes:g} --streams {streams}`:"
    DOCS.write_text("\n".join([before + BEGIN, "", said, "", *lines, "", END + after]))


if __name__ == "__main__":
    sys.exit(main())
