"""Whether requests are traced, by the variables that OpenTelemetry has for it.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

_PROTOCOL: Final = "http/protobuf"


class Unusable(NamedTuple):
    """Traces are asked for in a way that is not known here; ``reason`` names the variable."""

    reason: str


def traces(environ: Mapping[str, str]) -> Literal["on", "off"] | Unusable:
    """``on`` when the environment says where traces go, or asks for the exporter ``otlp``."""
    if _value(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return "off"
    exporter = _value(environ, "OTEL_TRACES_EXPORTER")
    to = _of_traces(environ, "ENDPOINT")
    if exporter == "none" or not (exporter or to):
        return "off"
    if exporter not in {"", "otlp"}:
        return Unusable("OTEL_TRACES_EXPORTER: only otlp and none are known")
    if _of_traces(environ, "PROTOCOL") not in {"", _PROTOCOL}:
        return Unusable(f"OTEL_EXPORTER_OTLP_PROTOCOL: only {_PROTOCOL} is spoken")
    return "on"


def _of_traces(environ: Mapping[str, str], name: str) -> str:
    """A setting for traces alone goes over one for all signals."""
    return _value(environ, f"OTEL_EXPORTER_OTLP_TRACES_{name}") or _value(
        environ, f"OTEL_EXPORTER_OTLP_{name}"
    )


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()
