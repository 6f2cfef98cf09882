"""What becomes of a streamed chat on its way to a streamed response: every event."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.openai_schema import assert_event, assert_response
from translate import Call, Chunk, Failure, chat, responses
from translate.errors import TRUNCATED
from translate.response_stream import ResponseFold
from transports.base import Cut, Reply

CALL = Call("responses_stream")
UNARY = Call("responses")
HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
DONE = "[DONE]"
USAGE = {"prompt_tokens": 2, "total_tokens": 3, "completion_tokens": 1}
EXTRA = {
    "request_type": "responses_stream",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "m"},
    "original_model_requested": "m",
    "resolved_model_used": "m",
}


def request(**params: object) -> Mapping[str, object]:
    return {"provider": "vllm", "model": "m", "input": "hi", "params": params}


def frame(
    delta: Mapping[str, object] | None = None, finish: str | None = None, **more: object
) -> dict[str, object]:
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    choices = [] if delta is None and finish is None else [choice]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "served"}
    return {**head, "choices": choices, **more}


def sse(*frames: object) -> bytes:
    return b"".join(
        b"data: " + (item.encode() if isinstance(item, str) else json.dumps(item).encode()) + b"\n\n"
        for item in frames
    )


OPENER = frame({"role": "assistant", "content": ""})
USAGE_FRAME = frame(usage=USAGE)


def raw_events(
    data: bytes, head: Reply = HEAD, cut: Cut | None = None, call: Call = CALL, **params: object
) -> list[Chunk | Failure]:
    fold = responses.fold(request(**params), head, call)
    out = [*fold.feed(data, 10), *fold.close(25, cut)]
    assert fold.ended
    assert not fold.feed(data)
    assert not fold.close()
    return out


def wire(document: object) -> Any:
    return json.loads(json.dumps(document))


def events(*frames: object, **params: Any) -> list[Any]:
    """The events of a sound stream, each of which satisfies OpenAI's schema and is numbered."""
    return told(raw_events(sse(*frames), **params))


def told(outcome: Sequence[Chunk | Failure]) -> list[Any]:
    out: list[Any] = []
    for number, event in enumerate(outcome):
        assert isinstance(event, Chunk)
        assert event.final is (event is outcome[-1])
        document = wire(event.data)
        assert_event(document)
        assert document["type"] == event.event
        assert document.pop("sequence_number") == number
        fields = document.pop("extra_fields")
        assert fields.pop("chunk_index") == number
        assert isinstance(fields.pop("latency"), int)
        if notes := fields.pop("translation_notes", ()):
            assert event.final
            document["notes"] = [tuple(note.values()) for note in notes]
        assert fields == EXTRA
        out.append(document)
    return out


def shortly(documents: Sequence[Any]) -> list[str]:
    """One line for an event: its name, its item and what it says."""
    out = []
    for document in documents:
        words = [document["type"].removeprefix("response.")]
        if "output_index" in document:
            words.append(str(document["output_index"]))
        if "content_index" in document:
            words[-1] += f".{document['content_index']}"
        item = document.get("item")
        if item is not None:
            assert item["id"].rpartition("_")[2] == str(document["output_index"])
            words.append(item["type"] if document["type"].endswith("added") else item["status"])
        told = ("delta", "text", "refusal", "arguments")
        words += [repr(document[name]) for name in told if name in document]
        out.append(" ".join(words))
    return out


def between(*frames: object, **params: Any) -> list[str]:
    """What happens between creation and the end."""
    documents = events(OPENER, *frames, **params)
    assert shortly(documents[:2]) == ["created", "in_progress"]
    assert documents[-1]["type"] in {"response.completed", "response.incomplete", "response.failed"}
    output = documents[-1]["response"]["output"]
    assert output == [document["item"] for document in documents if document["type"].endswith("item.done")]
    return shortly(documents[2:-1])


