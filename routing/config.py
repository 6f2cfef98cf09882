"""The configuration: Bifrost's ``config.json``, read as a whole.

``load`` either understands a document or names every problem in it, each with
its JSON path. What it does not know, or knows and does not use, is a warning:
a file written for Bifrost loads as it is. Messages name members and environment
variables but never quote a value, since any text may be a secret in the wrong
place.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from . import headers

ANY_MODEL: Final = "*"
"""In a list of models: all of them."""

StructuredOutputs = Literal["native", "legacy"]


@dataclass(frozen=True, slots=True)
class Alias:
    """What a model is really called upstream, and how it may be described."""

    model_id: str
    model_name: str = ""
    model_family: str = ""

    def described(self) -> dict[str, str]:
        """The members that say something, as ``resolved_key_alias`` shows them."""
        members = {
            "model_id": self.model_id,
            "model_name": self.model_name,
            "model_family": self.model_family,
        }
        return {name: text for name, text in members.items() if text}


@dataclass(frozen=True, slots=True)
class Key:
    """One vLLM server and how to be let in.

    ``models`` and ``blacklisted_models`` are as written; ``("*",)`` means all.
    ``model_name``, unless empty, is the only model that the key serves. An
    empty ``url`` makes every request for this key fail. The printed form shows
    neither the value nor the address.
    """

    name: str
    id: str
    value: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    models: tuple[str, ...] = ()
    blacklisted_models: tuple[str, ...] = ()
    aliases: Mapping[str, Alias] = field(default_factory=lambda: _NO_ALIASES)
    weight: float = 1.0
    enabled: bool = True
    model_name: str = ""
    structured_outputs: StructuredOutputs = "native"


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are talked to; times in seconds.

    ``request_timeout_s`` bounds a whole call that is not streamed, and the wait
    for the first byte of one that is.
    """

    extra_headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS, repr=False)
    request_timeout_s: float = 300.0
    stream_idle_timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a gateway needs to know before its first request."""

    keys: tuple[Key, ...]
    network: Network = field(default_factory=Network)
    send_back_raw_request: bool = False
    send_back_raw_response: bool = False
    allow_raw_override: bool = False
    request_limit: int = 100 * 1024 * 1024
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that is no configuration: every problem, one line each."""

    problems: tuple[str, ...]


_NO_ALIASES: Final[Mapping[str, Alias]] = MappingProxyType({})
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_UNUSED_AT_TOP: Final = (
    "access_profiles",
    "audit_logs",
    "cluster_config",
    "config_store",
    "encryption_key",
    "framework",
    "governance",
    "guardrails_config",
    "load_balancer_config",
    "logs_store",
    "mcp",
    "plugins",
    "server",
    "source_of_truth",
    "vector_store",
)
_UNUSED_OF_CLIENT: Final = (
    "allow_direct_keys",
    "allow_per_request_content_storage_override",
    "allowed_headers",
    "allowed_origins",
    "async_job_result_ttl",
    "disable_content_logging",
    "disable_db_pings_in_health",
    "drop_excess_requests",
    "enable_logging",
    "header_filter_config",
    "initial_pool_size",
    "log_retention_days",
    "logging_headers",
    "prometheus_labels",
    "required_headers",
)
_UNUSED_OF_PROVIDER: Final = (
    "concurrency_and_buffer_size",
    "key_selection",
    "proxy_config",
    "store_raw_request_response",
)
_UNUSED_OF_NETWORK: Final = (
    "allow_private_network",
    "base_url",
    "beta_header_overrides",
    "ca_cert_pem",
    "enforce_http2",
    "insecure_skip_verify",
    "keep_alive_timeout_in_seconds",
    "max_conns_per_host",
    "max_retries",
    "retry_backoff_initial",
    "retry_backoff_max",
    "stream_throughput_guard",
)
_UNUSED_OF_KEY: Final = ("use_anthropic_endpoints", "use_for_batch_api")

_UNSENDABLE: Final = "cannot be sent: a header holds printable ASCII only and no line end"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"\w[\w.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?", re.ASCII)


