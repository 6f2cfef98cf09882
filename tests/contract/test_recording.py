"""What a transport does is recorded without a trace in what it does, and can be played again."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
import requests

from tests.contract.loopback import (
    GET,
    KEY,
    POST,
    AsyncClient,
    BlockingClient,
    Client,
    Connection,
    Loopback,
    Made,
    head,
    wire,
)
from transports import (
    AiohttpTransport,
    AsyncRecordingTransport,
    CassetteWriter,
    Cut,
    Endpoint,
    Exchange,
    Limits,
    Piece,
    Recordings,
    RecordingTransport,
    ReplayTransport,
    Reply,
    RequestsTransport,
    Rule,
)

LOG = "bifrost_vllm.recording"


def over_requests(endpoint: Endpoint, writer: CassetteWriter) -> Client:
    session = requests.Session()
    session.trust_env = False
    return BlockingClient(RecordingTransport(RequestsTransport(session, endpoint), writer), session)


def over_aiohttp(endpoint: Endpoint, writer: CassetteWriter) -> Client:
    def make() -> Made:
        session = aiohttp.ClientSession()
        return session, AsyncRecordingTransport(AiohttpTransport(session, endpoint), writer)

    return AsyncClient(make)


def serve(connection: Connection) -> None:
    """A stream in three chunks, then the same but reset, a whole answer, half a one, and none."""
    connection.request()
    connection.send(head("Content-Type: text/event-stream", "Transfer-Encoding: chunked", "Set-Cookie: a=1"))
    for data in (b"data: 1\n\n", b"data: \xe2\x9c", b"\x85\n\n", b""):
        connection.chunk(data)
    connection.request()
    connection.send(wire(b'{"ok":true}', "Content-Type: application/json", "X-Echo: Bearer " + KEY))
    connection.request()
    connection.send(head("Content-Length: 9") + b"\xff\xfe")


@contextmanager
def recorded(folder: Path, **options: object) -> Iterator[CassetteWriter]:
    with CassetteWriter(folder, secrets=[KEY], **options) as writer:  # type: ignore[arg-type]
        yield writer


@pytest.mark.parametrize("make", [over_requests, over_aiohttp])
def test_what_was_recorded_plays_as_it_came(
    tmp_path: Path, make: Callable[[Endpoint, CassetteWriter], Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    with recorded(tmp_path / "cassettes") as writer:
        with Loopback(serve) as server:
            client = make(Endpoint(server.url, KEY), writer)
            with client.stream(POST) as (stream_head, stream):
                pieces = list(stream)
            whole = client.send(GET)
            half = client.send(POST)
            refused_by = server.url
        with client.stream(GET) as (no_head, nothing):
            assert list(nothing) == []
        client.close()
    assert writer.tally == {"written": 4}
    assert caplog.record_tuples == [
        (LOG, logging.INFO, f"exchanges for {tmp_path}/cassettes: 4 written"),
    ]
    assert (stream_head.status, b"".join(piece.data for piece in pieces)) == (
        200,
        b"data: 1\n\ndata: \xe2\x9c\x85\n\n",
    )
    assert (half.body, half.cut) == (b"\xff\xfe", Cut("read", "the body ended early"))
    assert no_head.cut == Cut("connect", "connection refused")

    replay = ReplayTransport(Recordings.load(tmp_path))
    with replay.stream(POST) as played:
        kept = {name: value for name, value in stream_head.headers.items() if name == "content-type"}
        assert played.head == stream_head._replace(headers=kept)
        assert list(played.pieces) == pieces
    assert replay.send(POST) == half._replace(headers={})
    assert replay.send(GET) == whole._replace(headers={"content-type": "application/json"})
    assert replay.send(GET) == no_head

    port = refused_by.rpartition(":")[2]
    for file in tmp_path.rglob("*.*"):
        assert KEY not in file.read_text()
        assert f":{port}" not in file.read_text()
        assert "cookie" not in file.read_text()


class Plan:
    """The least that a transport takes for a plan."""

    method, path, body = "GET", "/v1/models", None


def exchange(size: int = 10, status: int = 200) -> Exchange:
    return Exchange(Plan(), False, 1.0, Reply(status, {}), (Piece(b"x" * size, 1),), "models")


def test_fields_are_blanked(tmp_path: Path) -> None:
    with recorded(tmp_path, rules=[Rule("ok"), Rule("$.a[*].b"), Rule("$.c.*")]) as writer:
        writer.put(exchange()._replace(pieces=(Piece(b'{"ok":1,"a":[{"b":1}],"c":{"d":1}}', 1),)))
    (recording,) = Recordings.load(tmp_path)
    assert recording.body == b'{"ok":"[redacted]","a":[{"b":"[redacted]"}],"c":{"d":"[redacted]"}}'


def test_a_body_in_pieces_is_recorded_as_one(tmp_path: Path) -> None:
    assert POST.body is not None
    upload = POST._replace(body=POST.body._replace(data=b"a", rest=(b"\xff", b"c")))
    with recorded(tmp_path) as writer:
        writer.put(exchange()._replace(plan=upload))
    (recording,) = Recordings.load(tmp_path)
    assert recording.request_body == b"a\xffc"
    assert ReplayTransport([recording]).send(upload).body == recording.body


def test_an_exchange_with_a_secret_is_refused_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recorded(tmp_path) as writer:
        for _ in range(2):
            writer.put(exchange()._replace(pieces=(Piece(KEY.encode(), 1),)))
        writer.put(exchange())
    assert writer.tally == {"holds a secret": 2, "written": 1}
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == [
        "not recorded: an exchange holds a known secret; more of this kind will only be counted"
    ]
    assert len(Recordings.load(tmp_path)) == 1


def test_secrets_can_be_learned(tmp_path: Path) -> None:
    with recorded(tmp_path) as writer:
        writer.learn(["sk-new-1"])
        for text in ("sk-new-1", KEY, "sk-new-2"):
            writer.put(exchange()._replace(pieces=(Piece(text.encode(), 1),)))
    assert writer.tally == {"holds a secret": 2, "written": 1}


def test_what_is_too_large_is_not_wanted(tmp_path: Path) -> None:
    with recorded(tmp_path, limits=Limits(exchange_bytes=20)) as writer:
        assert POST.body is not None
        room = 20 - len(POST.body.data)
        assert [writer.wants(plan) for plan in (GET, POST)] == [20, room]
        large = POST.body._replace(data=b"x" * 10, rest=(b"y", b"z" * 9))
        assert writer.wants(POST._replace(body=large)) == 0
        writer.outgrown()
    assert writer.tally == {"too large": 2}


def test_a_sample_is_drawn(tmp_path: Path) -> None:
    draws = iter([0.1, 0.25, 0.9, 0.2])
    with recorded(tmp_path, limits=Limits(sample=0.25), draw=lambda: next(draws)) as writer:
        assert [writer.wants(GET) > 0 for _ in range(4)] == [True, False, False, True]
    assert writer.tally == {"unsampled": 2}


def test_what_comes_faster_than_it_can_be_written_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recorded(tmp_path, limits=Limits(queue_bytes=2_000)) as writer:
        writer.put(exchange(2_000))
        writer.put(exchange(10))
    assert writer.tally == {"queue full": 1, "written": 1}
    assert caplog.messages[0].startswith("not recorded: exchanges come faster than they can be written;")


def test_a_full_folder_ends_the_recording(tmp_path: Path) -> None:
    with recorded(tmp_path, limits=Limits(files=1)) as writer:
        for _ in range(3):
            writer.put(exchange())
        writer.close()
        assert writer.wants(GET) == 0
    assert writer.tally == {"written": 1, "limit reached": 3}
    assert len(Recordings.load(tmp_path)) == 1


def test_what_cannot_be_written_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models").write_text("in the way")
    with recorded(tmp_path) as writer:
        writer.put(exchange())
        writer.put(exchange()._replace(label="other"))
    assert writer.tally == {"error": 1, "written": 1}
    assert caplog.messages[0] == (
        "not recorded: it cannot be written: File exists; more of this kind will only be counted"
    )


def test_what_is_no_exchange_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with recorded(tmp_path) as writer:
        writer.put(exchange(status=0))  # neither an answer nor a cut: no transport should
        writer.put(exchange())
    assert writer.tally == {"error": 1, "written": 1}
    assert "it cannot be written: ValueError;" in caplog.messages[0]


def test_without_its_process_nothing_is_recorded_and_nothing_hangs(tmp_path: Path) -> None:
    with recorded(tmp_path) as writer:
        writer._process.kill()
        writer.put(exchange())
        writer.put(exchange())
    assert writer.tally == {"error": 2}
    assert writer.wants(GET) == 0


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        CassetteWriter(tmp_path / "file")


def test_the_command_line_of_the_process_holds_no_secret(tmp_path: Path) -> None:
    with recorded(tmp_path) as writer:
        assert KEY not in repr(writer._process.args)


def test_it_takes_exchanges_from_several_threads(tmp_path: Path) -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(writer.put, exchange()) for _ in range(20)))

    with recorded(tmp_path) as writer:
        asyncio.run(main())
    assert writer.tally == {"written": 20}
    assert len(Recordings.load(tmp_path)) == 20
