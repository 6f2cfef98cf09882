"""serving.observation: the quick ways give what the plain ways give, and what is kept does not grow."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from prometheus_client import CollectorRegistry, Histogram

from routing import access_log, attempts, settings
from routing.access_log import Log, Record
from routing.fallbacks import Fallback
from routing.metrics import INTER_TOKEN_S, Label
from routing.model_names import Alias
from routing.secrets import Secrets
from serving import observation
from serving.metrics import Metrics
from serving.observation import Gaps, Observation, Observer

GAPS = st.floats(0, 1e6) | st.sampled_from(INTER_TOKEN_S)


def histogram(values: Sequence[tuple[float, int]]) -> tuple[list[float], float]:
    """What a histogram counts in each bucket, and its sum."""
    registry = CollectorRegistry()
    observed = Histogram("gap", "x", registry=registry, buckets=INTER_TOKEN_S)
    for value, times in values:
        for _ in range(times):
            observed.observe(value)
    (metric,) = registry.collect()
    counts = [sample.value for sample in metric.samples if sample.name == "gap_bucket"]
    (total,) = [sample.value for sample in metric.samples if sample.name == "gap_sum"]
    return counts, total


@given(st.lists(GAPS, max_size=200))
def test_the_histogram_is_the_same_as_if_every_gap_had_been_kept(gaps: list[float]) -> None:
    kept = Gaps()
    for gap in gaps:
        kept.add(gap)
    means = list(kept.means())
    assert len(means) <= len(INTER_TOKEN_S) + 1
    expected_counts, expected_sum = histogram([(gap, 1) for gap in gaps])
    counts, total = histogram(means)
    assert counts == expected_counts
    assert total == pytest.approx(expected_sum)


# -- a line from its pattern, and one that is written member by member ------------------------------

PLAIN = st.sampled_from(
    ["POST", "/v1/chat/completions", "org/model", "127.0.0.1", "2026", "null", "status", "x" * 60]
)
ODD = st.sampled_from(["", "two words", " ", "a=b", '"', "\\", "\n", "é", "\ud800", "x" * 150, "x" * 300])
TEXTS = PLAIN | PLAIN | PLAIN | ODD | st.text(max_size=8)
IDS = st.uuids().map(str) | TEXTS
SECRETS = st.lists(
    st.sampled_from(
        ["POST", "/v1/", "0.1 chat", "org/model", "2026", "status", "sk-long-enough", "\\\\\\\\", "xxxx"]
    ),
    max_size=2,
)
MILLISECONDS = st.floats(0, 1e6) | st.floats()
COUNTS = st.none() | st.integers(0, 10**20)


NAMES = ["request_id", "method", "path", "client", "operation", "model", "resolved_model", "key"]


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Most of them ordinary; in some a text or a number is not."""
    texts = {name: draw(PLAIN) for name in NAMES} | draw(
        st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=2)
    )
    return Record(
        request_id=texts["request_id"],
        method=texts["method"],
        path=texts["path"],
        client=texts["client"],
        operation=texts["operation"],
        model=texts["model"],
        resolved_model=texts["resolved_model"],
        key=texts["key"],
        at=draw(st.floats(0, 4e9) | st.floats(allow_nan=False)),
        status=draw(st.integers(0, 599)),
        duration_ms=draw(MILLISECONDS),
        outcome=draw(st.sampled_from(["ok", "ok", "error", "client_left"])),
        stream=draw(st.booleans()),
        fallback_index=draw(st.none() | st.integers(0, 3)),
        first_event_ms=draw(st.none() | MILLISECONDS),
        input_tokens=draw(COUNTS),
        output_tokens=draw(COUNTS),
        bytes_in=draw(COUNTS),
        bytes_out=draw(COUNTS),
    )


@given(records(), st.sampled_from(["text", "json"]), SECRETS)
def test_a_line_from_a_pattern_is_the_line(
    record: Record, style: access_log.Format, hidden: list[str]
) -> None:
    pattern = access_log.pattern(record, style, Secrets(hidden))
    if pattern is None:
        return
    _, text, over = access_log.second(record.at)
    line = pattern.line(
        access_log.timestamp(text, over),
        record.request_id,
        record.client,
        record.duration_ms,
        record.first_event_ms,
        (record.input_tokens, record.output_tokens, record.bytes_in, record.bytes_out),
    )
    assert line in {None, access_log.line(record, style, Secrets(hidden))}


# -- whole requests ---------------------------------------------------------------------------------