def call(
    number: int, *, call_id: str | None = None, name: str | None = None, arguments: str | None = None
) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"tool_calls": [{"index": number, **({"id": call_id} if call_id else {}), "function": function}]}


STOP = frame({}, "stop")
CALLS = frame({}, "tool_calls")

ITEM_0 = {"item_id": "msg_1_0", "output_index": 0, "content_index": 0}
ECHO = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": "be brief",
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": 0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def response(status: str, output: Sequence[object] = (), **more: object) -> dict[str, object]:
    head = {"id": "resp_1", "object": "response", "created_at": 5, "status": status, "model": "served"}
    none: dict[str, object] = {"error": None, "incomplete_details": None, "service_tier": None, "usage": None}
    return {**head, **none, "output": [*output], **ECHO, **more}


def message(text: str, status: str = "completed", place: int = 0) -> dict[str, object]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_1_{place}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part],
    }


def test_a_stream_of_vllm_whole() -> None:
    data = sse(
        {**OPENER, "prompt_token_ids": None},
        frame({"content": "Hel"}),
        frame({"content": "lo"}),
        frame({}, "stop"),
        {**USAGE_FRAME, "system_fingerprint": "vllm-0.32.0"},
        DONE,
    )
    first = data.index(b"\n\n") + 2
    fold = responses.fold(request(instructions="be brief", metadata={"a": "b"}, temperature=0), HEAD, CALL)
    outcome = [*fold.feed(data[:first], 10), *fold.feed(data[first:], 15), *fold.close(25)]
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    counts = {
        "input_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 3,
    }
    kept = {"chat_completion": {"system_fingerprint": "vllm-0.32.0"}}
    whole = response(
        "completed",
        [message("Hello")],
        usage=counts,
        stop_reason="stop",
        extra_fields={**EXTRA, "latency": 15, "chunk_index": 9, **kept},
    )
    empty = {**message(""), "status": "in_progress", "content": []}
    expected: list[tuple[int, dict[str, object]]] = [
        (10, {"type": "response.created", "response": response("in_progress")}),
        (0, {"type": "response.in_progress", "response": response("in_progress")}),
        (5, {"type": "response.output_item.added", "output_index": 0, "item": empty}),
        (0, {"type": "response.content_part.added", **ITEM_0, "part": part}),
        (0, {"type": "response.output_text.delta", **ITEM_0, "delta": "Hel", "logprobs": []}),
        (0, {"type": "response.output_text.delta", **ITEM_0, "delta": "lo", "logprobs": []}),
        (0, {"type": "response.output_text.done", **ITEM_0, "text": "Hello", "logprobs": []}),
        (0, {"type": "response.content_part.done", **ITEM_0, "part": {**part, "text": "Hello"}}),
        (0, {"type": "response.output_item.done", "output_index": 0, "item": message("Hello")}),
        (15, {"type": "response.completed", "response": whole}),
    ]
    assert [wire(event.data) for event in outcome if isinstance(event, Chunk)] == [
        {
            **document,
            "sequence_number": number,
            "extra_fields": {**EXTRA, "latency": latency, "chunk_index": number},
        }
        for number, (latency, document) in enumerate(expected)
    ]
    assert [(event.event, event.final) for event in outcome if isinstance(event, Chunk)] == [
        (document["type"], number == 9) for number, (_, document) in enumerate(expected)
    ]


