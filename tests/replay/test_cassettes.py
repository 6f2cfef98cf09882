"""Real sessions of vLLM, replayed: every way of playing them gives the same outcome."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
import vcr  # type: ignore[import-untyped]
import yaml

from recording.catalogue import SCENARIOS
from recording.matrix import QUESTIONS
from recording.recorder import plan_of
from recording.scenarios import FromClient, Scenario
from tests.forms import parts_of
from translate import OPERATIONS, Body, Call, Chunk, Document, Failure, Plan, RequestType, documents
from transports import (
    AiohttpTransport,
    AsyncReplayTransport,
    AsyncTransport,
    Endpoint,
    Recording,
    Recordings,
    Recut,
    ReplayTransport,
    RequestsTransport,
    Transport,
    fold,
    fold_async,
)

CASSETTES = Path(__file__).parents[2] / "cassettes"
RECORDINGS = Recordings.load(CASSETTES)
BY_NAME = {recording.name: recording for recording in RECORDINGS}
NEWEST = "0.32.0"
VERSIONS = ("0.8.5", "0.16.0", NEWEST)
HOST = "http://localhost:8000"
CALLS: Mapping[str, Call] = {name: Call(name) for name in OPERATIONS}
CASES: Mapping[str, tuple[Scenario, RequestType]] = {
    f"{form}/{scenario.name}@vllm-{NEWEST}": (scenario, form)
    for scenario in SCENARIOS
    for form in scenario.forms
}

Outcome = Any
"""A document or a Failure, or the list of a stream's events."""


def form_of(recording: Recording) -> str:
    return recording.name.partition("/")[0]


def plan_for(recording: Recording) -> Plan:
    """The plan that was sent, as the cassette has it."""
    if recording.request_body is None:
        return Plan(recording.method, recording.path)
    text = (CASSETTES / f"{recording.name}.yaml").read_bytes()
    (interaction,) = yaml.load(text, yaml.CSafeLoader)["interactions"]
    (content_type,) = interaction["request"]["headers"]["Content-Type"]
    return Plan(recording.method, recording.path, Body(content_type, recording.request_body))


def request_of(recording: Recording) -> Document:
    """The Bifrost request that led there, or would have."""
    scenario, _ = CASES.get(recording.name, (None, None))
    if scenario is not None and isinstance(scenario.question, FromClient):
        flat: object = scenario.question.document
    elif recording.request_body is not None and form_of(recording).startswith("transcription"):
        flat = flat_form(plan_for(recording))
    else:
        flat = documents.decode(recording.request_body or b"")
    request = (
        OPERATIONS[CALLS[form_of(recording)].request_type].from_flat(flat)
        if isinstance(flat, Mapping)
        else {}
    )
    return {} if isinstance(request, Failure) else request


def flat_form(plan: Plan) -> object:
    """What a form means; nothing, where it is not a sound one."""
    assert plan.body is not None
    try:
        parts = parts_of(plan.body.content_type, plan.body.data)
    except AssertionError:
        return None
    return {part.name: {"file": part.value} if part.filename else part.value.decode() for part in parts}


def play(transport: Transport, recording: Recording) -> Outcome:
    call = CALLS[form_of(recording)]
    operation = OPERATIONS[call.request_type]
    request = request_of(recording)
    if operation.fold is None:
        return untimed(operation.parse(request, transport.send(plan_for(recording)), 0, call))
    with transport.stream(plan_for(recording)) as stream:
        return untimed(list(fold(stream.pieces, operation.fold(request, stream.head, call))))


async def play_async(transport: AsyncTransport, recording: Recording) -> Outcome:
    call = CALLS[form_of(recording)]
    operation = OPERATIONS[call.request_type]
    request = request_of(recording)
    if operation.fold is None:
        return untimed(operation.parse(request, await transport.send(plan_for(recording)), 0, call))
    async with transport.stream(plan_for(recording)) as stream:
        events = fold_async(stream.pieces, operation.fold(request, stream.head, call))
        return untimed([event async for event in events])


def untimed(outcome: Any) -> Any:
    """An outcome without the latencies, which differ from one way of playing to the next."""
    match outcome:
        case Failure():
            return Failure(untimed(outcome.error))
        case Chunk():
            return Chunk(untimed(outcome.data), outcome.final)
        case list():
            return [untimed(event) for event in outcome]
    fields = {name: value for name, value in outcome["extra_fields"].items() if name != "latency"}
    return {**outcome, "extra_fields": fields}


