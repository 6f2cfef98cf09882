"""What type checkers make of the public interface; mypy and pyright both read this file."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from typing_extensions import assert_type

from translate import OPERATIONS, Call, Chunk, Document, Failure, Plan, chat, converse
from transports import AsyncReplayTransport, Recording, ReplayTransport, fold, fold_async, run, run_async

REQUEST: Document = {"model": "m", "input": [{"role": "user", "content": "hi"}]}
PLAIN = Recording(
    "chat_completion/x",
    "POST",
    "/v1/chat/completions",
    b'{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    body=b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}',
)
STREAMED = Recording(
    "chat_completion_stream/x",
    "POST",
    "/v1/chat/completions",
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],'
    b'"stream":true,"stream_options":{"include_usage":true}}',
    headers={"content-type": "text/event-stream"},
    body=b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n',
)


def test_a_blocking_program() -> None:
    transport = ReplayTransport([PLAIN, STREAMED])
    outcome = run(transport, converse(OPERATIONS["chat_completion"], REQUEST, Call("chat_completion")))
    assert_type(outcome, Mapping[str, object] | Failure)
    assert not isinstance(outcome, Failure)

    call = Call("chat_completion_stream")
    plan = chat.plan(REQUEST, call)
    assert_type(plan, Plan | Failure)
    assert isinstance(plan, Plan)
    with transport.stream(plan) as stream:
        events = fold(stream.pieces, chat.fold(REQUEST, stream.head, call))
        assert_type(events, Iterator[Chunk | Failure])
        assert [type(event) for event in events] == [Chunk]


def test_an_asynchronous_program() -> None:
    async def program() -> None:
        transport = AsyncReplayTransport([PLAIN, STREAMED])
        conversation = converse(OPERATIONS["chat_completion"], REQUEST, Call("chat_completion"))
        outcome = await run_async(transport, conversation)
        assert_type(outcome, Mapping[str, object] | Failure)
        assert not isinstance(outcome, Failure)

        call = Call("chat_completion_stream")
        plan = chat.plan(REQUEST, call)
        assert isinstance(plan, Plan)
        async with transport.stream(plan) as stream:
            events = fold_async(stream.pieces, chat.fold(REQUEST, stream.head, call))
            assert_type(events, AsyncIterator[Chunk | Failure])
            assert [type(event) async for event in events] == [Chunk]

    asyncio.run(program())
