"""Real chats of vLLM as responses: every recording, whole and event by event."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.openai_schema import assert_event, assert_response
from tests.response_client import accumulated
from translate import Call, Chunk, Failure, responses
from transports import Recording, Recordings
from transports.base import Reply

CASSETTES = Path(__file__).parents[2] / "cassettes"
NEWEST = "@vllm-0.32.0"  # what older servers say in a stream and otherwise differs by itself
RECORDINGS = [each for each in Recordings.load(CASSETTES) if each.name.endswith(NEWEST)]
BY_NAME = {recording.name: recording for recording in RECORDINGS}
ASKED = {"provider": "vllm", "model": "tiny/chat", "input": "Hello"}


def named(kind: str) -> list[str]:
    """The recordings of that kind."""
    return sorted(name for name in BY_NAME if name.startswith(f"{kind}/"))


def wire(document: object) -> Any:
    return json.loads(json.dumps(document))


def whole(recording: Recording) -> Any:
    reply = Reply(recording.status, recording.headers, recording.body)
    outcome = responses.parse(ASKED, reply, 0, Call("responses"))
    return outcome if isinstance(outcome, Failure) else wire(outcome)


def streamed(recording: Recording) -> list[Any]:
    head = Reply(recording.status, recording.headers)
    fold = responses.fold(ASKED, head, Call("responses_stream"))
    return [*fold.feed(recording.body), *fold.close()]


@pytest.mark.parametrize("name", named("chat_completion"))
def test_a_whole_answer(name: str) -> None:
    response = whole(BY_NAME[name])
    if BY_NAME[name].status == 200:
        assert_response(response)
    else:
        assert isinstance(response, Failure)


@pytest.mark.parametrize("name", named("chat_completion_stream"))
def test_a_stream(name: str) -> None:
    events = streamed(BY_NAME[name])
    if isinstance(events[0], Failure):
        assert len(events) == 1
        return
    documents = [wire(event.data) for event in events if isinstance(event, Chunk)]
    for document in documents:
        assert_event(document)
    final = accumulated(documents)
    assert_response(final)
    assert isinstance(events[-1], Failure) is (final["status"] == "failed")


# vLLM itself says something else when it streams, or is asked for several answers.
DIFFERENT_UPSTREAM = {
    "call_after_thought": "the blank lines before the call are content of the stream only",
    "cut_in_call": "a call that was cut off is text in the whole answer",
    "engine_killed": "the stream had begun",
    "sampling": "by chance",
    "two_choices": "by chance",
    "two_choices_with_calls": "by chance",
}
BOTH = [
    name.partition("/")[2]
    for name in named("chat_completion")
    if name.replace("chat_completion/", "chat_completion_stream/") in BY_NAME
    and BY_NAME[name].status == 200
    and name.partition("/")[2].partition("@")[0] not in DIFFERENT_UPSTREAM
]


def comparable(response: Any) -> Any:
    """A response without what differs from one request to the next, and from stream to whole answer."""
    output = [{**item, "id": item["id"].rpartition("_")[2], "call_id": None} for item in response["output"]]
    # Of two equal requests the second finds its prompt cached; tokens of thought are counted in two ways.
    usage = {name: count for name, count in response["usage"].items() if not name.endswith("details")}
    kept = response["extra_fields"].get("chat_completion", {}).get("choices")
    return {
        **response,
        "id": None,
        "created_at": None,
        "output": output,
        "usage": usage,
        "extra_fields": kept,
    }


@pytest.mark.parametrize("name", BOTH)
def test_a_stream_ends_with_what_comes_without_streaming(name: str) -> None:
    last = streamed(BY_NAME[f"chat_completion_stream/{name}"])[-1]
    assert isinstance(last, Chunk)
    final = wire(last.data["response"])
    assert comparable(final) == comparable(whole(BY_NAME[f"chat_completion/{name}"]))


def test_there_is_something_to_compare() -> None:
    assert len(BOTH) > 30
