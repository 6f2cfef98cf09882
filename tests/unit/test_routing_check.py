"""routing.check: what is wrong with a file, on which line; and the published schema."""

import json
from pathlib import Path
from typing import Any

import pytest

from routing.check import Placed, Report, check, schema, schema_text
from routing.config import Config, Key
from routing.positions import scan
from tests.json_schema import faults

PUBLISHED = Path(__file__).parents[2] / "docs" / "config.schema.json"

KEY = {"name": "k", "models": ["*"], "weight": 1, "vllm_key_config": {"url": "http://h", "model_name": "m"}}


def with_vllm(**members: object) -> dict[str, Any]:
    return {"providers": {"vllm": {"keys": [KEY], **members}}}


def with_key(**members: object) -> dict[str, Any]:
    return {"providers": {"vllm": {"keys": [{**KEY, **members}]}}}


FILE = b"""{
  "client": {"api_keys": ["env.A"],
             "log_format": "xml"},
  "providers": {
    "vllm": {
      "keys": [
        {"name": "a", "weight": -1,
         "models": ["x"],
         "models": ["*"],
         "vllm_key_config": {
           "url": "http://h",
           "odd one": 1
         }},
        {"name": "b", "models": []}
      ],
      "key_selection": {"strategy": "power_of_two_choices", "cooldown_seconds": "60"}
    }
  }
}
"""


def test_a_report_says_what_is_wrong_line_by_line() -> None:
    report = check(FILE, {})
    assert report.config is None
    assert report.lines("config.json") == (
        'config.json:2: warning: $.client.api_keys[0]: the environment variable "A" is not set, so this is empty',
        "config.json:2: problem: $.client.api_keys[0]: empty: this would let everybody in",
        'config.json:3: problem: $.client.log_format: expected "text" or "json", got a string',
        "config.json:7: problem: $.providers.vllm.keys[0].weight: expected a number from 0 to 1000000, got -1",
        "config.json:9: problem: $.providers.vllm.keys[0].models: written twice",
        'config.json:12: warning: $.providers.vllm.keys[0].vllm_key_config["odd one"]: unknown key',
        "config.json:14: warning: $.providers.vllm.keys[1].vllm_key_config.url: missing: requests for this key are"
        " refused",
        "config.json:14: warning: $.providers.vllm.keys[1].models: no model is allowed, so this key serves none;"
        ' ["*"] allows all',
        'config.json:14: skipped: key "b": vllm_key_config.url is missing, so its requests are refused',
        "config.json:16: problem: $.providers.vllm.key_selection.cooldown_seconds: expected a number from 0 to 86400,"
        " got a string",
    )


def test_a_sound_file_is_a_configuration() -> None:
    text = json.dumps(with_key(value="env.K", vllm_key_config={"url": "http://h"})).encode()
    expected = Config(keys=(Key(name="k", id="k", value="sk-1", url="http://h", models=("*",)),))
    assert check(text, {"K": "sk-1"}) == Report(expected, ())
    assert check(b"\xef\xbb\xbf" + text, {"K": "sk-1"}) == Report(expected, ())


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        pytest.param(b"", 1, "not JSON: Expecting value at column 1", id="empty"),
        pytest.param(
            b"{\n  'a': 1}", 2, "not JSON: Expecting property name enclosed in double quotes at column 3"
        ),
        pytest.param(b'{"a": 1}\n\n}', 3, "not JSON: Extra data at column 1"),
        pytest.param(b'{\n"a":\n"\xff"}', 3, "not JSON: not UTF-8 at byte 8"),
        pytest.param(b'{"a": NaN}', 1, "not JSON: NaN is not JSON"),
        pytest.param(b"[" * 100_000, 1, "not JSON: nested too deeply", id="too deep"),
        pytest.param(b"[]", 1, "$: expected an object, got an array"),
        pytest.param(b"\n\n[]", 3, "$: expected an object, got an array"),
    ],
)
def test_a_file_that_is_no_configuration_at_all(text: bytes, line: int, problem: str) -> None:
    assert check(text, {}) == Report(None, (Placed(line, "problem", problem),))


