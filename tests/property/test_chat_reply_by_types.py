"""The replies that are read by their types: what comes out is what the rules give, byte for byte."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bench import exchanges
from tests import strategies as some
from tests.property.judgement import encoded
from translate import Call, Failure, chat, chat_reply, documents
from transports import Recordings, Reply

ROOT = Path(__file__).parents[2]
REQUEST = {"model": "m", "input": [{"role": "user", "content": "hi"}]}
CALL = Call("chat_completion")
RECORDED = tuple(
    recording.body
    for recording in Recordings.load(ROOT / "cassettes" / "chat_completion")
    if recording.status == 200 and recording.body.startswith(b'{"id":"chatcmpl-')
)

# -- JSON as it is spelled: an object is a list of pairs, so that names may come twice ---------------


class Members(list[tuple[str, Any]]):
    """The members of an object; a name is JSON text."""


class Text(str):
    """JSON text of a scalar."""

    __slots__ = ()


Node = Members | list[Any] | Text


def _pairs(members: list[tuple[str, Any]]) -> Members:
    return Members((json.dumps(name), _node(value)) for name, value in members)


def _node(value: object) -> Node:
    if isinstance(value, Members):
        return value
    if isinstance(value, list):
        return [_node(each) for each in value]
    return Text(json.dumps(value, ensure_ascii=False))


def spelled(body: bytes) -> Node:
    """What ``body`` holds, to be changed."""
    return _node(json.loads(body, object_pairs_hook=_pairs))


def text_of(node: Node) -> str:
    """What was changed, as JSON."""
    if isinstance(node, Members):
        return "{" + ",".join(f"{name}:{text_of(value)}" for name, value in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(text_of, node)) + "]"
    return node


def _containers(node: Node) -> list[list[Any]]:
    """All objects and arrays in which there is something."""
    if not isinstance(node, list):
        return []
    inner: list[Any] = [value for _, value in node] if isinstance(node, Members) else node
    return [found for each in inner for found in _containers(each)] + ([node] if node else [])


_OTHER_VALUES: SearchStrategy[Node] = st.sampled_from(
    [
        "null", "true", "0", "-0", "-0.0", "1", "7", "1.0", "1e2", "NaN", "123456789012345678901234567890", '""',
        '"stop"', '"tool_calls"', '"x"', '"\\u0041\\/\\n"', '"\\ud83d"', '"\\ud83d\\ude00"', '"\u00e9"', "[]", "{}",
        '{"a":-0}', '[null]', '[{"id":"i","type":"function","function":{"name":"f","arguments":"{}"}}]', " 5 ",
    ]
).map(Text)  # fmt: skip
_NAMES = st.sampled_from(
    [
        "usage", "error", "object", "index", "delta", "reasoning", "reasoning_content", "reasoning_details",
        "tool_calls", "stop_reason", "finish_reason", "logprobs", "service_tier", "extra_fields", "cached_tokens",
        "cached_read_tokens", "cache_write_tokens", "custom", "x_vendor", "created", "model", "id",
    ]
).map(json.dumps)  # fmt: skip


@st.composite
def _changed(draw: DrawFn, body: bytes) -> bytes:
    """``body`` with a few things about it changed."""
    node = spelled(body)
    for _ in range(draw(st.integers(0, 2))):
        container = draw(st.sampled_from(_containers(node)))
        place = draw(st.integers(0, len(container) - 1))
        how = draw(st.sampled_from(["other", "order", "twice", "less", "more", "escape", "blank"]))
        if not isinstance(container, Members):
            container[place : place + 1] = draw(
                st.sampled_from([[], [container[place]] * 2, [draw(_OTHER_VALUES)]])
            )
            continue
        name, value = container[place]
        match how:
            case "other":
                container[place] = name, draw(_OTHER_VALUES)
            case "order":
                container[:] = draw(st.permutations(container))
            case "twice":
                container.insert(draw(st.integers(0, len(container))), (name, draw(_OTHER_VALUES)))
            case "less":
                del container[place]
            case "more":
                container.insert(place, (draw(_NAMES), draw(_OTHER_VALUES)))
            case "escape":
                container[place] = f'"\\u{ord(name[1]):04x}{name[2:]}', value
            case _:
                container[place] = f" {name}\n", value
    return text_of(node).encode(errors="surrogatepass")


# -- replies as servers write them ------------------------------------------------------------------

_COUNTS = st.integers(0, 5) | st.none()


@st.composite
def _messages(draw: DrawFn) -> dict[str, object]:
    out: dict[str, object] = {
        "role": draw(st.sampled_from([*["assistant"] * 9, ""])),
        "content": draw(some.texts | st.none()),
    }
    out |= dict.fromkeys(draw(st.sampled_from([(), ("refusal", "annotations", "audio", "function_call")])))
    calls = st.fixed_dictionaries(
        {
            "id": st.sampled_from([*["chatcmpl-tool-2"] * 5, ""]),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": some.texts}),
        },
        optional={"index": st.sampled_from([0, 0, 0, 1, None])},
    )
    thoughts = st.sampled_from([None, "", *["hm\u00e9\n"] * 5, "ah"])
    out |= draw(some.some_of({"tool_calls": st.lists(calls, max_size=2) | st.none()}))
    return out | draw(some.some_of({"reasoning": thoughts, "reasoning_content": thoughts}))


@st.composite
def _usages(draw: DrawFn) -> dict[str, object]:
    names = [*["created_cache_tokens", "multimodal_tokens"] * 3, "cached_read_tokens", "cache_write_tokens"]
    others = draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
    prompt = {"cached_tokens": draw(st.integers(0, 2)), **{name: draw(_COUNTS) for name in others}}
    return {
        "prompt_tokens": draw(st.sampled_from([0, 5, 2**63, 2**65])),
        "total_tokens": 9,
        "completion_tokens": draw(st.sampled_from([*[7] * 9, None])),
        "prompt_tokens_details": draw(st.sampled_from([None, prompt])),
        "completion_tokens_details": draw(st.sampled_from([None, {"reasoning_tokens": 3}])),
    }


@st.composite
def _replies(draw: DrawFn) -> bytes:
    choices = st.fixed_dictionaries(
        {
            "index": st.integers(0, 2),
            "message": _messages(),
            "logprobs": st.none(),
            "finish_reason": st.sampled_from([*["stop"] * 5, "tool_calls", "", None]),
        },
        optional={"stop_reason": st.sampled_from([None, "", "END", 2, 2, 0]), "token_ids": st.none()},
    )
    out = {
        "id": draw(some.texts),
        "object": "chat.completion",
        "created": draw(st.sampled_from([*[1795388272] * 9, 0])),
        "model": draw(st.sampled_from(["m", ""])),
        "choices": draw(st.lists(choices, min_size=1, max_size=2)),
        "service_tier": draw(st.sampled_from([None, None, "default", ""])),
        "system_fingerprint": draw(st.sampled_from([None, "vllm-0.32.0", ""])),
        "usage": draw(_usages()),
        **dict.fromkeys(draw(st.sampled_from([(), ("prompt_logprobs", "kv_transfer_params", "metrics")]))),
    }
    text = json.dumps(out, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return text.encode(errors="surrogatepass")


# -- properties -------------------------------------------------------------------------------------


def said(body: bytes, call: Call) -> bytes:
    """The outcome as bytes."""
    outcome = chat.parse(REQUEST, Reply(200, {}, body, 7), 7, call)
    return encoded(outcome.error if isinstance(outcome, Failure) else outcome)


bodies = (st.sampled_from([exchanges.CHAT, *RECORDED]) | _replies()).flatmap(_changed)


@given(bodies, some.calls(streaming=False))
@example(exchanges.CHAT, CALL)
@example(exchanges.CHAT, CALL._replace(verbatim=True))
def test_the_answer_is_that_of_the_rules(body: bytes, call: Call) -> None:
    assert said(body, call._replace(verbatim=True)) == said(body, call._replace(verbatim=False))


_WITH_BYTES = (
    b'{"id":"%b","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"%b"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":%b}'
)
_PIECES = st.lists(
    st.sampled_from([b"a", b"\xff", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"\\ud83d", b"\\ude00", b"\\", b"\x00", b" -0"]),
    max_size=3,
).map(b"".join)  # fmt: skip


@given(
    _PIECES,
    _PIECES,
    st.just(b"1}")
    | _PIECES.map(lambda name: b'1,"%b":-0}' % name)
    | st.sampled_from([b"-0}", b"-0.0}", b" 1}"]),
)
def test_bytes_that_are_no_text(name: bytes, content: bytes, usage: bytes) -> None:
    body = _WITH_BYTES % (name, content, usage)
    assert said(body, CALL._replace(verbatim=True)) == said(body, CALL)


@pytest.mark.parametrize(
    "info",
    [{"a": 1.5, "b": float("nan")}, {"a": "\ud83d"}, {"a": documents.decode(b"[1.50,-0]")}, {"a": b"bytes"}],
    ids=["not a number", "half a character", "spelled", "no JSON"],
)
def test_routing_info_of_any_kind(info: dict[str, object]) -> None:
    call = CALL._replace(routing_info=info)
    by_the_rules, answer = (
        chat.parse(REQUEST, Reply(200, {}, exchanges.CHAT), 0, call._replace(verbatim=verbatim))
        for verbatim in (False, True)
    )
    assert not isinstance(answer, Failure)
    assert documents.encode(answer) == documents.encode(by_the_rules)


@given(bodies)
@example(exchanges.CHAT)
def test_tokens_are_told_as_usage_has_them(body: bytes) -> None:
    answer = chat.parse(REQUEST, Reply(200, {}, body), 0, CALL._replace(verbatim=True))
    if isinstance(answer, documents.Encoded):
        usage = json.loads(answer.data)["usage"]
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens")
        assert answer.tokens == (usage["prompt_tokens"], usage["completion_tokens"], cached)


def names_of(bodies: Sequence[bytes]) -> set[str]:
    """What is said in these that is not null, besides what every reply says."""
    found: set[str] = set()
    for body in bodies:
        reply = json.loads(body)
        found |= {name for name, value in reply.items() if value is not None}
        for choice in reply["choices"]:
            found |= {name for name, value in choice.items() if value is not None}
            found |= {name for name, value in choice["message"].items() if value}
    return found


def test_what_a_real_server_says_is_read_by_its_types_unless_it_was_asked_for_more() -> None:
    plain = [body for body in RECORDED if chat_reply.answer(body, documents.Raw(b"{}")) is not None]
    others = [body for body in RECORDED if body not in plain]
    assert len(plain) > 3 * len(others)
    assert {"content", "reasoning", "tool_calls", "stop_reason", "usage"} <= names_of(plain)
    for body in others:
        assert names_of([body]) & {"logprobs", "prompt_logprobs", "prompt_token_ids", "prompt_text"}, body
