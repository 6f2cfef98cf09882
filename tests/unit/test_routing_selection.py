"""routing.selection and routing.fleet: which key is picked, and what is remembered."""

from collections import Counter
from collections.abc import Sequence

import pytest

from routing.failures import Failed
from routing.fleet import Fleet, Rest
from routing.selection import Picked, for_session, pick, rested
from routing.settings import Key, Selection, Strategy

LIMITED = Failed({"is_bifrost_error": False, "status_code": 429, "error": {"message": "slow down"}})
REJECTED = Failed({"is_bifrost_error": False, "status_code": 401, "error": {"message": "Unauthorized"}})
BROKE = Failed({"is_bifrost_error": False, "status_code": 402, "error": {"message": "pay"}})
DOWN = Failed(
    {"is_bifrost_error": False, "status_code": 502, "error": {"message": "refused"}}, unreachable=True
)
BROKEN = Failed({"is_bifrost_error": False, "status_code": 500, "error": {"message": "boom"}})


def keys(*weights: float) -> list[Key]:
    """Keys a, b, c, … with these weights."""
    return [
        Key(name=name, id=name, url=f"http://{name}", models=("*",), weight=weight)
        for name, weight in zip("abcdefgh", weights, strict=False)
    ]


def sequence(strategy: Strategy, pool: Sequence[Key], count: int, sticky_limit: int = 0) -> str:
    """The ids picked by so many requests, one after the other."""
    selection, fleet, picked = Selection(strategy, sticky_limit), Fleet(), ""
    for _ in range(count):
        one = pick(pool, "m", selection, fleet, 0.0, 0.0)
        fleet = fleet.started(one.key, one.shares).ended(one.key)
        picked += one.key.id
    return picked


def counted(
    strategy: Strategy, pool: Sequence[Key], draws: int, fleet: Fleet | None = None
) -> dict[str, int]:
    """How often each key is picked when every possible draw comes once."""
    remembered = fleet or Fleet()
    chances = [(2 * draw + 1) / (2 * draws) for draw in range(draws)]
    found = (pick(pool, "m", Selection(strategy), remembered, chance, 0.0).key.id for chance in chances)
    return dict(Counter(found))


@pytest.mark.parametrize(
    ("weights", "draws", "expected"),
    [
        pytest.param((1, 1), 200, {"a": 100, "b": 100}, id="even"),
        pytest.param((0.7, 0.3), 100, {"a": 70, "b": 30}, id="as in Bifrost's documentation"),
        pytest.param((2, 1, 1), 400, {"a": 200, "b": 100, "c": 100}, id="double"),
        pytest.param((1, 0), 100, {"a": 100}, id="weight zero is a last resort"),
        pytest.param((0, 0), 100, {"a": 50, "b": 50}, id="nothing but last resorts"),
        pytest.param((1, 0.009), 100, {"a": 100}, id="less than a hundredth is zero"),
        pytest.param((0.009, 0.001), 100, {"a": 50, "b": 50}, id="all are less than a hundredth"),
        pytest.param((0.29, 0.71), 99, {"a": 28, "b": 71}, id="hundredths are cut off, as Go cuts"),
    ],
)
def test_by_weight(weights: tuple[float, ...], draws: int, expected: dict[str, int]) -> None:
    assert counted("weighted_random", keys(*weights), draws) == expected


@pytest.mark.parametrize("chance", [0.0, 0.999_999_999_999_999_9, 1.0])
@pytest.mark.parametrize("strategy", ["weighted_random", "power_of_two_choices"])
def test_the_ends_of_chance(strategy: Strategy, chance: float) -> None:
    assert pick(keys(1, 0.5, 0.25), "m", Selection(strategy), Fleet(), chance, 0.0).key.id in {"a", "b", "c"}


