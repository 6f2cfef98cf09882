"""serving.backlog: the first at once, the others together, none lost."""

import asyncio
from collections.abc import Callable, Sequence

from serving.backlog import Backlog


class Log:
    """Remembers what was worked off together."""

    def __init__(self) -> None:
        self.batches: list[Sequence[str]] = []
        self.twice = asyncio.Event()

    def __call__(self, items: Sequence[str]) -> None:
        self.batches.append(items)
        if len(self.batches) == 2:
            self.twice.set()


def worked_off(fill: Callable[[Backlog[str]], None], pause_s: float = 60.0) -> list[Sequence[str]]:
    async def work() -> list[Sequence[str]]:
        log = Log()
        backlog = Backlog(log, pause_s)
        fill(backlog)
        backlog.close()
        return log.batches

    return asyncio.run(work())


def add(*items: str) -> Callable[[Backlog[str]], None]:
    def fill(backlog: Backlog[str]) -> None:
        for item in items:
            backlog.add(item)

    return fill


def test_the_first_is_worked_off_at_once_and_the_rest_together() -> None:
    assert worked_off(add("a", "b", "c")) == [["a"], ["b", "c"]]


def test_without_a_pause_nothing_waits() -> None:
    assert worked_off(add("a", "b", "c"), 0.0) == [["a"], ["b"], ["c"]]


def test_what_waits_is_worked_off_without_being_asked() -> None:
    async def later() -> list[Sequence[str]]:
        log = Log()
        backlog = Backlog(log, 0.01)
        add("a", "b", "c")(backlog)
        await asyncio.wait_for(log.twice.wait(), 5)
        return log.batches

    assert asyncio.run(later()) == [["a"], ["b", "c"]]


def test_not_too_many_wait() -> None:
    items = [str(number) for number in range(130)]
    assert worked_off(add(*items)) == [items[:1], items[1:65], items[65:129], items[129:]]


def test_what_must_not_wait_takes_along_what_came_before() -> None:
    def fill(backlog: Backlog[str]) -> None:
        add("a", "b")(backlog)
        backlog.add("c", at_once=True)
        backlog.add("d")

    assert worked_off(fill) == [["a"], ["b", "c"], ["d"]]


def test_who_clears_finds_nothing_waiting() -> None:
    def fill(backlog: Backlog[str]) -> None:
        add("a", "b")(backlog)
        backlog.clear()
        backlog.clear()

    assert worked_off(fill) == [["a"], ["b"]]


def test_nothing_waits_once_it_is_closed() -> None:
    def fill(backlog: Backlog[str]) -> None:
        add("a", "b")(backlog)
        backlog.close()
        add("c", "d")(backlog)

    assert worked_off(fill) == [["a"], ["b"], ["c"], ["d"]]
