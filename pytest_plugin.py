"""Fixtures of pytest that answer from recorded traffic of vLLM.

Loaded by pytest wherever the package is installed; the gateway and the
transports are imported when a test asks for them. The recordings are those of
the ini option ``bifrost_vllm_cassettes``, folders or files relative to the ini
file, and without it the ones that come with the package. For one test, class
or module, ``@pytest.mark.bifrost_vllm(cassettes=, timing=, faults=)`` sets
others (relative to the test's file), and how they are played.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    import types

    from transports import AsyncReplayTransport, Recordings, ReplayTransport, Timing

_BUNDLED: Final = Path(__file__).parent / "cassettes"
_MARKER: Final = (
    "bifrost_vllm(cassettes=None, timing='instant', faults=()): the recordings that the bifrost_vllm "
    "fixtures play, and how they play them"
)
_LOADED: Final = pytest.StashKey[dict[tuple[Path, ...], "Recordings"]]()
_GRACE_S: Final = 0.1


class ReplayGateway(NamedTuple):
    """A gateway that answers from recordings, at an address of its own."""

    url: str
    transport: "AsyncReplayTransport"

    @property
    def base_url(self) -> str:
        """What OpenAI's clients call the base URL."""
        return f"{self.url}/v1"

    @property
    def unplayed(self) -> tuple[str, ...]:
        """The names of the recordings that answered nothing yet."""
        return self.transport.unplayed


class _Settings(NamedTuple):
    """What the marker says."""

    cassettes: str | Path | Sequence[str | Path] | None = None
    timing: "Timing" = "instant"
    faults: str | Sequence[str] = ()

    @property
    def play(self) -> dict[str, Any]:
        return {
            "timing": self.timing,
            "faults": [self.faults] if isinstance(self.faults, str) else self.faults,
        }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bifrost_vllm_cassettes", "folders or files of recordings to replay", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def bifrost_vllm_recordings(request: pytest.FixtureRequest) -> "Recordings":
    """The recordings that the other fixtures play."""
    given = _settings(request).cassettes
    if given is None:
        paths = tuple(request.config.getini("bifrost_vllm_cassettes")) or (_BUNDLED,)
    else:
        paths = tuple(
            request.path.parent / each for each in ([given] if isinstance(given, str | Path) else given)
        )
    loaded = request.config.stash.setdefault(_LOADED, {})
    if paths not in loaded:
        loaded[paths] = _transports().Recordings.load(*paths).newest()
    return loaded[paths]


@pytest.fixture
def bifrost_vllm_transport(
    request: pytest.FixtureRequest, bifrost_vllm_recordings: "Recordings"
) -> "ReplayTransport":
    """A transport that replays."""
    transport: ReplayTransport = _transports().ReplayTransport(
        bifrost_vllm_recordings, **_settings(request).play
    )
    return transport


@pytest.fixture
def bifrost_vllm_async_transport(
    request: pytest.FixtureRequest, bifrost_vllm_recordings: "Recordings"
) -> "AsyncReplayTransport":
    """An asynchronous transport that replays."""
    transport: AsyncReplayTransport = _transports().AsyncReplayTransport(
        bifrost_vllm_recordings, **_settings(request).play
    )
    return transport


@pytest.fixture
def bifrost_vllm_gateway(bifrost_vllm_async_transport: "AsyncReplayTransport") -> Iterator[ReplayGateway]:
    """A gateway that replays, listening on a free port of this machine, for one test."""
    with _serving(bifrost_vllm_async_transport) as url:
        yield ReplayGateway(url, bifrost_vllm_async_transport)


def _settings(request: pytest.FixtureRequest) -> _Settings:
    marker = request.node.get_closest_marker("bifrost_vllm")
    try:
        return _Settings(*marker.args, **marker.kwargs) if marker else _Settings()
    except TypeError as error:
        raise pytest.UsageError(f"the marker bifrost_vllm: {error}") from None


@contextmanager
def _serving(replay: "AsyncReplayTransport") -> Iterator[str]:
    """A gateway at work on an event loop in a thread; gives its address."""
    import asyncio
    import threading
    from concurrent.futures import Future

    gateway = _gateway()
    ready: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        app = gateway.application(gateway.RECORDED, replay)
        try:
            async with gateway.listening(app, "127.0.0.1", 0, _GRACE_S) as port:
                ready.set_result((port, asyncio.get_running_loop(), stop))
                await stop.wait()
        except OSError as error:
            ready.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="replay gateway", daemon=True)
    thread.start()
    port, loop, stop = ready.result()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _transports() -> "types.ModuleType":
    if TYPE_CHECKING or not __package__:  # in a checkout
        import transports
    else:  # installed
        from . import transports
    return transports


def _gateway() -> "types.ModuleType":
    if TYPE_CHECKING or not __package__:
        import gateway
    else:
        from . import gateway
    return gateway
