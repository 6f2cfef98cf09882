"""The metrics: names and labels as Bifrost has them, so that its dashboards work
(https://docs.getbifrost.ai/features/observability/prometheus).

Labels that would always be empty here (virtual keys, teams, customers, routing
rules) are left out; to Prometheus an absent label is an empty one. What counts
costs, caches of the gateway or plugins has nothing to count and is left out
too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from .fields import Schema
from .reading import At
from .refusals import is_unroutable

DIMENSION_PREFIX: Final = "x-bf-dim-"
"""``x-bf-dim-NAME`` gives the label NAME a value, if the configuration has such a label."""

_LONGEST_VALUE: Final = 128
_LABEL_NAME: Final = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")

_HTTP: Final = ("path", "method", "status")
_BASE: Final = (
    "provider",
    "model",
    "alias",
    "method",
    "selected_key_id",
    "selected_key_name",
    "fallback_index",
    "routing_engine_used",
)
_LATENCY_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 900.0,
)  # fmt: skip
_FIRST_TOKEN_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
INTER_TOKEN_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets of the time between two events of a stream."""
_SIZE_BYTES: Final = tuple(100.0 * 10**power for power in range(8))
_RETRIES: Final = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)


class Metric(NamedTuple):
    """One metric. ``customised``: it has the configured labels, too. Buckets belong to histograms."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()
    customised: bool = True


METRICS: Final = (
    Metric("http_requests_total", "counter", "HTTP requests answered.", _HTTP),
    Metric(
        "http_request_duration_seconds",
        "histogram",
        "From the request's arrival to the last byte of its answer.",
        _HTTP,
        _LATENCY_S,
    ),
    Metric("http_request_size_bytes", "histogram", "Sizes of request bodies.", _HTTP, _SIZE_BYTES),
    Metric("http_response_size_bytes", "histogram", "Sizes of answers' bodies.", _HTTP, _SIZE_BYTES),
    Metric(
        "bifrost_upstream_requests_total",
        "counter",
        "Requests for servers; retries do not count anew.",
        _BASE,
    ),
    Metric(
        "bifrost_upstream_latency_seconds",
        "histogram",
        "How long a server took for one request.",
        (*_BASE, "is_success"),
        _LATENCY_S,
    ),
    Metric("bifrost_success_requests_total", "counter", "Requests that a server served.", _BASE),
    Metric(
        "bifrost_error_requests_total",
        "counter",
        "Requests that failed, by status and by whose fault it was.",
        (*_BASE, "status_code", "error_type"),
    ),
    Metric("bifrost_input_tokens_total", "counter", "Prompt tokens, as servers count them.", _BASE),
    Metric("bifrost_output_tokens_total", "counter", "Generated tokens, as servers count them.", _BASE),
    Metric(
        "bifrost_cache_read_input_tokens_total",
        "counter",
        "Prompt tokens that a server found in its prefix cache.",
        _BASE,
    ),
    Metric(
        "bifrost_stream_first_token_latency_seconds",
        "histogram",
        "From the request's arrival to the first event of its stream.",
        _BASE,
        _FIRST_TOKEN_S,
    ),
    Metric(
        "bifrost_stream_inter_token_latency_seconds",
        "histogram",
        "From one event of a stream to the next.",
        _BASE,
        INTER_TOKEN_S,
    ),
    Metric("bifrost_request_retries", "histogram", "Retries that a request needed.", _BASE, _RETRIES),
    Metric(
        "bifrost_key_rotation_events_total",
        "counter",
        "Retries that went to another key.",
        ("provider", "requested_model", "key_id", "key_name", "fail_reason"),
        customised=False,
    ),
    Metric("bifrost_active_requests", "gauge", "Requests in flight.", ("method",), customised=False),
    Metric(
        "bifrost_provider_key_up",
        "gauge",
        "1 when the last request with this key succeeded, 0 when it failed.",
        ("provider", "key_id", "key_name"),
        customised=False,
    ),
)
"""Every metric, in the order of the documentation."""

_OF_BUCKETS: Final = "le"
_TAKEN: Final = frozenset(label for metric in METRICS for label in metric.labels) | {_OF_BUCKETS}

ErrorType = Literal[
    "caller_model_not_available",
    "caller_invalid_request",
    "caller_cancelled",
    "policy_access_denied",
    "provider_auth_failed",
    "provider_billing",
    "provider_rate_limited",
    "provider_overloaded",
    "provider_server_error",
    "provider_timeout",
    "provider_connection_failed",
    "provider_credentials_exhausted",
    "bifrost_dropped",
    "bifrost_internal",
    "_OTHER",
]
"""Whose fault an error is: the values of the label ``error_type`` that can occur here."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the operator's own: a fixed value, or the one that the client sends."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class LabelText:
    """``NAME`` or ``NAME=VALUE``; dashes in a name become underscores."""

    def read(self, at: At) -> Label | None:
        text = at.text()
        if text is None:
            return None
        written, equals, value = text.partition("=")
        name = written.strip().replace("-", "_")
        if not _LABEL_NAME.fullmatch(name):
            at.problem("not the name of a label")
            return None
        if name in _TAKEN:
            at.warn("not used: every metric that needs this label has it already")
            return None
        return Label(name, value.strip() if equals else None)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^\s*[A-Za-z_][\w-]*\s*(=.*)?$"}


