"""vLLM's own Responses API beside ours, which is made of chat completions.

    python -m comparison.responses URL MODEL

asks a running server every question twice over: its own ``/v1/responses``, and
``/v1/chat/completions`` through the translators; whole and streamed. It prints
where the answers differ and why, as a table in Markdown. With ``--page FILE``
the table goes between the markers of that page; with ``--record FILE`` the
exchanges go into a cassette, and ``--replay FILE`` reads one in place of a
server. It ends with 1 when a difference has no reason, or a reason no difference.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import requests
import yaml

from .differences import Difference, differences
from .layers import cassette, translate, transports
from .response_questions import QUESTIONS, body
from .response_reasons import REASONS

BEGIN: Final = "<!-- begin: python -m comparison.responses -->"
END: Final = "<!-- end: python -m comparison.responses -->"
MODEL: Final = "tiny/chat"

_ABOUT: Final = "vLLM's own Responses API beside the one that is made of chat completions."
_PATH: Final = "/v1/responses"
_TIMEOUTS: Final = transports.Timeouts(connect_s=10, first_byte_s=300, idle_s=300, total_s=600)
_BY_CHANCE: Final = frozenset({
    "arguments", "bytes", "cache_write_tokens", "cached_tokens", "call_id", "created_at", "delta", "id",
    "item_id", "logprob", "output_tokens", "reasoning_tokens", "sequence_number", "text", "token",
    "total_tokens",
})  # fmt: skip
"""Of these the type is compared, not the value."""
_RESPONSES: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_LONGEST: Final = 60
_ALL: Final = 10_000
_FEW: Final = 4
_NUMBER: Final = re.compile(r"\[\d+\]")
_INSIDE: Final = (
    (re.compile(r"^event\..*\.extra_fields$"), "event.extra_fields"),
    (re.compile(r"^event\.response\.(?:created|in_progress)\.response\b"), "response"),
    (re.compile(r"^event\.response\.output_item\.(?:added|done)\.item\b"), "response.output[]"),
    (re.compile(r"^event\.response\.content_part\.(?:added|done)\.part\b"), "response.output[].content[]"),
)
_NAME: Final = re.compile(r'\["([^"]+)"\]')


class Row(NamedTuple):
    """A place at which the answers differ, what is there, and in which questions.

    ``theirs`` and ``ours`` have every value that was found, as JSON;
    an empty text where there was nothing.
    """

    place: str
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    questions: tuple[str, ...]


class Sender(Protocol):
    """The half of a transport that is needed here: streams are read whole."""

    def send(self, plan: translate.Plan) -> transports.Reply: ...


class _Noting:
    """A transport that keeps what went through it."""

    def __init__(self, inner: transports.Transport) -> None:
        self._inner = inner
        self.recordings: list[transports.Recording] = []

    def send(self, plan: translate.Plan) -> transports.Reply:
        reply = self._inner.send(plan)
        if reply.cut is not None:
            raise OSError(f"{plan.path}: {reply.cut.detail}")
        kind = reply.headers.get("content-type", "")
        asked = transports.whole(plan.body) if plan.body else None
        self.recordings.append(
            transports.Recording(
                "side by side",
                plan.method,
                plan.path,
                asked,
                reply.status,
                {"content-type": kind},
                reply.body,
            )
        )
        return reply


def compared(transport: Sender, model: str) -> list[Row]:
    """All differences, sorted by place; ``OSError`` when the server cannot be asked."""
    return _rows(_found(transport, model))


def unexplained(rows: Iterable[Row], reasons: Mapping[str, str] = REASONS) -> tuple[list[str], list[str]]:
    """The places that have no reason, and the reasons that have no place."""
    places = {row.place for row in rows}
    return sorted(places - reasons.keys()), sorted(reasons.keys() - places)


def table(rows: Iterable[Row], reasons: Mapping[str, str] = REASONS) -> str:
    """The rows in Markdown, with the reasons."""
    lines = ["| where | vLLM | here | why | seen in |", "|---|---|---|---|---|"]
    for row in rows:
        seen = ", ".join(row.questions) if len(row.questions) <= _FEW else f"{len(row.questions)} questions"
        cells = (
            f"`{row.place}`",
            _cell(row.theirs),
            _cell(row.ours),
            reasons.get(row.place, "**no reason is known**"),
            seen,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def renewed(page: str, rows: Iterable[Row]) -> str:
    """``page`` with the table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table(rows)}\n{END}{after}"


