"""What hypothesis draws from: JSON, chat requests, replies, streams, bytes and cuts.

Three degrees of sanity run through all of it: what servers and clients really
send, the same with something wrong in one place, and anything at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from translate.plan import Call
from translate.types import RequestType
from transports.base import Cut, Reply

JSON = object
"""A JSON value."""

# -- JSON ------------------------------------------------------------------------------------------

_ODD_TEXTS = st.sampled_from(
    [
        "", " ", "\x00", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffe", "\ud83d", "\udc00x", "\U0001f600", "é",
        '"', "\\", "/", "</script>", "error", "choices", "[DONE]", "data: x\n\n", "\r\n", "NaN", "null",
    ]
)  # fmt: skip
texts: SearchStrategy[str] = st.text(max_size=8) | _ODD_TEXTS
"""Any text, lone surrogates included."""

sane_texts: SearchStrategy[str] = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), max_size=8
) | st.sampled_from(["✅入🌞", "line\nline", "\u2028\u0085", '{"a": 1}', "data: x"])
"""Text that UTF-8 can hold."""

_HUGE = st.sampled_from([2**53 + 1, -(2**63) - 1, 2**64, 10**30, 10**3999, -(10**400)])
integers: SearchStrategy[int] = st.integers(min_value=-(10**6), max_value=10**6) | st.integers() | _HUGE
floats: SearchStrategy[float] = st.floats(allow_nan=True, allow_infinity=True)
scalars: SearchStrategy[JSON] = st.none() | st.booleans() | integers | floats | texts


def _containers(inner: SearchStrategy[JSON]) -> SearchStrategy[JSON]:
    return st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)


json_values: SearchStrategy[JSON] = st.recursive(scalars, _containers, max_leaves=5)
json_objects: SearchStrategy[dict[str, JSON]] = st.dictionaries(texts, json_values, max_size=5)

_PYTHON_ONLY: SearchStrategy[object] = st.sampled_from(
    [object(), {1, 2}, b"bytes", 1j, ..., range(2), (1, "x"), int, {1: 2}, {None: 1}, {("a",): 1}]
)
python_values: SearchStrategy[object] = st.recursive(
    scalars | _PYTHON_ONLY,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.integers() | st.booleans() | st.none(), inner, max_size=4)
    ),
    max_leaves=5,
)
"""Anything that Python code could hand over by mistake."""

finite_values: SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | sane_texts,
    _containers,
    max_leaves=5,
)
"""JSON values that equal themselves after a trip through JSON."""


@dataclass(frozen=True)
class Spelling:
    """A JSON text and what it is when written compactly, numbers untouched."""

    source: str
    compact: str


spelled_numbers: SearchStrategy[Spelling] = (st.sampled_from(
    [
        "0", "-0", "-0.0", "1.0", "1.50", "1E5", "1e5", "1e+05", "0.1e-7", "1e400", "-1E-400", "0.30000000000000004",
        "100000000000000000000", "12345678901234567890.125", "9007199254740993", "1" * 4301, "-" + "7" * 5000,
    ]
) | st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z")).map(lambda text: Spelling(text, text))  # fmt: skip
"""Numbers in any spelling."""

_BLANKS = st.text(alphabet=" \t\r\n", max_size=2)


@st.composite
def _spelled_texts(draw: DrawFn) -> Spelling:
    text = draw(texts)
    source = "".join(
        f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 and draw(st.booleans()) else json.dumps(letter)[1:-1]
        for letter in text
    )
    return Spelling(f'"{source}"', json.dumps(text, ensure_ascii=False))


@st.composite
def _spelled_arrays(draw: DrawFn, inner: SearchStrategy[Spelling]) -> Spelling:
    items = draw(st.lists(inner, max_size=3))
    blanks = [draw(_BLANKS) for _ in range(2 * len(items) + 1)]
    body = ",".join(f"{blanks[2 * i]}{item.source}{blanks[2 * i + 1]}" for i, item in enumerate(items))
    return Spelling(f"[{body or blanks[-1]}]", f"[{','.join(item.compact for item in items)}]")


@st.composite
def _spelled_objects(draw: DrawFn, inner: SearchStrategy[Spelling]) -> Spelling:
    keys = draw(st.lists(_spelled_texts(), max_size=3, unique_by=lambda key: key.compact))
    items = [(key, draw(inner), draw(_BLANKS), draw(_BLANKS)) for key in keys]
    body = ",".join(
        f"{before}{key.source}{after}:{before}{item.source}{after}" for key, item, before, after in items
    )
    compact = ",".join(f"{key.compact}:{item.compact}" for key, item, _, _ in items)
    return Spelling(f"{{{body}}}", f"{{{compact}}}")


_LITERALS = st.sampled_from(["null", "true", "false"]).map(lambda word: Spelling(word, word))
spellings: SearchStrategy[Spelling] = st.recursive(
    _LITERALS | spelled_numbers | _spelled_texts(),
    lambda inner: _spelled_arrays(inner) | _spelled_objects(inner),
    max_leaves=5,
)
"""Valid JSON texts in any spelling: blanks, escapes, exponents, thousands of digits."""

_FRAGMENTS = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b"\\", b"\\u", b"d83d", b"0", b"1", b"-", b".", b"e", b"+",
        b"true", b"null", b"NaN", b"-Infinity", b" ", b"\n", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xa9",
        b"\xef\xbb\xbf", b'{"a":1}',
    ]
)  # fmt: skip
almost_json: SearchStrategy[bytes] = st.lists(_FRAGMENTS, max_size=8).map(b"".join)
"""Bytes that look like JSON and mostly are not."""

any_bytes: SearchStrategy[bytes] = st.binary(max_size=40)

# -- cuts ------------------------------------------------------------------------------------------


def cut_at(data: bytes, places: Sequence[int]) -> list[bytes]:
    """``data`` in pieces; empty ones are kept."""
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def one_by_one(data: bytes) -> list[bytes]:
    """``data`` byte by byte."""
    return [data[i : i + 1] for i in range(len(data))]


@st.composite
def pieces(draw: DrawFn, data: bytes) -> list[bytes]:
    """Some way to cut ``data``."""
    return cut_at(data, draw(st.lists(st.integers(0, len(data)), max_size=6)))


cuts: SearchStrategy[Cut | None] = st.none() | st.builds(
    Cut, st.sampled_from(["connect", "timeout", "read", "cancelled"]), st.sampled_from(["", "broke off"])
)

# -- calls -----------------------------------------------------------------------------------------


def calls(streaming: bool) -> SearchStrategy[Call]:
    """How a chat request is to be translated."""
    return calls_of("chat_completion_stream" if streaming else "chat_completion")


@st.composite
def calls_of(draw: DrawFn, *kinds: RequestType) -> Call:
    """How a request of one of these kinds is to be translated."""
    return Call(
        draw(st.sampled_from(kinds)),
        path=draw(st.sampled_from([None, "/custom/chat"])),
        raw_request=draw(st.booleans()),
        raw_response=draw(st.booleans()),
        original_model=draw(st.sampled_from([None, "alias"])),
        routing_info=draw(st.sampled_from([{}, {"key": "local"}])),
        structured_outputs=draw(st.sampled_from(["native", "legacy"])),
        known_path=draw(st.sampled_from([None, None, "/rerank", "/v1/rerank", "/elsewhere"])),
        verbatim=draw(st.booleans()),
    )


# -- requests --------------------------------------------------------------------------------------


@st.composite
def some_of(draw: DrawFn, table: Mapping[str, SearchStrategy[JSON]], most: int = 6) -> dict[str, JSON]:
    """A few members of ``table`` in any order."""
    names = draw(st.lists(st.sampled_from(sorted(table)), unique=True, max_size=most))
    return {name: draw(table[name]) for name in names}


_SCHEMAS: SearchStrategy[JSON] = st.sampled_from(
    [
        {
            "type": "object",
            "properties": {"z": {"type": "string", "default": None}, "a": {"type": "integer"}},
        },
        {"$schema": "x", "required": ["b", "a"], "enum": [1, None, 1.5], "cache_control": {"kept": True}},
        {},
    ]
)
_FUNCTION_KEYS: Mapping[str, SearchStrategy[JSON]] = {
    "description": sane_texts,
    "parameters": _SCHEMAS,
    "strict": st.booleans() | st.none(),
    "cache_control": st.just({"type": "ephemeral"}),
    "x_vendor": json_values,
}
_TOOL_KEYS: Mapping[str, SearchStrategy[JSON]] = {
    "cache_control": st.just({"type": "ephemeral"}),
    "defer_loading": st.booleans(),  # vLLM's own
    "eager_input_streaming": st.booleans(),
    "input_examples": st.just([{"city": "Paris"}]),
    "x_vendor": json_values,
}


@st.composite
def tools(draw: DrawFn) -> JSON:
    """A tool definition: a function, one that a provider runs itself, or nonsense."""
    match draw(st.integers(0, 9)):
        case 0:
            return draw(json_values)
        case 1:
            return {"type": "web_search_20250305", "name": "web_search", **draw(some_of(_TOOL_KEYS))}
        case _:
            function = {"name": draw(st.sampled_from(["f", "get_weather"])), **draw(some_of(_FUNCTION_KEYS))}
            return {"type": "function", "function": function, **draw(some_of(_TOOL_KEYS, 2))}


CALL_IDS = ["call_1", "search_ts_a", "c" * 60 + "_ts_" + "s" * 40, "c" * 80]
_PARTS: SearchStrategy[JSON] = st.sampled_from(
    [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "hi", "citations": [{"cache_control": 1}], "x_vendor": None},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AA"}, "uuid": "u1"},
        {"type": "image_url", "image_url": "bare"},
        {"type": "image_embeds", "image_embeds": {"a": [1, 2.50]}},
        {"type": "file", "file": {"file_data": "AA", "file_type": "pdf", "filename": "a.pdf"}},
        "text alone",
        None,
    ]
)
contents: SearchStrategy[JSON] = sane_texts | st.lists(_PARTS, max_size=3) | st.none()
_ARGUMENTS: SearchStrategy[JSON] = st.sampled_from(
    ['{"city": "Paris"}', "", "not json", "[]", None, {"b": 1, "a": 2.5}, {}, {"x": "\ud83d"}, ["a"], 5]
)
_HISTORY_CALLS: SearchStrategy[JSON] = st.fixed_dictionaries(
    {"id": st.sampled_from([*CALL_IDS, None]), "type": st.just("function")},
    optional={
        "function": st.fixed_dictionaries({"name": st.just("f")}, optional={"arguments": _ARGUMENTS}),
        "index": st.integers(0, 3),
        "extra_content": json_values,
    },
)
_ASSISTANT_KEYS: Mapping[str, SearchStrategy[JSON]] = {
    "content": contents,
    "reasoning": sane_texts | st.none(),
    "reasoning_content": sane_texts | st.none(),
    "reasoning_details": st.sampled_from(
        [
            [{"index": 0, "type": "reasoning.text", "text": "hm"}],
            [{"type": "reasoning.encrypted", "data": "x"}, {"text": "later"}],
            [],
            None,
            "odd",
        ]
    ),
    "tool_calls": st.lists(_HISTORY_CALLS, max_size=3) | st.none(),
    "refusal": sane_texts | st.none(),
    "name": sane_texts,
    "annotations": st.just([{"type": "url_citation", "url_citation": {"title": "t", "text": "x"}}]),
    "x_vendor": json_values,
}
_OTHER_KEYS: Mapping[str, SearchStrategy[JSON]] = {
    "content": contents,
    "name": sane_texts,
    "tool_call_id": st.sampled_from([*CALL_IDS, None, 5]),
    "is_error": st.booleans(),
    "x_vendor": json_values,
}


@st.composite
def messages(draw: DrawFn) -> dict[str, JSON]:
    """A message of any role."""
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "assistant", "tool", "wizard"]))
    return {"role": role, **draw(some_of(_ASSISTANT_KEYS if role == "assistant" else _OTHER_KEYS, 5))}


histories: SearchStrategy[list[dict[str, JSON]]] = st.lists(messages(), min_size=1, max_size=4)

KNOWN_PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "audio": st.just({"voice": "alloy", "format": "wav"}),
    "frequency_penalty": st.just(0.5),
    "logit_bias": st.just({"50256": -100}),
    "logprobs": st.booleans(),
    "max_completion_tokens": st.sampled_from([1, 5, 0, -1, 4096, 7.0]),
    "metadata": st.just({"trace": None, "b": {"a": 1}}),
    "modalities": st.just(["text"]),
    "n": st.sampled_from([1, 2, 3, "2"]),
    "parallel_tool_calls": st.booleans(),
    "prediction": st.just({"type": "content", "content": "x"}),
    "presence_penalty": st.just(0),
    "prompt_cache_key": sane_texts,
    "prompt_cache_options": st.just({}),
    "prompt_cache_retention": st.just("24h"),
    "reasoning": st.sampled_from(
        [
            {},
            {"effort": "high"},
            {"effort": None, "max_tokens": 100},
            {"max_tokens": 0},
            {"max_tokens": "x"},
            {"enabled": True, "display": "full"},
            {"effort": "xhigh", "max_tokens": 5, "x": 1},
        ]
    ),
    "reasoning_display": st.just("full"),
    "reasoning_effort": st.sampled_from(["none", "minimal", "max", "odd", 5]),
    "reasoning_max_tokens": st.sampled_from([0, 500, 3000, "x"]),
    "response_format": st.builds(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}, _SCHEMAS
    ),
    "safety_identifier": sane_texts,
    "seed": integers,
    "service_tier": st.just("auto"),
    "stop": sane_texts | st.lists(sane_texts, max_size=2),
    "store": st.booleans(),
    "stream_options": st.sampled_from(
        [{}, {"include_usage": False}, {"continuous_usage_stats": True}, {"include_usage": True, "x": None}]
    ),
    "temperature": st.sampled_from([0, 0.0, 1.5, 0.1]),
    "tool_choice": st.sampled_from(
        ["auto", "none", "required", "any", {"type": "any"}, {"type": "function", "function": {"name": "f"}}]
    ),
    "tools": st.lists(tools(), max_size=3),
    "top_logprobs": st.integers(0, 20),
    "top_p": st.just(0.9),
    "user": st.just("u" * 100),
    "verbosity": st.just("low"),
    "web_search_options": st.just({"filters": {}}),
}
"""Every parameter that Bifrost's chat request has, as clients send it."""

