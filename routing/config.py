"""The configuration: Bifrost's ``config.json``, read as a whole.

``load`` either understands a document or names every problem in it, each with
its JSON path. What it does not know, or knows and does not use, is a warning:
a file written for Bifrost loads as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from . import fields
from .fields import NOT_USED
from .model_names import ANY_MODEL, Alias, alias_of, allows
from .reading import At, Finding
from .settings import Config, Key, Network, Retries, Selection

__all__ = [
    "ANY_MODEL",
    "UNUSED",
    "UNUSED_OF_KEY",
    "Alias",
    "Config",
    "Examined",
    "Key",
    "Network",
    "Rejected",
    "Retries",
    "Selection",
    "alias_of",
    "allows",
    "examine",
    "load",
]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that is no configuration: every problem, one line each."""

    problems: tuple[str, ...]


class Examined(NamedTuple):
    """What a document holds, as far as it can be used, and what there is to say of it."""

    config: Config
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        return not any(finding.severity == "problem" for finding in self.findings)


def _unused(where: str, names: str, why: str = NOT_USED) -> dict[str, str]:
    return {f"{where}{name}": why for name in names.split()}


_BY_KEY: Final = "not used: every key has its own vllm_key_config.url"

UNUSED: Final[Mapping[str, str]] = MappingProxyType(
    _unused(
        "",
        "access_profiles alerting audit_logs circuit_breaker_config cluster_config config_store "
        "encryption_key env_label feature_flags framework guardrails_config large_payload_optimization "
        "load_balancer_config logs_store mcp plugins scim_config source_of_truth vector_store websocket",
    )
    | _unused("", "$schema auth_config governance", "")
    | _unused(
        "client.",
        "allow_direct_keys allow_per_request_content_storage_override async_job_result_ttl compat "
        "delete_expired_virtual_keys disable_db_pings_in_health dual_credential_conflict_behavior "
        "dump_errors_in_console_logs enforce_governance_header enforce_scim_auth hidden_request_types "
        "hide_deleted_virtual_keys_in_filters initial_pool_size log_retention_days mcp_agent_depth "
        "mcp_code_mode_binding_level mcp_disable_auto_tool_inject mcp_enable_temp_token_auth "
        "mcp_external_client_url mcp_server_auth_mode mcp_tool_execution_timeout mcp_tool_sync_interval "
        "oauth2_server_config retain_content_in_object_storage routing_chain_max_depth webhook_config",
    )
    # What these ask for is so in any case: content is never logged, excess requests never pile up.
    | _unused("client.", "disable_content_logging drop_excess_requests", "")
    | _unused("providers.", "*", "not used: this gateway serves vllm only")
    | _unused("providers.vllm.", "keys custom_provider_config proxy_config", "")
    | _unused("providers.vllm.", "openai_config prompt_cache store_raw_request_response")
    | _unused("providers.vllm.network_config.", "base_url", _BY_KEY)
    | _unused("providers.vllm.network_config.", "beta_header_overrides enforce_http2 stream_throughput_guard")
    # Servers of one's own are where private addresses are the rule.
    | _unused("providers.vllm.network_config.", "allow_private_network", "")
)
"""Members that Bifrost has and this gateway does not read, and why; empty: nothing to warn of."""

UNUSED_OF_KEY: Final[Mapping[str, str]] = MappingProxyType(
    _unused("", "use_anthropic_endpoints use_for_batch_api config_hash")
)

_TREE: Final = MappingProxyType(fields.tree(Config))
_TREE_OF_KEY: Final = MappingProxyType(fields.tree(Key))


def load(document: object, environ: Mapping[str, str]) -> Config | Rejected:
    """The configuration that ``document``, a decoded JSON value, holds.

    ``environ`` is where references such as ``env.VLLM_KEY`` are looked up.
    """
    examined = examine(document, environ)
    if examined.is_sound:
        return examined.config
    return Rejected(tuple(str(finding) for finding in examined.findings if finding.severity == "problem"))


def examine(document: object, environ: Mapping[str, str]) -> Examined:
    """All that there is to say of ``document``, a decoded JSON value."""
    root = At(document, environ)
    if not isinstance(document, Mapping):
        root.wrong("an object")
        return Examined(Config(keys=()), tuple(root.findings))
    fields.report_strangers(dict(_TREE), UNUSED, root)
    vllm = root.within(("providers", "vllm"))
    config = fields.read(Config, root)
    if vllm.value is None:
        vllm.problem("missing")
    config = replace(
        config,
        keys=_keys(vllm["keys"], empty_means_all=config.version == 1),
        selection=_selection(config.selection, vllm["key_selection"]),
    )
    _report_protection(config, root)
    _report_provider(config, vllm)
    findings = tuple(root.findings)
    warnings = tuple(str(finding) for finding in findings if finding.severity == "warning")
    return Examined(replace(config, warnings=warnings), findings)


