"""What reading costs: twice the input, twice the work, and no state that grows with it.

Work is counted, not timed: every call of a Python function is one, and a method
of bytes or text that looks at all of its object (``find``, ``split``, ``lower``,
...) is as much as that object is long. Comparisons of notes count as calls.
"""

import asyncio
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from unittest.mock import Mock

import pytest

from routing import forms
from translate import (
    chat,
    completions,
    documents,
    embeddings,
    multipart,
    ranking,
    rerank,
    responses,
    sse,
    transcriptions,
)
from translate.fold import Fold
from translate.plan import Call, Note
from transports.base import Reply, Timeouts
from transports.http_connection import Connection, Origin

REQUEST: Mapping[str, object] = {
    "provider": "vllm",
    "model": "m",
    "input": [{"role": "user", "content": "hi"}],
}
STREAMED = Call("chat_completion_stream", raw_response=True)
TRANSCRIBED = Call("transcription_stream", raw_response=True)
EVENTS = Reply(200, {"content-type": "text/event-stream"})
STREAMED_RESPONSE = Call("responses_stream", raw_response=True)
UNKNOWN = Reply(200, {})
REFUSED = Reply(500, {})

_LOOKS_AT_ALL = {
    "count", "decode", "encode", "find", "index", "isspace", "join", "lower", "lstrip", "removeprefix", "replace",
    "rfind", "rstrip", "split", "splitlines", "strip",
}  # fmt: skip


def work(task: Callable[[], object]) -> int:
    """How much ``task`` does."""
    total = 0

    def watch(frame: FrameType, event: str, called: object) -> None:
        nonlocal total
        if event == "call":
            total += 1
        elif event == "c_call":
            held = getattr(called, "__self__", None)
            looks = getattr(called, "__name__", "") in _LOOKS_AT_ALL
            total += 1 + (len(held) if looks and isinstance(held, bytes | bytearray | str) else 0)

    sys.setprofile(watch)
    try:
        task()
    finally:
        sys.setprofile(None)
    return total


def fed(into: Fold | sse.Reader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        into.feed(piece)
    into.close()


def in_pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def frame(*entries: object, **more: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"id": "i", "choices": entries, **more}).encode()


def fragment(**call: object) -> bytes:
    return frame({"index": 0, "delta": {"tool_calls": [call]}})


def one_event(n: int) -> bytes:
    return frame({"index": 0, "delta": {"content": "a" * n}})


def event_of_many_lines(n: int) -> bytes:
    return (
        b"".join(b"data: %b\n" % line for line in json.dumps([1] * n, indent=0).encode().split(b"\n")) + b"\n"
    )


