"""What docs/responses.md says of vLLM's own Responses API is so, on recorded exchanges with vLLM 0.32.0."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from comparison import responses
from comparison.response_questions import QUESTIONS
from comparison.response_reasons import REASONS
from transports import Recordings, ReplayTransport

PAGE: Final = Path(__file__).parents[2] / "docs" / "responses.md"
FILE: Final = Path(__file__).parent / "exchanges" / "responses.yaml"
RECORDINGS: Final = Recordings.load(FILE)
ROWS: Final = responses.compared(ReplayTransport(RECORDINGS), responses.MODEL)


def test_every_difference_has_a_reason_and_every_reason_a_difference() -> None:
    assert responses.unexplained(ROWS) == ([], [])
    assert [row.place for row in ROWS] == sorted(REASONS)


def test_the_page_has_the_table_of_today() -> None:
    page = PAGE.read_text("utf-8")
    assert responses.renewed(page, ROWS) == page
    assert len(QUESTIONS) == 18
    assert "the same eighteen questions" in page


def test_every_exchange_was_compared_and_every_question_was_recorded() -> None:
    transport = ReplayTransport(RECORDINGS)
    responses.compared(transport, responses.MODEL)
    assert transport.unplayed == ()
    asked = Counter(recording.path for recording in RECORDINGS)
    refused_unsent = 5  # conversation, hosted tool, earlier response, in the background, no input
    assert asked == {
        "/v1/responses": 2 * len(QUESTIONS),
        "/v1/chat/completions": 2 * (len(QUESTIONS) - refused_unsent),
    }


def test_a_difference_without_a_reason_and_a_reason_without_a_difference_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {**REASONS, "response.nothing": "there is none"}
    del reasons["response.store"]
    assert responses.unexplained(ROWS, reasons) == (["response.store"], ["response.nothing"])
    shown = [line for line in responses.table(ROWS, reasons).splitlines() if "response.store" in line]
    assert shown == ["| `response.store` | nothing | `false` | **no reason is known** | 11 questions |"]
    monkeypatch.setattr(responses, "QUESTIONS", {"text": QUESTIONS["text"]})
    assert responses.main(["--replay", str(FILE)]) == 1
    assert "no difference was found at response.tools[].async\n" in capsys.readouterr().err


def test_a_new_member_of_the_servers_is_a_difference() -> None:
    first = RECORDINGS[0]
    answer = {**json.loads(first.body), "novelty": [1]}
    changed = [replace(first, body=json.dumps(answer).encode()), *RECORDINGS[1:]]
    rows = responses.compared(ReplayTransport(changed), responses.MODEL)
    assert [row for row in rows if row not in ROWS] == [
        responses.Row("response.novelty", ("[1]",), ("",), ("text",))
    ]


def test_texts_ids_and_times_are_no_differences() -> None:
    first = RECORDINGS[0]
    answer = json.loads(first.body)
    answer |= {"id": "resp_other", "created_at": 1}
    answer["output"][0]["content"][0]["text"] = "other"
    changed = [replace(first, body=json.dumps(answer).encode()), *RECORDINGS[1:]]
    assert responses.compared(ReplayTransport(changed), responses.MODEL) == ROWS


def test_the_command_renews_the_page_and_keeps_the_exchanges(tmp_path: Path) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "kept.yaml"
    page.write_text(f"before\n{responses.BEGIN}\nold\n{responses.END}\nafter\n")
    assert responses.main(["--replay", str(FILE), "--page", str(page), "--record", str(kept)]) == 0
    table = responses.table(ROWS)
    assert page.read_text("utf-8") == f"before\n{responses.BEGIN}\n\n{table}\n{responses.END}\nafter\n"
    again = Recordings.load(kept)
    assert sorted((each.path, each.request_body, each.status, each.body) for each in again) == sorted(
        (each.path, each.request_body, each.status, each.body) for each in RECORDINGS
    )


def test_a_page_without_markers_and_a_server_that_is_not_there_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert responses.main(["--replay", str(FILE), "--page", str(page)]) == 2
    assert responses.main(["http://127.0.0.1:1"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "comparison.responses"
    ] * 2
