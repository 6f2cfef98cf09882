"""The gateway over recorded answers says what the library says."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

import gateway
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from translate import OPERATIONS, Call, Chunk, Failure, converse, errors
from transports import Recordings, ReplayTransport, fold, run

CHAT = "/v1/chat/completions"
RECORDINGS = Recordings.load(gateway.BUNDLED)


def asks() -> Mapping[str, dict[str, Any]]:
    """A client's request for each recorded chat, by the recording's name."""
    found: dict[str, dict[str, Any]] = {}
    for recording in RECORDINGS:
        if recording.path == CHAT and recording.method == "POST":
            try:
                body = json.loads(recording.request_body or b"")
            except ValueError:
                continue
            if isinstance(body, dict) and isinstance(body.get("model"), str):
                found[recording.name] = {**body, "model": f"vllm/{body['model']}"}
    return found


ASKS = asks()


def from_library(ask: dict[str, Any], transport: ReplayTransport) -> tuple[int, list[object]]:
    """Status and documents that ``ask`` leads to without a gateway."""
    streamed = ask.get("stream") is True
    call = Call("chat_completion_stream" if streamed else "chat_completion", routing_info={"key": "recorded"})
    operation = OPERATIONS[call.request_type]
    request = operation.from_flat(ask)
    assert not isinstance(request, Failure)
    if operation.fold is None:
        outcome = run(transport, converse(operation, request, call))
        if isinstance(outcome, Failure):
            return errors.http_status(outcome.error), [outcome.error]
        return 200, [outcome]
    plan = operation.plan(request, call)
    if isinstance(plan, Failure):
        return errors.http_status(plan.error), [plan.error]
    with transport.stream(plan) as stream:
        events: list[Chunk | Failure] = list(fold(stream.pieces, operation.fold(request, stream.head, call)))
    if isinstance(events[0], Failure):
        return errors.http_status(events[0].error), [events[0].error]
    return 200, [event.error if isinstance(event, Failure) else event.data for event in events]


def from_gateway(answer: requests.Response) -> tuple[int, list[object]]:
    if "event-stream" not in answer.headers["content-type"]:
        return answer.status_code, [answer.json()]
    *frames, last, end = answer.content.decode().split("\n\n")
    assert end == ""
    if last != "data: [DONE]":
        assert '"is_bifrost_error"' in last
        frames.append(last)
    return answer.status_code, [json.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.fixture(scope="module")
def library() -> ReplayTransport:
    return ReplayTransport(RECORDINGS)


def test_every_recorded_chat(serve: Serve, http: requests.Session, library: ReplayTransport) -> None:
    url = serve(gateway.RECORDED, RECORDINGS)
    assert ASKS
    for name, ask in ASKS.items():
        status, documents = from_library(ask, library)
        answer = http.post(url + CHAT, json=ask)
        # By way of JSON, because documents may hold tuples and numbers with a spelling.
        assert from_gateway(answer) == (status, json.loads(json.dumps(documents))), name


def test_the_recorded_list_of_models(serve: Serve, http: requests.Session) -> None:
    url = serve(gateway.RECORDED, RECORDINGS)
    answer = http.get(f"{url}/v1/models")
    assert answer.status_code == 200
    assert [model["id"] for model in answer.json()["data"]] == ["vllm/tiny/chat"]


def test_recordings_answer_for_any_key(serve: Serve, http: requests.Session) -> None:
    keys = (Key("mine", "mine", url="http://nowhere.invalid", models=("*",)),)
    answer = http.post(serve(Config(keys), RECORDINGS) + CHAT, json=ASKS["chat_completion/hello@vllm-0.32.0"])
    assert answer.status_code == 200
    assert answer.json()["extra_fields"]["routing_info"]["key"] == "mine"


def test_what_was_not_recorded_says_so(serve: Serve, http: requests.Session) -> None:
    ask = {"model": "tiny/chat", "messages": [{"role": "user", "content": "Something new"}]}
    answer = http.post(serve(gateway.RECORDED, RECORDINGS) + CHAT, json=ask)
    assert answer.status_code == 501
    assert answer.json()["error"]["message"].startswith(f"no recording answers POST {CHAT}")
