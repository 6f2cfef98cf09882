"""The values that cross the seam between translators and whoever does the I/O.

Documents (JSON objects) are plain dictionaries and live in ``types``; what is
defined here never leaves the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from .servers import UNKNOWN, Server
from .types import BifrostError, RequestType

NO_ROUTING: Final[Mapping[str, object]] = {}


class Body(NamedTuple):
    """What to send as a request body: its media type and its exact bytes.

    ``rest`` follows upon ``data``: pieces too large to be copied into one, such
    as a file.
    """

    content_type: str
    data: bytes
    rest: tuple[bytes, ...] = ()


class Plan(NamedTuple):
    """What to ask of the server: method, path and body.

    A plan holds no host, no key and no caller's header, so it is safe to
    print, to log and to keep in a recording.
    """

    method: str
    path: str
    body: Body | None = None


class Call(NamedTuple):
    """How one request is to be translated, apart from the request itself.

    ``path`` replaces the operation's default path. ``raw_request`` and
    ``raw_response`` ask for what was sent and received under
    ``extra_fields``. ``original_model`` is the model that the client named,
    when an alias replaced it in the request. ``routing_info`` is added to
    ``extra_fields.routing_info``. ``structured_outputs`` says which spelling
    of guided decoding the server reads: ``"legacy"`` for vLLM before 0.12;
    ``server`` is what else is known of it, and says so itself where this does not.
    ``known_path`` is the path that this server is known to answer on, where
    there are several; unlike ``path`` it does not rule out the others.
    ``verbatim`` is for a caller who does nothing but encode what comes out: the
    rows of embeddings and rankings may then be whatever ``documents.encode``
    writes, their numbers undecoded, and a chat answer or a chunk may be a
    ``documents.Encoded``.
    """

    request_type: RequestType
    path: str | None = None
    raw_request: bool = False
    raw_response: bool = False
    original_model: str | None = None
    routing_info: Mapping[str, object] = NO_ROUTING
    structured_outputs: Literal["native", "legacy"] = "native"
    known_path: str | None = None
    verbatim: bool = False
    server: Server = UNKNOWN

    @property
    def guided(self) -> bool:
        """Whether the server reads ``guided_...`` and overlooks ``structured_outputs``."""
        return "legacy" in (self.structured_outputs, self.server.structured_outputs)


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream, ready to be encoded; ``final`` on the last one.

    ``event`` is its name where events have names; such a stream ends with its
    last event, others with ``[DONE]``.
    """

    data: Mapping[str, object]
    final: bool = False
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An outcome that is an error; ``error`` is the BifrostError document.

    ``event`` is its name inside a stream whose events have names.
    """

    error: BifrostError
    event: str | None = None


class Note(NamedTuple):
    """One entry of the ledger: what translation did to one parameter."""

    param: str
    action: Literal["dropped", "renamed", "converted", "defaulted", "repaired"]
    detail: str


CutKind = Literal["connect", "timeout", "read", "cancelled"]


class CutLike(Protocol):
    """How an exchange broke off. ``detail`` is printable and holds no secret."""

    @property
    def kind(self) -> CutKind: ...
    @property
    def detail(self) -> str: ...


class HeadLike(Protocol):
    """The start of a reply; header names are lower case.

    When ``cut`` is set nothing came back and ``status`` is 0.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def elapsed_ms(self) -> int: ...
    @property
    def cut(self) -> CutLike | None: ...


class ReplyLike(HeadLike, Protocol):
    """A whole reply; ``body`` is what arrived, content encodings removed."""

    @property
    def body(self) -> bytes: ...
