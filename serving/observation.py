"""What is noticed of one request, and what logs and metrics make of it in the end."""

import logging
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from math import inf, nextafter
from typing import Final, Protocol

from aiohttp import web

from .layers import access_log, attempts, metrics, secrets, settings
from .metrics import Labelled, Metrics

log: Final = logging.getLogger("bifrost_vllm.access")

_PROVIDER: Final = "vllm"
_MOST_REMEMBERED: Final = 10_000  # combinations of label values

_Custom = tuple[tuple[str, str], ...]


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

    __slots__ = ("_counts", "_sums")

    def __init__(self) -> None:
        self._counts = [0] * (len(metrics.INTER_TOKEN_S) + 1)
        self._sums = [0.0] * (len(metrics.INTER_TOKEN_S) + 1)

    def add(self, gap: float) -> None:
        bucket = bisect_left(metrics.INTER_TOKEN_S, gap)
        self._counts[bucket] += 1
        self._sums[bucket] += gap

    def means(self) -> Iterator[tuple[float, int]]:
        """A gap for each bucket, and how often to count it: buckets and sum are those of all gaps."""
        least = -inf
        for most, count, total in zip((*metrics.INTER_TOKEN_S, inf), self._counts, self._sums, strict=True):
            if count:
                yield min(max(total / count, nextafter(least, inf)), most), count
            least = most


class Observation:
    """What is known of one request so far; times are of a clock that only goes forward, in seconds.

    ``path`` is the route. ``tried`` is the latest try, ``served`` the one that succeeded.
    """

    __slots__ = (
        "arrived", "at", "bytes_in", "bytes_out", "client", "error", "first_event", "gaps", "headers",
        "last_event", "method", "model", "operation", "path", "request_id", "served", "status", "stream",
        "trace", "trail", "tried", "upstream", "usage",
    )  # fmt: skip

    def __init__(self, method: str, path: str, request_id: str, client: str) -> None:
        self.at = time.time()
        self.arrived = time.monotonic()
        self.method = method
        self.path = path
        self.request_id = request_id
        self.client = client
        self.status = 0
        self.operation = ""
        self.model = ""
        self.stream = False
        self.tried: attempts.Try | None = None
        self.served: attempts.Try | None = None
        self.trail: Sequence[attempts.Attempted] = ()
        self.upstream: list[tuple[attempts.Try, float, bool]] = []
        self.error: Mapping[str, object] | None = None
        self.usage: Mapping[str, object] = {}
        self.first_event: float | None = None
        self.last_event = 0.0
        self.gaps: Gaps | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.headers: Iterable[tuple[str, str]] = ()
        self.trace: Trace | None = None

    def event(self) -> None:
        """Events went to the client."""
        now = time.monotonic()
        if self.first_event is None:
            self.first_event = now
        else:
            if self.gaps is None:
                self.gaps = Gaps()
            self.gaps.add(now - self.last_event)
        self.last_event = now

    def used(self, document: Mapping[str, object]) -> None:
        """An answer, or the last event of one, may tell token counts."""
        response = document.get("response")
        usage = document.get("usage", response.get("usage") if isinstance(response, Mapping) else None)
        if isinstance(usage, Mapping):
            self.usage = usage


