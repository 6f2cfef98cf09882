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
        for metric in metrics.METRICS:
            names = metrics.label_names(metric, labels)
            self._names[metric.name] = names
            self._instruments[metric.name] = _instrument(metric, names, self._registry)

    def labelled(self, values: Mapping[str, str]) -> "Labelled":
        """What these label values are counted with."""
        return Labelled(self, values)

    def instrument(self, name: str, values: Mapping[str, str]) -> Instrument:
        """The one instrument of these label values; one that a metric needs and nobody gives is empty."""
        return self._instruments[name].labels(*(values.get(label, "") for label in self._names[name]))

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Labelled:
    """Instruments of the same label values: each comes into being when it first counts something."""

    __slots__ = ("_metrics", "_seen", "_values")

    def __init__(self, metrics_: Metrics, values: Mapping[str, str]) -> None:
        self._metrics = metrics_
        self._values = values
        self._seen: dict[str, Instrument] = {}

    def add(self, name: str, amount: float = 1) -> None:
        """Add to a counter or a gauge."""
        instrument = self._seen.get(name) or self._new(name)
        if not isinstance(instrument, Histogram):
            instrument.inc(amount)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        instrument = self._seen.get(name) or self._new(name)
        if isinstance(instrument, Gauge):
            instrument.set(value)

    def observe(self, name: str, value: float) -> None:
        """Put a value into a histogram."""
        instrument = self._seen.get(name) or self._new(name)
        if isinstance(instrument, Histogram):
            instrument.observe(value)

    def _new(self, name: str) -> Instrument:
        instrument = self._seen[name] = self._metrics.instrument(name, self._values)
        return instrument


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
