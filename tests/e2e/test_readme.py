"""What the README shows is what happens, on the bundled recordings."""

import contextlib
import doctest
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import requests

import gateway
from routing import config
from tests.e2e.conftest import Serve
from transports import Recordings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TRIED = re.findall(r"^\$ (curl .*?[}'\]][^\n]*)\n((?!    ).*?)^```$", README, re.DOTALL | re.MULTILINE)
PROGRAMS: list[str] = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture
def bundled(serve: Serve) -> str:
    return serve(gateway.RECORDED, Recordings.load(gateway.BUNDLED).newest())


def run_curl(command: str, url: str, http: requests.Session) -> str:
    """What a curl line prints, curl's own part done by requests."""
    words = shlex.split(command)
    (address,) = [word.replace(ADDRESS, url) for word in words if word.startswith(ADDRESS)]
    if "-F" in words:
        parts = [words[place + 1].partition("=") for place, word in enumerate(words) if word == "-F"]
        fields = {name: value for name, _, value in parts if name != "file"}
        (file,) = [value.removeprefix("@") for name, _, value in parts if name == "file"]
        path, _, kind = file.partition(";type=")
        upload = (Path(path).name, (ROOT / path).read_bytes(), kind)
        answer = http.post(address, data=fields, files={"file": upload})
    else:
        data = words[words.index("-d") + 1].encode() if "-d" in words else None
        answer = http.request("GET" if data is None else "POST", address, data=data)
    text = answer.content.decode()
    return json.dumps(json.loads(text), indent=4) + "\n" if "json.tool" in words else text


def test_there_are_lines_to_try() -> None:
    assert (len(TRIED), len(PROGRAMS)) == (12, 2)


@pytest.mark.parametrize(
    ("command", "shown"),
    TRIED,
    ids=[
        "chat",
        "stream",
        "responses",
        "error",
        "models",
        "model",
        "text",
        "vectors",
        "ranking",
        "speech",
        "speech stream",
        "unsupported",
    ],
)
def test_curl_lines_print_what_is_shown(
    command: str, shown: str, bundled: str, http: requests.Session
) -> None:
    printed = run_curl(command, bundled, http)
    assert doctest.OutputChecker().check_output(shown.strip(), printed.strip(), doctest.ELLIPSIS), printed


def test_the_library_programs_run_and_agree(bundled: str) -> None:
    names: dict[str, Any] = {}
    printed = []
    for program in PROGRAMS:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(program.replace("http://localhost:8000", bundled), names)  # noqa: S102 - our own README
        printed.append(out.getvalue())
    assert printed[0] == printed[1]
    first, *chunks = printed[0].splitlines()
    assert first == "Hello! How can I help you today?"
    assert chunks[-1] == "[{'index': 0, 'delta': {}, 'finish_reason': 'stop', 'logprobs': None}]"


def test_the_configuration_shown_can_be_loaded() -> None:
    (text,) = re.findall(r"^```json\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    loaded = config.load(json.loads(text), {})
    assert isinstance(loaded, config.Config)
    (key,) = loaded.keys
    assert (key.name, key.url, loaded.warnings) == ("vllm-local", "http://localhost:8000", ())
