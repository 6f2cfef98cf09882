"""What the gateway answers by itself, as BifrostError documents.

A stranger's request is data, not a bug: every refusal is a value. The HTTP
status is ``status_code``; without one it is 400 when ``is_bifrost_error`` is
false, else 500.
"""

from collections.abc import Mapping
from typing import Final

from typing_extensions import NotRequired, TypedDict


class ErrorField(TypedDict):
    """The ``error`` member of a BifrostError."""

    message: str
    type: NotRequired[str]
    code: NotRequired[str]
    param: NotRequired[object]
    error: NotRequired[str]
    event_id: NotRequired[str]


class ErrorDocument(TypedDict):
    """The one shape of an error (https://docs.getbifrost.ai/api-reference)."""

    is_bifrost_error: bool
    error: ErrorField
    status_code: NotRequired[int]
    type: NotRequired[str]
    event_id: NotRequired[str]
    extra_fields: NotRequired[Mapping[str, object]]


FIRST_EVENT_LATE: Final = "first_event_timeout"
"""The code of a stream that was given up because its first event did not come in time."""

CREDENTIALS_EXHAUSTED: Final = "upstream_credentials_exhausted"
OVERLOADED: Final = "gateway_overloaded"


def unroutable(message: str) -> ErrorDocument:
    """No key serves the request."""
    return {"is_bifrost_error": False, "error": {"message": message, "error": message}, "status_code": 400}


def is_unroutable(error: Mapping[str, object]) -> bool:
    """Whether an error of the gateway is that no key serves the request."""
    about = error.get("error")
    message = about.get("message") if isinstance(about, Mapping) else None
    return isinstance(message, str) and about == unroutable(message)["error"]


def no_url() -> ErrorDocument:
    """The keys that would serve the request have no address."""
    return {
        "is_bifrost_error": True,
        "error": {"message": "no base URL configured: set vllm_key_config.url on the key"},
    }


def credentials_exhausted() -> ErrorDocument:
    """Every key was turned away by its server, which is not the client's fault."""
    return {
        "is_bifrost_error": False,
        "error": {
            "message": ("all configured keys returned permanent per-key errors (401/402/403): provider vllm"),
            "type": CREDENTIALS_EXHAUSTED,
        },
        "status_code": 502,
    }


def first_event_late(seconds: float) -> ErrorDocument:
    """A stream whose first event did not come in time; before it, another server may be tried."""
    return {
        "is_bifrost_error": True,
        "error": {
            "message": f"request timed out: no event within {seconds:g} s",
            "type": "request_timed_out",
            "code": FIRST_EVENT_LATE,
        },
        "status_code": 504,
    }


def overloaded() -> ErrorDocument:
    """More requests than the gateway may hold at a time."""
    return {
        "is_bifrost_error": True,
        "error": {
            "message": "too many requests in flight: try again later",
            "type": "server_overloaded",
            "code": OVERLOADED,
        },
        "status_code": 503,
    }


def unauthorized(message: str, code: str) -> ErrorDocument:
    """A client without a key, or with one that is not known."""
    return {
        "is_bifrost_error": False,
        "error": {"message": message, "type": "authentication_error", "code": code},
        "status_code": 401,
    }


def unmet_headers(message: str) -> ErrorDocument:
    """A request without the headers that the configuration demands; Bifrost's wording."""
    return {
        "is_bifrost_error": False,
        "error": {"message": message, "type": "missing_required_headers"},
        "status_code": 400,
    }


def misframed(status: int, message: str) -> ErrorDocument:
    """A request that different servers would take apart differently."""
    return {
        "is_bifrost_error": False,
        "error": {"message": message, "type": "invalid_request_error"},
        "status_code": status,
    }
