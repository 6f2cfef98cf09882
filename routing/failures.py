"""What a failed request says of the key that was used.

The classes are Bifrost's
(https://github.com/maximhq/bifrost/blob/main/core/failureclass.go), read for
servers that speak vLLM's errors: what only other providers say is left out.

Texts that stand for a rate limit are not looked for in the message of a 400 or
a 422: vLLM quotes the request in it, and the request may say anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal

from .refusals import FIRST_EVENT_LATE

FailureClass = Literal[
    "credential",
    "quota",
    "model_access",
    "model_gone",
    "region_blocked",
    "rate_limit",
    "transient",
    "caller_fault",
    "cancelled",
    "unknown",
]

PERMANENT: Final = frozenset({"credential", "quota", "model_access", "model_gone", "region_blocked"})
"""Classes after which the key is of no use to the request any more: waiting changes nothing."""

OF_THE_MODEL: Final = frozenset({"model_access", "model_gone", "region_blocked"})
"""Permanent classes that say something about the model on this key, and nothing about the key."""

_TRANSIENT: Final = frozenset({500, 502, 503, 504, 529})
_CALLER_FAULTS: Final = frozenset({400, 409, 413, 415, 422})
_QUOTING: Final = frozenset({400, 422})
_BY_STATUS_ALONE: Final = frozenset({401, 403})
_NO_CLIENT_ANY_MORE: Final = 499
_MOST_DIGITS: Final = 9
_FIRST_OF_1900S: Final = 70  # of the years in two digits

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)

RATE_LIMIT_TEXTS: Final = (
    "rate limit",
    "rate_limit",
    "ratelimit",
    "too many requests",
    "quota exceeded",
    "quota_exceeded",
    "request limit",
    "throttled",
    "throttling",
    "rate exceeded",
    "limit exceeded",
    "requests per",
    "rpm exceeded",
    "tpm exceeded",
    "tokens per minute",
    "requests per minute",
    "requests per second",
    "api rate limit",
    "usage limit",
    "concurrent requests limit",
    "burst_rate",
    "rate increased",
)
"""Texts that stand for a rate limit, whatever the status; case does not matter."""

_QUOTA_CODES: Final = frozenset({"insufficient_quota"})
_CREDENTIAL_CODES: Final = frozenset({"invalid_api_key"})
_MODEL_CODES: Final = frozenset({"model_not_found"})
_REGION_CODES: Final = frozenset({"unsupported_country_region_territory"})
_MODEL_GONE_TEXTS: Final = ("deprecated", "decommissioned", "retired", "no longer available", "been removed")
_MODEL_MISSING_TEXTS: Final = ("does not exist", "not found")

_DESCRIPTIONS: Final = ("empty response received", "html response received", "provider api error")

_REASONS: Final[Mapping[str, str]] = MappingProxyType({
    "credential": "authentication_error",
    "quota": "billing_error",
    "rate_limit": "rate_limit_error",
    "model_access": "model_access_error",
    "model_gone": "model_retired_error",
    "region_blocked": "region_blocked_error",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failed:
    """How a request to a server failed.

    ``error`` is the BifrostError document. ``retry_after_s`` is how long the
    server wants to be left alone. ``unreachable``: no connection could be made,
    or not in time.
    ``begun``: something of an answer has reached the client, so that nothing
    can be tried again.
    """

    error: Mapping[str, object] = field(repr=False)
    retry_after_s: float | None = None
    unreachable: bool = False
    begun: bool = False

    @property
    def status(self) -> int | None:
        status = self.error.get("status_code")
        return status if isinstance(status, int) and not isinstance(status, bool) else None

    def said(self, name: str) -> str:
        """A text of ``error.error``, empty when it is absent."""
        about = self.error.get("error")
        text = about.get(name) if isinstance(about, Mapping) else None
        return text if isinstance(text, str) else ""


def classify(failed: Failed) -> FailureClass:
    """What ``failed`` says of the key and its server."""
    status, code, kind = failed.status, failed.said("code"), failed.said("type")
    message = failed.said("message").lower()
    if status == _NO_CLIENT_ANY_MORE or kind == "request_cancelled":
        return "cancelled"
    if failed.unreachable:
        return "transient"
    if failed.error.get("is_bifrost_error"):  # found on this side, so nothing is known of the server
        return "transient" if code == FIRST_EVENT_LATE else "unknown"
    transient = status in _TRANSIENT
    if not transient and (status == 402 or {code, kind} & _QUOTA_CODES):
        return "quota"
    if status == 429 or (status not in _BY_STATUS_ALONE and is_rate_limit(failed)):
        return "rate_limit"
    if transient:
        return "transient"
    if code in _REGION_CODES:
        return "region_blocked"
    if status == 401 or code in _CREDENTIAL_CODES:
        return "credential"
    if (found := _about_the_model(failed, message)) is not None:
        return found
    if status == 403:
        return "credential"
    if status in _CALLER_FAULTS and (code or kind or _was_said(message)):
        return "caller_fault"
    if status == 404 and _names_a_param(failed):
        return "caller_fault"
    return "unknown"


def is_rate_limit(failed: Failed) -> bool:
    """Whether the error's texts stand for a rate limit."""
    texts = [failed.said("type"), failed.said("code")]
    if failed.status not in _QUOTING:
        texts.append(failed.said("message"))
    return any(marker in text.lower() for text in texts for marker in RATE_LIMIT_TEXTS)


def ends_the_chain(failed: Failed) -> bool:
    """Whether the request itself was refused, so that no fallback would fare better."""
    return failed.status in {400, 422} and classify(failed) == "caller_fault"


def reason(failed: Failed, failure_class: FailureClass) -> str:
    """The failure as logs and metrics name it."""
    return _REASONS.get(failure_class) or failed.said("type") or "unknown"


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """The Retry-After header in seconds; ``None`` when it is absent or cannot be understood.

    As a point in time (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)
    it is held against ``date``, the Date header of the same answer: both are
    by the server's clock, whatever ours says.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    then, now = _moment(text), _moment(date or "")
    return None if then is None or now is None else max(0.0, (then - now).total_seconds())


def _moment(text: str) -> datetime | None:
    """A point in time as HTTP writes it (https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)."""
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    year, second = int(found["year"]), min(int(found["second"]), 59)  # a leap second counts as the one before
    if len(found["year"]) == 2:
        year += 1900 if year >= _FIRST_OF_1900S else 2000
    month = _MONTHS.index(found["month"]) + 1
    try:
        return datetime(
            year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC
        )
    except ValueError:
        return None


def _about_the_model(failed: Failed, message: str) -> FailureClass | None:
    """vLLM: 404 ``The model `x` does not exist.``, of type NotFoundError, with param ``model`` or none."""
    retired = any(text in message for text in _MODEL_GONE_TEXTS)
    if failed.status == 410:
        return "model_gone"
    if {failed.said("code"), failed.said("type")} & _MODEL_CODES:
        return "model_gone" if retired else "model_access"
    if failed.status != 404 or "model" not in message:
        return None
    if retired:
        return "model_gone"
    return "model_access" if any(text in message for text in _MODEL_MISSING_TEXTS) else None


def _was_said(message: str) -> bool:
    """Whether a message is the server's own, not a description of an answer without one."""
    return bool(message) and not message.startswith(_DESCRIPTIONS)


def _names_a_param(failed: Failed) -> bool:
    about = failed.error.get("error")
    return isinstance(about, Mapping) and about.get("param") not in (None, "")
