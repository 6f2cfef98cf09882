"""The benchmark's stand-in answers as vLLM does, so that what is measured is what would happen."""

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmark reads /proc", allow_module_level=True)

from bench import exchanges
from bench.load import Load, loaded, post
from bench.processes import OTHER_CORES, running
from tests.contract.libraries import LIMITS
from tests.contract.loopback import Body, Plan, requests_client, streamed
from translate import Call, Chunk, chat, documents
from transports import Endpoint, Reply


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running([sys.executable, "-m", "bench.upstream"], OTHER_CORES) as process:
        yield process.port()


def asked(port: int, path: str, body: bytes, streaming: bool = False) -> Reply:
    client = requests_client(Endpoint(f"http://127.0.0.1:{port}", timeouts=LIMITS))
    plan = Plan("POST", path, Body("application/json", body))
    reply = streamed(client, plan) if streaming else client.send(plan)
    client.close()
    assert reply.cut is None
    return reply


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/chat/completions", exchanges.chat_request(), exchanges.CHAT),
        ("/v1/embeddings", exchanges.embeddings_request(), exchanges.EMBEDDINGS),
        ("/v1/rerank", exchanges.rerank_request(), exchanges.RERANK),
    ],
)
def test_each_request_has_its_answer(port: int, path: str, body: bytes, answer: bytes) -> None:
    reply = asked(port, path, body)
    assert (reply.status, reply.body) == (200, answer)
    json.loads(answer)


@pytest.mark.parametrize("how", ["burst", "drip"])
def test_a_stream_is_the_same_in_one_write_and_drop_by_drop(port: int, how: str) -> None:
    reply = asked(port, "/v1/chat/completions", exchanges.chat_request(how, stream=True), streaming=True)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.body == b"".join(exchanges.STREAM)
    assert len(exchanges.STREAM) == exchanges.EVENTS


def test_the_translators_take_requests_and_answers() -> None:
    flat = documents.decode_object(exchanges.chat_request())
    assert isinstance(flat, dict)
    request = chat.from_flat(flat)
    assert isinstance(request, dict)
    call = Call("chat_completion_stream")
    assert isinstance(chat.parse(request, Reply(200, {}, exchanges.CHAT), 1, call), dict)
    fold = chat.fold(request, Reply(200, {"content-type": "text/event-stream"}), call)
    chunks = [chunk for event in exchanges.STREAM for chunk in fold.feed(event)]
    assert fold.ended
    assert [isinstance(chunk, Chunk) and chunk.final for chunk in chunks] == [False] * 257 + [True]


def test_the_load_counts_what_it_got(port: int) -> None:
    request = post("/v1/chat/completions", exchanges.chat_request("burst", stream=True))
    load: Load = asyncio.run(loaded(port, request, 3, 20, count=2))
    assert (load.answers, load.events, load.faults) == (6, 6 * exchanges.EVENTS, {})
    assert len(load.latencies) == len(load.first_bytes) == 6
    missing: Load = asyncio.run(loaded(port, post("/v1/nothing", b"{}"), 1, 20, count=1))
    assert missing.faults == {"status 404": 1}
