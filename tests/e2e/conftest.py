"""A scripted server and a gateway in front of it, both on one event loop in a thread."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import requests

import gateway
from routing.config import Config, Key
from tests.e2e.loopback import LoopThread, Upstream
from transports import AsyncReplayTransport, Recordings

Serve = Callable[..., str]


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def upstream(loop_thread: LoopThread) -> Iterator[Upstream]:
    with Upstream(loop_thread) as server:
        yield server


@pytest.fixture
def serve(loop_thread: LoopThread) -> Iterator[Serve]:
    """Starts a gateway with a configuration and gives its address."""
    running = AsyncExitStack()

    def start(config: Config, recordings: Recordings | None = None, **options: Any) -> str:
        replay = None if recordings is None else AsyncReplayTransport(recordings, **options.pop("play", {}))
        app = gateway.application(config, replay, **options)
        port = loop_thread.run(running.enter_async_context(gateway.listening(app, "127.0.0.1", 0)))
        return f"http://127.0.0.1:{port}"

    yield start
    loop_thread.run(running.aclose())


@pytest.fixture
def url(serve: Serve, upstream: Upstream) -> str:
    """The address of a gateway whose one key, ``k``, leads to the scripted server."""
    return serve(Config(keys=(Key("k", "k", value="key-canary-1", url=upstream.url, models=("*",)),)))


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session