@pytest.mark.parametrize(
    ("weights", "sticky_limit", "expected"),
    [
        pytest.param((1, 1, 1), 0, "abcabc", id="in order"),
        pytest.param((2, 1), 0, "abaaba", id="in proportion, and smoothly"),
        pytest.param((1, 0, 1), 0, "acacac", id="weight zero is skipped"),
        pytest.param((0, 0), 0, "ababab", id="nothing but last resorts"),
        pytest.param((1, 1), 3, "aaabbba", id="so many in a row"),
        pytest.param((1, 1), 1, "abab", id="one in a row is none"),
    ],
)
def test_in_turn(weights: tuple[float, ...], sticky_limit: int, expected: str) -> None:
    assert sequence("round_robin", keys(*weights), len(expected), sticky_limit) == expected


def test_a_streak_ends_when_its_key_fails() -> None:
    selection, pool = Selection("round_robin", sticky_limit=5, cooldown_s=60), keys(1, 1)
    first = pick(pool, "m", selection, Fleet(), 0.0, 0.0)
    fleet = Fleet().started(first.key, first.shares).ended(first.key)
    assert pick(pool, "m", selection, fleet, 0.0, 0.0).key.id == "a"
    fleet = fleet.failed(first.key, "m", LIMITED, selection, 0.0)
    assert pick(pool, "m", selection, fleet, 0.0, 0.0).key.id == "b"
    assert pick(pool, "m", selection, fleet, 0.0, 61.0).key.id == "b", "the streak does not come back"


def test_a_retry_counts_for_the_streak_of_its_own_key_only() -> None:
    a, b = keys(1, 1)
    fleet = Fleet().started(a).started(a)
    assert fleet.streak == ("a", 2)
    assert fleet.started(b).streak == ("b", 1)


def test_the_least_used_is_the_one_with_least_in_flight_then_least_served() -> None:
    pool, selection = keys(1, 1, 1), Selection("least_used")
    assert sequence("least_used", pool, 6) == "abcabc"
    fleet = Fleet().started(pool[0]).started(pool[1])
    assert pick(pool, "m", selection, fleet, 0.0, 0.0).key.id == "c"
    fleet = fleet.started(pool[2]).ended(pool[1])
    assert pick(pool, "m", selection, fleet, 0.0, 0.0).key.id == "b"


def test_the_first_is_filled_first() -> None:
    assert sequence("fill_first", keys(0, 1, 1), 3) == "aaa"


@pytest.mark.parametrize(
    ("weights", "in_flight", "expected", "reason"),
    [
        pytest.param((1, 1), (3, 2), "b", "requests in flight: 2 with b, 3 with a", id="fewer in flight"),
        pytest.param(
            (1, 1), (0, 0), "a", "requests in flight: 0 with a, 0 with b", id="the first draw of equals"
        ),
        pytest.param((4, 1), (3, 1), "a", "requests in flight: 3 with a, 1 with b", id="for its weight"),
        pytest.param(
            (2, 1), (2, 0), "b", "requests in flight: 0 with b, 2 with a", id="the one to come counts, too"
        ),
        pytest.param((0, 1), (0, 9), "b", "the only key", id="not a last resort"),
        pytest.param((0, 0), (1, 0), "b", "requests in flight: 0 with b, 1 with a", id="only last resorts"),
        pytest.param((1,), (7,), "a", "the only key", id="one key"),
    ],
)
def test_the_better_of_two(
    weights: tuple[float, ...], in_flight: tuple[int, ...], expected: str, reason: str
) -> None:
    pool, fleet = keys(*weights), Fleet()
    for key, count in zip(pool, in_flight, strict=True):
        for _ in range(count):
            fleet = fleet.started(key)
    picked = pick(pool, "m", Selection("power_of_two_choices"), fleet, 0.0, 0.0)
    assert (picked.key.id, picked.reason) == (expected, reason)


def test_every_pair_of_keys_is_drawn_equally_often() -> None:
    pool = keys(1, 1, 1, 1)
    assert counted("power_of_two_choices", pool, 1200) == {"a": 300, "b": 300, "c": 300, "d": 300}
    busy = Fleet().started(pool[0])
    assert counted("power_of_two_choices", pool, 1200, busy) == {"b": 400, "c": 400, "d": 400}