class Observer:
    """Writes the access log and counts. ``secrets`` never appear in a line."""

    def __init__(self, config: settings.Config, counted: Metrics, write: Callable[[str], None]) -> None:
        self._config = config
        self._metrics = counted
        self._write = write
        self._models = config.known_models
        self._secrets = secrets.Secrets(config.secrets)
        self._labelled: dict[Hashable, Labelled] = {}

    def began(self, method: str) -> None:
        """A request is in."""
        self._kept((method,), lambda: {"method": method}).count("bifrost_active_requests")

    def finished(self, seen: Observation, client_left: bool) -> None:
        """The request is over."""
        took = time.monotonic() - seen.arrived
        if seen.trace is not None:
            seen.trace.finished(seen, client_left)
        custom = tuple(metrics.custom_values(self._config.labels, seen.headers).items())
        self._kept((seen.method,), lambda: {"method": seen.method}).count("bifrost_active_requests", -1)
        self._count_http(seen, took, custom)
        if seen.operation:
            self._count_operation(seen, client_left, custom)
        if self._config.log.enabled:
            self._write(
                access_log.line(self._record(seen, took, client_left), self._config.log.format, self._secrets)
            )

    def _kept(self, key: Hashable, values: Callable[[], Mapping[str, str]]) -> Labelled:
        """What ``key`` is counted with: the same as before, as long as there is room to remember it."""
        counted = self._labelled.get(key)
        if counted is None:
            counted = self._metrics.labelled(values())
            if len(self._labelled) < _MOST_REMEMBERED:
                self._labelled[key] = counted
        return counted

    def _count_http(self, seen: Observation, took: float, custom: _Custom) -> None:
        def labels() -> dict[str, str]:
            return {"path": seen.path, "method": seen.method, "status": str(seen.status), **dict(custom)}

        counted = self._kept((seen.path, seen.method, seen.status, custom), labels)
        counted.count("http_requests_total")
        counted.count("http_request_duration_seconds", took)
        counted.count("http_request_size_bytes", seen.bytes_in)
        counted.count("http_response_size_bytes", seen.bytes_out)

    def _count_operation(self, seen: Observation, client_left: bool, custom: _Custom) -> None:
        for tried, took, succeeded in seen.upstream:
            counted = self._of_try(seen, tried, succeeded, custom)
            counted.count("bifrost_upstream_requests_total")
            counted.count("bifrost_upstream_latency_seconds", took)
            counted.count("bifrost_provider_key_up", 1.0 if succeeded else 0.0)
        for failed in seen.trail:
            if failed.rotated:
                self._count_rotation(failed)
        counted = self._of_try(seen, seen.tried, seen.error is None and not client_left, custom)
        if seen.upstream:
            counted.count("bifrost_request_retries", len(seen.upstream) - 1)
        if seen.error is not None or client_left:
            self._count_error(seen, custom)
        else:
            counted.count("bifrost_success_requests_total")
        read, written, cached = tokens(seen.usage)
        if read:
            counted.count("bifrost_input_tokens_total", read)
        if written:
            counted.count("bifrost_output_tokens_total", written)
        if cached:
            counted.count("bifrost_cache_read_input_tokens_total", cached)
        if seen.stream and seen.first_event is not None:
            counted.count("bifrost_stream_first_token_latency_seconds", seen.first_event - seen.arrived)
            for gap, times in seen.gaps.means() if seen.gaps is not None else ():
                for _ in range(times):
                    counted.count("bifrost_stream_inter_token_latency_seconds", gap)

    def _count_rotation(self, failed: attempts.Attempted) -> None:
        labels = {
            "provider": _PROVIDER,
            "requested_model": metrics.model_label(failed.model, self._models, False),
            "key_id": failed.key_id,
            "key_name": failed.key_name,
            "fail_reason": failed.reason,
        }
        self._metrics.labelled(labels).count("bifrost_key_rotation_events_total")

    def _count_error(self, seen: Observation, custom: _Custom) -> None:
        error = seen.error or {"status_code": 499}
        kind = metrics.error_type(error, bool(seen.upstream))
        labels = self._base(seen, seen.tried, False, custom)
        labels |= {"status_code": str(seen.status), "error_type": kind}
        self._metrics.labelled(labels).count("bifrost_error_requests_total")

    def _of_try(
        self, seen: Observation, tried: attempts.Try | None, succeeded: bool, custom: _Custom
    ) -> Labelled:
        key: Hashable = (seen.operation, seen.model, succeeded, custom)
        if tried is not None:
            aliased = tried.alias is not None
            of_try = (
                tried.model,
                tried.asked_model,
                aliased,
                tried.fallback_index,
                tried.key.id,
                tried.key.name,
            )
            key = (seen.operation, of_try, succeeded, custom)
        return self._kept(key, lambda: self._base(seen, tried, succeeded, custom))

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

    def _record(self, seen: Observation, took: float, client_left: bool) -> access_log.Record:
        error = seen.error or {}
        about = error.get("error")
        about = about if isinstance(about, Mapping) else {}
        read, written, _ = tokens(seen.usage)
        tried = seen.tried
        wanted = frozenset(self._config.log.headers)
        headers = (
            {name.lower(): value for name, value in seen.headers if name.lower() in wanted} if wanted else {}
        )
        return access_log.Record(
            at=seen.at,
            request_id=seen.request_id,
            method=seen.method,
            path=seen.path,
            status=seen.status,
            duration_ms=took * 1000,
            outcome="client_left" if client_left else "error" if seen.status >= 400 or seen.error else "ok",
            client=seen.client,
            operation=seen.operation,
            model=seen.model,
            resolved_model=tried.model if tried is not None else "",
            key=tried.key.name if tried is not None else "",
            stream=seen.stream,
            retries=len(seen.upstream) - 1 if len(seen.upstream) > 1 else None,
            fallback_index=(tried.fallback_index or None) if tried is not None else None,
            first_event_ms=None if seen.first_event is None else (seen.first_event - seen.arrived) * 1000,
            input_tokens=read,
            output_tokens=written,
            bytes_in=seen.bytes_in or None,
            bytes_out=seen.bytes_out or None,
            error_type=str(about.get("type") or ""),
            error_code=str(about.get("code") or ""),
            headers=headers,
        )


def tokens(usage: Mapping[str, object]) -> tuple[int | None, int | None, int | None]:
    """Tokens read, written, and found in a cache, under any of their names."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return (
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
        _count(cached),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
