"""Text completions: what is sent, what becomes of a whole answer and of a stream."""

import json
from collections.abc import Mapping, Sequence

import pytest

from translate import Call, Chunk, Document, Failure, completions
from transports.base import Cut, Reply

PLAIN = Call("text_completion", routing_info={"key": "gpu-a"})
STREAM = Call("text_completion_stream", routing_info={"key": "gpu-a"})
EVENTS = {"content-type": "text/event-stream"}


def sent(flat: Mapping[str, object], call: Call = PLAIN) -> object:
    request = completions.from_flat({"model": "vllm/org/m", **flat})
    assert not isinstance(request, Failure)
    plan = completions.plan(request, call)
    if isinstance(plan, Failure):
        return plan.error["error"]
    assert plan.body is not None
    assert plan[:2] == ("POST", "/v1/completions")
    return json.loads(plan.body.data)


@pytest.mark.parametrize(
    "prompt",
    ["Hello", ["Hello", "Bye"], [1, 2, 3], [[1, 2], [3]], [""]],
    ids=json.dumps,
)
def test_a_prompt_is_sent_as_it_is(prompt: object) -> None:
    assert sent({"prompt": prompt}) == {"model": "org/m", "prompt": prompt}


def test_parameters_keep_their_names_and_their_order() -> None:
    flat = {
        "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "stop": "x", "suffix": "s", "best_of": 2, "echo": True,
        "logprobs": 3, "n": 2, "user": "u" * 100, "top_k": 5, "min_tokens": 1, "seed": 9, "logit_bias": {"5": 1},
    }  # fmt: skip
    body = sent({"prompt": "Hi", **flat})
    assert body == {"model": "org/m", "prompt": "Hi", **flat}
    assert isinstance(body, dict)
    assert list(body) == ["model", "prompt", *flat]


def test_a_stream_asks_for_usage() -> None:
    assert sent(
        {"prompt": "Hi", "stream": True, "stream_options": {"continuous_usage_stats": True}}, STREAM
    ) == {
        "model": "org/m",
        "prompt": "Hi",
        "stream": True,
        "stream_options": {"continuous_usage_stats": True, "include_usage": True},
    }


def test_stream_options_without_a_stream_are_not_sent() -> None:
    assert sent({"prompt": "Hi", "stream_options": {"include_usage": True}}) == {
        "model": "org/m",
        "prompt": "Hi",
    }


def test_guided_decoding_in_its_old_and_new_spelling() -> None:
    flat = {"prompt": "Hi", "guided_choice": ["a", "b"]}
    assert sent(flat) == {"model": "org/m", "prompt": "Hi", "structured_outputs": {"choice": ["a", "b"]}}
    assert sent(flat, Call("text_completion", structured_outputs="legacy")) == {"model": "org/m", **flat}


def test_embedded_prompts_need_no_other() -> None:
    assert sent({"prompt_embeds": "AAAA"}) == {"model": "org/m", "prompt_embeds": "AAAA"}


@pytest.mark.parametrize("flat", [{}, {"prompt": None}, {"prompt": ""}, {"prompt": []}])
def test_a_prompt_is_required(flat: Mapping[str, object]) -> None:
    assert sent(flat) == {
        "message": "prompt is required for text completion",
        "type": "invalid_request_error",
        "param": "prompt",
    }


def test_a_prompt_that_is_none() -> None:
    assert sent({"prompt": 5}) == {
        "message": "prompt must be text or an array",
        "type": "invalid_request_error",
        "param": "prompt",
    }


REQUEST: Document = {"provider": "vllm", "model": "org/m", "input": "Hi"}
EXTRA = {
    "request_type": "text_completion",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "org/m", "key": "gpu-a"},
    "original_model_requested": "org/m",
    "resolved_model_used": "org/m",
    "latency": 7,
    "chunk_index": 0,
}
LOGPROBS = {
    "text_offset": [0, 2],
    "token_logprobs": [None, -9999.0],
    "tokens": ["Hi", "!"],
    "top_logprobs": [None, {"!": -9999.0}],
}


def parsed(body: bytes, request: Document = REQUEST, call: Call = PLAIN) -> Document | Failure:
    return completions.parse(request, Reply(200, {"content-type": "application/json"}, body, 7), 7, call)