@pytest.mark.parametrize(
    ("frames", "happens"),
    [
        pytest.param(
            [frame({"reasoning": "h"}), frame({"reasoning_content": "m"}), frame({"content": "Hi"}), STOP, DONE],
            ["output_item.added 0 reasoning", "content_part.added 0.0", "reasoning_text.delta 0.0 'h'", "reasoning_text.delta 0.0 'm'",
             "reasoning_text.done 0.0 'hm'", "content_part.done 0.0", "output_item.done 0 completed",
             "output_item.added 1 message", "content_part.added 1.0", "output_text.delta 1.0 'Hi'",
             "output_text.done 1.0 'Hi'", "content_part.done 1.0", "output_item.done 1 completed"],
            id="a thought and text",
        ),
        pytest.param(
            [frame({"reasoning": "so", "content": "Hi"}), STOP, DONE],
            ["output_item.added 0 reasoning", "content_part.added 0.0", "reasoning_text.delta 0.0 'so'",
             "reasoning_text.done 0.0 'so'", "content_part.done 0.0", "output_item.done 0 completed",
             "output_item.added 1 message", "content_part.added 1.0", "output_text.delta 1.0 'Hi'",
             "output_text.done 1.0 'Hi'", "content_part.done 1.0", "output_item.done 1 completed"],
            id="a thought and text in one frame",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f")), frame(call(0, arguments='{"x":')), frame(call(0, arguments="1}")), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{\"x\":'", "function_call_arguments.delta 0 '1}'",
             "function_call_arguments.done 0 '{\"x\":1}'", "output_item.done 0 completed"],
            id="a call alone has index 0",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f", arguments="{}")), frame(call(1, call_id="B", name="g")), frame(call(1, arguments="{}")), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{}'", "function_call_arguments.done 0 '{}'", "output_item.done 0 completed",
             "output_item.added 1 function_call", "function_call_arguments.delta 1 '{}'", "function_call_arguments.done 1 '{}'", "output_item.done 1 completed"],
            id="two calls, one after the other",
        ),
        pytest.param(
            [frame({"tool_calls": [*call(0, call_id="A", name="f", arguments="{}")["tool_calls"], *call(1, call_id="B", name="g", arguments="{}")["tool_calls"]]}), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{}'", "function_call_arguments.done 0 '{}'", "output_item.done 0 completed",
             "output_item.added 1 function_call", "function_call_arguments.delta 1 '{}'", "function_call_arguments.done 1 '{}'", "output_item.done 1 completed"],
            id="two calls in one frame",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f")), frame(call(1, call_id="B", name="g")), frame(call(0, arguments='{"a')),
             frame(call(1, arguments='{"b')), frame(call(0, arguments='":1}')), frame(call(1, arguments='":2}')), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{\"a'", "function_call_arguments.delta 0 '\":1}'",
             "function_call_arguments.done 0 '{\"a\":1}'", "output_item.done 0 completed",
             "output_item.added 1 function_call", "function_call_arguments.delta 1 '{\"b\":2}'",
             "function_call_arguments.done 1 '{\"b\":2}'", "output_item.done 1 completed"],
            id="two calls told by turns",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f", arguments='{"a')), frame({"content": "x"}), frame({"content": "y"}), frame({"reasoning": "z"}),
             frame(call(0, arguments='":1}')), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{\"a'", "function_call_arguments.delta 0 '\":1}'",
             "function_call_arguments.done 0 '{\"a\":1}'", "output_item.done 0 completed",
             "output_item.added 1 message", "content_part.added 1.0", "output_text.delta 1.0 'xy'",
             "output_text.done 1.0 'xy'", "content_part.done 1.0", "output_item.done 1 completed",
             "output_item.added 2 reasoning", "content_part.added 2.0", "reasoning_text.delta 2.0 'z'",
             "reasoning_text.done 2.0 'z'", "content_part.done 2.0", "output_item.done 2 completed"],
            id="what comes in the middle of a call waits",
        ),
        pytest.param(
            [frame({"content": "a"}), frame(call(0, call_id="A", name="f", arguments="{}")), frame({"content": "b"}), STOP, DONE],
            ["output_item.added 0 message", "content_part.added 0.0", "output_text.delta 0.0 'a'", "output_text.done 0.0 'a'", "content_part.done 0.0", "output_item.done 0 completed",
             "output_item.added 1 function_call", "function_call_arguments.delta 1 '{}'", "function_call_arguments.done 1 '{}'", "output_item.done 1 completed",
             "output_item.added 2 message", "content_part.added 2.0", "output_text.delta 2.0 'b'", "output_text.done 2.0 'b'", "content_part.done 2.0", "output_item.done 2 completed"],
            id="text again after a call is a new item",
        ),
        pytest.param(
            [frame({"reasoning": "a"}), frame({"content": "b"}), frame({"reasoning": "c"}), STOP, DONE],
            ["output_item.added 0 reasoning", "content_part.added 0.0", "reasoning_text.delta 0.0 'a'", "reasoning_text.done 0.0 'a'", "content_part.done 0.0", "output_item.done 0 completed",
             "output_item.added 1 message", "content_part.added 1.0", "output_text.delta 1.0 'b'", "output_text.done 1.0 'b'", "content_part.done 1.0", "output_item.done 1 completed",
             "output_item.added 2 reasoning", "content_part.added 2.0", "reasoning_text.delta 2.0 'c'", "reasoning_text.done 2.0 'c'", "content_part.done 2.0", "output_item.done 2 completed"],
            id="a thought again after text is a new item",
        ),
        pytest.param(
            [frame({"content": "Well"}), frame({"refusal": "n"}), frame({"refusal": "o"}), frame({"content": "!"}), STOP, DONE],
            ["output_item.added 0 message", "content_part.added 0.0", "output_text.delta 0.0 'Well'", "output_text.done 0.0 'Well'", "content_part.done 0.0",
             "content_part.added 0.1", "refusal.delta 0.1 'n'", "refusal.delta 0.1 'o'", "refusal.done 0.1 'no'", "content_part.done 0.1",
             "content_part.added 0.2", "output_text.delta 0.2 '!'", "output_text.done 0.2 '!'", "content_part.done 0.2",
             "output_item.done 0 completed"],
            id="a refusal is a part of the message",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f", arguments='{"a')), frame({"content": "x"}), frame({"refusal": "no"}), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{\"a'", "function_call_arguments.done 0 '{\"a'", "output_item.done 0 completed",
             "output_item.added 1 message", "content_part.added 1.0", "output_text.delta 1.0 'x'", "output_text.done 1.0 'x'", "content_part.done 1.0",
             "content_part.added 1.1", "refusal.delta 1.1 'no'", "refusal.done 1.1 'no'", "content_part.done 1.1", "output_item.done 1 completed"],
            id="a message of two parts that waited",
        ),
        pytest.param(
            [frame(call(0, call_id="A")), frame(call(0, arguments="{}")), frame(call(0, name="f")), CALLS, DONE],
            ["output_item.added 0 function_call", "function_call_arguments.delta 0 '{}'", "function_call_arguments.done 0 '{}'", "output_item.done 0 completed"],
            id="a name that comes late",
        ),
        pytest.param(
            [frame({"content": ""}), frame({"reasoning": ""}), frame({"content": None, "tool_calls": []}), STOP, DONE],
            ["output_item.added 0 message", "content_part.added 0.0", "output_text.done 0.0 ''", "content_part.done 0.0", "output_item.done 0 completed"],
            id="nothing but noise",
        ),
        pytest.param(
            [frame({"content": "a"}), DONE],
            ["output_item.added 0 message", "content_part.added 0.0", "output_text.delta 0.0 'a'", "output_text.done 0.0 'a'", "content_part.done 0.0", "output_item.done 0 completed"],
            id="done without a finish reason",
        ),
        pytest.param(
            [frame({"content": "a"}, "length"), DONE],
            ["output_item.added 0 message", "content_part.added 0.0", "output_text.delta 0.0 'a'", "output_text.done 0.0 'a'", "content_part.done 0.0", "output_item.done 0 incomplete"],
            id="cut by length",
        ),
        pytest.param(
            [frame({"reasoning": "a"}), frame(call(0, call_id="A", name="f", arguments='{"a')), frame({}, "length"), DONE],
            ["output_item.added 0 reasoning", "content_part.added 0.0", "reasoning_text.delta 0.0 'a'", "reasoning_text.done 0.0 'a'", "content_part.done 0.0", "output_item.done 0 completed",
             "output_item.added 1 function_call", "function_call_arguments.delta 1 '{\"a'", "function_call_arguments.done 1 '{\"a'", "output_item.done 1 incomplete"],
            id="cut in a call",
        ),
        pytest.param(
            [frame(call(0, call_id="A", name="f")), frame({}, "length"), DONE],
            ["output_item.added 0 function_call", "function_call_arguments.done 0 ''", "output_item.done 0 incomplete"],
            id="cut before the arguments",
        ),
    ],
)  # fmt: skip
def test_what_happens(frames: Sequence[object], happens: Sequence[str]) -> None:
    assert between(*frames) == happens