EXTRA_PARAMETERS: Mapping[str, SearchStrategy[JSON]] = {
    "max_tokens": st.sampled_from([1, 16, 0, "3"]),
    "top_k": st.sampled_from([-1, 0, 20]),
    "min_p": st.just(0.0),
    "chat_template_kwargs": st.just({"enable_thinking": False, "z": None, "a": 1}),
    "structured_outputs": st.sampled_from([{"json": {"b": 1, "a": 2}}, {"whitespace_pattern": " "}, {}, "x"]),
    "guided_json": _SCHEMAS,
    "guided_regex": st.just("[ab]+"),
    "guided_choice": st.just(["a", "b"]),
    "guided_grammar": st.just("root ::= x"),
    "stop_token_ids": st.just([2]),
    "messages": st.just("ignored"),
    "model": st.just("other"),
    "stream": st.booleans(),
    "x_vendor": json_values,
    "thinking": finite_values,
    "extra_params": json_objects,
}
"""What else clients send at the top level: vLLM's own parameters, and traps."""

_ALL_PARAMETERS = {**KNOWN_PARAMETERS, **EXTRA_PARAMETERS}


@st.composite
def parameters(draw: DrawFn) -> dict[str, JSON]:
    """A few parameters; now and then one is null or nonsense."""
    given = draw(some_of(_ALL_PARAMETERS))
    if given and draw(st.integers(0, 4)) == 0:
        given[draw(st.sampled_from(sorted(given)))] = draw(st.none() | json_values)
    return given


