"""Spans of requests, and of the servers that they were sent to."""

import subprocess
import sys
from typing import Any
from unittest.mock import ANY

import opentelemetry.semconv._incubating.attributes.gen_ai_attributes as gen_ai
import pytest
import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

import gateway
from routing.limits import Concurrency
from routing.settings import Config, Key, Retries
from serving import command_line
from serving.tracing import Tracing
from tests.contract.wheel import ROOT
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    ASK,
    ASK_STREAM,
    COMPLETION,
    HELLO,
    MODELS,
    Exchange,
    LoopThread,
    Upstream,
    chunk,
    frame,
    reply,
    stream,
    stream_head,
)
from tests.e2e.test_gateway_command_line import HELLO as RECORDED_ASK
from tests.e2e.test_gateway_command_line import config_file, ready, started
from tests.e2e.test_gateway_leaving import asking, received
from transports import Recordings

CHAT = "/v1/chat/completions"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FAILED = {"error": {"message": "prompt-canary", "type": "InternalServerError", "code": 500}}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


def config(upstream: Upstream, **members: Any) -> Config:
    return Config((Key("k", "k", value="key-canary-1", url=upstream.url, models=("*",)),), **members)


def ended(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return list(spans.get_finished_spans())


def settle(http: requests.Session, url: str) -> None:
    """A connection serves the next request when the one before is over in every respect."""
    http.get(f"{url}/health").raise_for_status()


def told(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def trace_parent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def test_a_recorded_chat(
    serve: Serve, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    recorded = Config((Key("recorded", "recorded", url="http://recorded.invalid", models=("*",)),))
    url = serve(recorded, Recordings.load(gateway.BUNDLED).newest(), tracing=tracing)
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b", "x-request-id": "r-1"}
    usage = http.post(url + CHAT, json=RECORDED_ASK, headers=sent).json()["usage"]
    server, whole = ended(spans)
    assert (server.name, server.kind.name) == ("chat tiny/chat", "CLIENT")
    assert (whole.name, whole.kind.name) == ("chat tiny/chat", "SERVER")
    assert whole.context is not None
    assert whole.parent is not None
    assert server.parent is not None
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert (f"{whole.parent.span_id:016x}", whole.parent.trace_state.get("a")) == (PARENT, "b")
    assert server.parent.span_id == whole.context.span_id
    assert (server.status.status_code.name, whole.status.status_code.name) == ("UNSET", "UNSET")
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "tiny/chat",
    }
    assert told(server) == {
        **about,
        "bifrost_vllm.key.name": "recorded",
        "server.address": "recorded.invalid",
        "server.port": 80,
    }
    assert told(whole) == {
        **about,
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "bifrost_vllm.request.id": "r-1",
        "gen_ai.request.temperature": 0,
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "gen_ai.usage.cache_read.input_tokens": 0,
    }


def test_the_names_are_those_of_the_conventions(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    url = serve(config(upstream), tracing=tracing)
    upstream.answers(stream(*HELLO))
    params = {"temperature": 0.5, "top_p": 0.9, "seed": 1, "max_tokens": 5, "n": 1, "presence_penalty": 0.1}
    http.post(url + CHAT, json={**ASK_STREAM, **params, "frequency_penalty": 0.1, "top_k": 3})
    settle(http, url)
    known = {
        value
        for module in (gen_ai, error_attributes, http_attributes, server_attributes)
        for name, value in vars(module).items()
        if name.isupper()
    }
    names = {name for span in ended(spans) for name in told(span) if not name.startswith("bifrost_vllm.")}
    assert names <= known
    assert {name for name in names if name.startswith("gen_ai.request.")} == {
        gen_ai.GEN_AI_REQUEST_CHOICE_COUNT,
        gen_ai.GEN_AI_REQUEST_FREQUENCY_PENALTY,
        gen_ai.GEN_AI_REQUEST_MAX_TOKENS,
        gen_ai.GEN_AI_REQUEST_MODEL,
        gen_ai.GEN_AI_REQUEST_PRESENCE_PENALTY,
        gen_ai.GEN_AI_REQUEST_SEED,
        gen_ai.GEN_AI_REQUEST_STREAM,
        gen_ai.GEN_AI_REQUEST_TEMPERATURE,
        gen_ai.GEN_AI_REQUEST_TOP_K,
        gen_ai.GEN_AI_REQUEST_TOP_P,
    }


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
def test_every_attempt_has_its_span_and_its_server_gets_it_as_parent(
    serve: Serve,
    upstream: Upstream,
    http: requests.Session,
    tracing: Tracing,
    spans: InMemorySpanExporter,
    ask: dict[str, object],
) -> None:
    retries = Retries(max_retries=1, backoff_initial_s=0.001, backoff_max_s=0.001)
    url = serve(config(upstream, retries=retries), tracing=tracing)
    upstream.answers(reply(FAILED, 500), reply(COMPLETION) if ask is ASK else stream(*HELLO))
    http.post(url + CHAT, json=ask, headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"})
    settle(http, url)
    first, second, whole = ended(spans)
    assert [request.header("traceparent") for request in upstream.seen] == [
        trace_parent(first),
        trace_parent(second),
    ]
    assert [request.header("tracestate") for request in upstream.seen] == ["a=b"] * 2
    assert (told(first)["error.type"], first.status.status_code.name) == ("provider_server_error", "ERROR")
    assert told(second)["http.request.resend_count"] == 1
    assert {"error.type"}.isdisjoint({*told(second), *told(whole)})
    assert first.status.description is None
    everything = "".join(span.to_json() for span in ended(spans))
    assert "canary" not in everything
    assert "hi" not in {value for span in ended(spans) for value in told(span).values()}


def test_a_stream_that_fails_on_its_way(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    url = serve(config(upstream), tracing=tracing)
    upstream.answers(stream(HELLO[0], HELLO[1], FAILED))
    assert http.post(url + CHAT, json=ASK_STREAM).status_code == 200
    settle(http, url)
    server, whole = ended(spans)
    for span in (server, whole):
        assert (told(span)["error.type"], span.status.status_code.name) == ("provider_server_error", "ERROR")
    assert told(whole)["http.response.status_code"] == 200
    assert told(whole)["gen_ai.response.time_to_first_chunk"] == ANY


def test_a_fault_of_the_client_is_no_error_of_the_gateway(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    url = serve(config(upstream), tracing=tracing)
    upstream.answers(reply({"error": {"message": "no", "type": "BadRequestError", "code": 400}}, 400))
    http.post(url + CHAT, json=ASK)
    server, whole = ended(spans)
    assert told(server)["error.type"] == told(whole)["error.type"] == "caller_invalid_request"
    assert (server.status.status_code.name, whole.status.status_code.name) == ("ERROR", "UNSET")


def test_a_client_that_leaves_ends_both_spans(
    serve: Serve, upstream: Upstream, loop_thread: LoopThread, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    async def begun(exchange: Exchange) -> None:
        await exchange.send(stream_head() + chunk(frame(HELLO[0])))
        await exchange.client_left()

    url = serve(config(upstream, concurrency=Concurrency(1, 1)), tracing=tracing)
    upstream.answers(begun, reply(COMPLETION))
    with asking(url, ASK_STREAM) as client:
        received(client, b"}\n\n")
    upstream.request().left.wait()
    requests.post(url + CHAT, json=ASK, timeout=10)  # gets its turn when the other has left
    server, whole, *_ = ended(spans)
    assert told(server)["error.type"] == told(whole)["error.type"] == "caller_cancelled"
    assert (told(whole)["http.response.status_code"], whole.kind.name) == (499, "SERVER")


def test_a_list_of_models_asks_every_server_in_a_span(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    key = config(upstream).keys[0]
    dead = Key("dead", "dead", url="http://127.0.0.1:9", models=("*",))
    url = serve(Config((key, dead)), tracing=tracing)
    upstream.answers(reply(MODELS))
    http.get(f"{url}/v1/models").raise_for_status()
    *servers, whole = ended(spans)
    assert [span.name for span in (*servers, whole)] == ["list_models"] * 3
    assert not any("http.request.resend_count" in told(span) for span in servers)
    assert {told(span)["bifrost_vllm.key.name"]: told(span).get("error.type") for span in servers} == {
        "k": None,
        "dead": "provider_connection_failed",
    }


def test_what_asks_nobody(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    url = serve(config(upstream), tracing=tracing)
    for path in ("/health", "/metrics"):
        http.get(url + path).raise_for_status()
    http.post(url + CHAT, json=ASK, headers={"x-bf-dry-run": "true"}).raise_for_status()
    assert ended(spans) == []
    http.get(f"{url}/nothing/of/the/kind")
    (lost,) = ended(spans)
    assert lost.name == "GET"
    assert told(lost) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "bifrost_vllm.request.id": ANY,
        "error.type": "caller_invalid_request",
    }


def test_names_that_are_no_text_do_not_cost_the_other_spans(
    serve: Serve, upstream: Upstream, http: requests.Session, tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    url = serve(config(upstream), tracing=tracing)
    upstream.always_answers(reply(COMPLETION))
    http.post(
        url + CHAT, json={**ASK, "model": "vllm/\ud800" + "x" * 999, "seed": 10**30, "temperature": 0.5}
    )
    http.request("PROPFIND", url + CHAT)
    sent = encode_spans(ended(spans))
    assert type(sent).FromString(sent.SerializeToString()) == sent
    server, whole, odd = ended(spans)
    assert told(server)["gen_ai.request.model"] == "?" + "x" * 127
    assert "gen_ai.request.seed" not in told(whole)
    assert told(whole)["gen_ai.request.temperature"] == 0.5
    assert (odd.name, told(odd)["http.request.method"]) == ("HTTP", "_OTHER")


def test_without_a_word_nothing_is_imported() -> None:
    script = (
        "import sys, gateway; from serving import command_line;"
        "print(command_line._tracing(), [name for name in sys.modules if 'opentelemetry' in name])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={}, check=True, capture_output=True, text=True
    )
    assert outcome.stdout == "None []\n"


def test_spans_go_where_the_environment_says_before_the_gateway_ends(
    upstream: Upstream, loop_thread: LoopThread, http: requests.Session, tmp_path: Any
) -> None:
    key = {"name": "k", "models": ["*"], "vllm_key_config": {"url": upstream.url}}
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    upstream.answers(reply(COMPLETION))
    with Upstream(loop_thread) as collector:
        collector.always_answers(reply(b"", 200, "application/x-protobuf"))
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_RESOURCE_ATTRIBUTES": "team=a"}
        with started("--config", file, "--port", "0", **environ) as process:
            url, _ = ready(process)
            http.post(url + CHAT, json=ASK).raise_for_status()
            process.terminate()
            _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
        sent = collector.request()
    assert sent.line == "POST /v1/traces HTTP/1.1"
    (about,) = ExportTraceServiceRequest.FromString(sent.body).resource_spans
    resource = {entry.key: entry.value.string_value for entry in about.resource.attributes}
    assert (resource["service.name"], resource["team"]) == ("bifrost-vllm", "a")
    assert [span.name for scope in about.scope_spans for span in scope.spans] == ["chat m", "chat m"]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: only otlp and none are known",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "that needs pip install 'bifrost-vllm[otel]'"),
    ],
)
def test_what_cannot_be_traced_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environ: dict[str, str], reason: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "serving.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert command_line._tracing() is None
    assert [record.getMessage() for record in caplog.records] == [f"requests are not traced: {reason}"]
