"""An environment that cannot be made says why, and is made again when its pins change."""

import subprocess
from pathlib import Path

import pytest

from tests.clients import environments


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    requirements = tmp_path / "tests" / "clients" / "requirements"
    requirements.mkdir(parents=True)
    (requirements / "some.txt").write_text("some==1.0\n")
    monkeypatch.setattr(environments, "FOLDER", tmp_path / ".clients")
    monkeypatch.setattr(environments, "REQUIREMENTS", requirements)
    return requirements


def test_what_is_not_made_says_so() -> None:
    assert environments.missing("some") == ".clients/some is not made yet: make test-clients makes it"


def test_it_is_made_once_and_again_when_its_pins_change(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(environments, "_install", lambda _folder, pins: made.append(pins.read_text()))
    for _ in range(2):
        environments.make("some")
    assert environments.missing("some") == ""
    (folders / "some.txt").write_text("some==2.0\n")
    assert environments.missing("some") == ".clients/some is not made yet: make test-clients makes it"
    environments.make("some")
    assert made == ["some==1.0\n", "some==2.0\n"]


def test_what_cannot_be_made_tells_the_reason_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path, _pins: Path) -> None:
        raise subprocess.CalledProcessError(1, ["pip"], stderr="no matching distribution\n")

    monkeypatch.setattr(environments, "_install", refuse)
    environments.make("some")
    assert environments.missing("some") == (
        "tests/clients/requirements/some.txt cannot be installed here: no matching distribution; "
        "once the package index answers, make test-clients tries again"
    )
    monkeypatch.setattr(environments, "_install", lambda _folder, _pins: None)
    environments.make("some")
    assert environments.missing("some") == ""
