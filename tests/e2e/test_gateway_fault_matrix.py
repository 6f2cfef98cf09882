"""Each fault of a server comes, through the gateway, to the outcome that it has over a transport."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

import gateway
from routing.settings import Config, Key, Network
from tests.contract.loopback import Connection, Loopback
from tests.e2e.conftest import Serve
from tests.e2e.loopback import ASK_STREAM, DONE
from tests.fault_table import FAULTS, IDLE_S, RECORDING, Fault, Outcome
from translate import Call, Plan, chat
from transports import PlainSession, Recordings

CHAT = "/v1/chat/completions"
SESSION = "aiohttp, with its session"
"""What is taken where the installed aiohttp lacks something that the plain session needs."""

TRANSPORTS = ("aiohttp", SESSION, "httptools")
REPLAYED = {name: fault for name, fault in FAULTS.items() if fault.replayed}


def asked(url: str, http: requests.Session, **headers: str) -> Outcome:
    """What a client gets."""
    answer = http.post(
        url + CHAT, json=ASK_STREAM, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    if "event-stream" not in answer.headers["content-type"]:
        error: Any = answer.json()
        assert error["status_code"] == answer.status_code
        return Outcome(
            0, "error", answer.status_code, error["error"].get("code", ""), error["error"]["message"]
        )
    assert answer.status_code == 200
    *frames, last = [each.removeprefix("data: ") for each in answer.text.split("\n\n")[:-1]]
    documents = [json.loads(each) for each in frames]
    assert all("choices" in each for each in documents)
    if last == DONE.decode():
        return Outcome(len(documents) - 1, "final")
    error = json.loads(last)
    return Outcome(
        len(documents),
        "error",
        error["status_code"],
        error["error"].get("code", ""),
        error["error"]["message"],
    )


def assert_came_to(seen: Outcome, expected: Outcome) -> None:
    assert seen._replace(message="") == expected._replace(message="")
    assert expected.message in seen.message


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == SESSION:
        monkeypatch.setattr(PlainSession, "is_supported", lambda: False)
    return str(request.param).partition(",")[0]


@pytest.fixture
def upstream(fault: Fault) -> Iterator[Loopback]:
    def script(connection: Connection) -> None:
        if connection.request():
            fault.act(connection)

    with Loopback(script) as server:
        yield server


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_comes_to_its_outcome(
    serve: Serve, http: requests.Session, upstream: Loopback, fault: Fault, transport: str
) -> None:
    key = Key("k", "k", url=upstream.url, models=("*",))
    network = Network(stream_idle_timeout_s=IDLE_S) if fault.stalls else Network()
    url = serve(Config(keys=(key,), network=network), transport=transport)
    expected = fault.aiohttp if transport == "aiohttp" and fault.aiohttp else fault.outcome
    assert_came_to(asked(url, http), expected)


@pytest.mark.parametrize("fault", REPLAYED.values(), ids=REPLAYED)
def test_a_client_may_ask_a_replay_for_it(serve: Serve, http: requests.Session, fault: Fault) -> None:
    plan = chat.plan({"model": "m", "input": ASK_STREAM["messages"]}, Call("chat_completion_stream"))
    assert isinstance(plan, Plan)
    assert plan.body is not None
    recordings = Recordings([replace(RECORDING, request_body=plan.body.data)])
    url = serve(gateway.RECORDED, recordings, play={"idle_s": IDLE_S})
    assert_came_to(asked(url, http, x_bf_replay_fault=fault.replayed), fault.outcome)