@st.composite
def flat_requests(draw: DrawFn, wrong: bool = True) -> dict[str, JSON]:
    """An OpenAI-style body, its members in any order."""
    model = draw(st.sampled_from(["vllm/org/name", "vllm//models/x", "plain", "org/name"]))
    out: dict[str, JSON] = {**draw(parameters()), "model": model, "messages": draw(histories)}
    if draw(st.booleans()):
        out["extra_body"] = draw(parameters() if not wrong or draw(st.booleans()) else json_values)
    out |= draw(some_of({"fallbacks": st.just(["vllm/other"]), "stream": st.booleans()}))
    if wrong and draw(st.integers(0, 4)) == 0:
        out[draw(st.sampled_from(["model", "messages"]))] = draw(json_values)
    if wrong and draw(st.integers(0, 6)) == 0:
        out["messages"] = [*draw(histories), draw(json_values)]
    order = draw(st.permutations(sorted(out)))
    return {name: out[name] for name in order}


@st.composite
def requests(draw: DrawFn, wrong: bool = True) -> dict[str, JSON]:
    """A Bifrost chat request."""
    params = draw(parameters())
    if draw(st.booleans()):
        params["extra_params"] = draw(parameters() if not wrong or draw(st.booleans()) else json_values)
    if draw(st.integers(0, 3)) == 0:
        params["extra_body"] = draw(parameters() if not wrong or draw(st.booleans()) else json_values)
    out: dict[str, JSON] = {
        "provider": "vllm",
        "model": "org/name",
        "input": draw(histories),
        "params": params,
    }
    if wrong and draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(out)))
        if draw(st.booleans()):
            del out[name]
        else:
            out[name] = draw(json_values)
    return out


