"""The gateway over recorded answers says what the library says."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests

import gateway
from recording.catalogue import SCENARIOS
from recording.scenarios import FromClient
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from translate import OPERATIONS, Call, Chunk, Failure, RequestType, converse, errors
from transports import Recordings, ReplayTransport, fold, run

CHAT = "/v1/chat/completions"
ROUTES: Mapping[str, str] = {
    "chat_completion": CHAT,
    "text_completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "transcription": "/v1/audio/transcriptions",
}
RECORDINGS = Recordings.load(gateway.BUNDLED).newest()


def asks() -> Mapping[str, tuple[RequestType, dict[str, Any]]]:
    """What a client asked to make each recording, by the recording's name; lists of models apart."""
    return {
        f"{form}/{scenario.name}": (
            form,
            {**scenario.question.document, **({"stream": True} if form.endswith("_stream") else {})},
        )
        for scenario in SCENARIOS
        for form in scenario.forms
        if isinstance(scenario.question, FromClient) and form != "list_models"
    }


ASKS = asks()


def from_library(
    form: RequestType, ask: dict[str, Any], transport: ReplayTransport
) -> tuple[int, list[object]]:
    """Status and documents that ``ask`` leads to without a gateway."""
    call = Call(form, routing_info={"key": "recorded"})
    operation = OPERATIONS[form]
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


def posted(ask: dict[str, Any]) -> dict[str, Any]:
    """How requests is to send it: as JSON or, with a file, as a form."""
    if "file" not in ask:
        return {"json": ask}
    file = ask["file"]
    fields = {
        name: str(value).lower() if value is True else value for name, value in ask.items() if name != "file"
    }
    return {"data": fields, "files": {"file": (file["filename"], file["file"], file["content_type"])}}


def test_every_operation_is_asked() -> None:
    of_chat = {"responses", "responses_stream"}  # vLLM is asked for a chat, and has tests of its own
    assert {form for form, _ in ASKS.values()} == OPERATIONS.keys() - {"list_models"} - of_chat


def test_every_recorded_question(serve: Serve, http: requests.Session, library: ReplayTransport) -> None:
    url = serve(gateway.RECORDED, RECORDINGS)
    for name, (form, ask) in ASKS.items():
        status, documents = from_library(form, ask, library)
        assert status != 501, name
        answer = http.post(url + ROUTES[form.removesuffix("_stream")], **posted(ask))
        # By way of JSON, because documents may hold tuples and numbers with a spelling.
        assert from_gateway(answer) == (status, json.loads(json.dumps(documents))), name


def test_the_recorded_list_of_models(serve: Serve, http: requests.Session) -> None:
    url = serve(gateway.RECORDED, RECORDINGS)
    answer = http.get(f"{url}/v1/models")
    assert answer.status_code == 200
    assert [model["id"] for model in answer.json()["data"]] == ["vllm/tiny/chat"]


def test_recordings_answer_for_any_key(serve: Serve, http: requests.Session) -> None:
    keys = (Key("mine", "mine", url="http://nowhere.invalid", models=("*",)),)
    answer = http.post(serve(Config(keys), RECORDINGS) + CHAT, json=ASKS["chat_completion/hello"][1])
    assert answer.status_code == 200
    assert answer.json()["extra_fields"]["routing_info"]["key"] == "mine"


def test_what_was_not_recorded_says_so(serve: Serve, http: requests.Session) -> None:
    ask = {"model": "tiny/chat", "messages": [{"role": "user", "content": "Something new"}]}
    answer = http.post(serve(gateway.RECORDED, RECORDINGS) + CHAT, json=ask)
    assert answer.status_code == 501
    assert answer.json()["error"]["message"].startswith(f"no recording answers POST {CHAT}")