def test_a_number_of_too_many_digits() -> None:
    report = check(b'{"a": ' + b"1" * 10_000 + b"}", {})
    assert report.config is None
    assert [remark.severity for remark in report.problems] == ["problem"]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"enabled": False}, "not enabled"),
        ({"vllm_key_config": {}}, "vllm_key_config.url is missing, so its requests are refused"),
        (
            {"vllm_key_config": {"url": "env.UNSET"}},
            "vllm_key_config.url is missing, so its requests are refused",
        ),
        ({"models": []}, "models is empty, so it serves none"),
        ({"blacklisted_models": ["*"]}, "blacklisted_models holds all models"),
        (
            {"models": ["other"]},
            "models, blacklisted_models and vllm_key_config.model_name leave no model",
        ),
        (
            {"models": ["a", "b"], "blacklisted_models": ["A", "B"], "vllm_key_config": {"url": "http://h"}},
            "models, blacklisted_models and vllm_key_config.model_name leave no model",
        ),
    ],
)
def test_a_key_that_serves_nothing_is_named_and_why(members: dict[str, object], why: str) -> None:
    report = check(json.dumps(with_key(**members)).encode(), {})
    assert report.config is not None
    assert report.skipped == (Placed(1, "skipped", f'key "k": {why}'),)


@pytest.mark.parametrize(
    "members",
    [
        {"models": ["a", "b"], "blacklisted_models": ["a"], "vllm_key_config": {"url": "http://h"}},
        {"models": ["*"], "blacklisted_models": ["a"], "vllm_key_config": {"url": "http://h"}},
        {"models": ["M"], "weight": 0},
    ],
)
def test_a_key_that_serves_something_is_not(members: dict[str, object]) -> None:
    assert check(json.dumps(with_key(**members)).encode(), {}).skipped == ()


def test_a_url_for_the_whole_provider_helps_no_key() -> None:
    document = with_key(vllm_key_config={})
    document["providers"]["vllm"]["network_config"] = {"base_url": "http://h"}
    report = check(json.dumps(document).encode(), {})
    assert report.config is not None
    assert report.config.keys[0].url == ""
    assert [skipped.text for skipped in report.skipped] == [
        'key "k": vllm_key_config.url is missing, so its requests are refused'
    ]


def test_lines_of_every_value() -> None:
    text = '{"a": [1,\n 2,\n {"b":\n "x\\n{[,:\\"y"}],\n\n "c d": {},\n "": null, "a": 0}'
    places = scan(text)
    assert places.lines == {
        "$": 1,
        "$.a": 7,
        "$.a[0]": 1,
        "$.a[1]": 2,
        "$.a[2]": 3,
        "$.a[2].b": 3,
        '$["c d"]': 6,
        '$[""]': 7,
    }
    assert places.twice == (("$.a", 7),)
    assert [places.line(path) for path in ("$.a[2].b.z[3]", "$.nothing", '$["c d"].x', "$")] == [3, 1, 6, 1]


# -- the schema ------------------------------------------------------------------------------------


def test_the_published_schema_is_current() -> None:
    command = "python -c \"from routing import check; print(check.schema_text(), end='')\" > docs/config.schema.json"
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), f"run: {command}"