def _found(transport: Sender, model: str) -> Iterator[tuple[str, Difference]]:
    for name, question in QUESTIONS.items():
        for streamed in (False, True):
            asked = body(question, model, streamed)
            theirs, ours = _theirs(transport, asked), _ours(transport, asked)
            for difference in _differing(_by_place(theirs), _by_place(ours)):
                yield name, difference


def _differing(theirs: Mapping[str, object], ours: Mapping[str, object]) -> list[Difference]:
    """Where one is refused and the other is not, or not alike, there is nothing more to compare."""
    if theirs["status"] != ours["status"]:
        theirs, ours = {"status": theirs["status"]}, {"status": ours["status"]}
    return differences(theirs, ours, _ALL)


def _theirs(transport: Sender, asked: translate.Document) -> list[Any]:
    """The server's own answer: an error, a response, or events."""
    encoded = json.dumps(asked).encode()
    reply = transport.send(translate.Plan("POST", _PATH, translate.Body("application/json", encoded)))
    if reply.status != 200:
        return [{"http_status": reply.status, **json.loads(reply.body)}]
    if not asked.get("stream"):
        return [json.loads(reply.body)]
    reader = translate.sse.Reader()
    payloads = [*reader.feed(reply.body), *reader.close()]
    return [json.loads(payload) for payload in payloads if payload != b"[DONE]"]


def _ours(transport: Sender, asked: translate.Document) -> list[Any]:
    """The same by way of chat completions, as the translators have it."""
    kind: translate.RequestType = "responses_stream" if asked.get("stream") else "responses"
    operation, call = translate.OPERATIONS[kind], translate.Call(kind)
    request = operation.from_flat({**asked, "model": f"vllm/{asked['model']}"})
    if isinstance(request, translate.Failure):
        return [_refusal(request)]
    plan = operation.plan(request, call)
    if isinstance(plan, translate.Failure):
        return [_refusal(plan)]
    reply = transport.send(plan)
    if operation.fold is None:
        return [_plain(operation.parse(request, reply, 0, call))]
    folded = operation.fold(request, reply, call)
    return [_plain(event) for event in [*folded.feed(reply.body), *folded.close()]]


def _plain(outcome: translate.Document | translate.Chunk | translate.Failure) -> Any:
    """What a client reads."""
    if isinstance(outcome, translate.Failure):
        return _refusal(outcome)
    return _decoded(outcome.data if isinstance(outcome, translate.Chunk) else outcome)


def _refusal(failure: translate.Failure) -> Any:
    return {"http_status": translate.errors.http_status(failure.error), **_decoded(failure.error)}


def _decoded(document: object) -> Any:
    encoded = translate.documents.encode(document)
    return json.loads(encoded) if isinstance(encoded, bytes) else {}


def _by_place(answer: Sequence[Any]) -> dict[str, Any]:
    """An answer with what is compared: places by their kind, values without those of chance."""
    first = answer[0] if answer else {}
    if "http_status" in first:
        return {"status": first.pop("http_status"), "refusal": _without_chance(first)}
    if first.get("object") == "response":
        return {"status": 200, "response": _without_chance(first)}
    order: list[str] = []
    events: defaultdict[str, list[Any]] = defaultdict(list)
    for event in answer:
        kind = str(event.get("type"))
        if not order or order[-1] != kind:
            order.append(kind)
        events["last" if kind in _RESPONSES else kind].append(event)
    last = events.pop("last", [{}])[0]
    out = {"status": 200, "events": order, "response": _without_chance(last.pop("response", None))}
    out["event"] = {kind: _without_chance(listed[0]) for kind, listed in events.items()}
    out["event"]["last"] = _without_chance(last)
    return out


