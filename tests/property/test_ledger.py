"""The ledger is complete: whatever goes into a request is in the plan, at its place, or a note names it.

A place is a path of the body: ``tools[0].function.name``. The members of
``params``, ``extra_params`` and ``extra_body`` belong to the top of the body,
and an input has there the name that vLLM gives it. In a note, ``[]`` stands
for any number.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, DrawFn, SearchStrategy

from tests import operation_strategies as operations
from tests import strategies as some
from tests import transcripts
from tests.forms import parts_of_plan, unescaped
from tests.property.judgement import encoded, same, wire
from tests.property.test_responses import requests as responses_requests
from tests.property.test_transcription_request import means
from translate import OPERATIONS, documents, servers
from translate.plan import Call, Chunk, Failure, Note, Plan
from translate.servers import UNKNOWN, Server
from translate.types import RequestType
from transports.base import Reply

Path = tuple[str | int, ...]

WRAPPERS: Final = ("params", "extra_params", "extra_body")
"""Objects whose members belong to the top of the body."""
ADDRESS: Final = frozenset({"provider", "model", "fallbacks", "stream"})
"""What chooses the server and the operation; it is said in a plan's path, and in the model of its body."""
INPUTS: Final[Mapping[str, Mapping[str, str]]] = {
    "chat_completion": {"input": "messages", "messages": "messages"},
    "responses": {"input": "input"},
    "text_completion": {"input": "prompt", "prompt": "prompt"},
    "embedding": {"input": "input"},
    "rerank": {"query": "query", "documents": "documents"},
    "transcription": {"input": "file", "file": "file"},
    "list_models": {},
}
SHAPES: Final = re.compile(r"input\[\](\.content\[\]|\.output\[\]|\.summary\[\])?\.(type|role)")
"""What an item of a response is shows in what becomes of it: a message, a call, a thought."""


def plain(operation: RequestType) -> str:
    return operation.removesuffix("_stream")


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """What a value says, piece by piece: texts, numbers, and objects and arrays that are empty."""
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from leaves(member, (*path, name))
    elif isinstance(value, list | tuple) and value:
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path, value


