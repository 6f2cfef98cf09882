"""One verdict for each recording."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .differences import Difference, differences, first_byte
from .exchanges import Translated, posted, request_type, translated
from .layers import translate, transports
from .shapes import Change, changes, shape

Outcome = Literal["same", "changed", "new", "unknown"]
"""``new``: there is no expectation yet; ``unknown``: no operation has this path."""


class Verdict(NamedTuple):
    """What became of one recording; ``lines`` say what changed, one place each."""

    name: str
    operation: str
    outcome: Outcome
    lines: tuple[str, ...] = ()


def against_expectation(recording: transports.Recording, folder: Path, update: bool) -> Verdict:
    """The translators of today against the expectation beside the recording.

    Without an expectation the plan is still compared with the request that was
    recorded. With ``update`` the expectation is written anew.
    """
    kind = request_type(recording)
    if kind is None:
        return Verdict(recording.name, "-", "unknown", (f"no operation has the path {recording.path}",))
    now = translated(recording, kind)
    file = folder / f"{recording.name}.expected.json"
    known = _read(file)
    lines = tuple(_lines(known, now, recording))
    if update:
        file.write_text(_written(now), encoding="utf-8")
    if known is None:
        return Verdict(recording.name, kind, "new", lines)
    return Verdict(recording.name, kind, "changed" if lines else "same", lines)


def against_server(recording: transports.Recording, transport: transports.Transport) -> Verdict:
    """A server's answer of today against the recorded one, by status and shape."""
    kind = request_type(recording)
    if kind is None:
        return Verdict(recording.name, "-", "unknown", (f"no operation has the path {recording.path}",))
    reply = _asked(transport, posted(recording), streamed=kind.endswith("_stream"))
    if reply.cut is not None:
        return Verdict(recording.name, kind, "changed", (f"no answer: {reply.cut.kind}: {reply.cut.detail}",))
    if reply.status != recording.status:
        lines = [f"status {recording.status} became {reply.status}"]
    else:
        found = changes(shape(_documents(recording.body)), shape(_documents(reply.body)))
        lines = [_described(change) for change in found]
    return Verdict(recording.name, kind, "changed" if lines else "same", tuple(lines))


def _asked(transport: transports.Transport, plan: translate.Plan, streamed: bool) -> transports.Reply:
    if not streamed:
        return transport.send(plan)
    with transport.stream(plan) as stream:
        pieces = list(stream.pieces)
    cut = stream.head.cut or (pieces[-1].cut if pieces else None)
    return stream.head._replace(body=b"".join(piece.data for piece in pieces), cut=cut)


def _documents(body: bytes) -> list[object]:
    """The JSON documents of a body: one, or those of a stream's events."""
    lines = body.split(b"\n") if b"data:" in body[:64] else [b"data:" + body]
    out: list[object] = []
    for line in lines:
        try:
            out.append(json.loads(line.removeprefix(b"data:")))
        except (ValueError, RecursionError):
            continue
    return out


def _described(change: Change) -> str:
    return f"{change.kind} {change.path}: {change.detail}"


def _lines(
    known: Mapping[str, Any] | None, now: Translated, recording: transports.Recording
) -> Iterator[str]:
    was = _expected_plan(known, recording)
    for name, before, after in (("method", was[0], now.method), ("path", was[1], now.path)):
        if before != after:
            yield f"plan: {name}: {before} became {after}"
    if (byte := first_byte(_text(was[2]), _text(now.body))) is not None:
        yield f"plan: body: {_shown(byte)}"
        documents = _json(was[2]), _json(now.body)
        if None not in documents:
            yield from (f"plan: {_shown(difference)}" for difference in differences(*documents))
    if known is not None:
        yield from (
            f"result: {_shown(difference)}" for difference in differences(known.get("result"), now.result)
        )


def _expected_plan(
    known: Mapping[str, Any] | None, recording: transports.Recording
) -> tuple[str, str, bytes]:
    if known is None:
        return recording.method, recording.path, recording.request_body or b""
    plan = known["plan"]
    return plan["method"], plan["path"], plan["body"].encode()


def _shown(difference: Difference) -> str:
    if not difference.expected:
        return f"{difference.path}: {difference.actual} was added"
    if not difference.actual:
        return f"{difference.path}: {difference.expected} is gone"
    return f"{difference.path}: {difference.expected} became {difference.actual}"


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        document = json.loads(file.read_bytes())
        plan = document["plan"]
        if all(isinstance(plan[name], str) for name in ("method", "path", "body")):
            return dict(document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{file}: not an expectation: {error}") from error
    raise ValueError(f"{file}: not an expectation: the plan is incomplete")


def _written(now: Translated) -> str:
    plan = {"method": now.method, "path": now.path, "body": _text(now.body).decode()}
    return json.dumps({"plan": plan, "result": now.result}, indent=1, ensure_ascii=False) + "\n"


def _text(body: bytes) -> bytes:
    """A body as an expectation can hold it; a file in it is known by the boundary around it, too."""
    return body.decode(errors="replace").encode()


def _json(data: bytes) -> object | None:
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value


def counted(verdicts: Sequence[Verdict]) -> dict[str, dict[str, int]]:
    """How many verdicts of each outcome there are, by operation."""
    out: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        row = out.setdefault(verdict.operation, {})
        row[verdict.outcome] = row.get(verdict.outcome, 0) + 1
    return out