class _Report:
    """What was found wrong, and what merely strange."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []


class _At:
    """A value of the document, the path to it, and the report about it.

    Each reader gives the value in the type it is named for, or the default
    when the member is absent, null or reported as a problem.
    """

    def __init__(self, value: object, path: str, report: _Report) -> None:
        self.value = value
        self.path = path
        self.report = report

    def problem(self, text: str) -> None:
        self.report.problems.append(f"{self.path}: {text}")

    def warn(self, text: str) -> None:
        self.report.warnings.append(f"{self.path}: {text}")

    def wrong(self, expected: str) -> None:
        self.problem(f"expected {expected}, got {_shown(self.value)}")

    def __getitem__(self, name: str) -> "_At":
        members = self.value if isinstance(self.value, Mapping) else {}
        step = f".{name}" if _PLAIN_NAME.fullmatch(name) else f"[{json.dumps(name)}]"
        return _At(members.get(name), self.path + step, self.report)

    def members(self) -> "Iterator[tuple[str, _At]]":
        if isinstance(self.value, Mapping):
            for name in self.value:
                if isinstance(name, str):
                    yield name, self[name]
        elif self.value is not None:
            self.wrong("an object")

    def entries(self) -> "Iterator[_At]":
        if isinstance(self.value, list | tuple):
            for index, entry in enumerate(self.value):
                yield _At(entry, f"{self.path}[{index}]", self.report)
        elif self.value is not None:
            self.wrong("an array")

    def expect(self, used: Iterable[str], unused: Iterable[str] = ()) -> None:
        """Report the members that are not ``used``, and a value that is no object."""
        known = frozenset(used)
        for name, member in self.members():
            if name in unused:
                if member.value not in _SAYS_NOTHING:
                    member.warn("not used by this gateway")
            elif name not in known:
                member.warn("unknown key")

    def text(self, default: str = "") -> str:
        if isinstance(self.value, str):
            return self.value
        if self.value is not None:
            self.wrong("a string")
        return default

    def flag(self, default: bool = False) -> bool:
        if isinstance(self.value, bool):
            return self.value
        if self.value is not None:
            self.wrong("true or false")
        return default

    def number(self, default: float, least: float, most: float) -> float:
        value = self.value
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(f"a number from {least} to {most}")
        return default


_SAYS_NOTHING: Final[Sequence[object]] = (None, False, "", [], {})


def load(document: object, environ: Mapping[str, str]) -> Config | Rejected:
    """The configuration that ``document``, a decoded JSON value, holds.

    ``environ`` is where references such as ``env.VLLM_KEY`` are looked up.
    """
    report = _Report()
    root = _At(document, "$", report)
    if not isinstance(document, Mapping):
        root.wrong("an object")
        return Rejected(tuple(report.problems))
    root.expect(("$schema", "version", "providers", "client", "auth_config"), _UNUSED_AT_TOP)
    version = root["version"]
    if version.value is not None and _version(version.value) is None:
        version.wrong("1 or 2")
    client = root["client"]
    client.expect(
        (
            "allow_per_request_raw_override",
            "api_keys",
            "enforce_auth_on_inference",
            "max_request_body_size_mb",
        ),
        _UNUSED_OF_CLIENT,
    )
    # A warning would leave a gateway open whose owner believes that it is not.
    for protection in (root["auth_config"], client["api_keys"], client["enforce_auth_on_inference"]):
        if protection.value:
            protection.problem("this gateway cannot authenticate its clients; take this out to run it open")
    for name, other in root["providers"].members():
        if name != "vllm":
            other.warn("not used: this gateway serves vllm only")
    vllm = root["providers"]["vllm"]
    if vllm.value is None:
        vllm.problem("missing")
    vllm.expect(
        (
            "keys",
            "network_config",
            "send_back_raw_request",
            "send_back_raw_response",
            "custom_provider_config",
        ),
        _UNUSED_OF_PROVIDER,
    )
    if vllm["custom_provider_config"].value is not None:
        vllm["custom_provider_config"].problem("not allowed on a built-in provider")
    megabytes = client["max_request_body_size_mb"].number(100, 1, 10_240)
    config = Config(
        keys=_keys(vllm["keys"], environ, _version(version.value) == 1),
        network=_network(vllm["network_config"]),
        send_back_raw_request=vllm["send_back_raw_request"].flag(),
        send_back_raw_response=vllm["send_back_raw_response"].flag(),
        allow_raw_override=client["allow_per_request_raw_override"].flag(),
        request_limit=int(megabytes * 1024 * 1024),
        warnings=tuple(report.warnings),
    )
    return Rejected(tuple(report.problems)) if report.problems else config


def _version(value: object) -> Literal[1, 2] | None:
    if isinstance(value, bool):
        return None
    return 1 if value == 1 else 2 if value == 2 else None


def _network(network: _At) -> Network:
    network.expect(
        ("extra_headers", "default_request_timeout_in_seconds", "stream_idle_timeout_in_seconds"),
        _UNUSED_OF_NETWORK,
    )
    extra: dict[str, str] = {}
    for written, header in network["extra_headers"].members():
        name = written.lower()
        value = header.text()
        if not headers.is_name(written):
            header.problem("not the name of a header")
        elif name in headers.NEVER_CONFIGURED:
            header.problem("belongs to the connection and cannot be configured")
        elif name in extra:
            header.problem("the same header twice")
        elif not headers.is_sendable(value):
            header.problem(_UNSENDABLE)
        else:
            extra[name] = value
    return Network(
        MappingProxyType(extra),
        _seconds(network["default_request_timeout_in_seconds"], 300, 1, 604_800),
        _seconds(network["stream_idle_timeout_in_seconds"], 120, 5, 3_600),
    )


def _seconds(at: _At, default: float, least: float, most: float) -> float:
    if at.value == 0 and not isinstance(at.value, bool):  # Go's zero value: not set
        return default
    return at.number(default, least, most)


def _keys(keys: _At, environ: Mapping[str, str], empty_means_all: bool) -> tuple[Key, ...]:
    if keys.value in (None, []):
        keys.problem("at least one key is needed")
    found: list[Key] = []
    for at in keys.entries():
        key = _key(at, environ, empty_means_all)
        for member in ("name", "id"):
            if key.name and any(getattr(key, member) == getattr(other, member) for other in found):
                at[member].problem("another key has the same one")
        found.append(key)
    return tuple(found)


def _key(at: _At, environ: Mapping[str, str], empty_means_all: bool) -> Key:
    if at.value is None:
        at.wrong("an object")
    at.expect(
        (
            "name",
            "id",
            "description",
            "value",
            "models",
            "blacklisted_models",
            "aliases",
            "weight",
            "enabled",
            "structured_outputs",
            "vllm_key_config",
        ),
        _UNUSED_OF_KEY,
    )
    name = at["name"].text()
    if at["name"].value is None or at["name"].value == "":
        at["name"].problem("missing")
    server = at["vllm_key_config"]
    server.expect(("url", "model_name"))
    key = Key(
        name=name,
        id=at["id"].text() or name,
        value=_value(at["value"], environ),
        url=_url(server["url"], environ),
        models=_models(at["models"], "whitelist") or ((ANY_MODEL,) if empty_means_all else ()),
        blacklisted_models=_models(at["blacklisted_models"], "blacklist"),
        aliases=_aliases(at["aliases"]),
        weight=at["weight"].number(1, 0, 1_000_000),
        enabled=at["enabled"].flag(default=True),
        model_name=server["model_name"].text(),
        structured_outputs=_structured_outputs(at["structured_outputs"]),
    )
    if not key.models:
        at["models"].warn('no model is allowed, so this key serves none; ["*"] allows all')
    for alias in key.aliases:
        if not allows(key.models, alias) or key.model_name not in {"", alias}:
            at["aliases"][alias].warn("out of reach: models or model_name do not allow this name")
    return key


def allows(models: Sequence[str], model: str) -> bool:
    """Whether a list of models holds ``model``; case does not matter."""
    folded = model.lower()
    return any(entry in {ANY_MODEL, model} or entry.lower() == folded for entry in models)


def _models(at: _At, kind: str) -> tuple[str, ...]:
    found: list[str] = []
    for entry in at.entries():
        model = entry.text()
        if not model:
            if isinstance(entry.value, str | None):
                entry.problem("empty")
        elif model.lower() in {other.lower() for other in found}:
            entry.problem(f"duplicate value in {kind}")
        else:
            found.append(model)
    if ANY_MODEL in found and len(found) > 1:
        at.problem(f"wildcard '{ANY_MODEL}' cannot be used with other values in the {kind}")
    return tuple(found)


def _aliases(at: _At) -> Mapping[str, Alias]:
    found: dict[str, Alias] = {}
    for name, target in at.members():
        if isinstance(target.value, Mapping):
            target.expect(("model_id", "model_name", "model_family", "description"))
            model_id = target["model_id"]
            alias = Alias(model_id.text(), target["model_name"].text(), target["model_family"].text())
        else:
            model_id = target
            alias = Alias(target.text())
        if not name or name != name.strip():
            target.problem("the name of an alias must not be empty nor begin or end with a space")
        if not isinstance(model_id.value, str | None):
            pass  # reported as no string
        elif not alias.model_id or alias.model_id != alias.model_id.strip():
            model_id.problem("must not be empty nor begin or end with a space")
        found[name] = alias
    return MappingProxyType(found)


def _structured_outputs(at: _At) -> StructuredOutputs:
    match at.value:
        case None | "native":
            return "native"
        case "legacy":
            return "legacy"
    at.wrong('"native" or "legacy"')
    return "native"


def _value(at: _At, environ: Mapping[str, str]) -> str:
    value = _resolved(at, environ)
    if not headers.is_sendable(value):
        at.problem(_UNSENDABLE)
    return value


def _url(at: _At, environ: Mapping[str, str]) -> str:
    if not isinstance(at.value, str | Mapping | None):
        at.wrong("a string")
        return ""
    url = _resolved(at, environ)
    if not url:
        at.warn("missing: requests for this key are refused")
    elif trouble := _wrong_with_url(url):
        at.problem(trouble)
    return url


def _wrong_with_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not _PRINTABLE.fullmatch(url):
        return "not a URL: it holds a space or something else that is not printable ASCII"
    if parts.scheme not in {"http", "https"}:
        return "the URL must begin with http:// or https://"
    if not host or not _HOST.fullmatch(host):
        return "the URL names no host"
    if port == 0:
        return "port 0 is not a port"
    if parts.username is not None or parts.password is not None:
        return "credentials do not belong in the URL; use the value of the key"
    if "?" in url or "#" in url:
        return "the URL must not have a query or a fragment"
    return ""


def _resolved(at: _At, environ: Mapping[str, str]) -> str:
    """A text, or what a reference to an environment variable stands for.

    References are ``"env.NAME"``, ``{"ref": "env.NAME", "type": "env"}`` and
    ``{"value": "", "env_var": "env.NAME", "from_env": true}``. A variable that
    is not set counts as empty.
    """
    if isinstance(at.value, str):
        return _referenced(at, at.value, environ)
    if at.value is None:
        return ""
    if not isinstance(at.value, Mapping):
        at.problem("expected a string")  # a number here may be the secret itself: not shown
        return ""
    at.expect(("value", "ref", "type", "env_var", "from_env"))
    literal, kind = _secret_text(at["value"]), _secret_text(at["type"])
    reference = _secret_text(at["ref"]) or _secret_text(at["env_var"])
    if kind == "vault":
        at.problem("references to a vault are not supported")
        return ""
    if reference and (kind == "env" or at["from_env"].flag() or reference in {literal, f"env.{literal}"}):
        return _referenced(at, f"env.{reference.removeprefix('env.')}", environ)
    return _referenced(at, literal or reference, environ)


def _secret_text(at: _At) -> str:
    if at.value is not None and not isinstance(at.value, str):
        at.problem("expected a string")
    return at.value if isinstance(at.value, str) else ""


def _referenced(at: _At, text: str, environ: Mapping[str, str]) -> str:
    if text.startswith("vault."):
        at.problem("references to a vault are not supported")
        return ""
    if not text.startswith("env."):
        return text
    name = text.removeprefix("env.")
    if name not in environ:
        at.warn(f"the environment variable {json.dumps(name)} is not set, so this is empty")
    return environ.get(name, "")


def _shown(value: object) -> str:
    """A value as a message may show it: texts never, numbers only when they are short."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 10**9:
            return str(value)
        case float() if abs(value) < 10**9:
            return repr(float(value))
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
        case None:
            return "null"
    return "something that is not JSON"