def written(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def found(document: object, path: Path) -> Any:
    """What is at a place; ``...`` when nothing is."""
    there: Any = document
    for step in path:
        members: Any = dict(enumerate(there)) if isinstance(there, list) else there
        there = members.get(step, ...) if isinstance(members, dict) else ...
    return there


def names(param: str, path: Path) -> bool:
    """Whether a note about ``param`` is about this place, or about something that it is part of."""
    exact = written(path)
    anywhere = re.sub(r"\[[0-9]+\]", "[]", exact)
    return any(place == param or place.startswith((f"{param}.", f"{param}[")) for place in (exact, anywhere))


class Account:
    """A plan and its ledger, to be asked what became of each piece of the request."""

    def __init__(self, operation: RequestType, plan: Plan, notes: Sequence[Note]) -> None:
        self.kind = plain(operation)
        self.params = [note.param for note in notes]
        self.form: dict[str, list[str]] = {}
        self.body: dict[str, Any] = {}
        if self.kind == "transcription":
            for part in parts_of_plan(plan):
                said = part.value.decode(errors="surrogateescape")
                self.form.setdefault(unescaped(part.name), []).append(said)
                if part.filename is not None:
                    self.body = {"file": {"file": part.value, "filename": unescaped(part.filename)}}
                    self.body["file"]["content_type"] = part.content_type
        elif plan.body is not None:
            self.body = json.loads(plan.body.data)
            self.words = json.dumps(self.body, ensure_ascii=False)

    def places(self, path: Path) -> Iterator[Path]:
        """Where a piece of the request may belong: in the flat form, a wrapper is a name like any other."""
        first, *rest = path
        yield (INPUTS[self.kind].get(str(first), first), *rest)
        while len(path) > 1 and path[0] in WRAPPERS:
            path = path[1:]
            yield path

    def accounts_for(self, path: Path, value: object) -> bool:
        if written(path) in self.params:
            return True
        wrapped = next((path[n:] for n, step in enumerate(path) if step == "extra_body"), path)
        about = [param for param in self.params if param not in WRAPPERS]
        return any(
            written(place) in self.params
            or any(names(param, each) for param in about for each in (place, wrapped))
            or self._holds(place, value)
            for place in self.places(path)
        )

    def _holds(self, place: Path, value: object) -> bool:
        if self.kind == "transcription":
            return self._in_form(place, value)
        there = found(self.body, self._moved(place))
        if there is not ... and same(there, wire(value)):
            return True
        if value in ({}, []) and isinstance(there, type(value)):  # something was added
            return True
        return self.kind == "responses" and self._bridged(place, value)

    def _moved(self, place: Path) -> Path:
        """Tools move up when one before them was left out."""
        if len(place) > 1 and place[0] == "tools" and isinstance(place[1], int):
            gone = sum(f"tools[{number}]" in self.params for number in range(place[1]))
            return (place[0], place[1] - gone, *place[2:])
        return place

    def _in_form(self, place: Path, value: object) -> bool:
        """Whether it is among the fields; objects are there as JSON."""
        if place[0] == "file" and len(place) == 2:
            there = found(self.body, place)
            return same(there, value) or (not value and place[1] != "file")
        name, *inside = place
        said = [text for each in (name, f"{name}[]") for text in self.form.get(str(each), ())]
        if inside and isinstance(inside[0], int):
            inside = inside[1:]
        if not inside:
            return any(says(text, value) for text in said)
        objects_said = (documents.decode(text.encode(errors="surrogateescape")) for text in said)
        return any(same(found(each, tuple(inside)), wire(value)) for each in objects_said)

    def _bridged(self, place: Path, value: object) -> bool:
        """Whether a piece of a response is in the chat: a text as part of one, else under its own name."""
        if SHAPES.fullmatch(re.sub(r"\[[0-9]+\]", "[]", written(place))):
            return True
        if isinstance(value, str) and json.dumps(value, ensure_ascii=False)[1:-1] in self.words:
            return True
        if value in ("", [], {}):  # an item that says nothing
            return True
        last = max(number for number, step in enumerate(place) if isinstance(step, str))
        return any(same(found(each, place[last:]), wire(value)) for each in objects(self.body))


def says(text: str, value: object) -> bool:
    """Whether a field of a form means a value."""
    try:
        return means(text, value)
    except ValueError:  # it is neither a number nor JSON
        return False


def objects(value: object) -> Iterator[object]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def unaccounted(operation: RequestType, asked: Mapping[str, object], server: Server = UNKNOWN) -> list[str]:
    """The pieces of a request, flat or in Bifrost's form, that are neither sent nor noted."""
    row, call = OPERATIONS[operation], Call(operation, server=server)
    is_flat = "messages" in asked or "prompt" in asked or "file" in asked or "provider" not in asked
    request = row.from_flat(asked) if is_flat else asked
    plan = request if isinstance(request, Failure) else row.plan(request, call)
    if isinstance(request, Failure) or isinstance(plan, Failure):
        return []
    account = Account(operation, plan, row.noted(request, call))
    return [
        written(path)
        for path, value in leaves(asked)
        if path
        and path[0] not in ADDRESS
        and not (path[-1] in WRAPPERS and value in (None, {}) and set(path) <= {*WRAPPERS})
        and not account.accounts_for(path, value)
    ]


# -- what is asked ---------------------------------------------------------------------------------


ENUMERATED: Final = frozenset({"type", "role"})


def told_apart(value: Any, name: str = "", numbers: Iterator[int] | None = None) -> Any:
    """The same, no two texts in it alike, so that none is taken for another; types and roles stay."""
    numbers = itertools.count(1) if numbers is None else numbers
    if isinstance(value, dict):
        return {key: told_apart(member, key, numbers) for key, member in value.items()}
    if isinstance(value, list):
        return [told_apart(item, name, numbers) for item in value]
    if isinstance(value, str) and name not in ENUMERATED:
        return f"{value}⟦{next(numbers)}⟧"
    return value


@st.composite
def overlaid(draw: DrawFn, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the same names, objects with the same members."""
    chosen = draw(st.lists(st.sampled_from(sorted(params)), unique=True, max_size=3)) if params else []
    are_json = {name: isinstance(documents.encode(params[name]), bytes) for name in chosen}
    return {
        name: draw(some.mutated(params[name]) | some.json_values if is_json else some.json_values)
        for name, is_json in are_json.items()
    }


@st.composite
def bifrost_or_flat(
    draw: DrawFn, bifrost: SearchStrategy[dict[str, Any]], inputs: Mapping[str, str]
) -> dict[str, Any]:
    """A request in either form, parameters wherever there may be some, some of them twice, some strange."""
    request = draw(bifrost)
    strange = draw(st.dictionaries(some.sane_texts.filter(bool), some.json_values, max_size=2))
    params = request.get("params")
    params = params if isinstance(params, dict) else {}
    twice = {}
    for wrapper in draw(st.lists(st.sampled_from(WRAPPERS[1:]), unique=True)):
        own = params.get(wrapper)
        twice[wrapper] = {**(own if isinstance(own, dict) else {}), **draw(overlaid(params))}
    params = {**params, **twice}
    if draw(st.booleans()):
        return {**strange, **request, **({"params": params} if params else {})}
    flat = {
        inputs.get(name, name): value for name, value in request.items() if name not in {"params", "provider"}
    }
    return {**strange, **{name: value for name, value in params.items() if name not in flat}, **flat}


def with_texts_told_apart(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "input": told_apart(request["input"])} if "input" in request else request


_SAID_OF_ITEMS: Mapping[str, SearchStrategy[Any]] = {
    "id": some.sane_texts,
    "status": st.sampled_from(["completed", "in_progress"]),
    "phase": st.just("commentary"),
    "caller": st.just({"type": "direct"}),
    "async": st.booleans(),
    "function": st.just({"name": "f"}),
    "name": some.sane_texts,
    "namespace": st.none(),
    "encrypted_content": st.just("gAAA"),
    "x_vendor": some.json_values,
}
_SAID_OF_PARTS: Mapping[str, SearchStrategy[Any]] = {
    "annotations": st.just([{"type": "url_citation", "url": "u"}]),
    "logprobs": st.just([{"token": "a", "logprob": -0.5}]),
    "prompt_cache_breakpoint": st.just({"mode": "explicit"}),
    "file_id": st.none() | st.just("file-1"),
    "file_url": st.just("https://x.example/a.pdf"),
    "file_type": st.just("application/pdf"),
    "detail": st.just("high"),
    "x_vendor": some.json_values,
}


@st.composite
def with_more_said(draw: DrawFn, request: dict[str, Any]) -> dict[str, Any]:
    """The request of a response, in which providers say more of items and their parts."""
    items = request.get("input")
    if not isinstance(items, list):
        return request
    out = []
    for item in items:
        said = {**draw(some.some_of(_SAID_OF_ITEMS, 3)), **item} if isinstance(item, dict) else item
        for name in ("content", "output", "summary"):
            if isinstance(said, dict) and isinstance(parts := said.get(name), list):
                said[name] = [
                    {**part, **draw(some.some_of(_SAID_OF_PARTS, 2))} if isinstance(part, dict) else part
                    for part in parts
                ]
        out.append(said)
    return {**request, "input": out}


OF_KINDS = {kind.operations[0]: operations.requests(kind) for kind in operations.KINDS}
REQUESTS: Mapping[str, SearchStrategy[dict[str, Any]]] = {
    "chat_completion": bifrost_or_flat(some.requests(), {"input": "messages"}) | some.flat_requests(),
    "responses": bifrost_or_flat(responses_requests().flatmap(with_more_said).map(with_texts_told_apart), {}),
    "text_completion": bifrost_or_flat(OF_KINDS["text_completion"], {"input": "prompt"}),
    "embedding": bifrost_or_flat(OF_KINDS["embedding"], {}),
    "rerank": bifrost_or_flat(OF_KINDS["rerank"], {})
    | operations.flat_requests(next(kind for kind in operations.KINDS if "rerank" in kind.operations)),
    "transcription": bifrost_or_flat(transcripts.requests(), {"input": "file"}),
    "list_models": some.json_objects,
}


SERVERS = st.sampled_from(
    [UNKNOWN, UNKNOWN, servers.server("0.16.0"), servers.server("0.32.0"), Server("0.10.2", "legacy", ())]
)


half = settings(max_examples=max(settings().max_examples // 2, 1))


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@half
@given(st.data())
def test_the_plan_and_the_notes_account_for_every_piece_of_a_request(
    operation: RequestType, data: DataObject
) -> None:
    asked, server = data.draw(REQUESTS[plain(operation)]), data.draw(SERVERS)
    assert unaccounted(operation, asked, server) == []


# -- what is answered ------------------------------------------------------------------------------

ASKED: Final[Mapping[str, object]] = {
    "provider": "vllm", "model": "m", "input": [{"role": "user", "content": "hi"}], "query": "q",
    "documents": ["a", "b", "c", "d", "e", "f"],
}  # fmt: skip
REPLIES: Mapping[RequestType, SearchStrategy[bytes]] = {
    "chat_completion": some.bodies(),
    **{kind.operations[0]: kind.bodies for kind in operations.KINDS},
    "transcription": transcripts.bodies(),
    "list_models": some.bodies_of(
        st.lists(
            st.fixed_dictionaries(
                {"id": some.texts}, optional={"max_model_len": some.integers, "x_vendor": some.json_values}
            )
        ).map(lambda rows: {"object": "list", "data": rows, "x_vendor": 1})
    ),
}


def request_for(operation: RequestType) -> Mapping[str, object]:
    """A request to which an answer may come."""
    if operation == "transcription":
        return {**ASKED, "input": {"file": b"RIFF", "filename": "a.wav"}}
    return {**ASKED, "input": "hi"} if operation != "chat_completion" else ASKED


def says_nothing(value: object) -> bool:
    """Null, what is empty, and what JSON has no spelling for: servers fill the places of what they do not have."""
    return value is None or value in ("", [], {}) or (isinstance(value, float) and not math.isfinite(value))


def alike(there: object, value: object) -> bool:
    """The same; but a count may have become an integer."""
    return same(there, value) or (isinstance(value, float) and there == value and not isinstance(there, bool))


def named(operation: str, path: Path, value: object) -> object:
    """A piece of a reply as clients know it: models have the name of the provider before theirs."""
    is_name = operation == "list_models" and path[::2] == ("data", "id") and isinstance(value, str)
    return f"vllm/{value}" if is_name else value


def kept_rows(rows: object, params: Sequence[str], name: str) -> list[int | None]:
    """For each row of a reply its place in the answer, ``None`` for those left out with a note."""
    out: list[int | None] = []
    for number in range(len(rows) if isinstance(rows, list) else 0):
        gone = f"{name}[{number}]" in params
        out.append(None if gone else sum(place is not None for place in out))
    return out


def in_answer(operation: str, said: Any, answer: Any, path: Path, params: Sequence[str]) -> Path:
    """Where in the answer to look for a piece of the reply; rows are sorted, and those left out leave no gap."""
    for depth, name in enumerate(path[:-1]):
        number = path[depth + 1]
        if not isinstance(name, str) or not isinstance(number, int):
            continue
        rows = found(said, path[: depth + 1])
        if name == "results" and isinstance(rows, list):
            wanted = rows[number]["index"]
            places = [at for at, row in enumerate(answer["results"]) if row["index"] == wanted]
            path = (*path[: depth + 1], *places, *path[depth + 2 :])
        elif operation == "embedding" and name == "data" and depth == 0 and isinstance(rows, list):
            given = [row.get("index", at) if isinstance(row, dict) else at for at, row in enumerate(rows)]
            if all(type(each) is int for each in given):
                place = sorted(range(len(rows)), key=lambda at: given[at]).index(number)
                path = (name, place, *path[depth + 2 :])
        elif name in {"choices", "tool_calls", "data"}:
            kept = kept_rows(rows, params, written(path[: depth + 1]))
            if (left := kept[number]) is not None:
                path = (*path[: depth + 1], left, *path[depth + 2 :])
    return tuple("message" if step == "delta" else step for step in path)


def unnoticed(operation: RequestType, body: bytes) -> list[str]:
    """The pieces of a reply that are neither in the answer nor in its ledger."""
    request = request_for(operation)
    answer = OPERATIONS[operation].parse(request, Reply(200, {}, body), 0, Call(operation))
    said = documents.decode(body)
    if isinstance(answer, Failure) or not isinstance(said, dict):
        return []
    told = wire(answer)
    params = [note["param"] for note in told["extra_fields"].get("translation_notes", [])]
    said = json.loads(body, strict=False)
    return [
        written(path)
        for path, value in leaves(said)
        if not says_nothing(value)
        and not any(names(param, path) for param in params)
        and not alike(
            found(told, in_answer(operation, said, told, path, params)), named(operation, path, value)
        )
    ]


@pytest.mark.parametrize("operation", sorted(REPLIES))
@given(st.data())
def test_the_answer_and_its_notes_account_for_every_piece_of_a_reply(
    operation: RequestType, data: DataObject
) -> None:
    assert unnoticed(operation, data.draw(REPLIES[operation])) == []


# -- what is streamed ------------------------------------------------------------------------------

_LAST_COUNTS: Final = frozenset({"role", "finish_reason", "usage"})
"""What is the same on every frame, or counted up."""


def frames_of(choices: SearchStrategy[Any]) -> SearchStrategy[list[dict[str, Any]]]:
    """Frames of a stream in which every text is another."""
    return st.lists(
        st.fixed_dictionaries(
            {"choices": st.lists(choices, max_size=2)},
            optional={"x_vendor": some.json_values, "usage": st.just({"x_note": "counted"}) | st.just("odd")},
        ),
        min_size=1,
        max_size=4,
    ).map(told_apart)


_CALLS_SAID = st.lists(
    st.fixed_dictionaries(
        {"index": st.integers(0, 1)},
        optional={
            "id": st.just("c"),
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {}, optional={"name": st.just("f"), "arguments": some.sane_texts}
            ),
            "x_vendor": some.json_values,
        },
    )
    | st.just("odd"),
    max_size=2,
)
_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": some.sane_texts | st.none(),
        "reasoning": some.sane_texts,
        "reasoning_content": some.sane_texts,
        "tool_calls": _CALLS_SAID | st.just("odd"),
        "x_vendor": some.json_values,
    },
)
FRAMES: Mapping[RequestType, SearchStrategy[list[dict[str, Any]]]] = {
    "chat_completion_stream": frames_of(
        st.fixed_dictionaries(
            {"index": st.integers(0, 1), "delta": _DELTAS},
            optional={
                "finish_reason": st.just("stop"),
                "x_vendor": some.json_values,
                "logprobs": st.just({"content": ["t"]}),
            },
        )
        | st.just("odd")
    ),
    "text_completion_stream": frames_of(
        st.fixed_dictionaries(
            {"index": st.integers(0, 1)},
            optional={
                "text": some.sane_texts,
                "finish_reason": st.just("stop"),
                "x_vendor": some.json_values,
            },
        )
        | st.just("odd")
    ),
    "transcription_stream": frames_of(
        st.fixed_dictionaries(
            {
                "delta": st.fixed_dictionaries(
                    {"content": some.sane_texts}, optional={"x_vendor": some.json_values}
                )
            }
        )
    ),
}


def unheard(operation: RequestType, frames: Sequence[Mapping[str, object]]) -> list[str]:
    """The texts of a stream that are in no event and that no note is about."""
    row = OPERATIONS[operation]
    assert row.fold is not None
    fold = row.fold(
        request_for(operation), Reply(200, {"content-type": "text/event-stream"}), Call(operation)
    )
    data = b"".join(b"data: %b\n\n" % encoded(frame) for frame in frames) + b"data: [DONE]\n\n"
    events = [*fold.feed(data, 0), *fold.close(1, None)]
    if any(isinstance(event, Failure) for event in events):
        return []
    told = [wire(event.data) for event in events if isinstance(event, Chunk)]
    said = json.dumps(told, ensure_ascii=False)
    notes = [note["param"] for note in told[-1]["extra_fields"].get("translation_notes", [])]
    return [
        written(path)
        for path, value in leaves(list(frames))
        if isinstance(value, str)
        and not any(isinstance(step, str) and step in _LAST_COUNTS for step in path)
        and json.dumps(value, ensure_ascii=False)[1:-1] not in said
        and not any(re.split(r"[.\[]", param)[0] in path or param.endswith(f".{path[-1]}") for param in notes)
    ]


@pytest.mark.parametrize("operation", sorted(FRAMES))
@given(st.data())
def test_the_events_and_their_notes_account_for_every_text_of_a_stream(
    operation: RequestType, data: DataObject
) -> None:
    assert unheard(operation, data.draw(FRAMES[operation])) == []
