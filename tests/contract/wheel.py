"""The package as it is installed: ``python -m tests.contract.wheel`` builds it into ``dist``.

The same sources give the same bytes, whoever builds them, when and where.
"""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
INDEPENDENT = ("translate", "transports", "routing")
PACKAGES = (*INDEPENDENT, "comparison", "serving")
EPOCH = {"SOURCE_DATE_EPOCH": "1767225600"}
"""The time of everything in the wheel: the first second of 2026."""
MODULES = ("gateway.py", "pytest_plugin.py")


def build(source: Path, out: Path, modified_s: int | None = None) -> Path:
    """The wheel, built from a copy in ``source`` so that parallel runs do not share a build folder.

    The copy is as old as ``modified_s`` says, in seconds since 1970, or new.
    """
    for name in ("pyproject.toml", "README.md", "LICENSE", *MODULES, *PACKAGES, "cassettes"):
        _copy(ROOT / name, source / name)
    if modified_s is not None:
        for path in source.rglob("*"):
            os.utime(path, (modified_s, modified_s))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | EPOCH, umask=0o022)
    (path,) = out.glob("*.whl")
    return path


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o644)  # the wheel tells
    else:
        for entry in source.iterdir():
            if entry.name != "__pycache__":
                _copy(entry, target / entry.name)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        built = build(Path(folder, "source"), Path(folder, "wheel"))
        (ROOT / "dist").mkdir(exist_ok=True)
        kept = ROOT / "dist" / built.name
        kept.write_bytes(built.read_bytes())
    print(f"{sha256(kept.read_bytes()).hexdigest()}  {kept.relative_to(ROOT)}")  # noqa: T201
