"""Faults that a client asks a replaying gateway for, and what the gateway makes of them."""

import json
from typing import Any

import openai
import pytest
import requests

import gateway
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import ASK, DONE, HELLO, Upstream, frame
from transports import Recording, Recordings

CHAT = "/v1/chat/completions"
HEADER = "x-bf-replay-fault"
BODY = b"".join(frame(each) for each in HELLO)
ASKED = {"model": "m", "messages": ASK["messages"], "stream": True, "stream_options": {"include_usage": True}}
HELLOS = Recordings(
    [
        Recording(
            "chat_completion_stream/hello",
            "POST",
            CHAT,
            json.dumps(ASKED).encode(),
            headers={"content-type": "text/event-stream"},
            body=BODY,
            cuts=((5, 100), (9, len(BODY) - 100)),
        )
    ]
)
FIRST = len(frame(HELLO[0]))


@pytest.fixture
def url(serve: Serve) -> str:
    return serve(gateway.RECORDED, HELLOS, play={"idle_s": 0.01})


def ask(url: str, http: requests.Session, fault: str) -> tuple[int, list[Any]]:
    """Status and documents of the answer."""
    answer = http.post(url + CHAT, json={**ASK, "stream": True}, headers={HEADER: fault} if fault else {})
    if "event-stream" not in answer.headers["content-type"]:
        return answer.status_code, [answer.json()["error"]]
    frames = [each.removeprefix("data: ") for each in answer.text.split("\n\n")[:-1]]
    return answer.status_code, [json.loads(each) if each != DONE.decode() else each for each in frames]


def error_of(document: Any) -> Any:
    return document["error"]["message"], document["status_code"]


ENDS: dict[str, tuple[str, tuple[str, int]]] = {
    "a reset": (f"reset-after={FIRST + 10}", ("connection reset", 502)),
    "an early end": (f"end-after={FIRST + 10}", ("provider closed the stream before sending", 502)),
    "a stall": (f"stall-after={FIRST + 10}", ("idle: no data for 0.01 s", 504)),
    "an error frame": ("error-frame-after=1", ("a scripted fault", 500)),
}


def test_without_a_fault_the_answer_is_whole(url: str, http: requests.Session) -> None:
    status, documents = ask(url, http, "")
    assert (status, documents[-1]) == (200, "[DONE]")
    assert len(documents) == 5


@pytest.mark.parametrize(("fault", "expected"), ENDS.values(), ids=ENDS)
def test_a_stream_that_ends_badly_ends_in_one_error(
    url: str, http: requests.Session, fault: str, expected: tuple[str, int]
) -> None:
    status, documents = ask(url, http, fault)
    opener, last = documents
    assert (status, opener["choices"][0]["delta"]["role"]) == (200, "assistant")
    message, last_status = error_of(last)
    assert expected[0] in message
    assert last_status == expected[1]
    assert ask(url, http, "")[1][-1] == "[DONE]"


@pytest.mark.parametrize("fault", ["split=1", "drip=1", "delay=1", "split=7,drip=1"])
def test_pieces_and_their_times_change_nothing_else(url: str, http: requests.Session, fault: str) -> None:
    def without_latency(documents: list[Any]) -> list[Any]:
        for document in documents[:-1]:
            document["extra_fields"].pop("latency")
        return documents

    (status, documents), (_, plain) = ask(url, http, fault), ask(url, http, "")
    assert (status, without_latency(documents)) == (200, without_latency(plain))


REFUSALS = {
    "status=503": (503, "a scripted fault"),
    "no-connection": (502, "connection refused"),
    "no-answer": (502, "the server closed the connection without an answer"),
    "reset-after=0": (502, "connection reset"),
}


@pytest.mark.parametrize(("fault", "expected"), REFUSALS.items(), ids=REFUSALS)
def test_before_the_first_event_a_fault_is_an_error_of_its_own_status(
    url: str, http: requests.Session, fault: str, expected: tuple[int, str]
) -> None:
    status, (error,) = ask(url, http, fault)
    assert status == expected[0]
    assert expected[1] in error["message"]


def test_a_client_tries_its_own_retries(serve: Serve) -> None:
    url = serve(gateway.RECORDED, HELLOS, play={"faults": ["status=503,retry-after=0.01,times=2"]})
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=2) as client:
        chunks = client.chat.completions.create(
            model="vllm/m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("explode", "there is no fault 'explode'"),
        ("status=200", "status=200: the status of an error is from 400 to 599"),
    ],
)
def test_what_is_no_fault_is_refused(url: str, http: requests.Session, fault: str, message: str) -> None:
    status, (error,) = ask(url, http, fault)
    assert status == 400
    assert error["message"].startswith(message)
    assert (error["type"], error["param"]) == ("invalid_request_error", HEADER)


def test_a_gateway_before_a_server_makes_no_faults(
    serve: Serve, upstream: Upstream, http: requests.Session
) -> None:
    url = serve(Config(keys=(Key("k", "k", url=upstream.url, models=("*",)),)))
    status, (error,) = ask(url, http, "split=1")
    assert (status, error["message"]) == (400, "only a replay makes faults: no recordings are replayed")
    assert upstream.seen == []