KEYS = [
    settings.Key(name, id_, value=value, url="http://localhost:1", models=("*",))
    for name, id_, value in (("gpu-a", "a", "sk-of-gpu-a"), ("two words", "b", "org/"), ("é", "c", ""))
]
USAGES: st.SearchStrategy[Mapping[str, object]] = st.sampled_from(
    [
        {},
        {
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 3},
            }
        },
        {"usage": {"prompt_tokens": 10**400, "completion_tokens": -1, "prompt_tokens_details": [1]}},
        {"usage": {"prompt_tokens": None, "input_tokens": 9, "output_tokens": 1.5}},
        {"usage": [1], "response": {"usage": {"input_tokens": 1}}},
        {"response": {"usage": {"input_tokens": 1, "output_tokens": True}}},
    ]
)
ERRORS: st.SearchStrategy[Mapping[str, object] | None] = st.none() | st.sampled_from(
    [{"status_code": 400, "error": {"type": "T", "code": 400}}, {"status_code": 500, "error": "sk-of-gpu-a"}]
)


@dataclass
class Clock:
    """A clock that somebody has to turn."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@st.composite
def tries(draw: st.DrawFn, config: settings.Config) -> attempts.Try:
    target = Fallback("vllm", draw(TEXTS))
    course = attempts.Course(config, attempts.Ask("vllm", "m"), target, position=draw(st.integers(0, 2)))
    alias = draw(st.none() | st.just(Alias("x")))
    return attempts.Try(draw(st.sampled_from(KEYS)), draw(TEXTS), alias, 0.0, course)


def observed(
    data: DataObject, config: settings.Config, clock: Clock, observers: Sequence[Observer]
) -> list[str | None]:
    """The lines for one request, of which the gateway tells."""
    seen = Observation(
        data.draw(st.sampled_from(["POST", "GET"])),
        data.draw(PLAIN),
        data.draw(IDS),
        data.draw(TEXTS),
        data.draw(st.floats(0, 4e9)),
        clock.now,
    )
    seen.headers = [("x-bf-dim-team", data.draw(TEXTS)), ("X-Who", data.draw(TEXTS))]
    seen.bytes_in = data.draw(st.integers(0, 10**9))
    for observer in observers:
        observer.began(seen.method)
    seen.operation = data.draw(st.sampled_from(["chat_completion", "embedding", ""]))
    seen.model = data.draw(TEXTS)
    seen.stream = data.draw(st.booleans())
    seen.error = data.draw(ERRORS)
    if seen.operation:
        for step in data.draw(st.lists(tries(config), max_size=3)):
            seen.tried = step
            seen.upstream.append((step, data.draw(st.floats(0, 1000)), data.draw(st.booleans())))
            seen.trail = (
                attempts.Attempted("k", "k", "m", 0, "transient", "r", 500, None, data.draw(st.booleans())),
            )
    for gap in data.draw(st.lists(st.floats(0, 20), max_size=4)):
        clock.now += gap
        seen.event()
    seen.used(data.draw(USAGES))
    seen.status = data.draw(st.sampled_from([200, 400, 499]))
    seen.bytes_out = data.draw(st.integers(0, 10**9))
    clock.now += data.draw(st.floats(0, 1000))
    seen.took = clock.now - seen.arrived
    seen.client_left = data.draw(st.booleans())
    lines = []
    for observer in observers:
        observer.count(seen)
        lines.append(observer.line(seen))
    return lines


CONFIGS = st.builds(
    settings.Config,
    st.just(tuple(KEYS)),
    log=st.builds(
        Log, format=st.sampled_from(["text", "json"]), headers=st.sampled_from([(), (), ("x-who",)])
    ),
    labels=st.sampled_from([(), (Label("team"), Label("env", "test"))]),
)
A_SUM_OF_GAPS = re.compile(r"(bifrost_stream_inter_token_latency_seconds_sum{.*}) (.*)")


def text_and_sums(metrics: Metrics) -> tuple[list[str], dict[str, float]]:
    """What metrics say; apart from it, sums that depend on how often something was rounded."""
    lines = metrics.text().decode().splitlines()
    sums = [found for line in lines if (found := A_SUM_OF_GAPS.fullmatch(line))]
    return [line for line in lines if not A_SUM_OF_GAPS.fullmatch(line)], {
        found[1]: float(found[2]) for found in sums
    }


class PlainObserver(Observer):
    """Writes every line member by member."""

    def count(self, seen: Observation) -> None:
        with mock.patch.object(access_log, "pattern", return_value=None):
            super().count(seen)


@given(st.data(), CONFIGS)
def test_what_is_counted_and_logged_is_what_the_plain_ways_count_and_log(
    data: DataObject, config: settings.Config
) -> None:
    own, library, clock = Metrics(config.labels), Metrics(config.labels, shared=True), Clock()
    observers = [Observer(config, own), PlainObserver(config, library)]
    with mock.patch.object(observation, "monotonic", clock):
        for _ in range(data.draw(st.integers(1, 4))):
            line, plain = observed(data, config, clock, observers)
            assert line == plain
            assert plain is not None
    (text, sums), (plain_text, plain_sums) = text_and_sums(own), text_and_sums(library)
    assert text == plain_text
    assert sums == pytest.approx(plain_sums)
