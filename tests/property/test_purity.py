"""What the source of translate/ and routing/ says about itself: it cannot reach the world."""

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = [path for package in ("translate", "routing") for path in sorted((ROOT / package).glob("*.py"))]

ALLOWED = {
    "base64", "binascii", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "decimal", "enum", "functools", "hashlib",
    "hmac", "ipaddress", "itertools", "json", "json.encoder", "math", "msgspec", "re", "shlex", "struct", "types", "typing",
    "typing_extensions", "urllib.parse",
}  # fmt: skip
"""Modules that compute and nothing else."""

FORBIDDEN_NAMES = {
    "__import__", "breakpoint", "compile", "eval", "exec", "globals", "hash", "id", "input", "locals", "open", "print",
    "setattr", "delattr", "vars",
}  # fmt: skip
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
CHANGERS = {"append", "add", "update", "setdefault", "pop", "clear", "extend", "remove", "insert", "discard"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every import as (dots, name); ``from . import a, b`` is two."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and node.module is None:
                yield from ((node.level, alias.name) for alias in node.names)
            else:
                yield node.level, node.module or ""


def neighbours(package: Path) -> Mapping[str, set[str]]:
    """Which module of a package imports which other."""
    names = {path.stem for path in package.glob("*.py")}
    return {
        path.stem: {name.split(".")[0] for level, name in imports(tree(path)) if level == 1} & names
        for path in package.glob("*.py")
    }


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_pure_module_imports_nothing_that_could_touch_the_world(path: Path) -> None:
    for level, name in imports(tree(path)):
        in_memory = name == "io" and path.name == "forms.py"  # its BytesIO
        assert level == 1 or (level == 0 and name in ALLOWED) or in_memory, name


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_pure_module_calls_nothing_that_acts(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            assert node.id not in FORBIDDEN_NAMES, f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "today", "utcnow"}, f"line {node.lineno}: a clock"
        assert not isinstance(node, ast.Global | ast.Await | ast.AsyncFunctionDef)


def annotations(module: ast.Module) -> Mapping[str, str]:
    """The names at the top of a module and what they are said to be."""
    return {
        statement.target.id: ast.unparse(statement.annotation)
        for statement in module.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_pure_module_has_no_state_of_its_own(path: Path) -> None:
    module, said = tree(path), annotations(tree(path))
    package = path.parent.name if path.stem == "__init__" else f"{path.parent.name}.{path.stem}"
    for name, value in vars(importlib.import_module(package)).items():
        if not name.startswith("__"):
            assert not isinstance(value, list | set | bytearray), f"{name} can change"
            assert not isinstance(value, dict) or name not in said or "Mapping" in said[name], (
                f"{name} can change"
            )
    assert all(kind.startswith("Final") for kind in said.values())
    for node in ast.walk(module):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            assert not (isinstance(node.value, ast.Name) and node.value.id in said), ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGERS:
            owner = node.func.value
            assert not (isinstance(owner, ast.Name) and owner.id in said), ast.unparse(node)


def is_set(node: ast.expr, sets: set[str]) -> bool:
    """Whether an expression is a set, as far as one can see."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in {"set", "frozenset"}
    if isinstance(node, ast.BinOp):
        return is_set(node.left, sets) or is_set(node.right, sets)
    return isinstance(node, ast.Set | ast.SetComp) or (isinstance(node, ast.Name) and node.id in sets)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_nothing_depends_on_the_order_of_a_set(path: Path) -> None:
    """That order differs from process to process."""
    nodes = list(ast.walk(tree(path)))
    sets: set[str] = set()
    for node in nodes:
        if (
            isinstance(node, ast.AnnAssign | ast.Assign)
            and node.value is not None
            and is_set(node.value, sets)
        ):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            sets |= {target.id for target in targets if isinstance(target, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.For | ast.comprehension):
            assert not is_set(node.iter, sets), ast.unparse(node.iter)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "list",
            "tuple",
            "dict.fromkeys",
            "iter",
            "next",
        }:
            assert not any(is_set(argument, sets) for argument in node.args), ast.unparse(node)
        if isinstance(node, ast.Starred):
            assert not is_set(node.value, sets), ast.unparse(node)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_nothing_is_remembered_from_call_to_call(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}
            tables = {"cache"} if path.name == "fields.py" else set()  # made of the types, once
            assert decorators <= {"property", "dataclass", "staticmethod", "classmethod"} | tables, node.name
        assert not isinstance(node, ast.Nonlocal), "a closure that changes"


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_no_default_of_a_parameter_can_be_changed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            assert not any(isinstance(default, (*MUTABLE, ast.Call)) for default in defaults), node.lineno


@pytest.mark.parametrize("package", ["translate", "transports", "routing"])
def test_modules_do_not_import_each_other_in_a_circle(package: str) -> None:
    waiting = dict(neighbours(ROOT / package))
    waiting.pop("__init__", None)
    while waiting:
        free = [name for name, wants in waiting.items() if not wants & set(waiting)]
        assert free, f"a circle among {sorted(waiting)}"
        for name in free:
            del waiting[name]


@pytest.mark.parametrize("package", ["translate", "transports", "routing"])
def test_packages_know_nothing_of_one_another(package: str) -> None:
    others = {"translate", "transports", "routing", "gateway", "recording", "tests", "bifrost_vllm"}
    for path in (ROOT / package).rglob("*.py"):
        for level, name in imports(tree(path)):
            assert level <= 1, f"{path}: relative import above the package"
            assert level or name.split(".")[0] not in others, f"{path} imports {name}"
