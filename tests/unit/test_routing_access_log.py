"""routing.access_log: one line for every request."""

import json

import pytest

from routing.access_log import Format, Record, line, pattern
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


ORDINARY = FULL._replace(request_id="id-1", retries=None, fallback_index=None, trace_id="", headers={})


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            "text",
            "time=2026-09-21T14:13:20.123Z request_id=id-1 method=POST path=/v1/chat/completions status=200"
            " duration_ms=1234.6 outcome=ok client=127.0.0.1 operation=chat_completion_stream model=fast"
            " resolved_model=org/model key=gpu-a stream=true first_event_ms=45.0 input_tokens=13 output_tokens=0"
            " bytes_in=220 bytes_out=4096",
        ),
        (
            "json",
            '{"time": "2026-09-21T14:13:20.123Z", "request_id": "id-1", "method": "POST",'
            ' "path": "/v1/chat/completions", "status": 200, "duration_ms": 1234.6, "outcome": "ok",'
            ' "client": "127.0.0.1", "operation": "chat_completion_stream", "model": "fast",'
            ' "resolved_model": "org/model", "key": "gpu-a", "stream": true, "first_event_ms": 45.0,'
            ' "input_tokens": 13, "output_tokens": 0, "bytes_in": 220, "bytes_out": 4096}',
        ),
    ],
)
def test_a_line_from_a_pattern(style: Format, expected: str) -> None:
    found = pattern(ORDINARY, style, Secrets(["sk-canary"]))
    assert found is not None
    when = "2026-09-21T14:13:20.123Z"
    assert found.line(when, "id-1", "127.0.0.1", 1234.5678, 45.0, (13, 0, 220, 4096)) == expected
    assert line(ORDINARY, style) == expected


@pytest.mark.parametrize(
    "record",
    [
        ORDINARY._replace(model="two words"),
        ORDINARY._replace(key="back\\slash"),
        ORDINARY._replace(resolved_model="sk-canary"),
    ],
)
@pytest.mark.parametrize("style", STYLES)
def test_what_has_no_pattern(record: Record, style: Format) -> None:
    assert pattern(record, style, Secrets(["sk-canary"])) is None


@pytest.mark.parametrize(
    ("request_id", "client"),
    [("a b", "::1"), ("a", ""), ("", "::1"), ('"', "::1"), ("\\", "::1"), ("a=b", "::1"), ("é", "::1"),
     ("a-sk-canary", "::1"), ("a", "sk-canary"), ("x" * 180, "::1")],
)  # fmt: skip
@pytest.mark.parametrize("style", STYLES)
def test_who_asks_is_looked_at_every_time(request_id: str, client: str, style: Format) -> None:
    found = pattern(ORDINARY, style, Secrets(["sk-canary"]))
    assert found is not None
    assert found.line("", request_id, client, 1.0, None, (None, None, None, None)) is None


@pytest.mark.parametrize("odd", [-1.0, 1e14, float("inf"), float("nan")])
def test_how_long_it_took_is_looked_at_every_time(odd: float) -> None:
    found = pattern(ORDINARY, "text")
    assert found is not None
    assert found.line("", "a", "::1", odd, None, (None, None, None, None)) is None
    assert found.line("", "a", "::1", 1.0, odd, (None, None, None, None)) is None
    assert found.line("", "a", "::1", 1.0, 1.0, (None, None, None, None)) is not None


def test_a_secret_that_could_begin_in_one_text_and_end_in_the_next() -> None:
    assert pattern(ORDINARY, "text", Secrets(["id-1 POST"])) is None
