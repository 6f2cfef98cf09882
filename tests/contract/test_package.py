"""The code does not care what it is called, and the wheel holds what it should."""

import ast
import importlib
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.wheel import INDEPENDENT, PACKAGES, ROOT, build


@pytest.fixture
def vendored() -> Iterator[str]:
    """The checkout under another name, as a gateway that copies it would have it."""
    package = types.ModuleType("vendored")
    package.__path__ = [str(ROOT)]
    sys.modules["vendored"] = package
    yield "vendored"
    for name in [name for name in sys.modules if name.partition(".")[0] == "vendored"]:
        del sys.modules[name]


def test_every_part_works_under_another_name(vendored: str) -> None:
    gateway = importlib.import_module(f"{vendored}.gateway")
    chat = importlib.import_module(f"{vendored}.translate.chat")
    assert gateway.translate.chat is chat
    assert {module.partition(".")[0] for module in _modules_of(gateway, chat)} == {vendored}


def _modules_of(*modules: types.ModuleType) -> set[str]:
    return {
        value.__module__
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type | types.FunctionType) and "site-packages" not in _file_of(value)
        if str(ROOT) in _file_of(value)
    }


def _file_of(value: type | types.FunctionType) -> str:
    module = sys.modules.get(value.__module__)
    return getattr(module, "__file__", None) or ""


@pytest.mark.parametrize("package", INDEPENDENT)
def test_packages_import_only_within_themselves(package: str) -> None:
    """Relative imports that stay inside, so that each can be copied or renamed."""
    strays = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            strays += [
                f"{path.name}: {name}" for name in names if name.partition(".")[0] in {*PACKAGES, "gateway"}
            ]
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                strays.append(f"{path.name}: leaves the package")
    assert strays == []


def test_the_wheel_holds_the_packages_the_gateway_and_the_recordings(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition(".dist-info/")[2] for name in archive.namelist()} - {""}
    expected = {"bifrost_vllm/gateway.py", "bifrost_vllm/pytest_plugin.py"}
    for package in PACKAGES:
        files = [*(ROOT / package).glob("*.py"), ROOT / package / "py.typed"]
        expected |= {f"bifrost_vllm/{package}/{path.name}" for path in files}
    recordings = (path for path in (ROOT / "cassettes").rglob("*") if path.is_file())
    expected |= {f"bifrost_vllm/{path.relative_to(ROOT).as_posix()}" for path in recordings}
    assert names == expected
    assert metadata == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    }


def test_the_wheel_is_the_same_bytes_whenever_it_is_built(wheel: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "source", tmp_path / "wheel", modified_s=1_000_000_000)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_installed_beside_another_package_named_translate_both_work(wheel: Path, tmp_path: Path) -> None:
    """PyPI has packages named translate and transports; ours must not touch them."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "translate").mkdir()
    (tmp_path / "translate" / "__init__.py").write_text("Translator = 'theirs'\n")
    script = (
        "import translate, bifrost_vllm.gateway, bifrost_vllm.translate as ours, bifrost_vllm.transports;"
        "print(translate.Translator, ours.OPERATIONS['chat_completion'].plan.__module__,"
        " bifrost_vllm.gateway.translate.__name__)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert outcome.stdout.split() == ["theirs", "bifrost_vllm.translate.chat", "bifrost_vllm.translate"]


def test_the_translators_load_without_an_http_library() -> None:
    script = (
        "import sys, translate, routing;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'aiohttp','requests','urllib3','asyncio'}))"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert outcome.stdout.strip() == "[]"