def test_a_burst_is_spread_evenly_over_two_servers() -> None:
    pool, fleet = keys(1, 1), Fleet()
    for chance in (0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9):
        picked = pick(pool, "m", Selection("power_of_two_choices"), fleet, chance, 0.0)
        fleet = fleet.started(picked.key, picked.shares)
    assert fleet.in_flight == {"a": 5, "b": 5}


# -- sessions --------------------------------------------------------------------------------------

SESSIONS = [f"session-{number}" for number in range(2_000)]


def homes(pool: Sequence[Key], fleet: Fleet | None = None) -> dict[str, str]:
    remembered = fleet or Fleet()
    return {session: for_session(pool, "m", session, remembered, 0.0).key.id for session in SESSIONS}


def test_a_session_has_one_key_and_all_together_follow_the_weights() -> None:
    pool = keys(1, 2, 1)
    counts = Counter(homes(pool).values())
    assert homes(list(reversed(pool))) == homes(pool)
    assert {key_id: round(count / 100) * 100 for key_id, count in counts.items()} == {
        "a": 500,
        "b": 1000,
        "c": 500,
    }


def test_a_key_that_goes_moves_only_its_own_sessions() -> None:
    before, after = homes(keys(1, 1, 1)), homes(keys(1, 1))
    moved = {session for session in SESSIONS if before[session] != after[session]}
    assert moved == {session for session in SESSIONS if before[session] == "c"}


def test_a_session_moves_while_its_key_is_to_be_left_alone_and_comes_back() -> None:
    pool, selection = keys(1, 1), Selection(cooldown_s=60)
    home = for_session(pool, "m", "s", Fleet(), 0.0).key
    (other,) = [key for key in pool if key != home]
    fleet = Fleet().failed(home, "m", REJECTED, selection, 0.0)
    assert for_session(pool, "m", "s", fleet, 1.0) == Picked(other)
    assert for_session(pool, "m", "s", fleet, 60.0) == Picked(home)


def test_a_last_resort_is_no_home_for_a_session() -> None:
    assert set(homes(keys(0, 1)).values()) == {"b"}
    assert for_session(keys(0), "m", "s", Fleet(), 0.0).key.id == "a"


@pytest.mark.parametrize("session", ["", "\ud800", "x" * 100_000, "\n"])
def test_any_text_may_name_a_session(session: str) -> None:
    assert for_session(keys(1, 1), "m", session, Fleet(), 0.0).key.id in {"a", "b"}


# -- what is remembered ----------------------------------------------------------------------------


