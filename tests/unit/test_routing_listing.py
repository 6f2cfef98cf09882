"""routing.listing: the models of all keys as one list."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from routing.config import Alias, Key
from routing.listing import Answer, Document, Listing, key_statuses, merge, named, shown

ERROR = {"is_bifrost_error": False, "error": {"message": "no"}}


def key(name: str = "k", *models: str, denied: Sequence[str] = (), **aliases: str) -> Key:
    return Key(
        name,
        f"id-{name}",
        value="sk-canary",
        url="http://10.1.2.3",
        models=models,
        blacklisted_models=tuple(denied),
        aliases={alias.replace("_", "-"): Alias(target) for alias, target in aliases.items()},
    )


def row(name: str, **members: object) -> dict[str, object]:
    return {"id": f"vllm/{name}", "object": "model", **members}


def models(*rows: object, **extra_fields: object) -> Document:
    return {"data": list(rows), "extra_fields": {"request_type": "list_models", **extra_fields}}


def in_short(rows: Sequence[Document]) -> list[str]:
    return sorted(f"{each['id']} = {each['alias']}" if "alias" in each else str(each["id"]) for each in rows)


SERVED = [row("gpt-4o"), row("gpt-4"), row("gpt-3.5-turbo")]


@pytest.mark.parametrize(
    ("of", "listed", "added"),
    [
        pytest.param(
            key("k", "*"), ["vllm/gpt-3.5-turbo", "vllm/gpt-4", "vllm/gpt-4o"], [], id="a star allows all"
        ),
        pytest.param(
            key("k", "*", best_model="gpt-4o"),
            ["vllm/best-model = gpt-4o", "vllm/gpt-3.5-turbo", "vllm/gpt-4", "vllm/gpt-4o"],
            [],
            id="an alias is shown beside all models",
        ),
        pytest.param(
            key("k", "gpt-4o", my_alias="gpt-4o"),
            ["vllm/gpt-4o", "vllm/my-alias = gpt-4o"],
            [],
            id="an alias is shown though it is not allowed",
        ),
        pytest.param(
            key("k", my_alias="gpt-4o"), ["vllm/my-alias = gpt-4o"], [], id="nothing allowed: only aliases"
        ),
        pytest.param(key("k"), [], [], id="nothing allowed, no aliases: nothing"),
        pytest.param(
            key("k", "*", ft="ft:custom"),
            ["vllm/gpt-3.5-turbo", "vllm/gpt-4", "vllm/gpt-4o"],
            ["vllm/ft = ft:custom"],
            id="an alias of a model that is not listed",
        ),
        pytest.param(
            key("k", "*", denied=["Blocked", "gpt-4"], blocked="gpt-4o", ok="gpt-4o", missing="x"),
            ["vllm/gpt-3.5-turbo", "vllm/gpt-4o", "vllm/ok = gpt-4o"],
            ["vllm/missing = x"],
            id="a blacklist hides aliases and models",
        ),
        pytest.param(
            key("k", "*", denied=["gpt-4o"], best="gpt-4o"),
            ["vllm/best = gpt-4o", "vllm/gpt-3.5-turbo", "vllm/gpt-4"],
            [],
            id="an alias of a blacklisted model stays, as requests for it are served",
        ),
        pytest.param(
            key("k", "best-model", "gpt-4o", best_model="gpt-4o"),
            ["vllm/best-model = gpt-4o", "vllm/gpt-4o"],
            [],
            id="an alias that is allowed by name, too, is shown once",
        ),
        pytest.param(
            key("k", "GPT-4o", "org/not-there", "gpt-5", denied=["GPT-5"]),
            ["vllm/gpt-4o"],
            ["vllm/org/not-there"],
            id="what is allowed and not listed is added, case ignored, unless blacklisted",
        ),
        pytest.param(
            key("k", "*", "gpt-4o", denied=["*"], best="gpt-4o", missing="x"), [], [], id="all is blacklisted"
        ),
        pytest.param(
            key("k", "*", a="GPT-4O", b="gpt-4o"),
            [
                "vllm/a = GPT-4O",
                "vllm/b = gpt-4o",
                "vllm/gpt-3.5-turbo",
                "vllm/gpt-4",
                "vllm/gpt-4o",
            ],
            [],
            id="two aliases of one model, case ignored",
        ),
        pytest.param(
            Key("k", "k", models=("*",), model_name="gpt-4"),
            ["vllm/gpt-3.5-turbo", "vllm/gpt-4", "vllm/gpt-4o"],
            [],
            id="model_name hides nothing",
        ),
    ],
)
def test_what_a_key_shows(of: Key, listed: list[str], added: list[str]) -> None:
    of_server, of_configuration = shown(of, SERVED)
    assert (in_short(of_server), in_short(of_configuration)) == (listed, added)


def test_an_alias_has_all_that_is_known_of_its_model() -> None:
    lora = row("lora_1", parent="base", root="/loras/lora_1", max_model_len=8, context_length=8)
    assert shown(key("k", "x", fast="lora_1", slow="lora_2"), [lora]) == (
        [{**lora, "id": "vllm/fast", "alias": "lora_1"}],
        [{"id": "vllm/slow", "alias": "lora_2", "name": "Slow"}, {"id": "vllm/x", "name": "X"}],
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gemini-pro", "Gemini Pro"),
        ("claude_3_OPUS", "Claude 3 Opus"),
        ("org/gpt-4-turbo", "Org/Gpt 4 Turbo"),
        ("-模型-", "模型"),
    ],
)
def test_the_name_for_people_of_what_is_not_listed(name: str, expected: str) -> None:
    assert shown(key("k", name), [])[1] == [{"id": f"vllm/{name}", "name": expected}]


def test_the_list_of_two_keys() -> None:
    failed = Answer(key("broken"), error=ERROR)
    first = Answer(key("a", "*"), models(row("m", created=1), row("b"), row("m", created=2), latency=5))
    second = Answer(key("b", "*"), models(row("c"), row("m", created=3), latency=9))
    assert merge([first, failed, second]).page() == {
        "data": [row("b"), row("c"), row("m", created=1)],
        "key_statuses": [
            {"key_id": "id-a", "provider": "vllm", "status": "success"},
            {"key_id": "id-broken", "provider": "vllm", "status": "list_models_failed", "error": ERROR},
            {"key_id": "id-b", "provider": "vllm", "status": "success"},
        ],
        "extra_fields": {"request_type": "list_models", "latency": 9},
    }


def test_what_a_server_lists_goes_before_what_is_only_configured() -> None:
    idle, busy = Answer(key("a", "m", x="n"), models()), Answer(key("b", "*", x="m"), models(row("m")))
    rows = [row("m"), {**row("x"), "alias": "m"}]
    assert merge([idle, busy]).rows == merge([busy, idle]).rows == rows


def test_an_alias_goes_before_a_model_of_its_name() -> None:
    answer = Answer(key("k", "*", a="b"), models(row("a", created=1), row("b", created=2)))
    assert merge([answer]).rows == [{**row("a", created=2), "alias": "b"}, row("b", created=2)]


def test_the_raw_responses_of_those_that_answered() -> None:
    answers = [
        Answer(key("a", "*"), models(latency=1, raw_response={"data": []})),
        Answer(key("b", "*"), error=ERROR),
        Answer(key("c", "*"), models(latency=2, raw_response="text")),
    ]
    assert merge(answers).extra_fields == {
        "request_type": "list_models",
        "latency": 2,
        "raw_response": [{"data": []}, "text"],
    }


@pytest.mark.parametrize("of", [5, None, {"id": 5}, {"id": None}, {}, "m", [{"id": "m"}]])
def test_what_has_no_name_is_left_out(of: object) -> None:
    assert merge([Answer(key("k", "*"), models(of, row("m")))]).rows == [row("m")]


def test_statuses_hold_neither_address_nor_secret() -> None:
    told = repr(key_statuses([Answer(key("a"), models()), Answer(key("b"), error=ERROR)]))
    assert "id-a" in told
    assert "10.1.2.3" not in told
    assert "sk-canary" not in told


ROWS = [row(name) for name in "abcde"]
LISTING = Listing(ROWS, (), {})


def token(cursor: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")


def pages(size: str) -> list[list[Any]]:
    found = []
    document = LISTING.page(size)
    while True:
        found.append([each["id"][-1] for each in document["data"]])  # type: ignore[attr-defined]
        if "next_page_token" not in document:
            return found
        document = LISTING.page(size, str(document["next_page_token"]))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1", ["a", "b", "c", "d", "e"]),
        ("2", ["ab", "cd", "e"]),
        ("5", ["abcde"]),
        ("999999999999999999", ["abcde"]),
        *((size, ["abcde"]) for size in ("", "0", "-1", "+1", " 1", "1.0", "x", "\uff11", "²", "9" * 5000)),
    ],
)
def test_pages(size: str, expected: list[str]) -> None:
    assert ["".join(names) for names in pages(size)] == expected


def test_a_token_is_the_cursor_in_base64() -> None:
    told = LISTING.page("2")["next_page_token"]
    assert isinstance(told, str)
    assert "=" not in told
    assert json.loads(base64.urlsafe_b64decode(told + "==")) == {"o": 2, "l": "vllm/b"}


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(token({"o": 2, "l": "vllm/b"}), "cd", id="where it was"),
        pytest.param(token({"o": 4, "l": "vllm/b"}), "cd", id="two models before it have gone"),
        pytest.param(token({"o": 1, "l": "vllm/c"}), "de", id="two models have come before it"),
        pytest.param(token({"o": 9, "l": "vllm/bb"}), "cd", id="it has gone itself"),
        pytest.param(token({"o": 5, "l": "vllm/e"}), "", id="at the end"),
        pytest.param(token({"o": 7, "l": "vllm/z"}), "", id="past the end"),
        pytest.param(token({"o": 3}), "de", id="no name"),
        pytest.param(token({"o": 99}), "", id="no name, past the end"),
        *(
            pytest.param(bad, "ab", id=f"bad {number}")
            for number, bad in enumerate([
                "", "!", "====", "é", "\ud83d", "A", token([]), token("x"), token(None), token({}), token({"o": -1}),
                token({"o": True}), token({"o": 1.5}), token({"o": "1"}), token({"o": 1, "l": 5}), "_" * 50,
                base64.urlsafe_b64encode(b"[" * 100_000).decode(), base64.b64encode(b"\xff\xfe").decode(),
            ])
        ),
    ],
)  # fmt: skip
def test_a_page_begins(of: str, expected: str) -> None:
    data = LISTING.page("2", of)["data"]
    assert "".join(each["id"][-1] for each in data) == expected  # type: ignore[attr-defined]


def test_a_token_without_a_size_is_ignored() -> None:
    assert LISTING.page("", token({"o": 2, "l": "vllm/b"}))["data"] == ROWS


@pytest.mark.parametrize(
    ("name", "provider", "found"),
    [
        ("vllm/org/x", "", "vllm/org/x"),
        ("org/x", "", "vllm/org/x"),
        ("org/x", "vllm", "vllm/org/x"),
        ("vllm/org/x", "vllm", "vllm/org/x"),
        ("vllm//models/x", "", "vllm//models/x"),
        ("/models/x", "", "vllm//models/x"),
        ("vllm/vllm/y", "", "vllm/vllm/y"),
        ("vllm/y", "", None),  # a request for it asks the server for "y"
        ("vllm/y", "vllm", "vllm/vllm/y"),
        ("ORG/X", "", None),
        ("", "", None),
        ("z", "", None),
        ("vllm/z", "vllm", None),
    ],
)
def test_one_model(name: str, provider: str, found: str | None) -> None:
    rows = [
        {"id": each, "extra_fields": "the server's"}
        for each in ("vllm//models/x", "vllm/org/x", "vllm/vllm/y")
    ]
    document = Listing(rows, (), {"latency": 3}).model(name, provider)
    assert document == (None if found is None else {"id": found, "extra_fields": {"latency": 3}})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/m", "m"),
        ("/openai/v1/models/vllm/org/name", "vllm/org/name"),
        ("/openai/models/vllm%2Forg%2fname", "vllm/org/name"),
        ("/v1/models/vllm%252Forg", "vllm%2Forg"),
        ("/v1/models/vllm//models/x", "vllm//models/x"),
        ("/v1/models/a%20b+c%C3%A9", "a b+cé"),
        ("/v1/models/", ""),
        ("/v1/models/%2F", "/"),
        ("/v1/models/vllm%2", None),
        ("/v1/models/vllm%zz", None),
        ("/v1/models/%", None),
        ("/v1/models/%ff", None),
    ],
)  # fmt: skip
def test_the_model_that_a_path_names(path: str, name: str | None) -> None:
    assert named(path) == name