def _selection(selection: Selection, at: At) -> Selection:
    """Bifrost remembers failures from request to request only where a ``key_selection`` is configured."""
    if selection.cooldown_s is None and isinstance(at.value, Mapping):
        return replace(selection, cooldown_s=60.0)
    return selection


def _report_protection(config: Config, root: At) -> None:
    """A warning would leave a gateway open whose owner believes that it is not."""
    client, governance = root["client"], root["governance"]
    if config.enforce_auth and not config.auth.api_keys:
        client["enforce_auth_on_inference"].problem("nobody could be let in: client.api_keys is empty")
    for at in (root["auth_config"], governance["auth_config"]):
        if at["is_enabled"].value is False or not at.says_something:
            continue
        if at["disable_auth_on_inference"].value is True:
            at.warn(f"{NOT_USED}: it has no pages to administrate it")
        else:
            at.problem("not supported: list the keys of your clients in client.api_keys, and take this out")
    if governance["virtual_keys"].says_something:
        governance["virtual_keys"].problem(
            "not supported, and neither are their budgets and limits: list the keys of your clients in "
            "client.api_keys, and take this out"
        )
    for name, member in governance.members():
        if name not in {"auth_config", "virtual_keys"} and member.says_something:
            member.warn(NOT_USED)


def _report_provider(config: Config, vllm: At) -> None:
    if vllm["custom_provider_config"].value is not None:
        vllm["custom_provider_config"].problem("not allowed on a built-in provider")
    if (proxy := vllm["proxy_config"]).says_something and proxy["type"].value not in (None, "none"):
        proxy.warn(f"{NOT_USED}: servers are always asked directly")
    held = vllm["concurrency_and_buffer_size"]
    if isinstance(held.value, Mapping) and held.says_something:
        for name in ("concurrency", "buffer_size"):
            if held[name].value is None:
                held[name].problem("missing")
    network = vllm["network_config"]
    if config.retries.backoff_initial_s > config.retries.backoff_max_s:
        network["retry_backoff_initial"].warn("more than retry_backoff_max, which is what is waited")
    if config.network.keep_alive_s >= 5 and network["keep_alive_timeout_in_seconds"].value is not None:
        network["keep_alive_timeout_in_seconds"].warn(
            "vLLM closes idle connections after 5 s unless told otherwise: requests may meet closed ones"
        )
    if config.network.insecure_skip_verify:
        network["insecure_skip_verify"].warn("anybody on the way to a server can read and change everything")


def _keys(at: At, empty_means_all: bool) -> tuple[Key, ...]:
    if at.value in (None, []):
        at.problem("at least one key is needed")
    found: list[Key] = []
    for entry in at.entries():
        key = _key(entry, empty_means_all)
        for member in ("name", "id"):
            if key.name and any(getattr(key, member) == getattr(other, member) for other in found):
                entry[member].problem("another key has the same one")
        found.append(key)
    return tuple(found)


def _key(at: At, empty_means_all: bool) -> Key:
    if at.value is None:
        at.wrong("an object")
    fields.report_strangers(dict(_TREE_OF_KEY), UNUSED_OF_KEY, at)
    key = fields.read(Key, at)
    if at["name"].value == "":
        at["name"].problem("missing")
    key = replace(key, id=key.id or key.name, models=key.models or ((ANY_MODEL,) if empty_means_all else ()))
    if not key.models:
        at["models"].warn('no model is allowed, so this key serves none; ["*"] allows all')
    elif key.model_name and not _reaches(key, key.model_name):
        at["vllm_key_config"]["model_name"].warn("models do not allow this name, so this key serves none")
    for alias in _out_of_reach(key):
        at["aliases"][alias].warn("out of reach: models or model_name do not allow this name")
    return key


def _reaches(key: Key, model: str) -> bool:
    return allows(key.models, model) and not allows(key.blacklisted_models, model)


def _out_of_reach(key: Key) -> Iterable[str]:
    return [name for name in key.aliases if not _reaches(key, name) or key.model_name not in {"", name}]