def test_a_whole_answer() -> None:
    upstream = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "org/m",
        "choices": [
            {
                "index": 0,
                "text": "Hi!",
                "logprobs": LOGPROBS,
                "finish_reason": "stop",
                "stop_reason": "x",
                "prompt_logprobs": None,
                "prompt_token_ids": [1],
            },
            {"index": 1, "text": "", "logprobs": None, "finish_reason": "length"},
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 3, "completion_tokens": 2},
        "kv_transfer_params": None,
    }
    assert parsed(json.dumps(upstream).encode()) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "org/m",
        "choices": [
            {
                "index": 0,
                "text": "Hi!",
                "finish_reason": "stop",
                "logprobs": LOGPROBS,
                "stop_reason": "x",
                "prompt_token_ids": [1],
            },
            {"index": 1, "text": "", "finish_reason": "length", "logprobs": None},
        ],
        "system_fingerprint": "",
        "usage": {"prompt_tokens": 1, "total_tokens": 3, "completion_tokens": 2},
        "extra_fields": EXTRA,
    }


def test_the_ledger_and_the_raw_forms() -> None:
    request = {**REQUEST, "params": {"stream_options": {}}}
    answer = parsed(
        b'{"choices":[{"text":"x"}]}', request, Call("text_completion", raw_request=True, raw_response=True)
    )
    assert not isinstance(answer, Failure)
    fields = answer["extra_fields"]
    assert isinstance(fields, dict)
    assert fields["translation_notes"] == [
        {"param": "stream_options", "action": "dropped", "detail": "the answer is not streamed"}
    ]
    assert fields["raw_request"] == {"model": "org/m", "prompt": "Hi"}
    assert fields["raw_response"] == {"choices": [{"text": "x"}]}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"error":{"message":"no","code":503}}', 503, "no"),
        (b'{"object":"error","message":"no","code":400}', 400, "no"),
        (b'{"choices":[]}', None, "failed to unmarshal response from provider API"),
        (b"", None, "empty response received from provider"),
    ],
)
def test_answers_that_are_errors(body: bytes, status: int | None, message: str) -> None:
    outcome = parsed(body)
    assert isinstance(outcome, Failure)
    assert (outcome.error.get("status_code"), outcome.error["error"]["message"]) == (status, message)


def frame(*entries: object, **fields: object) -> bytes:
    document = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "up/m",
        "choices": list(entries),
    }
    return b"data: " + json.dumps({**document, **fields}).encode() + b"\n\n"


def entry(text: object, index: int = 0, **fields: object) -> dict[str, object]:
    return {
        "index": index,
        "text": text,
        "logprobs": None,
        "finish_reason": None,
        "stop_reason": None,
        **fields,
    }


def streamed(
    frames: bytes, request: Document = REQUEST, cut: Cut | None = None, call: Call = STREAM
) -> Sequence[Chunk | Failure]:
    fold = completions.fold(request, Reply(200, EVENTS), call)
    return [*fold.feed(frames, 3), *fold.close(9, cut)]


def chunk(entries: object, index: int, latency: int, final: bool = False, **fields: object) -> Chunk:
    head = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "up/m",
        "system_fingerprint": "",
    }
    extra = {**EXTRA, "request_type": "text_completion_stream", "latency": latency, "chunk_index": index}
    return Chunk({**head, "choices": entries, **fields, "extra_fields": extra}, final=final)


def told(text: str, index: int = 0, **fields: object) -> dict[str, object]:
    return {"index": index, "text": text, "finish_reason": None, "logprobs": None, **fields}


def test_a_stream_of_several_choices() -> None:
    usage = {"prompt_tokens": 1, "total_tokens": 4, "completion_tokens": 3}
    frames = (
        frame(entry("Hel", prompt_token_ids=[7]))
        + frame(entry("", 1, finish_reason="stop", stop_reason="x"))
        + frame(entry("lo", logprobs=LOGPROBS))
        + frame(entry("!", finish_reason="length", token_ids=[9]))
        + frame(usage=usage)
        + b"data: [DONE]\n\n"
    )
    assert streamed(frames, {**REQUEST, "params": {"n": 2}}) == [
        chunk([told("Hel", prompt_token_ids=[7])], 0, 3),
        chunk([told("", 1)], 1, 0),
        chunk([told("lo", logprobs=LOGPROBS)], 2, 0),
        chunk([told("!", token_ids=[9])], 3, 0),
        chunk(
            [
                {"index": 0, "text": "", "finish_reason": "length", "logprobs": None},
                {"index": 1, "text": "", "finish_reason": "stop", "logprobs": None, "stop_reason": "x"},
            ],
            4,
            3,
            final=True,
            usage=usage,
        ),
    ]