def label_names(metric: Metric, custom: Sequence[Label]) -> tuple[str, ...]:
    """The labels of a metric in a gateway that has ``custom`` ones."""
    own = tuple(dict.fromkeys(label.name for label in custom)) if metric.customised else ()
    return metric.labels + own


def custom_values(custom: Sequence[Label], client: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values of the operator's labels for one request; without a value a label is empty."""
    if not custom:
        return {}
    sent = {
        name.lower().removeprefix(DIMENSION_PREFIX).replace("-", "_"): value
        for name, value in client
        if name.lower().startswith(DIMENSION_PREFIX)
    }
    return {
        label.name: (sent.get(label.name.lower(), "") if label.value is None else label.value)[
            :_LONGEST_VALUE
        ]
        for label in custom
    }


def model_label(model: str, known: frozenset[str], succeeded: bool) -> str:
    """The value of a label for a model that the client named.

    Empty for a model that no configuration names and no server served: clients
    could make up any number of them.
    """
    return model if (succeeded or model in known) and len(model) <= _LONGEST_VALUE else ""


def error_type(error: Mapping[str, object], asked: bool) -> ErrorType:
    """Whose fault an error is.

    ``asked``: a server was asked; otherwise the gateway refused the request.
    """
    if not asked and is_unroutable(error):
        return "caller_model_not_available"
    field = error.get("error")
    kind = field.get("type") if isinstance(field, Mapping) else None
    status = error.get("status_code")
    if isinstance(kind, str) and asked and kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if not isinstance(status, int) or isinstance(status, bool):
        return "bifrost_internal" if error.get("is_bifrost_error") else "caller_invalid_request"
    table = _OF_SERVERS if asked else _OF_THE_GATEWAY
    if status in table:
        return table[status]
    if 400 <= status < 500:
        return "caller_invalid_request"
    if 500 <= status < 600:
        return "provider_server_error" if asked else "bifrost_internal"
    return "_OTHER"


_BY_TYPE: Final[Mapping[str, ErrorType]] = {
    "provider_connection_failed": "provider_connection_failed",
    "request_cancelled": "caller_cancelled",
    "request_timed_out": "provider_timeout",
    "upstream_credentials_exhausted": "provider_credentials_exhausted",
}
_OF_SERVERS: Final[Mapping[int, ErrorType]] = {
    401: "provider_auth_failed",
    402: "provider_billing",
    403: "provider_auth_failed",
    429: "provider_rate_limited",
    499: "caller_cancelled",
    503: "provider_overloaded",
    504: "provider_timeout",
    529: "provider_overloaded",
}
_OF_THE_GATEWAY: Final[Mapping[int, ErrorType]] = {
    401: "policy_access_denied",
    499: "caller_cancelled",
    503: "bifrost_dropped",
}