def _without_chance(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _without_chance(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_chance(member, name) for member in value]
    if name in _BY_CHANCE and value is not None and not isinstance(value, bool):
        return f"some {'number' if isinstance(value, int | float) else 'text'}"
    return value


def _rows(found: Iterable[tuple[str, Difference]]) -> list[Row]:
    seen: defaultdict[str, tuple[dict[str, None], dict[str, None], dict[str, None]]]
    seen = defaultdict(lambda: ({}, {}, {}))
    for question, difference in found:
        theirs, ours, questions = seen[_place(difference.path)]
        theirs[difference.expected] = None
        ours[difference.actual] = None
        questions[question] = None
    return [Row(place, *map(tuple, columns)) for place, columns in sorted(seen.items())]


def _place(path: str) -> str:
    """A path without the root and the numbers of members; one name for what stands in several events."""
    place = _NAME.sub(r".\1", _NUMBER.sub("[]", path)).removeprefix("$.")
    for inside, name in _INSIDE:
        place = inside.sub(name, place)
    return place


def _cell(values: Sequence[str]) -> str:
    shown = [_code(_short(value)) if value else "nothing" for value in values]
    return ", ".join(dict.fromkeys(shown)).replace("|", "\\|")


def _code(value: str) -> str:
    return f"`` {value} ``" if "`" in value else f"`{value}`"


def _short(value: str) -> str:
    """Objects and lists that are long are told by their kind."""
    if len(value) <= _LONGEST or value.startswith('"'):
        return value
    return "{…}" if value.startswith("{") else "[…]"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every difference has a reason and every reason a difference, else 1; 2 without answers."""
    parser = argparse.ArgumentParser(prog="python -m comparison.responses", description=_ABOUT)
    parser.add_argument("url", metavar="URL", nargs="?", help="a server, such as http://127.0.0.1:8000")
    parser.add_argument("model", metavar="MODEL", nargs="?", default=MODEL, help="default: %(default)s")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a cassette in place of the server")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the exchanges to this cassette")
    parser.add_argument("--page", type=Path, metavar="FILE", help="renew the table in this page")
    options = parser.parse_args(arguments)
    if (options.url is None) == (options.replay is None):
        parser.error("either a URL or --replay")
    try:
        with requests.Session() as session:
            session.trust_env = False
            transport = _Noting(_transport(options.url, options.replay, session))
            rows = compared(transport, options.model)
        if options.record:
            options.record.write_bytes(_cassette(transport.recordings))
        if options.page:
            options.page.write_text(renewed(options.page.read_text("utf-8"), rows), "utf-8")
        else:
            sys.stdout.write(table(rows))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"comparison.responses: {error}\n")
        return 2
    places, reasons = unexplained(rows)
    for place in places:
        sys.stderr.write(f"no reason is known for {place}\n")
    for place in reasons:
        sys.stderr.write(f"no difference was found at {place}\n")
    return 1 if places or reasons else 0


def _transport(url: str | None, file: Path | None, session: requests.Session) -> transports.Transport:
    if file is not None:
        return transports.ReplayTransport(transports.Recordings.load(file))
    return transports.RequestsTransport(session, transports.Endpoint(url or "", timeouts=_TIMEOUTS))


def _cassette(recordings: Iterable[transports.Recording]) -> bytes:
    """One file with all exchanges."""
    files = [yaml.safe_load(cassette.written(each).cassette) for each in recordings]
    interactions = [interaction for file in files for interaction in file["interactions"]]
    return yaml.safe_dump({"interactions": interactions, "version": 1}).encode("ascii")


if __name__ == "__main__":
    sys.exit(main())
