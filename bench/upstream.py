"""A stand-in for vLLM that costs next to nothing: every answer is ready before it is asked for.

The model's name says how a stream comes: ``bench-burst`` in one write,
``bench-drip`` one event every 5 ms, all streams in the same tick, as an engine
step does it; ``bench-hold`` two events and then nothing, until the client
leaves. Each event is an HTTP chunk of its own, as uvicorn sends it.

Run as ``python -m bench.upstream``; prints its port.
"""

import asyncio
from typing import Final, cast

import httptools
import uvloop

from . import exchanges

TICK_S: Final = 0.005

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 22:57:51 GMT\r\nserver: uvicorn\r\n%bcontent-type: %b\r\n\r\n"
)
_JSON: Final = b"application/json"
_STREAM_HEAD: Final = _HEAD % (b"transfer-encoding: chunked\r\n", b"text/event-stream; charset=utf-8")


def _whole(body: bytes) -> bytes:
    return _HEAD % (b"content-length: %d\r\n" % len(body), _JSON) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_CHUNKS: Final = tuple(map(_chunk, exchanges.STREAM))
_END: Final = b"0\r\n\r\n"
_BURST: Final = _STREAM_HEAD + b"".join(_CHUNKS) + _END
_HOLD: Final = _STREAM_HEAD + _CHUNKS[0] + _CHUNKS[1]
_MODELS: Final = tuple(f"{exchanges.MODEL}-{how}" for how in ("plain", "burst", "drip", "hold"))
_ANSWERS: Final = {
    b"/v1/chat/completions": _whole(exchanges.CHAT),
    b"/v1/embeddings": _whole(exchanges.EMBEDDINGS),
    b"/v1/rerank": _whole(exchanges.RERANK),
    b"/rerank": _whole(exchanges.RERANK),
    b"/v1/models": _whole(
        b'{"object":"list","data":[%b]}'
        % b",".join(
            b'{"id":"%b","object":"model","created":1795388272,"owned_by":"vllm","max_model_len":32768}'
            % model.encode()
            for model in _MODELS
        )
    ),
    b"/health": _whole(b""),
    b"/version": _whole(b'{"version":"0.32.0"}'),
    b"/get_model_info": _whole(b'{"model_path":"bench-plain","is_generation":true}'),
    b"/get_server_info": _whole(
        b'{"model_id":"bench-plain","served_model_name":"bench-plain","tp_size":1,"dp_size":1}'
    ),
    b"/server_info": _whole(
        b'{"model_id":"bench-plain","served_model_name":"bench-plain","tp_size":1,"dp_size":1}'
    ),
    b"/model_info": _whole(b'{"model_path":"bench-plain","is_generation":true}'),
}
_MISSING: Final = (
    b"HTTP/1.1 404 Not Found\r\nserver: uvicorn\r\ncontent-length: 22\r\n"
    b'content-type: application/json\r\n\r\n{"detail":"Not Found"}'
)


class Dripping:
    """The streams that get one event a tick."""

    def __init__(self) -> None:
        self._streams: dict[asyncio.Transport, int] = {}
        self._ticking = False

    def add(self, transport: asyncio.Transport) -> None:
        self._streams[transport] = 0
        if not self._ticking:
            self._ticking = True
            self._next(asyncio.get_running_loop().time())

    def remove(self, transport: asyncio.Transport) -> None:
        self._streams.pop(transport, None)

    def _next(self, due: float) -> None:
        for transport, sent in list(self._streams.items()):
            transport.write(_CHUNKS[sent])
            if sent + 1 < len(_CHUNKS):
                self._streams[transport] = sent + 1
            else:
                transport.write(_END)
                del self._streams[transport]
        self._ticking = bool(self._streams)
        if self._ticking:
            loop = asyncio.get_running_loop()
            loop.call_at(due + TICK_S, self._next, due + TICK_S)


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, dripping: Dripping) -> None:
        self._dripping = dripping
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._dripping.remove(self._transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.partition(b"?")[0]

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if b'-drip"' in body:
            self._transport.write(_STREAM_HEAD)
            self._dripping.add(self._transport)
        elif b'-burst"' in body:
            self._transport.write(_BURST)
        elif b'-hold"' in body:
            self._transport.write(_HOLD)
        else:
            self._transport.write(_ANSWERS.get(self._path, _MISSING))


async def serve() -> None:
    dripping = Dripping()
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(dripping), "127.0.0.1", 0, backlog=1024
    )
    print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
