"""The same question to several versions of vLLM: clients get the same answer, but for what has a reason here.

Run ``python -m comparison.versions --page docs/versions.md`` to write the tables anew.
"""

import argparse
import base64
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

from .differences import differences
from .exchanges import request_type, translated
from .layers import translate, transports

ROOT: Final = Path(__file__).resolve().parent.parent
NEWEST: Final = "0.32.0"

_CHANCE: Final = frozenset({"id", "created", "latency", "permission"})
_BY_ARITHMETIC: Final = frozenset({"relevance_score", "prompt_logprobs"})
_FLOAT_BYTES: Final = 4
_NUMBER: Final = re.compile(r"\[[0-9]+\]")
BEGIN: Final = "<!-- begin: python -m comparison.versions -->"
END: Final = "<!-- end: python -m comparison.versions -->"


class Reason(NamedTuple):
    """Why answers differ: of which versions, to which questions, at which places."""

    why: str
    versions: tuple[str, ...]
    questions: tuple[str, ...]
    places: tuple[str, ...]


_OLDER: Final = ("0.8.5", "0.16.0")
_ANY: Final = ("*",)
_ANOTHER_MODEL: Final = (
    "chat_completion_stream/two_calls_forbidden",
    "text_completion_stream/engine_killed",
    "chat_completion/two_calls",
    "chat_completion_stream/two_calls",
)

REASONS: Final = (
    Reason(
        "an older version tells no fingerprint and no details of its counts",
        _OLDER,
        _ANY,
        ("$.system_fingerprint", "$.usage.completion_tokens_details", "$.usage.prompt_tokens_details"),
    ),
    Reason(
        "counts of tokens are the server's own",
        _OLDER,
        _ANY,
        ("$.usage.prompt_tokens", "$.usage.completion_tokens", "$.usage.total_tokens"),
    ),
    Reason(
        "what one version refuses, another accepts",
        ("0.16.0",),
        tuple(
            f"chat_completion/{name}"
            for name in ("effort_none", "temperature_too_high", "tools_empty", "tool_choice_required")
        ),
        tuple(
            f"$.{name}"
            for name in (
                "choices",
                "created",
                "error",
                "id",
                "is_bifrost_error",
                "model",
                "object",
                "status_code",
                "usage",
            )
        ),
    ),
    Reason(
        "each version words its refusals, and names the place in the request or does not",
        ("0.16.0",),
        _ANY,
        ("$.error.message", "$.error.param", "$.error.type"),
    ),
    Reason(
        "a thought that was cut off is text up to 0.16",
        ("0.16.0",),
        ("chat_completion/cut_in_thought", "chat_completion/thought_*"),
        tuple(
            f"$.choices[].message.{name}"
            for name in ("content", "reasoning", "reasoning_content", "reasoning_details")
        ),
    ),
    Reason(
        "with the call forced upon it, this small model says another city in numbers of another width",
        ("0.16.0",),
        ("*/tool_choice_named",),
        ("$.choices[].message.tool_calls[].function.arguments", "$.choices[].calls[][]"),
    ),
    Reason(
        "in a stream, it sends the white space after a call, as arguments, where JSON allows it, and as text",
        ("0.16.0",),
        ("chat_completion_stream/one_call", "chat_completion_stream/two_calls"),
        ("$.choices[].calls[][]", "$.choices[].content"),
    ),
    Reason(
        "another model was asked, which says something else",
        _OLDER,
        _ANOTHER_MODEL,
        (
            *(
                f"$.choices[].{name}"
                for name in ("calls[]", "calls[][]", "content", "reasoning", "finish_reason")
            ),
            *(
                f"$.choices[].message.{name}"
                for name in ("reasoning", "reasoning_content", "reasoning_details", "tool_calls")
            ),
            *("$.error.code", "$.error.message", "$.error.type", "$.status_code"),
        ),
    ),
)
"""The first that fits counts."""


class Compared(NamedTuple):
    """One question to one version: the places where the answer is another than that of the newest."""

    question: str
    version: str
    places: tuple[str, ...]


def compared(recordings: Iterable[transports.Recording]) -> list[Compared]:
    """Every question that was put to the newest version and to another one, with the same request."""
    asked: defaultdict[str, dict[str, transports.Recording]] = defaultdict(dict)
    for recording in recordings:
        question, _, version = recording.name.partition("@vllm-")
        asked[question][version] = recording
    out: list[Compared] = []
    for question, answers in sorted(asked.items()):
        newest = answers.pop(NEWEST, None)
        for version, recording in sorted(answers.items(), key=lambda each: _order(each[0])):
            if newest is not None and _request(recording) == _request(newest):
                found = differences(normalised(newest), normalised(recording), 100)
                places = (_NUMBER.sub("[]", difference.path) for difference in found)
                out.append(Compared(question, version, tuple(dict.fromkeys(places))))
    return out


def _order(version: str) -> tuple[int, ...]:
    return translate.servers.numbers(version) or ()


def _request(recording: transports.Recording) -> tuple[object, ...]:
    return recording.method, recording.path, _json(recording.request_body or b"")


def normalised(recording: transports.Recording) -> object:
    """What clients get, without what is another with every request and on every machine."""
    kind = request_type(recording)
    if kind is None:
        return None
    result: Any = translated(recording, kind).result
    return _plain(_gathered(result) if isinstance(result, list) else result)


