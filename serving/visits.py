"""One request of a client, as those who answer it see it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from aiohttp import web

from .answers import Answer, EventStream, Wire
from .layers import request_heads
from .observation import Observation


class Visit:
    """A request: its head, read, the way back, and the whole body or what to read it from.

    ``client`` is an address. ``request`` is there for what was read by aiohttp,
    ``body`` for what was not. ``task`` serves it, where that is known; ``request_id`` and ``seen`` are
    there once somebody attends to it.
    """

    __slots__ = ("_request", "body", "client", "head", "request_id", "seen", "task", "wire")

    request_id: str
    seen: Observation

    def __init__(
        self,
        head: request_heads.RequestHead,
        wire: Wire,
        client: str,
        request: web.Request | None = None,
        body: bytes | None = None,
    ) -> None:
        self.head: Final = head
        self.wire: Final = wire
        self.client: Final = client
        self.body: Final = body
        self._request: Final = request
        self.task: asyncio.Task[Any] | None = None

    @property
    def request(self) -> web.Request:
        """aiohttp's; only where ``body`` is ``None``."""
        if self._request is None:
            raise TypeError("this request was not read by aiohttp")
        return self._request

    @property
    def size(self) -> int:
        """The bytes of the body, as far as the head tells."""
        return len(self.body) if self.body is not None else self.request.content_length or 0

    @property
    def headers(self) -> dict[str, str]:
        """What every answer to it has as headers."""
        return {**self.head.verdict.headers, "x-request-id": self.request_id}


Handler = Callable[[Visit], Awaitable[Answer | EventStream]]
"""Answers: with what is still to be written, or with a stream that has been."""


class Direct(NamedTuple):
    """Who answers requests for ``path`` that need not be looked up in the application."""

    path: str
    handler: Handler
