"""The least that a gateway on aiohttp can cost: it passes on, and looks at nothing, or parses and re-emits.

``pass``: aiohttp's server and client, tuned: no middlewares, no access log, no
cookies, no limit of connections, no timeouts, addresses made once. ``parse``:
the same, and every JSON document goes through ``msgspec`` both ways. ``lean``:
aiohttp's server over our own transport on httptools, passing on.

Run as ``python -m bench.floors {pass,parse,lean} UPSTREAM``; prints its port.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import aiohttp
import msgspec
import uvloop
from aiohttp import web
from yarl import URL

from transports import ConnectionPool, Endpoint, HttptoolsTransport

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_KEPT: Final = ("content-type",)


def _again(document: bytes) -> bytes:
    return _encode(_decode(document))


def _events_again(read: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """The events that a read completes, each parsed and written anew; and what it leaves over."""
    *events, rest = (rest + read).split(b"\n\n")
    out = []
    for event in events:
        data = event.removeprefix(b"data: ")
        out.append(b"data: %b\n\n" % (data if data == b"[DONE]" else _again(data)))
    return b"".join(out), rest


class Floor:
    def __init__(self, upstream: str, parses: bool, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._parses = parses
        self._session = session
        self._addresses: dict[str, URL] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        url = self._addresses.get(path)
        if url is None:
            url = self._addresses[path] = URL(self._upstream + path, encoded=True)
        body = await request.read()
        if self._parses and body:
            body = _again(body)
        async with self._session.request(
            request.method, url, data=body or None, headers={"Content-Type": "application/json"}
        ) as answer:
            headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return await self._stream(request, answer, headers)
            data = await answer.read()
            if self._parses and data:
                data = _again(data)
            return web.Response(status=answer.status, body=data, headers=headers)

    async def _stream(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        rest = b""
        async for read in answer.content.iter_any():
            if self._parses:
                out, rest = _events_again(read, rest)
                await response.write(out)
            else:
                await response.write(read)
        await response.write_eof()
        return response


class _Body(NamedTuple):
    content_type: str
    data: bytes
    rest: tuple[bytes, ...] = ()


class _Plan(NamedTuple):
    method: str
    path: str
    body: _Body


class LeanFloor:
    def __init__(self, upstream: str, pool: ConnectionPool) -> None:
        self._transport = HttptoolsTransport(pool, Endpoint(upstream))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        plan = _Plan(request.method, request.path, _Body("application/json", body))
        async with self._transport.stream(plan) as (head, pieces):
            headers = {name: head.headers[name] for name in _KEPT if name in head.headers}
            if not headers.get("content-type", "").startswith("text/event-stream"):
                data = b"".join([piece.data async for piece in pieces])
                return web.Response(status=head.status, body=data, headers=headers)
            response = web.StreamResponse(status=head.status, headers=headers)
            await response.prepare(request)
            async for piece in pieces:
                await response.write(piece.data)
            await response.write_eof()
            return response


async def serve(kind: str, upstream: str) -> None:
    if kind == "lean":
        async with ConnectionPool() as pool:
            await _listen(LeanFloor(upstream, pool).handle)
        return
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    ) as session:
        await _listen(Floor(upstream, kind == "parse", session).handle)


async def _listen(handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
    server = web.Server(handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, backlog=1024)
    print(f"listening on port {listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
