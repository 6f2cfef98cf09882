"""routing.config: a document is understood as a whole, or every problem in it is named."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.access_log import Log
from routing.auth import Auth
from routing.config import Alias, Config, Key, Network, Rejected, Retries, Selection, allows, load
from routing.cors import Cors
from routing.header_settings import Required
from routing.headers import Filter
from routing.limits import Concurrency
from routing.metrics import Label

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
        "client": {
            "max_request_body_size_mb": 2,
            "allow_per_request_raw_override": True,
            "api_keys": ["env.CLIENT_KEY", {"value": "client-2"}],
            "enforce_auth_on_inference": True,
            "whitelisted_routes": ["/metrics"],
            "allowed_origins": ["https://app.example", "*"],
            "allowed_headers": ["X-Team"],
            "required_headers": {"X-Tenant": "*", "X-Proxy": "env.PROXY_SECRET"},
            "header_filter_config": {"allowlist": ["x-team*"], "denylist": ["x-team-secret"]},
            "prometheus_labels": ["team", "environment=production"],
            "logging_headers": ["X-Team"],
            "enable_logging": False,
            "log_format": "json",
            "sse_keep_alive_interval_in_seconds": 15,
        },
        "server": {"read_buffer_size": 8192},
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
                        "vllm_key_config": {
                            "url": "env.VLLM_URL",
                            "model_name": "",
                            "server_version": "0.16.0",
                        },
                    }
                ],
                "network_config": {
                    "extra_headers": {"X-Team": "blue"},
                    "default_request_timeout_in_seconds": 30,
                    "stream_idle_timeout_in_seconds": 5,
                    "connect_timeout_in_seconds": 2.5,
                    "first_byte_timeout_in_seconds": 20,
                    "first_event_timeout_in_seconds": 15,
                    "keep_alive_timeout_in_seconds": 3,
                    "max_conns_per_host": 64,
                    "insecure_skip_verify": False,
                    "ca_cert_pem": "env.CA",
                    "max_retries": 3,
                    "retry_backoff_initial": 250,
                    "retry_backoff_max": "2s500ms",
                },
                "concurrency_and_buffer_size": {"concurrency": 8, "buffer_size": 16},
                "key_selection": {
                    "strategy": "power_of_two_choices",
                    "sticky_limit": 4,
                    "cooldown_seconds": 12,
                    "transient_failures": "same_key",
                },
                "send_back_raw_request": True,
                "send_back_raw_response": True,
            }
        },
    }
    certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    environ = {
        "VLLM_KEY": "sk-abc",
        "VLLM_URL": "https://gpu-a:8443/prefix",
        "CLIENT_KEY": "client-1",
        "PROXY_SECRET": "open sesame",
        "CA": certificate,
    }
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
                server_version="0.16.0",
            ),
        ),
        network=Network(
            {"x-team": "blue"},
            30,
            5,
            connect_timeout_s=2.5,
            first_byte_timeout_s=20,
            first_event_timeout_s=15,
            keep_alive_s=3,
            connections_per_host=64,
            ca_cert_pem=certificate,
        ),
        send_back_raw_request=True,
        send_back_raw_response=True,
        allow_raw_override=True,
        request_limit=2 * 1024 * 1024,
        retries=Retries(max_retries=3, backoff_initial_s=0.25, backoff_max_s=2.5),
        selection=Selection("power_of_two_choices", 4, 12, "same_key"),
        concurrency=Concurrency(8, 16),
        header_limit=8192,
        header_filter=Filter(("x-team*",), ("x-team-secret",)),
        required_headers=(Required("X-Tenant"), Required("X-Proxy", secret="open sesame")),
        auth=Auth(("client-1", "client-2"), ("/metrics",)),
        enforce_auth=True,
        cors=Cors(("https://app.example", "*"), ("X-Team",)),
        log=Log(enabled=False, format="json", headers=("x-team",)),
        labels=(Label("team"), Label("environment", "production")),
        sse_keep_alive_s=15,
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
            with_key(vllm_key_config={"url": "http://x", "server_version": "newest"}),
            [
                f'{KEY}.vllm_key_config.server_version: expected a version such as "0.16.0", or "auto", got a string'
            ],
        ),
        (
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
        pytest.param(
            with_key(aliases={"Fast": "x", "fast": "y"}),
            [f"{KEY}.aliases.fast: another alias has the same name"],
        ),
        pytest.param(
            with_vllm(network_config={"max_retries": 1.5}),
            [f"{NETWORK}.max_retries: expected an integer of at least 0, got 1.5"],
        ),
        pytest.param(
            with_vllm(network_config={"retry_backoff_initial": 99, "retry_backoff_max": "5 s"}),
            [
                f"{NETWORK}.retry_backoff_initial: expected an integer of at least 100, got 99",
                f"{NETWORK}.retry_backoff_max: expected an integer of at least 100"
                " or a duration such as 500ms, got a string",
            ],
        ),
        pytest.param(
            with_vllm(network_config={"ca_cert_pem": "env.CA"}),
            [f"{NETWORK}.ca_cert_pem: not a certificate in PEM form"],
            id="a certificate that is meant but missing",
        ),
        pytest.param(
            with_vllm(concurrency_and_buffer_size={"concurrency": 0}),
            [
                "$.providers.vllm.concurrency_and_buffer_size.concurrency: expected an integer of at least 1, got 0",
                "$.providers.vllm.concurrency_and_buffer_size.buffer_size: missing",
            ],
        ),
        pytest.param(
            with_vllm(key_selection={"strategy": "random", "sticky_limit": 1001}),
            [
                '$.providers.vllm.key_selection.strategy: expected "weighted_random", "round_robin", "least_used",'
                ' "fill_first" or "power_of_two_choices", got a string',
                "$.providers.vllm.key_selection.sticky_limit: expected an integer from 0 to 1000, got 1001",
            ],
        ),
        pytest.param(
            with_vllm() | {"client": {"required_headers": {"X-A": "(", "X B": "*"}}},
            [
                "$.client.required_headers.X-A: not a regular expression",
                '$.client.required_headers["X B"]: not the name of a header',
            ],
        ),
        pytest.param(
            with_vllm() | {"client": {"logging_headers": ["Authorization", "x y", "X-Ok"]}},
            [
                "$.client.logging_headers[0]: holds a secret and is never logged",
                "$.client.logging_headers[1]: not the name of a header",
            ],
        ),
        pytest.param(
            with_vllm() | {"client": {"prometheus_labels": ["__name__", 5]}},
            [
                "$.client.prometheus_labels[0]: not the name of a label",
                "$.client.prometheus_labels[1]: expected a string, got 5",
            ],
        ),
        pytest.param(
            with_vllm() | {"client": {"log_format": "xml"}},
            ['$.client.log_format: expected "text" or "json", got a string'],
        ),
        pytest.param(
            with_vllm() | {"client": [], "server": 1},
            ["$.client: expected an object, got an array", "$.server: expected an object, got 1"],
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
        ("http://169.254.169.254", "a link-local address is not allowed"),
        ("http://[fe80::1]:8000", "a link-local address is not allowed"),
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
            with_key(vllm_key_config={"url": "http://h", "model_name": "m"}, models=["n"]),
            [f"{KEY}.vllm_key_config.model_name: models do not allow this name, so this key serves none"],
            id="a model_name that models do not hold",
        ),
        pytest.param(
            with_key(aliases={"fast": {"model_id": "m", "use_anthropic_endpoints": True, "region": "x"}}),
            [
                f"{KEY}.aliases.fast.use_anthropic_endpoints: not used by this gateway",
                f"{KEY}.aliases.fast.region: unknown key",
            ],
            id="members of an alias",
        ),
        pytest.param(
            with_vllm(
                proxy_config={"type": "http"}, network_config={"base_url": "http://h", "enforce_http2": True}
            ),
            [
                f"{NETWORK}.base_url: not used: every key has its own vllm_key_config.url",
                f"{NETWORK}.enforce_http2: not used by this gateway",
                "$.providers.vllm.proxy_config: not used by this gateway: servers are always asked directly",
            ],
            id="provider",
        ),
        pytest.param(
            with_vllm(
                network_config={
                    "max_conns_per_host": 20_000,
                    "retry_backoff_initial": 9_000,
                    "keep_alive_timeout_in_seconds": 30,
                    "insecure_skip_verify": True,
                }
            ),
            [
                f"{NETWORK}.max_conns_per_host: counts as 10000, the nearest number from 1 to 10000",
                f"{NETWORK}.retry_backoff_initial: more than retry_backoff_max, which is what is waited",
                f"{NETWORK}.keep_alive_timeout_in_seconds: vLLM closes idle connections after 5 s unless told"
                " otherwise: requests may meet closed ones",
                f"{NETWORK}.insecure_skip_verify: anybody on the way to a server can read and change everything",
            ],
            id="network",
        ),
        pytest.param(
            {"providers": {**DOCUMENTED["providers"], "openai": {}}, "mcp": {"x": 1}, "x y": 1},
            [
                "$.providers.openai: not used: this gateway serves vllm only",
                "$.mcp: not used by this gateway",
                '$["x y"]: unknown key',
            ],
            id="top",
        ),
        pytest.param(
            with_vllm()
            | {"client": {"prometheus_labels": ["model", "le"], "compat": {"should_drop_params": True}}},
            [
                "$.client.compat: not used by this gateway",
                "$.client.prometheus_labels[0]: not used: every metric that needs this label has it already",
                "$.client.prometheus_labels[1]: not used: every metric that needs this label has it already",
            ],
            id="client",
        ),
        pytest.param(
            with_vllm()
            | {
                "governance": {
                    "auth_config": {"is_enabled": True, "disable_auth_on_inference": True},
                    "budgets": [{"id": "b"}],
                }
            },
            [
                "$.governance.auth_config: not used by this gateway: it has no pages to administrate it",
                "$.governance.budgets: not used by this gateway",
            ],
            id="governance",
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
NETWORKS = st.dictionaries(
    st.sampled_from(
        ["extra_headers", "ca_cert_pem", "max_retries", "retry_backoff_max", "max_conns_per_host", "base_url"]
    ),
    VALUES,
    max_size=3,
)
CLIENTS = st.dictionaries(
    st.sampled_from(
        [
            "api_keys",
            "required_headers",
            "allowed_origins",
            "prometheus_labels",
            "logging_headers",
            "log_format",
        ]
    ),
    VALUES,
    max_size=3,
)
VLLM = st.fixed_dictionaries(
    {"keys": st.lists(KEYS | VALUES, max_size=3)},
    optional={
        "network_config": NETWORKS | VALUES,
        "key_selection": VALUES,
        "concurrency_and_buffer_size": VALUES,
    },
)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {"providers": st.fixed_dictionaries({"vllm": VLLM})},
    optional={"client": CLIENTS | VALUES, "version": SCALARS, "server": VALUES, "governance": VALUES},
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


VIRTUAL_KEYS = (
    "not supported, and neither are their budgets and limits: list the keys of your clients in client.api_keys,"
    " and take this out"
)
ADMIN = "not supported: list the keys of your clients in client.api_keys, and take this out"
EMPTY = "empty: this would let everybody in"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        pytest.param(
            {"client": {"api_keys": ["env.CLIENT_KEY"]}},
            f"$.client.api_keys[0]: {EMPTY}",
            id="a variable that is not set",
        ),
        pytest.param({"client": {"api_keys": ["good", ""]}}, f"$.client.api_keys[1]: {EMPTY}"),
        pytest.param({"client": {"api_keys": [{"value": ""}]}}, f"$.client.api_keys[0]: {EMPTY}"),
        pytest.param(
            {"client": {"api_keys": ["end "]}},
            "$.client.api_keys[0]: no client could send it: printable ASCII only, no space at either end",
        ),
        pytest.param(
            {"client": {"api_keys": "one"}},
            "$.client.api_keys: expected an array, got a string",
            id="no list",
        ),
        pytest.param(
            {"client": {"enforce_auth_on_inference": True}},
            "$.client.enforce_auth_on_inference: nobody could be let in: client.api_keys is empty",
        ),
        pytest.param({"auth_config": {"is_enabled": True}}, f"$.auth_config: {ADMIN}"),
        pytest.param(
            {"auth_config": {"admin_username": "me"}}, f"$.auth_config: {ADMIN}", id="perhaps enabled"
        ),
        pytest.param(
            {"governance": {"auth_config": {"is_enabled": True, "disable_auth_on_inference": False}}},
            f"$.governance.auth_config: {ADMIN}",
        ),
        pytest.param(
            {"governance": {"virtual_keys": [{"id": "1"}]}, "client": {"api_keys": ["a"]}},
            f"$.governance.virtual_keys: {VIRTUAL_KEYS}",
        ),
    ],
)
def test_a_protection_that_would_be_missing_is_a_problem(more: dict[str, object], problem: str) -> None:
    assert load({**DOCUMENTED, **more}, {}) == Rejected((problem,))


def test_a_protection_that_is_off_is_none() -> None:
    off = {
        "client": {"api_keys": [], "enforce_auth_on_inference": False},
        "auth_config": {"is_enabled": False, "admin_username": "me"},
        "governance": {"virtual_keys": [], "auth_config": None},
    }
    assert load({**DOCUMENTED, **off}, {}) == load(DOCUMENTED, {})


def test_what_a_file_for_bifrost_asks_for_and_is_so_anyway_is_no_warning() -> None:
    client = {"drop_excess_requests": True, "disable_content_logging": True}
    document = with_vllm(network_config={"allow_private_network": True}) | {"client": client}
    assert load(document, {}) == Config(keys=(SOUND,))


@pytest.mark.parametrize(
    ("key_selection", "cooldown_s", "rotates"),
    [
        pytest.param({}, None, False, id="no key_selection"),
        pytest.param({"key_selection": {}}, 60, False, id="an empty one"),
        pytest.param({"key_selection": {"cooldown_seconds": 0}}, 0, False, id="no cooldown"),
        pytest.param({"key_selection": {"strategy": "power_of_two_choices"}}, 60, True, id="load-aware"),
        pytest.param(
            {"key_selection": {"strategy": "power_of_two_choices", "transient_failures": "same_key"}},
            60,
            False,
            id="load-aware, but as Bifrost",
        ),
        pytest.param({"key_selection": {"transient_failures": "rotate"}}, 60, True, id="asked for"),
    ],
)
def test_what_is_remembered_and_what_rotates(
    key_selection: dict[str, object], cooldown_s: float | None, rotates: bool
) -> None:
    config = load(with_vllm(**key_selection), {})
    assert isinstance(config, Config)
    assert config.selection.cooldown_s == cooldown_s
    assert config.selection.rotates is rotates


def test_required_headers_as_a_list() -> None:
    config = load(with_vllm() | {"client": {"required_headers": ["X-Tenant", "x-id"]}}, {})
    assert isinstance(config, Config)
    assert config.required_headers == (Required("X-Tenant"), Required("x-id"))


def test_nothing_that_prints_a_configuration_prints_a_secret() -> None:
    document = with_key(value="canary-1") | {
        "client": {
            "api_keys": ["canary-2"],
            "required_headers": {"X-Proxy": "env.PROXY"},
        }
    }
    document["providers"]["vllm"]["network_config"] = {  # type: ignore[index]
        "extra_headers": {"x-token": "canary-3"},
        "ca_cert_pem": "-----BEGIN CERTIFICATE----- canary-4",
    }
    config = load(document, {"PROXY": "canary-5"})
    assert isinstance(config, Config)
    assert "canary" not in f"{config} {config!r} {config.auth} {config.required_headers} {config.network}"


def test_what_a_configuration_tells_about_itself() -> None:
    config = Config(
        keys=(
            Key("a", "a", value="sk-1", models=("*",), aliases={"fast": Alias("org/x")}),
            Key("b", "b", models=("org/m", "org/n"), model_name="org/m"),
            Key("c", "c", value="sk-1"),
        ),
        auth=Auth(("client-1",)),
        required_headers=(Required("x-a"), Required("x-b", secret="sesame"), Required("x-c", secret="")),
        network=Network(request_timeout_s=30),
    )
    assert config.secrets == ("sk-1", "client-1", "sesame")
    assert config.known_models == {"fast", "org/m", "org/n"}
    assert config.network.first_byte_s == 30
    assert Network(request_timeout_s=30, first_byte_timeout_s=5).first_byte_s == 5


def test_connections_are_given_up_before_vllm_closes_them() -> None:
    """uvicorn's timeout_keep_alive is 5 s."""
    assert 0 < Network().keep_alive_s < 5
