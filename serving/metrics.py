"""Prometheus metrics of one gateway, as ``routing.metrics`` lists them."""

import os
from collections.abc import Callable, Mapping, Sequence
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

_IN_FLIGHT: Final = "bifrost_active_requests"

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

    def counting(self, name: str, values: Mapping[str, str]) -> Callable[[float], None]:
        """What counts with these label values; one that the metric needs and nobody gives is empty."""
        instrument = self._instruments[name].labels(*(values.get(label, "") for label in self._names[name]))
        # The instruments' class is a protocol, for which isinstance takes longer than counting does.
        match instrument:
            case Counter():
                return instrument.inc
            case Histogram():
                return instrument.observe
            case Gauge():
                return instrument.inc if name == _IN_FLIGHT else instrument.set

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Labelled:
    """Instruments of the same label values: each comes into being when it first counts something."""

    __slots__ = ("_counting", "_metrics", "_values")

    def __init__(self, metrics_: Metrics, values: Mapping[str, str]) -> None:
        self._metrics = metrics_
        self._values = values
        self._counting: dict[str, Callable[[float], None]] = {}

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter or the gauge of requests in flight, set another gauge, put into a histogram."""
        counting = self._counting.get(name)
        if counting is None:
            counting = self._counting[name] = self._metrics.counting(name, self._values)
        counting(amount)


def _instrument(metric: metrics.Metric, names: Sequence[str], registry: CollectorRegistry) -> Instrument:
    match metric.kind:
        case "counter":
            return Counter(metric.name, metric.help, names, registry=registry)
        case "gauge":
            if metric.name == _IN_FLIGHT:
                return Gauge(metric.name, metric.help, names, registry=registry, multiprocess_mode="livesum")
            return Gauge(metric.name, metric.help, names, registry=registry, multiprocess_mode="mostrecent")
        case "histogram":
            return Histogram(metric.name, metric.help, names, registry=registry, buckets=metric.buckets)
