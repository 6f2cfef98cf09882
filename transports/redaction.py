"""What must not be kept of an exchange: fields are blanked, and known secrets are found.

Only what a rule names is changed: the bytes around it stay as they came, so
that the order of keys, the spelling of numbers and the cuts of a stream do.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from .cassette import RECORDED_HOST, Recording

REDACTED: Final = "[redacted]"
"""What stands in place of a blanked value, and of a body that cannot be read as JSON."""

_REDACTED_JSON: Final = json.dumps(REDACTED).encode()

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)
_LINE: Final = re.compile(rb"[^\r\n]+")
_STEP: Final = re.compile(r"""\.([^\W\d][\w-]*|\*)|\[(\d+|\*|"(?:[^"\\]|\\.)*")\]""")
_ORIGIN: Final = re.compile(r"https?://[^/\s,;\"'<>]+", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([/\"\\]))")

_UNKEPT_HEADERS: Final = frozenset(
    # They describe bytes on a connection, not the decoded body that is kept.
    {"content-encoding", "content-length", "transfer-encoding"}
)
_PRIVATE_HEADER: Final = re.compile(r"cookie|authori[sz]ation|api-?key|secret", re.IGNORECASE)
_SHORTEST_SECRET: Final = 4  # anything shorter is no secret, and would be found everywhere
_SHORTEST_ENCODED: Final = 8
_NESTED_ESCAPES: Final = 3


_Step = str | int | None
"""A member, an entry, or every one of either."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which fields to blank: all of one name, or those at one place.

    ``text`` is a name, which stands for the members of that name at any depth,
    or a path: ``$.messages[*].content``, ``$.tools[0]``, ``$["a b"].*``. What
    is neither raises ``ValueError``.
    """

    text: str
    steps: tuple[_Step, ...] = ()

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("a field to redact has a name, or a path that begins with $")
        if self.text.startswith("$"):
            object.__setattr__(self, "steps", tuple(_steps(self.text)))

    def covers(self, place: Sequence[str | int]) -> bool:
        """Whether the value at ``place`` is to be blanked."""
        if not self.text.startswith("$"):
            return bool(place) and place[-1] == self.text
        return len(place) == len(self.steps) and all(
            wanted is None or wanted == there for wanted, there in zip(self.steps, place, strict=True)
        )


def _steps(text: str) -> Iterator[_Step]:
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"{text}: not a path: {text[at:]!r} cannot be read")
        name, inner = step.groups()
        if "*" in (name, inner):
            yield None
        elif name is not None:
            yield name
        else:
            yield int(inner) if inner.isdigit() else str(json.loads(inner))
        at = step.end()


class _Edit(NamedTuple):
    """``text`` takes the place of the bytes from ``start`` to ``end``."""

    start: int
    end: int
    text: bytes


def redact(recording: Recording, rules: Sequence[Rule]) -> Recording:
    """A recording with the values that ``rules`` cover blanked, in both of its bodies.

    Null and what is empty stay as they are. While there are rules, a body that
    is neither JSON nor a stream of events is blanked as a whole, since nobody
    can tell what is in it; so is an event that is not JSON, ``[DONE]`` aside.
    """
    if not rules:
        return recording
    edits = _edits(recording.body, rules, "event-stream" in recording.headers.get("content-type", ""))
    request_body, request_headers = redacted_request(recording.request_body, rules), recording.request_headers
    if request_body == REDACTED.encode():  # the boundary of a form may be made of what is in it
        request_headers = {name: value.partition(";")[0] for name, value in request_headers.items()}
    return replace(
        recording,
        request_body=request_body,
        request_headers=request_headers,
        body=_edited(recording.body, edits),
        cuts=_moved(recording.cuts, edits),
        redacted=tuple(rule.text for rule in rules),
    )


def redacted_request(body: bytes | None, rules: Sequence[Rule]) -> bytes | None:
    """A request body as ``redact`` makes it."""
    if not body or not rules:
        return body
    return _edited(body, _edits(body, rules, streamed=False))


def kept_headers(headers: Mapping[str, str], secrets: "Secrets") -> dict[str, str]:
    """The headers of an answer that may be kept; addresses in them lose their host."""
    return {
        name: _ORIGIN.sub(RECORDED_HOST, value)
        for name, value in headers.items()
        if name not in _UNKEPT_HEADERS
        and not _PRIVATE_HEADER.search(name)
        and not secrets.are_in(name.encode(), value.encode(errors="replace"))
    }


def _edits(body: bytes, rules: Sequence[Rule], streamed: bool) -> list[_Edit]:
    if _is_json(body):
        return [_Edit(start, end, _REDACTED_JSON) for start, end in _covered(body, rules)]
    if streamed:
        return list(_event_edits(body, rules))
    return [_Edit(0, len(body), REDACTED.encode())] if body else []


def _event_edits(body: bytes, rules: Sequence[Rule]) -> Iterator[_Edit]:
    for line in _LINE.finditer(body):
        name, colon, value = line[0].removeprefix(b"\xef\xbb\xbf").partition(b":")
        if name in {b"", b"event", b"id", b"retry"} and colon:
            continue
        payload = value.strip() if name == b"data" else line[0]
        start = line.start() + line[0].rindex(payload) if payload else line.end()
        if payload in {b"", b"[DONE]"}:
            continue
        if name == b"data" and _is_json(payload):
            for inner_start, inner_end in _covered(payload, rules):
                yield _Edit(start + inner_start, start + inner_end, _REDACTED_JSON)
        else:
            yield _Edit(start, start + len(payload), REDACTED.encode())


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _covered(document: bytes, rules: Sequence[Rule]) -> Iterator[tuple[int, int]]:
    """Where the values that are to be blanked stand in a document that is JSON, none within another."""
    place: list[str | int] = []  # one step for each open container
    opened: list[bytes] = []
    hidden: tuple[int, int] | None = None  # start and depth of a container that is blanked
    names_follow = False
    for token in _TOKEN.finditer(document):
        text = token[0]
        match text:
            case b"{" | b"[":
                if hidden is None and any(rule.covers(place) for rule in rules):
                    hidden = token.start(), len(opened)
                opened.append(text)
                place.append("" if text == b"{" else 0)
                names_follow = text == b"{"
            case b"}" | b"]":
                opened.pop()
                place.pop()
                if hidden is not None and len(opened) == hidden[1]:
                    if document[hidden[0] + 1 : token.start()].strip():
                        yield hidden[0], token.end()
                    hidden = None
            case b",":
                names_follow = opened[-1] == b"{"
                if isinstance(position := place[-1], int):
                    place[-1] = position + 1
            case b":":
                names_follow = False
            case _ if names_follow:
                place[-1] = json.loads(text)
            case _:
                if hidden is None and text not in {b"null", b'""'} and any(r.covers(place) for r in rules):
                    yield token.span()


def _edited(body: bytes, edits: Sequence[_Edit]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += [body[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, body[at:]])


def _moved(cuts: Sequence[tuple[int, int]], edits: Sequence[_Edit]) -> tuple[tuple[int, int], ...]:
    """The cuts of an edited body: each stays before, after, or as far as possible within an edit."""
    moved: list[tuple[int, int]] = []
    end = moved_end = shift = passed = 0
    for at_ms, count in cuts:
        end += count
        while passed < len(edits) and edits[passed].end <= end:
            edit = edits[passed]
            shift += len(edit.text) - (edit.end - edit.start)
            passed += 1
        new_end = end + shift
        if passed < len(edits) and (edit := edits[passed]).start < end:
            new_end = edit.start + shift + min(end - edit.start, len(edit.text))
        moved.append((at_ms, new_end - moved_end))
        moved_end = new_end
    return tuple(moved)


class Secrets:
    """Values that may not be kept, found in whatever way a text spells them.

    They are found as they are, with the escapes of JSON and YAML, percent-encoded
    and within base64. The printed form shows none.
    """

    __slots__ = ("_needles",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._needles: set[bytes] = set()
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """From now on, find these, too."""
        for value in values:
            if len(value) >= _SHORTEST_SECRET:
                secret = value.encode(errors="replace")
                self._needles |= {secret, quote(secret, safe="").encode(), *_as_base64(secret)}

    def __repr__(self) -> str:
        return f"Secrets({len(self._needles)} spellings)"

    def are_in(self, *texts: bytes) -> bool:
        """Whether one of the texts holds a secret."""
        if not self._needles:
            return False
        return any(needle in view for text in texts for view in _views(text) for needle in self._needles)


def _as_base64(secret: bytes) -> Iterator[bytes]:
    """How base64 spells a secret that begins at the first, second or third byte of a group."""
    if len(secret) < _SHORTEST_ENCODED:
        return
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        # The characters at either end are made of the neighbours' bits, too.
        whole = encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


def _views(text: bytes) -> Iterator[bytes]:
    """A text, and what those will read in it who undo an encoding."""
    yield text
    if b"%" in text:
        yield unquote_to_bytes(text)
    for _ in range(_NESTED_ESCAPES):  # JSON in a string of JSON
        if b"\\" not in text:
            return
        text = _ESCAPE.sub(_unescaped, text)
        yield text


def _unescaped(escape: re.Match[bytes]) -> bytes:
    if escape[3]:
        return escape[3]
    return chr(int(escape[1] or escape[2], 16)).encode(errors="replace")
