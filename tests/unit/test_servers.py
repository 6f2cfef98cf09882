"""translate.servers: what is known of a version, and what a request becomes where it is known."""

import json

import pytest

from translate import chat, completions
from translate.plan import Call, Plan
from translate.servers import UNKNOWN, Server, Value, cell, numbers, server

CHOICE = {"choice": ["red", "blue"]}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.16.0", (0, 16, 0)),
        ("v0.16", (0, 16, 0)),
        (" 0.16.1rc2.dev3+gabc ", (0, 16, 1)),
        ("0.8.5.post1", (0, 8, 5)),
        ("0.10.2+cpu", (0, 10, 2)),
        ("1.2.3", (1, 2, 3)),
        ("", None),
        ("newest", None),
        ("16", None),
        ("0.1234567890.1", None),
    ],
)
def test_a_version_is_read_as_servers_tell_it(version: str, expected: object) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize(
    ("version", "trait", "expected"),
    [
        ("0.16.0", "efforts", ("low", "medium", "high")),
        ("v0.16.0+cpu", "efforts", ("low", "medium", "high")),
        ("0.20.1", "efforts", None),
        ("0.20.1", "structured_outputs", "structured_outputs"),
        ("0.33.0", "structured_outputs", None),
        ("0.1.0", "errors", None),
        ("0.16.0", "colour", None),
        ("newest", "errors", None),
    ],
    ids=[
        "recorded", "the same, spelled otherwise", "between two that differ", "between two that agree",
        "newer than all", "older than all", "no such trait", "no version",
    ],
)  # fmt: skip
def test_what_is_known_of_a_version(version: str, trait: str, expected: Value | None) -> None:
    assert cell(version, trait) == expected


def test_of_an_unknown_server_nothing_is_known() -> None:
    assert server("") == UNKNOWN
    assert server("0.99.0") == Server("0.99.0")


def planned(known: Server, **params: object) -> tuple[object, list[tuple[str, ...]]]:
    """The parameters that are sent to a server, and the notes."""
    request = {"model": "m", "input": [{"role": "user", "content": "hi"}], "params": params}
    call = Call("chat_completion", server=known)
    plan = chat.plan(request, call)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    body = json.loads(plan.body.data)
    return {name: body[name] for name in body if name not in {"model", "messages"}}, [
        tuple(note) for note in chat.noted(request, call)
    ]


OLD = Server("0.16.0", "native", ("low", "medium", "high"))


@pytest.mark.parametrize(
    ("effort", "nearest"),
    [("none", "low"), ("minimal", "low"), ("xhigh", "high"), ("max", "high")],
)
def test_an_effort_that_a_server_refuses_becomes_the_nearest_that_it_accepts(
    effort: str, nearest: str
) -> None:
    note = ("reasoning_effort", "converted", f"{nearest}, which vLLM 0.16.0 accepts, as it does not {effort}")
    assert planned(OLD, reasoning_effort=effort) == ({"reasoning_effort": nearest}, [note])


@pytest.mark.parametrize("effort", ["low", "utmost", 5])
def test_any_other_effort_goes_out_as_it_came(effort: object) -> None:
    assert planned(OLD, reasoning_effort=effort) == ({"reasoning_effort": effort}, [])


def test_an_unknown_server_gets_every_effort_as_it_came() -> None:
    assert planned(UNKNOWN, reasoning_effort="max") == ({"reasoning_effort": "max"}, [])


def test_a_server_that_reads_no_effort_gets_none() -> None:
    note = ("reasoning_effort", "dropped", "vLLM 0.10.2 has no such parameter")
    assert planned(Server("0.10.2", efforts=()), reasoning_effort="low") == ({}, [note])


def test_an_estimated_effort_is_one_that_the_server_accepts() -> None:
    fields, notes = planned(OLD, reasoning_max_tokens=0)
    assert fields == {"reasoning_effort": "low"}
    assert [note[:2] for note in notes] == [
        ("reasoning_max_tokens", "converted"),
        ("reasoning_effort", "converted"),
    ]


def test_a_server_that_reads_the_older_names_gets_them() -> None:
    given = {
        "structured_outputs": {**CHOICE, "json": {"b": 1}, "whitespace_pattern": " "},
        "guided_json": {"a": 1},
    }
    assert planned(Server("0.10.2", "legacy"), temperature=0, **given) == (
        {
            "temperature": 0,
            "guided_choice": ["red", "blue"],
            "structured_outputs": {"whitespace_pattern": " "},
            "guided_json": {"a": 1},
        },
        [
            ("structured_outputs.json", "dropped", "guided_json is set"),
            ("structured_outputs.choice", "renamed", "guided_choice"),
        ],
    )


def test_what_the_configuration_says_counts_for_a_text_completion_too() -> None:
    request = {"model": "m", "input": "hi", "params": {"structured_outputs": CHOICE}}
    plan = completions.plan(request, Call("text_completion", structured_outputs="legacy"))
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert json.loads(plan.body.data) == {"model": "m", "prompt": "hi", "guided_choice": ["red", "blue"]}
