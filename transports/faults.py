"""What broke, in fixed words: the exceptions of two libraries become ``Cut`` values.

No word is taken from an exception's own text, which tends to hold the host,
the port and the path. Where no phrase fits, the name of its class must do.
"""

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Final
from urllib.parse import urlsplit

from .base import Cut, Phase

_WAITED_FOR: Final[Mapping[Phase, str]] = {
    "connect": "no connection within",
    "sending": "request not taken within",
    "first byte": "no answer within",
    "idle": "no data for",
    "total": "not complete within",
}

UNSENDABLE_HEADER: Final = Cut("connect", "a header holds characters that cannot be sent")
INVALID_ADDRESS: Final = "the address is not valid"
NAME_NOT_FOUND: Final = "host name not found"
NO_ANSWER: Final = "the server closed the connection without an answer"
NOT_HTTP: Final = "not an HTTP answer"
ENDED_EARLY: Final = "the body ended early"
REFUSED: Final = "connection refused"
RESET: Final = "connection reset"

# Searched from the top: a class stands before those that it is derived from.
_PHRASES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLCertVerificationError, "TLS certificate not trusted"),
    (ssl.SSLError, "TLS handshake failed"),
    (socket.gaierror, NAME_NOT_FOUND),
    (http.client.RemoteDisconnected, NO_ANSWER),
    (ConnectionRefusedError, REFUSED),
    (ConnectionError, RESET),
    (http.client.IncompleteRead, ENDED_EARLY),
    (http.client.HTTPException, NOT_HTTP),
)

_ERRNO_PHRASES: Final[Mapping[int, str]] = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.ECONNABORTED: RESET,
    errno.EPIPE: RESET,
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
}

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[!-~][\t -~]*)?")
"""What the value of a header can be."""

_PRINTABLE: Final = re.compile(r"[!-~]+")


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, then everything it wraps, nearest first."""
    queue, seen = [error], {id(error)}
    for current in queue:
        yield current
        # urllib3 keeps the cause in ``reason`` or in the arguments, Python in the other two.
        wrapped = (*current.args, getattr(current, "reason", None), current.__cause__, current.__context__)
        for inner in wrapped:
            if isinstance(inner, BaseException) and id(inner) not in seen:
                seen.add(id(inner))
                queue.append(inner)


def phrase(error: BaseException) -> str:
    """What happened, without a host, a path or a header."""
    chain = list(causes(error))
    for kind, words in _PHRASES:
        if any(isinstance(cause, kind) for cause in chain):
            return words
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in _ERRNO_PHRASES:
            return _ERRNO_PHRASES[cause.errno]
    return type(error).__name__


def broken_body(error: BaseException) -> Cut:
    """The cut of a connection that broke after its headers."""
    tls = any(isinstance(cause, ssl.SSLError) for cause in causes(error))
    return Cut("read", "the TLS connection broke" if tls else phrase(error))


def timed_out(phase: Phase, seconds: float | None) -> Cut:
    """The cut of a limit that ran out; without a limit it was the system's own."""
    if seconds is None:
        return Cut("timeout", f"{phase}: connection timed out", phase)
    return Cut("timeout", f"{phase}: {_WAITED_FOR[phase]} {seconds:g} s", phase)


def too_large(limit: int) -> Cut:
    """The cut of a body that ``send`` no longer wants to collect."""
    return Cut("read", f"the body is larger than {limit} bytes")


def unsendable(url: str, headers: Mapping[str, str]) -> Cut | None:
    """Why a request cannot be put on the wire, if it cannot.

    The libraries disagree about what they repair, and the exceptions of what
    they reject quote the value, which may be the key.
    """
    return unsendable_headers(headers) if is_usable(url) else Cut("connect", INVALID_ADDRESS)


@lru_cache(maxsize=1024)
def is_usable(url: str) -> bool:
    """Whether a request can be sent to this address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and is_printable(url)


def unsendable_headers(headers: Mapping[str, str]) -> Cut | None:
    """The same for the headers alone."""
    for name, value in headers.items():
        if not is_token(name) or not _VALUE.fullmatch(value):
            return UNSENDABLE_HEADER
    return None


def sendable_values(headers: Mapping[str, str], kept: Sequence[bool] | None) -> tuple[str, ...] | None:
    """The values of these headers, or of those that are ``kept``; ``None`` when one cannot be sent."""
    values = tuple(headers.values() if kept is None else compress(headers.values(), kept))
    return values if all(map(_VALUE.fullmatch, values)) else None


@lru_cache(maxsize=1024)
def is_token(name: str) -> bool:
    """Whether this can be the name of a header."""
    return bool(_TOKEN.fullmatch(name))


def is_printable(address: str) -> bool:
    """Whether an address, or a part of one, can stand in a request as it is."""
    return bool(_PRINTABLE.fullmatch(address))