anything_as_request: SearchStrategy[dict[str, JSON]] = json_objects | st.dictionaries(
    st.sampled_from(["provider", "model", "input", "messages", "params", "extra_params", "tools", "stream"]),
    json_values,
    max_size=6,
)
"""Any JSON object; often one that looks like a request from afar."""

# -- what a model says: the truth behind replies and streams ------------------------------------------


@dataclass(frozen=True)
class ToolCall:
    """A call that a model makes; ``id`` is empty when the server sends none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """One choice as the model meant it, in the order in which it is said."""

    reasoning: Sequence[str] = ()
    content: Sequence[str] = ()
    calls: Sequence[ToolCall] = ()
    finish_reason: str = "stop"
    stop_reason: JSON = None
    with_tokens: bool = False
    with_logprobs: bool = False


@dataclass(frozen=True)
class Conversation:
    """All choices of one reply and what is said about the reply as a whole."""

    answers: Sequence[Answer]
    usage: Mapping[str, JSON] | None
    id: str = "chatcmpl-1"
    more: Mapping[str, JSON] = field(default_factory=dict)


_PIECES = st.lists(
    st.sampled_from(["Hel", "lo", "\n", " ", "✅", "\u2028", '"', "data: ", "[DONE]", "{"]), max_size=4
)
_CALL_ARGUMENTS = st.sampled_from(["{}", '{"city": "Paris"}', '{"a": ', "", "✅入", '{"x": "}{"}'])
USAGES: Sequence[Mapping[str, JSON] | None] = [
    None,
    {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": None},
    {
        "prompt_tokens": 9,
        "total_tokens": 9,
        "completion_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 8},
    },
]


@st.composite
def tool_calls(draw: DrawFn, number: int) -> ToolCall:
    """The call with this number: its id is unlike that of any other."""
    return ToolCall(f"call-{number}", draw(st.sampled_from(["f", "get_weather"])), draw(_CALL_ARGUMENTS))


@st.composite
def answers(draw: DrawFn) -> Answer:
    """One choice."""
    count = draw(st.sampled_from([0, 0, 1, 2, 3]))
    return Answer(
        reasoning=draw(_PIECES),
        content=draw(_PIECES),
        calls=[draw(tool_calls(number)) for number in range(count)],
        finish_reason=draw(st.sampled_from(["stop", "length", "tool_calls", "repetition"])),
        stop_reason=draw(st.sampled_from([None, "3", 151645])),
        with_tokens=draw(st.booleans()),
        with_logprobs=draw(st.booleans()),
    )


def conversations_of(most: int) -> SearchStrategy[Conversation]:
    """What is really said in at most so many choices, whatever the spelling."""
    return st.builds(
        Conversation,
        st.lists(answers(), min_size=1, max_size=most),
        st.sampled_from(USAGES),
        more=st.sampled_from(
            [{}, {"kv_transfer_params": {"a": 1}}, {"service_tier": "auto", "prompt_token_ids": [1]}]
        ),
    )


conversations: SearchStrategy[Conversation] = conversations_of(3)
"""What is really said, whatever the spelling."""

# -- unary replies ---------------------------------------------------------------------------------


def logprob(token: str) -> dict[str, JSON]:
    """The logprobs of one token, in a shape that is known by its token."""
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def units(answer: Answer) -> list[str]:
    """The tokens of an answer: one for each piece of text."""
    return [*answer.reasoning, *answer.content]


@st.composite
def unary_documents(draw: DrawFn, said: Conversation) -> dict[str, JSON]:
    """The reply of a server that says everything at once."""
    thoughts = draw(st.sampled_from(["reasoning", "reasoning_content"]))
    noise: dict[str, JSON] = draw(
        st.sampled_from([{}, {"refusal": None, "annotations": None, "audio": None, "function_call": None}])
    )
    choices: list[JSON] = []
    for index, answer in enumerate(said.answers):
        message: dict[str, JSON] = {"role": "assistant", "content": "".join(answer.content) or None, **noise}
        if bool(answer.reasoning) or draw(st.booleans()):
            message[thoughts] = "".join(answer.reasoning) or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
        choice: dict[str, JSON] = {"index": index, "message": message, "logprobs": None}
        if answer.with_logprobs:
            choice["logprobs"] = {"content": [logprob(token) for token in units(answer)]}
        if answer.with_tokens:
            choice["token_ids"] = list(range(len(units(answer))))
        choices.append({**choice, "finish_reason": answer.finish_reason, "stop_reason": answer.stop_reason})
    return {
        "id": said.id,
        "object": "chat.completion",
        "created": 5,
        "model": "served",
        "choices": choices,
        "usage": said.usage,
        "prompt_logprobs": None,
        **said.more,
    }


@st.composite
def mutated(draw: DrawFn, value: JSON) -> JSON:
    """``value`` with something wrong in one place, at any depth."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 7)) == 0:
            return {key: member for key, member in value.items() if key != name}
        return {**value, name: draw(mutated(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(mutated(value[place])), *value[place + 1 :]]
    return draw(json_values)


ERROR_BODIES: Sequence[bytes] = [
    b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}',
    b'{"object":"error","message":"no","type":"BadRequestError","param":null,"code":40001}',
    b'{"error":"Unauthorized"}',
    b'{"detail":"Not Found"}',
    b'{"detail":[{"loc":["body","messages",1,"role"],"msg":"Field required","type":"missing"}]}',
    b'{"message":"no","status_code":429}',
    b'{"error":{"message":"","type":"InternalServerError","param":null,"code":500}}',
    b'{"error":{"message":{"a":1},"type":5,"code":{"x":1},"param":[1]}}',
    b'{"error":{"message":"maximum context length is 1024 tokens","code":400}}',
    b'{"error":{}}',
    b'{"error":null}',
    b'{"error":[]}',
    b'{"error":""}',
    b'{"detail":null}',
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"upstream connect error",
    b"",
    b" \n",
    b"[]",
    b"null",
    b'"text"',
    b'{"choices":null}',
    b'{"choices":[]}',
    b'{"choices":[null]}',
    b'{"choices":{}}',
]
"""Everything that has been seen where an answer should be."""


def dumped(value: JSON) -> bytes:
    """JSON as servers in Python write it: NaN, escaped surrogates and all."""
    return json.dumps(value).encode()


@st.composite
def bodies_of(draw: DrawFn, sound: SearchStrategy[JSON]) -> bytes:
    """A whole reply: sound, damaged, an error, or anything."""
    match draw(st.integers(0, 9)):
        case 0:
            return draw(any_bytes | almost_json)
        case 1:
            return dumped(draw(json_values))
        case 2 | 3:
            return draw(st.sampled_from(ERROR_BODIES))
        case 4 | 5 | 6:
            return dumped(draw(mutated(draw(sound))))
        case _:
            return dumped(draw(sound))


def bodies() -> SearchStrategy[bytes]:
    """A whole reply to a chat request."""
    return bodies_of(conversations.flatmap(unary_documents))


HEADERS: Sequence[Mapping[str, str]] = [
    {},
    {"content-type": "application/json"},
    {"content-type": "text/html; charset=utf-8"},
    {"content-type": "Text/Event-Stream; charset=utf-8"},
]
statuses: SearchStrategy[int] = st.sampled_from(
    [200, 200, 200, 200, 0, 100, 201, 204, 302, 400, 401, 404, 405, 413, 422, 429, 500, 503, 599, 600, 999]
)
heads: SearchStrategy[Reply] = st.builds(
    Reply, statuses, st.sampled_from(HEADERS), st.just(b""), st.integers(0, 50), cuts
)


@st.composite
def replies_with(draw: DrawFn, bodies: SearchStrategy[bytes]) -> Reply:
    """Any reply to a unary request."""
    return Reply(draw(statuses), draw(st.sampled_from(HEADERS)), draw(bodies), 5, draw(cuts))


def replies() -> SearchStrategy[Reply]:
    """Any reply to a chat request that is not streamed."""
    return replies_with(bodies())


# -- streams ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """A stream as frames, and what it is to add up to.

    ``calls`` holds, per choice, the calls as they are to come out; an empty id
    stands for one that has to be made up.
    """

    said: Conversation
    frames: Sequence[dict[str, JSON]]
    calls: Sequence[Sequence[ToolCall]]


_NUMBERINGS = ["own", "own", "from one", "all zero", "none"]
_SPELLINGS = [
    "vllm", "newest", "whole", "split", "repeats", "nulls", "blanks", "no type", "no id", "late name", "late id",
    "object", "no name",
]  # fmt: skip
_NEED_A_NUMBER = {"no id", "late id"}


def _object(text: str) -> dict[str, JSON] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _spelled_call(call: ToolCall, spelling: str, texts: Sequence[str]) -> list[dict[str, JSON]]:
    """The fragments in which some server sends a call; ``texts`` are its arguments in pieces."""
    named: dict[str, JSON] = {"name": call.name}
    head: dict[str, JSON] = {"id": call.id, "type": "function"}
    rest: list[dict[str, JSON]] = [{"function": {"arguments": text}} for text in texts]
    match spelling:
        case "newest":
            return [{**head, "function": named}, *rest]
        case "whole":
            return [{**head, "function": {**named, "arguments": call.arguments}}]
        case "object":
            return [{**head, "function": {**named, "arguments": _object(call.arguments)}}]
        case "split":
            return [head, {"function": named}, *rest]
        case "repeats":
            return [{**head, "function": {**named, "arguments": text}} for text in ["", *texts]]
        case "nulls" | "blanks":
            nothing = None if spelling == "nulls" else ""
            rest = [
                {"id": nothing, "type": nothing, "function": {"name": nothing, "arguments": text}}
                for text in texts
            ]
            return [{**head, "function": {**named, "arguments": ""}}, *rest]
        case "no type":
            return [{"id": call.id, "function": {**named, "arguments": ""}}, *rest]
        case "no id":
            return [{"type": "function", "function": {**named, "arguments": ""}}, *rest]
        case "late name":
            return [{**head, "function": {"arguments": texts[0]}}, {"function": named}, *rest[1:]]
        case "late id":
            return [{"function": {**named, "arguments": texts[0]}}, head, *rest[1:]]
        case "no name":
            return [{**head, "function": {"arguments": texts[0]}}, *rest[1:]]
        case _:
            return [{**head, "function": {**named, "arguments": ""}}, *rest]


@st.composite
def call_fragments(draw: DrawFn, calls: Sequence[ToolCall]) -> tuple[list[list[JSON]], list[ToolCall]]:
    """The calls of one choice as deltas hold them, and the calls as they are to come out."""
    numbering = draw(st.sampled_from(_NUMBERINGS))
    truth: list[ToolCall] = []
    spelled: list[list[JSON]] = []
    for number, call in enumerate(calls):
        spelling = draw(st.sampled_from(_SPELLINGS))
        if (spelling in _NEED_A_NUMBER and numbering in {"all zero", "none"}) or (
            spelling == "object" and _object(call.arguments) is None
        ):
            spelling = "vllm"
        texts = [call.arguments]
        if draw(st.booleans()):
            middle = draw(st.integers(0, len(call.arguments)))
            texts = [call.arguments[:middle], call.arguments[middle:]]
        index = {"own": {"index": number}, "from one": {"index": number + 1}, "all zero": {"index": 0}}
        spelled.append(
            [{**index.get(numbering, {}), **part} for part in _spelled_call(call, spelling, texts)]
        )
        arguments = call.arguments
        if spelling == "object":
            arguments = json.dumps(_object(arguments), separators=(",", ":"), ensure_ascii=False)
        truth.append(
            ToolCall(
                "" if spelling in _NEED_A_NUMBER else call.id,
                "" if spelling == "no name" else call.name,
                arguments,
            )
        )
    if numbering in {"own", "from one"} and draw(st.booleans()):
        # In parallel: all calls begin, then all go on.
        spelled = [[parts[0] for parts in spelled], [part for parts in spelled for part in parts[1:]]]
    flat = [part for parts in spelled for part in parts]
    deltas: list[list[JSON]] = []
    for part in flat:
        if deltas and draw(st.integers(0, 3)) == 0:
            deltas[-1].append(part)
        else:
            deltas.append([part])
    return deltas, truth


_THOUGHTS: SearchStrategy[tuple[str, ...]] = st.sampled_from(
    [("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")]
)
_OPENERS: Sequence[JSON] = [{"role": "assistant", "content": ""}, {"role": "assistant"}, None]
_NOISE: Sequence[dict[str, JSON]] = [
    {}, {"content": ""}, {"content": None}, {"reasoning": ""}, {"reasoning_content": None}, {"tool_calls": []},
    {"role": None, "content": None, "refusal": None},
]  # fmt: skip


@st.composite
def _entries(draw: DrawFn, index: int, answer: Answer) -> tuple[list[dict[str, JSON]], list[ToolCall]]:
    """One choice as the entries of successive frames."""
    thoughts = draw(_THOUGHTS)
    deltas: list[tuple[dict[str, JSON], list[str]]] = []  # with the tokens that each stands for
    opener = draw(st.sampled_from(_OPENERS))
    if isinstance(opener, dict):
        deltas.append((opener, []))
    deltas.extend((dict.fromkeys(thoughts, piece), [piece]) for piece in answer.reasoning)
    for number, piece in enumerate(answer.content):
        if number == 0 and answer.reasoning and draw(st.booleans()):
            delta, tokens = deltas.pop()
            deltas.append(({**delta, "content": piece}, [*tokens, piece]))
        else:
            deltas.append(({"content": piece}, [piece]))
    fragments, truth = draw(call_fragments(answer.calls))
    deltas.extend(({"content": None, "tool_calls": parts}, []) for parts in fragments)
    if draw(st.integers(0, 3)) == 0:
        deltas.insert(draw(st.integers(0, len(deltas))), (draw(st.sampled_from(_NOISE)), []))
    if draw(st.integers(0, 4)) == 0:
        deltas = [({"role": "assistant", **delta}, tokens) for delta, tokens in deltas]
    if not deltas or draw(st.booleans()):
        deltas.append((draw(st.sampled_from([{}, {"content": ""}])), []))
    out: list[dict[str, JSON]] = []
    counted = 0
    for delta, tokens in deltas:
        entry: dict[str, JSON] = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        if answer.with_logprobs and tokens:
            entry["logprobs"] = {"content": [logprob(token) for token in tokens]}
        if answer.with_tokens:
            entry["token_ids"] = list(range(counted, counted + len(tokens))) or None
        counted += len(tokens)
        out.append(entry)
    out[-1]["finish_reason"] = answer.finish_reason
    out[-1]["stop_reason"] = answer.stop_reason
    return out, truth


@st.composite
def scripts(draw: DrawFn, most: int = 3) -> Script:
    """A sound stream of at most so many choices, in the spelling of some server."""
    said = draw(conversations_of(most))
    queues: list[list[dict[str, JSON]]] = []
    truths: list[list[ToolCall]] = []
    for index, answer in enumerate(said.answers):
        entries, truth = draw(_entries(index, answer))
        queues.append(entries)
        truths.append(truth)
    groups: list[list[JSON]] = []
    together = draw(st.booleans())
    while any(queues):
        if together:
            groups.append([queue.pop(0) for queue in queues if queue])
        else:
            groups.append([draw(st.sampled_from([queue for queue in queues if queue])).pop(0)])
    head: dict[str, JSON] = {
        "id": said.id,
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "served",
    }
    frames: list[dict[str, JSON]] = [{**head, "choices": group} for group in groups]
    if draw(st.booleans()):
        frames[0] |= said.more
    else:
        frames[-1] |= said.more
    return Script(said, draw(frames_with_usage(frames, head, said.usage)), truths)


@st.composite
def frames_with_usage(
    draw: DrawFn, frames: list[dict[str, JSON]], head: Mapping[str, JSON], usage: JSON
) -> list[dict[str, JSON]]:
    """``frames`` with ``usage`` where some server puts it."""
    match draw(st.integers(0, 3)) if usage is not None else None:
        case 0:
            return [*frames[:-1], {**frames[-1], "usage": usage}]
        case 1:
            early = [{**frame, "usage": {"prompt_tokens": 9, "total_tokens": 9}} for frame in frames]
            return [*early, {**head, "choices": [], "usage": usage}]
        case 2:
            return [*frames, {**head, "choices": None, "usage": usage}]
        case 3:
            return [*frames, {**head, "choices": [], "usage": usage, "system_fingerprint": "vllm-0.32.0"}]
        case _:
            return [{**frame, "usage": None} for frame in frames]


@st.composite
def framed(draw: DrawFn, frames: Sequence[bytes], ends: Sequence[bytes]) -> bytes:
    """Frames as bytes: some line end, some comments, some ending."""
    line_end = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    field_name = draw(st.sampled_from([b"data: ", b"data: ", b"data:"]))
    quiet = draw(st.booleans())
    out = [draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))]
    for frame in frames:
        if not quiet and draw(st.integers(0, 3)) == 0:
            out.append(
                draw(st.sampled_from([b": keep-alive\n\n", b":\n", b"data: : ping\n\n", b"event: x\n"]))
            )
        out += [field_name + line + line_end for line in frame.split(b"\n")]
        out.append(line_end)
    out.append(draw(st.sampled_from(ends)))
    return b"".join(out)


CLEAN_ENDS = [
    b"data: [DONE]\n\n",
    b"data: [DONE]\n\n",
    b"data:[DONE] \r\n\r\ngarbage",
    b"data: [DONE]",
    b"",
    b": x\n",
]


class Framed(Protocol):
    """A stream as frames."""

    @property
    def frames(self) -> Sequence[dict[str, JSON]]: ...


@st.composite
def sound_streams(draw: DrawFn, script: Framed) -> bytes:
    """The bytes of a sound stream."""
    indent = draw(st.sampled_from([None, None, None, 1]))
    escaped = draw(st.booleans())
    frames = [json.dumps(frame, indent=indent, ensure_ascii=escaped).encode() for frame in script.frames]
    return draw(framed(frames, CLEAN_ENDS))


@st.composite
def damaged_streams(draw: DrawFn, script: Framed) -> bytes:
    """The bytes of a stream that had been sound: mutated, interrupted, cut short."""
    frames = [dumped(frame) for frame in script.frames]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(frames)))
        match draw(st.integers(0, 4)):
            case 0:
                frames.insert(place, draw(st.sampled_from([*ERROR_BODIES, b"oops", b'{"a":'])))
            case 1:
                frames.insert(place, dumped(draw(json_values)))
            case _ if place < len(frames):
                frames[place] = dumped(
                    draw(mutated(script.frames[place])) if place < len(script.frames) else None
                )
            case _:
                frames.append(b"[DONE]")
    body = draw(
        framed(frames, [*CLEAN_ENDS, b": a\n\n: b\n\ndata: x\n\n", b'{"error":"late"}', b'data: {"a"'])
    )
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 3)) == 0 else body


def streams_of(scripts: SearchStrategy[Framed], bodies: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """What may come where a stream should: sound, damaged, a whole reply, anything."""
    return st.one_of(
        scripts.flatmap(damaged_streams),
        scripts.flatmap(damaged_streams),
        scripts.flatmap(sound_streams),
        bodies,
        st.lists(
            st.sampled_from(
                [b"data: ", b"\n", b"\n\n", b"{}", b'{"choices":[]}', b"[DONE]", b": c\n", b"\xff"]
            )
        ).map(b"".join),
    )


any_streams: SearchStrategy[bytes] = streams_of(scripts(), bodies())
"""What may come where a streamed chat should."""

# -- HTTP ------------------------------------------------------------------------------------------

_STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 Not Found\r\n",
        b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 500\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 Switching\r\n", b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1 99 X\r\n", b"HTTP/1.1 099 X\r\n", b"HTTP/1.1 200 OK\n",
        b"\r\nHTTP/1.1 200 OK\r\n", b"ICY 200 OK\r\n", b"HTTP/1.1 2000 OK\r\n", b"http/1.1 200 OK\r\n", b"",
    ]
)  # fmt: skip
_FIELD_LINES = st.sampled_from(
    [
        b"Content-Length: 3\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n",
        b"Content-Length: -1\r\n", b"Content-Length: 3, 3\r\n", b"Content-Length: x\r\n", b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: Chunked\r\n",
        b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n",
        b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"X: y\r\n",
        b"X: caf\xe9 \r\n", b"x:\r\n", b"X : y\r\n", b"X: y\n", b"X: y\r\n folded\r\n", b": y\r\n", b"X\r\n", b"X: \x01\r\n", b"X: a\rb\r\n",
    ]
)  # fmt: skip
_BODY_PARTS = st.sampled_from(
    [
        b"abc", b"abc", b"3\r\nabc\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n\r\n", b"5;a=b\r\nabcde\r\n", b"0\r\nX: y\r\n\r\n",
        b"3 \r\nabc\r\n", b"3\nabc\n", b"0x3\r\nabc\r\n", b"-3\r\nabc\r\n", b"zz\r\n", b"3\r\nabcd\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"\r\n", b"0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", b"\x00", b"\xff",
    ]
)  # fmt: skip


@st.composite
def _http_answers(draw: DrawFn) -> bytes:
    fields = draw(st.lists(_FIELD_LINES, max_size=4))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b""]))
    return draw(_STATUS_LINES) + b"".join(fields) + end + b"".join(draw(st.lists(_BODY_PARTS, max_size=4)))


http_answers: SearchStrategy[bytes] = _http_answers() | any_bytes
"""What a server may answer: HTTP/1.1, the same with something wrong in it, and anything at all."""
