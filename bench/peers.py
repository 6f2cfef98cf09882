"""Other gateways, each in an environment of its own below ``.peers``.

``python -m bench.peers`` installs those that are not there yet. What cannot be
installed or started is left out of the comparison, with a line that says so.
"""

import socket
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from . import exchanges

FOLDER: Final = Path(__file__).parents[1] / ".peers"


@dataclass(frozen=True)
class Peer:
    """A gateway from the package index; ``command`` starts it on a port, before an upstream."""

    name: str
    requirement: str
    command: Callable[[Path, int, int], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    health: str = "/health"

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def is_installed(self) -> bool:
        return (self.folder / "installed").exists()

    def install(self) -> None:
        venv.create(self.folder, with_pip=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, self.requirement], check=True)
        (self.folder / "installed").touch()

    def version(self) -> str:
        name = self.requirement.partition("[")[0]
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        command = [str(self.python), "-c", code]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def free_port() -> int:
    """A port that nobody listens on, for servers that cannot choose one by themselves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _litellm(folder: Path, port: int, upstream: int) -> list[str]:
    model = """
  - model_name: {name}
    litellm_params:
      model: hosted_vllm/{name}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-none
"""
    names = [f"{exchanges.MODEL}-{how}" for how in ("plain", "burst", "drip", "hold")]
    config = folder / "config.yaml"
    config.write_text(
        "model_list:"
        + "".join(model.format(name=name, upstream=upstream) for name in names)
        + "router_settings:\n  num_retries: 0\nlitellm_settings:\n  telemetry: false\n"
    )
    return [
        str(folder / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", "1",
    ]  # fmt: skip


def _vllm_router(folder: Path, port: int, upstream: int) -> list[str]:
    return [
        str(folder / "bin" / "vllm-router"), "--host", "127.0.0.1", "--port", str(port),
        "--log-level", "error", "--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin",
        "--prometheus-port", str(free_port()),
    ]  # fmt: skip


def _sglang_router(folder: Path, port: int, upstream: int) -> list[str]:
    return [
        str(folder / "bin" / "sglang-router"), "launch", "--host", "127.0.0.1", "--port", str(port),
        "--log-level", "error", "--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin",
        "--prometheus-port", str(free_port()),
    ]  # fmt: skip


PEERS: Final = (
    Peer(
        "litellm",
        "litellm[proxy]",
        _litellm,
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_MASTER_KEY": "sk-bench",
        },
        "/health/liveliness",
    ),
    Peer("vllm-router", "vllm-router", _vllm_router),
    Peer("sglang-router", "sglang-router", _sglang_router),
)


def main() -> int:
    """Install what is missing."""
    failed = 0
    for peer in PEERS:
        if not peer.is_installed():
            try:
                peer.install()
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{peer.name}: not installed: {error}", file=sys.stderr)
                failed = 1
                continue
        print(f"{peer.name} {peer.version()}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
