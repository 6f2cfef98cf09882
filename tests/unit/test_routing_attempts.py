"""routing.attempts: which key is tried when, and when to give up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from routing.attempts import Ask, Attempted, GiveUp, Moment, Try, after, backoff_s, first, wait_to_repeat_s
from routing.failures import Failed
from routing.fallbacks import Fallback
from routing.fleet import Fleet
from routing.keys import Pin
from routing.model_names import Alias
from routing.refusals import credentials_exhausted, first_event_late, no_url, unroutable
from routing.selection import for_session
from routing.settings import Config, Key, Retries, Selection


def key(name: str, *models: str, **more: Any) -> Key:
    return Key(**{"name": name, "id": name, "url": f"http://{name}", "models": models or ("*",), **more})


A, B, C = key("a"), key("b"), key("c")


def said(status: int, message: str = "no", **more: object) -> Failed:
    return Failed({"is_bifrost_error": False, "status_code": status, "error": {"message": message, **more}})


DOWN = said(502, "refused", type="provider_connection_failed")
BROKEN = said(500, "boom")
LIMITED = said(429, "slow down")
REJECTED = said(401, "Unauthorized")
BROKE = said(429, "no money", code="insufficient_quota")
NO_MODEL = said(404, "The model `m` does not exist.")
BLOCKED = said(403, "not here", code="unsupported_country_region_territory")
BAD = said(400, "messages: field required", type="BadRequestError")
TOO_LARGE = said(413, "too large")
CANCELLED = Failed(
    {"is_bifrost_error": True, "status_code": 499, "error": {"message": "x", "type": "request_cancelled"}}
)
SLOW = Failed(
    {"is_bifrost_error": True, "status_code": 504, "error": {"message": "x", "type": "request_timed_out"}}
)
EXHAUSTED = credentials_exhausted()

Script = Callable[[Try], Failed | None]


@dataclass
class Run:
    """What became of a request: the tries, and how it ended (``None``: it was served)."""

    tries: list[Try] = field(default_factory=list)
    ended: GiveUp | None = None

    @property
    def keys(self) -> str:
        return "".join(tried.key.id for tried in self.tries)

    @property
    def waits(self) -> list[float]:
        return [tried.wait_s for tried in self.tries]

    @property
    def error(self) -> Mapping[str, object] | None:
        return None if self.ended is None else self.ended.error


def run(config: Config, ask: Ask, script: Script, fleet: Fleet | None = None, chance: float = 0.0) -> Run:
    """A request, driven as the gateway drives it."""
    course, remembered = Run(), fleet or Fleet()
    step = first(config, ask, remembered, Moment(0.0, chance))
    while isinstance(step, Try):
        course.tries.append(step)
        assert len(course.tries) < 100, "it does not end"
        remembered = remembered.started(step.key, step.shares)
        failed = script(step)
        remembered = remembered.ended(step.key)
        if failed is None:
            return course
        step = after(step, failed, remembered, Moment(0.0, chance))
    course.ended = step
    return course


def pool(*found: Key, retries: int = 0, **selection: Any) -> Config:
    return Config(
        keys=found, retries=Retries(max_retries=retries), selection=Selection("fill_first", **selection)
    )


def by_key(**outcomes: Failed | None) -> Script:
    return lambda tried: outcomes[tried.key.id]


def in_turn(*outcomes: Failed | None) -> Script:
    left = list(outcomes)
    return lambda _tried: left.pop(0)


def always(failed: Failed) -> Script:
    return lambda _tried: failed


ASK = Ask("vllm", "m")


# -- within one model ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "retries", "script", "expected", "error"),
    [
        pytest.param([A], 0, in_turn(None), "a", None, id="success at once"),
        pytest.param([A], 2, in_turn(BROKEN, BROKEN, None), "aaa", None, id="success after failures"),
        pytest.param([A], 3, always(BROKEN), "aaaa", BROKEN, id="n retries are n + 1 requests"),
        pytest.param([A], 0, always(BROKEN), "a", BROKEN, id="no retries"),
        pytest.param([A], 3, always(BAD), "a", BAD, id="a refused request is not sent again"),
        pytest.param([A], 3, always(TOO_LARGE), "a", TOO_LARGE, id="nor one that is too large"),
        pytest.param([A], 3, always(SLOW), "a", SLOW, id="nor one that took too long"),
        pytest.param([A], 3, always(CANCELLED), "a", CANCELLED, id="nor one whose client left"),
        pytest.param(
            [A, B],
            3,
            always(said(404, "Not Found")),
            "a",
            said(404, "Not Found"),
            id="nor an unknown failure",
        ),
        pytest.param(
            [A, B], 1, by_key(a=DOWN, b=None), "aa", DOWN, id="a server that is down is asked again"
        ),
        pytest.param([A, B], 1, always(said(529)), "aa", said(529), id="529 keeps the key"),
        pytest.param(
            [A, B],
            1,
            always(Failed(first_event_late(5))),
            "aa",
            Failed(first_event_late(5)),
            id="a late first event",
        ),
        pytest.param([A, B], 1, by_key(a=LIMITED, b=None), "ab", None, id="a rate limit rotates"),
        pytest.param([A, B], 0, by_key(a=LIMITED, b=None), "a", LIMITED, id="but only within the budget"),
        pytest.param([A, B, C], 5, always(LIMITED), "abcabc", LIMITED, id="round after round"),
        pytest.param([A], 2, always(LIMITED), "aaa", LIMITED, id="with one key, the same again"),
        pytest.param(
            [A, B], 0, by_key(a=REJECTED, b=None), "ab", None, id="a rejected key rotates without a budget"
        ),
        pytest.param([A, B], 0, by_key(a=BROKE, b=None), "ab", None, id="an account without money, too"),
        pytest.param([A, B], 0, by_key(a=NO_MODEL, b=None), "ab", None, id="a model that is not there, too"),
        pytest.param([A, B], 0, by_key(a=BLOCKED, b=None), "ab", None, id="a region block, too"),
        pytest.param([A, B], 1, in_turn(REJECTED, BROKEN, None), "abb", None, id="and costs no retry"),
        pytest.param(
            [A, B], 0, always(REJECTED), "ab", REJECTED, id="beyond the budget, the server's own 401"
        ),
        pytest.param([A], 0, always(REJECTED), "a", REJECTED, id="one key, no budget: the server's own 401"),
        pytest.param([A], 1, always(REJECTED), "a", Failed(EXHAUSTED), id="one key, within the budget: 502"),
        pytest.param(
            [A, B], 3, always(REJECTED), "ab", Failed(EXHAUSTED), id="all keys, within the budget: 502"
        ),
        pytest.param([A, B], 0, always(NO_MODEL), "ab", NO_MODEL, id="no key has the model"),
        pytest.param(
            [A, B], 3, always(NO_MODEL), "ab", NO_MODEL, id="no key has the model, within the budget"
        ),
        pytest.param([A, B], 3, by_key(a=REJECTED, b=NO_MODEL), "ab", NO_MODEL, id="401, then 404: the 404"),
        pytest.param([A, B], 3, by_key(a=NO_MODEL, b=REJECTED), "ab", NO_MODEL, id="404, then 401: the 404"),
        pytest.param(
            [A, key("b", "x")], 0, always(NO_MODEL), "a", NO_MODEL, id="the other key is for other models"
        ),
        pytest.param(
            [A, key("b", "x")],
            3,
            always(NO_MODEL),
            "a",
            NO_MODEL,
            id="the other key is for other models, within the budget",
        ),
        pytest.param(
            [A, key("b", "x")], 0, always(REJECTED), "a", REJECTED, id="nor has it the key's own refusal"
        ),
        pytest.param([A, B], 0, always(BLOCKED), "ab", BLOCKED, id="blocked everywhere"),
        pytest.param([A, B], 3, always(BLOCKED), "ab", BLOCKED, id="blocked everywhere, within the budget"),
        pytest.param(
            [A, B], 2, in_turn(LIMITED, REJECTED, None), "aba", None, id="a dead key leaves the others"
        ),
        pytest.param(
            [A, B],
            3,
            in_turn(LIMITED, REJECTED, LIMITED, LIMITED, None),
            "abaaa",
            None,
            id="the last one left",
        ),
    ],
)
def test_which_keys_are_tried(
    found: Sequence[Key], retries: int, script: Script, expected: str, error: Failed | None
) -> None:
    course = run(pool(*found, retries=retries), ASK, script)
    assert course.keys == expected
    assert course.error == (None if error is None else error.error)


@pytest.mark.parametrize(
    ("found", "script", "expected"),
    [
        pytest.param([A, B], by_key(a=DOWN, b=None), "ab", id="a server that is down"),
        pytest.param([A, B], by_key(a=BROKEN, b=None), "ab", id="a server that failed"),
        pytest.param([A, B], by_key(a=Failed(first_event_late(5)), b=None), "ab", id="a late first event"),
        pytest.param([A, B], always(DOWN), "aba", id="a new round"),
        pytest.param([A], always(DOWN), "aaa", id="with one key, the same again"),
    ],
)
def test_a_failure_of_the_server_rotates_where_that_is_configured(
    found: Sequence[Key], script: Script, expected: str
) -> None:
    assert run(pool(*found, retries=2, transient="rotate"), ASK, script).keys == expected


def test_nothing_is_tried_again_once_something_reached_the_client() -> None:
    begun = Failed(BROKEN.error, begun=True)
    ask = Ask("vllm", "m", fallbacks=(Fallback("vllm", "n"),))
    course = run(pool(A, B, retries=3, transient="rotate"), ask, always(begun))
    assert course.keys == "a"
    assert course.error == BROKEN.error


def test_a_pinned_key_is_the_only_one() -> None:
    config = pool(A, B, retries=2)
    assert run(config, Ask("vllm", "m", Pin(name="b")), always(LIMITED)).keys == "bbb"
    assert run(config, Ask("vllm", "m", Pin(id="b")), always(REJECTED)).error == EXHAUSTED


def test_a_session_keeps_its_key_until_that_is_of_no_use() -> None:
    config = pool(A, B, C, retries=2)
    ask = Ask("vllm", "m", session="s")
    ranked = []
    left = [A, B, C]
    while left:
        ranked.append(for_session(left, "m", "s", Fleet(), 0.0).key)
        left.remove(ranked[-1])
    best, second, third = ranked
    assert run(config, ask, always(LIMITED)).tries[-1].key == best
    assert run(config, ask, always(LIMITED)).keys == best.id * 3
    assert run(config, ask, always(REJECTED)).keys == best.id + second.id + third.id
    rotating = pool(A, B, C, retries=2, transient="rotate")
    assert run(rotating, ask, always(DOWN)).keys == best.id + second.id + third.id


def test_the_first_choice_is_the_strategys() -> None:
    config = Config(keys=(A, B), selection=Selection("weighted_random"))
    assert run(config, ASK, in_turn(None), chance=0.4).keys == "a"
    assert run(config, ASK, in_turn(None), chance=0.6).keys == "b"


def test_an_alias_is_resolved_anew_with_every_key() -> None:
    config = pool(
        key("a", aliases={"m": Alias("org/m-v1")}), key("b", aliases={"M": Alias("org/m-v2", "M")}), C
    )
    course = run(config, ASK, by_key(a=REJECTED, b=REJECTED, c=None))
    assert [(tried.model, tried.original_model, tried.routing_info) for tried in course.tries] == [
        ("org/m-v1", "m", {"key": "a", "model": "m", "resolved_key_alias": {"model_id": "org/m-v1"}}),
        (
            "org/m-v2",
            "m",
            {"key": "b", "model": "m", "resolved_key_alias": {"model_id": "org/m-v2", "model_name": "M"}},
        ),
        ("m", None, {"key": "c"}),
    ]


def test_a_choice_by_load_says_why() -> None:
    config = Config(keys=(A, B), selection=Selection("power_of_two_choices"), retries=Retries(max_retries=1))
    busy = Fleet().started(A).started(A)
    course = run(config, ASK, in_turn(DOWN, None), busy)
    assert [tried.routing_info for tried in course.tries] == [
        {"key": "b", "strategy": "power_of_two_choices", "reason": "requests in flight: 0 with b, 2 with a"},
        {"key": "a", "strategy": "power_of_two_choices", "reason": "the only key"},
    ]
    same = Config(
        keys=(A, B),
        selection=Selection("power_of_two_choices", transient="same_key"),
        retries=Retries(max_retries=1),
    )
    assert run(same, ASK, in_turn(DOWN, None), busy).tries[1].reason == "the same key again"


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "jitter", "expected"),
    [
        (1, 0.5, 0.5),
        (2, 0.5, 1.0),
        (3, 0.5, 2.0),
        (4, 0.5, 4.0),
        (5, 0.5, 5.0),
        (1_000_000, 0.5, 5.0),
        (1, 0.0, 0.4),
        (1, 1.0, 0.6),
        (5, 0.0, 4.0),
        (5, 1.0, 5.0),
    ],
)
def test_backoff_doubles_with_jitter_up_to_a_limit(number: int, jitter: float, expected: float) -> None:
    assert backoff_s(Retries(), number, jitter) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("failed", "number", "expected"),
    [
        pytest.param(Failed({"status_code": 500}), 1, 0.5, id="a first retry"),
        pytest.param(Failed({"status_code": 503}), 2, 1.0, id="a second one"),
        pytest.param(Failed({"status_code": 429}, retry_after_s=3), 1, 3.0, id="as long as the server says"),
        pytest.param(Failed({"status_code": 503}, retry_after_s=60), 1, 5.0, id="longer than anybody waits"),
        pytest.param(Failed({"status_code": 503}), 3, None, id="beyond the budget"),
        pytest.param(Failed({"status_code": 401}), 1, None, id="a rejected key"),
        pytest.param(
            Failed({"status_code": 400, "error": {"type": "x"}}), 1, None, id="a fault of the client"
        ),
    ],
)
def test_what_only_one_server_can_answer_is_asked_again(
    failed: Failed, number: int, expected: float | None
) -> None:
    assert wait_to_repeat_s(Retries(max_retries=2), number, failed, jitter=0.5) == expected


@pytest.mark.parametrize(
    ("found", "failed", "more", "waits"),
    [
        pytest.param([A], BROKEN, {}, [0.0, 0.5, 1.0], id="the same key: backoff"),
        pytest.param([A, B], LIMITED, {}, [0.0, 0.5, 1.0], id="a rate limit: backoff even with another key"),
        pytest.param([A, B, C], REJECTED, {}, [0.0, 0.0, 0.0], id="a rejected key: at once"),
        pytest.param([A, B, C], DOWN, {"transient": "rotate"}, [0.0, 0.0, 0.0], id="another server: at once"),
        pytest.param(
            [A, key("b", url="http://a")],
            DOWN,
            {"transient": "rotate"},
            [0.0, 0.5, 1.0],
            id="another key of the same server: backoff",
        ),
        pytest.param(
            [A], Failed(LIMITED.error, retry_after_s=3), {}, [0.0, 3.0, 3.0], id="as the server wishes"
        ),
        pytest.param(
            [A], Failed(BROKEN.error, retry_after_s=0.1), {}, [0.0, 0.5, 1.0], id="but at least the backoff"
        ),
        pytest.param(
            [A], Failed(BROKEN.error, retry_after_s=60), {}, [0.0, 5.0, 5.0], id="and at most the longest"
        ),
        pytest.param(
            [A, B],
            Failed(LIMITED.error, retry_after_s=3),
            {},
            [0.0, 0.5, 1.0],
            id="the wish was about the other key",
        ),
    ],
)
def test_waits(found: Sequence[Key], failed: Failed, more: dict[str, Any], waits: list[float]) -> None:
    assert run(pool(*found, retries=2, **more), ASK, always(failed)).waits == pytest.approx(waits)


# -- what is told of it ----------------------------------------------------------------------------


def test_the_trail_tells_every_failure() -> None:
    limited = Failed(LIMITED.error, retry_after_s=12)
    course = run(pool(A, B, retries=2), ASK, in_turn(limited, REJECTED, DOWN, None))
    assert course.tries[-1].trail == (
        Attempted("a", "a", "m", 0, "rate_limit", "rate_limit_error", 429, 12, rotated=True),
        Attempted("b", "b", "m", 0, "credential", "authentication_error", 401, None, rotated=True),
        Attempted("a", "a", "m", 0, "transient", "provider_connection_failed", 502, None),
    )
    assert course.tries[0].trail == ()


def test_the_last_failure_did_not_rotate() -> None:
    course = run(pool(A, B), ASK, always(NO_MODEL))
    assert course.ended is not None
    assert [attempted.rotated for attempted in course.ended.trail] == [True, False]
    alone = run(pool(A), ASK, always(REJECTED))
    assert alone.ended is not None
    assert [attempted.rotated for attempted in alone.ended.trail] == [False]


def test_giving_up_tells_whose_error_it_is() -> None:
    exhausted = run(pool(A, B, retries=3), ASK, always(REJECTED)).ended
    assert exhausted is not None
    assert (exhausted.own, exhausted.tried and exhausted.tried.key.id) == (True, "b")
    refused = run(pool(A, B), ASK, always(BAD)).ended
    assert refused is not None
    assert (refused.own, refused.tried and refused.tried.key.id) == (False, "a")


# -- fallbacks -------------------------------------------------------------------------------------

SMALL, LARGE = key("small", "m"), key("large", "n", "o")
TWO = Ask("vllm", "m", fallbacks=(Fallback("vllm", "n"), Fallback("vllm", "o", {"temperature": 0.2})))


def by_model(**outcomes: Failed | None) -> Script:
    return lambda tried: outcomes[tried.asked_model]


@pytest.mark.parametrize(
    ("script", "models", "error"),
    [
        pytest.param(by_model(m=None), ["m"], None, id="none is needed"),
        pytest.param(by_model(m=BROKEN, n=None), ["m", "n"], None, id="the first success wins"),
        pytest.param(by_model(m=BROKEN, n=LIMITED, o=None), ["m", "n", "o"], None, id="in order"),
        pytest.param(
            by_model(m=BROKEN, n=LIMITED, o=REJECTED), ["m", "n", "o"], BROKEN, id="all fail: the first error"
        ),
        pytest.param(by_model(m=BAD, n=None), ["m"], BAD, id="a refused request ends the chain"),
        pytest.param(by_model(m=said(422), n=None), ["m"], said(422), id="422, too"),
        pytest.param(by_model(m=TOO_LARGE, n=None), ["m", "n"], None, id="413 does not"),
        pytest.param(by_model(m=said(409), n=None), ["m", "n"], None, id="nor does 409"),
        pytest.param(
            by_model(m=BROKEN, n=BAD, o=None), ["m", "n", "o"], None, id="nor does a fallback's 400"
        ),
        pytest.param(by_model(m=SLOW, n=None), ["m", "n"], None, id="a timeout falls back"),
        pytest.param(by_model(m=REJECTED, n=None), ["m", "n"], None, id="a rejected key falls back"),
        pytest.param(by_model(m=NO_MODEL, n=None), ["m", "n"], None, id="a missing model falls back"),
        pytest.param(by_model(m=CANCELLED, n=None), ["m"], CANCELLED, id="no client, no fallback"),
        pytest.param(by_model(m=BROKEN, n=CANCELLED, o=None), ["m", "n"], CANCELLED, id="nor any further"),
    ],
)
def test_fallbacks(script: Script, models: list[str], error: Failed | None) -> None:
    course = run(pool(SMALL, LARGE), TWO, script)
    assert [tried.model for tried in course.tries] == models
    assert course.error == (None if error is None else error.error)


def test_every_fallback_has_a_budget_of_its_own() -> None:
    course = run(pool(SMALL, LARGE, retries=2), TWO, always(BROKEN))
    assert [tried.model for tried in course.tries] == ["m"] * 3 + ["n"] * 3 + ["o"] * 3
    assert course.waits == pytest.approx([0.0, 0.5, 1.0] * 3)


def test_a_fallback_says_what_it_stands_in_for_and_brings_its_parameters() -> None:
    course = run(pool(SMALL, LARGE), TWO, by_model(m=BROKEN, n=BROKEN, o=None))
    served = course.tries[-1]
    assert served.fallback_index == 2
    assert served.original_model == "m"
    assert served.routing_info == {
        "key": "large",
        "is_fallback": True,
        "primary_provider": "vllm",
        "primary_model": "m",
    }
    request = {"provider": "", "model": "m", "input": [], "params": {"temperature": 1, "top_k": 5}}
    assert served.applied(request) == {
        "provider": "vllm",
        "model": "o",
        "input": [],
        "params": {"temperature": 0.2, "top_k": 5},
    }
    assert course.tries[0].applied(request) == {**request, "provider": "vllm"}
    assert served.applied({"model": "m", "params": None})["params"] == {"temperature": 0.2}
    assert [attempted.fallback_index for attempted in served.trail] == [0, 1]


def test_a_pin_and_a_session_are_for_the_requests_own_model_only() -> None:
    config = pool(A, B, C)
    pinned = Ask("vllm", "m", Pin(name="c"), fallbacks=(Fallback("vllm", "n"),))
    assert run(config, pinned, in_turn(BROKEN, None)).keys == "ca"
    home = for_session([A, B, C], "m", "s", Fleet(), 0.0).key
    session = Ask("vllm", "m", session="s", fallbacks=(Fallback("vllm", "n"),))
    assert run(config, session, in_turn(BROKEN, None)).keys == f"{home.id}a"


def test_a_key_that_was_turned_away_is_not_asked_for_a_fallback() -> None:
    ask = Ask("vllm", "m", fallbacks=(Fallback("vllm", "n"),))
    assert run(pool(A), ask, always(REJECTED)).keys == "a"
    assert run(pool(A, B), ask, in_turn(REJECTED, BROKEN, None)).keys == "abb"


def test_a_key_without_the_model_may_have_the_fallback_but_is_not_asked_for_the_same_again() -> None:
    ask = Ask("vllm", "m", fallbacks=(Fallback("vllm", "m"), Fallback("vllm", "n")))
    course = run(pool(A), ask, by_model(m=NO_MODEL, n=None))
    assert [tried.model for tried in course.tries] == ["m", "n"]


@pytest.mark.parametrize(
    ("ask", "keys", "error"),
    [
        pytest.param(
            Ask("vllm", ""),
            "",
            unroutable("could not auto resolve a model for the request, please specify a model explicitly"),
            id="no model",
        ),
        pytest.param(
            Ask("vllm", "", fallbacks=(Fallback("vllm", "n"),)),
            "",
            unroutable("could not auto resolve a model for the request, please specify a model explicitly"),
            id="no model ends it, fallbacks or not",
        ),
        pytest.param(
            Ask("", "x"),
            "",
            unroutable(
                "could not auto resolve a provider for the request, please specify a provider explicitly"
            ),
            id="no provider",
        ),
        pytest.param(
            Ask("", "x", fallbacks=(Fallback("vllm", "n"),)), "large", None, id="no provider, but a fallback"
        ),
        pytest.param(
            Ask("vllm", "x", fallbacks=(Fallback("vllm", "y"),)),
            "",
            unroutable("no keys found that support model: x"),
            id="nobody serves either",
        ),
        pytest.param(Ask("vllm", "addressless"), "", no_url(), id="no address"),
        pytest.param(
            Ask("vllm", "addressless", fallbacks=(Fallback("vllm", "n"),)),
            "large",
            None,
            id="no address, but a fallback",
        ),
        pytest.param(
            Ask("vllm", "m", Pin(name="large")),
            "",
            unroutable('no supported key found with name "large" for provider: vllm and model: m'),
            id="a pin that does not fit",
        ),
    ],
)
def test_a_request_that_nobody_serves(ask: Ask, keys: str, error: Mapping[str, object] | None) -> None:
    course = run(pool(SMALL, LARGE, key("none", "addressless", url="")), ask, in_turn(None))
    assert course.keys == keys
    assert course.error == error
    if course.ended is not None:
        assert course.ended == GiveUp(course.ended.error, own=True)


def test_no_printed_form_shows_an_error_or_a_secret() -> None:
    secret = key("a", value="sk-canary", url="http://canary")
    failed = said(500, "canary")
    step = first(pool(secret), ASK, Fleet(), Moment(0.0))
    assert isinstance(step, Try)
    ended = after(step, failed, Fleet(), Moment(0.0))
    assert "canary" not in f"{step!r} {failed!r} {ended!r} {step.trail!r}"
