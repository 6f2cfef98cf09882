"""The heads of requests, for the transports that write them themselves."""

from collections.abc import Sequence
from typing import Final

from .base import OwnHeaders

_NOTHING: Final = "%.0s"
"""Formats a value that is not sent."""

_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What a request says of itself and of its connection; the endpoint's headers have no part in that."""


def template(
    method: str, target: str, host: str, given: Sequence[str], own: OwnHeaders, has_body: bool
) -> str:
    """A head in which the values of the headers ``given`` and then the length of the body are left open.

    They are filled in with ``%``, whether they are sent or not. ``target`` and
    ``host`` are as the request says them.
    """
    said = {name.lower() for name in (*given, *own.headers)}
    defaults = {"Accept": "*/*", "User-Agent": "bifrost-vllm", "Host": host}
    fixed = {**own.headers, **{name: value for name, value in defaults.items() if name.lower() not in said}}
    has_length = has_body or method not in {"GET", "HEAD"}
    return "".join(
        (
            _literally(f"{method} {target} HTTP/1.1\r\n"),
            *(_NOTHING if name.lower() in _FRAMING else _literally(name) + ": %s\r\n" for name in given),
            *(_literally(f"{name}: {value}\r\n") for name, value in fixed.items()),
            "Content-Length: %d\r\n" if has_length else _NOTHING,
            "\r\n",
        )
    )


def _literally(text: str) -> str:
    return text.replace("%", "%%")
