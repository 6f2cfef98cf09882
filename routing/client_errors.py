"""What a client may read of an error.

Servers and proxies put stack traces, database wording and addresses into
messages. As in Bifrost, such a message becomes ``internal server error``; unlike
there, only in errors of servers: a 4xx quotes what the client itself has sent,
and programmers send stack traces all day.
"""

from collections.abc import Mapping
from typing import Final

INTERNAL: Final = "internal server error"
GATEWAY_TIMEOUT: Final = "upstream returned HTTP 504 Gateway Timeout"

_INSIDES: Final = (
    "traceback (most recent call last)",
    "runtime/debug.stack",
    "goroutine ",
    "panic:",
    ".go:",
    "sqlstate",
    "sql:",
    "pq:",
    "pgx:",
    "duplicate key value violates",
    "violates foreign key constraint",
    "violates unique constraint",
    "syntax error at or near",
    "relation does not exist",
    "database/sql",
)


def presentable(error: Mapping[str, object]) -> dict[str, object]:
    """``error``, a BifrostError document, without what concerns nobody outside."""
    about = error.get("error")
    status = error.get("status_code")
    if not isinstance(about, Mapping) or (isinstance(status, int) and 400 <= status < 500):
        return dict(error)
    if _says(about, *_INSIDES):
        return {**error, "error": _without_details(about, INTERNAL)}
    if status == 504 and not error.get("is_bifrost_error") and _says(about, "://"):
        return {**error, "error": _without_details(about, GATEWAY_TIMEOUT)}
    return dict(error)


def _says(about: Mapping[str, object], *markers: str) -> bool:
    texts = [text.lower() for name in ("message", "error") if isinstance(text := about.get(name), str)]
    return any(marker in text for text in texts for marker in markers)


def _without_details(about: Mapping[str, object], message: str) -> dict[str, object]:
    others = {name: value for name, value in about.items() if name not in {"message", "error", "param"}}
    return {"message": message, **others}
