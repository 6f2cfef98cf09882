"""What the end-to-end tests stand on: an event loop in a thread, and a server that misbehaves as told."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long anything may take before a test counts as failed."""


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, done on the loop."""
        return self.start(work).result(PATIENCE_S)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


class Signal:
    """Something that happens once; waited for from any thread, and awaited on the loop."""

    def __init__(self, thread: LoopThread) -> None:
        self._loop = thread.loop
        self._there = threading.Event()
        self._here = asyncio.Event()

    def set(self) -> None:
        self._there.set()
        self._loop.call_soon_threadsafe(self._here.set)

    def wait(self) -> None:
        assert self._there.wait(PATIENCE_S), "it did not happen"

    async def happened(self) -> None:
        await self._here.wait()


class Seen:
    """One request as the server saw it. ``left`` happens when its connection is gone."""

    def __init__(self, thread: LoopThread, connection: int) -> None:
        self.connection = connection
        self.left = Signal(thread)
        self.line = ""
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other == name), None)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self._reader = reader
        self._writer = writer
        self.closing = False

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def client_left(self) -> None:
        """Until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read()
        self.seen.left.set()
        self.closing = True

    def hang_up(self) -> None:
        """Close after what was sent."""
        self.closing = True

    def reset(self) -> None:
        """Close at once, without ceremony."""
        self._writer.transport.abort()
        self.closing = True


Script = Callable[[Exchange], Awaitable[None]]


class Upstream:
    """A server that answers the n-th request with the n-th script, and remembers what it saw."""

    def __init__(self, thread: LoopThread) -> None:
        self.thread = thread
        self.seen: list[Seen] = []
        self.connections = 0
        self._scripts: list[Script] = []
        self._otherwise: Script | None = None
        self._arrived = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._server = self.thread.run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.run(self._stop())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, *scripts: Script) -> None:
        """Answer the coming requests with ``scripts``, one each."""
        self._scripts += scripts

    def always_answers(self, script: Script) -> None:
        """Answer with ``script`` whatever no other script is there for."""
        self._otherwise = script

    def signal(self) -> Signal:
        return Signal(self.thread)

    def request(self, number: int = 0) -> Seen:
        """The request of that number, once it has come."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: len(self.seen) > number, PATIENCE_S)
        assert came, "the request did not come"
        return self.seen[number]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._exchange(number, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled: the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        seen = Seen(self.thread, number)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        seen.line = head[0]
        for line in filter(None, head[1:]):
            name, _, value = line.partition(":")
            seen.headers.append((name.lower(), value.strip()))
        seen.body = await reader.readexactly(int(seen.header("content-length") or 0))
        with self._arrived:
            self.seen.append(seen)
            self._arrived.notify_all()
        exchange = Exchange(seen, reader, writer)
        script = self._scripts.pop(0) if self._scripts else self._otherwise
        if script is None:
            return False
        await script(exchange)
        return not exchange.closing


def head(status: int = 200, content_type: str = "application/json", **others: str) -> bytes:
    """Status line and headers; ``x_name="v"`` gives the header ``x-name``."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in others.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def reply(
    body: object, status: int = 200, content_type: str = "application/json", /, **others: str
) -> Script:
    """A whole answer; ``body`` is bytes, text, or a JSON value."""
    data = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )

    async def script(exchange: Exchange) -> None:
        await exchange.send(head(status, content_type, content_length=str(len(data)), **others) + data)

    return script


def frame(payload: object) -> bytes:
    """One event; ``payload`` is bytes, or a JSON value."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b"data: %b\n\n" % data


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_head(**others: str) -> bytes:
    return head(200, "text/event-stream; charset=utf-8", transfer_encoding="chunked", **others)


def stream(*payloads: object, **others: str) -> Script:
    """A whole stream, one chunk for each event."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(stream_head(**others))
        for payload in payloads:
            await exchange.send(chunk(frame(payload)))
        await exchange.send(chunk(b""))

    return script


DONE = b"[DONE]"


def delta(
    text: str | None = None, *, role: str | None = None, finish: str | None = None
) -> dict[str, object]:
    """A frame of vLLM's for one choice."""
    said: Mapping[str, object] = {
        name: value for name, value in (("role", role), ("content", text)) if value is not None
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}],
    }


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
USAGE_FRAME = {**delta(), "choices": [], "usage": USAGE}
HELLO = (delta("", role="assistant"), delta("Hel"), delta("lo"), delta("", finish="stop"), USAGE_FRAME, DONE)
"""A healthy stream that says "Hello"."""

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": USAGE,
}
"""A healthy answer that says "Hello"."""

MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "vllm"}]}

ASK = {"model": "vllm/m", "messages": [{"role": "user", "content": "hi"}]}
ASK_STREAM = {**ASK, "stream": True}
