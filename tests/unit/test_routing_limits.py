"""routing.limits: how much the gateway holds at a time."""

import pytest

from routing.limits import Concurrency, admit


@pytest.mark.parametrize(
    ("running", "waiting", "expected"),
    [
        pytest.param(0, 0, "run", id="nobody there"),
        pytest.param(2, 0, "run", id="one place left"),
        pytest.param(3, 0, "wait", id="no place left"),
        pytest.param(2, 1, "wait", id="nobody overtakes"),
        pytest.param(3, 1, "wait", id="room to wait"),
        pytest.param(3, 2, "refuse", id="no room to wait"),
        pytest.param(0, 2, "refuse", id="a queue that is about to move is still full"),
        pytest.param(300, 200, "refuse", id="limits that were lowered"),
    ],
)
def test_admit(running: int, waiting: int, expected: str) -> None:
    assert admit(Concurrency(running=3, waiting=2), running, waiting) == expected
