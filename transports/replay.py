"""Transports that answer from vcrpy cassettes: no network, and no waiting.

A cassette keeps the bytes of an answer but not how they arrived. A file
``<cassette>.cuts.json`` beside it does: ``[[at_ms, byte_count], ...]``, one
entry for each read, for the last interaction of the cassette.
"""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import yaml

from .base import AsyncStream, Cut, Piece, PlanLike, Reply, Stream, reply_headers, whole
from .decoding import ContentDecoder, UndecodableError

Recut = Literal["recorded", "whole", "bytes"] | int | Sequence[int]
"""How a body is cut: as it was recorded, not at all, into single bytes, or by size.

Several sizes are taken in turn, over and over.
"""

_Request = tuple[str, str, str | bytes]
"""Method, path and canonical body: what tells requests apart."""

_SafeLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_HEADERS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded exchange: a request, and the answer to it.

    ``path`` has the query and no host. ``body`` has no content encoding any
    more. ``cuts`` tells the reads that brought it, each with the milliseconds
    since the request and its number of bytes; without it there was one, at 0.
    """

    name: str
    method: str
    path: str
    request_body: bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    body: bytes = b""
    cuts: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        cut_bytes = sum(count for _, count in self.cuts)
        if self.cuts and cut_bytes != len(self.body):
            raise ValueError(f"{self.name}: the cuts cover {cut_bytes} bytes, the body has {len(self.body)}")


class Recordings(tuple[Recording, ...]):
    """Recordings, in the order in which equal requests are answered."""

    __slots__ = ()

    @classmethod
    def load(cls, *paths: str | Path) -> "Recordings":
        """Read cassettes, and all those in and under directories, sorted by path.

        A recording is named by its folder and file, ``chat_completion/plain``.
        What is not a cassette raises ``ValueError`` with the name of the file.
        """
        found: list[Recording] = []
        for path in map(Path, paths):
            files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
            if not files:
                raise ValueError(f"{path}: there is no cassette in this directory")
            for file in files:
                found += _read_cassette(file)
        return cls(found)

    def newest(self) -> "Recordings":
        """Those of the newest server, wherever the same request was put to several.

        The server is what follows the last ``@`` of a recording's name, as in
        ``chat_completion/hello@vllm-0.32.0``; its numbers tell what is newer.
        """
        newest: dict[_Request, list[int]] = {}
        for recording in self:
            asked = _request(recording)
            newest[asked] = max(newest.get(asked, []), _version(recording))
        return Recordings(each for each in self if _version(each) == newest[_request(each)])


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Plain data, and the one Python object that vcrpy writes: a request body that was sent from a file."""


def _buffer(loader: Any, node: yaml.Node) -> Any:
    return loader.construct_mapping(node, deep=True)["state"][0]


_Loader.add_constructor("tag:yaml.org,2002:python/object/new:_io.BytesIO", _buffer)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _SafeLoader.construct_yaml_seq)


def _version(recording: Recording) -> list[int]:
    """The numbers of the server's version; none where the name tells none."""
    _, at, server = recording.name.rpartition("@")
    return [int(digits) for digits in re.findall("[0-9]{1,9}", server)] if at else []


def _read_cassette(file: Path) -> list[Recording]:
    try:
        document = yaml.load(file.read_bytes(), Loader=_Loader)  # noqa: S506 - it is a safe loader
        interactions = document["interactions"]
        cuts_file = file.with_suffix(".cuts.json")
        cuts: list[tuple[tuple[int, int], ...]] = [()] * len(interactions)
        if cuts_file.exists():
            cuts[-1] = tuple((int(at_ms), int(count)) for at_ms, count in json.loads(cuts_file.read_bytes()))
        name = f"{file.resolve().parent.name}/{file.stem}"
        return [
            _recording(name, interaction, reads)
            for interaction, reads in zip(interactions, cuts, strict=True)
        ]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file}: not a cassette that can be replayed: {error}") from error


