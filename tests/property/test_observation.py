"""serving.observation: what is kept of a stream does not grow with it, and nothing of the metrics is lost."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from routing.metrics import INTER_TOKEN_S
from serving.observation import Gaps

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
