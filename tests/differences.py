"""Where our JSON is not Bifrost's for the same request or the same answer of a server: data, and what reads it.

``docs/differences.json`` holds the list: what is given, what comes out here,
what comes out of Bifrost, and where the two differ. ``python -m
tests.differences > docs/differences.md`` writes the page.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from routing import forms
from tests.contract.wheel import ROOT
from translate import OPERATIONS, Call, Failure, documents
from translate.errors import http_status
from translate.types import BifrostError, Document
from transports import Reply

FILE: Final = ROOT / "docs" / "differences.json"
REQUESTS: Final[Mapping[str, Document]] = {
    "chat_completion": {"model": "m", "input": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "m", "input": "hi"},
    "text_completion": {"model": "m", "input": "hi"},
    "embedding": {"model": "m", "input": "hi"},
    "rerank": {"model": "m", "query": "q", "documents": ["a", "b"]},
    "list_models": {},
    "transcription": {"model": "m", "input": {"file": b"RIFF", "filename": "a.wav"}},
}
"""What was asked, where only the answer matters."""


def entries() -> Sequence[Any]:
    """The differences in JSON, in their order."""
    listed: list[Any] = json.loads(FILE.read_text())["json"]
    return listed


def behaviours() -> Sequence[Any]:
    """The differences that no JSON shows, each with the test that shows it."""
    listed: list[Any] = json.loads(FILE.read_text())["behaviours"]
    return listed


def outcome(entry: Mapping[str, Any]) -> Any:
    """What comes out here of what is given, as JSON.

    Of ``extra_fields`` only what it is about (``extra``); where it is about
    some ``members`` of an answer or an event, only those.
    """
    given, kind = entry["given"], entry["operation"]
    call = Call(kind)
    if "request" in given and "body" not in given and "stream" not in given:
        return _sent(kind, given["request"], call, entry.get("as_text", False))
    request = _asked(kind, given)
    if "stream" in given:
        return {"events": [_only(event, entry) for event in _events(kind, request, given, call)]}
    content_type = given.get("content_type", "application/json")
    answer = OPERATIONS[kind].parse(
        request,
        Reply(given.get("status", 200), {"content-type": content_type}, _bytes(given["body"])),
        1,
        call,
    )
    if isinstance(answer, Failure):
        return {"error": _error(answer.error)}
    return {"answer": _only(_shown(answer, entry.get("extra", ())), entry)}


def _only(document: Any, entry: Mapping[str, Any]) -> Any:
    members = entry.get("members", document)
    return {name: document[name] for name in members if name in document}


def _asked(kind: str, given: Mapping[str, Any]) -> Document:
    if "request" not in given:
        return REQUESTS[kind.removesuffix("_stream")]
    request = OPERATIONS[kind].from_flat(given["request"])  # type: ignore[index]
    assert not isinstance(request, Failure)
    return request


def _sent(kind: Any, flat: Mapping[str, Any], call: Call, as_text: bool) -> Any:
    if kind.startswith("transcription"):
        flat = {**flat, "file": {"file": b"RIFF", "filename": "a.wav"}}
    request = OPERATIONS[kind].from_flat(flat)
    plan = request if isinstance(request, Failure) else OPERATIONS[kind].plan(request, call)
    if isinstance(plan, Failure):
        return {"error": _error(plan.error)}
    assert plan.body is not None
    if plan.body.content_type == "application/json":
        return {"sent": plan.body.data.decode() if as_text else json.loads(plan.body.data)}
    boundary = forms.boundary(plan.body.content_type)
    assert isinstance(boundary, bytes)
    reader = forms.Reader(boundary)
    for piece in (plan.body.data, *plan.body.rest):
        reader.feed(piece)
    form = reader.close()
    assert isinstance(form, dict)
    return {"sent": {name: value for name, value in form.items() if name != "file"}}


def _events(kind: Any, request: Document, given: Mapping[str, Any], call: Call) -> Iterator[Any]:
    make = OPERATIONS[kind].fold
    assert make is not None
    head = Reply(200, {"content-type": given.get("content_type", "text/event-stream")})
    fold = make(request, head, call)
    data = b"".join(_frame(each) for each in given["stream"])
    for event in [*fold.feed(data), *fold.close()]:
        yield {"error": _error(event.error)} if isinstance(event, Failure) else _shown(event.data)


def _frame(given: object) -> bytes:
    """An event of one JSON document; text is sent as it is."""
    return given.encode() if isinstance(given, str) else b"data: %b\n\n" % json.dumps(given).encode()


def _bytes(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _error(error: BifrostError) -> Any:
    return {"http_status": http_status(error), **_shown(error)}


def _shown(document: Mapping[str, object], extra: Sequence[str] = ()) -> Any:
    data = documents.encode(document)
    assert isinstance(data, bytes)
    shown = json.loads(data)
    about = shown.pop("extra_fields", {})
    if isinstance(shown.get("response"), dict):
        shown["response"].pop("extra_fields", None)
    return {**shown, "extra_fields": {name: about.get(name) for name in extra}} if extra else shown


def places(ours: object, theirs: object, place: str = "") -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in [*ours, *(name for name in theirs if name not in ours)]:
            inner = f"{place}.{name}".removeprefix(".")
            if name in ours and name in theirs:
                yield from places(ours[name], theirs[name], inner)
            else:
                yield inner
    elif isinstance(ours, list) and isinstance(theirs, list):
        for number in range(max(len(ours), len(theirs))):
            inner = f"{place}[{number}]"
            if number < min(len(ours), len(theirs)):
                yield from places(ours[number], theirs[number], inner)
            else:
                yield inner
    elif type(ours) is not type(theirs) or ours != theirs:
        yield place


_INTRODUCTION: Final = """\
# Differences from Bifrost

A client that speaks to [Bifrost](https://github.com/maximhq/bifrost) can speak to this gateway: it finds the same
fields. Here is every place known where the JSON is not the same, for the same request or the same answer of a server, and
why. The rule behind most of them: lose nothing, invent nothing, say what was changed.

What is said of Bifrost was read in its public source and tests in versions of 2026, not executed; where those differ among
each other, it is what the newest of them do. The list is data, [differences.json](differences.json): a test runs every
example, and holds the difference against what is stated. Written by `python -m tests.differences > docs/differences.md`.

"""


def page() -> str:
    """The list, for people."""
    lines: list[str] = []
    listed = entries()
    for about in dict.fromkeys(entry["about"] for entry in listed):
        rows = [entry for entry in listed if entry["about"] == about]
        lines += [f"## {about}", "", "| name | operation | why | where |", "|---|---|---|---|"]
        for entry in rows:
            where = ", ".join(f"`{place}`" for place in entry["places"])
            lines.append(
                f"| [{entry['name']}](#{entry['name']}) | {entry['operation']} | {entry['why']} | {where} |"
            )
        lines.append("")
    lines += ["## Behaviour", "", "| name | Bifrost | here, and why | test |", "|---|---|---|---|"]
    lines += [
        f"| {entry['name']} | {entry['bifrost']} | {entry['why']} | `{entry['test']}` |"
        for entry in behaviours()
    ]
    lines += ["", "## Examples", ""]
    for entry in listed:
        lines += [f"### {entry['name']}", "", f"{entry['why']}.", "", "```text"]
        lines += [
            f"{title:8} {json.dumps(entry[key], ensure_ascii=False)}"
            for title, key in (("given", "given"), ("here", "ours"), ("Bifrost", "bifrost"))
        ]
        lines += ["```", ""]
    return _INTRODUCTION + "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
