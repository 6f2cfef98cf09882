"""routing.config: a document is understood as a whole, or every problem in it is named."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.config import Alias, Config, Key, Network, Rejected, allows, load

DOCUMENTED = json.loads("""
{"providers":{"vllm":{"keys":[{"name":"vllm-local","value":"","models":["meta-llama/Llama-3.2-1B-Instruct"],
 "weight":1.0,"vllm_key_config":{"url":"http://localhost:8000",
 "model_name":"meta-llama/Llama-3.2-1B-Instruct"}}]}}}
""")


def with_key(**members: object) -> dict[str, object]:
    """A configuration with one sound key, some of its members replaced."""
    key: dict[str, object] = {"name": "k", "models": ["*"], "vllm_key_config": {"url": "http://h:8000"}}
    return {"providers": {"vllm": {"keys": [{**key, **members}]}}}


def with_vllm(**members: object) -> dict[str, object]:
    key = {"name": "k", "models": ["*"], "vllm_key_config": {"url": "http://h:8000"}}
    return {"providers": {"vllm": {"keys": [key], **members}}}


SOUND = Key(name="k", id="k", url="http://h:8000", models=("*",))


def test_the_example_of_the_documentation_loads_as_it_is() -> None:
    assert load(DOCUMENTED, {}) == Config(
        keys=(
            Key(
                name="vllm-local",
                id="vllm-local",
                url="http://localhost:8000",
                models=("meta-llama/Llama-3.2-1B-Instruct",),
                model_name="meta-llama/Llama-3.2-1B-Instruct",
            ),
        )
    )


def test_every_member_that_is_used_has_its_effect() -> None:
    document = {
        "$schema": "https://www.getbifrost.ai/schema",
        "version": 2,
        "client": {"max_request_body_size_mb": 2, "allow_per_request_raw_override": True},
        "providers": {
            "vllm": {
                "keys": [
                    {
                        "name": "gpu-a",
                        "id": "0001",
                        "description": "the first one",
                        "value": "env.VLLM_KEY",
                        "models": ["org/a", "fast"],
                        "blacklisted_models": ["org/b"],
                        "aliases": {
                            "fast": {"model_id": "org/a", "model_name": "A", "model_family": "a"},
                            "org/a": "org/a-v2",
                        },
                        "weight": 0.25,
                        "enabled": False,
                        "structured_outputs": "legacy",
                        "vllm_key_config": {"url": "env.VLLM_URL", "model_name": ""},
                    }
                ],
                "network_config": {
                    "extra_headers": {"X-Team": "blue"},
                    "default_request_timeout_in_seconds": 30,
                    "stream_idle_timeout_in_seconds": 5,
                },
                "send_back_raw_request": True,
                "send_back_raw_response": True,
            }
        },
    }
    environ = {"VLLM_KEY": "sk-abc", "VLLM_URL": "https://gpu-a:8443/prefix"}
    assert load(document, environ) == Config(
        keys=(
            Key(
                name="gpu-a",
                id="0001",
                value="sk-abc",
                url="https://gpu-a:8443/prefix",
                models=("org/a", "fast"),
                blacklisted_models=("org/b",),
                aliases={"fast": Alias("org/a", "A", "a"), "org/a": Alias("org/a-v2")},
                weight=0.25,
                enabled=False,
                structured_outputs="legacy",
            ),
        ),
        network=Network({"x-team": "blue"}, 30, 5),
        send_back_raw_request=True,
        send_back_raw_response=True,
        allow_raw_override=True,
        request_limit=2 * 1024 * 1024,
    )


@pytest.mark.parametrize(
    ("version", "models", "expected"),
    [
        pytest.param({"version": 1}, [], ("*",), id="version 1: an empty list allows all"),
        pytest.param({"version": 1}, None, ("*",), id="version 1: so does no list"),
        pytest.param({"version": 2}, [], (), id="version 2: an empty list allows none"),
        pytest.param({}, [], (), id="no version is version 2"),
        pytest.param({}, ["*"], ("*",), id="a star allows all"),
        pytest.param({"version": 1}, ["a"], ("a",), id="version 1: a list is a list"),
    ],
)
def test_what_a_list_of_models_means(version: dict[str, int], models: object, expected: tuple[str]) -> None:
    config = load(with_key(models=models) | version, {})
    assert isinstance(config, Config)
    assert config.keys[0].models == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("sk-abc", "sk-abc", id="a text"),
        pytest.param(None, "", id="null"),
        pytest.param("env.KEY", "sk-env", id="a reference"),
        pytest.param("env.ABSENT", "", id="a variable that is not set"),
        pytest.param({"value": "sk-abc"}, "sk-abc", id="an object with the value"),
        pytest.param(
            {"value": "sk-abc", "env_var": "", "from_env": False}, "sk-abc", id="Bifrost's old form"
        ),
        pytest.param({"value": "env.KEY"}, "sk-env", id="an object with a reference as value"),
        pytest.param({"value": "", "env_var": "env.KEY", "from_env": True}, "sk-env", id="env_var"),
        pytest.param({"value": "old", "env_var": "KEY", "from_env": True}, "sk-env", id="env_var, bare"),
        pytest.param({"value": "env.KEY", "env_var": "env.KEY"}, "sk-env", id="env_var that repeats value"),
        pytest.param({"value": "sk-abc", "env_var": "env.KEY"}, "sk-abc", id="env_var without from_env"),
        pytest.param({"ref": "env.KEY", "type": "env"}, "sk-env", id="ref"),
        pytest.param({"ref": "KEY", "type": "env"}, "sk-env", id="ref, bare"),
        pytest.param({"ref": "env.KEY"}, "sk-env", id="ref without type"),
        pytest.param({"value": "sk-abc", "type": "plain"}, "sk-abc", id="a plain value"),
        pytest.param({"env_var": "env.ABSENT", "from_env": True}, "", id="env_var that is not set"),
    ],
)
def test_the_forms_of_a_value(value: object, expected: str) -> None:
    config = load(with_key(value=value), {"KEY": "sk-env"})
    assert isinstance(config, Config)
    assert config.keys[0].value == expected


NO_URL = "not a URL: it holds a space or something else that is not printable ASCII"
KEY = "$.providers.vllm.keys[0]"
NETWORK = "$.providers.vllm.network_config"


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        pytest.param([], ["$: expected an object, got an array"], id="no object"),
        pytest.param({}, ["$.providers.vllm: missing", "$.providers.vllm.keys: at least one key is needed"]),
        pytest.param(
            {"providers": 1},
            [
                "$.providers: expected an object, got 1",
                "$.providers.vllm: missing",
                "$.providers.vllm.keys: at least one key is needed",
            ],
        ),
        pytest.param(
            {"providers": {"vllm": {"keys": []}}}, ["$.providers.vllm.keys: at least one key is needed"]
        ),
        pytest.param(
            {"providers": {"vllm": {"keys": {}}}}, ["$.providers.vllm.keys: expected an array, got an object"]
        ),
        pytest.param(
            {"providers": {"vllm": {"keys": [None]}}},
            [f"{KEY}: expected an object, got null", f"{KEY}.name: missing"],
        ),
        pytest.param(
            with_key(vllm_key_config={"url": 5}),
            [f"{KEY}.vllm_key_config.url: expected a string, got 5"],
            id="url is a number",
        ),
        pytest.param(with_key(value=12345), [f"{KEY}.value: expected a string"], id="value is a number"),
        pytest.param(with_key(value={"value": 12345}), [f"{KEY}.value.value: expected a string"]),
        pytest.param(
            with_key(value="sk-\n"),
            [f"{KEY}.value: cannot be sent: a header holds printable ASCII only and no line end"],
        ),
        pytest.param(
            with_key(value="vault.secret/x"), [f"{KEY}.value: references to a vault are not supported"]
        ),
        pytest.param(
            with_key(value={"ref": "x", "type": "vault"}),
            [f"{KEY}.value: references to a vault are not supported"],
        ),
        pytest.param(with_key(name=""), [f"{KEY}.name: missing"]),
        pytest.param(with_key(name=1), [f"{KEY}.name: expected a string, got 1"]),
        pytest.param(with_key(id=True), [f"{KEY}.id: expected a string, got true"]),
        pytest.param(
            with_key(weight="1"), [f"{KEY}.weight: expected a number from 0 to 1000000, got a string"]
        ),
        pytest.param(with_key(weight=-1), [f"{KEY}.weight: expected a number from 0 to 1000000, got -1"]),
        pytest.param(
            with_key(weight=float("nan")),
            [f"{KEY}.weight: expected a number from 0 to 1000000, got a number"],
        ),
        pytest.param(with_key(enabled="yes"), [f"{KEY}.enabled: expected true or false, got a string"]),
        pytest.param(
            with_key(structured_outputs="new"),
            [f'{KEY}.structured_outputs: expected "native" or "legacy", got a string'],
        ),
        pytest.param(with_key(models="*"), [f"{KEY}.models: expected an array, got a string"]),
        pytest.param(
            with_key(models=["a", 1, "", None]),
            [
                f"{KEY}.models[1]: expected a string, got 1",
                f"{KEY}.models[2]: empty",
                f"{KEY}.models[3]: empty",
            ],
        ),
        pytest.param(with_key(models=["a", "A"]), [f"{KEY}.models[1]: duplicate value in whitelist"]),
        pytest.param(
            with_key(models=["a", "*"]),
            [f"{KEY}.models: wildcard '*' cannot be used with other values in the whitelist"],
        ),
        pytest.param(
            with_key(blacklisted_models=["*", "a"]),
            [f"{KEY}.blacklisted_models: wildcard '*' cannot be used with other values in the blacklist"],
        ),
        pytest.param(
            with_key(aliases={"": "x"}),
            [f'{KEY}.aliases[""]: the name of an alias must not be empty nor begin or end with a space'],
        ),
        pytest.param(
            with_key(aliases={"fast": " x"}),
            [f"{KEY}.aliases.fast: must not be empty nor begin or end with a space"],
        ),
        pytest.param(
            with_key(aliases={"fast": {}}),
            [f"{KEY}.aliases.fast.model_id: must not be empty nor begin or end with a space"],
        ),
        pytest.param(with_key(aliases={"a b": 1}), [f'{KEY}.aliases["a b"]: expected a string, got 1']),
        pytest.param(
            with_vllm(custom_provider_config={}),
            ["$.providers.vllm.custom_provider_config: not allowed on a built-in provider"],
        ),
        pytest.param(
            with_vllm(send_back_raw_request=1),
            ["$.providers.vllm.send_back_raw_request: expected true or false, got 1"],
        ),
        pytest.param(
            with_vllm(network_config={"default_request_timeout_in_seconds": -1}),
            [f"{NETWORK}.default_request_timeout_in_seconds: expected a number from 1 to 604800, got -1"],
        ),
        pytest.param(
            with_vllm(network_config={"stream_idle_timeout_in_seconds": 4}),
            [f"{NETWORK}.stream_idle_timeout_in_seconds: expected a number from 5 to 3600, got 4"],
        ),
        pytest.param(
            with_vllm(
                network_config={
                    "extra_headers": {
                        "a b": "x",
                        "Connection": "close",
                        "x-n": 1,
                        "x-v": "a\r\nb",
                        "x-d": "1",
                        "X-D": "2",
                    }
                }
            ),
            [
                f'{NETWORK}.extra_headers["a b"]: not the name of a header',
                f"{NETWORK}.extra_headers.Connection: belongs to the connection and cannot be configured",
                f"{NETWORK}.extra_headers.x-n: expected a string, got 1",
                f"{NETWORK}.extra_headers.x-v: cannot be sent: a header holds printable ASCII only and no line end",
                f"{NETWORK}.extra_headers.X-D: the same header twice",
            ],
        ),
        pytest.param(with_vllm() | {"version": 3}, ["$.version: expected 1 or 2, got 3"]),
        pytest.param(with_vllm() | {"version": True}, ["$.version: expected 1 or 2, got true"]),
        pytest.param(
            with_vllm() | {"client": {"max_request_body_size_mb": 0.5}},
            ["$.client.max_request_body_size_mb: expected a number from 1 to 10240, got 0.5"],
        ),
    ],
)
def test_every_problem_is_named_with_its_path(document: object, problems: list[str]) -> None:
    assert load(document, {}) == Rejected(tuple(problems))


def test_names_and_ids_are_unique() -> None:
    keys = [
        {"name": name, "id": key_id, "models": ["*"], "vllm_key_config": {"url": "http://h"}}
        for name, key_id in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "b"), ("d", "2")]
    ]
    assert load({"providers": {"vllm": {"keys": keys}}}, {}) == Rejected(
        (
            "$.providers.vllm.keys[2].name: another key has the same one",
            "$.providers.vllm.keys[4].id: another key has the same one",
        )
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "https://gpu-a.example/v1/",
        "http://10.0.0.5:8000/a/b/v1",
        "http://[::1]:8000",
        "HTTP://host_name",
    ],
)
def test_urls_that_name_a_server(url: str) -> None:
    assert load(with_key(vllm_key_config={"url": url}), {}) == Config(
        keys=(Key(name="k", id="k", url=url, models=("*",)),)
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:8000", "the URL must begin with http:// or https://"),
        ("ftp://h", "the URL must begin with http:// or https://"),
        ("http://", "the URL names no host"),
        ("http:///v1", "the URL names no host"),
        ("http://a%b", "the URL names no host"),
        ("http://h:0", "port 0 is not a port"),
        ("http://bücher.example", NO_URL),
        ("http://h:port", "not a URL"),
        ("http://h:99999", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://h\n", NO_URL),
        (" http://h", NO_URL),
        ("http://me:sk-secret@h", "credentials do not belong in the URL; use the value of the key"),
        ("http://h/v1?x=1", "the URL must not have a query or a fragment"),
        ("http://h/#top", "the URL must not have a query or a fragment"),
    ],
)
def test_urls_that_name_none(url: str, problem: str) -> None:
    refused = Rejected((f"{KEY}.vllm_key_config.url: {problem}",))
    assert load(with_key(vllm_key_config={"url": url}), {}) == refused
    assert load(with_key(vllm_key_config={"url": "env.URL"}), {"URL": url}) == refused


@pytest.mark.parametrize(
    ("document", "warnings"),
    [
        pytest.param(
            with_key(vllm_key_config={}),
            [f"{KEY}.vllm_key_config.url: missing: requests for this key are refused"],
            id="no url",
        ),
        pytest.param(
            with_key(value="env.NONE"),
            [f'{KEY}.value: the environment variable "NONE" is not set, so this is empty'],
            id="no variable",
        ),
        pytest.param(
            with_key(models=[]),
            [f'{KEY}.models: no model is allowed, so this key serves none; ["*"] allows all'],
            id="no model",
        ),
        pytest.param(
            with_key(models=["m"], aliases={"fast": "m", "M": "x"}),
            [f"{KEY}.aliases.fast: out of reach: models or model_name do not allow this name"],
            id="alias",
        ),
        pytest.param(
            with_key(aliases={"fast": "m"}, vllm_key_config={"url": "http://h", "model_name": "m"}),
            [f"{KEY}.aliases.fast: out of reach: models or model_name do not allow this name"],
            id="an alias on a key with a model_name",
        ),
        pytest.param(
            with_key(colour=1, use_for_batch_api=True, use_anthropic_endpoints=False),
            [f"{KEY}.colour: unknown key", f"{KEY}.use_for_batch_api: not used by this gateway"],
            id="key",
        ),
        pytest.param(
            with_vllm(
                proxy_config={"type": "http"}, network_config={"base_url": "http://h", "max_retries": 0}
            ),
            [
                "$.providers.vllm.proxy_config: not used by this gateway",
                f"{NETWORK}.base_url: not used by this gateway",
            ],
            id="provider",
        ),
        pytest.param(
            {"providers": {**DOCUMENTED["providers"], "openai": {}}, "mcp": {"x": 1}, "x y": 1},
            [
                "$.mcp: not used by this gateway",
                '$["x y"]: unknown key',
                "$.providers.openai: not used: this gateway serves vllm only",
            ],
            id="top",
        ),
    ],
)
def test_what_is_strange_but_harmless_is_a_warning(document: object, warnings: list[str]) -> None:
    config = load(document, {})
    assert isinstance(config, Config)
    assert list(config.warnings) == warnings


def test_a_zero_timeout_is_the_default() -> None:
    network = {"default_request_timeout_in_seconds": 0, "stream_idle_timeout_in_seconds": 0}
    assert load(with_vllm(network_config=network), {}) == Config(keys=(SOUND,))


def test_a_key_prints_without_value_and_address_and_a_network_without_headers() -> None:
    config = load(with_key(value="sk-abc") | {"version": 2}, {})
    assert isinstance(config, Config)
    network = Network({"x-token": "hunter2"})
    printed = f"{config} {config.keys[0]!r} {network}"
    assert "sk-abc" not in printed
    assert "h:8000" not in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    ("models", "model", "expected"),
    [
        (("*",), "any", True),
        ((), "any", False),
        (("Org/A",), "org/a", True),
        (("Org/A",), "org/b", False),
    ],
)
def test_case_does_not_matter_in_a_list_of_models(
    models: tuple[str, ...], model: str, expected: bool
) -> None:
    assert allows(models, model) is expected


SECRET = "s3cr3t-canary"
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([SECRET, "env.SECRET", f"http://{SECRET}", f"http://u:{SECRET}@h", f"{SECRET}\n"])
    | st.sampled_from(["*", "http://h", 10**400])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "url", "model_id", "ref", "type", "value", "x"]), inner)
        | st.dictionaries(st.sampled_from(["env_var", "from_env", "extra_headers", "vllm"]), inner)
    ),
    max_leaves=5,
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b"]) | VALUES,
        "value": VALUES,
        "models": VALUES,
        "aliases": VALUES,
        "weight": SCALARS,
        "vllm_key_config": st.fixed_dictionaries({"url": VALUES}) | VALUES,
    },
)
VLLM = st.fixed_dictionaries(
    {"keys": st.lists(KEYS | VALUES, max_size=3)}, optional={"network_config": VALUES}
)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {"providers": st.fixed_dictionaries({"vllm": VLLM})}, optional={"client": VALUES, "version": SCALARS}
)


@settings(max_examples=300, deadline=None)
@given(document=DOCUMENTS, secret=st.sampled_from([SECRET, f"{SECRET}\x00", f"http://{SECRET}"]))
def test_any_value_is_loaded_or_refused_and_no_text_of_it_is_told(document: object, secret: str) -> None:
    before = repr(document)
    loaded = load(document, {"SECRET": secret})
    told = loaded.problems if isinstance(loaded, Rejected) else loaded.warnings
    assert SECRET not in " ".join(told)
    assert repr(document) == before


@given(value=st.text(min_size=1), url=st.text(min_size=1))
def test_no_key_prints_its_value_or_its_address(value: str, url: str) -> None:
    assert repr(Key("k", "k", value=value, url=url)) == repr(Key("k", "k"))


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"client": {"api_keys": ["env.CLIENT_KEY"]}}, "$.client.api_keys"),
        ({"client": {"enforce_auth_on_inference": True}}, "$.client.enforce_auth_on_inference"),
        ({"auth_config": {"is_enabled": True}}, "$.auth_config"),
    ],
)
def test_a_protection_that_would_be_missing_is_a_problem(more: dict[str, object], path: str) -> None:
    outcome = load({**DOCUMENTED, **more}, {})
    text = "this gateway cannot authenticate its clients; take this out to run it open"
    assert outcome == Rejected((f"{path}: {text}",))


def test_a_protection_that_is_off_is_none() -> None:
    off = {"client": {"api_keys": [], "enforce_auth_on_inference": False}}
    assert load({**DOCUMENTED, **off}, {}) == load(DOCUMENTED, {})