def _recording(name: str, interaction: Mapping[str, Any], cuts: tuple[tuple[int, int], ...]) -> Recording:
    request, response = interaction["request"], interaction["response"]
    address = urlsplit(request["uri"])
    headers = reply_headers(
        (header, value)
        for header, values in (response["headers"] or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    )
    return Recording(
        name=name,
        method=request["method"].upper(),
        path=(address.path or "/") + (f"?{address.query}" if address.query else ""),
        request_body=_bytes_of(request["body"]),
        status=int(response["status"]["code"]),
        headers=headers,
        body=_decoded(_bytes_of(response["body"]) or b"", headers.get("content-encoding", "")),
        cuts=cuts,
    )


def _bytes_of(body: Any) -> bytes | None:
    """vcrpy writes text as it is, other bytes as binary, and either of them also as {"string": …}."""
    if isinstance(body, dict):
        body = body.get("string")
    if body is None or isinstance(body, bytes):
        return body
    if not isinstance(body, str):
        raise TypeError(f"a body that is {type(body).__name__}")
    return body.encode()


def _decoded(body: bytes, encoding: str) -> bytes:
    """A body without its content encoding. Some recorders take it off and leave the header."""
    decoder, decoded = ContentDecoder(encoding), bytearray()
    try:
        data = decoder.feed(body)
        while data:
            decoded += data
            data = decoder.take()
        decoder.close()
    except UndecodableError:
        return body
    return bytes(decoded)


class _Player:
    """Finds the answer to a plan, and keeps account of those given."""

    def __init__(self, recordings: Iterable[Recording], recut: Recut, break_at: int | None) -> None:
        self._recordings = tuple(recordings)
        self._recut: Recut = recut
        self._break_at = break_at
        self._unplayed = dict.fromkeys(range(len(self._recordings)))
        self._queues: defaultdict[_Request, list[int]] = defaultdict(list)
        for number, recording in enumerate(self._recordings):
            self._queues[_request(recording)].append(number)

    @property
    def unplayed(self) -> tuple[str, ...]:
        """The names of the recordings that answered nothing yet."""
        return tuple(self._recordings[number].name for number in self._unplayed)

    def _answer(self, plan: PlanLike) -> tuple[Reply, list[Piece]]:
        body = whole(plan.body) if plan.body else None
        queue = self._queues.get((plan.method, plan.path, _canonical(body)))
        if queue is None:
            return _no_recording(self._recordings, plan.method, plan.path, body)
        number = queue.pop(0) if len(queue) > 1 else queue[0]
        self._unplayed.pop(number, None)
        recording = self._recordings[number]
        pieces = _pieces(recording, self._recut, self._break_at)
        return Reply(recording.status, recording.headers, b"", pieces[0].at_ms if pieces else 0), pieces

    def _whole(self, plan: PlanLike) -> Reply:
        head, pieces = self._answer(plan)
        if not pieces:
            return head
        body = b"".join(piece.data for piece in pieces)
        return head._replace(body=body, elapsed_ms=pieces[-1].at_ms, cut=pieces[-1].cut)


class ReplayTransport(_Player):
    """Answers plans from recordings.

    A plan is answered by the recordings with its method, its path and its
    body, one after the other, the last one for ever. Bodies are compared as
    JSON where they are JSON: the order of keys does not matter, 1 is not 1.0.
    What no recording answers gets status 501 and a message that names the
    nearest one. With ``break_at`` every body breaks off after that many bytes.
    """

    def __init__(
        self, recordings: Iterable[Recording], recut: Recut = "recorded", break_at: int | None = None
    ) -> None:
        super().__init__(recordings, recut, break_at)

    def send(self, plan: PlanLike) -> Reply:
        return self._whole(plan)

    @contextmanager
    def stream(self, plan: PlanLike) -> Iterator[Stream]:
        head, pieces = self._answer(plan)
        yield Stream(head, iter(pieces))


class AsyncReplayTransport(_Player):
    """The same as ``ReplayTransport``, asynchronous."""

    def __init__(
        self, recordings: Iterable[Recording], recut: Recut = "recorded", break_at: int | None = None
    ) -> None:
        super().__init__(recordings, recut, break_at)

    async def send(self, plan: PlanLike) -> Reply:
        return self._whole(plan)

    @asynccontextmanager
    async def stream(self, plan: PlanLike) -> AsyncIterator[AsyncStream]:
        head, pieces = self._answer(plan)
        yield AsyncStream(head, _AsyncPieces(pieces))


class _AsyncPieces(AsyncIterator[Piece]):
    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)

    async def __anext__(self) -> Piece:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


