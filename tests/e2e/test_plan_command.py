"""``bifrost-vllm plan`` as people run it."""

import io
import json
import shlex
from pathlib import Path

import pytest

import gateway

FLAT = {"model": "vllm/m", "messages": [{"role": "user", "content": "it's"}], "max_tokens": 5, "tools": []}
BIFROST = {
    "provider": "vllm",
    "model": "m",
    "input": FLAT["messages"],
    "params": {"max_tokens": 5, "tools": []},
}
BODY = '{"model":"m","messages":[{"role":"user","content":"it\'s"}],"max_completion_tokens":5}'
NOTES = [
    {"param": "max_tokens", "action": "renamed", "detail": "max_completion_tokens"},
    {"param": "tools", "action": "dropped", "detail": "empty"},
]


@pytest.mark.parametrize("request_document", [FLAT, BIFROST])
def test_for_people(request_document: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request_document))
    assert gateway.main(["plan", "chat_completion", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"POST /v1/chat/completions\ncontent-type: application/json\n\n{BODY}\n\n"
        "max_tokens renamed: max_completion_tokens\ntools dropped: empty\n"
    )


def from_stdin(monkeypatch: pytest.MonkeyPatch, document: object, *arguments: str) -> int:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return gateway.main(["plan", *arguments, "-"])


def test_for_machines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_stdin(monkeypatch, FLAT, "chat_completion", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "method": "POST",
        "path": "/v1/chat/completions",
        "content_type": "application/json",
        "body": BODY,
        "translation_notes": NOTES,
    }


def test_for_a_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_stdin(monkeypatch, FLAT, "chat_completion", "--format", "curl") == 0
    assert shlex.split(capsys.readouterr().out) == [
        *("curl", "-X", "POST", "http://localhost:8000/v1/chat/completions"),
        *("-H", "content-type: application/json", "--data-binary", BODY),
    ]


def test_a_request_without_a_body(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_stdin(monkeypatch, {}, "list_models") == 0
    assert capsys.readouterr().out == "GET /v1/models\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"model":"m","messages":5}', "messages: messages must be an array, got a number"),
        (b"[]", "-: expected an object, got an array"),
        (b"", "-: empty"),
    ],
)
def test_a_request_that_would_not_be_sent(
    data: bytes, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_stdin(monkeypatch, data, "chat_completion") == 2
    assert capsys.readouterr().err == f"bifrost-vllm: {message}\n"


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gateway.main(["plan", "rerank", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == f"bifrost-vllm: {tmp_path}/none.json: No such file or directory\n"
