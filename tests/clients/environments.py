"""``python -m tests.clients.environments``: makes the environments of the clients that are missing."""

import subprocess
import venv
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / ".clients"
CLIENTS: Final = {
    "openai-1": "openai<2",
    "openai-2": "openai<3",
    "openai-newest": "openai",
    "openai-agents": "openai-agents",
}


def make(name: str, requirement: str) -> None:
    """Leaves a folder alone that is complete already."""
    folder = FOLDER / name
    ready = folder / ".ready"
    if ready.exists():
        return
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, requirement], check=True)
    ready.touch()


if __name__ == "__main__":
    for each in CLIENTS.items():
        make(*each)