def bare_json(n: int) -> bytes:
    return json.dumps({"a": [{"b": "x"}] * (n // 16)}, indent=1).encode()


def bare_json_that_never_ends(n: int) -> bytes:
    return b'{"a": "' + b"x" * n


def comments(n: int) -> bytes:
    return b": keep-alive\n\n" * (n // 14)


def comments_of_one_byte(n: int) -> bytes:
    return b":\n" * (n // 8)


def line_ends(n: int) -> bytes:
    return b"\r\n\n\r" * (n // 16)


def spaces(n: int) -> bytes:
    return b" " * n


def fragments_of_a_call_without_a_name(n: int) -> bytes:
    return fragment(index=0, id="a", function={"arguments": "x" * 300}) * (n // 400)


def fragments_of_a_call(n: int) -> bytes:
    start = fragment(index=0, id="a", function={"name": "f"})
    return start + fragment(index=0, function={"arguments": "x"}) * (n // 400)


def calls_without_ids(n: int) -> bytes:
    return b"".join(fragment(index=i, function={"name": "f", "arguments": "{}"}) for i in range(n // 400))


def calls_that_are_all_number_0(n: int) -> bytes:
    return b"".join(fragment(index=0, id=f"c{i}", function={"arguments": "{}"}) for i in range(n // 400))


def calls_without_numbers(n: int) -> bytes:
    return b"".join(fragment(id=f"c{i}", function={"name": "f"}) for i in range(n // 400))


def many_choices(n: int) -> bytes:
    return b"".join(frame({"index": i, "delta": {"content": "x"}}) for i in range(n // 400))


def many_choices_in_one_frame(n: int) -> bytes:
    return frame(*({"index": i, "delta": {}, "finish_reason": "tool_calls"} for i in range(n // 400)))


def silent_frames_with_logprobs(n: int) -> bytes:
    return frame({"index": 0, "delta": {}, "logprobs": {"content": [{"token": "x"}]}}) * (n // 400)


def frames_after_the_finish(n: int) -> bytes:
    finish = frame({"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"})
    return finish * (n // 400)


def finishes_with_new_fields(n: int) -> bytes:
    return b"".join(
        frame({"index": 0, "delta": {}, "finish_reason": "stop", f"field_{i}": i}) for i in range(n // 400)
    )


def silent_frames_with_new_fields(n: int) -> bytes:
    return b"".join(
        frame({"index": 0, "delta": {}, f"field_{i}": i}, **{f"top_{i}": i}) for i in range(n // 400)
    )


def fragments_with_new_fields(n: int) -> bytes:
    return b"".join(
        fragment(index=0, **{f"field_{i}": i, "function": {"arguments": "x" * 50}}) for i in range(n // 400)
    )


def new_fields_of_a_silent_call(n: int) -> bytes:
    return b"".join(fragment(index=0, id="a", **{f"field_{i}": i}) for i in range(n // 400))


def ids_without_names(n: int) -> bytes:
    return b"".join(fragment(index=0, id=f"c{i}") for i in range(n // 400))


BODIES = [
    one_event, event_of_many_lines, bare_json, bare_json_that_never_ends, comments, comments_of_one_byte, line_ends,
    fragments_of_a_call_without_a_name, fragments_of_a_call, calls_without_ids, calls_that_are_all_number_0,
    calls_without_numbers, many_choices, many_choices_in_one_frame, silent_frames_with_logprobs,
    frames_after_the_finish, finishes_with_new_fields, silent_frames_with_new_fields, fragments_with_new_fields,
    new_fields_of_a_silent_call, ids_without_names,
]  # fmt: skip


def texts(n: int) -> bytes:
    return frame({"index": 0, "text": "x", "logprobs": None}) * (n // 400)


def texts_of_many_choices(n: int) -> bytes:
    return b"".join(frame({"index": i, "text": "x", "finish_reason": "stop"}) for i in range(n // 400))


def texts_of_many_choices_in_one_frame(n: int) -> bytes:
    return frame(
        *({"index": i, "text": "x", "stop_reason": 1, "finish_reason": "stop"} for i in range(n // 400))
    )


def texts_with_logprobs(n: int) -> bytes:
    return frame({"index": 0, "text": "x", "logprobs": {"tokens": ["x"], "token_logprobs": [None]}}) * (
        n // 400
    )


def texts_after_the_finish(n: int) -> bytes:
    return frame({"index": 0, "text": "x", "finish_reason": "stop", "token_ids": [1]}) * (n // 400)


def last_texts_with_new_fields(n: int) -> bytes:
    return b"".join(
        frame({"index": 0, "text": "x", "finish_reason": "stop", f"field_{i}": i}) for i in range(n // 400)
    )


def silent_frames_with_new_top_fields(n: int) -> bytes:
    return b"".join(frame({"index": 0, "text": None}, **{f"top_{i}": i}) for i in range(n // 400))


TEXTS = [
    texts, texts_of_many_choices, texts_of_many_choices_in_one_frame, texts_with_logprobs, texts_after_the_finish,
    last_texts_with_new_fields, silent_frames_with_new_top_fields,
]  # fmt: skip
SIZE = 200_000
ALMOST_TWICE = 2.2


@pytest.fixture
def counted_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison of notes is a call, so that searching a list of them shows."""

    def equal(note: Note, other: object) -> bool:
        return tuple.__eq__(note, other) is True

    monkeypatch.setattr(Note, "__eq__", equal)


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize("head", [EVENTS, UNKNOWN, REFUSED], ids=["events", "no content type", "refused"])
@pytest.mark.parametrize("body", [*BODIES, spaces], ids=lambda body: body.__name__)
def test_twice_the_stream_is_at_most_twice_the_work(head: Reply, body: Callable[[int], bytes]) -> None:
    def folded(size: int) -> int:
        pieces = in_pieces(body(size), 64)
        return work(lambda: fed(chat.fold(REQUEST, head, STREAMED), pieces))

    assert folded(2 * SIZE) <= ALMOST_TWICE * folded(SIZE)


def calls_told_by_turns(n: int) -> bytes:
    begun = b"".join(fragment(index=i, id=f"c{i}", function={"name": "f", "arguments": "{"}) for i in (0, 1))
    turns = b"".join(fragment(index=i, function={"arguments": "x"}) for i in (0, 1))
    return begun + turns * (n // 400)


def thoughts_and_texts_by_turns(n: int) -> bytes:
    turns = [{"reasoning": "a"}, {"content": "b"}, {"refusal": "c"}]
    return b"".join(frame({"index": 0, "delta": delta}) for delta in turns) * (n // 400)


def tokens(n: int) -> bytes:
    token = {"token": "x", "logprob": -1, "bytes": [120], "top_logprobs": []}
    spoken = frame(
        {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [token]}, "token_ids": [1]}
    )
    return spoken * (n // 400)


def many_tokens_in_one_frame(n: int) -> bytes:
    token = {"token": "a", "logprob": -1}
    entry = {
        "index": 0,
        "delta": {"reasoning": "b", "content": "ab"},
        "logprobs": {"content": [token] * (n // 40)},
    }
    return frame(entry)


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize(
    "body",
    [*BODIES, calls_told_by_turns, thoughts_and_texts_by_turns, tokens, many_tokens_in_one_frame],
    ids=lambda body: body.__name__,
)
def test_twice_the_streamed_response_is_at_most_twice_the_work(body: Callable[[int], bytes]) -> None:
    def folded(size: int) -> int:
        pieces = in_pieces(body(size) + b"data: [DONE]\n\n", 64)
        return work(lambda: fed(responses.fold(REQUEST, EVENTS, STREAMED_RESPONSE), pieces))

    assert folded(2 * SIZE) <= ALMOST_TWICE * folded(SIZE)


ITEMS: Mapping[str, list[object]] = {
    "thoughts": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}],
    "texts": [{"role": "assistant", "content": "x"}],
    "calls": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}],
    "turns": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}],
}


@pytest.mark.parametrize("items", ITEMS.values(), ids=list(ITEMS))
def test_twice_the_input_is_at_most_twice_the_work(items: list[object]) -> None:
    def planned(count: int) -> int:
        request = {"model": "m", "input": items * count}
        return work(lambda: responses.plan(request, STREAMED_RESPONSE))

    assert planned(4_000) <= ALMOST_TWICE * planned(2_000)


def test_twice_the_tools_are_at_most_twice_the_work() -> None:
    def planned(count: int) -> int:
        tools = [{"type": "function", "name": f"f{i}"} for i in range(count)]
        params = {"tools": tools, "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": tools}}
        request = {"model": "m", "input": "hi", "params": params}
        return work(lambda: responses.plan(request, STREAMED_RESPONSE))

    assert planned(4_000) <= ALMOST_TWICE * planned(2_000)


TEXT: Mapping[str, object] = {"provider": "vllm", "model": "m", "input": ["hi", [1, 2]], "params": {"n": 2}}
STREAMED_TEXT = Call("text_completion_stream", raw_response=True)


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize("body", TEXTS, ids=lambda body: body.__name__)
def test_twice_the_streamed_text_is_at_most_twice_the_work(body: Callable[[int], bytes]) -> None:
    def folded(size: int) -> int:
        pieces = in_pieces(body(size), 64)
        return work(lambda: fed(completions.fold(TEXT, EVENTS, STREAMED_TEXT), pieces))

    assert folded(SIZE) <= ALMOST_TWICE * folded(SIZE // 2)


@pytest.mark.parametrize("body", [one_event, event_of_many_lines, bare_json, comments, spaces])
def test_the_work_on_a_byte_is_bounded_however_small_the_pieces(body: Callable[[int], bytes]) -> None:
    data = body(50_000)
    letters = in_pieces(data, 1)
    assert work(lambda: fed(sse.Reader(), [data])) <= 10 * len(data)
    assert work(lambda: fed(sse.Reader(), letters)) <= 25 * len(data)


@pytest.mark.parametrize("value", ["numbers", "texts", "keys", "depth", "surrogates"])
def test_twice_the_json_is_at_most_twice_the_work(value: str) -> None:
    def made(n: int) -> object:
        deep: object = None
        for _ in range(n // 300):
            deep = [deep]
        return {
            "numbers": ["\ud800", *range(n)],
            "texts": ["\ud800" * 10] * n,
            "keys": {f"{i}\ud800": i for i in range(n)},
            "depth": ["\ud800", deep],
            "surrogates": "\ud800" * n,
        }[value]

    first, second = made(20_000), made(40_000)
    assert work(lambda: documents.encode(second)) <= ALMOST_TWICE * work(lambda: documents.encode(first))


def state(thing: object, seen: set[int]) -> int:
    """How much is kept in ``thing``: bytes, characters and members, all the way down."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    match thing:
        case str() | bytes() | bytearray():
            return len(thing)
        case dict():
            return sum(1 + state(key, seen) + state(value, seen) for key, value in thing.items())
        case list() | tuple() | set() | frozenset():
            return sum(1 + state(item, seen) for item in thing)
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return sum(state(getattr(thing, name, None), seen) for name in names if name != "__weakref__")


@pytest.mark.parametrize(
    "body",
    [
        comments, fragments_of_a_call, frames_after_the_finish, silent_frames_with_logprobs, finishes_with_new_fields,
        silent_frames_with_new_fields, fragments_with_new_fields, fragments_of_a_call_without_a_name,
        new_fields_of_a_silent_call,
    ],
    ids=lambda body: body.__name__,
)  # fmt: skip
def test_what_a_fold_keeps_does_not_grow_with_the_stream(body: Callable[[int], bytes]) -> None:
    def kept(size: int) -> int:
        fold = chat.fold(REQUEST, EVENTS, Call("chat_completion_stream"))
        for part in in_pieces(body(size), 4096):
            fold.feed(part)
        return state(fold, set())

    assert kept(1_600_000) <= 1.1 * kept(800_000) + 5_000


@pytest.mark.parametrize(
    "body",
    [
        texts,
        texts_with_logprobs,
        texts_after_the_finish,
        last_texts_with_new_fields,
        silent_frames_with_new_top_fields,
    ],
    ids=lambda body: body.__name__,
)
def test_what_a_fold_of_text_keeps_does_not_grow_with_the_stream(body: Callable[[int], bytes]) -> None:
    def kept(size: int) -> int:
        fold = completions.fold(TEXT, EVENTS, Call("text_completion_stream"))
        for part in in_pieces(body(size), 4096):
            fold.feed(part)
        return state(fold, set())

    assert kept(800_000) <= 1.1 * kept(400_000) + 5_000


def vectors(count: int, numbers: int, as_text: bool = False) -> Reply:
    embedding: object = "AACAPwAAIMA=" * (numbers // 2) if as_text else [-0.125] * numbers
    rows = [{"index": index, "object": "embedding", "embedding": embedding} for index in range(count)]
    return Reply(200, {}, json.dumps({"data": rows, "usage": {"total_tokens": count}}).encode())


def embedded(reply: Reply, verbatim: bool, encoding: str = "float") -> int:
    asked = {"model": "m", "input": ["a"], "params": {"encoding_format": encoding}}
    call = Call("embedding", verbatim=verbatim)
    return work(lambda: documents.encode(embeddings.parse(asked, reply, 0, call)))


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize("verbatim", [False, True], ids=["lists", "verbatim"])
@pytest.mark.parametrize("as_text", [False, True], ids=["numbers", "base64"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_twice_the_vectors_are_at_most_twice_the_work(encoding: str, as_text: bool, verbatim: bool) -> None:
    for first, second in (
        (vectors(400, 4, as_text), vectors(800, 4, as_text)),
        (vectors(4, 2000, as_text), vectors(4, 4000, as_text)),
    ):
        assert embedded(second, verbatim, encoding) <= ALMOST_TWICE * embedded(first, verbatim, encoding)


def test_numbers_that_nobody_reads_cost_no_work() -> None:
    assert embedded(vectors(16, 1024), verbatim=True) == embedded(vectors(16, 2), verbatim=True) <= 1000
    assert embedded(vectors(16, 1024), verbatim=False) >= 16 * 1024
    in_base64 = [embedded(vectors(16, count, as_text=True), True, "base64") for count in (1024, 2)]
    assert in_base64[0] == in_base64[1] <= 1000


def ranked(count: int, verbatim: bool, return_documents: bool = False) -> int:
    asked = {
        "model": "m",
        "query": "q",
        "documents": [{"text": "a", "id": index} for index in range(count)],
        "params": {"return_documents": return_documents},
    }
    rows = [{"index": index, "relevance_score": index % 7 / 7} for index in range(count)]
    reply = Reply(200, {}, json.dumps({"results": rows}).encode())
    call = Call("rerank", verbatim=verbatim)
    return work(lambda: documents.encode(rerank.parse(asked, reply, 0, call)))


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize("verbatim", [False, True], ids=["lists", "verbatim"])
@pytest.mark.parametrize("return_documents", [False, True])
def test_twice_the_ranking_is_at_most_twice_the_work(verbatim: bool, return_documents: bool) -> None:
    first = ranked(1000, verbatim, return_documents)
    assert ranked(2000, verbatim, return_documents) <= ALMOST_TWICE * first


def test_texts_and_scores_that_nobody_reads_cost_no_work() -> None:
    asked = {"model": "m", "query": "q", "documents": ["a"] * 1000}
    assert work(lambda: rerank.plan(asked, Call("rerank"))) <= 200
    rows = [{"index": i, "document": {"text": "a"}, "relevance_score": i / 7} for i in range(1000)]
    body = json.dumps({"results": rows}).encode()
    assert work(lambda: ranking.read(body, 1000, None)) <= 100


@pytest.mark.parametrize(
    "value", [b"[" * 2_000_000, b'{"a":' * 500_000, b"[[]," * 500_000, b'"' + b"\\" * 2_000_001]
)
def test_what_never_ends_is_refused_at_once(value: bytes) -> None:
    reply = Reply(200, {}, b'{"data":[{"embedding":[%b' % value)
    assert embedded(reply, verbatim=True) <= 10 * len(reply.body)


def test_what_a_refused_stream_keeps_is_bounded() -> None:
    fold = chat.fold(REQUEST, REFUSED, STREAMED)
    for _ in range(40):
        fold.feed(b"x" * 100_000)
    assert state(fold, set()) <= 1_100_000


def test_an_endless_event_is_refused_as_soon_as_it_is_over_the_limit() -> None:
    fold = chat.fold(REQUEST, EVENTS, STREAMED)
    pieces, read = b"x" * 65_536, 0
    fold.feed(b"data: ")
    while not fold.ended:
        fold.feed(pieces)
        read += len(pieces)
    assert read <= sse.LIMIT + len(pieces)
    assert state(fold, set()) <= 10_000


def test_an_event_of_4_mb_in_pieces_of_64_bytes_costs_twice_what_one_of_2_mb_does() -> None:
    def folded(megabytes: int) -> int:
        pieces = in_pieces(one_event(megabytes * 1024 * 1024), 64)
        return work(lambda: fed(chat.fold(REQUEST, EVENTS, STREAMED), pieces))

    assert folded(4) <= ALMOST_TWICE * folded(2)


def heard(**choice: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"id": "i", "choices": [choice]}).encode()


def words(n: int) -> bytes:
    return heard(delta={"content": " word"}) * (n // 64)


def segments_of_silence(n: int) -> bytes:
    return heard(delta={}, finish_reason="stop") * (n // 64)


def silence_with_logprobs(n: int) -> bytes:
    return heard(delta={"content": ""}, logprobs=[{"token": "x"}]) * (n // 100)


def silence_with_new_fields(n: int) -> bytes:
    return b"".join(heard(delta={f"in_{i}": i}, **{f"beside_{i}": i}) for i in range(n // 100))


def new_fields_at_the_top(n: int) -> bytes:
    return b"".join(b'data: {"choices":[],"f%d":[1,2,3],"same":[1]}\n\n' % i for i in range(n // 50))


def whole_texts(n: int) -> bytes:
    return b"".join(b'data: {"type":"transcript.text.done","text":"%d"}\n\n' % i for i in range(n // 50))


HEARD = [
    words, segments_of_silence, silence_with_logprobs, silence_with_new_fields, new_fields_at_the_top, whole_texts,
]  # fmt: skip


@pytest.mark.usefixtures("counted_notes")
@pytest.mark.parametrize("body", HEARD, ids=lambda body: body.__name__)
def test_twice_the_speech_is_at_most_twice_the_work(body: Callable[[int], bytes]) -> None:
    def folded(size: int) -> int:
        pieces = in_pieces(body(size), 64)
        return work(lambda: fed(transcriptions.fold(REQUEST, EVENTS, TRANSCRIBED), pieces))

    assert folded(2 * SIZE) <= ALMOST_TWICE * folded(SIZE)


@pytest.mark.parametrize("body", HEARD[1:], ids=lambda body: body.__name__)
def test_what_is_kept_of_a_speech_is_its_text_alone(body: Callable[[int], bytes]) -> None:
    def kept(size: int) -> int:
        fold = transcriptions.fold(REQUEST, EVENTS, Call("transcription_stream"))
        for part in in_pieces(body(size), 4096):
            fold.feed(part)
        return state(fold, set())

    assert kept(1_600_000) <= 1.1 * kept(800_000) + 5_000


def form(n: int) -> bytes:
    fields = [("x", "-" * 500)] * (n // 2000)
    body = multipart.body(fields, multipart.File(b"\r\n--" * (n // 8), "a", "b"))
    return b"".join((body.data, *body.rest)).replace(body.content_type[-64:].encode(), b"b" * 64)


@pytest.mark.parametrize("size", [1, 64, 65_536])
def test_twice_the_form_is_at_most_twice_the_work(size: int) -> None:
    def read(n: int) -> int:
        reader, pieces = forms.Reader(b"b" * 64), in_pieces(form(n), size)

        def task() -> None:
            for piece in pieces:
                reader.feed(piece)
            assert isinstance(reader.close(), dict)

        return work(task)

    n = 4 * SIZE if size > 64 else SIZE // 4
    assert read(2 * n) <= ALMOST_TWICE * read(n)


def chunks(n: int) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (n // 6)


def body_until_the_end(n: int) -> bytes:
    return b"\r\n" + b"a" * n


def body_with_a_length(n: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % (2 * n) + b"a" * n


ANSWERS = [chunks, body_until_the_end, body_with_a_length]


@pytest.mark.parametrize("size", [1, 64, 4096])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_twice_the_answer_is_at_most_twice_the_work(answer: Callable[[int], bytes], size: int) -> None:
    """For a body that is gathered as for one that is read: either is one piece for each read."""

    def received(n: int) -> int:
        async def run() -> int:
            connection = Connection(asyncio.get_running_loop(), Origin(False, "h", 80), lambda _: None)
            connection.connection_made(Mock(is_closing=lambda: False))
            limits = Timeouts()
            asked = asyncio.create_task(connection.ask(b"", (), 0, False, limits, math.inf, 10**9))
            await asyncio.sleep(0)

            def receive() -> None:
                for piece in in_pieces(b"HTTP/1.1 200 OK\r\n" + answer(n), size):
                    connection.data_received(piece)

            total = work(receive)
            await asyncio.sleep(0)
            assert not asked.done()
            connection.connection_lost(None)
            await asked
            assert len(connection.answer.body) <= n // size + 2
            return total

        return asyncio.run(run())

    assert received(40_000) <= ALMOST_TWICE * received(20_000)
