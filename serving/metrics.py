"""Prometheus metrics of one gateway, as ``routing.metrics`` lists them."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

from . import instruments
from .layers import metrics

_IN_FLIGHT: Final = "bifrost_active_requests"
_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Counting(Protocol):
    """A counter."""

    def inc(self, amount: float = 1) -> None: ...


class Setting(Protocol):
    """A gauge."""

    def inc(self, amount: float = 1) -> None: ...
    def set(self, value: float) -> None: ...


class Observing(Protocol):
    """A histogram."""

    def observe(self, amount: float) -> None: ...
    def repeat(self, amount: float, times: int) -> None: ...


class _Instruments(Protocol[_T_co]):
    """The instruments of one metric, by the values of their labels."""

    def labels(self, *labelvalues: str) -> _T_co: ...


class Metrics:
    """Every metric of the table; unknown ones are a bug and raise ``KeyError``.

    In several processes (``PROMETHEUS_MULTIPROC_DIR`` is set, or ``shared``)
    the instruments are those of prometheus_client: each process writes to files
    and whoever is asked adds them all up. One process has cheaper ones.
    ``shared`` tells which.
    """

    def __init__(self, labels: Sequence[metrics.Label] = (), shared: bool = False) -> None:
        self._names = {metric.name: metrics.label_names(metric, labels) for metric in metrics.METRICS}
        self._counters: dict[str, _Instruments[Counting]] = {}
        self._gauges: dict[str, _Instruments[Setting]] = {}
        self._histograms: dict[str, _Instruments[Observing]] = {}
        self.shared: Final = shared or _FOLDER in os.environ
        self._collector: Collector = self._of_library() if self.shared else self._of_our_own()

    def counter(self, name: str, values: Mapping[str, str]) -> Counting:
        """The counter with these label values; one that the metric needs and nobody gives is empty."""
        return self._counters[name].labels(*self._labels(name, values))

    def gauge(self, name: str, values: Mapping[str, str]) -> Setting:
        """The gauge with these label values."""
        return self._gauges[name].labels(*self._labels(name, values))

    def histogram(self, name: str, values: Mapping[str, str]) -> Observing:
        """The histogram with these label values."""
        return self._histograms[name].labels(*self._labels(name, values))

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        if _FOLDER not in os.environ:
            return generate_latest(self._collector)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _labels(self, name: str, values: Mapping[str, str]) -> list[str]:
        """As they can be written: half a character in one of them would cost all metrics."""
        given = [values.get(label, "") for label in self._names[name]]
        return [value.encode(errors="replace").decode() for value in given]

    def _of_our_own(self) -> instruments.Families:
        families: list[instruments.Family] = []
        for metric in metrics.METRICS:
            about = metric.name, metric.help, self._names[metric.name]
            match metric.kind:
                case "counter":
                    families.append(counters := instruments.Counters(*about))
                    self._counters[metric.name] = counters
                case "gauge":
                    families.append(gauges := instruments.Gauges(*about))
                    self._gauges[metric.name] = gauges
                case "histogram":
                    families.append(histograms := instruments.Histograms(*about, metric.buckets))
                    self._histograms[metric.name] = histograms
        return instruments.Families(families)

    def _of_library(self) -> CollectorRegistry:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        for metric in metrics.METRICS:
            about = metric.name, metric.help, self._names[metric.name]
            match metric.kind:
                case "counter":
                    self._counters[metric.name] = Counter(*about, registry=registry)
                case "gauge" if metric.name == _IN_FLIGHT:
                    self._gauges[metric.name] = Gauge(*about, registry=registry, multiprocess_mode="livesum")
                case "gauge":
                    self._gauges[metric.name] = Gauge(
                        *about, registry=registry, multiprocess_mode="mostrecent"
                    )
                case "histogram":
                    histogram = Histogram(*about, registry=registry, buckets=metric.buckets)
                    self._histograms[metric.name] = _Histograms(histogram)
        return registry


class Labelled:
    """Instruments of the same label values: each comes into being when it first counts something."""

    __slots__ = ("counters", "gauges", "histograms")

    def __init__(self, metrics_: Metrics, values: Mapping[str, str]) -> None:
        self.counters = Made(partial(metrics_.counter, values=values))
        self.gauges = Made(partial(metrics_.gauge, values=values))
        self.histograms = Made(partial(metrics_.histogram, values=values))


class Made(dict[str, _T]):
    """Instruments by name; each is made when it is first asked for."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], _T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> _T:
        made = self[name] = self._make(name)
        return made


class _Histograms:
    """Histograms of prometheus_client, which have no short way to count one value many times."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def labels(self, *labelvalues: str) -> "_Repeating":
        return _Repeating(self._histogram.labels(*labelvalues))


class _Repeating:
    __slots__ = ("_observed", "observe")

    def __init__(self, histogram: Histogram) -> None:
        self.observe = histogram.observe
        self._observed = histogram

    def repeat(self, amount: float, times: int) -> None:
        for _ in range(times):
            self.observe(amount)
