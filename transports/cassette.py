"""Recorded exchanges, and the files in which they are kept.

A recording is a cassette of vcrpy, so that other tools can read it. What that
format has no place for stands beside it in ``<cassette>.cuts.json``, for the
last interaction of the cassette::

    {"head_ms": 12, "reads": [[15, 262], [18, 222]],
     "cut": {"kind": "read", "detail": "connection reset", "at_ms": 61}}

``reads`` has the milliseconds since the request and the number of bytes of
each read that brought the body. ``cut`` is there when the exchange broke off.
``"answered": false`` says that no header arrived; the cassette then holds a
stand-in, since vcrpy knows no exchange without a status. ``redacted`` lists
the rules by which fields were blanked. A file that is ``reads`` alone, as a
list, is read as well.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import urlsplit

import yaml

from .base import Cut, CutKind, Phase, reply_headers
from .decoding import ContentDecoder, UndecodableError

RECORDED_HOST: Final = "http://localhost:8000"
"""Where every recorded request seems to have gone."""

_SafeLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NO_HEADERS: Final[Mapping[str, str]] = {}
_MEMBERS: Final = frozenset({"head_ms", "reads", "cut", "answered", "redacted"})

# What a proxy would answer in place of a server that gave no answer.
_STAND_INS: Final[Mapping[CutKind, int]] = {"connect": 502, "read": 502, "timeout": 504, "cancelled": 499}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded exchange: a request, and the answer to it.

    ``path`` has the query and no host. ``body`` has no content encoding any
    more. ``cuts`` tells the reads that brought it, each with the milliseconds
    since the request and its number of bytes; without it there was one, at 0.
    ``head_ms`` is when the headers were in, if that is known. An exchange that
    broke off has a ``cut``, which came at ``cut_ms``; when no header arrived,
    ``status`` is 0. ``redacted`` are the rules by which fields of both bodies
    were blanked.
    """

    name: str
    method: str
    path: str
    request_body: bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    body: bytes = b""
    cuts: tuple[tuple[int, int], ...] = ()
    request_headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)
    head_ms: int | None = None
    cut: Cut | None = None
    cut_ms: int = 0
    redacted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        cut_bytes = sum(count for _, count in self.cuts)
        if self.cuts and cut_bytes != len(self.body):
            raise ValueError(f"{self.name}: the cuts cover {cut_bytes} bytes, the body has {len(self.body)}")
        if not self.status and not self.cut:
            raise ValueError(f"{self.name}: there is neither an answer nor a reason why")


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
                found += _read(file)
        return cls(found)

    def newest(self) -> "Recordings":
        """Those of the newest server, wherever the same request was put to several.

        The server is what follows the last ``@`` of a recording's name, as in
        ``chat_completion/hello@vllm-0.32.0``; its numbers tell what is newer.
        """
        newest: dict[tuple[str, str, str | bytes], list[int]] = {}
        for recording in self:
            asked = _asked(recording)
            newest[asked] = max(newest.get(asked, []), _version(recording))
        return Recordings(each for each in self if _version(each) == newest[_asked(each)])


def _asked(recording: Recording) -> tuple[str, str, str | bytes]:
    return recording.method, recording.path, canonical(recording.request_body)


def _version(recording: Recording) -> list[int]:
    """The numbers of the server's version; none where the name tells none."""
    _, at, server = recording.name.rpartition("@")
    return [int(digits) for digits in re.findall("[0-9]{1,9}", server)] if at else []


def canonical(body: bytes | None) -> str | bytes:
    """What two bodies have in common when they say the same."""
    try:
        return json.dumps(json.loads(body or b""), sort_keys=True)
    except (ValueError, RecursionError):
        return body or b""


class Files(NamedTuple):
    """A recording as its two files hold it, ASCII both."""

    cassette: bytes
    cuts: bytes


def written(recording: Recording) -> Files:
    """The files of a recording; reading them gives it back, its name aside."""
    status, phrase = recording.status, _phrase(recording.status)
    if not status and recording.cut:
        status, phrase = _STAND_INS[recording.cut.kind], f"no answer: {recording.cut.detail}"
    interaction = {
        "request": {
            "body": _text(recording.request_body),
            "headers": {name: [value] for name, value in recording.request_headers.items()},
            "method": recording.method,
            "uri": RECORDED_HOST + recording.path,
        },
        "response": {
            "body": {"string": _text(recording.body)},
            "headers": {name: [value] for name, value in recording.headers.items()},
            "status": {"code": status, "message": phrase},
        },
    }
    cassette = yaml.dump({"interactions": [interaction], "version": 1}, Dumper=_SafeDumper)
    return Files(cassette.encode("ascii"), json.dumps(_beside(recording)).encode("ascii") + b"\n")


