"""A cassette of vcrpy plays the same through vcrpy and each live transport, and through the replay transport."""

from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import requests
import vcr  # type: ignore[import-untyped]
from vcr.request import Request  # type: ignore[import-untyped]
from vcr.serialize import serialize  # type: ignore[import-untyped]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

from tests.contract.loopback import (
    GET,
    KEY,
    MAKERS,
    POST,
    AsyncClient,
    BlockingClient,
    Body,
    Client,
    Loopback,
    Made,
    Plan,
    answering,
    streamed,
    untimed,
    wire,
)
from transports import AiohttpTransport, Endpoint, Recordings, ReplayTransport, RequestsTransport

ADDRESS = "http://vllm.example:8000"
STREAM = b'data: {"c":"\xe2\x9c\x85"}\n\ndata: [DONE]\n\n'
MODELS = b'{"object":"list","data":[]}'


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """A cassette with a stream, a list, and an error."""
    body = POST.body.data if POST.body else None
    asked = [
        Request("POST", ADDRESS + POST.path, body, {}),
        Request("GET", ADDRESS + GET.path, None, {}),
        Request("POST", ADDRESS + "/rerank", b"\xff\xfe", {}),
    ]
    answers = [
        answer(200, STREAM, {"Content-Type": ["text/event-stream"], "Set-Cookie": ["a=1", "b=2"]}),
        answer(200, MODELS, {"content-type": ["application/json"], "Content-Length": [str(len(MODELS))]}),
        answer(404, b'{"detail":"Not Found"}', {"X-Mixed": ["1", "2"]}),
    ]
    file = tmp_path / "it.yaml"
    file.write_text(serialize({"requests": asked, "responses": answers}, yamlserializer))
    return file


def answer(status: int, body: bytes, headers: dict[str, list[str]]) -> dict[str, object]:
    return {"status": {"code": status, "message": "Whatever"}, "headers": headers, "body": {"string": body}}


def over_requests() -> Client:
    session = requests.Session()
    return BlockingClient(RequestsTransport(session, Endpoint(ADDRESS)), session)


def over_aiohttp() -> Client:
    def make() -> Made:
        session = aiohttp.ClientSession()
        return session, AiohttpTransport(session, Endpoint(ADDRESS))

    return AsyncClient(make)


PLANS = (POST, GET, Plan("POST", "/rerank", Body("text/plain", b"\xff\xfe")))


@pytest.mark.parametrize("make", [over_requests, over_aiohttp])
@pytest.mark.parametrize("plan", PLANS, ids=["stream", "list", "error"])
def test_a_cassette_plays_the_same_everywhere(cassette: Path, make: Callable[[], Client], plan: Plan) -> None:
    replayed = BlockingClient(ReplayTransport(Recordings.load(cassette)))
    player = vcr.VCR(record_mode=vcr.mode.NONE, match_on=("method", "uri", "raw_body"))
    with player.use_cassette(str(cassette), allow_playback_repeats=True) as tape:
        client = make()
        assert untimed(client.send(plan)) == untimed(replayed.send(plan))
        assert streamed(client, plan) == streamed(replayed, plan)
        client.close()
        assert tape.play_count == 2


@pytest.mark.parametrize("make", [over_requests, over_aiohttp])
def test_a_cassette_can_be_left_early(cassette: Path, make: Callable[[], Client]) -> None:
    with vcr.VCR(record_mode=vcr.mode.NONE).use_cassette(str(cassette)):
        client = make()
        with client.stream(POST) as (head, pieces):
            assert head.headers == {"content-type": "text/event-stream", "set-cookie": "a=1, b=2"}
            assert next(pieces).data == STREAM
        client.close()


@pytest.mark.parametrize("size", [10, 2 * 1024 * 1024])
@pytest.mark.parametrize("library", ["aiohttp", "requests"])  # the ones that vcrpy knows
def test_what_vcrpy_records_of_a_transport_can_be_replayed(tmp_path: Path, library: str, size: int) -> None:
    """A large upload is one that the transports send from a file."""
    plan = Plan("POST", "/v1/x", Body("text/plain", b"u" * size))
    file = tmp_path / "it.yaml"
    with Loopback(answering(wire(b"answer", "X-One: 1"))) as server:
        with vcr.VCR(filter_headers=["authorization"]).use_cassette(str(file)):
            client = MAKERS[library](Endpoint(server.url, KEY))
            live = untimed(client.send(plan))
            client.close()
        assert server.requests[0].body == plan.body.data if plan.body else b""
    assert KEY not in file.read_text()
    replayed = ReplayTransport(Recordings.load(file)).send(plan)
    assert untimed(replayed) == live
