"""What is noticed of one request, and what logs and metrics make of it in the end."""

import logging
from bisect import bisect_left
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Mapping, Sequence
from math import inf, nextafter
from time import monotonic
from typing import Final, NamedTuple, Protocol

import msgspec
from aiohttp import web

from .layers import access_log, attempts, metrics, secrets, settings, translate
from .metrics import Labelled, Made, Metrics

log: Final = logging.getLogger("bifrost_vllm.access")

_PROVIDER: Final = "vllm"
_BOUNDS: Final = metrics.INTER_TOKEN_S
_MOST_REMEMBERED: Final = 10_000  # groups
_LONGEST_REMEMBERED: Final = 256  # characters of a model
_MOST_TOKENS: Final = 2**63

_Custom = tuple[tuple[str, str], ...]
Tokens = tuple[int | None, int | None, int | None]
_NO_TOKENS: Final = (None, None, None)


class Trace(Protocol):
    """The spans of one request; ``tracing`` has them."""

    def understood(self, operation: str, model: str, params: object) -> None: ...
    def asks(self, key: settings.Key, model: str) -> dict[str, str]: ...
    def answered(self, key: settings.Key, error: Mapping[str, object] | None = None) -> None: ...
    def finished(self, seen: "Observation", client_left: bool) -> None: ...


class Tracing(Protocol):
    """Makes them, while the application runs."""

    def begin(self, seen: "Observation") -> Trace | None: ...
    def running(self, app: web.Application) -> AsyncIterator[None]: ...


class Gaps:
    """Silences between the events of a stream, in seconds; as many as there are buckets for them are kept."""

    __slots__ = ("counts", "sums")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.sums = [0.0] * (len(_BOUNDS) + 1)

    def add(self, gap: float) -> None:
        bucket = bisect_left(_BOUNDS, gap)
        self.counts[bucket] += 1
        self.sums[bucket] += gap

    def means(self) -> Iterator[tuple[float, int]]:
        """A gap for each bucket, and how often to count it: buckets and sum are those of all gaps."""
        least = -inf
        for most, count, total in zip((*_BOUNDS, inf), self.counts, self.sums, strict=True):
            if count:
                yield min(max(total / count, nextafter(least, inf)), most), count
            least = most


class Observation(msgspec.Struct):
    """What is known of one request so far; times are of a clock that only goes forward, in seconds.
    ``at`` is the time of day. ``path`` is the route. ``tried`` is the latest try, ``served`` the one
    that succeeded. ``took`` and ``client_left`` are known when it is over, ``pattern``, that of its
    line, when it is counted.
    """

    method: str
    path: str
    request_id: str
    client: str
    at: float
    arrived: float
    headers: Iterable[tuple[str, str]] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    status: int = 0
    operation: str = ""
    model: str = ""
    stream: bool = False
    tried: attempts.Try | None = None
    served: attempts.Try | None = None
    trail: Sequence[attempts.Attempted] = ()
    upstream: list[tuple[attempts.Try, float, bool]] = []
    error: Mapping[str, object] | None = None
    tokens: Tokens = _NO_TOKENS
    first_event: float | None = None
    last_event: float = 0.0
    gaps: Gaps | None = None
    took: float = 0.0
    client_left: bool = False
    trace: Trace | None = None
    pattern: access_log.Pattern | None = None

    def event(self) -> None:
        """Events went to the client."""
        now = monotonic()
        if self.gaps is None:
            self.first_event, self.gaps = now, Gaps()
        else:
            self.gaps.add(now - self.last_event)
        self.last_event = now

    def used(self, document: Mapping[str, object]) -> None:
        """An answer, or the last event of one, may tell token counts."""
        if isinstance(document, translate.documents.Encoded) and document.tokens is not None:
            read, written, cached = told = document.tokens
            if 0 <= read | written | (cached or 0) < _MOST_TOKENS:  # a power of two
                self.tokens = told
            else:
                self.tokens = _count(read), _count(written), _count(cached)
            return
        usage = document.get("usage")
        if usage is None and "usage" not in document:
            response = document.get("response")
            usage = response.get("usage") if isinstance(response, Mapping) else None
        if isinstance(usage, dict | Mapping):
            self.tokens = tokens(usage)


class _Group(NamedTuple):
    """What requests that are alike have in common.

    ``http`` counts their answers, ``work`` what was done for them, and
    ``pattern`` is that of their lines.
    """

    http: Labelled
    work: Labelled
    pattern: access_log.Pattern | None


