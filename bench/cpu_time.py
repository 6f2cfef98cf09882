"""How long a piece of work takes, in CPU time of this process."""

import statistics
import time
from collections.abc import Callable
from typing import Final

_REPEATS: Final = 9
_ASKED_S: Final = 0.05  # CPU time of one repeat, at least


def cpu_us(work: Callable[[], object], times: int = 1) -> float:
    """CPU time of one of the ``times`` things that ``work`` does, in microseconds: the median of repeats."""
    work()
    rounds, spent = 1, 0.0
    while (spent := _spent_s(work, rounds)) < _ASKED_S:
        rounds *= 2
    return (
        statistics.median([spent, *(_spent_s(work, rounds) for _ in range(_REPEATS))]) / rounds / times * 1e6
    )


def _spent_s(work: Callable[[], object], rounds: int) -> float:
    started = time.process_time()
    for _ in range(rounds):
        work()
    return time.process_time() - started
