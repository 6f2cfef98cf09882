"""Which version of vLLM each server runs, as it says itself on ``GET /version``."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from .layers import transports

FRESH_S: Final = 600.0
"""How long an answer counts: servers are replaced while gateways run."""
AGAIN_S: Final = 60.0
"""How long a server is left alone that did not answer."""


class _Known(NamedTuple):
    version: str
    until_s: float


class ServerVersions:
    """Learns versions beside the requests, none of which waits for it.

    ``ask`` gives what a server says of itself, nothing when it does not; it
    does not raise. ``clock`` gives seconds. One question is under way per server.
    """

    def __init__(
        self,
        ask: Callable[[transports.Endpoint], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def of(self, endpoint: transports.Endpoint) -> str:
        """The version as far as it is known now, else an empty text; what is old is asked anew meanwhile."""
        known = self._known.get(endpoint.url)
        is_old = known is None or self._clock() >= known.until_s
        if is_old and endpoint.url not in self._asking:
            self._asking[endpoint.url] = asyncio.create_task(self._learn(endpoint))
        return "" if known is None else known.version

    async def learnt(self) -> None:
        """Until no question is under way."""
        await asyncio.gather(*self._asking.values())

    async def close(self) -> None:
        """Give up what is under way."""
        under_way = [*self._asking.values()]
        self._asking.clear()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _learn(self, endpoint: transports.Endpoint) -> None:
        try:
            version = await self._ask(endpoint)
            until_s = self._clock() + (FRESH_S if version else AGAIN_S)
            self._known[endpoint.url] = _Known(version, until_s)
        finally:
            self._asking.pop(endpoint.url, None)
