"""Routing: what holds for every configuration, every request and every course of things."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from routing import access_log, auth, client_errors, cors, fallbacks, secrets, selection
from routing.access_log import Record
from routing.attempts import Ask, GiveUp, Moment, Try, after, begin, first, opening
from routing.attempts import Course as AttemptsCourse
from routing.check import check, schema
from routing.config import Config, examine
from routing.failures import OF_THE_MODEL, PERMANENT, Failed, classify, retry_after_s
from routing.fallbacks import Fallback
from routing.fleet import Fleet
from routing.keys import Pin
from routing.metrics import error_type
from routing.model_names import Alias
from routing.positions import scan
from routing.reading import entry_path, member_path
from routing.settings import Key, Retries, Selection, Strategy
from tests.json_schema import faults
from tests.strategies import json_objects, json_values, python_values
from tests.unit.test_routing_config import DOCUMENTS, SECRET

MODELS = ["m", "n", "o"]
STRATEGIES: list[Strategy] = [
    "weighted_random",
    "round_robin",
    "least_used",
    "fill_first",
    "power_of_two_choices",
]
SCHEMA = schema()
CHANCES = st.floats(min_value=0, max_value=1, exclude_max=True)


# -- the course of a request -----------------------------------------------------------------------


def said(status: int, message: str = "no", **more: object) -> Mapping[str, object]:
    return {"is_bifrost_error": False, "status_code": status, "error": {"message": message, **more}}


ERRORS: list[Mapping[str, object]] = [
    said(500),
    said(502, type="provider_connection_failed"),
    said(529),
    said(429),
    said(401),
    said(403),
    said(402),
    said(404, "The model `m` does not exist."),
    said(404, "Not Found"),
    said(410),
    said(400, type="BadRequestError"),
    said(422),
    said(413),
    said(400, code="unsupported_country_region_territory"),
    {"is_bifrost_error": True, "status_code": 504, "error": {"message": "x", "type": "request_timed_out"}},
    {"is_bifrost_error": True, "status_code": 499, "error": {"message": "x", "type": "request_cancelled"}},
    {"is_bifrost_error": True, "error": {"message": "x"}},
    {},
]
FAILURES = st.builds(
    Failed,
    st.sampled_from(ERRORS),
    st.none() | st.floats(min_value=0, max_value=100),
    st.booleans(),
    st.sampled_from([False] * 9 + [True]),
)
OUTCOMES = st.lists(FAILURES | st.sampled_from([None] * 2), max_size=40)


@st.composite
def pools(draw: st.DrawFn) -> tuple[Key, ...]:
    count = draw(st.integers(min_value=1, max_value=5))
    return tuple(
        Key(
            name=f"key {index}",
            id=f"k{index}",
            value=SECRET,
            url=draw(st.sampled_from([f"http://{SECRET}-{index}", "http://same", ""])),
            models=draw(st.sampled_from([("*",), ("m",), ("n", "o"), ()])),
            blacklisted_models=draw(st.sampled_from([(), ("n",)])),
            aliases=draw(st.sampled_from([{}, {"m": Alias("org/m")}])),
            weight=draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])),
            enabled=draw(st.sampled_from([True, True, True, False])),
            model_name=draw(st.sampled_from(["", "", "", "m"])),
        )
        for index in range(count)
    )


CONFIGS = st.builds(
    Config,
    pools(),
    retries=st.builds(Retries, st.integers(min_value=0, max_value=4)),
    selection=st.builds(
        Selection,
        st.sampled_from(STRATEGIES),
        st.integers(min_value=0, max_value=3),
        st.sampled_from([None, 0.0, 60.0]),
        st.sampled_from([None, "same_key", "rotate"]),
    ),
)
ASKS = st.builds(
    Ask,
    st.sampled_from(["vllm", ""]),
    st.sampled_from([*MODELS, "x", ""]),
    st.sampled_from([Pin()] * 6 + [Pin(id="k1"), Pin(name="key 0")]),
    st.sampled_from(["", "", "session"]),
    st.lists(
        st.builds(Fallback, st.just("vllm"), st.sampled_from([*MODELS, "x"]), st.just({"temperature": 0.5})),
        max_size=3,
    ).map(tuple),
)


@dataclass
class Course:
    tries: list[Try]
    failures: list[Failed]
    ended: GiveUp | None
    fleet: Fleet


def driven(config: Config, ask: Ask, outcomes: list[Failed | None], chance: float) -> Course:
    """A request, driven as the gateway drives it; what has no outcome any more succeeds."""
    fleet, now_s, left = Fleet(), 0.0, list(outcomes)
    course = Course([], [], None, fleet)
    step = first(config, ask, fleet, Moment(now_s, chance, chance))
    while isinstance(step, Try):
        course.tries.append(step)
        now_s += step.wait_s
        fleet = fleet.started(step.key, step.shares)
        failed = left.pop(0) if left else None
        fleet = fleet.ended(step.key)
        if failed is None:
            course.fleet = fleet.answered(step.key, step.asked_model)
            return course
        course.failures.append(failed)
        fleet = fleet.failed(step.key, step.asked_model, failed, config.selection, now_s)
        step = after(step, failed, fleet, Moment(now_s, chance, chance))
    course.ended, course.fleet = step, fleet
    return course


@settings(max_examples=200)
@given(config=CONFIGS, ask=ASKS, outcomes=OUTCOMES, chance=CHANCES)
def test_every_request_comes_to_an_end_within_its_budget(
    config: Config, ask: Ask, outcomes: list[Failed | None], chance: float
) -> None:
    before = repr((config, ask, outcomes))
    course = driven(config, ask, outcomes, chance)
    assert repr((config, ask, outcomes)) == before
    assert course == driven(config, ask, outcomes, chance), "the same again"
    spent = Counter(tried.fallback_index for tried in course.tries)
    ruled_out: set[tuple[str, str]] = set()
    paid_back = Counter[int]()
    for index, tried in enumerate(course.tries):
        assert not ruled_out & {(tried.key.id, ""), (tried.key.id, tried.asked_model)}, (
            "a dead key was picked"
        )
        assert tried.key.enabled
        assert tried.key.url
        assert 0 <= tried.wait_s <= config.retries.backoff_max_s
        assert len(tried.trail) == index
        if index < len(course.failures) and (found := classify(course.failures[index])) in PERMANENT:
            ruled_out.add((tried.key.id, tried.asked_model if found in OF_THE_MODEL else ""))
            paid_back[tried.fallback_index] += 1
    for target, count in spent.items():
        assert count <= 1 + config.retries.max_retries + paid_back[target]
        assert paid_back[target] <= len(config.keys)
    assert course.fleet.in_flight == {}
    assert [tried.fallback_index for tried in course.tries] == sorted(
        tried.fallback_index for tried in course.tries
    )


@given(config=CONFIGS, ask=ASKS, outcomes=OUTCOMES, chance=CHANCES)
def test_what_a_client_gets_is_the_error_of_its_own_model(
    config: Config, ask: Ask, outcomes: list[Failed | None], chance: float
) -> None:
    course = driven(config, ask, outcomes, chance)
    if course.ended is None:
        return
    assert len(course.ended.trail) == len(course.failures)
    if course.ended.own:
        assert isinstance(course.ended.error["error"], Mapping)
    else:
        assert course.ended.error in [failed.error for failed in course.failures]
    last = course.failures[-1] if course.failures else None
    if course.ended.tried is not None and course.ended.tried.fallback_index:
        assert last is not None
        assert last.begun or classify(last) == "cancelled"
    printed = repr((course.ended, course.tries, course.fleet, config))
    assert SECRET not in printed


@given(config=CONFIGS, ask=ASKS, failed=FAILURES, chance=CHANCES)
def test_nothing_follows_what_has_reached_the_client(
    config: Config, ask: Ask, failed: Failed, chance: float
) -> None:
    step = first(config, ask, Fleet(), Moment(0.0, chance))
    if isinstance(step, Try):
        begun = Failed(failed.error, failed.retry_after_s, failed.unreachable, begun=True)
        ended = after(step, begun, Fleet(), Moment(0.0, chance))
        assert isinstance(ended, GiveUp)
        assert ended.error == failed.error


# -- picking ---------------------------------------------------------------------------------------


@given(
    config=CONFIGS, ask=ASKS, other=ASKS, outcomes=OUTCOMES, chance=CHANCES, now_s=st.sampled_from([0, 9e9])
)
def test_what_is_remembered_of_equal_requests_does_not_depend_on_the_others(
    config: Config, ask: Ask, other: Ask, outcomes: list[Failed | None], chance: float, now_s: float
) -> None:
    fleet = driven(config, other, outcomes, chance).fleet
    begun = opening(config, ask)
    if begun.only is not None:
        assert isinstance(begun.course, AttemptsCourse)
        (key,) = begun.course.alive
        picked = selection.pick((key,), ask.model, config.selection, fleet, chance, now_s)
        assert picked == (begun.only.key, begun.only.reason, begun.only.shares)
    if not config.selection.counts:
        uncounted = Fleet(resting=fleet.resting)
        moment = Moment(now_s, chance, chance)
        assert begin(begun, fleet, moment) == begin(begun, uncounted, moment)


def keys(hundredths: list[int]) -> list[Key]:
    return [
        Key(name=f"k{index}", id=f"k{index}", url="http://h", models=("*",), weight=weight / 100)
        for index, weight in enumerate(hundredths)
    ]


WEIGHTS = st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=6).filter(any)


def exact(pool: list[Key]) -> dict[str, int]:
    """The share of every key in one full round."""
    return {key.id: share for key in pool if (share := int(key.weight * 100))}


@given(weights=WEIGHTS)
def test_weights_are_met_exactly_when_every_draw_comes_once(weights: list[int]) -> None:
    pool = keys(weights)
    total = sum(exact(pool).values())
    draws = [(2 * draw + 1) / (2 * total) for draw in range(total)]
    counts = Counter(selection.pick(pool, "m", Selection(), Fleet(), draw, 0.0).key.id for draw in draws)
    assert counts == exact(pool)


@given(weights=WEIGHTS)
def test_in_turn_weights_are_met_exactly_in_every_round(weights: list[int]) -> None:
    pool, fleet, chosen = keys(weights), Fleet(), Selection("round_robin")
    for _round in range(2):
        counts: Counter[str] = Counter()
        for _ in range(sum(exact(pool).values())):
            picked = selection.pick(pool, "m", chosen, fleet, 0.0, 0.0)
            fleet = fleet.started(picked.key, picked.shares).ended(picked.key)
            counts[picked.key.id] += 1
        assert counts == exact(pool)
    assert set(fleet.turns.values()) == {0}


@given(load=st.lists(st.integers(min_value=0, max_value=5), min_size=2, max_size=5), chance=CHANCES)
def test_the_busiest_of_all_is_never_picked_by_load(load: list[int], chance: float) -> None:
    pool, fleet = keys([100] * len(load)), Fleet()
    for key, count in zip(pool, load, strict=True):
        for _ in range(count):
            fleet = fleet.started(key)
    picked = selection.pick(pool, "m", Selection("power_of_two_choices"), fleet, chance, 0.0)
    if load.count(max(load)) == 1:
        assert fleet.in_flight.get(picked.key.id, 0) < max(load)


@given(
    strategy=st.sampled_from(STRATEGIES), weights=WEIGHTS, chance=CHANCES, resting=st.sets(st.integers(0, 5))
)
def test_who_should_rest_is_picked_only_when_all_should(
    strategy: Strategy, weights: list[int], chance: float, resting: set[int]
) -> None:
    pool, chosen, fleet = keys(weights), Selection(strategy, cooldown_s=10), Fleet()
    rejected = Failed(said(401))
    for key in pool:
        if int(key.id[1:]) in resting:
            fleet = fleet.failed(key, "m", rejected, chosen, 0.0)
    picked = selection.pick(pool, "m", chosen, fleet, chance, 5.0)
    homed = selection.for_session(pool, "m", "s", fleet, 5.0)
    if any(int(key.id[1:]) not in resting for key in pool):
        assert int(picked.key.id[1:]) not in resting
        assert int(homed.key.id[1:]) not in resting


@given(weights=WEIGHTS, session=st.text(), leaving=st.integers(0, 5))
def test_a_session_stays_unless_its_own_key_leaves(weights: list[int], session: str, leaving: int) -> None:
    pool = keys(weights)
    home = selection.for_session(pool, "m", session, Fleet(), 0.0).key
    left = [key for key in pool if key.id != f"k{leaving}"]
    if left and home in left:
        assert selection.for_session(left, "m", session, Fleet(), 0.0).key == home
    assert selection.for_session(pool[::-1], "m", session, Fleet(), 0.0).key == home


# -- the configuration -----------------------------------------------------------------------------


@settings(max_examples=200)
@given(document=DOCUMENTS)
def test_what_is_understood_is_valid_by_the_schema(document: object) -> None:
    examined = examine(document, {"SECRET": "sound"})
    if examined.is_sound:
        assert faults(document, SCHEMA) == []


@given(document=DOCUMENTS, indent=st.sampled_from([None, 0, 2]))
def test_a_file_is_reported_on_as_its_document_is(document: object, indent: int | None) -> None:
    text = json.dumps(document, indent=indent, allow_nan=True)
    if "NaN" in text or "Infinity" in text:
        return
    report = check(text.encode(), {"SECRET": SECRET})
    examined = examine(json.loads(text), {"SECRET": SECRET})
    assert (report.config is not None) == examined.is_sound
    assert sorted(remark.text for remark in report.remarks) == sorted(map(str, examined.findings))
    assert all(1 <= remark.line <= text.count("\n") + 1 for remark in (*report.remarks, *report.skipped))
    assert SECRET not in str(report.remarks)


@given(text=st.binary(max_size=40) | st.sampled_from([b"[" * 5_000, b"1" * 5_000, b'{"a":1,"a":2}']))
def test_any_file_has_a_report(text: bytes) -> None:
    report = check(text, {})
    assert (report.config is None) == bool(report.problems)


def paths(value: object, path: str = "$") -> set[str]:
    if isinstance(value, dict):
        inner = [(member_path(path, name), member) for name, member in value.items()]
    elif isinstance(value, list):
        inner = [(entry_path(path, index), entry) for index, entry in enumerate(value)]
    else:
        inner = []
    return {path}.union(*(paths(member, at) for at, member in inner))


@given(value=json_values, indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_every_value_has_a_line(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=str)
    places = scan(text)
    assert places.lines.keys() == paths(json.loads(text))
    assert places.twice == ()


# -- whatever comes --------------------------------------------------------------------------------

ANY_ERROR: SearchStrategy[Mapping[str, object]] = json_objects | st.fixed_dictionaries(
    {},
    optional={
        "is_bifrost_error": st.booleans() | json_values,
        "status_code": st.sampled_from([400, 401, 404, 429, 500, 504, 529]) | json_values,
        "error": st.fixed_dictionaries(
            {},
            optional={
                name: st.sampled_from(["panic: x", "rate limit", "model not found"]) | json_values
                for name in ("message", "type", "code", "param", "error")
            },
        )
        | json_values,
    },
)


HEADERS = st.text(max_size=80) | st.sampled_from(
    [
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +9999",
        "Mon, 1 Jan 0001 00:00:00 +2359",
        "1" * 80,
    ]
)


@given(value=HEADERS, date=st.none() | HEADERS)
def test_any_retry_after_is_a_time_to_come_or_none(value: str, date: str | None) -> None:
    seconds = retry_after_s(value, date)
    assert seconds is None or 0 <= seconds < math.inf


@given(error=ANY_ERROR, retry_after=st.none() | st.floats(0, 100), unreachable=st.booleans())
def test_any_error_is_judged_and_may_be_shown(
    error: Mapping[str, object], retry_after: float | None, unreachable: bool
) -> None:
    before = repr(error)
    failed = Failed(error, retry_after, unreachable)
    assert classify(failed)
    assert error_type(error, asked=True)
    assert error_type(error, asked=False)
    shown = client_errors.presentable(error)
    assert shown.keys() == error.keys()
    assert shown.get("status_code") == error.get("status_code")
    assert repr(error) == before


@given(value=json_values | python_values, config=CONFIGS)
def test_any_fallbacks_are_read(value: object, config: Config) -> None:
    found = fallbacks.read(value, config)
    assert all(entry.provider in {"", "vllm"} and entry.model for entry in found.entries)
    assert len(found.entries) <= fallbacks.MOST


TEXTS = st.text(max_size=20) | st.sampled_from([SECRET, f"a{SECRET}\n", "a\r\nb=c", '"', "\x1b[0m", "\u2028"])


@given(
    texts=st.lists(TEXTS, min_size=6, max_size=6),
    numbers=st.tuples(st.floats(allow_nan=False), st.floats(0, 1e9), st.integers(0, 10**9)),
    style=st.sampled_from(["text", "json"]),
)
def test_any_record_is_one_line_without_secrets(
    texts: list[str], numbers: tuple[float, float, int], style: access_log.Format
) -> None:
    request_id, method, path, model, client, header = texts
    record = Record(
        at=numbers[0],
        request_id=request_id,
        method=method,
        path=path,
        status=200,
        duration_ms=numbers[1],
        model=model,
        client=client,
        input_tokens=numbers[2],
        headers={"x-team": header},
    )
    written = access_log.line(record, style, secrets.Secrets([SECRET]))
    assert written.isascii()
    assert written.isprintable()
    assert SECRET not in written
    if style == "json":
        assert json.loads(written)["input_tokens"] == numbers[2]
    else:
        assert f" input_tokens={numbers[2]}" in written


@given(known=st.lists(st.text(min_size=1), min_size=1, max_size=3), given_key=st.text(), data=st.data())
def test_only_a_known_key_is_let_in(known: list[str], given_key: str, data: DataObject) -> None:
    header = data.draw(st.sampled_from(["x-bf-vk", "X-Api-Key", "authorization"]))
    value = f"Bearer {given_key}" if header == "authorization" else given_key
    refused = auth.refused(auth.Auth(tuple(known)), "POST", "/v1/models", [(header, value)])
    assert (refused is None) == (given_key.strip() in known)


ORIGINS = st.text(max_size=12) | st.sampled_from(["http://localhost:1", "https://a.example", "null"])


@given(
    allowed=st.lists(ORIGINS | st.sampled_from(["*", "https://*.example"]), max_size=3),
    origin=st.none() | ORIGINS,
    requested=st.none() | st.text(max_size=12),
    method=st.sampled_from(["OPTIONS", "POST"]),
)
def test_a_page_is_echoed_only_when_it_may(
    allowed: list[str], origin: str | None, requested: str | None, method: str
) -> None:
    verdict = cors.decide(cors.Cors(tuple(allowed), ("*",)), method, origin, requested)
    assert (verdict.status is None) == (method == "POST")
    echoed = verdict.headers.get("access-control-allow-origin")
    assert echoed in {None, origin}
    if echoed is None:
        assert verdict.headers == {}
        assert verdict.status in {None, 403}
    elif origin not in allowed and "*" not in allowed and "https://*.example" not in allowed:
        assert origin == "http://localhost:1"
    assert not set("".join(set(verdict.headers.values()) - {origin})) & {"\r", "\n"}


def texts_of(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for part in pair for text in texts_of(part)]
        case list():
            return [text for entry in value for text in texts_of(entry)]
    return []


@given(value=json_values, hidden=st.lists(st.text(alphabet='ab"\\é', min_size=4, max_size=6), max_size=3))
def test_no_secret_is_left_in_what_is_shown(value: object, hidden: list[str]) -> None:
    quoted = [f"key {secret}!" for secret in hidden] + [json.dumps({"key": secret}) for secret in hidden]
    shown = texts_of(secrets.hide({"deep": [value, quoted]}, *hidden))
    assert not [secret for secret in hidden for text in shown if secret in text]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_key_is_always_picked(strategy: Strategy) -> None:
    (only,) = keys([0])
    assert selection.pick([only], "m", Selection(strategy), Fleet(), 0.5, 0.0).key == only
