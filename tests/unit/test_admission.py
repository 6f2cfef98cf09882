"""serving.admission: who runs, who waits, and how much is read for those who do not run yet."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack

import pytest

from routing.limits import Concurrency
from serving.admission import Admission, FullError, Turn


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


async def taken(admission: Admission, within: ExitStack) -> Turn:
    turn = within.enter_context(admission.turn())
    await turn.take()
    return turn


def test_who_only_sends_keeps_nobody_from_running() -> None:
    async def work() -> None:
        admission = Admission(Concurrency(1, 1))
        with ExitStack() as within:
            for _ in range(10):
                slow = within.enter_context(admission.turn())
                assert slow.fits(1_000)
            assert (admission.running, admission.held) == (0, 10_000)
            with ExitStack() as another:
                await taken(admission, another)
                assert admission.running == 1
        assert (admission.running, admission.held) == (0, 0)

    run(work())


def test_what_is_held_for_those_who_do_not_run_is_bounded() -> None:
    async def work() -> None:
        admission = Admission(Concurrency(1, 1), held_limit=100)
        with ExitStack() as within:
            first = within.enter_context(admission.turn())
            second = within.enter_context(admission.turn())
            assert first.fits(60)
            assert not second.fits(60)
            await second.take()  # what it has is bounded by the number of those who run now
            assert admission.held == 60
            assert second.fits(1_000_000)
            assert first.fits(40)
            assert not first.fits(1)
        assert (admission.running, admission.held) == (0, 0)

    run(work())


def test_a_request_is_sent_away_at_once_when_there_is_no_room() -> None:
    async def work() -> None:
        admission = Admission(Concurrency(1, 1))
        with ExitStack() as within:
            early = within.enter_context(admission.turn())
            await taken(admission, within)
            waiting = asyncio.ensure_future(early.take())
            await asyncio.sleep(0)
            with pytest.raises(FullError):
                within.enter_context(admission.turn())
            waiting.cancel()
            await asyncio.wait({waiting})
            within.enter_context(admission.turn())

    run(work())


def test_a_place_is_handed_over_in_the_order_of_waiting_and_taken_once() -> None:
    async def work() -> None:
        admission = Admission(Concurrency(1, 9))
        order: list[int] = []

        async def ask(number: int) -> None:
            with admission.turn() as turn:
                await turn.take()
                await turn.take()
                order.append(number)

        with ExitStack() as within:
            await taken(admission, within)
            asking = [asyncio.ensure_future(ask(number)) for number in range(5)]
            await asyncio.sleep(0)
            asking[1].cancel()
            await asyncio.sleep(0)
            assert order == []
        await asyncio.gather(*asking, return_exceptions=True)
        assert order == [0, 2, 3, 4]
        assert admission.running == 0

    run(work())
