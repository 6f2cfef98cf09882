"""routing.access_log: one line for every request."""

import json

import pytest

from routing.access_log import Format, Record, line
from routing.secrets import Secrets

STYLES: list[Format] = ["text", "json"]

FULL = Record(
    at=1_790_000_000.1239,
    request_id="id 1",
    method="POST",
    path="/v1/chat/completions",
    status=200,
    duration_ms=1234.5678,
    outcome="ok",
    client="127.0.0.1",
    operation="chat_completion_stream",
    model="fast",
    resolved_model="org/model",
    key="gpu-a",
    stream=True,
    retries=1,
    fallback_index=0,
    first_event_ms=45.0,
    input_tokens=13,
    output_tokens=0,
    bytes_in=220,
    bytes_out=4096,
    trace_id="0af7651916cd43dd8448eb211c80319c",
    headers={"x-team": "blue"},
)
BARE = Record(at=0, request_id="r", method="GET", path="/health", status=200, duration_ms=0.04)


def test_a_line_for_people() -> None:
    assert line(FULL, "text") == (
        'time=2026-09-21T14:13:20.123Z request_id="id 1" method=POST path=/v1/chat/completions status=200'
        " duration_ms=1234.6 outcome=ok client=127.0.0.1 operation=chat_completion_stream model=fast"
        " resolved_model=org/model key=gpu-a stream=true retries=1 fallback_index=0 first_event_ms=45.0"
        " input_tokens=13 output_tokens=0 bytes_in=220 bytes_out=4096 trace_id=0af7651916cd43dd8448eb211c80319c"
        " header.x-team=blue"
    )


def test_a_line_for_machines() -> None:
    assert json.loads(line(FULL, "json")) == {
        "time": "2026-09-21T14:13:20.123Z",
        "request_id": "id 1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "duration_ms": 1234.6,
        "outcome": "ok",
        "client": "127.0.0.1",
        "operation": "chat_completion_stream",
        "model": "fast",
        "resolved_model": "org/model",
        "key": "gpu-a",
        "stream": True,
        "retries": 1,
        "fallback_index": 0,
        "first_event_ms": 45.0,
        "input_tokens": 13,
        "output_tokens": 0,
        "bytes_in": 220,
        "bytes_out": 4096,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "headers": {"x-team": "blue"},
    }


def test_what_is_unknown_is_left_out() -> None:
    assert line(BARE, "text") == (
        "time=1970-01-01T00:00:00.000Z request_id=r method=GET path=/health status=200 duration_ms=0.0 outcome=ok"
    )


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("org/m:1", "org/m:1"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ("a\nstatus=200\r\n", '"a\\nstatus=200\\r\\n"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("é", '"\\u00e9"'),
        ("\ud800", '"\\ud800"'),
        ("x" * 1_000, f"{'x' * 256}..."),
    ],
)
def test_no_name_breaks_a_line(model: str, written: str) -> None:
    record = Record(at=0, request_id="r", method="POST", path="/p", status=200, duration_ms=0, model=model)
    text = line(record, "text")
    assert text.endswith(f" model={written}")
    assert text.isprintable()
    assert len(json.loads(line(record, "json"))["model"]) <= 259


@pytest.mark.parametrize("at", [-5.0, 1e300, 253_402_300_800.0])
def test_a_clock_that_is_wrong_breaks_nothing(at: float) -> None:
    record = Record(at=at, request_id="r", method="GET", path="/", status=200, duration_ms=0)
    assert line(record, "text").startswith("time=")


def test_a_secret_is_blotted_out_wherever_a_client_put_it() -> None:
    record = Record(
        at=0,
        request_id="sk-canary",
        method="POST",
        path="/p",
        status=200,
        duration_ms=0,
        model="x" * 250 + "sk-canary",
        headers={"x-team": "a sk-canary b", "x-none": ""},
    )
    for written in (line(record, style, Secrets(["sk-canary", "", "abc"])) for style in STYLES):
        assert "canary" not in written
        assert "sk-" not in written
    assert json.loads(line(record, "json", Secrets(["sk-canary"])))["headers"] == {
        "x-team": "a *** b",
        "x-none": "",
    }