def _pieces(recording: Recording, recut: Recut, break_at: int | None) -> list[Piece]:
    """The body in pieces. A piece came when its last byte did."""
    body = recording.body if break_at is None else recording.body[:break_at]
    reads = recording.cuts or ((0, len(recording.body)),)
    ends = tuple(itertools.accumulate(count for _, count in reads))
    pieces: list[Piece] = []
    start = read = 0
    for size in _sizes(recut, recording):
        if start >= len(body):
            break
        data = body[start : start + size]
        start += len(data)
        while ends[read] < start:
            read += 1
        pieces.append(Piece(data, reads[read][0]))
    if break_at is not None and break_at <= len(recording.body):
        broken = Cut("read", f"the recording was broken off at byte {break_at}")
        pieces.append(Piece(b"", pieces[-1].at_ms if pieces else reads[0][0], broken))
    return pieces


def _sizes(recut: Recut, recording: Recording) -> Iterable[int]:
    match recut:
        case "recorded":
            sizes: Sequence[int] = [count for _, count in recording.cuts if count]
        case "whole":
            sizes = []
        case "bytes":
            sizes = [1]
        case int():
            sizes = [recut]
        case _:
            sizes = [*recut]
    if any(size < 1 for size in sizes):
        raise ValueError("a piece has at least one byte")
    return itertools.cycle(sizes or [max(1, len(recording.body))])


def _request(recording: Recording) -> _Request:
    return recording.method, recording.path, _canonical(recording.request_body)


def _canonical(body: bytes | None) -> str | bytes:
    """What two bodies have in common when they say the same."""
    try:
        return json.dumps(json.loads(body or b""), sort_keys=True)
    except (ValueError, RecursionError):
        return body or b""


def _no_recording(
    recordings: Iterable[Recording], method: str, path: str, body: bytes | None
) -> tuple[Reply, list[Piece]]:
    same_path = [each for each in recordings if (each.method, each.path) == (method, path)]
    if same_path:
        _, place, name = min((_distance(body, each) for each in same_path), key=itemgetter(0))
        nearest = f" with this body; the nearest is {name}, which differs at {place}"
    else:
        nearest = "; there is none with this method and path"
    message = f"no recording answers {method} {path}{nearest}"
    error = {"message": message, "type": "NoRecording", "param": None, "code": 501}
    document = json.dumps({"error": error}).encode()
    return Reply(501, {"content-type": "application/json"}), [Piece(document, 0)]


def _distance(body: bytes | None, recording: Recording) -> tuple[float, str, str]:
    """How far a body is from a recorded one, and the first place where they differ."""
    ours, theirs = body or b"", recording.request_body or b""
    try:
        here, there = dict(_leaves(json.loads(ours), "$")), dict(_leaves(json.loads(theirs), "$"))
    except (ValueError, RecursionError):
        pairs = enumerate(zip(ours, theirs, strict=False))
        first = next((at for at, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
        return float("inf"), f"byte {first}", recording.name
    different = [place for place in here | there if here.get(place) != there.get(place)]
    return len(different), different[0], recording.name


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Everything in a document that has no parts, as JSON text, with its place."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(
                inner, f"{place}.{key}" if key.isidentifier() else f"{place}[{json.dumps(key)}]"
            )
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, json.dumps(value)
