"""What a configuration holds that may be in no recording."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from .settings import Config

_CREDENTIAL: Final = re.compile(r"authori[sz]ation|key|token|secret|cookie", re.IGNORECASE)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def texts(config: Config) -> tuple[str, ...]:
    """Its secrets, the credentials among its headers and addresses, and where its servers are."""
    return tuple(dict.fromkeys(filter(None, _texts(config))))


def _texts(config: Config) -> Iterator[str]:
    yield from config.secrets
    for name, value in config.network.extra_headers.items():
        if _CREDENTIAL.search(name):
            yield value
    for key in config.keys:
        try:
            address = urlsplit(key.url)
            yield address.password or ""
            host = address.netloc.rpartition("@")[2]
            # A bare name, such as vllm, may well be a word of an answer.
            if address.hostname not in _LOOPBACK and re.search("[.:]", host):
                yield host
        except ValueError:
            continue  # no address, and so never used
