"""The short way for frames that are alike gives the very bytes of the long way."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests import strategies as some
from tests.property.feeding import fed
from tests.property.test_chat_stream import DONE, STREAMED, request, said_by
from translate import Failure, chat, documents, responses
from translate.plan import Call, Chunk
from transports.base import Cut, Reply

VERBATIM = STREAMED._replace(verbatim=True)

TEXTS = st.one_of(
    st.sampled_from(
        ["a", " b", "content", "reasoning", "é", "\u2028", '"', "\\", "\n", "", "\x01words\x01", "i", "m"]
    ),
    st.text(st.characters(exclude_categories=[]), max_size=8),
)
NOISE: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [
        {},
        {"token_ids": None},
        {"tool_calls": []},
        {"finish_reason": "stop"},
        {"logprobs": {"content": []}},
        {"x": 1},
    ]
)
DELTA_NOISE: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [
        {},
        {},
        {"role": "assistant"},
        {"reasoning_content": None},
        {"content": "a"},
        {"x": "content"},
        {"tool_calls": []},
    ]
)
TOP_NOISE: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [
        {},
        {},
        {},
        {"usage": None},
        {"usage": {"total_tokens": 1}},
        {"model": "m"},
        {"id": "other"},
        {"content": "a"},
    ]
)


@st.composite
def _frames(draw: DrawFn) -> bytes:
    """Frames of a few kinds, over and over, with all kinds of words."""
    kinds = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["content", "reasoning", "reasoning_content"]),
                st.integers(0, 1),
                NOISE,
                DELTA_NOISE,
                TOP_NOISE,
            ),
            min_size=1,
            max_size=3,
        )
    )
    out = b""
    ascii_only = draw(st.booleans())
    for kind, text in draw(st.lists(st.tuples(st.sampled_from(kinds), TEXTS), max_size=24)):
        name, index, noise, delta_noise, top_noise = kind
        choice = {"index": index, "delta": {name: text, **delta_noise}, "finish_reason": None, **noise}
        document = {"id": "i", "object": "chat.completion.chunk", "choices": [choice], **top_noise}
        payload = json.dumps(document, ensure_ascii=ascii_only)
        out += b"data: " + payload.encode(errors="surrogatepass") + b"\n\n"
    return out


def as_bytes(events: Sequence[Chunk | Failure]) -> list[tuple[object, bool]]:
    return [
        (
            documents.encode(event.error if isinstance(event, Failure) else event.data),
            isinstance(event, Chunk) and event.final,
        )
        for event in events
    ]


@given(_frames(), st.booleans(), st.integers(1, 2))
def test_frames_that_are_alike(frames: bytes, done: bool, choices: int) -> None:
    body = frames + (DONE if done else b"")
    plain = said_by([body], asked=request(choices))
    short = said_by([body], asked=request(choices), call=VERBATIM)
    assert as_bytes(short) == as_bytes(plain)
    assert short == plain  # an encoded chunk reads like the other


ALIKE = b'data: {"id":"i","choices":[{"index":0,"delta":{"content":"%b"}}]%b}\n\n'
USED = b',"usage":{"total_tokens":1}'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(ALIKE % (b"a", b"") + ALIKE % (b"\xff", b""), id="words that are no text"),
        pytest.param(ALIKE % (b"a", b"") + ALIKE % (b"\xed\xa0\x80", b""), id="a surrogate in UTF-8"),
        pytest.param(ALIKE % (b"a", b"") + ALIKE % (b"\\ud83d", b""), id="a lone surrogate"),
        pytest.param(ALIKE % (b"a", b"") + ALIKE % (b"\x01", b""), id="a control character"),
        pytest.param(ALIKE % (b"a", b"") + ALIKE % (b'b","content":"c', b""), id="a member twice"),
        pytest.param(
            ALIKE % (b"a", USED)
            + b'data: {"choices":[],"usage":{"total_tokens":2}}\n\n'
            + ALIKE % (b"b", USED),
            id="usage that changes and changes back",
        ),
    ],
)
def test_words_that_are_not_like_the_others(body: bytes) -> None:
    body += DONE
    assert as_bytes(said_by([body], call=VERBATIM)) == as_bytes(said_by([body]))


@given(some.any_streams, some.heads, some.cuts, some.calls(streaming=True))
@example(b"", Reply(200, {}), None, STREAMED)
def test_any_stream(body: bytes, head: Reply, cut: Cut | None, call: Call) -> None:
    assert as_bytes(said_by([body], head, cut, call._replace(verbatim=True))) == as_bytes(
        said_by([body], head, cut, call._replace(verbatim=False))
    )


def test_the_short_way_is_taken() -> None:
    frames = [
        b'data: {"id":"i","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number
        for number in range(9)
    ]
    fold = chat.fold(request(), Reply(200, {"content-type": "text/event-stream"}), VERBATIM)
    kinds = [type(event.data) for frame in frames for event in fold.feed(frame) if isinstance(event, Chunk)]
    assert kinds == [dict, *[documents.Encoded] * 8]


# -- the same for responses ------------------------------------------------------------------------

HEAD = Reply(200, {"content-type": "text/event-stream"})
RESPONSE = Call("responses_stream")
ASKED = {"model": "m", "input": "hi"}


def response_said_by(
    pieces: Sequence[bytes], head: Reply = HEAD, cut: Cut | None = None, call: Call = RESPONSE
) -> list[tuple[object, object, bool]]:
    """All events of a streamed response, as the bytes and the names that clients get."""
    events = fed(responses.fold(ASKED, head, call), pieces, cut, DONE)
    names = [event.event for event in events]
    return [(name, data, final) for name, (data, final) in zip(names, as_bytes(events), strict=True)]


@given(st.lists(_frames(), max_size=3), st.booleans())
def test_frames_of_a_response_that_are_alike(pieces: list[bytes], done: bool) -> None:
    """Piece by piece, since each is of another time."""
    pieces = [*pieces, DONE] if done else pieces
    verbatim = RESPONSE._replace(verbatim=True)
    assert response_said_by(pieces, call=verbatim) == response_said_by(pieces)


@given(some.any_streams, some.heads, some.cuts, st.booleans())
def test_any_stream_of_a_response(body: bytes, head: Reply, cut: Cut | None, raw: bool) -> None:
    call = RESPONSE._replace(raw_response=raw)
    assert response_said_by([body], head, cut, call._replace(verbatim=True)) == response_said_by(
        [body], head, cut, call
    )


def test_a_response_takes_the_short_way() -> None:
    frames = [ALIKE % (b"%d" % number, b"") for number in range(6)]
    thoughts = [frame.replace(b"content", b"reasoning") for frame in frames]
    fold = responses.fold(ASKED, HEAD, RESPONSE._replace(verbatim=True))
    events = fed(fold, [*thoughts, *frames], None, b"")
    short = [event.event for event in events if isinstance(event, Chunk) and type(event.data) is not dict]
    told = ["response.reasoning_text.delta"] * 4 + ["response.output_text.delta"] * 4
    assert short == told  # the first of a kind teaches the chat, the second the response
