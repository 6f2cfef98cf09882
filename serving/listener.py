"""Taking in connections, all that are there at a time.

uvloop, as libuv since 1.45, takes in one connection per turn of its loop. A turn
is long when hundreds of streams are relayed, and who comes then waits behind
everybody who came before: with 400 busy streams, 300 newcomers for 20 seconds.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from .front import BACKLOG

log: Final = logging.getLogger("bifrost_vllm.http")

_AT_ONCE: Final = 128  # so that those who are being served get their turn
_PAUSE_S: Final = 0.5
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Gives the connections to some sockets to a server; made by ``listen``."""

    def __init__(self, server: web.Server, sockets: Sequence[socket.socket]) -> None:
        self._server = server
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._arriving: Final[set[asyncio.Task[None]]] = set()
        for listening in sockets:
            self._loop.add_reader(listening, self._accept, listening)

    @property
    def port(self) -> int:
        """The port; where there are several addresses, that of the first."""
        return int(self._sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take in nobody any more."""
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("cannot take in connections: %s", error.strerror)
                self._loop.remove_reader(listening)  # or it would be tried again and again
                self._loop.call_later(_PAUSE_S, self._resume, listening)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, listening)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._server, connection)
        except OSError:  # whoever it was has left
            connection.close()


async def listen(server: web.Server, host: str, port: int) -> Listener:
    """Listen on every address of ``host``, or of this machine when it is empty; raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in found):
            if family in {socket.AF_INET, socket.AF_INET6}:
                chosen = sockets[0].getsockname()[1] if sockets else port  # one port, whoever chose it
                sockets.append(socket.create_server((address[0], chosen), family=family, backlog=BACKLOG))
                sockets[-1].setblocking(False)
    except OSError as error:
        for opened in sockets:
            opened.close()
        why = os.strerror(error.errno).lower() if error.errno is not None else "unknown reason"
        raise OSError(error.errno, f"{host or 'any address'}, port {port}: {why}") from None
    return Listener(server, sockets)
