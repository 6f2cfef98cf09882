"""What is loaded: the stand-in itself, the floors, the gateway in each of its forms, the peers."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import exchanges, peers
from .processes import OTHER_CORES, TARGET_CORE, NotStartedError, Process, running

ROOT: Final = Path(__file__).parents[1]
DIRECT: Final = "direct"
FLOOR: Final = "floor: aiohttp, passes on"
PARSING: Final = "floor: aiohttp, parses"
LEAN_FLOOR: Final = "floor: aiohttp over httptools"
GATEWAY: Final = "gateway, aiohttp"
LEAN: Final = "gateway, httptools"
LITELLM: Final = "litellm"
VLLM_ROUTER: Final = "vllm-router"
_PATIENCE_S: Final = 60.0


@dataclass
class Target:
    """A server that is up. ``ready_s`` is the wall time from its start to its first answer."""

    name: str
    port: int
    process: Process
    ready_s: float


Start = Callable[[ExitStack, int], tuple[Process, int]]


def _floor(kind: str) -> Start:
    def start(stack: ExitStack, upstream: int) -> tuple[Process, int]:
        command = [sys.executable, "-m", "bench.floors", kind, f"http://127.0.0.1:{upstream}"]
        process = stack.enter_context(running(command, TARGET_CORE))
        return process, process.port()

    return start


def configuration(upstream: int) -> Path:
    """A file that leads the gateway to the stand-in."""
    key = {"name": "bench", "value": "sk-bench", "weight": 1.0, "models": ["*"]}
    url = {"url": f"http://127.0.0.1:{upstream}"}
    config = ROOT / "build" / "bench.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({"providers": {"vllm": {"keys": [{**key, "vllm_key_config": url}]}}}))
    return config


def _gateway(transport: str) -> Start:
    def start(stack: ExitStack, upstream: int) -> tuple[Process, int]:
        config = configuration(upstream)
        command = [sys.executable, "gateway.py", "serve", "--config", str(config), "--port", "0"]
        if has_choice_of_transport():
            command += ["--transport", transport]
        elif transport != "aiohttp":
            raise NotStartedError("this gateway has no choice of transports")
        process = stack.enter_context(running(command, TARGET_CORE))
        return process, process.port()

    return start


def has_choice_of_transport() -> bool:
    """Whether ``gateway.py serve`` knows ``--transport``."""
    command = [sys.executable, "gateway.py", "serve", "--help"]
    return "--transport" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _peer(peer: peers.Peer) -> Start:
    def start(stack: ExitStack, upstream: int) -> tuple[Process, int]:
        if not peer.is_installed():
            raise NotStartedError("not installed: python -m bench.peers")
        port = peers.free_port()
        command = peer.command(peer.folder, port, upstream)
        process = stack.enter_context(running(command, TARGET_CORE, peer.environment))
        wait_for(process, f"http://127.0.0.1:{port}{peer.health}")
        return process, port

    return start


def wait_for(process: Process, url: str) -> None:
    """Return when ``url`` answers; raises ``NotStartedError``."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.is_running():
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise NotStartedError(process.last_words())


OURS: Final[dict[str, Start]] = {
    FLOOR: _floor("pass"),
    PARSING: _floor("parse"),
    LEAN_FLOOR: _floor("lean"),
    GATEWAY: _gateway("aiohttp"),
    LEAN: _gateway("httptools"),
}
THEIRS: Final[dict[str, Start]] = {peer.name: _peer(peer) for peer in peers.PEERS}


@contextmanager
def stand_in() -> Iterator[Target]:
    """The upstream, which is also the target ``direct``."""
    with running([sys.executable, "-m", "bench.upstream"], OTHER_CORES) as process:
        port = process.port()
        yield Target(DIRECT, port, process, time.perf_counter() - process.started)


@contextmanager
def started(name: str, start: Start, upstream: int) -> Iterator[Target]:
    """A target that answers; raises ``NotStartedError``."""
    with ExitStack() as stack:
        process, port = start(stack, upstream)
        answers(port, "/v1/chat/completions", exchanges.chat_request())
        yield Target(name, port, process, time.perf_counter() - process.started)


def answers(port: int, path: str, body: bytes) -> str:
    """Nothing when a request is answered with 200, else why not."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method="POST")
    request.add_header("content-type", "application/json")
    request.add_header("authorization", "Bearer sk-bench")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return f"answers {error.code} to {path}"
    except OSError as error:
        return f"does not answer {path}: {type(error).__name__}"
    return ""