def test_a_stream_without_a_role_is_created_all_the_same() -> None:
    assert shortly(events(frame({"content": "a"}), STOP, DONE))[:3] == [
        "created",
        "in_progress",
        "output_item.added 0 message",
    ]


@pytest.mark.parametrize(
    ("reason", "kind", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("something new", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("abort", "failed", None),
    ],
)
def test_the_last_event_tells_how_it_ended(reason: str, kind: str, details: object) -> None:
    last = events(OPENER, frame(call(0, call_id="A", name="f", arguments="{}")), frame({}, reason), DONE)[-1]
    whole = last["response"]
    assert last["type"] == f"response.{kind}"
    assert (whole["status"], whole["incomplete_details"]) == (kind, details)
    assert whole["stop_reason"] == reason
    gave_up = {"code": "server_error", "message": "the server ended the answer: abort"}
    assert whole["error"] == (gave_up if kind == "failed" else None)


def test_the_last_event_waits_for_usage() -> None:
    fold = responses.fold(request(), HEAD, CALL)
    before = fold.feed(sse(OPENER, frame({"content": "a"}), STOP))
    assert [event.event for event in before if isinstance(event, Chunk)][-1] == "response.output_text.delta"
    after = fold.feed(sse(USAGE_FRAME, DONE))
    assert isinstance(after[-1], Chunk)
    whole: Any = after[-1].data["response"]
    assert whole["usage"]["total_tokens"] == 3


def test_a_call_without_arguments_or_id() -> None:
    documents = events(OPENER, frame(call(0, name="f")), frame(call(0, name="f", arguments="")), CALLS, DONE)
    assert shortly(documents[2:-1]) == [
        "output_item.added 0 function_call",
        "function_call_arguments.delta 0 '{}'",
        "function_call_arguments.done 0 '{}'",
        "output_item.done 0 completed",
    ]
    assert documents[2]["item"]["call_id"] == "call_1_0_0"
    assert documents[4] == {
        "type": "response.function_call_arguments.done",
        "item_id": "fc_1_0",
        "output_index": 0,
        "name": "f",
        "arguments": "{}",
    }
    assert documents[-1]["notes"] == [
        ("output[0].arguments", "defaulted", "the server sent none"),
        ("choices[0].tool_calls[0].id", "defaulted", "the server sent none"),
    ]


def test_arguments_after_a_whole_object_are_dropped_and_noted() -> None:
    documents = events(
        OPENER,
        frame(call(0, call_id="A", name="f", arguments="{}")),
        frame(call(1, call_id="B", name="g", arguments="{}")),
        frame(call(0, arguments="more")),
        CALLS,
        DONE,
    )
    assert [item["arguments"] for item in documents[-1]["response"]["output"]] == ["{}", "{}"]
    assert documents[-1]["notes"] == [("output[0].arguments", "dropped", "what came after a whole object")]


def test_a_second_choice_that_nobody_asked_for() -> None:
    other = {**frame(), "choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}]}
    documents = events(OPENER, frame({"content": "a"}), other, STOP, DONE)
    assert documents[-1]["response"]["output"] == [message("a")]
    assert documents[-1]["notes"] == [("choices", "dropped", "a response is one answer")]


def test_notes_on_the_request_ride_on_the_last_event() -> None:
    documents = events(OPENER, STOP, DONE, max_output_tokens=3, store=True)
    notes = [
        ("max_output_tokens", "renamed", "max_completion_tokens"),
        ("store", "dropped", "vLLM has no such parameter"),
    ]
    assert documents[-1]["notes"] == notes
    fields = documents[-1]["response"]["extra_fields"]
    assert [tuple(note.values()) for note in fields["translation_notes"]] == notes


def token(text: str) -> dict[str, object]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def with_tokens(delta: Mapping[str, object], *texts: str, finish: str | None = None) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": {"content": [token(text) for text in texts]},
        "finish_reason": finish,
        "token_ids": list(range(len(texts))),
    }
    return {**frame({}), "choices": [choice]}


def test_tokens_ride_with_their_text() -> None:
    documents = events(
        OPENER,
        with_tokens({}, "<think>"),
        with_tokens({"reasoning": "hm"}, "hm"),
        with_tokens({}, "</think>"),
        with_tokens({"content": "你"}, "你"),
        with_tokens({}, ""),
        with_tokens({"content": "a"}, "a"),
        with_tokens({}, "<|im_end|>", finish="stop"),
        DONE,
    )
    told = [
        (document["delta"], [entry["token"] for entry in document["logprobs"]])
        for document in documents
        if document["type"] == "response.output_text.delta"
    ]
    assert told == [("你", ["你"]), ("a", ["a"])]
    (done,) = [document for document in documents if document["type"] == "response.output_text.done"]
    in_event: list[object] = [
        {"token": text, "logprob": -0.5, "top_logprobs": []} for text in ("你", "", "a")
    ]
    assert done["logprobs"] == in_event
    whole = documents[-1]["response"]
    assert whole["output"][1]["content"][0]["logprobs"] == [token(text) for text in ("你", "", "a")]
    assert whole["extra_fields"]["chat_completion"] == {
        "choices": [
            {
                "index": 0,
                "token_ids": [0, 0, 0, 0, 0, 0, 0],
                "logprobs": {
                    "content": [token(text) for text in ("<think>", "hm", "</think>", "<|im_end|>")]
                },
            }
        ]
    }


def test_the_rest_of_a_letter_without_its_probability_has_no_place_beside_the_text() -> None:
    late = with_tokens({}, "")
    late["choices"][0]["logprobs"]["content"] = [{"token": "", "bytes": [], "top_logprobs": []}]
    documents = events(OPENER, with_tokens({"content": "你"}, "你"), late, frame({}, "stop"), DONE)
    assert documents[-1]["type"] == "response.completed"
    whole = documents[-1]["response"]
    assert whole["output"][0]["content"][0]["logprobs"] == [token("你")]
    (choice,) = whole["extra_fields"]["chat_completion"]["choices"]
    assert choice["logprobs"] == {"content": [{"token": "", "bytes": [], "top_logprobs": []}]}


def test_what_has_no_place_in_a_response_adds_up() -> None:
    documents = events(
        {**OPENER, "kv_transfer_params": {"k": 1}},
        frame({"content": "a", "annotations": [1]}),
        frame({"annotations": [2], "x_vendor": "x"}),
        frame({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
        {**frame({}, "stop"), "metrics": {"m": 1}},
        DONE,
    )
    kept = documents[-1]["response"]["extra_fields"]["chat_completion"]
    assert kept == {
        "kv_transfer_params": {"k": 1},
        "metrics": {"m": 1},
        "choices": [
            {
                "index": 0,
                "message": {
                    "annotations": [1, 2],
                    "x_vendor": "x",
                    "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}],
                },
            }
        ],
    }


def test_what_was_sent_and_received_comes_along_when_asked() -> None:
    both = Call("responses_stream", raw_request=True, raw_response=True)
    frames = [OPENER, frame({"content": "a"}), STOP, USAGE_FRAME]
    outcome = raw_events(sse(*frames, DONE), call=both)
    fields: list[Any] = [event.data["extra_fields"] for event in outcome if isinstance(event, Chunk)]
    raw = "\n\n".join(field["raw_response"] for field in fields if "raw_response" in field)
    assert [json.loads(text) for text in raw.split("\n\n")] == frames
    assert ["raw_request" in field for field in fields] == [False] * (len(fields) - 1) + [True]
    assert fields[-1]["raw_request"]["stream_options"] == {"include_usage": True}


def error_event(number: int, message: str, status: int, **more: Any) -> dict[str, object]:
    field = {"message": message, **more.pop("field", {})}
    return {
        "type": "error",
        "sequence_number": number,
        "code": field.get("code"),
        "message": message,
        "param": field.get("param"),
        "is_bifrost_error": False,
        "error": field,
        "status_code": status,
        **more,
        "extra_fields": {
            "routing_info": EXTRA["routing_info"],
            "provider": "vllm",
            "original_model_requested": "m",
            "resolved_model_used": "m",
            "request_type": "responses_stream",
        },
    }


@pytest.mark.parametrize(
    ("bad", "code", "words", "status", "field"),
    [
        ({"error": {"message": "engine died", "code": 500}}, "server_error", "engine died", 500, {"code": "500"}),
        ({"error": {"message": "busy", "type": "Busy", "code": 429}}, "rate_limit_exceeded", "busy", 429, {"type": "Busy", "code": "429"}),
        ({"error": {"message": "bad", "param": "x", "code": 400}}, "invalid_prompt", "bad", 400, {"param": "x", "code": "400"}),
        ({"error": {"message": "odd", "param": [1]}}, "server_error", "odd", 500, {"param": [1]}),
    ],
)  # fmt: skip
def test_an_error_after_the_start_fails_the_response_and_then_raises(
    bad: object, code: str, words: str, status: int, field: Mapping[str, object]
) -> None:
    outcome = raw_events(sse(OPENER, frame({"content": "Hel"}), bad, DONE))
    *before, failed, last = outcome
    assert [event.event for event in before if isinstance(event, Chunk)][-1] == "response.output_text.delta"
    assert isinstance(failed, Chunk)
    assert not failed.final
    assert failed.event == "response.failed"
    document = wire(failed.data)
    assert_event(document)
    assert document["sequence_number"] == len(before)
    assert document["response"] == {
        **response("failed", [message("Hel", "incomplete")], error={"code": code, "message": words}),
        "instructions": None,
        "metadata": {},
        "temperature": None,
    }
    assert isinstance(last, Failure)
    assert last.event == "error"
    error = wire(last.error)
    expected = error_event(len(before) + 1, words, status, field=field)
    if not isinstance(expected["param"], str):
        expected["param"] = None
    assert error == expected
    assert_event({name: value for name, value in error.items() if name != "extra_fields"})


@pytest.mark.parametrize(
    ("cut", "status", "message"),
    [
        (None, 502, TRUNCATED),
        (Cut("read", "reset"), 502, f"{TRUNCATED}: reset"),
        (Cut("timeout", "nothing for 60 s"), 504, "request timed out: nothing for 60 s"),
        (Cut("cancelled", "the client left"), 499, "request cancelled: the client left"),
    ],
)
def test_a_stream_that_breaks_off(cut: Cut | None, status: int, message: str) -> None:
    *_, failed, last = raw_events(
        sse(OPENER, frame(call(0, call_id="A", name="f", arguments='{"a'))), cut=cut
    )
    assert isinstance(failed, Chunk)
    assert isinstance(last, Failure)
    assert last.error.get("status_code") == status
    whole: Any = failed.data["response"]
    assert whole["error"] == {"code": "server_error", "message": message}
    assert [(item["arguments"], item["status"]) for item in whole["output"]] == [('{"a', "incomplete")]


def test_what_waited_is_not_lost_when_the_stream_breaks_off() -> None:
    frames = [
        frame({"content": "a"}),
        frame(call(0, call_id="A", name="f", arguments='{"a')),
        frame({"content": "b"}),
    ]
    *_, failed, _last = raw_events(sse(OPENER, *frames))
    assert isinstance(failed, Chunk)
    whole: Any = failed.data["response"]
    assert [(item["type"], item["status"]) for item in whole["output"]] == [
        ("message", "completed"),
        ("function_call", "incomplete"),
        ("message", "incomplete"),
    ]


@pytest.mark.parametrize(
    ("data", "head", "status"),
    [
        (sse({"error": {"message": "x", "code": 400}}, DONE), HEAD, 400),
        (sse(DONE), HEAD, 502),
        (b"", HEAD, 502),
        (b'{"error":{"message":"x","code":404}}', Reply(404, {}), 404),
        (b'{"error":{"message":"x","code":400}}', Reply(200, {"content-type": "application/json"}), 400),
        (b"oops", Reply(0, {}, b"", 5, Cut("connect", "refused")), 502),
    ],
)
def test_an_error_before_the_start_is_the_error_of_a_chat(data: bytes, head: Reply, status: int) -> None:
    (event,) = raw_events(data, head)
    assert isinstance(event, Failure)
    assert event.event is None
    assert event.error.get("status_code") == status
    assert event.error.get("extra_fields", {})["request_type"] == "responses_stream"
    assert "type" not in event.error


def test_a_stream_that_says_too_much_fails() -> None:
    fold = ResponseFold(chat.fold({"model": "m", "input": ()}, HEAD, CALL), CALL, "m", {}, (), 300)
    assert fold.feed(sse(OPENER))
    failed, last = fold.feed(sse(frame({"content": "x" * 20})))[-2:]
    assert isinstance(failed, Chunk)
    assert isinstance(last, Failure)
    assert fold.ended
    assert last.error["error"] == {
        "message": "provider sent more than a response may hold",
        "code": "response_too_large",
    }
    assert last.error.get("status_code") == 502


@pytest.mark.parametrize(
    "frames",
    [
        [OPENER, frame({"reasoning": "hm"}), frame({"content": "a"}), frame({"content": "b"}), frame({"refusal": "no"}),
         frame(call(0, call_id="A", name="f", arguments="{}")), frame(call(1, call_id="B", name="g")), CALLS, USAGE_FRAME, DONE],
        [OPENER, frame({}, "length"), DONE],
        [OPENER, with_tokens({"content": "a"}, "a"), {**STOP, "metrics": {"m": 1}}, USAGE_FRAME, DONE],
    ],
)  # fmt: skip
def test_the_last_response_is_the_one_that_comes_without_streaming(frames: Sequence[Any]) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None}
    upstream: dict[str, Any] = {"id": "chatcmpl-1", "created": 5, "model": "served", "choices": [choice]}
    for document in frames[:-1]:
        others = {name: document[name] for name in ("usage", "metrics") if name in document}
        upstream |= others
        for entry in document["choices"]:
            for name in ("content", "reasoning", "refusal"):
                if entry["delta"].get(name):
                    message[name] = message.get(name, "") + entry["delta"][name]
            for fragment in entry["delta"].get("tool_calls", ()):
                message["tool_calls"].append({**fragment, "type": "function"})
            choice["finish_reason"] = entry["finish_reason"]
            choice["logprobs"] = entry["logprobs"] or choice["logprobs"]
            choice |= {name: entry[name] for name in ("token_ids",) if name in entry}
    reply = Reply(200, {}, json.dumps(upstream).encode())
    whole = responses.parse(request(), reply, 0, UNARY)
    assert not isinstance(whole, Failure)
    streamed: Any = raw_events(sse(*frames))[-1]
    assert_response(wire(whole))
    for document in (expected := wire(whole), came := wire(streamed.data["response"])):
        for name in ("request_type", "latency", "chunk_index"):
            del document["extra_fields"][name]
    assert came == expected
