"""Traces, for those who installed the extra ``otel`` and said where they go.

One span for each request, and below it one for each time that a server is
asked. Names of attributes are those of OpenTelemetry's conventions for
generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/) and HTTP;
what these have no name for begins with ``bifrost_vllm``. Nothing of what was
asked or answered is in a span, no error text (servers quote requests in it),
and no key.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .layers import headers, metrics, settings
from .observation import Observation

_UNKNOWN: Final = "unknown"
_UNTRACED: Final = frozenset({"/health", "/metrics"})
_PROVIDER: Final = "vllm"
_LONGEST: Final = 128
_FLUSH_S: Final = 2.0  # a collector that does not take the last spans must not hold up the end
_W3C: Final = TraceContextTextMapPropagator()

_OPERATIONS: Final[Mapping[str, str]] = MappingProxyType({
    "chat_completion": "chat",
    "embedding": "embeddings",
    "responses": "chat",
    "text_completion": "text_completion",
})  # fmt: skip
"""What the conventions have a name for; anything else goes by its own."""

_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "max_tokens": "gen_ai.request.max_tokens",
    "n": "gen_ai.request.choice.count",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
})  # fmt: skip
_LARGEST: Final = 2**63  # OTLP has no larger integers


class Trace:
    """The span of one request, and those of its servers."""

    def __init__(self, tracer: Tracer, seen: Observation) -> None:
        carrier = headers.trace_context(seen.headers)
        self._tracer = tracer
        self._open: dict[str, Span] = {}
        self._asked = 0
        self._operation = ""
        method = "_OTHER" if seen.method == _UNKNOWN else seen.method
        about = {"http.request.method": method, "bifrost_vllm.request.id": seen.request_id}
        name = "HTTP" if seen.method == _UNKNOWN else method
        if seen.path != _UNKNOWN:
            about["http.route"], name = seen.path, f"{name} {seen.path}"
        self._span = tracer.start_span(name, _W3C.extract(carrier), SpanKind.SERVER, about)
        self._context = set_span_in_context(self._span)

    def understood(self, operation: str, model: str, params: object) -> None:
        """What is asked for; of ``params`` only known numbers are told."""
        self._operation = operation.removesuffix("_stream")
        self._span.update_name(self._name(model))
        self._span.set_attributes(self._about(model))
        if isinstance(params, Mapping):
            for name, attribute in _PARAMETERS.items():
                if _is_number(value := params.get(name)):
                    self._span.set_attribute(attribute, value)

    def asks(self, key: settings.Key, model: str) -> dict[str, str]:
        """A server is asked, with the headers that this gives; its span is open until ``answered``."""
        attributes = {**self._about(model), "bifrost_vllm.key.name": _text(key.name)}
        span = self._tracer.start_span(self._name(model), self._context, SpanKind.CLIENT, attributes)
        for name, value in _server(key.url).items():
            span.set_attribute(name, value)
        if self._asked and not self._open:  # servers that are asked at once are each asked once
            span.set_attribute("http.request.resend_count", self._asked)
        self._asked += 1
        self._open[key.id] = span
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span))
        return carrier

    def answered(self, key: settings.Key, error: Mapping[str, object] | None = None) -> None:
        """The server of ``key`` did its part, or failed with ``error``."""
        if (span := self._open.pop(key.id, None)) is not None:
            _end(span, error)

    def finished(self, seen: Observation, client_left: bool) -> None:
        """The request is over, and so is whatever a server still did for it."""
        error = seen.error or ({"status_code": 499} if client_left else None)
        for span in self._open.values():
            _end(span, error)
        self._open.clear()
        span = self._span
        span.set_attribute("http.response.status_code", seen.status)
        read, written, cached = seen.tokens
        counts = (("input", read), ("output", written), ("cache_read.input", cached))
        for name, count in counts:
            if count is not None and count < _LARGEST:
                span.set_attribute(f"gen_ai.usage.{name}_tokens", count)
        if seen.stream:
            span.set_attribute("gen_ai.request.stream", True)
            if seen.first_event is not None:
                span.set_attribute("gen_ai.response.time_to_first_chunk", seen.first_event - seen.arrived)
        if error is None:
            span.end()
        else:
            _end(span, error, bool(seen.upstream), only_faults=True)

    def _name(self, model: str) -> str:
        operation = _OPERATIONS.get(self._operation, self._operation)
        return f"{operation} {_text(model)}".rstrip()

    def _about(self, model: str) -> dict[str, str]:
        about = {
            "gen_ai.operation.name": _OPERATIONS.get(self._operation, self._operation),
            "gen_ai.provider.name": _PROVIDER,
        }
        return {**about, "gen_ai.request.model": _text(model)} if model else about


class Tracing:
    """Makes the spans of requests, with a provider that is closed along with the application."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("bifrost_vllm")

    def begin(self, seen: Observation) -> Trace | None:
        """A request is there; probes and metrics are not traced."""
        return None if seen.path in _UNTRACED else Trace(self._tracer, seen)

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs; after it, spans that wait have a moment to go out."""
        yield
        loop, flushed = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(flushed.set)

        threading.Thread(target=flush, daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await flushed.wait()


def from_environment() -> Tracing:
    """Traces that go by OTLP to where the environment says."""
    own = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "bifrost-vllm"}
    if SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own = {}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _end(
    span: Span, error: Mapping[str, object] | None, asked: bool = True, only_faults: bool = False
) -> None:
    """With ``only_faults``, as conventions want it of servers, a client's error leaves the span unmarked."""
    if error is not None:
        span.set_attribute("error.type", metrics.error_type(error, asked))
        status = error.get("status_code")
        if not (only_faults and isinstance(status, int) and status < 500):
            span.set_status(Status(StatusCode.ERROR))
    span.end()


def _server(url: str) -> dict[str, str | int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname else {}


def _text(name: str) -> str:
    """A name that somebody chose, as it can be sent: half a character would cost all spans of a batch."""
    return name[:_LONGEST].encode(errors="replace").decode()


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and -_LARGEST <= value < _LARGEST)