FOR_BIFROST = [
    pytest.param(
        {
            "$schema": "https://www.getbifrost.ai/schema",
            "encryption_key": "env.BIFROST_ENCRYPTION_KEY",
            "client": {"drop_excess_requests": False, "enable_logging": True},
            "providers": {
                "vllm": {
                    "keys": [
                        {
                            "name": "vllm-local",
                            "value": "",
                            "models": ["meta-llama/Llama-3.2-1B-Instruct"],
                            "weight": 1.0,
                            "vllm_key_config": {
                                "url": "http://localhost:8000",
                                "model_name": "meta-llama/Llama-3.2-1B-Instruct",
                            },
                            "use_anthropic_endpoints": False,
                        }
                    ]
                }
            },
            "config_store": {"enabled": False},
        },
        id="the smallest one, as the provider's page has it",
    ),
    pytest.param(
        {
            "providers": {
                "vllm": {
                    "keys": [
                        {
                            "name": "gpu-a",
                            "value": "env.VLLM_KEY",
                            "weight": 1,
                            "models": ["*"],
                            "aliases": {
                                "fast": "Qwen/Qwen3-0.6B",
                                "best": {"model_id": "q", "description": "d"},
                            },
                            "vllm_key_config": {
                                "url": "http://10.0.0.5:8000",
                                "model_name": "Qwen/Qwen3-0.6B",
                            },
                        },
                        {
                            "name": "gpu-b",
                            "value": {"value": "", "env_var": "env.VLLM_KEY", "from_env": True},
                            "weight": 0.25,
                            "models": ["mistral-7b"],
                            "enabled": None,
                            "vllm_key_config": {"url": "env.VLLM_URL", "model_name": "mistral-7b"},
                            "use_for_batch_api": False,
                        },
                    ],
                    "network_config": {
                        "max_retries": 2,
                        "retry_backoff_initial": 500,
                        "retry_backoff_max": 5000,
                        "allow_private_network": True,
                        "default_request_timeout_in_seconds": 120,
                        "extra_headers": {"x-team": "blue"},
                    },
                    "concurrency_and_buffer_size": {"concurrency": 100, "buffer_size": 200},
                    "proxy_config": {"type": "none"},
                    "key_selection": {"strategy": "round_robin", "sticky_limit": 3, "cooldown_seconds": 0},
                    "send_back_raw_request": False,
                    "store_raw_request_response": False,
                },
                "openai": {
                    "keys": [{"name": "o", "value": "env.OPENAI_API_KEY", "models": ["*"], "weight": 1}]
                },
            },
        },
        id="two servers, and another provider",
    ),
    pytest.param(
        {
            "version": 1,
            "source_of_truth": "config.json",
            "server": {"read_buffer_size": 65536},
            "governance": {"auth_config": {"is_enabled": False}},
            "client": {
                "initial_pool_size": 1000,
                "drop_excess_requests": True,
                "enable_logging": True,
                "disable_content_logging": False,
                "log_retention_days": 90,
                "logging_headers": ["x-request-id", "x-user-id"],
                "allowed_origins": ["https://app.example", "https://*.example", "*"],
                "allowed_headers": ["X-Team", "*"],
                "max_request_body_size_mb": 100,
                "whitelisted_routes": ["/health", "/metrics"],
                "header_filter_config": {"allowlist": ["x-bf-eh-openai-beta"], "denylist": []},
                "required_headers": [],
                "compat": {"should_drop_params": False},
                "prometheus_labels": ["environment=production", "team"],
                "mcp_agent_depth": 10,
                "async_job_result_ttl": 3600,
            },
            "plugins": [{"name": "telemetry", "enabled": True}],
            **with_vllm(),
        },
        id="everything about clients",
    ),
]


@pytest.mark.parametrize("document", FOR_BIFROST)
def test_what_was_written_for_bifrost_is_valid_and_loads(document: dict[str, Any]) -> None:
    assert faults(document, schema()) == []
    report = check(json.dumps(document).encode(), {"VLLM_URL": "http://h", "VLLM_KEY": "k"})
    assert report.problems == ()
    assert report.config is not None


