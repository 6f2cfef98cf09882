"""transports.cassette_store: names, limits, and what never reaches the disk."""

import base64
import json
import stat
from pathlib import Path

import pytest

from transports import CassetteStore, Cut, Recording, Recordings, Rule
from transports.cassette import cuts_path

NOON = 1_795_392_000.0  # 2026-11-23
SECRET = "sk-canary-0815"
ANSWER = {"content-type": "application/json"}


def recording(body: bytes = b'{"ok":true}', **more: object) -> Recording:
    fields: dict[str, object] = {
        "name": "",
        "method": "POST",
        "path": "/v1/chat/completions?a=1",
        "request_body": b'{"user":"ann"}',
        "headers": ANSWER,
        "body": body,
        "request_headers": {"Content-Type": "application/json"},
        **more,
    }
    return Recording(**fields)  # type: ignore[arg-type]


def files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_names_tell_when_and_sort_in_the_order_of_the_requests(tmp_path: Path) -> None:
    store = CassetteStore(tmp_path)
    for label, started in [("chat", NOON + 0.5), ("chat", NOON + 0.5), ("chat", NOON), ("", NOON)]:
        assert store.write(recording(), label, started) == "written"
    assert files(tmp_path) == [
        "chat/20261123T000000.000000Z-000003.cuts.json",
        "chat/20261123T000000.000000Z-000003.yaml",
        "chat/20261123T000000.500000Z-000001.cuts.json",
        "chat/20261123T000000.500000Z-000001.yaml",
        "chat/20261123T000000.500000Z-000002.cuts.json",
        "chat/20261123T000000.500000Z-000002.yaml",
        "v1-chat-completions/20261123T000000.000000Z-000004.cuts.json",
        "v1-chat-completions/20261123T000000.000000Z-000004.yaml",
    ]
    assert Recordings.load(tmp_path)[0].name == "chat/20261123T000000.000000Z-000003"


def test_two_that_write_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    for store in [CassetteStore(tmp_path), CassetteStore(tmp_path)]:
        store.write(recording(), "chat", NOON)
        store.write(recording(), "chat", NOON)
    assert len(Recordings.load(tmp_path)) == 4


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("/", "other"),
        ("..", "other"),
        ("a b\\c\0d", "a-b-c-d"),
        ("x" * 300, "x" * 80),
        ("chat_completion_stream", "chat_completion_stream"),
    ],
)
def test_a_label_is_no_way_out_of_the_folder(tmp_path: Path, label: str, folder: str) -> None:
    CassetteStore(tmp_path / "in").write(recording(), label, NOON)
    assert {Path(file).parent.as_posix() for file in files(tmp_path)} == {f"in/{folder}"}


def test_nobody_else_may_read_what_is_written(tmp_path: Path) -> None:
    CassetteStore(tmp_path).write(recording(), "chat", NOON)
    for file in (tmp_path / "chat").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "chat").stat().st_mode) == 0o700


def test_what_is_read_back_is_what_was_to_be_kept(tmp_path: Path) -> None:
    headers = {**ANSWER, "set-cookie": "a=1", "x-echo": f"Bearer {SECRET}", "location": "http://gpu:8000/x"}
    kept = recording(
        b'{"id": 1.50, "user": "bob"}',
        headers=headers,
        cuts=((7, 12), (9, 15)),
        head_ms=5,
        cut=Cut("read", "connection reset"),
        cut_ms=11,
    )
    assert CassetteStore(tmp_path, [Rule("user")], [SECRET]).write(kept, "chat", NOON) == "written"
    assert Recordings.load(tmp_path) == (
        Recording(
            "chat/20261123T000000.000000Z-000001",
            "POST",
            "/v1/chat/completions?a=1",
            b'{"user":"[redacted]"}',
            headers={**ANSWER, "location": "http://localhost:8000/x"},
            body=b'{"id": 1.50, "user": "[redacted]"}',
            cuts=((7, 12), (9, 22)),
            request_headers={"Content-Type": "application/json"},
            head_ms=5,
            cut=Cut("read", "connection reset"),
            cut_ms=11,
            redacted=("user",),
        ),
    )


PLACES: dict[str, dict[str, object]] = {
    "request": {"request_body": SECRET.encode()},
    "request, binary": {"request_body": b"\xff" + SECRET.encode()},
    "request, with escapes": {"request_body": b'{"a":"sk-\\u0063anary-0815"}'},
    "answer": {"body": b'{"message":"bad key %b"}' % SECRET.encode()},
    "answer, on a folded line": {"body": b"word " * 14 + b"sk- " + SECRET.encode() + b" word" * 20},
    "answer, binary": {"body": b"\x00\xff" * 40 + SECRET.encode()},
    "answer, in base64": {"body": base64.b64encode(b"user:" + SECRET.encode())},
    "path": {"path": f"/v1/models?key={SECRET}"},
    "path, percent-encoded": {"path": f"/v1/models?key={SECRET.replace('-', '%2D')}"},
    "media type": {"request_headers": {"Content-Type": f"multipart/form-data; boundary={SECRET}"}},
    "reason": {"cut": Cut("read", SECRET)},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_recording_that_holds_a_secret_is_not_written(tmp_path: Path, place: dict[str, object]) -> None:
    store = CassetteStore(tmp_path, secrets=["other-secret", SECRET])
    assert store.write(recording(**place), "chat", NOON) == "holds a secret"  # type: ignore[arg-type]
    assert files(tmp_path) == []
    assert store.write(recording(), "chat", NOON) == "written"


def test_a_secret_that_is_blanked_does_not_hinder(tmp_path: Path) -> None:
    store = CassetteStore(tmp_path, [Rule("user")], [SECRET])
    body = json.dumps({"user": SECRET}).encode()
    assert store.write(recording(body, request_body=body), "chat", NOON) == "written"
    assert SECRET not in "".join(file.read_text() for file in (tmp_path / "chat").iterdir())


def test_a_folder_holds_no_more_files_than_it_may(tmp_path: Path) -> None:
    CassetteStore(tmp_path).write(recording(), "chat", NOON)
    store = CassetteStore(tmp_path, files=2)
    told = [store.write(recording(), "chat", NOON) for _ in range(2)]
    assert told == ["written", "limit reached"]
    assert len(files(tmp_path)) == 4


def test_a_folder_holds_no_more_bytes_than_it_may(tmp_path: Path) -> None:
    CassetteStore(tmp_path).write(recording(), "chat", NOON)
    size = sum(file.stat().st_size for file in (tmp_path / "chat").iterdir())
    store = CassetteStore(tmp_path, total_bytes=3 * size - 1)
    told = [store.write(recording(), "chat", NOON) for _ in range(2)]
    assert told == ["written", "limit reached"]
    assert sum(file.stat().st_size for file in (tmp_path / "chat").iterdir()) == 2 * size


def test_a_file_that_cannot_be_finished_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        CassetteStore(tmp_path).write(recording(), "chat", NOON)
    assert files(tmp_path) == []


def test_both_files_are_named_alike() -> None:
    assert cuts_path(Path("chat/2026.123Z-1.yaml")) == Path("chat/2026.123Z-1.cuts.json")
