"""Prometheus metrics of one gateway, as ``routing.metrics`` lists them."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from .layers import metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_MOST_SERIES: Final = 10_000  # label combinations of one metric that are remembered

Instrument = Counter | Gauge | Histogram


class Metrics:
    """Every metric of the table; unknown ones are a bug and raise ``KeyError``.

    In several processes (``PROMETHEUS_MULTIPROC_DIR`` is set) each writes to
    files and whoever is asked adds them all up.
    """

    def __init__(self, labels: Sequence[metrics.Label] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._labels = labels
        self._registry = CollectorRegistry()
        self._instruments: dict[str, Instrument] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Instrument] = {}
        for metric in metrics.METRICS:
            names = metrics.label_names(metric, labels)
            self._names[metric.name] = names
            self._instruments[metric.name] = _instrument(metric, names, self._registry)

    def add(self, name: str, values: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter or a gauge."""
        series = self._of(name, values)
        if not isinstance(series, Histogram):
            series.inc(amount)

    def set(self, name: str, values: Mapping[str, str], value: float) -> None:
        """Set a gauge."""
        series = self._of(name, values)
        if isinstance(series, Gauge):
            series.set(value)

    def observe(self, name: str, values: Mapping[str, str], value: float, times: int = 1) -> None:
        """Put a value into a histogram, so often."""
        series = self._of(name, values)
        if isinstance(series, Histogram):
            for _ in range(times):
                series.observe(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _of(self, name: str, values: Mapping[str, str]) -> Instrument:
        label_values = tuple(values.get(label, "") for label in self._names[name])
        series = self._series.get((name, label_values))
        if series is None:
            series = self._instruments[name].labels(*label_values)
            if len(self._series) < _MOST_SERIES:
                self._series[name, label_values] = series
        return series


def _instrument(metric: metrics.Metric, names: Sequence[str], registry: CollectorRegistry) -> Instrument:
    match metric.kind:
        case "counter":
            return Counter(metric.name, metric.help, names, registry=registry)
        case "gauge":
            if metric.name == "bifrost_active_requests":
                return Gauge(metric.name, metric.help, names, registry=registry, multiprocess_mode="livesum")
            return Gauge(metric.name, metric.help, names, registry=registry, multiprocess_mode="mostrecent")
        case "histogram":
            return Histogram(metric.name, metric.help, names, registry=registry, buckets=metric.buckets)
