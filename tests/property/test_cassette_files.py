"""What is written of a recording is what vcrpy would write, and what both read back."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
import vcr  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from vcr.persisters.filesystem import FilesystemPersister  # type: ignore[import-untyped]
from vcr.request import Request  # type: ignore[import-untyped]
from vcr.serialize import serialize  # type: ignore[import-untyped]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

from transports import Cut, Recording, Recordings
from transports.cassette import RECORDED_HOST, Files, cuts_path, written

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
HEADERS = st.dictionaries(NAMES, st.from_regex(r"[!-~]([ -~]{0,90}[!-~])?", fullmatch=True), max_size=3)
BODIES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).map(str.encode) | st.binary(
    max_size=100
)
CUTS = st.builds(
    Cut,
    st.sampled_from(["connect", "timeout", "read", "cancelled"]),
    st.text("abc é:'\"#", max_size=30),
    st.none() | st.sampled_from(["connect", "sending", "first byte", "idle", "total"]),
)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    body = draw(BODIES)
    cuts, left = [], len(body)
    for at_ms, size in enumerate(draw(st.lists(st.integers(0, 20), max_size=4))):
        cuts.append((at_ms, min(size, left)))
        left -= cuts[-1][1]
    headers = draw(HEADERS)
    headers.pop("content-encoding", None)
    recording = Recording(
        name="chat/it",
        method=draw(st.sampled_from(["GET", "POST"])),
        path="/v1/" + draw(st.from_regex(r"[a-z/]{0,9}(\?[a-z=%0-9]{1,9})?", fullmatch=True)),
        request_body=draw(st.none() | BODIES),
        status=draw(st.sampled_from([200, 404, 499, 599])),
        headers=headers,
        body=body,
        cuts=(*cuts, (99, left)),
        request_headers=draw(HEADERS),
        head_ms=draw(st.none() | st.integers(0, 10_000)),
        redacted=tuple(draw(st.lists(st.sampled_from(["user", "$.a[0]"]), max_size=2))),
    )
    if draw(st.booleans()):
        recording = replace(recording, cut=draw(CUTS), cut_ms=draw(st.integers(0, 10_000)))
        if draw(st.booleans()):
            recording = replace(recording, status=0, headers={}, body=b"", cuts=())
    return recording


def stored(files: Files, folder: str) -> Path:
    cassette = Path(folder) / "chat" / "it.yaml"
    cassette.parent.mkdir()
    cassette.write_bytes(files.cassette)
    cuts_path(cassette).write_bytes(files.cuts)
    return cassette


@given(recordings())
def test_a_recording_is_read_as_it_was_written(recording: Recording) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert Recordings.load(stored(written(recording), folder)) == (recording,)


@given(recordings())
def test_vcrpy_reads_it_and_would_have_written_the_same(recording: Recording) -> None:
    files = written(recording)
    request = Request(
        recording.method,
        RECORDED_HOST + recording.path,
        recording.request_body,
        dict(recording.request_headers),
    )
    with tempfile.TemporaryDirectory() as folder:
        (kept,), (answered,) = FilesystemPersister.load_cassette(stored(files, folder), yamlserializer)[:2]
    assert (kept.method, kept.uri, kept.body) == (request.method, request.uri, request.body)
    assert dict(kept.headers) == dict(request.headers)
    assert answered["body"]["string"] == recording.body
    assert answered["headers"] == {name: [value] for name, value in recording.headers.items()}
    assert 200 <= answered["status"]["code"] <= 599
    response = {**answered, "body": {"string": recording.body}}
    assert (
        serialize({"requests": [request], "responses": [response]}, yamlserializer) == files.cassette.decode()
    )


def test_what_got_no_answer_is_an_error_to_vcrpy(tmp_path: Path) -> None:
    statuses: dict[str, Any] = {}
    for kind in ("connect", "read", "timeout", "cancelled"):
        recording = Recording(
            "chat/it", "GET", "/v1/models", status=0, cut=Cut(kind, "connection refused"), cut_ms=7
        )
        folder = tmp_path / kind
        folder.mkdir()
        with vcr.VCR(record_mode=vcr.mode.NONE).use_cassette(str(stored(written(recording), str(folder)))):
            answer = requests.get(f"{RECORDED_HOST}/v1/models", timeout=5)
        statuses[kind] = answer.status_code, answer.reason, answer.content
    assert statuses == {
        "connect": (502, "no answer: connection refused", b""),
        "read": (502, "no answer: connection refused", b""),
        "timeout": (504, "no answer: connection refused", b""),
        "cancelled": (499, "no answer: connection refused", b""),
    }
