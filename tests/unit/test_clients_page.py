"""The page about clients says what the tests found, and nothing when they did not find out."""

from tests.clients import page
from tests.clients.clients import CLIENTS, EVERY_COLUMN

CELLS = [
    (client.name, column)
    for client in CLIENTS
    for column in (*EVERY_COLUMN, page.ERRORS)
    if column == page.ERRORS or client.expected(EVERY_COLUMN[column])
]
VERSIONS = {client.name: "1.2.3" for client in CLIENTS}
PASSED = dict.fromkeys(CELLS, "passed")


def rows(written: str | page.Incomplete, client: str) -> list[list[str]]:
    assert isinstance(written, str)
    lines = [line for line in written.splitlines() if line.startswith(f"| {client} |")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_every_client_has_its_rows() -> None:
    written = page.written(PASSED, VERSIONS)
    assert rows(written, "curl") == [
        ["curl", "1.2.3", "sync", *["yes"] * 9],
        ["curl", "yes", "yes", "–", "yes", "–", "yes", "–"],  # noqa: RUF001
        ["curl", *[f"exit status 22, HTTP {status}" for status in (400, 401, 404, 429, 503)]]
        + ["exit status 0, an event with `error`, no `[DONE]`"] * 2
        + ["exit status 0, an event with `error`"],
    ]


def test_a_limit_is_told_with_its_reason() -> None:
    written = page.written(PASSED, VERSIONS)
    first, responses, _ = rows(written, "LangChain (langchain-openai)")
    assert first[3:6] == ["yes", "yes", "no (1)"]
    assert responses[4] == "partly (2)"
    assert isinstance(written, str)
    assert "\n1. `ChatOpenAI` reads the fields of OpenAI's own chat completions alone;" in written
    assert "\n2. Of a streamed response it reads summaries alone.\n" in written


def test_what_fails_is_said_to() -> None:
    failed = {**PASSED, ("curl", "models"): "failed", ("curl", page.ERRORS): "failed"}
    first, _, errors = rows(page.written(failed, VERSIONS), "curl")
    assert first == ["curl", "1.2.3", "sync", *["yes"] * 7, "**fails**", "yes"]
    assert errors == ["curl", *["**fails**"] * 8]


def test_without_every_client_there_is_no_page() -> None:
    without = {cell: outcome for cell, outcome in PASSED.items() if cell[0] != "curl"}
    assert page.written(without, VERSIONS) == page.Incomplete("not asked for: curl")
    skipped = {**PASSED, ("curl", "chat"): "skipped"}
    assert page.written(skipped, VERSIONS) == page.Incomplete("skipped: curl")
