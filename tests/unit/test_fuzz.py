"""What fuzzing is made of works without the fuzzer: first inputs, changes to them, and what was found."""

import ast

import pytest

from fuzz.findings import FINDINGS
from fuzz.mutation import mutated
from fuzz.targets import TARGETS
from tests.contract.wheel import ROOT


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_inputs_of_a_target_and_changes_to_them_keep_its_promise(name: str) -> None:
    target = TARGETS[name]
    seeds = [b"", *target.seeds()]
    assert len(seeds) > 5
    for number, seed in enumerate(seeds[::5]):
        target.run(seed)
        target.run(mutated(seed, number))
        target.run(seed[: len(seed) // 2])


def test_a_change_is_one_of_json_and_the_same_every_time() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    changes = [mutated(event, seed) for seed in range(50)]
    assert changes == [mutated(event, seed) for seed in range(50)]
    assert len(set(changes)) > 25
    assert all(change.startswith(b"data: ") and change.endswith(b"\n\n") for change in changes)
    assert mutated(b"no JSON {", 1) == b"no JSON {"


def test_every_finding_has_its_test() -> None:
    tests = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {finding.test for finding in FINDINGS} <= tests