class Observer:
    """Counts, and writes the lines of the access log. ``config.secrets`` never appear in one."""

    def __init__(self, config: settings.Config, counted: Metrics) -> None:
        self._metrics = counted
        self._log = config.log
        self._labels = config.labels
        self._models = config.known_models
        self._secrets = secrets.Secrets(config.secrets)
        self._logged_headers = frozenset(config.log.headers)
        self._in_flight = Made(lambda method: counted.gauge("bifrost_active_requests", {"method": method}))
        self._groups: dict[Hashable, _Group] = {}
        self._second = -1
        self._second_text = ""

    def began(self, method: str) -> None:
        """A request is in."""
        self._in_flight[method].inc()

    def count(self, seen: Observation) -> None:
        """A request is over."""
        self._in_flight[seen.method].inc(-1)
        custom = tuple(metrics.custom_values(self._labels, seen.headers).items()) if self._labels else ()
        well = seen.error is None and not seen.client_left
        group = self._group(seen, seen.tried, well, custom)
        seen.pattern = group.pattern
        counters, histograms = group.http.counters, group.http.histograms
        counters["http_requests_total"].inc()
        histograms["http_request_duration_seconds"].observe(seen.took)
        histograms["http_request_size_bytes"].observe(seen.bytes_in)
        histograms["http_response_size_bytes"].observe(seen.bytes_out)
        if seen.operation:
            self._count_work(seen, well, custom, group.work)

    def line(self, seen: Observation) -> str | None:
        """The line of a request that was counted, unless there is no access log."""
        if not self._log.enabled:
            return None
        pattern, used = seen.pattern, seen.tokens
        if pattern is not None and len(seen.upstream) <= 1:
            line = pattern.line(
                self._timestamp(seen.at),
                seen.request_id,
                seen.client,
                seen.took * 1000,
                None if seen.first_event is None else (seen.first_event - seen.arrived) * 1000,
                (used[0], used[1], seen.bytes_in or None, seen.bytes_out or None),
            )
            if line is not None:
                return line
        record = self._record(seen, seen.tried, seen.error, seen.client_left)
        return access_log.line(record, self._log.format, self._secrets)

    def _group(
        self, seen: Observation, tried: attempts.Try | None, succeeded: bool, custom: _Custom
    ) -> _Group:
        """The group of ``seen`` if it had ended with ``tried``: the one as before, if that is remembered."""
        model, resolved = seen.model, "" if tried is None else tried.model
        if not succeeded:  # clients could make up any number of models, and failures have no pattern
            model = "" if tried is not None else metrics.model_label(model, self._models, False)
            resolved = metrics.model_label(resolved, self._models, False)
        key: tuple[object, ...]
        key = seen.path, seen.method, seen.status, seen.operation, model, seen.stream, succeeded, custom
        if tried is not None:
            server = tried.key
            alias = "" if tried.alias is None else tried.asked_model
            key = (*key, server.id, server.name, resolved, alias, tried.fallback_index)
        group = self._groups.get(key)
        if group is None:
            group = self._new_group(seen, tried, succeeded, custom)
            if max(len(model), len(resolved)) <= _LONGEST_REMEMBERED:
                if len(self._groups) >= _MOST_REMEMBERED:
                    self._groups.clear()
                self._groups[key] = group
        return group

    def _new_group(
        self, seen: Observation, tried: attempts.Try | None, succeeded: bool, custom: _Custom
    ) -> _Group:
        labels = {"path": seen.path, "method": seen.method, "status": str(seen.status), **dict(custom)}
        http = Labelled(self._metrics, labels)
        work = Labelled(self._metrics, self._base(seen, tried, succeeded, custom))
        if not succeeded or not self._log.enabled or self._logged_headers:
            return _Group(http, work, None)
        record = self._record(seen, tried, None, client_left=False)
        return _Group(http, work, access_log.pattern(record, self._log.format, self._secrets))

    def _count_work(self, seen: Observation, well: bool, custom: _Custom, counted: Labelled) -> None:
        for tried, took, succeeded in seen.upstream:
            is_last = tried is seen.tried and succeeded is well
            of_try = counted if is_last else self._group(seen, tried, succeeded, custom).work
            of_try.counters["bifrost_upstream_requests_total"].inc()
            of_try.histograms["bifrost_upstream_latency_seconds"].observe(took)
            of_try.gauges["bifrost_provider_key_up"].set(1.0 if succeeded else 0.0)
        for failed in seen.trail:
            if failed.rotated:
                self._count_rotation(failed)
        counters, histograms = counted.counters, counted.histograms
        if seen.upstream:
            histograms["bifrost_request_retries"].observe(len(seen.upstream) - 1)
        if well:
            counters["bifrost_success_requests_total"].inc()
        else:
            self._count_error(seen, custom)
        read, written, cached = seen.tokens
        if read:
            counters["bifrost_input_tokens_total"].inc(read)
        if written:
            counters["bifrost_output_tokens_total"].inc(written)
        if cached:
            counters["bifrost_cache_read_input_tokens_total"].inc(cached)
        if seen.stream and seen.first_event is not None:
            first_s = seen.first_event - seen.arrived
            histograms["bifrost_stream_first_token_latency_seconds"].observe(first_s)
            for gap, times in seen.gaps.means() if seen.gaps is not None else ():
                histograms["bifrost_stream_inter_token_latency_seconds"].repeat(gap, times)

    def _count_rotation(self, failed: attempts.Attempted) -> None:
        labels = {
            "provider": _PROVIDER,
            "requested_model": metrics.model_label(failed.model, self._models, False),
            "key_id": failed.key_id,
            "key_name": failed.key_name,
            "fail_reason": failed.reason,
        }
        self._metrics.counter("bifrost_key_rotation_events_total", labels).inc()

    def _count_error(self, seen: Observation, custom: _Custom) -> None:
        error = seen.error or {"status_code": 499}
        kind = metrics.error_type(error, bool(seen.upstream))
        labels = self._base(seen, seen.tried, False, custom)
        labels |= {"status_code": str(seen.status), "error_type": kind}
        self._metrics.counter("bifrost_error_requests_total", labels).inc()

    def _base(
        self, seen: Observation, tried: attempts.Try | None, succeeded: bool, custom: _Custom
    ) -> dict[str, str]:
        labels = {
            "provider": _PROVIDER,
            "method": seen.operation,
            "model": metrics.model_label(seen.model, self._models, succeeded),
            "fallback_index": "0",
            "is_success": "true" if succeeded else "false",
        }
        if tried is not None:
            labels |= {
                "model": metrics.model_label(tried.model, self._models, succeeded),
                "alias": tried.asked_model if tried.alias is not None else "",
                "selected_key_id": tried.key.id,
                "selected_key_name": tried.key.name,
                "key_id": tried.key.id,
                "key_name": tried.key.name,
                "fallback_index": str(tried.fallback_index),
            }
        return labels | dict(custom)

    def _record(
        self,
        seen: Observation,
        tried: attempts.Try | None,
        error: Mapping[str, object] | None,
        client_left: bool,
    ) -> access_log.Record:
        used = seen.tokens
        about = None if error is None else error.get("error")
        about = about if isinstance(about, Mapping) else {}
        wanted = self._logged_headers
        sent = seen.headers if wanted else ()
        return access_log.Record(
            at=seen.at,
            request_id=seen.request_id,
            method=seen.method,
            path=seen.path,
            status=seen.status,
            duration_ms=seen.took * 1000,
            outcome="client_left" if client_left else "error" if seen.status >= 400 or error else "ok",
            client=seen.client,
            operation=seen.operation,
            model=seen.model,
            resolved_model=tried.model if tried is not None else "",
            key=tried.key.name if tried is not None else "",
            stream=seen.stream,
            retries=len(seen.upstream) - 1 if len(seen.upstream) > 1 else None,
            fallback_index=(tried.fallback_index or None) if tried is not None else None,
            first_event_ms=None if seen.first_event is None else (seen.first_event - seen.arrived) * 1000,
            input_tokens=used[0],
            output_tokens=used[1],
            bytes_in=seen.bytes_in or None,
            bytes_out=seen.bytes_out or None,
            error_type=str(about.get("type") or ""),
            error_code=str(about.get("code") or ""),
            headers={name.lower(): value for name, value in sent if name.lower() in wanted},
        )

    def _timestamp(self, at: float) -> str:
        over = at - self._second
        if not 0 <= over < 1:
            self._second, self._second_text, over = access_log.second(at)
        return access_log.timestamp(self._second_text, over)


def tokens(usage: Mapping[str, object]) -> Tokens:
    """Tokens read, written, and found in a cache, under any of their names."""
    if not usage:
        return _NO_TOKENS
    read = usage["prompt_tokens"] if "prompt_tokens" in usage else usage.get("input_tokens")
    written = usage["completion_tokens"] if "completion_tokens" in usage else usage.get("output_tokens")
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if details and isinstance(details, Mapping) else None
    return _count(read), _count(written), _count(cached)


def _count(value: object) -> int | None:
    """``value`` if it can be a number of tokens; some servers count in true or more than a double holds."""
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None
