"""routing.keys: which key serves a request, and what the model is called there."""

import pytest

from routing.config import Alias, Config, Key
from routing.fleet import Fleet
from routing.keys import NO_PIN, Choice, Pin, Refusal, candidates, choose_all, chosen, status
from routing.selection import pick
from routing.settings import Selection


def key(name: str, *models: str, **more: object) -> Key:
    members: dict[str, object] = {"url": f"http://{name}", **more}
    return Key(name=name, id=f"id-{name}", models=models, **members)  # type: ignore[arg-type]


A = key("a", "org/a")
B = key("b", "org/a", "org/b")
ANY = key("any", "*", blacklisted_models=("org/z",))
OFF = key("off", "*", enabled=False)
NO_URL = key("no-url", "org/n", url="")
EXACT = key("exact", "*", model_name="Org/E")
ALIASED = key("aliased", "*", aliases={"fast": Alias("org/real")})
BLIND = key("blind", "org/a", aliases={"fast": Alias("org/a")})
LIGHT = key("light", "*", weight=0)
NO_PROVIDER = "could not auto resolve a provider for the request, please specify a provider explicitly"


def unroutable(message: str) -> Refusal:
    return Refusal("unroutable", message)


def choose(config: Config, provider: str, model: str, pin: Pin = NO_PIN) -> Choice | Refusal:
    """What the lowest draw picks: the first candidate that has a weight."""
    found = candidates(config, provider, model, pin)
    if isinstance(found, Refusal):
        return found
    return chosen(pick(found, model, Selection(), Fleet(), 0.0, 0.0).key, model)


@pytest.mark.parametrize(
    ("keys", "model", "expected"),
    [
        pytest.param([A, B], "org/a", Choice(A, "org/a"), id="the first of two"),
        pytest.param([A, B], "org/b", Choice(B, "org/b"), id="the one that allows it"),
        pytest.param([A], "ORG/A", Choice(A, "ORG/A"), id="case does not matter, and is kept"),
        pytest.param([ANY], "x", Choice(ANY, "x"), id="a star allows all"),
        pytest.param(
            [key("none")], "x", unroutable("no keys found that support model: x"), id="no models, none"
        ),
        pytest.param([ANY], "ORG/Z", unroutable("no keys found that support model: ORG/Z"), id="blacklisted"),
        pytest.param(
            [key("deny", "*", blacklisted_models=("*",))],
            "x",
            unroutable("no keys found that support model: x"),
            id="all blacklisted",
        ),
        pytest.param([OFF], "x", unroutable("no keys found that support model: x"), id="disabled"),
        pytest.param([OFF, ANY], "x", Choice(ANY, "x"), id="a disabled one is skipped"),
        pytest.param([EXACT], "Org/E", Choice(EXACT, "Org/E"), id="model_name is met"),
        pytest.param(
            [EXACT],
            "org/e",
            unroutable("no keys found that support model: org/e"),
            id="model_name minds the case",
        ),
        pytest.param([ALIASED], "fast", Choice(ALIASED, "org/real", Alias("org/real")), id="an alias"),
        pytest.param(
            [ALIASED],
            "Fast",
            Choice(ALIASED, "org/real", Alias("org/real")),
            id="case does not matter in an alias",
        ),
        pytest.param(
            [BLIND],
            "fast",
            unroutable("no keys found that support model: fast"),
            id="an alias that models do not allow",
        ),
        pytest.param([NO_URL], "org/n", Refusal("no_url"), id="no address"),
        pytest.param([NO_URL, ANY], "org/n", Choice(ANY, "org/n"), id="one without address is skipped"),
        pytest.param(
            [NO_URL],
            "x",
            unroutable("no keys found that support model: x"),
            id="no address matters only when the model fits",
        ),
        pytest.param([LIGHT, ANY], "x", Choice(ANY, "x"), id="weight zero is a last resort"),
        pytest.param([LIGHT], "x", Choice(LIGHT, "x"), id="the last resort is used"),
        pytest.param(
            [ANY],
            "",
            unroutable("could not auto resolve a model for the request, please specify a model explicitly"),
            id="no model",
        ),
    ],
)
def test_choice_by_model(keys: list[Key], model: str, expected: object) -> None:
    assert choose(Config(tuple(keys)), "vllm", model) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("org/a", Choice(A, "org/a"), id="a key serves it"),
        pytest.param("org/n", Refusal("no_url"), id="a key without address would"),
        pytest.param("VLLM/org/a", unroutable(NO_PROVIDER), id="no key serves it"),
    ],
)
def test_a_model_without_provider_is_taken_when_a_key_serves_it(model: str, expected: object) -> None:
    assert choose(Config((A, NO_URL)), "", model) == expected


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        pytest.param(Pin(name="b"), Choice(B, "org/a"), id="by name"),
        pytest.param(Pin(id="id-b"), Choice(B, "org/a"), id="by id"),
        pytest.param(Pin(id="id-b", name="a"), Choice(B, "org/a"), id="the id wins"),
        pytest.param(Pin(name="light"), Choice(LIGHT, "org/a"), id="weight does not matter"),
        pytest.param(Pin(name="bare"), Refusal("no_url"), id="a key without address"),
        pytest.param(
            Pin(name="off"),
            unroutable('no supported key found with name "off" for provider: vllm and model: org/a'),
            id="a key that does not serve it",
        ),
        pytest.param(
            Pin(id="nobody"),
            unroutable('no supported key found with id "nobody" for provider: vllm and model: org/a'),
            id="no such key",
        ),
    ],
)
def test_a_pinned_key(pin: Pin, expected: object) -> None:
    bare = key("bare", "*", url="")
    assert choose(Config((A, B, LIGHT, OFF, bare)), "vllm", "org/a", pin) == expected


@pytest.mark.parametrize(
    ("keys", "provider", "pin", "expected"),
    [
        pytest.param([OFF, NO_URL, A, LIGHT], "", Pin(), [NO_URL, A, LIGHT], id="all that are enabled"),
        pytest.param([A, B], "vllm", Pin(), [A, B], id="of the provider that is named"),
        pytest.param([A, B], "", Pin(name="b"), [B], id="pinned"),
        pytest.param([A, NO_URL], "", Pin(id="id-no-url"), [NO_URL], id="pinned without an address"),
        pytest.param(
            [A],
            "",
            Pin(name="x"),
            unroutable('no supported key found with name "x" for provider: vllm'),
            id="no such key",
        ),
        pytest.param(
            [OFF], "", Pin(), unroutable("no valid keys found for provider: vllm"), id="none enabled"
        ),
        pytest.param(
            [A], "openai", Pin(), unroutable("no valid keys found for provider: openai"), id="other provider"
        ),
        pytest.param(
            [A], "VLLM", Pin(), unroutable("no valid keys found for provider: VLLM"), id="case matters"
        ),
    ],
)
def test_all_keys(keys: list[Key], provider: str, pin: Pin, expected: object) -> None:
    assert choose_all(Config(tuple(keys)), provider, pin) == expected


def test_what_is_said_of_a_key_without_asking_its_server() -> None:
    assert [status(key) for key in (A, OFF, NO_URL)] == ["configured", "disabled", "no url"]
