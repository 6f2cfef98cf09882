"""Addresses of servers, as the configuration has them."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from . import references
from .fields import Schema
from .reading import At

_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"\w[\w.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Url:
    """The address of a server, with or without ``/v1``."""

    def read(self, at: At) -> str | None:
        if not isinstance(at.value, str | Mapping | None):
            at.wrong("a string")
            return None
        url = references.resolved(at)
        if not url:
            at.warn("missing: requests for this key are refused")
        elif trouble := wrong_with(url):
            at.problem(trouble)
        return url

    def schema(self) -> Schema:
        return references.schema()


def wrong_with(url: str) -> str:
    """Why ``url`` is not the address of a server; empty when it is one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not _PRINTABLE.fullmatch(url):
        return "not a URL: it holds a space or something else that is not printable ASCII"
    if parts.scheme not in {"http", "https"}:
        return "the URL must begin with http:// or https://"
    if not host or not _HOST.fullmatch(host):
        return "the URL names no host"
    if port == 0:
        return "port 0 is not a port"
    if parts.username is not None or parts.password is not None:
        return "credentials do not belong in the URL; use the value of the key"
    if "?" in url or "#" in url:
        return "the URL must not have a query or a fragment"
    if _is_link_local(host):
        return "a link-local address is not allowed"
    return ""


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
