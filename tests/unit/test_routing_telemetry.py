"""Whether requests are traced."""

import pytest

from routing.telemetry import Unusable, traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, "off", id="nothing is said"),
        pytest.param(ENDPOINT, "on", id="where to"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, "on", id="where traces go"
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, "off", id="a blank counts as unset"),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "otlp"}, "on", id="the exporter alone, to where it goes itself"
        ),
        pytest.param({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, "off", id="no exporter"),
        pytest.param({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, "off", id="disabled"),
        pytest.param({**ENDPOINT, "OTEL_SDK_DISABLED": "1"}, "on", id="only true disables"),
        pytest.param({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "on", id="our protocol"),
        pytest.param(
            {
                **ENDPOINT,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            "on",
            id="our protocol for traces",
        ),
        pytest.param(
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            Unusable("OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken"),
            id="another protocol",
        ),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            Unusable("OTEL_TRACES_EXPORTER: only otlp and none are known"),
            id="another exporter",
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "off", id="a protocol and nowhere to go"),
    ],
)
def test_what_the_environment_wants(environ: dict[str, str], expected: object) -> None:
    assert traces(environ) == expected
