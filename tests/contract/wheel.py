"""The package as it is installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEPENDENT = ("translate", "transports", "routing")
PACKAGES = (*INDEPENDENT, "comparison", "serving")
MODULES = ("gateway.py", "pytest_plugin.py")


def build(source: Path, out: Path) -> Path:
    """The wheel, built from a copy in ``source`` so that parallel runs do not share a build folder."""
    for name in ("pyproject.toml", "README.md", "LICENSE", *MODULES, *PACKAGES, "cassettes"):
        _copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    else:
        for entry in source.iterdir():
            if entry.name != "__pycache__":
                _copy(entry, target / entry.name)
