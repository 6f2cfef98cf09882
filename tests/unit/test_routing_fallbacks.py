"""routing.fallbacks: what a request wants tried when its own model fails."""

import json

import pytest

from routing.fallbacks import MOST, Dropped, Fallback, Fallbacks, read
from routing.settings import Config, Key

CONFIG = Config(keys=(Key(name="k", id="k", url="http://h", models=("org/served",)),))
STRANGE = "names no provider that this gateway has"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, Fallbacks(), id="none"),
        pytest.param([], Fallbacks(), id="an empty list"),
        pytest.param(
            ["vllm/a", "vllm/org/b", "vllm//models/c"],
            Fallbacks((Fallback("vllm", "a"), Fallback("vllm", "org/b"), Fallback("vllm", "/models/c"))),
            id="texts",
        ),
        pytest.param(
            [
                {"provider": "vllm", "model": "a", "params": {"temperature": 0.2, "top_k": 5}},
                {"provider": "vllm", "model": "org/b", "params": None, "more": 1},
                {"model": "vllm/c"},
            ],
            Fallbacks(
                (
                    Fallback("vllm", "a", {"temperature": 0.2, "top_k": 5}),
                    Fallback("vllm", "org/b"),
                    Fallback("vllm", "c"),
                )
            ),
            id="objects",
        ),
        pytest.param(
            ["vllm/a", "vllm/a"],
            Fallbacks((Fallback("vllm", "a"), Fallback("vllm", "a"))),
            id="the same twice",
        ),
        pytest.param(
            ["org/served", "org/other", "openai/gpt", {"provider": "openai", "model": "gpt"}, "vllm/a"],
            Fallbacks(
                (Fallback("", "org/served"), Fallback("vllm", "a")),
                (
                    Dropped("fallbacks[1]", STRANGE),
                    Dropped("fallbacks[2]", STRANGE),
                    Dropped("fallbacks[3]", STRANGE),
                ),
            ),
            id="other providers are left out, models that a key serves need none",
        ),
        pytest.param(
            [
                5,
                None,
                {},
                {"provider": "vllm"},
                {"provider": "vllm", "model": 1},
                {"provider": 1, "model": "a"},
                {"provider": "vllm", "model": "a", "params": []},
                "vllm/",
                "",
                {"provider": "vllm", "model": " "},
                "vllm/good",
            ],
            Fallbacks(
                (Fallback("vllm", "good"),),
                (
                    Dropped("fallbacks[0]", "neither a text nor an object"),
                    Dropped("fallbacks[1]", "neither a text nor an object"),
                    Dropped("fallbacks[2]", "provider and model must be texts"),
                    Dropped("fallbacks[3]", "provider and model must be texts"),
                    Dropped("fallbacks[4]", "provider and model must be texts"),
                    Dropped("fallbacks[5]", "provider and model must be texts"),
                    Dropped("fallbacks[6]", "params must be an object"),
                    Dropped("fallbacks[7]", "names no model"),
                    Dropped("fallbacks[8]", "names no model"),
                    Dropped("fallbacks[9]", "names no model"),
                ),
            ),
            id="what makes no sense is left out, the rest is used",
        ),
        pytest.param(
            {"model": "a"}, Fallbacks(dropped=(Dropped("fallbacks", "not a list"),)), id="an object"
        ),
        pytest.param(5, Fallbacks(dropped=(Dropped("fallbacks", "not a list"),)), id="a number"),
        pytest.param("", Fallbacks(), id="an empty field of a form"),
        pytest.param("vllm/a", Fallbacks((Fallback("vllm", "a"),)), id="a field of a form"),
        pytest.param(
            ["vllm/a", "vllm/b"],
            Fallbacks((Fallback("vllm", "a"), Fallback("vllm", "b"))),
            id="a repeated field",
        ),
        pytest.param(
            json.dumps(["vllm/a", {"provider": "vllm", "model": "b", "params": {"language": "de"}}]),
            Fallbacks((Fallback("vllm", "a"), Fallback("vllm", "b", {"language": "de"}))),
            id="a field of a form that holds JSON",
        ),
        pytest.param(
            "[vllm/a",
            Fallbacks(dropped=(Dropped("fallbacks[0]", "neither a text nor an object"),)),
            id="broken JSON",
        ),
        pytest.param(
            "[" * 100_000,
            Fallbacks(dropped=(Dropped("fallbacks[0]", "neither a text nor an object"),)),
            id="JSON that is nested too deeply",
        ),
    ],
)
def test_read(value: object, expected: Fallbacks) -> None:
    assert read(value, CONFIG) == expected


def test_there_are_not_more_than_so_many() -> None:
    found = read(["vllm/a"] * (MOST + 10), CONFIG)
    assert found == Fallbacks(
        (Fallback("vllm", "a"),) * MOST, (Dropped(f"fallbacks[{MOST}]", f"more than {MOST}"),)
    )
