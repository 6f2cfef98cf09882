"""What a configuration holds that no recording may."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from .settings import Config

_CREDENTIAL: Final = re.compile(r"authori[sz]ation|key|token|secret|cookie", re.IGNORECASE)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def of(config: Config) -> tuple[str, ...]:
    """What a configuration holds that nobody else may read: keys, credentials, and where the servers are."""
    return tuple(dict.fromkeys(filter(None, _secrets(config))))


def _secrets(config: Config) -> Iterator[str]:
    for name, value in config.network.extra_headers.items():
        if _CREDENTIAL.search(name):
            yield value
    for key in config.keys:
        yield key.value
        try:
            address = urlsplit(key.url)
            yield address.password or ""
            host = address.netloc.rpartition("@")[2]
            # A bare name, such as vllm, may well be a word of an answer.
            if address.hostname not in _LOOPBACK and re.search("[.:]", host):
                yield host
        except ValueError:
            continue  # no address, and so never used
