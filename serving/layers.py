"""The packages that are joined here: side by side in a checkout, inside one when installed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "serving":  # in a checkout
    import translate
    import transports
    from comparison import command as comparison
    from routing import (
        access_log,
        attempts,
        check,
        client_errors,
        confidential,
        failures,
        fleet,
        headers,
        limits,
        metrics,
        request_heads,
        secrets,
        settings,
        telemetry,
        unsupported,
    )
    from translate import flat_schemas
else:  # installed
    from .. import translate, transports
    from ..comparison import command as comparison
    from ..routing import (
        access_log,
        attempts,
        check,
        client_errors,
        confidential,
        failures,
        fleet,
        headers,
        limits,
        metrics,
        request_heads,
        secrets,
        settings,
        telemetry,
        unsupported,
    )
    from ..translate import flat_schemas

__all__ = [
    "access_log",
    "attempts",
    "check",
    "client_errors",
    "comparison",
    "confidential",
    "failures",
    "flat_schemas",
    "fleet",
    "headers",
    "limits",
    "metrics",
    "request_heads",
    "secrets",
    "settings",
    "telemetry",
    "translate",
    "transports",
    "unsupported",
]