def cassette_of(recording: Recording) -> Any:
    player = vcr.VCR(
        record_mode=vcr.mode.NONE, match_on=["method", "scheme", "host", "port", "path", "query", "body"]
    )
    return player.use_cassette(CASSETTES / f"{recording.name}.yaml")


def each_recording() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", RECORDINGS, ids=[recording.name for recording in RECORDINGS])


@each_recording()
def test_every_way_of_playing_gives_the_same_outcome(recording: Recording) -> None:
    outcome = play(ReplayTransport([recording]), recording)

    with cassette_of(recording) as cassette, requests.Session() as session:
        through_requests = play(RequestsTransport(session, Endpoint(HOST)), recording)
        assert cassette.all_played
    assert through_requests == outcome

    async def through_aiohttp() -> Outcome:
        async with aiohttp.ClientSession() as session:
            return await play_async(AiohttpTransport(session, Endpoint(HOST)), recording)

    with cassette_of(recording) as cassette:
        assert asyncio.run(through_aiohttp()) == outcome
        assert cassette.all_played
    assert asyncio.run(play_async(AsyncReplayTransport([recording]), recording)) == outcome


@pytest.mark.parametrize("recut", ["whole", "bytes", 7, (1, 100, 3)])
@each_recording()
def test_however_a_stream_is_cut_it_says_the_same(recording: Recording, recut: Recut) -> None:
    as_recorded = play(ReplayTransport([recording]), recording)
    assert play(ReplayTransport([recording], recut), recording) == as_recorded


