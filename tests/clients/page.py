"""docs/clients.md, made of what the tests found."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple

from tests.clients.clients import CLIENTS, COLUMNS, EVERY_COLUMN, FAULTS, RESPONSES, Client

CELL: Final = "cell"
ERRORS: Final = "errors"
"""What tests note: the client, and the column or ``ERRORS``."""
_NOTHING: Final = "\N{EN DASH}"

Cell = tuple[str, str]

_HEAD: Final = """\
# Clients

What others' clients do with the gateway, each in an environment of its own with the exact versions that
[tests/clients/requirements](../tests/clients/requirements) pins. `make test-clients` installs what is missing in
`.clients`, drives each client over recordings of a real vLLM 0.32.0, and writes this page when all of them ran. Node comes
with the development dependencies, curl is the machine's own. What cannot be installed is skipped, and says why.

`make record-clients` records those exchanges anew: it starts a vLLM on this machine, lets each client talk to it through
the gateway, and holds what each got against what the tests expect. `python -m tests.clients.record curl` records one folder
of `tests/clients/cassettes`; with `--server chat=http://127.0.0.1:8000` it takes a server that runs already and serves the
same model. Clients are rows of `tests/clients/clients.py`, each with a program in `tests/clients/programs`.

A cell says yes when the client got what was recorded, down to the last word of it: through every way that its row
names, with one of vLLM's own parameters (`chat_template_kwargs`) where it is needed. A dash: the client has no call for it.
openai-python's answers are compared to the last field besides, in all three releases.

* **stream**: the text in pieces, and usage at the end. **reasoning**: as the client shows it, plain and streamed.
* **tools**: a call, a streamed call, and the answer to the call's result. **structured output**: a JSON schema.
* **embeddings**: in base64 from clients that ask for it by themselves. **models**: the list. **transcription**: a file.
* **rerank**: two documents, with their scores.
"""


class Incomplete(NamedTuple):
    """Why there is nothing to write."""

    reason: str


def written(outcomes: Mapping[Cell, str], versions: Mapping[str, str]) -> str | Incomplete:
    """The page; ``outcomes`` has what became of each cell: passed, failed or skipped.

    ``versions`` are those of the clients, by name.
    """
    if untried := [client.name for client in CLIENTS if (client.name, ERRORS) not in outcomes]:
        return Incomplete(f"not asked for: {', '.join(untried)}")
    skipped = {client for (client, _), outcome in outcomes.items() if outcome == "skipped"}
    if skipped:
        return Incomplete(f"skipped: {', '.join(sorted(skipped))}")
    notes = _Notes()
    first = _table(
        ("client", "version", "calls", *COLUMNS),
        [
            [client.name, versions[client.name], ", ".join(client.ways)]
            + [_cell(client, column, outcomes, notes) for column in COLUMNS]
            for client in CLIENTS
        ],
    )
    responses = {name: f"Responses: {name}" for name in RESPONSES}
    second = _table(
        ("client", *responses),
        [
            [client.name, *(_cell(client, column, outcomes, notes) for column in responses.values())]
            for client in CLIENTS
            if any(client.expected(EVERY_COLUMN[column]) for column in responses.values())
        ],
    )
    third = _table(("client", *FAULTS), [_errors(client, outcomes) for client in CLIENTS])
    return "\n".join(
        [
            _HEAD,
            *first,
            "",
            "## The Responses API",
            "",
            "As chat completions underneath, as in [responses.md](responses.md).",
            "",
            *second,
            "",
            *notes.lines(),
            "",
            "## Errors",
            "",
            "What a client raises, its retries switched off, when the server answers with a status, sends an error among",
            "the events of a stream, or resets the connection in the middle of one; each says what the server said. The faults",
            "are made by the replay ([record-and-replay.md](record-and-replay.md)). None: LiteLLM had not asked for a stream.",
            "",
            *third,
            "",
        ]
    )


class _Notes:
    """Footnotes, numbered in the order in which they are asked for."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._count = count(1)

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = next(self._count)
        return self._numbers[text]

    def lines(self) -> list[str]:
        return [f"{number}. {text[0].upper()}{text[1:]}." for text, number in self._numbers.items()]


def _cell(client: Client, column: str, outcomes: Mapping[Cell, str], notes: _Notes) -> str:
    expected = client.expected(EVERY_COLUMN[column])
    if not expected:
        return _NOTHING
    if outcomes.get((client.name, column)) != "passed":
        return "**fails**"
    limits = dict.fromkeys(notes.number(client.limits[name]) for name in expected if name in client.limits)
    said = "no" if all(name in client.limits for name in expected) else "partly" if limits else "yes"
    return said + "".join(f" ({number})" for number in limits)


def _errors(client: Client, outcomes: Mapping[Cell, str]) -> list[str]:
    if outcomes[client.name, ERRORS] != "passed":
        return [client.name, *("**fails**" for _ in FAULTS)]
    raised = [client.errors.get(fault, "") for fault in FAULTS]
    return [client.name, *(_code(name) if name else _NOTHING for name in raised)]


def _code(text: str) -> str:
    return text if "`" in text or " " in text or text == "none" else f"`{text}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