def _gathered(events: Sequence[Any]) -> dict[str, Any]:
    """The chunks of a stream as one answer."""
    out: dict[str, Any] = {**events[-1]}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in events:
        for choice in chunk.get("choices", ()):
            said = choices.setdefault(choice["index"], {"index": choice["index"], "content": "", "calls": {}})
            delta = choice.get("delta") or {"content": choice.get("text")}
            said["content"] += delta.get("content") or ""
            said["reasoning"] = said.get("reasoning", "") + (delta.get("reasoning") or "")
            said["finish_reason"] = choice.get("finish_reason") or said.get("finish_reason")
            for call in delta.get("tool_calls", ()):
                function = call["function"]
                name, arguments = said["calls"].get(call["index"], ("", ""))
                said["calls"][call["index"]] = (
                    name + function.get("name", ""),
                    arguments + function.get("arguments", ""),
                )
    if choices:
        out["choices"] = [
            {**choice, "calls": [list(call) for call in choice["calls"].values()]}
            for _, choice in sorted(choices.items())
        ]
    return out


def _plain(value: Any, name: str = "") -> Any:
    if name in _CHANCE and value is not None:
        return "some"
    if name in _BY_ARITHMETIC and value is not None:
        return "some number"
    if name == "embedding" and isinstance(value, list | str):
        return f"{len(value if isinstance(value, list) else base64.b64decode(value)) // _FLOAT_BYTES} numbers"
    if name == "logprobs" and isinstance(value, Mapping):
        return value.get("tokens") or [entry["token"] for entry in value.get("content") or ()]
    if isinstance(value, Mapping):
        return {key: _plain(member, key) for key, member in value.items() if key != "extra_fields"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def reason_for(compared: Compared, place: str) -> Reason | None:
    """Why the answers differ at a place, if that is known."""
    for reason in REASONS:
        if (
            compared.version in reason.versions
            and place in reason.places
            and any(fnmatchcase(compared.question, pattern) for pattern in reason.questions)
        ):
            return reason
    return None


def tables(rows: Sequence[Compared]) -> str:
    """What is known of versions, and how the answers of one question differ, in Markdown."""
    return "\n".join([*_known(), "", *_matrix(rows), "", *_notes()])


def _known() -> Iterator[str]:
    table = translate.servers.TABLE
    yield " | ".join(["| what", *table, "proven by |"])
    yield "|---" * (len(table) + 2) + "|"
    for trait, about in translate.servers.TRAITS.items():
        cells = [row.get(trait) for row in table.values()]
        proof = dict.fromkeys(name for cell in cells if cell for name in cell.proof)
        shown = ["not recorded" if cell is None else _value(cell.value) for cell in cells]
        yield " | ".join([f"| {about}", *shown, ", ".join(f"`{name}`" for name in proof) + " |"])


def _value(value: translate.servers.Value) -> str:
    return value if isinstance(value, str) else ", ".join(f"`{each}`" for each in value)


def _matrix(rows: Sequence[Compared]) -> Iterator[str]:
    versions = sorted({row.version for row in rows}, key=_order)
    yield " | ".join(["| question", *(f"{version} beside {NEWEST}" for version in versions)]) + " |"
    yield "|---" * (len(versions) + 1) + "|"
    by_question: defaultdict[str, dict[str, Compared]] = defaultdict(dict)
    for row in rows:
        by_question[row.question][row.version] = row
    for question, answers in by_question.items():
        cells = [_verdict(answers[each]) if each in answers else "" for each in versions]
        yield " | ".join([f"| `{question}`", *cells]) + " |"


def _verdict(row: Compared) -> str:
    reasons = [reason_for(row, place) for place in row.places]
    told = sorted({0 if reason is None else REASONS.index(reason) + 1 for reason in reasons})
    return ", ".join(map(str, told)) if told else "the same"


def _notes() -> Iterator[str]:
    for number, reason in enumerate(REASONS, 1):
        places = ", ".join(f"`{place.removeprefix('$.')}`" for place in reason.places)
        yield f"{number}. {reason.why[0].upper()}{reason.why[1:]}: {places}."


def _json(data: bytes) -> object:
    value = translate.documents.decode(data)
    return data if isinstance(value, translate.documents.Malformed) else json.loads(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every difference has a reason, else 1."""
    parser = argparse.ArgumentParser(prog="python -m comparison.versions", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "cassettes", metavar="DIR")
    parser.add_argument("--page", type=Path, metavar="FILE", help="renew the tables in this page")
    options = parser.parse_args(arguments)
    rows = compared(transports.Recordings.load(options.folder))
    if options.page:
        options.page.write_text(renewed(options.page.read_text("utf-8"), rows), "utf-8")
    else:
        sys.stdout.write(tables(rows) + "\n")
    unexplained = [(row, place) for row in rows for place in row.places if reason_for(row, place) is None]
    for row, place in unexplained:
        sys.stderr.write(f"{row.question}, {row.version}: no reason is known for {place}\n")
    return 1 if unexplained else 0


def renewed(page: str, rows: Sequence[Compared]) -> str:
    """``page`` with the tables between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
