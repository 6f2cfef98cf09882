"""What a transport is, and the four drivers that join one to a translator.

A transport moves bytes and measures time. It knows no path, no model and no
JSON, follows no redirect and retries nothing. Trouble on the network is a
value (``Cut``), not an exception; cancellation and bugs pass through.
"""

import re
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

T = TypeVar("T")
Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")

CutKind = Literal["connect", "timeout", "read", "cancelled"]
Phase = Literal["connect", "sending", "first byte", "idle", "total"]
"""What a request was at when its time ran out."""


class BodyLike(Protocol):
    """What is to be sent as a body: ``data`` and, right behind it, the pieces of ``rest``."""

    @property
    def content_type(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def rest(self) -> Sequence[bytes]: ...


class PlanLike(Protocol):
    """What is to be sent: method, path (with its leading slash) and body."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def body(self) -> BodyLike | None: ...


class Cut(NamedTuple):
    """How an exchange broke off.

    ``connect``: no connection was made. ``timeout``: a limit of ``Timeouts``
    ran out, that of ``phase`` where this is known. ``read``: the connection
    broke, or what came was not HTTP. ``cancelled``: the caller gave up.
    ``detail`` is one line for people; it holds no host, no key and no header.
    """

    kind: CutKind
    detail: str
    phase: Phase | None = None

    @property
    def unreachable(self) -> bool:
        """Whether there was no connection, or not in time."""
        return self.kind == "connect" or self.phase == "connect"


class Reply(NamedTuple):
    """An answer: header names are lower case, repeated ones joined by ", ".

    ``body`` has its content encoding removed. ``elapsed_ms`` counts from the
    start of the call. With a ``cut``, ``status`` is 0 when no header arrived,
    and ``body`` is what had arrived.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    elapsed_ms: int = 0
    cut: Cut | None = None


class Piece(NamedTuple):
    """Some bytes of a streamed body, as one read gave them.

    ``at_ms`` counts from the start of the call. A piece with a ``cut`` is the
    last one.
    """

    data: bytes
    at_ms: int
    cut: Cut | None = None


class Stream(NamedTuple):
    """A streamed answer: its head (body empty), then its pieces."""

    head: Reply
    pieces: Iterator[Piece]


class AsyncStream(NamedTuple):
    """A streamed answer: its head (body empty), then its pieces."""

    head: Reply
    pieces: AsyncIterator[Piece]


class Transport(Protocol):
    """Sends plans, blocking. Never raises for trouble on the network."""

    def send(self, plan: PlanLike) -> Reply: ...
    def stream(self, plan: PlanLike) -> AbstractContextManager[Stream]: ...


class AsyncSender(Protocol):
    """Sends plans for whole answers, asynchronously. Never raises for trouble on the network."""

    async def send(self, plan: PlanLike) -> Reply: ...


class AsyncTransport(AsyncSender, Protocol):
    """Sends plans, asynchronously. Never raises for trouble on the network."""

    def stream(self, plan: PlanLike) -> AbstractAsyncContextManager[AsyncStream]: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds, ``None`` for no limit; anything but a positive number raises ``ValueError``.

    ``first_byte_s`` runs from the sent request to the status line;
    ``idle_s`` is the longest silence between two reads of a body;
    ``total_s`` bounds a whole ``send`` and never applies to ``stream``.
    """

    connect_s: float | None = 10.0
    first_byte_s: float | None = 600.0
    idle_s: float | None = 300.0
    total_s: float | None = None

    def __post_init__(self) -> None:
        for limit in (self.connect_s, self.first_byte_s, self.idle_s, self.total_s):
            if limit is not None and not limit > 0:
                raise ValueError("a limit is a positive number of seconds, or None for none")


DRAIN_BYTES: Final = 64 * 1024
DRAIN_S: Final = 0.25
"""How much of a body ``finish`` reads on, and for how long."""

LARGE_UPLOAD: Final = 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_USUAL_TIMEOUTS: Final = Timeouts()
_VERSION_SUFFIX: Final = re.compile(r"/v1/*\Z")
_LINE_FOLD: Final = re.compile(r"\s*[\r\n]\s*")


class Endpoint(msgspec.Struct, frozen=True):
    """Where a server is and how to be let in.

    ``url`` may end in slashes or in ``/v1``: both are taken off, so that
    ``http://h:8000``, ``http://h:8000/`` and ``http://h:8000/v1`` are the same
    endpoint, and a path prefix is kept. An empty ``api_key`` sends no
    ``Authorization``. ``headers`` are the caller's own; the transport's
    ``Content-Type``, ``Accept`` and ``Authorization`` win over them.
    ``reply_limit`` bounds the bytes of a body that ``send`` collects. The
    printed form shows neither key nor headers nor host.
    """

    url: str
    api_key: str = ""
    headers: Mapping[str, str] = _NO_HEADERS
    timeouts: Timeouts = _USUAL_TIMEOUTS
    reply_limit: int = 256 * 1024 * 1024

    def __repr__(self) -> str:
        return "Endpoint(...)"

    def join(self, path: str) -> str:
        """The address of ``path`` on this server."""
        return _VERSION_SUFFIX.sub("", self.url.rstrip("/")) + path


class Upload:
    """A request body that is read in blocks, like a file, by whichever library sends it.

    Its pieces stay where they are: they are never joined. It can be read once.
    """

    __slots__ = ("_left", "_size")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._left = deque(memoryview(piece) for piece in pieces)
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        """The bytes of the whole body, read or not."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, none at the end; all that are left if ``size`` is negative."""
        if size < 0:
            everything = b"".join(self._left)
            self._left.clear()
            return everything
        while self._left and not self._left[0]:
            self._left.popleft()
        if not self._left:
            return b""
        block = bytes(self._left[0][:size])
        self._left[0] = self._left[0][size:]
        return block

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(_BLOCK_BYTES):
            yield block

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self:
            yield block


def upload(body: BodyLike) -> bytes | Upload:
    """A body as the libraries take it.

    One large write would have to be through within the connect timeout of
    requests, and aiohttp warns of it; so what is large or in pieces goes in blocks.
    """
    pieces = [piece for piece in (body.data, *body.rest) if piece]
    if len(pieces) > 1 or sum(map(len, pieces)) > LARGE_UPLOAD:
        return Upload(pieces)
    return pieces[0] if pieces else b""


def whole(body: BodyLike) -> bytes:
    """A body in one piece, for those who keep or compare it."""
    return b"".join((body.data, *body.rest)) if body.rest else body.data


@dataclass(frozen=True, slots=True, repr=False)
class OwnHeaders:
    """What a transport says by itself. ``kept`` tells which headers of the endpoint stay, when not all do."""

    headers: Mapping[str, str]
    kept: Sequence[bool] | None


@lru_cache(maxsize=256)
def own_headers(
    api_key: str, names: tuple[str, ...], method: str, body_type: str | None, streaming: bool
) -> OwnHeaders:
    """For a request to an endpoint with this key, whose headers have these names.

    ``body_type`` is the content type of the request's body, if it has one.
    """
    own: dict[str, str] = {}
    if body_type is not None:
        own["Content-Type"] = body_type
    elif method == "GET":
        own["Content-Type"] = "application/json"
    if streaming:
        own["Accept"] = "text/event-stream"
        own["Cache-Control"] = "no-cache"
    if api_key:
        own["Authorization"] = f"Bearer {api_key}"
    given = [name.lower() for name in names]
    if "accept-encoding" not in given:
        own["Accept-Encoding"] = "gzip, deflate"  # what ContentDecoder takes
    taken = {name.lower() for name in own}
    kept = [name not in taken for name in given]
    return OwnHeaders(own, None if all(kept) else kept)


def request_headers(endpoint: Endpoint, plan: PlanLike, streaming: bool) -> dict[str, str]:
    """The headers of one request: the endpoint's own, then those that win over them."""
    given, body = endpoint.headers, plan.body
    body_type = None if body is None else body.content_type
    own = own_headers(endpoint.api_key, tuple(given), plan.method, body_type, streaming)
    kept = given if own.kept is None else dict(compress(given.items(), own.kept))
    return {**kept, **own.headers}


def reply_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of an answer as ``Reply`` holds them.

    A value that was folded over several lines becomes one line.
    """
    joined: dict[str, str] = {}
    for name, value in pairs:
        is_folded = "\n" in value or "\r" in value
        key, text = name.lower(), (_LINE_FOLD.sub(" ", value) if is_folded else value).strip()
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


class FoldLike(Protocol[Event_co]):
    """A translator's state machine: bytes in, events out.

    ``ended`` is true once the last event is out; what is fed after that is
    ignored.
    """

    @property
    def ended(self) -> bool: ...
    def feed(self, data: bytes, at_ms: int = 0) -> Sequence[Event_co]: ...
    def close(self, at_ms: int = 0, cut: Cut | None = None) -> Sequence[Event_co]: ...


@runtime_checkable
class Finishable(Protocol):
    """Pieces that can be told that their reader has all it needs.

    The transport may then read the rest of the body, briefly and bounded, so
    that the connection can serve the next request.
    """

    def finish(self) -> None: ...


@runtime_checkable
class AsyncFinishable(Protocol):
    """The same as ``Finishable``, asynchronous."""

    async def finish(self) -> None: ...


def run(transport: Transport, conversation: Generator[PlanLike, Reply, T]) -> T:
    """Drive a conversation to its outcome, sending each plan it yields."""
    try:
        plan = next(conversation)
        while True:
            plan = conversation.send(transport.send(plan))
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome


async def run_async(transport: AsyncSender, conversation: Generator[PlanLike, Reply, T]) -> T:
    """The same as ``run``, asynchronous."""
    try:
        plan = next(conversation)
        while True:
            plan = conversation.send(await transport.send(plan))
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome


def batches(pieces: Iterable[Piece], into: FoldLike[Event]) -> Iterator[Sequence[Event]]:
    """The events of a stream, grouped by the read that brought them.

    No group is empty. Stops reading once the fold has ended.
    """
    at_ms, cut = 0, None
    for piece in pieces:
        at_ms = piece.at_ms
        events = into.feed(piece.data, at_ms) if piece.data else ()
        if events:
            yield events
        if into.ended:
            if isinstance(pieces, Finishable):
                pieces.finish()
            return
        if piece.cut is not None:
            cut = piece.cut
            break
    if last := into.close(at_ms, cut):
        yield last


async def batches_async(
    pieces: AsyncIterable[Piece], into: FoldLike[Event]
) -> AsyncIterator[Sequence[Event]]:
    """The same as ``batches``, asynchronous."""
    at_ms, cut = 0, None
    async for piece in pieces:
        at_ms = piece.at_ms
        events = into.feed(piece.data, at_ms) if piece.data else ()
        if events:
            yield events
        if into.ended:
            if isinstance(pieces, AsyncFinishable):
                await pieces.finish()
            return
        if piece.cut is not None:
            cut = piece.cut
            break
    if last := into.close(at_ms, cut):
        yield last


def fold(pieces: Iterable[Piece], into: FoldLike[Event]) -> Iterator[Event]:
    """The events of a stream, one by one."""
    for events in batches(pieces, into):
        yield from events


async def fold_async(pieces: AsyncIterable[Piece], into: FoldLike[Event]) -> AsyncIterator[Event]:
    """The same as ``fold``, asynchronous."""
    async for events in batches_async(pieces, into):
        for event in events:
            yield event
