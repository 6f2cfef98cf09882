"""The parts of the comparison: shapes, differences, verdicts and reports."""

import json
from xml.etree import ElementTree

import pytest

from comparison import reports
from comparison.differences import Difference, differences, first_byte
from comparison.exchanges import Translated, posted, request_type, translated
from comparison.shapes import Change, changes, shape
from comparison.verdicts import Verdict
from tests.forms import parts_of_plan
from translate import Call, Plan, transcriptions
from transports import Recording, whole


def test_the_shape_of_several_documents_together() -> None:
    frames = [
        {"a": [{"b": 1}, {"b": "x"}], "c": None},
        {"c": True, "top_logprobs": [{"tok": 0.5}, {"en": 1}]},
    ]
    assert shape(frames) == {
        "$": {"object"},
        "$.a": {"array"},
        "$.a[]": {"object"},
        "$.a[].b": {"number", "text"},
        "$.c": {"null", "boolean"},
        "$.top_logprobs": {"array"},
        "$.top_logprobs[]": {"object"},
        "$.top_logprobs[].*": {"number"},
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, []),
        ({"a": {"b": 1, "c": 2}}, {}, [Change("missing", "$.a", "object")]),
        ({}, {"a": [{"b": 1}]}, [Change("added", "$.a", "array")]),
        ({"a": "x"}, {"a": 1}, [Change("retyped", "$.a", "from text to number")]),
        ({"m": {"reasoning_content": "x"}}, {"m": {"reasoning": "y"}}, [Change("renamed", "$.m.reasoning_content", "to $.m.reasoning")]),
        ({"a": "x", "b": "y"}, {"c": "z"}, [Change("missing", "$.a", "text"), Change("missing", "$.b", "text"), Change("added", "$.c", "text")]),
        ({"a": {}}, {"b": {}}, [Change("missing", "$.a", "object"), Change("added", "$.b", "object")]),
        ({"a": None}, {"b": None}, [Change("missing", "$.a", "null"), Change("added", "$.b", "null")]),
        ({"u": {"a": 1, "b": {}}}, {"u": None}, [Change("retyped", "$.u", "from object to null")]),
        ({"ab": 1, "a": {"x": 1}}, {}, [Change("missing", "$.a", "object"), Change("missing", "$.ab", "number")]),
    ],
)  # fmt: skip
def test_changes_of_a_shape(before: object, after: object, expected: list[Change]) -> None:
    assert changes(shape([before]), shape([after])) == expected


def test_differences_in_document_order() -> None:
    expected = {"a": 1, "b": [1, {"x y": True}], "c": "s"}
    actual = {"b": [1.0, {"x y": 1}, 3], "c": "s", "d": None}
    assert differences(expected, actual) == [
        Difference("$.a", "1", ""),
        Difference("$.b[0]", "1", "1.0"),
        Difference('$.b[1]["x y"]', "true", "1"),
        Difference("$.b[2]", "", "3"),
        Difference("$.d", "", "null"),
    ]
    assert differences(expected, actual, limit=1) == [Difference("$.a", "1", "")]
    assert differences(expected, expected) == []
    assert differences("x" * 99, "") == [Difference("$", '"' + "x" * 76 + "...", '""')]


def test_the_first_byte_that_differs() -> None:
    assert first_byte(b"abc", b"abc") is None
    assert first_byte(b"abc", b"abd") == Difference("byte 2", "abc", "abd")
    assert first_byte(b"abc", b"ab") == Difference("byte 2", "abc", "ab")
    assert first_byte(b"\xff", b"a") == Difference("byte 0", "\\xff", "a")


@pytest.mark.parametrize(
    ("name", "path", "body", "expected"),
    [
        ("chat_completion/x", "/anything", None, "chat_completion"),
        ("traffic/x", "/v1/chat/completions", b'{"stream":false}', "chat_completion"),
        ("traffic/x", "/v1/chat/completions", b'{"stream":true}', "chat_completion_stream"),
        ("traffic/x", "/v1/embeddings", b'{"stream":true}', "embedding"),
        ("traffic/x", "/rerank", b"{}", "rerank"),
        ("traffic/x", "/v1/models", None, "list_models"),
        ("traffic/x", "/nothing", None, None),
    ],
)
def test_the_operation_of_a_recording(name: str, path: str, body: bytes | None, expected: str | None) -> None:
    assert request_type(Recording(name, "POST", path, body)) == expected


