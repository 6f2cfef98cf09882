"""The gateway in front of the server that a module starts, its fixture ``vllm``, and a client of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from openai import OpenAI

from recording.server import Server

ROOT: Final = Path(__file__).parents[2]
GONE_WITHIN_S: Final = 20.0


@pytest.fixture(scope="module", params=["httptools", "aiohttp"])
def gateway_url(
    vllm: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    config = tmp_path_factory.mktemp("gateway") / "config.json"
    key = {"name": "real", "value": "", "models": ["*"], "weight": 1, "vllm_key_config": {"url": vllm.url}}
    config.write_text(json.dumps({"providers": {"vllm": {"keys": [key]}}}))
    command = [sys.executable, "gateway.py", "serve", "--config", str(config), "--port", "0"]
    command += ["--transport", request.param]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3]
        process.terminate()
        assert process.wait(GONE_WITHIN_S) == 0


@pytest.fixture
def client(gateway_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway_url}/v1", api_key="unused", max_retries=0) as client:
        yield client
