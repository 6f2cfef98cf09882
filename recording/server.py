"""A real vLLM on this machine's processor, for as long as a ``with`` block."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import requests


class Served(NamedTuple):
    """A model as it is served: its folder, the name that requests call it by, the server's flags."""

    folder: str
    name: str
    flags: tuple[str, ...]


POOLING_FLAGS: Final = ("--runner", "pooling", "--max-model-len", "256")
CHAT: Final = Served(
    "chat",
    "tiny/chat",
    (
        *("--max-model-len", "1024"),
        *("--max-num-seqs", "8"),
        *("--reasoning-parser", "qwen3"),
        "--enable-auto-tool-choice",
        *("--tool-call-parser", "hermes"),
        "--enable-prompt-tokens-details",
    ),
)
EMBED: Final = Served("embed", "tiny/embed", POOLING_FLAGS)
RERANK: Final = Served("rerank", "tiny/rerank", POOLING_FLAGS)
TRANSCRIPTION: Final = Served(
    "transcription",
    "tiny/transcription",
    ("--max-model-len", "100", "--max-num-seqs", "2", "--max-num-batched-tokens", "2048"),
)
ADAPTER_FOLDER: Final = "adapter"
ADAPTER_NAME: Final = "tiny/adapter"
ADAPTER_RANK: Final = 8
SECOND_NAME: Final = "tiny/chat:latest"
ADAPTED_FLAGS: Final = (
    *("--served-model-name", CHAT.name, SECOND_NAME),
    *("--enable-lora", "--max-lora-rank", str(ADAPTER_RANK)),
    *("--lora-modules", f"{ADAPTER_NAME}=./{ADAPTER_FOLDER}"),
)
"""For the chat model under two names, and an adapter."""
OLDER_FLAGS: Final = ("--dtype", "float32")
"""What a version with narrower types has no code for: the model's heads are small."""
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
    """A running server: its address, the process that answers, its log, the key that it wants."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    api_key: str = field(default="", repr=False)

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
    python: Path, models: Path, log: Path, served: Served = CHAT, api_key: str = ""
) -> Iterator[Server]:
    """Serve a model; ends when the block ends, whatever happens in it.

    ``python`` is the interpreter that has vLLM. The server is started inside
    ``models`` and told the bare name of the folder, since it repeats what it is
    told in its answers.
    """
    port = free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    command += ["--model", f"./{served.folder}", "--served-model-name", served.name]
    command += ["--host", "127.0.0.1", "--port", str(port), *served.flags]
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
        server = Server(f"http://127.0.0.1:{port}", process, log, api_key)
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
