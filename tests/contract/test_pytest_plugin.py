"""The fixtures for pytest, as a project of somebody else has them: installed, and found by their entry point."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.wheel import ROOT

PAGE = (ROOT / "docs" / "record-and-replay.md").read_text()
OTHERS_OFF = [f"-pno:{name}" for name in ("cacheprovider", "xdist", "hypothesispytest", "anyio")]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> Run:
    """Writes files, runs pytest on them in a process of its own, and gives what became of it."""

    def run(files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-q", *OTHERS_OFF, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            check=False,
            capture_output=True,
            text=True,
        )

    return run


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_example_of_the_page_works_as_it_stands(project: Run, tmp_path: Path) -> None:
    (ini,), (example, _) = fenced("ini"), fenced("python")
    folder = "cassettes/chat_completion"
    kept = {f"{folder}/{file.name}": file.read_text() for file in (ROOT / folder).glob("hello@*")}
    ran = project({"pytest.ini": ini, "tests/test_client.py": example, **kept})
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


FIXTURES = """
import asyncio
from collections import namedtuple
from pathlib import Path

import pytest
import requests

Plan = namedtuple("Plan", "method path body")
A, B = Plan("GET", "/a", None), Plan("GET", "/b", None)


def test_by_default_the_recordings_of_the_package_are_played(bifrost_vllm_recordings):
    assert "chat_completion/hello@vllm-0.32.0" in {each.name for each in bifrost_vllm_recordings}


pytestmark_a = pytest.mark.bifrost_vllm(cassettes="a.yaml")


@pytestmark_a
def test_a_marker_names_others_beside_the_test(bifrost_vllm_transport):
    assert bifrost_vllm_transport.send(A).body == b"of a"
    assert bifrost_vllm_transport.send(B).status == 501
    assert bifrost_vllm_transport.unplayed == ()


@pytest.mark.bifrost_vllm(cassettes=["a.yaml", Path("b.yaml")], faults=["status=400,on=*/a", "status=500"])
class TestSeveral:
    def test_of_everything(self, bifrost_vllm_async_transport):
        async def statuses():
            return [(await bifrost_vllm_async_transport.send(plan)).status for plan in (A, B)]

        assert asyncio.run(statuses()) == [400, 500]

    @pytestmark_a
    def test_the_nearest_marker_holds(self, bifrost_vllm_transport):
        assert [bifrost_vllm_transport.send(plan).status for plan in (A, B)] == [200, 501]


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.bifrost_vllm(timing=0.5)
def test_every_test_has_a_gateway_of_its_own(bifrost_vllm_gateway, again):
    gateway = bifrost_vllm_gateway
    unplayed = len(gateway.unplayed)
    answer = requests.get(gateway.url + "/v1/models")
    assert answer.json()["data"][0]["id"] == "vllm/tiny/chat"
    assert gateway.base_url == gateway.url + "/v1"
    assert gateway.unplayed and len(gateway.unplayed) == unplayed - 1


@pytest.mark.bifrost_vllm(faults="stall-after=0")
def test_a_stall_does_not_outlast_its_test(bifrost_vllm_gateway):
    with pytest.raises(requests.Timeout):
        requests.get(bifrost_vllm_gateway.url + "/v1/models", timeout=0.1)
"""

CASSETTE = """
interactions:
- request: {{body: null, headers: {{}}, method: GET, uri: "http://localhost:8000/{0}"}}
  response: {{body: {{string: of {0}}}, headers: {{}}, status: {{code: 200, message: OK}}}}
version: 1
"""


def test_what_the_fixtures_give(project: Run) -> None:
    cassettes = {f"{name}.yaml": CASSETTE.format(name) for name in "ab"}
    ran = project({"test_it.py": FIXTURES, **cassettes}, "--strict-markers", "-W", "error")
    assert "7 passed" in ran.stdout, ran.stdout + ran.stderr


UNUSED = """
import sys


def test_nothing_but_the_plugin_is_loaded():
    ours = [name for name in sys.modules if name.startswith("bifrost_vllm.")]
    assert ours == ["bifrost_vllm.pytest_plugin"]
    assert not {"aiohttp", "yaml", "msgspec"} & set(sys.modules)
"""


def test_a_run_that_does_not_use_it_loads_nothing(project: Run) -> None:
    ran = project({"test_it.py": UNUSED})
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


WRONG = """
import pytest


@pytest.mark.bifrost_vllm(colour="red")
def test_wrong_marker(bifrost_vllm_transport):
    pass


@pytest.mark.bifrost_vllm(cassettes="nowhere")
def test_wrong_folder(bifrost_vllm_gateway):
    pass


@pytest.mark.bifrost_vllm(faults="explode")
def test_wrong_fault(bifrost_vllm_transport):
    pass
"""


def test_what_cannot_be_is_said(project: Run) -> None:
    ran = project({"test_it.py": WRONG})
    assert "3 errors" in ran.stdout
    for sentence in (
        r"UsageError: the marker bifrost_vllm: .*unexpected keyword argument 'colour'",
        r"No such file or directory: '.*nowhere'",
        r"ValueError: there is no fault 'explode'",
    ):
        assert re.search(sentence, ran.stdout), ran.stdout