def test_requests_are_counted_until_they_are_over() -> None:
    a, b = keys(1, 1)
    fleet = Fleet().started(a).started(b).started(a)
    assert fleet.in_flight == {"a": 2, "b": 1}
    fleet = fleet.ended(a).ended(b)
    assert fleet.in_flight == {"a": 1}
    assert fleet.ended(a).ended(a).in_flight == {}
    assert fleet.served == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("failed", "selection", "resting"),
    [
        pytest.param(
            LIMITED, Selection(cooldown_s=60), {Rest("a", "m"): 160.0}, id="a rate limit, for the model"
        ),
        pytest.param(BROKE, Selection(cooldown_s=60), {Rest("a", "m"): 160.0}, id="no money, for the model"),
        pytest.param(
            REJECTED, Selection(cooldown_s=60), {Rest("a"): 160.0}, id="a rejected key, for all models"
        ),
        pytest.param(LIMITED, Selection(cooldown_s=0), {}, id="no cooldown"),
        pytest.param(LIMITED, Selection(), {}, id="no key_selection"),
        pytest.param(
            Failed(LIMITED.error, retry_after_s=5),
            Selection(cooldown_s=60),
            {Rest("a", "m"): 105.0},
            id="Retry-After",
        ),
        pytest.param(
            Failed(LIMITED.error, retry_after_s=1e9),
            Selection(cooldown_s=60),
            {Rest("a", "m"): 86_500.0},
            id="Retry-After in 30 years",
        ),
        pytest.param(
            Failed(LIMITED.error, retry_after_s=5), Selection(cooldown_s=0), {}, id="Retry-After, but off"
        ),
        pytest.param(BROKEN, Selection(cooldown_s=60), {}, id="a server that failed"),
        pytest.param(DOWN, Selection(cooldown_s=60), {}, id="a server that is down, as in Bifrost"),
        pytest.param(
            DOWN, Selection(cooldown_s=60, transient="rotate"), {Rest("a"): 160.0}, id="a server that is down"
        ),
        pytest.param(
            BROKEN, Selection(cooldown_s=60, transient="rotate"), {}, id="one answer of 500 says little"
        ),
        pytest.param(
            Failed({"is_bifrost_error": False, "status_code": 500, "error": {"message": "rate limit"}}),
            Selection(cooldown_s=60),
            {},
            id="a text about a rate limit may come from anywhere",
        ),
        pytest.param(
            Failed(
                {"is_bifrost_error": False, "status_code": 404, "error": {"message": "model x not found"}}
            ),
            Selection(cooldown_s=60),
            {},
            id="a model that is not there",
        ),
    ],
)
def test_what_makes_a_key_rest(failed: Failed, selection: Selection, resting: dict[Rest, float]) -> None:
    (a,) = keys(1)
    assert Fleet().failed(a, "m", failed, selection, 100.0).resting == resting


def test_a_rest_is_for_one_model_ends_by_itself_and_with_a_success() -> None:
    pool, selection = keys(1, 1), Selection("fill_first", cooldown_s=10)
    fleet = Fleet().failed(pool[0], "m", LIMITED, selection, 0.0)
    assert pick(pool, "m", selection, fleet, 0.0, 9.0).key.id == "b"
    assert pick(pool, "other", selection, fleet, 0.0, 9.0).key.id == "a"
    assert pick(pool, "m", selection, fleet, 0.0, 11.0).key.id == "a"
    assert pick(pool, "m", selection, fleet.answered(pool[0], "m"), 0.0, 9.0).key.id == "a"
    assert pick(pool, "m", selection, fleet.answered(pool[1], "m"), 0.0, 9.0).key.id == "b"


def test_a_rejected_key_rests_for_all_models_until_it_serves_one() -> None:
    pool, selection = keys(1, 1), Selection("fill_first", cooldown_s=60)
    fleet = Fleet().failed(pool[0], "m", REJECTED, selection, 0.0)
    assert pick(pool, "another", selection, fleet, 0.0, 1.0).key.id == "b"
    assert pick(pool, "another", selection, fleet.answered(pool[0], "m"), 0.0, 1.0).key.id == "a"


def test_nobody_rests_at_first() -> None:
    (a,) = keys(1)
    assert not Fleet().rests(a, "m", 0.0)


def test_when_all_keys_should_rest_none_does() -> None:
    pool, selection = keys(1, 1), Selection("fill_first", cooldown_s=60)
    fleet = Fleet()
    for key in pool:
        fleet = fleet.failed(key, "m", LIMITED, selection, 0.0)
    assert rested(pool, "m", fleet, 1.0) == pool


def test_a_longer_rest_is_not_cut_short_and_the_number_of_rests_is_bounded() -> None:
    (a,), selection = keys(1), Selection(cooldown_s=60)
    fleet = Fleet().failed(a, "m", Failed(LIMITED.error, retry_after_s=500), selection, 0.0)
    fleet = fleet.failed(a, "m", LIMITED, selection, 1.0)
    assert fleet.resting == {Rest("a", "m"): 500.0}
    for number in range(1_500):
        fleet = fleet.failed(a, f"model-{number}", LIMITED, selection, 1.0)
    assert len(fleet.resting) == 1_000
    assert Rest("a", "m") in fleet.resting
    assert fleet.failed(a, "m", LIMITED, selection, 1_000.0).resting == {Rest("a", "m"): 1_060.0}
