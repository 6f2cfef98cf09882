"""A real vLLM on this machine's processor, for as long as a ``with`` block."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

MODEL: Final = "tiny/chat"
CHAT_FLAGS: Final = (
    *("--max-model-len", "1024"),
    *("--max-num-seqs", "8"),
    *("--reasoning-parser", "qwen3"),
    "--enable-auto-tool-choice",
    *("--tool-call-parser", "hermes"),
    "--enable-prompt-tokens-details",
)
ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
READY_WITHIN_S: Final = 240.0
GONE_WITHIN_S: Final = 20.0


class ServerError(Exception):
    """The server did not start; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its address, the process that answers, its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def engine(self) -> int:
        """The process id of the engine, a child that does the computing."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = status.read_text()
                title = (status.parent / "cmdline").read_bytes()
            except OSError:
                continue  # it ended while we looked
            parent = int(text.rpartition(")")[2].split()[1])
            if parent == self.process.pid and b"EngineCore" in title:
                return int(status.parent.name)
        raise ServerError("no engine process found below the server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    python: Path, models: Path, log: Path, flags: Sequence[str] = CHAT_FLAGS, api_key: str = ""
) -> Iterator[Server]:
    """Serve ``models/chat``; ends when the block ends, whatever happens in it.

    ``python`` is the interpreter that has vLLM. The server is started inside
    ``models`` and told the bare name of the directory, since it repeats what
    it is told in its answers.
    """
    port = free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", "./chat"]
    command += [
        "--served-model-name",
        MODEL,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--enforce-eager",
        *flags,
    ]
    environment = os.environ | ENVIRONMENT | ({"VLLM_API_KEY": api_key} if api_key else {})
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=models,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            _wait(server)
            yield server
        finally:
            _stop(process)


def _wait(server: Server) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if requests.get(f"{server.url}/health", timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    tail = server.log.read_text(errors="replace")[-3000:]
    raise ServerError(f"the server did not become ready; its log ends with:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and the group of processes that it leads."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(GONE_WITHIN_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
