"""What becomes of a streamed answer, frame by frame and at its end."""

import json
from collections.abc import Mapping, Sequence

import pytest

from translate import Call, Chunk, Failure, chat
from translate.errors import TRUNCATED
from transports.base import Cut, Reply

CALL = Call("chat_completion_stream")
HEAD = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
DONE = "[DONE]"


def request(**params: object) -> Mapping[str, object]:
    return {
        "provider": "vllm",
        "model": "m",
        "input": [{"role": "user", "content": "hi"}],
        "params": params,
    }


def frame(*choices: Mapping[str, object], **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [{"index": 0, "logprobs": None, "finish_reason": None, **choice} for choice in choices],
        **more,
    }


def sse(*frames: object) -> bytes:
    return b"".join(
        b"data: " + (item.encode() if isinstance(item, str) else json.dumps(item).encode()) + b"\n\n"
        for item in frames
    )


def events(
    data: bytes, head: Reply = HEAD, cut: Cut | None = None, call: Call = CALL, **params: object
) -> list[Chunk | Failure]:
    fold = chat.fold(request(**params), head, call)
    out = [*fold.feed(data, 10), *fold.close(25, cut)]
    assert fold.ended
    assert not fold.feed(data)
    assert not fold.close()
    return out


def said(outcome: Sequence[Chunk | Failure]) -> list[object]:
    """The choices of each chunk, and of the last one all that upstream said."""
    out: list[object] = []
    for event in outcome:
        assert isinstance(event, Chunk)
        assert event.final is (event is outcome[-1])
        data = dict(event.data)
        fields = data.pop("extra_fields")
        assert isinstance(fields, Mapping)
        assert fields["chunk_index"] == len(out)
        for name in ("id", "object", "created", "model", "system_fingerprint"):
            data.pop(name)
        notes = {"notes": fields["translation_notes"]} if "translation_notes" in fields else {}
        out.append(data["choices"] if len(data) == 1 and not notes else {**data, **notes})
    return out


def entry(
    delta: Mapping[str, object], index: int = 0, reason: object = None, **more: object
) -> dict[str, object]:
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None, **more}


OPENER = frame({"delta": {"role": "assistant", "content": ""}})
USAGE = {"prompt_tokens": 2, "total_tokens": 3, "completion_tokens": 1}
USAGE_FRAME = frame(usage=USAGE)


def test_a_stream_of_vllm_whole() -> None:
    data = sse(
        frame({"delta": {"role": "assistant", "content": ""}}, prompt_token_ids=None, prompt_text=None),
        frame({"delta": {"content": "Hel"}, "token_ids": None}),
        frame({"delta": {"content": "lo"}, "token_ids": None}),
        frame({"delta": {}, "finish_reason": "stop", "stop_reason": None, "token_ids": None}),
        frame(usage=USAGE, system_fingerprint="vllm-0.32.0"),
        DONE,
    )
    extra = {
        "request_type": "chat_completion_stream",
        "provider": "vllm",
        "routing_info": {"provider": "vllm", "model": "m"},
        "original_model_requested": "m",
        "resolved_model_used": "m",
    }
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "system_fingerprint": "",
    }
    first = data.index(b"\n\n") + 2
    fold = chat.fold(request(), HEAD, CALL)
    assert [*fold.feed(data[:first], 10), *fold.feed(data[first:], 15), *fold.close(25)] == [
        Chunk(
            {
                **head,
                "choices": [entry({"role": "assistant", "content": ""})],
                "extra_fields": {**extra, "latency": 10, "chunk_index": 0},
            }
        ),
        Chunk(
            {
                **head,
                "choices": [entry({"content": "Hel"})],
                "extra_fields": {**extra, "latency": 5, "chunk_index": 1},
            }
        ),
        Chunk(
            {
                **head,
                "choices": [entry({"content": "lo"})],
                "extra_fields": {**extra, "latency": 0, "chunk_index": 2},
            }
        ),
        Chunk(
            {
                **head,
                "system_fingerprint": "vllm-0.32.0",
                "choices": [entry({}, reason="stop")],
                "usage": USAGE,
                "extra_fields": {**extra, "latency": 15, "chunk_index": 3},
            },
            final=True,
        ),
    ]


