"""A request body in pieces is sent as one, with its length, and is not held twice."""

import threading
import tracemalloc
from pathlib import Path

import pytest
import vcr  # type: ignore[import-untyped]

from tests.contract.libraries import LIBRARIES, Library, endpoint, happened, running
from tests.contract.loopback import (
    KEY,
    MAKERS,
    WAIT_S,
    Body,
    Client,
    Connect,
    Connection,
    Loopback,
    Plan,
    answering,
    streamed,
    untimed,
    wire,
)
from transports import Cut, Endpoint, Recording, Recordings, ReplayTransport, Reply, Timeouts

TYPE = "multipart/form-data; boundary=b"
MEGABYTE = 1024 * 1024
LARGE = bytes(range(256)) * 8 * 1024
BODIES = {
    "small pieces": Body(TYPE, b"head", (b"file", b"tail")),
    "a large piece": Body(TYPE, b"head", (LARGE, b"tail")),
    "a large start": Body(TYPE, LARGE, (b"tail",)),
    "empty pieces": Body(TYPE, b"", (b"", b"file", b"", b"tail", b"")),
    "one piece in the rest": Body(TYPE, b"", (b"file",)),
    "nothing": Body(TYPE, b"", (b"", b"")),
    "no rest": Body(TYPE, LARGE),
}


def joined(body: Body) -> bytes:
    return b"".join((body.data, *body.rest))


def plan(body: Body) -> Plan:
    return Plan("POST", "/v1/x", body)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_pieces_arrive_as_one_body_with_its_length(connect: Connect, body: Body) -> None:
    with Loopback(answering(wire(b"answer"))) as server:
        client = connect(server.url)
        assert client.send(plan(body)).body == b"answer"
        assert streamed(client, plan(body)).body == b"answer"
    assert len(server.requests) == 2
    for request in server.requests:
        assert request.body == joined(body)
        assert request.headers["content-length"] == str(len(joined(body)))
        assert request.headers["content-type"] == TYPE
        assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_pieces_are_found_among_recordings_by_what_they_are_together(body: Body) -> None:
    recorded = Recording("it", "POST", "/v1/x", joined(body), body=b"answer")
    assert ReplayTransport([recorded]).send(plan(body)) == Reply(200, {}, b"answer")
    other = Body(TYPE, body.data, (*body.rest, b"!"))
    assert ReplayTransport([recorded]).send(plan(other)).status == 501


@pytest.mark.parametrize("form", ["send", "stream"])
def test_a_large_upload_is_sent_without_a_copy(connect: Connect, form: str) -> None:
    size = 32 * MEGABYTE
    swallowed = threading.Event()

    def script(connection: Connection) -> None:
        """Reads without keeping, for what it kept would count."""
        assert connection.swallow() == size + 8
        swallowed.set()
        connection.send(wire(b"answer"))

    upload = plan(Body(TYPE, b"head", (bytes(size), b"tail")))
    with Loopback(script) as server:
        client = connect(server.url)
        tracemalloc.start()
        try:
            reply = ask(client, upload, form)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert reply.body == b"answer"
    assert swallowed.is_set()
    assert peak < size / 4


def ask(client: Client, plan: Plan, form: str) -> Reply:
    return client.send(plan) if form == "send" else streamed(client, plan)


@pytest.mark.parametrize("name", ["small pieces", "a large piece"])
@pytest.mark.parametrize("library", ["aiohttp", "requests"])  # the ones that vcrpy knows
def test_what_vcrpy_records_of_an_upload_can_be_replayed(tmp_path: Path, library: str, name: str) -> None:
    upload, file = plan(BODIES[name]), tmp_path / "it.yaml"
    with Loopback(answering(wire(b"answer", "X-One: 1"))) as server:
        with vcr.VCR(filter_headers=["authorization"]).use_cassette(str(file)):
            client = MAKERS[library](Endpoint(server.url, KEY))
            live = untimed(client.send(upload))
            client.close()
        assert [request.body for request in server.requests] == [joined(BODIES[name])]
    assert untimed(ReplayTransport(Recordings.load(file)).send(upload)) == live


@pytest.fixture(params=sorted(name for name in LIBRARIES if name != "aiohttp"))
def own(request: pytest.FixtureRequest) -> Library:
    """Each of the transports that send requests themselves, in turn."""
    return LIBRARIES[request.param]


LARGER_THAN_A_SOCKET_TAKES = plan(Body(TYPE, bytes(16 * MEGABYTE)))


@pytest.mark.parametrize("leave", [False, True], ids=["keeps the connection", "closes it"])
def test_an_answer_before_the_end_of_a_request_ends_it(own: Library, leave: bool) -> None:
    def script(connection: Connection) -> None:
        assert connection._receive()
        connection.send(wire(b"too large", status="413 Payload Too Large"))
        if not leave:
            connection.until_closed()

    async def test() -> None:
        async with own.opened(endpoint(server)) as (_, transport):
            reply = await transport.send(LARGER_THAN_A_SOCKET_TAKES)
            if leave and reply.cut:  # the system may throw away what came when it learns of the end
                assert reply.cut == Cut("read", "connection reset")
            else:
                assert (reply.status, reply.body, reply.cut) == (413, b"too large", None)
            assert leave or await happened(server.client_closed)

    with Loopback(script) as server:
        running(own)(test)


def test_a_server_that_stops_reading_is_cut_by_the_total(own: Library) -> None:
    over = threading.Event()

    def script(connection: Connection) -> None:
        connection._receive()
        assert over.wait(WAIT_S)

    async def test() -> None:
        async with own.opened(endpoint(server, timeouts=Timeouts(total_s=0.1))) as (_, transport):
            reply = await transport.send(LARGER_THAN_A_SOCKET_TAKES)
            assert reply.cut == Cut("timeout", "total: not complete within 0.1 s", "total")
        over.set()

    with Loopback(script) as server:
        running(own)(test)
