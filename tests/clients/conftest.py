"""Gateways for the clients, what the clients made of them, and the page that tells of it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

import gateway as served
from tests.clients import driving, page
from tests.clients.clients import CLIENTS, FAULTS, Client, Way
from tests.e2e.loopback import LoopThread, Upstream
from transports import AsyncReplayTransport, Recordings

PAGE: Final = driving.ROOT / "docs" / "clients.md"
GRACE_S: Final = 0.1

Report = dict[str, Any]


@pytest.fixture(scope="session")
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def bundled() -> Iterator[str]:
    with driving.gateway() as url:
        yield url


@pytest.fixture(scope="session")
def conversations() -> Iterator[str]:
    """A gateway over the conversations that were recorded with these programs."""
    with driving.gateway("--replay", str(driving.CASSETTES / "conversations")) as url:
        yield url


@pytest.fixture(scope="session")
def upstream(thread: LoopThread) -> Iterator[Upstream]:
    with Upstream(thread) as server:
        yield server


@pytest.fixture(scope="session")
def troubled(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway before the scripted server."""
    with driving.before(upstream.url, tmp_path_factory.mktemp("gateway")) as url:
        yield url


@pytest.fixture(scope="session")
def report_of(request: pytest.FixtureRequest, thread: LoopThread) -> Iterator[Callable[[Client], Report]]:
    """What a client made of a gateway over its recordings, and of those that spoil every answer.

    All clients of the session are driven at once, as many at a time as there are processors.
    """

    async def opened(stack: AsyncExitStack, recordings: Recordings, *faults: str) -> str:
        app = served.application(served.RECORDED, AsyncReplayTransport(recordings, faults=faults))
        port = await stack.enter_async_context(served.listening(app, "127.0.0.1", 0, GRACE_S))
        return f"http://127.0.0.1:{port}"

    def report(client: Client) -> Report:
        recordings = Recordings.load(driving.CASSETTES / client.recordings)
        stack = AsyncExitStack()
        try:
            urls: dict[Way, str] = {way: thread.run(opened(stack, recordings)) for way in client.ways}
            faults = {name: thread.run(opened(stack, recordings, fault)) for name, fault in FAULTS.items()}
            return driving.tried(client, urls, driving.every_task(), faults)
        finally:
            thread.run(stack.aclose())

    specs = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {
        spec.params["client"].name: spec.params["client"]
        for spec in specs
        if spec and "client" in spec.params
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = {
            client.name: pool.submit(report, client)
            for client in asked.values()
            if not driving.missing(client)
        }

        def report_of(client: Client) -> Report:
            if client.name not in found:
                pytest.skip(driving.missing(client))
            return found[client.name].result()

        yield report_of


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Renews docs/clients.md, if all ran."""
    reports = [
        report
        for outcome in ("passed", "failed", "skipped", "error")
        for report in terminalreporter.getreports(outcome)
        if "tests/clients/" in getattr(report, "nodeid", "")
    ]
    outcomes = {
        tuple(value): report.outcome
        for report in reports
        for name, value in report.user_properties
        if name == page.CELL
    }
    versions = {client.name: driving.version(client) for client in CLIENTS if not driving.missing(client)}
    written = page.written(outcomes, versions)
    if isinstance(written, page.Incomplete):
        terminalreporter.write_line(f"{PAGE.relative_to(driving.ROOT)} is left as it is: {written.reason}")
    else:
        PAGE.write_text(written, "utf-8")