def call_delta(index: int | None = None, **members: object) -> dict[str, object]:
    function = {name: members.pop(name) for name in ("name", "arguments") if name in members}
    where = {} if index is None else {"index": index}
    return {"delta": {"tool_calls": [{**where, **members, "function": function}]}}


def begun(index: int, call_id: str, name: str, arguments: str = "") -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return entry({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})


def continued(index: int, arguments: str) -> dict[str, object]:
    return entry({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def thought(text: str) -> dict[str, object]:
    return {
        "reasoning": text,
        "reasoning_content": text,
        "reasoning_details": [{"index": 0, "type": "reasoning.text", "text": text}],
    }


FINISH = frame({"delta": {}, "finish_reason": "stop"})
FINISHED = [entry({}, reason="stop")]


@pytest.mark.parametrize(
    ("frames", "chunks"),
    [
        pytest.param(
            [frame({"delta": {"content": "d"}, "finish_reason": "length"}, usage=USAGE), DONE],
            [{"choices": [entry({"content": "d"}, reason="length")], "usage": USAGE}],
            id="content, finish and usage in one frame stay one",
        ),
        pytest.param(
            [frame({"delta": {"content": "d"}, "finish_reason": "length", "stop_reason": "3"}), USAGE_FRAME, DONE],
            [{"choices": [entry({"content": "d"}, reason="length", stop_reason="3")], "usage": USAGE}],
            id="usage joins the frame that finished",
        ),
        pytest.param(
            [FINISH, DONE],
            [FINISHED],
            id="no usage upstream, none invented",
        ),
        pytest.param(
            [frame({"delta": {"content": "a"}}, usage=USAGE), FINISH, USAGE_FRAME, DONE],
            [[entry({"content": "a"})], {"choices": FINISHED, "usage": USAGE}],
            id="usage on a chunk does not end the stream",
        ),
        pytest.param(
            [frame({"delta": {"role": "assistant", "content": ""}}), frame({"delta": {"role": None, "content": "a"}}),
             frame({"delta": {"role": "assistant", "content": ""}}), FINISH, DONE],
            [[entry({"role": "assistant", "content": ""})], [entry({"content": "a"})], FINISHED],
            id="the role once",
        ),
        pytest.param(
            [frame({"delta": {"reasoning": "a"}}), frame({"delta": {"reasoning_content": "b"}}),
             frame({"delta": {"reasoning": "c", "reasoning_content": "c"}}),
             frame({"delta": {"reasoning": "end", "content": "Start"}}),
             frame({"delta": {"reasoning": None}}), FINISH, DONE],
            [[entry(thought("a"))], [entry(thought("b"))], [entry(thought("c"))],
             [entry({"content": "Start", **thought("end")})], FINISHED],
            id="reasoning under any name, beside content, and none",
        ),
        pytest.param(
            [frame({"delta": {"refusal": "no"}}), FINISH, DONE],
            [[entry({"refusal": "no"})], FINISHED],
            id="a refusal alone",
        ),
        pytest.param(
            [frame({"delta": {"content": ""}, "logprobs": {"content": [1]}, "token_ids": [1]}),
             frame({"delta": {"content": "a"}, "logprobs": {"content": [2]}, "token_ids": [2]}),
             frame({"delta": {}, "finish_reason": "stop", "logprobs": {"content": [3]}, "token_ids": [3]}), DONE],
            [[{**entry({"content": "a"}), "logprobs": {"content": [1, 2]}, "token_ids": [1, 2]}],
             [{**entry({}, reason="stop"), "logprobs": {"content": [3]}, "token_ids": [3]}]],
            id="log probabilities and tokens of empty frames stay in order",
        ),
        pytest.param(
            [frame({"index": 0, "delta": {"content": "a"}}), frame({"index": 1, "delta": {"content": "b"}}),
             frame({"index": 0, "delta": {"content": "c"}, "finish_reason": "length"}),
             frame({"index": 1, "delta": {"content": "d"}}),
             frame({"index": 1, "delta": {}, "finish_reason": "stop"}), USAGE_FRAME, DONE],
            [[entry({"content": "a"})], [entry({"content": "b"}, 1)], [entry({"content": "c"})],
             [entry({"content": "d"}, 1)],
             {"choices": [entry({}, 0, "length"), entry({}, 1, "stop")], "usage": USAGE}],
            id="two choices finish together on the final chunk",
        ),
        pytest.param(
            [frame({"delta": {"content": "a"}}, kv_transfer_params={"k": 1}), {"choices": None, "metrics": {"m": 1}},
             FINISH, DONE],
            [{"choices": [entry({"content": "a"})], "kv_transfer_params": {"k": 1}},
             {"choices": FINISHED, "metrics": {"m": 1}}],
            id="the server's own fields stay, those of empty frames on the final chunk",
        ),
        pytest.param(
            [frame({"delta": {"content": "a"}}), DONE, frame({"delta": {"content": "late"}})],
            [[entry({"content": "a"})], [entry({})]],
            id="done without a finish reason, and something after it",
        ),
        pytest.param(
            [frame({"delta": {"content": "a"}, "finish_reason": "stop"}), frame({"delta": {"content": "b"}}), DONE],
            [[entry({"content": "a"})], [entry({"content": "b"}, reason="stop")]],
            id="content after the finish reason",
        ),
        pytest.param(
            [frame(call_delta(0, id="A", type="function", name="f")), frame(call_delta(0, arguments='{"x')),
             frame(call_delta(0, arguments='":1}')), frame(call_delta(1, id="B", type="function", name="g")),
             frame(call_delta(1, arguments="{}")), frame({"delta": {}, "finish_reason": "tool_calls"}), DONE],
            [[begun(0, "A", "f")], [continued(0, '{"x')], [continued(0, '":1}')], [begun(1, "B", "g")],
             [continued(1, "{}")], [entry({}, reason="tool_calls")]],
            id="two calls",
        ),
        pytest.param(
            [frame(call_delta(0, id="A", name="f", arguments="")), frame(call_delta(0, id="", arguments='{"x":1}')),
             frame(call_delta(0, id="B", name="f", arguments="")), frame(call_delta(0, id="", arguments='{"x":2}')),
             FINISH, DONE],
            [[begun(0, "A", "f")], [continued(0, '{"x":1}')], [begun(1, "B", "f")], [continued(1, '{"x":2}')], FINISHED],
            id="every call at place 0",
        ),
        pytest.param(
            [frame(call_delta(1, id="A")), frame(call_delta(1, name="f")), frame(call_delta(1, arguments="{}")), FINISH, DONE],
            [[begun(0, "A", "f")], [continued(0, "{}")], FINISHED],
            id="the name after the id, numbered from 1",
        ),
        pytest.param(
            [frame(call_delta(0, id="A", name="f", arguments="{")),
             frame({"delta": {"tool_calls": [{"id": None, "type": None, "index": 0, "function": {"name": None, "arguments": "}"}}]}}),
             frame({"delta": {"content": None, "tool_calls": []}}), FINISH, DONE],
            [[begun(0, "A", "f", "{")], [continued(0, "}")], FINISHED],
            id="nulls on continuations",
        ),
        pytest.param(
            [frame({"delta": {"tool_calls": [{"id": "A", "function": {"name": "f", "arguments": "{}"}}]}}),
             frame({"delta": {"tool_calls": [{"id": "B", "function": {"name": "g", "arguments": {"a": 1}}}]}}), FINISH, DONE],
            [[begun(0, "A", "f", "{}")], [begun(1, "B", "g", '{"a":1}')], FINISHED],
            id="whole calls without a place, arguments as an object",
        ),
        pytest.param(
            [frame(call_delta(0, id="A", name="f")), frame(call_delta(0, id="B", name="g")),
             frame(call_delta(0, id="A", arguments="{}")), frame(call_delta(0, id="B", arguments="[]")), FINISH, DONE],
            [[begun(0, "A", "f")], [begun(1, "B", "g")], [continued(0, "{}")], [continued(1, "[]")], FINISHED],
            id="every call at place 0, interleaved",
        ),
        pytest.param(
            [frame(call_delta(0, id="A", name="f", arguments='{"city":"Se'), ), frame({"delta": {}, "finish_reason": "length"}), DONE],
            [[begun(0, "A", "f", '{"city":"Se')], [entry({}, reason="length")]],
            id="length inside a call stays length",
        ),
        pytest.param(
            [frame({"delta": {"content": "x"}}), frame({"delta": {"tool_calls": [{"index": 0, "id": "A", "function": {"name": "f", "arguments": "}"}}]},
                                                        "finish_reason": "tool_calls"}), DONE],
            [[entry({"content": "x"})],
             [{**begun(0, "A", "f", "}"), "finish_reason": "tool_calls"}]],
            id="a call that comes with the finish reason",
        ),
    ],
)  # fmt: skip
def test_frames(frames: Sequence[object], chunks: Sequence[object]) -> None:
    assert said(events(sse(*frames))) == chunks


def test_a_named_call_of_old_servers_repeats_its_name_and_has_no_id() -> None:
    outcome = said(
        events(
            sse(
                frame(call_delta(0, name="f", arguments="{")),
                frame(call_delta(0, name="f", arguments="}")),
                FINISH,
                DONE,
            )
        )
    )
    note = {
        "param": "choices[0].tool_calls[0].id",
        "action": "defaulted",
        "detail": "the server sent none",
    }
    assert outcome == [
        [begun(0, "call_1_0_0", "f", "{")],
        [continued(0, "}")],
        {"choices": FINISHED, "notes": [note]},
    ]


def test_a_call_that_never_gets_a_name_is_told_at_the_end() -> None:
    outcome = said(events(sse(frame(call_delta(0, id="A", arguments="{}")), FINISH, DONE)))
    assert outcome == [[{**begun(0, "A", "", "{}"), "finish_reason": "stop"}]]


def test_tool_calls_without_a_call_is_stop() -> None:
    note = {
        "param": "choices[0].finish_reason",
        "action": "repaired",
        "detail": "tool_calls without a call became stop",
    }
    outcome = said(events(sse(frame({"delta": {}, "finish_reason": "tool_calls"}), DONE)))
    assert outcome == [{"choices": FINISHED, "notes": [note]}]


def test_usage_on_every_chunk_when_the_client_asked_for_it() -> None:
    first = {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0}
    frames = [frame({"delta": {"content": "a"}}, usage=first), FINISH, USAGE_FRAME, DONE]
    outcome = said(events(sse(*frames), stream_options={"continuous_usage_stats": True}))
    assert outcome == [
        {"choices": [entry({"content": "a"})], "usage": first},
        {"choices": FINISHED, "usage": USAGE},
    ]


def test_notes_of_the_request_ride_on_the_final_chunk() -> None:
    outcome = said(events(sse(frame({"delta": {"content": "a"}}), FINISH, DONE), max_tokens=3))
    note = {"param": "max_tokens", "action": "renamed", "detail": "max_completion_tokens"}
    assert outcome == [[entry({"content": "a"})], {"choices": FINISHED, "notes": [note]}]


def test_what_was_sent_and_received_comes_along_when_asked() -> None:
    call = Call("chat_completion_stream", raw_request=True, raw_response=True)
    frames = [OPENER, frame({"delta": {"content": "a"}}), FINISH, USAGE_FRAME]
    outcome = events(sse(*frames, DONE), call=call)
    raw = [event.data["extra_fields"] for event in outcome if isinstance(event, Chunk)]
    texts = [json.dumps(item) for item in frames]
    assert [fields["raw_response"] for fields in raw if isinstance(fields, Mapping)] == [
        texts[0],
        texts[1],
        f"{texts[2]}\n\n{texts[3]}",
    ]
    assert [fields.get("raw_request") for fields in raw if isinstance(fields, Mapping)] == [
        None,
        None,
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ]


def outcome_of(event: Chunk | Failure) -> object:
    """A failure as (status, error field), a final chunk as its finish reasons."""
    if isinstance(event, Failure):
        assert event.error.get("extra_fields", {})["request_type"] == "chat_completion_stream"
        return event.error.get("status_code"), event.error["error"]
    assert event.final
    choices = event.data["choices"]
    assert isinstance(choices, list)
    return [choice["finish_reason"] for choice in choices]


CUT_OFF = (502, {"message": TRUNCATED, "type": "provider_connection_failed", "code": "stream_truncated"})
IDLE = Cut("timeout", "idle: no data for 300 s")
TIMED_OUT = (
    504,
    {"message": "request timed out: idle: no data for 300 s", "type": "request_timed_out"},
)
LEFT = Cut("cancelled", "the client left")
CANCELLED = (499, {"message": "request cancelled: the client left", "type": "request_cancelled"})
RESET = Cut("read", "connection reset")
A = frame({"delta": {"content": "a"}})
ENGINE_DEAD = {
    "error": {"message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500}
}


@pytest.mark.parametrize(
    ("data", "cut", "count", "last"),
    [
        pytest.param(b"", None, 1, CUT_OFF, id="nothing"),
        pytest.param(sse(DONE), None, 1, (502, {"message": "provider ended the stream without sending any event", "code": "empty_stream"}), id="done alone"),
        pytest.param(sse(A), None, 2, CUT_OFF, id="the end in the middle"),
        pytest.param(sse(A)[:-2], None, 2, CUT_OFF, id="an unended event that is whole is used"),
        pytest.param(sse(A) + b'data: {"choi', None, 2, CUT_OFF, id="an event that broke off is not"),
        pytest.param(sse(A), RESET, 2, (502, {**CUT_OFF[1], "message": f"{TRUNCATED}: connection reset"}), id="a reset in the middle"),
        pytest.param(sse(A), IDLE, 2, TIMED_OUT, id="silence in the middle"),
        pytest.param(sse(A), LEFT, 2, CANCELLED, id="the caller left"),
        pytest.param(sse(A, FINISH), None, 2, ["stop"], id="the end after the finish reason"),
        pytest.param(sse(A, FINISH), RESET, 2, ["stop"], id="a reset after the finish reason"),
        pytest.param(sse(A, FINISH), IDLE, 2, ["stop"], id="silence after the finish reason"),
        pytest.param(sse(A, FINISH), LEFT, 2, CANCELLED, id="the caller left after the finish reason"),
        pytest.param(sse(A, FINISH) + b": x\n\n: x\n\n: x\n\n", IDLE, 2, ["stop"], id="two comments after the finish reason"),
        pytest.param(sse(A) + b": x\n\n: x\n\n", IDLE, 2, TIMED_OUT, id="comments before it"),
        pytest.param(sse(A, FINISH) + b'data: {"usage', None, 2, ["stop"], id="usage that broke off"),
        pytest.param(sse(A, ENGINE_DEAD, DONE), None, 2, (500, {"message": "EngineCore died", "type": "InternalServerError", "code": "500"}), id="an error frame"),
        pytest.param(sse({"error": {"object": "error", "message": "", "type": "BadRequestError", "param": None, "code": 400}}, DONE), None, 1,
                     (400, {"message": "provider reported an error without a message", "type": "BadRequestError", "code": "400", "error": '{"error":{"object":"error","message":"","type":"BadRequestError","param":null,"code":400}}'}), id="an error frame first, without a message"),
        pytest.param(sse({"error": "boom"}), None, 1, (500, {"message": "boom"}), id="an error as text"),
        pytest.param(sse({"object": "error", "message": "flat", "code": 503}), None, 1, (503, {"message": "flat", "code": "503"}), id="a flat error"),
        pytest.param(sse({"detail": "Not Found"}), None, 1, (500, {"message": "Not Found"}), id="a detail"),
        pytest.param(b'{"error":\n{"message":"bare","code":429}}\n', None, 1, (429, {"message": "bare", "code": "429"}), id="a bare JSON error"),
        pytest.param(sse(A, "oops"), None, 2, (None, {"message": "failed to unmarshal response from provider API", "error": "not a JSON object: oops"}), id="an event that is not JSON"),
        pytest.param(sse(A, "[1]"), None, 2, (None, {"message": "failed to unmarshal response from provider API", "error": "not a JSON object: [1]"}), id="an event that is no object"),
        pytest.param(sse(A) + b"data: [DONE] \n\n", None, 2, [None], id="done with a blank"),
        pytest.param(sse(A) + b"data: [DONE]", None, 2, [None], id="done without a line end"),
    ],
)  # fmt: skip
def test_ends(data: bytes, cut: Cut | None, count: int, last: object) -> None:
    outcome = events(data, cut=cut)
    assert len(outcome) == count
    assert outcome_of(outcome[-1]) == last


def test_two_choices_asked_for_must_both_finish() -> None:
    one = sse(frame({"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}))
    assert outcome_of(events(one, n=2)[-1]) == CUT_OFF


def test_an_event_over_the_limit() -> None:
    fold = chat.fold(request(), HEAD, CALL)
    outcome = [event for _ in range(20) for event in fold.feed(b"x" * 1024 * 1024)]
    assert [outcome_of(event) for event in outcome] == [
        (502, {"message": "provider sent an event that is larger than the limit", "code": "event_too_large"})
    ]


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("head", "data", "last"),
    [
        pytest.param(Reply(404, JSON), b'{"error":{"message":"no model","type":"NotFoundError","param":"model","code":404}}',
                     (404, {"message": "no model", "type": "NotFoundError", "code": "404", "param": "model"}), id="an error status"),
        pytest.param(Reply(429, {"content-type": "text/event-stream"}), sse({"error": {"message": "slow down"}}),
                     (429, {"message": 'provider API error: data: {"error": {"message": "slow down"}}'}), id="an error status as events"),
        pytest.param(Reply(200, JSON), b'{"error":{"message":"dead","type":"InternalServerError","param":null,"code":500}}',
                     (500, {"message": "dead", "type": "InternalServerError", "code": "500"}), id="200 that holds an error"),
        pytest.param(Reply(200, JSON), b'{"object":"error","message":"x","type":"BadRequestError","param":null,"code":400}',
                     (400, {"message": "x", "type": "BadRequestError", "code": "400"}), id="200 that holds a flat error"),
        pytest.param(Reply(200, JSON), b'{"choices":[]}',
                     (502, {"message": 'provider returned non-SSE response for streaming request (content-type "application/json"): {"choices":[]}'}), id="200 without events"),
        pytest.param(Reply(200, {}), b"", (502, {"message": 'provider returned an empty body for streaming request (content-type "")'}), id="200 without anything"),
        pytest.param(Reply(200, {"content-type": "text/plain"}), b"hello", (502, {"message": 'provider returned non-SSE response for streaming request (content-type "text/plain"): hello'}), id="200 with text"),
        pytest.param(Reply(0, {}, b"", 3, Cut("connect", "connection refused")), b"",
                     (502, {"message": "network error occurred while connecting to provider API (DNS lookup, connection refused, etc.): connection refused", "type": "provider_connection_failed"}), id="no connection"),
        pytest.param(Reply(200, {"content-type": "text/plain"}), b" \n" + sse(A, FINISH, DONE), ["stop"], id="events under another name"),
        pytest.param(Reply(200, {}), b"DATA:", (502, {"message": 'provider returned non-SSE response for streaming request (content-type ""): DATA:'}), id="a field that is none"),
    ],
)  # fmt: skip
def test_heads(head: Reply, data: bytes, last: object) -> None:
    for size in (1, 5, 10_000):
        fold = chat.fold(request(), head, CALL)
        outcome = [e for at in range(0, len(data), size) for e in fold.feed(data[at : at + size])]
        outcome += fold.close(3, head.cut)
        assert outcome_of(outcome[-1]) == last
