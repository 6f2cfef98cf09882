"""routing.metrics: names, labels and whose fault an error is."""

import re

import pytest

from routing.metrics import METRICS, Label, custom_values, error_type, label_names, model_label
from routing.refusals import credentials_exhausted, first_event_late, overloaded, unauthorized, unroutable
from translate import errors
from transports.base import Cut


def test_every_metric_of_bifrost_that_has_something_to_count() -> None:
    assert [metric.name for metric in METRICS] == [
        "http_requests_total",
        "http_request_duration_seconds",
        "http_request_size_bytes",
        "http_response_size_bytes",
        "bifrost_upstream_requests_total",
        "bifrost_upstream_latency_seconds",
        "bifrost_success_requests_total",
        "bifrost_error_requests_total",
        "bifrost_input_tokens_total",
        "bifrost_output_tokens_total",
        "bifrost_cache_read_input_tokens_total",
        "bifrost_stream_first_token_latency_seconds",
        "bifrost_stream_inter_token_latency_seconds",
        "bifrost_request_retries",
        "bifrost_key_rotation_events_total",
        "bifrost_active_requests",
        "bifrost_provider_key_up",
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_as_prometheus_wants_it(metric: object) -> None:
    assert metric in METRICS
    (found,) = [one for one in METRICS if one is metric]
    assert found.name.endswith("_total") == (found.kind == "counter")
    assert bool(found.buckets) == (found.kind == "histogram")
    assert list(found.buckets) == sorted(set(found.buckets))
    assert len(set(found.labels)) == len(found.labels)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) and name != "le" for name in found.labels)
    assert found.help.endswith(".")


def test_labels_of_the_operators_own() -> None:
    custom = (Label("team"), Label("environment", "production"), Label("team"))
    by_name = {metric.name: metric for metric in METRICS}
    assert label_names(by_name["http_requests_total"], custom) == (
        "path",
        "method",
        "status",
        "team",
        "environment",
    )
    assert label_names(by_name["bifrost_active_requests"], custom) == ("method",)
    assert label_names(by_name["http_requests_total"], ()) == ("path", "method", "status")


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (
            [("X-BF-Dim-Team", "blue"), ("x-bf-dim-other", "1")],
            {"team": "blue", "cost_center": "", "env": "prod"},
        ),
        ([("x-bf-dim-cost-center", "42")], {"team": "", "cost_center": "42", "env": "prod"}),
        ([("x-bf-dim-cost_center", "42")], {"team": "", "cost_center": "42", "env": "prod"}),
        ([("x-bf-dim-env", "mine")], {"team": "", "cost_center": "", "env": "prod"}),
        ([("x-bf-dim-team", "x" * 1_000)], {"team": "x" * 128, "cost_center": "", "env": "prod"}),
        ([("team", "blue")], {"team": "", "cost_center": "", "env": "prod"}),
    ],
)
def test_what_clients_say_for_them(client: list[tuple[str, str]], expected: dict[str, str]) -> None:
    assert custom_values((Label("team"), Label("cost_center"), Label("env", "prod")), client) == expected
    assert custom_values((), client) == {}


@pytest.mark.parametrize(
    ("model", "succeeded", "expected"),
    [
        ("org/known", False, "org/known"),
        ("org/new", True, "org/new"),
        ("org/made-up", False, ""),
        ("x" * 200, True, ""),
    ],
)
def test_clients_cannot_make_up_any_number_of_models(model: str, succeeded: bool, expected: str) -> None:
    assert model_label(model, frozenset({"org/known"}), succeeded) == expected


def said(status: int, **more: object) -> dict[str, object]:
    return {"is_bifrost_error": False, "status_code": status, "error": {"message": "x", **more}}


@pytest.mark.parametrize(
    ("error", "asked", "expected"),
    [
        (said(401), True, "provider_auth_failed"),
        (said(403), True, "provider_auth_failed"),
        (said(402), True, "provider_billing"),
        (said(429), True, "provider_rate_limited"),
        (said(503), True, "provider_overloaded"),
        (said(529), True, "provider_overloaded"),
        (said(500), True, "provider_server_error"),
        (said(502), True, "provider_server_error"),
        (said(504), True, "provider_timeout"),
        (said(400), True, "caller_invalid_request"),
        (said(404), True, "caller_invalid_request"),
        (said(413), False, "caller_invalid_request"),
        (said(404), False, "caller_invalid_request"),
        (said(500), False, "bifrost_internal"),
        (said(401, type="authentication_error"), True, "provider_auth_failed"),
        (unauthorized("x", "invalid_api_key"), False, "policy_access_denied"),
        (overloaded(), False, "bifrost_dropped"),
        (credentials_exhausted(), True, "provider_credentials_exhausted"),
        (first_event_late(5), True, "provider_timeout"),
        (errors.from_cut(Cut("connect", "refused")).error, True, "provider_connection_failed"),
        (errors.from_cut(Cut("timeout", "idle")).error, True, "provider_timeout"),
        (errors.from_cut(Cut("cancelled", "left")).error, True, "caller_cancelled"),
        (errors.missing_url().error, False, "bifrost_internal"),
        (errors.unreadable("no").error, True, "bifrost_internal"),
        (errors.unsupported("speech").error, False, "caller_invalid_request"),
        ({"status_code": 200, "error": {}}, True, "_OTHER"),
        ({"status_code": True, "error": "text"}, True, "caller_invalid_request"),
    ],
)
def test_whose_fault_an_error_is(error: dict[str, object], asked: bool, expected: str) -> None:
    assert error_type(error, asked) == expected


def test_a_model_that_no_key_serves_is_the_callers_fault() -> None:
    error = {**unroutable("x"), "extra_fields": {"provider": "vllm"}}
    assert error_type(error, asked=False) == "caller_model_not_available"
    assert error_type(error, asked=True) == "caller_invalid_request"