def cuts_path(cassette: Path) -> Path:
    """The file beside ``cassette``."""
    return cassette.with_suffix(".cuts.json")


def _beside(recording: Recording) -> dict[str, object]:
    beside: dict[str, object] = {}
    if recording.head_ms is not None:
        beside["head_ms"] = recording.head_ms
    beside["reads"] = recording.cuts
    if recording.cut:
        said = {name: value for name, value in recording.cut._asdict().items() if value is not None}
        beside["cut"] = {**said, "at_ms": recording.cut_ms}
    if not recording.status:
        beside["answered"] = False
    if recording.redacted:
        beside["redacted"] = recording.redacted
    return beside


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _text(body: bytes | None) -> str | bytes | None:
    """Text where it is text, so that people can read it."""
    try:
        return None if body is None else body.decode()
    except UnicodeDecodeError:
        return body


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Plain data, and the one Python object that vcrpy writes: a request body that was sent from a file."""


def _buffer(loader: Any, node: yaml.Node) -> Any:
    return loader.construct_mapping(node, deep=True)["state"][0]


_Loader.add_constructor("tag:yaml.org,2002:python/object/new:_io.BytesIO", _buffer)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _SafeLoader.construct_yaml_seq)


def _read(file: Path) -> list[Recording]:
    try:
        document = yaml.load(file.read_bytes(), Loader=_Loader)  # noqa: S506 - it is a safe loader
        interactions = document["interactions"]
        beside: list[dict[str, Any]] = [{} for _ in interactions]
        if (cuts_file := cuts_path(file)).exists():
            beside[-1] = _read_beside(json.loads(cuts_file.read_bytes()))
        name = f"{file.resolve().parent.name}/{file.stem}"
        return [
            _recording(name, interaction, known)
            for interaction, known in zip(interactions, beside, strict=True)
        ]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not a cassette that can be replayed: {error}") from error


def _read_beside(document: Any) -> dict[str, Any]:
    """What the file beside a cassette adds to its recording."""
    if isinstance(document, list):
        document = {"reads": document}
    if stray := set(document) - _MEMBERS:
        raise ValueError(f"{', '.join(sorted(stray))} beside it is not known")
    reads = tuple((int(at_ms), int(count)) for at_ms, count in document["reads"])
    if any(count < 0 for _, count in reads):
        raise ValueError("a read brings no negative number of bytes")
    known: dict[str, Any] = {"cuts": reads}
    if "head_ms" in document:
        known["head_ms"] = int(document["head_ms"])
    if "cut" in document:
        kind, detail = document["cut"]["kind"], str(document["cut"]["detail"])
        if kind not in get_args(CutKind):
            raise ValueError(f"{kind!r} is no way to break off")
        phase = document["cut"].get("phase")
        if phase is not None and phase not in get_args(Phase):
            raise ValueError(f"{phase!r} is nothing to wait for")
        known |= {"cut": Cut(kind, detail, phase), "cut_ms": int(document["cut"]["at_ms"])}
    if document.get("answered") is False:
        known |= {"status": 0, "headers": _NO_HEADERS, "body": b""}
    if "redacted" in document:
        known["redacted"] = tuple(map(str, document["redacted"]))
    return known


def _recording(name: str, interaction: Mapping[str, Any], known: dict[str, Any]) -> Recording:
    request, response = interaction["request"], interaction["response"]
    address = urlsplit(request["uri"])
    headers = reply_headers(_pairs(response["headers"]))
    read: dict[str, Any] = {
        "name": name,
        "method": request["method"].upper(),
        "path": (address.path or "/") + (f"?{address.query}" if address.query else ""),
        "request_body": _bytes_of(request["body"]),
        "request_headers": dict(_pairs(request.get("headers"))),
        "status": int(response["status"]["code"]),
        "headers": headers,
        "body": _decoded(_bytes_of(response["body"]) or b"", headers.get("content-encoding", "")),
    }
    return Recording(**read | known)


def _pairs(headers: Mapping[str, str | Sequence[str]] | None) -> Iterable[tuple[str, str]]:
    for name, values in (headers or {}).items():
        for value in [values] if isinstance(values, str) else values:
            yield name, value


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