@each_recording()
def test_a_stream_that_breaks_off_ends_in_one_error(recording: Recording) -> None:
    whole = play(ReplayTransport([recording]), recording)
    for break_at in (0, 1, len(recording.body) // 3):
        outcome = play(ReplayTransport([recording], break_at=break_at), recording)
        if isinstance(outcome, list) and isinstance(whole, list) and recording.status == 200:
            assert outcome[:-1] == whole[: len(outcome) - 1]
            outcome = outcome[-1]
        elif isinstance(outcome, list):
            (outcome,) = outcome
        assert isinstance(outcome, Failure)
        assert outcome.error.get("status_code", 500) >= 400


def holds_an_error(recording: Recording) -> bool:
    """Whether the status or, as older servers have it, the body says so."""
    document = documents.decode(recording.body)
    told = isinstance(document, Mapping) and ("error" in document or document.get("object") == "error")
    return recording.status != 200 or told


@each_recording()
def test_outcomes_are_well_formed(recording: Recording) -> None:
    outcome = play(ReplayTransport([recording]), recording)
    events = outcome if isinstance(outcome, list) else [outcome]
    assert [isinstance(event, Failure) or getattr(event, "final", True) for event in events] == [
        *[False] * (len(events) - 1),
        True,
    ]
    assert isinstance(outcome, Failure) is (holds_an_error(recording) and not isinstance(outcome, list))
    for event in events:
        document = (
            event.data if isinstance(event, Chunk) else event.error if isinstance(event, Failure) else event
        )
        encoded = documents.encode(document)
        assert isinstance(encoded, bytes)
        assert json.loads(encoded) == document


def recorded_from(version: str) -> Recordings:
    return Recordings(each for each in RECORDINGS if each.name.endswith(f"@vllm-{version}"))


def test_every_recording_tells_its_version() -> None:
    assert sum(len(recorded_from(version)) for version in VERSIONS) == len(RECORDINGS)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_recordings_of_a_version_are_played(version: str) -> None:
    """No two answer the same request."""
    recordings = recorded_from(version)
    transport = ReplayTransport(recordings)
    for recording in recordings:
        assert play(transport, recording) == play(ReplayTransport([recording]), recording)
    assert transport.unplayed == ()


def test_the_newest_version_answers_where_several_do() -> None:
    newest = RECORDINGS.newest()
    assert {each.name for each in recorded_from(NEWEST)} <= {each.name for each in newest}
    transport = ReplayTransport(newest)
    for recording in newest:
        assert play(transport, recording) == play(ReplayTransport([recording]), recording)
    assert transport.unplayed == ()


def test_there_is_one_recording_for_each_scenario_and_no_other() -> None:
    assert sorted(recording.name for recording in recorded_from(NEWEST)) == sorted(CASES)


def test_what_every_version_is_asked_has_been_asked_of_an_older_one() -> None:
    titles = {f"{form}/{scenario.name}" for scenario, form in CASES.values()}
    assert len(set(QUESTIONS)) == len(QUESTIONS)
    assert set(QUESTIONS) <= titles
    assert {f"{title}@vllm-0.16.0" for title in QUESTIONS} <= set(BY_NAME)


@pytest.mark.parametrize(("scenario", "form"), CASES.values(), ids=CASES)
def test_todays_plans_are_those_that_were_recorded_byte_for_byte(
    scenario: Scenario, form: RequestType
) -> None:
    recorded = BY_NAME[f"{form}/{scenario.name}@vllm-{NEWEST}"]
    assert in_one_piece(plan_of(scenario, form)) == plan_for(recorded)


def in_one_piece(plan: Plan) -> Plan:
    if plan.body is None:
        return plan
    return plan._replace(body=Body(plan.body.content_type, plan.body.data + b"".join(plan.body.rest)))


# Responses are chats to the server.
@pytest.mark.parametrize("form", [form for form in OPERATIONS if not form.startswith("responses")])
def test_every_operation_has_been_recorded_in_good_and_in_bad_times(form: str) -> None:
    of_form = [recording for recording in recorded_from(NEWEST) if form_of(recording) == form]
    errors = [recording for recording in of_form if holds_an_error(recording)]
    assert len(of_form) >= 15
    assert 3 <= len(errors) <= len(of_form) - 3


def told(outcome: Any) -> object:
    """What an answer says, whether it was streamed or not."""
    chunks: list[Any] = (
        [event.data for event in outcome if isinstance(event, Chunk)]
        if isinstance(outcome, list)
        else [outcome]
    )
    if "choices" not in chunks[-1]:  # a transcript
        return chunks[-1]["text"]
    choices: dict[int, Any] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            said = choices.setdefault(
                choice["index"],
                {"content": "", "reasoning": "", "calls": {}, "tokens": [], "finish": None, "logprobs": {}},
            )
            message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
            said["content"] += message.get("content") or ""
            said["reasoning"] += message.get("reasoning") or ""
            said["tokens"] += choice.get("token_ids") or []
            said["finish"] = choice["finish_reason"] or said["finish"]
            for name, listed in (choice["logprobs"] or {}).items():
                said["logprobs"][name] = said["logprobs"].get(name, []) + (listed or [])
            for call in message.get("tool_calls", ()):
                so_far = said["calls"].setdefault(call["index"], ["", ""])
                so_far[0] += call["function"].get("name", "")
                so_far[1] += call["function"]["arguments"]
    return choices, {
        name: chunks[-1].get("usage", {}).get(name) for name in ("prompt_tokens", "completion_tokens")
    }


AT_TEMPERATURE_0 = [
    (form, scenario.name)
    for scenario in SCENARIOS
    for form in scenario.forms
    if f"{form}_stream" in scenario.forms
    and scenario.expected.status == 200
    and scenario.setting == "open"
    and isinstance(scenario.question, FromClient)
    and scenario.question.document.get("temperature", 0) == 0
]
# vLLM itself says something else when it streams.
DIFFERENT_UPSTREAM = {
    "call_after_thought": "the blank lines before the call are content of the stream only",
    "cut_in_call": "a call that was cut off is text in the whole answer",
}


@pytest.mark.parametrize(("form", "name"), AT_TEMPERATURE_0)
def test_a_stream_says_what_the_whole_answer_says(form: str, name: str) -> None:
    recordings = [BY_NAME[f"{each}/{name}@vllm-{NEWEST}"] for each in (form, f"{form}_stream")]
    whole, streamed = (play(ReplayTransport([recording]), recording) for recording in recordings)
    assert (told(streamed) == told(whole)) is (name not in DIFFERENT_UPSTREAM)


SECRET = re.compile(rb"authorization|bearer |api[-_]key|set-cookie|/work/|/home/|/root/|/tmp/", re.IGNORECASE)


def test_no_recording_holds_a_secret_or_a_path_of_the_machine() -> None:
    files = [path for path in CASSETTES.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".yaml", ".json"}
    assert [path.name for path in files if SECRET.search(path.read_bytes())] == []


def test_cuts_stand_beside_each_stream_and_nothing_else() -> None:
    streams = {name for name in BY_NAME if name.partition("/")[0].endswith("_stream")}
    cut = {
        str(path.relative_to(CASSETTES)).removesuffix(".cuts.json") for path in CASSETTES.rglob("*.cuts.json")
    }
    assert cut == streams
