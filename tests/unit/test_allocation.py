"""serving.allocation: what the C library is told."""

import ctypes
from types import SimpleNamespace

import pytest

from serving import allocation


def test_freed_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        told.append((name, value))
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(mallopt=mallopt))
    assert allocation.keep_freed_memory()
    assert told == [(-1, 8_388_608), (-3, 8_388_608)]  # as <malloc.h> numbers them


@pytest.mark.parametrize("fault", [OSError, TypeError, AttributeError])
def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, fault: type[Exception]) -> None:
    def library(_name: None) -> object:
        raise fault

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert not allocation.keep_freed_memory()