VERDICTS = [
    Verdict("chat_completion/a", "chat_completion", "same"),
    Verdict("chat_completion/b", "chat_completion", "changed", ("status 200 became 400", "x \x00")),
    Verdict("embedding/c", "embedding", "new"),
    Verdict("d", "-", "unknown", ("no operation has the path /x",)),
]


def test_a_report_for_people() -> None:
    assert reports.text(VERDICTS, colour=False) == (
        "changed chat_completion/b\n"
        "    status 200 became 400\n"
        "    x \x00\n"
        "new embedding/c\n"
        "unknown d\n"
        "    no operation has the path /x\n"
        "operation           same  changed      new  unknown\n"
        "-                      0        0        0        1\n"
        "chat_completion        1        1        0        0\n"
        "embedding              0        0        1        0\n"
    )
    assert "\x1b[31mchanged\x1b[0m chat_completion/b" in reports.text(VERDICTS, colour=True)


def test_what_changed_in_several_recordings_is_counted_and_a_remark_ends_the_report() -> None:
    verdicts = [Verdict(name, "rerank", "changed", ("a", name)) for name in "xyz"]
    assert reports.text(verdicts, colour=False, remark="so much for that") == (
        "changed x\n    a\n    x\nchanged y\n    a\n    y\nchanged z\n    a\n    z\n"
        "in several recordings\n    3 times a\n"
        "operation     same  changed      new  unknown\n"
        "rerank           0        3        0        0\n"
        "so much for that\n"
    )


def test_reports_for_machines() -> None:
    document = json.loads(reports.as_json(VERDICTS))
    assert document["summary"] == {
        "chat_completion": {"same": 1, "changed": 1},
        "embedding": {"new": 1},
        "-": {"unknown": 1},
    }
    assert document["verdicts"][1] == {
        "name": "chat_completion/b",
        "operation": "chat_completion",
        "outcome": "changed",
        "lines": ["status 200 became 400", "x \x00"],
    }
    suites = ElementTree.fromstring(reports.as_junit(VERDICTS))  # noqa: S314 - it is our own
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in suites] == [
        ("-", "1", "0"),
        ("chat_completion", "2", "1"),
        ("embedding", "1", "0"),
    ]
    (failure,) = suites.iter("failure")
    assert (failure.get("message"), failure.text) == (
        "status 200 became 400",
        "status 200 became 400\nx \ufffd",
    )
    assert [skipped.get("message") for skipped in suites.iter("skipped")] == ["unknown", "new"]


def test_a_recorded_form_is_understood_and_put_together_again() -> None:
    asked = {
        "model": "m",
        "input": {"file": b"RIFF\xff", "filename": "a.wav"},
        "params": {"x": ["1", "2"], "timestamp_granularities": ["word"]},
    }
    plan = transcriptions.plan(asked, Call("transcription_stream"))
    assert isinstance(plan, Plan)
    assert plan.body is not None
    body = whole(plan.body)
    answer = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    events = {"content-type": "text/event-stream"}
    recording = Recording("elsewhere/x", "POST", plan.path, body, headers=events, body=answer)
    assert request_type(recording) == "transcription_stream"
    assert parts_of_plan(posted(recording)) == parts_of_plan(plan)
    again = translated(recording, "transcription_stream")
    assert again[:3] == Translated("POST", "/v1/audio/transcriptions", body, None)[:3]
    assert isinstance(again.result, list)
    assert [(event["type"], event.get("text")) for event in again.result] == [
        ("transcript.text.delta", None),
        ("transcript.text.done", "a"),
    ]


def test_a_body_that_only_begins_like_a_form_asks_for_nothing() -> None:
    recording = Recording("elsewhere/x", "POST", "/v1/audio/transcriptions", b"--b\r\nx")
    assert request_type(recording) == "transcription"
    assert translated(recording, "transcription").body == b""
    assert posted(recording).body == ("multipart/form-data; boundary=b", b"--b\r\nx", ())
