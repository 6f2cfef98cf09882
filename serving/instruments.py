"""Counters, gauges and histograms of one process, as cheap as they can be.

Those of prometheus_client take a lock for every value and try the buckets of
a histogram one after the other. These belong to one thread; what they say is
the same.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class Counter:
    """A total that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``, which is not negative."""
        self.value += amount


class Gauge:
    """A value that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``, which may be negative."""
        self.value += amount

    def set(self, value: float) -> None:
        """From now on it is ``value``."""
        self.value = value


class Histogram:
    """How many values are at most as large as each of ``bounds``, which ascend, and the sum of all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Put ``amount`` in."""
        self.total += amount
        self.counts[bisect_left(self.bounds, amount)] += 1

    def repeat(self, amount: float, times: int) -> None:
        """Put ``amount`` in so many times."""
        self.total += amount * times
        self.counts[bisect_left(self.bounds, amount)] += times


_T = TypeVar("_T")


class Family(Protocol):
    """All instruments of one metric."""

    def metric(self) -> Metric: ...


class _Labelled(Generic[_T]):
    """Instruments by the values of their labels; each comes into being when it is first asked for."""

    def __init__(self, name: str, text: str, labels: Sequence[str], make: Callable[[], _T]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._make = make
        self._made: dict[tuple[str, ...], _T] = {}

    def labels(self, *values: str) -> _T:
        """The instrument of these values, which are in the order of the names."""
        found = self._made.get(values)
        if found is None:
            found = self._made[values] = self._make()
        return found


class Counters(_Labelled[Counter]):
    """A metric that consists of counters."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels, Counter)

    def metric(self) -> Metric:
        """What they say."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, counter in self._made.items():
            family.add_metric(values, counter.value)
        return family


class Gauges(_Labelled[Gauge]):
    """A metric that consists of gauges."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels, Gauge)

    def metric(self) -> Metric:
        """What they say."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, gauge in self._made.items():
            family.add_metric(values, gauge.value)
        return family


class Histograms(_Labelled[Histogram]):
    """A metric that consists of histograms."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(name, text, labels, lambda: Histogram(bounds))
        self._bounds = [_written(bound) for bound in (*bounds, inf)]

    def metric(self) -> Metric:
        """What they say."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, histogram in self._made.items():
            buckets = list(zip(self._bounds, accumulate(histogram.counts), strict=True))
            family.add_metric(values, buckets, histogram.total)
        return family


class Families:
    """What prometheus_client asks for the metrics."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Every metric, in order."""
        for family in self._families:
            yield family.metric()


def _written(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