@pytest.mark.parametrize(
    ("prompt", "n", "asked"),
    [("a", 1, 1), (["a", "b"], 1, 2), (["a", "b"], 2, 4), ([1, 2], 1, 1), ([[1], [2]], 3, 6)],
)
def test_a_stream_has_ended_when_every_choice_of_every_prompt_has(prompt: object, n: int, asked: int) -> None:
    request = {**REQUEST, "input": prompt, "params": {"n": n}}
    ends = [frame(entry("x", index, finish_reason="stop")) for index in range(asked)]
    assert isinstance(streamed(b"".join(ends[:-1]), request)[-1], Failure)
    last = streamed(b"".join(ends), request)[-1]
    assert isinstance(last, Chunk)
    assert last.final


def test_a_choice_that_finishes_twice_has_finished_once() -> None:
    twice = frame(entry("a", finish_reason="stop")) + frame(entry("", finish_reason="length"))
    last = streamed(twice)[-1]
    assert last == chunk(
        [{"index": 0, "text": "", "finish_reason": "length", "logprobs": None}], 2, 9, final=True
    )
    assert isinstance(streamed(frame(entry("b", 1)) + twice, {**REQUEST, "params": {"n": 2}})[-1], Failure)


def test_a_choice_that_nobody_asked_for_must_finish_too() -> None:
    frames = frame(entry("a", finish_reason="stop")) + frame(entry("b", 1))
    assert isinstance(streamed(frames)[-1], Failure)
    assert isinstance(streamed(frames + frame(entry("", 1, finish_reason="stop")))[-1], Chunk)


def test_choices_without_end_are_not_kept() -> None:
    entries = [entry("a", index) for index in range(16_385)]
    first, last = streamed(frame(*entries) + frame(entry("b", 16_385)) + b"data: [DONE]\n\n")
    assert isinstance(first, Chunk)
    assert isinstance(last, Chunk)
    for event in (first, last):
        choices = event.data["choices"]
        assert isinstance(choices, list)
        assert [choice["index"] for choice in choices] == list(range(16_384))
    fields = last.data["extra_fields"]
    assert isinstance(fields, dict)
    assert fields["translation_notes"] == [
        {"param": "choices", "action": "dropped", "detail": "more than 16384 choices"}
    ]


def test_a_frame_without_text_still_says_what_it_says() -> None:
    frames = (
        frame({"index": 0, "token_ids": [1]}) + frame({"index": 0}) + frame(entry("a", finish_reason="stop"))
    )
    assert streamed(frames) == [
        chunk([told("", token_ids=[1])], 0, 3),
        chunk([told("a")], 1, 0),
        chunk([{"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}], 2, 9, final=True),
    ]


def test_an_error_among_the_frames_ends_the_stream() -> None:
    events = streamed(
        frame(entry("a")) + b'data: {"error":{"message":"dead","code":500}}\n\ndata: [DONE]\n\n'
    )
    assert events[0] == chunk([told("a")], 0, 3)
    assert events[1:] == [
        Failure(
            {
                "is_bifrost_error": False,
                "error": {"message": "dead", "code": "500"},
                "status_code": 500,
                "extra_fields": {
                    "routing_info": EXTRA["routing_info"],
                    "provider": "vllm",
                    "original_model_requested": "org/m",
                    "resolved_model_used": "org/m",
                    "request_type": "text_completion_stream",
                },
            }
        )
    ]


def test_a_stream_that_breaks_off_is_an_error() -> None:
    (_, last) = streamed(frame(entry("a")), cut=Cut("read", "connection reset"))
    assert isinstance(last, Failure)
    assert last.error["error"].get("code") == "stream_truncated"