@pytest.mark.parametrize(
    ("document", "place"),
    [
        pytest.param({}, "$.providers", id="nothing"),
        pytest.param({"providers": {}}, "$.providers.vllm", id="no vllm"),
        pytest.param({"providers": {"vllm": {}}}, "$.providers.vllm.keys", id="no keys"),
        pytest.param({"providers": {"vllm": {"keys": []}}}, "$.providers.vllm.keys", id="an empty list"),
        pytest.param({"providers": {"vllm": {"keys": [{}]}}}, "$.providers.vllm.keys[0].name", id="no name"),
        pytest.param(with_key(weight=-1), "$.providers.vllm.keys[0].weight", id="a weight below zero"),
        pytest.param(with_key(enabled="yes"), "$.providers.vllm.keys[0].enabled", id="a flag"),
        pytest.param(with_key(value=5), "$.providers.vllm.keys[0].value", id="a value"),
        pytest.param(
            with_key(models=["a", "*"]), "$.providers.vllm.keys[0].models", id="a star among others"
        ),
        pytest.param(with_key(aliases={"a": " b"}), "$.providers.vllm.keys[0].aliases.a", id="an alias"),
        pytest.param(with_key(structured_outputs="new"), "$.providers.vllm.keys[0].structured_outputs"),
        pytest.param(
            with_vllm(network_config={"max_retries": -1}), "$.providers.vllm.network_config.max_retries"
        ),
        pytest.param(
            with_vllm(network_config={"retry_backoff_max": "5 s"}),
            "$.providers.vllm.network_config.retry_backoff_max",
        ),
        pytest.param(
            with_vllm(network_config={"stream_idle_timeout_in_seconds": 4}),
            "$.providers.vllm.network_config.stream_idle_timeout_in_seconds",
        ),
        pytest.param(
            with_vllm(key_selection={"strategy": "random"}), "$.providers.vllm.key_selection.strategy"
        ),
        pytest.param(
            with_vllm(concurrency_and_buffer_size={"concurrency": 0, "buffer_size": 1}),
            "$.providers.vllm.concurrency_and_buffer_size.concurrency",
        ),
        pytest.param(with_vllm() | {"version": 3}, "$.version", id="version"),
        pytest.param(
            with_vllm() | {"client": {"api_keys": "k"}}, "$.client.api_keys", id="a key that is no list"
        ),
        pytest.param(with_vllm() | {"client": {"required_headers": ["a b"]}}, "$.client.required_headers[0]"),
        pytest.param(with_vllm() | {"client": {"log_format": "xml"}}, "$.client.log_format", id="log format"),
        pytest.param(
            with_vllm() | {"client": {"max_request_body_size_mb": 0.5}}, "$.client.max_request_body_size_mb"
        ),
    ],
)
def test_what_is_refused_is_invalid_too(document: dict[str, Any], place: str) -> None:
    assert place in faults(document, schema())
    assert check(json.dumps(document).encode(), {}).config is None


def test_the_schema_tells_defaults_as_the_file_writes_them() -> None:
    members = schema()["properties"]
    assert isinstance(members, dict)
    vllm = members["providers"]["properties"]["vllm"]["properties"]
    network = vllm["network_config"]["properties"]
    assert {name: network[name]["default"] for name in network if "default" in network[name]} == {
        "default_request_timeout_in_seconds": 300.0,
        "stream_idle_timeout_in_seconds": 120.0,
        "connect_timeout_in_seconds": 10.0,
        "first_byte_timeout_in_seconds": 0.0,
        "first_event_timeout_in_seconds": 0.0,
        "keep_alive_timeout_in_seconds": 4.0,
        "max_conns_per_host": 5000,
        "insecure_skip_verify": False,
        "max_retries": 0,
        "retry_backoff_initial": 500,
        "retry_backoff_max": 5000,
    }
    assert members["client"]["properties"]["max_request_body_size_mb"]["default"] == 100
    assert vllm["concurrency_and_buffer_size"]["properties"]["buffer_size"]["default"] == 5000
    assert vllm["key_selection"]["properties"]["strategy"]["default"] == "weighted_random"


def settings_of(members: dict[str, Any]) -> list[tuple[str, str]]:
    """Every setting with its description."""
    found = []
    for name, member in members.items():
        found.append((name, member.get("description", "")))
        found += settings_of(member.get("properties", {}))
    return found


def test_what_bifrost_does_not_have_is_explained() -> None:
    whole: Any = schema()
    described = settings_of(whole["properties"]) + settings_of(whole["$defs"]["key"]["properties"])
    own = {name for name, about in described if "not in Bifrost" in about}
    assert own == {
        "api_keys",
        "connect_timeout_in_seconds",
        "first_byte_timeout_in_seconds",
        "first_event_timeout_in_seconds",
        "idle_timeout_in_seconds",
        "log_format",
        "server_version",
        "sse_keep_alive_interval_in_seconds",
        "strategy",
        "structured_outputs",
        "transient_failures",
    }
    explained = PUBLISHED.with_name("configuration.md").read_text(encoding="utf-8")
    assert [name for name in own if name not in explained] == []


def test_every_setting_is_described() -> None:
    whole: Any = schema()
    described = settings_of(whole["properties"]) + settings_of(whole["$defs"]["key"]["properties"])
    assert {name for name, about in described if not about} == {
        "$schema",
        "allow_private_network",
        "auth_config",
        "disable_content_logging",
        "drop_excess_requests",
        "governance",
        "proxy_config",
        "server",
        "client",
        "header_filter_config",
        "providers",
        "vllm",
        "network_config",
        "key_selection",
        "concurrency_and_buffer_size",
        "vllm_key_config",
    }
    assert all(about.endswith(".") for _, about in described if about)
