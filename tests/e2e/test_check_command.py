"""``bifrost-vllm check`` as people run it: on recordings, and against a server."""

import json
import shutil
import socket
from pathlib import Path

import pytest

import gateway
from tests.e2e.loopback import COMPLETION, Upstream, reply
from translate import choices

CASSETTES = Path(__file__).parents[2] / "cassettes"
HELLO = "chat_completion/hello@vllm-0.32.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, plain and streamed."""
    for form in ("chat_completion", "chat_completion_stream"):
        (tmp_path / form).mkdir()
        for file in (CASSETTES / form).glob("hello@vllm-0.32.0.*"):
            shutil.copy(file, tmp_path / form)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = gateway.main(["check", *arguments])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


SUMMARY = "operation                  same  changed      new  unknown\n"


def test_a_folder_without_expectations_is_new_and_then_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = checked(capsys, str(folder))
    assert (status, report) == (
        0,
        f"new {HELLO}\nnew chat_completion_stream/hello@vllm-0.32.0\n{SUMMARY}"
        "chat_completion               0        0        1        0\n"
        "chat_completion_stream        0        0        1        0\n"
        "2 recordings have no expectation yet: --update writes them\n",
    )
    assert checked(capsys, str(folder), "--update")[1].endswith("\n2 expectations written\n")
    status, report = checked(capsys, str(folder))
    assert (status, report) == (
        0,
        f"{SUMMARY}"
        "chat_completion               1        0        0        0\n"
        "chat_completion_stream        1        0        0        0\n",
    )


def test_a_rule_that_changed_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked(capsys, str(folder), "--update")
    monkeypatch.setattr(choices, "finish_reason", lambda *_: "end")
    status, report = checked(capsys, str(folder), "--format", "json")
    verdicts = json.loads(report)["verdicts"]
    assert status == 1
    assert [(verdict["name"], verdict["outcome"], verdict["lines"]) for verdict in verdicts] == [
        (HELLO, "changed", ['result: $.choices[0].finish_reason: "stop" became "end"']),
        (
            "chat_completion_stream/hello@vllm-0.32.0",
            "changed",
            [verdicts[1]["lines"][0]],
        ),
    ]
    assert verdicts[1]["lines"][0].endswith('.choices[0].finish_reason: "stop" became "end"')


def test_a_plan_that_changed_is_shown_to_the_byte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked(capsys, str(folder), "--update")
    file = folder / f"{HELLO}.expected.json"
    expectation = json.loads(file.read_bytes())
    expectation["plan"]["body"] = expectation["plan"]["body"].replace('"temperature":0', '"temperature":1')
    file.write_text(json.dumps(expectation))
    status, report = checked(capsys, str(folder))
    assert status == 1
    assert "plan: body: byte " in report
    assert "plan: $.temperature: 1 became 0\n" in report


def test_a_server_whose_answers_look_different(
    folder: Path, capsys: pytest.CaptureFixture[str], upstream: Upstream
) -> None:
    shutil.rmtree(folder / "chat_completion_stream")
    version, silence = reply({"version": "0.16.0"}), reply(b"", 404)
    upstream.answers(version, reply({"error": {"message": "no"}}, 400), silence, reply(COMPLETION))
    status, report = checked(capsys, str(folder), "--against", upstream.url)
    assert (status, report.splitlines()[:3]) == (
        1,
        [f"{upstream.url}: vLLM 0.16.0", f"changed {HELLO}", "    status 200 became 400"],
    )
    status, report = checked(capsys, str(folder), "--against", upstream.url)
    assert status == 1
    assert report.startswith(f"{upstream.url}: it does not tell its version\n")
    assert "    missing $.choices[].message.reasoning: text\n" in report
    assert upstream.request(1).body == upstream.request(3).body


def test_what_cannot_be_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, str(tmp_path)) == (
        2,
        f"bifrost-vllm: {tmp_path}: there is no cassette in this directory\n",
    )
    assert checked(capsys, str(tmp_path), "--update", "--against", "http://x")[0] == 2


def test_a_server_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert checked(capsys, str(folder), "--against", url) == (
            2,
            f"bifrost-vllm: {url}: connection refused\n",
        )
