"""Streams to clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from .answers import EventStream
from .layers import headers, translate
from .presentation import encoded, hidden, presented
from .visits import Visit

_COMMENT: Final = b": keep-alive\n\n"


class Relay:
    """The stream that a client gets; it begins with its first event, or with a comment before it."""

    def __init__(self, visit: Visit, keep_alive_s: float) -> None:
        self.stream: Final = EventStream(visit.wire)
        self._wire = visit.wire
        self._seen = visit.seen
        self._others = visit.headers
        self._keep_alive_s = keep_alive_s
        self._written_at = time.monotonic()

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """While in here, a silence does not last longer than was configured."""
        if not self._keep_alive_s:
            yield
            return
        ticking = asyncio.ensure_future(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError, ConnectionResetError):
                await ticking

    async def _tick(self) -> None:
        while not self.stream.ended:
            silence = time.monotonic() - self._written_at
            if silence >= self._keep_alive_s:
                self._send(_COMMENT, time.monotonic())
                await self.drain()
            else:
                await asyncio.sleep(self._keep_alive_s - silence)

    def begin(self, forwarded: Mapping[str, str]) -> None:
        """The head of the answer, unless a comment was first."""
        if not self.stream.begun:
            self.stream.begin({**forwarded, **headers.EVENT_STREAM, **self._others})

    def write(self, batch: Sequence[translate.Chunk | translate.Failure], api_key: str) -> None:
        """Send what one read of the upstream brought, when the stream has begun; ``drain`` is to follow.

        ``api_key`` is the server's, and is in no error that goes out.
        """
        frames: list[bytes] = []
        ended = False
        for event in batch:
            if isinstance(event, translate.Failure):
                self._seen.error = event.error
                frames.append(translate.sse.frame(encoded(presented(event.error, api_key)), event.event))
                ended = True
                continue
            data = event.data
            if event.event == "response.failed":  # it tells the error
                data = hidden(data, api_key)
            frames.append(translate.sse.frame(encoded(data), event.event))
            if event.final:
                self._seen.used(event.data)
                ended = True
                if not event.event:
                    frames.append(translate.sse.DONE)
        self._seen.event()
        # The end goes out before the rest of the upstream body is read.
        self._send(b"".join(frames), self._seen.last_event, ended)

    @property
    def is_full(self) -> bool:
        """Whether ``drain`` would wait."""
        return self._wire.is_full

    async def drain(self) -> None:
        """Return when the client has taken in enough; raises ``ConnectionResetError`` when it leaves."""
        await self._wire.drain()

    async def end(self, document: bytes) -> None:
        """One more event, and no other, unless the stream is at its end."""
        if not self.stream.ended:
            self._send(translate.sse.frame(document), time.monotonic(), last=True)
            await self.drain()

    def _send(self, data: bytes, now: float, last: bool = False) -> None:
        if not self.stream.begun:
            self.begin({})
        self._seen.bytes_out += len(data)
        self._written_at = now
        self.stream.write(data, last)
