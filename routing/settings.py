"""Every setting: its name in the document, what it may be, its default, and what it does.

From this table documents are read, and from it comes ``docs/config.schema.json``.
Names, units, ranges and defaults are Bifrost's
(https://docs.getbifrost.ai/deployment-guides/config-json); what Bifrost does
not have says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final, Literal

from .access_log import Log
from .addresses import Url
from .auth import Auth
from .cors import Cors
from .fields import (
    Array,
    Clamped,
    Flag,
    Group,
    Matching,
    Megabytes,
    Milliseconds,
    Number,
    OneOf,
    Setting,
    Text,
)
from .header_settings import HeaderMap, Required, RequiredHeaders
from .headers import Filter
from .limits import Concurrency
from .metrics import Label, LabelText
from .model_names import ANY_MODEL, NO_ALIASES, Alias, Aliases, ModelList
from .references import Certificate, Credential

StructuredOutputs = Literal["native", "legacy"]
Strategy = Literal["weighted_random", "round_robin", "least_used", "fill_first", "power_of_two_choices"]
Transient = Literal["same_key", "rotate"]

LEARNT_VERSION: Final = "auto"
"""The version that the server says itself."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Key:
    """One vLLM server and how to be let in.

    ``models`` and ``blacklisted_models`` are as written; ``("*",)`` means all.
    ``model_name``, unless empty, is the only model that the key serves. An
    empty ``url`` makes every request for this key fail. The printed form shows
    neither the value nor the address.
    """

    name: Annotated[
        str, Setting("name", Text(), "What the key is called in answers, logs and metrics.", required=True)
    ] = ""
    id: Annotated[str, Setting("id", Text(), "What the key can be pinned by; its name unless given.")] = ""
    value: Annotated[
        str,
        Setting(
            "value", Credential(), "The server's API key, or a reference such as env.NAME; empty sends none."
        ),
    ] = field(default="", repr=False)
    url: Annotated[
        str,
        Setting("vllm_key_config.url", Url(), "The server's address, with or without /v1; may be env.NAME."),
    ] = field(default="", repr=False)
    models: Annotated[
        tuple[str, ...],
        Setting(
            "models", ModelList("whitelist"), 'Models that the key serves; ["*"] for all, none for none.'
        ),
    ] = ()
    blacklisted_models: Annotated[
        tuple[str, ...],
        Setting("blacklisted_models", ModelList("blacklist"), "Models that the key does not serve."),
    ] = ()
    aliases: Annotated[
        Mapping[str, Alias], Setting("aliases", Aliases(), "Names of models and what the server calls them.")
    ] = field(default_factory=lambda: NO_ALIASES)
    weight: Annotated[
        float, Setting("weight", Number(0, 1_000_000), "The share of requests; 0 for a key of last resort.")
    ] = 1.0
    enabled: Annotated[bool, Setting("enabled", Flag(), "Whether the key is used at all.")] = True
    model_name: Annotated[
        str,
        Setting(
            "vllm_key_config.model_name",
            Text(),
            "The only model that the key serves, in exactly this spelling.",
        ),
    ] = ""
    structured_outputs: Annotated[
        StructuredOutputs,
        Setting(
            "structured_outputs",
            OneOf(("native", "legacy")),
            'How the server reads guided decoding: "legacy" for vLLM before 0.12 (not in Bifrost).',
        ),
    ] = "native"
    server_version: Annotated[
        str,
        Setting(
            "vllm_key_config.server_version",
            Matching(
                r"auto|v?[0-9]{1,9}\.[0-9]{1,9}(?:[.a-z+-].*)?", 'a version such as "0.16.0", or "auto"'
            ),
            'The version of vLLM, such as "0.16.0", so that requests are written as it reads them; "auto": '
            "as the server says on /version. Unless given, requests are written as any version reads them "
            "(not in Bifrost).",
        ),
    ] = ""
    description: Annotated[str, Setting("description", Text(), "A remark.")] = field(
        default="", compare=False
    )


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are talked to; times in seconds.

    ``request_timeout_s`` bounds a whole call that is not streamed.
    ``first_byte_timeout_s`` bounds the wait for the status line, zero meaning
    ``request_timeout_s``; ``first_event_timeout_s`` that for the first event of
    a stream, zero meaning no bound of its own.
    """

    extra_headers: Annotated[
        Mapping[str, str],
        Setting("extra_headers", HeaderMap(), "Headers that every request to a server gets."),
    ] = field(default_factory=lambda: _NO_HEADERS, repr=False)
    request_timeout_s: Annotated[
        float,
        Setting(
            "default_request_timeout_in_seconds",
            Number(1, 604_800, zero_is_unset=True),
            "How long a call that is not streamed may take as a whole.",
        ),
    ] = 300.0
    stream_idle_timeout_s: Annotated[
        float,
        Setting(
            "stream_idle_timeout_in_seconds",
            Number(5, 3_600, zero_is_unset=True),
            "How long a server may be silent in the middle of an answer.",
        ),
    ] = 120.0
    connect_timeout_s: Annotated[
        float,
        Setting(
            "connect_timeout_in_seconds",
            Number(0.1, 3_600, zero_is_unset=True),
            "How long connecting may take (not in Bifrost).",
        ),
    ] = 10.0
    first_byte_timeout_s: Annotated[
        float,
        Setting(
            "first_byte_timeout_in_seconds",
            Number(0.1, 604_800, zero_is_unset=True),
            "How long the status line may take; default_request_timeout_in_seconds unless given "
            "(not in Bifrost).",
        ),
    ] = 0.0
    first_event_timeout_s: Annotated[
        float,
        Setting(
            "first_event_timeout_in_seconds",
            Number(0.1, 604_800, zero_is_unset=True),
            "How long the first event of a stream may take before another server or a fallback is tried; "
            "no limit unless given (not in Bifrost).",
        ),
    ] = 0.0
    keep_alive_s: Annotated[
        float,
        Setting(
            "keep_alive_timeout_in_seconds",
            Number(1, 3_600, zero_is_unset=True),
            "How long an idle connection is kept; not Bifrost's 30 s, since vLLM closes its own after 5.",
        ),
    ] = 4.0
    connections_per_host: Annotated[
        int,
        Setting(
            "max_conns_per_host",
            Clamped(1, 10_000, whole=True, zero_is_unset=True),
            "Connections to one server.",
        ),
    ] = 5_000
    insecure_skip_verify: Annotated[
        bool, Setting("insecure_skip_verify", Flag(), "Believe every certificate. A last resort.")
    ] = False
    ca_cert_pem: Annotated[
        str,
        Setting(
            "ca_cert_pem",
            Certificate(),
            "Certificates to trust, in PEM form, or a reference such as env.NAME.",
        ),
    ] = field(default="", repr=False)

    @property
    def first_byte_s(self) -> float:
        """How long the status line may take."""
        return self.first_byte_timeout_s or self.request_timeout_s


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and after what wait a failed request is sent again; waits in seconds."""

    max_retries: Annotated[
        int, Setting("max_retries", Number(0, whole=True), "How often a failed request is sent again.")
    ] = 0
    backoff_initial_s: Annotated[
        float,
        Setting(
            "retry_backoff_initial",
            Milliseconds(100, whole=True, zero_is_unset=True),
            "The wait before the first retry, in milliseconds; it doubles from retry to retry.",
        ),
    ] = 0.5
    backoff_max_s: Annotated[
        float,
        Setting(
            "retry_backoff_max",
            Milliseconds(100, whole=True, zero_is_unset=True),
            "The longest wait before a retry, in milliseconds.",
        ),
    ] = 5.0


@dataclass(frozen=True, slots=True)
class Selection:
    """How a key is picked among those that serve a request.

    ``cooldown_s``: how long later requests avoid a key that was turned away,
    when its server did not say; ``None`` stands for 60 where the document has
    a ``key_selection``, else for never. ``transient``: what a failure of the
    server leads to; ``None`` stands for ``rotate`` with
    ``power_of_two_choices``, else for ``same_key``.
    """

    strategy: Annotated[
        Strategy,
        Setting(
            "strategy",
            OneOf(("weighted_random", "round_robin", "least_used", "fill_first", "power_of_two_choices")),
            "How a key is picked. power_of_two_choices (not in Bifrost): of two at random, the one with "
            "fewer requests in flight for its weight.",
        ),
    ] = "weighted_random"
    sticky_limit: Annotated[
        int,
        Setting(
            "sticky_limit",
            Number(0, 1_000, whole=True),
            "With round_robin: requests in a row that go to one key.",
        ),
    ] = 0
    cooldown_s: Annotated[
        float | None,
        Setting(
            "cooldown_seconds",
            Number(0, 86_400),
            "How long a key is avoided after a rate limit or a rejected credential, unless its server says "
            "how long; 60 unless given, 0 for not at all.",
        ),
    ] = None
    transient: Annotated[
        Transient | None,
        Setting(
            "transient_failures",
            OneOf(("same_key", "rotate")),
            "What is retried after a server failed: the same key, as in Bifrost, or another one. rotate also "
            "avoids a server that cannot be reached for a while, and is the default with "
            "power_of_two_choices (not in Bifrost).",
        ),
    ] = None

    @property
    def counts(self) -> bool:
        """Whether it matters how many requests a key has, or had."""
        return self.strategy not in {"weighted_random", "fill_first"}

    @property
    def rotates(self) -> bool:
        """Whether a failure of the server leads to another key."""
        if self.transient is None:
            return self.strategy == "power_of_two_choices"
        return self.transient == "rotate"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a gateway needs to know before its first request."""

    keys: tuple[Key, ...] = ()
    network: Annotated[Network, Group("providers.vllm.network_config")] = field(default_factory=Network)
    send_back_raw_request: Annotated[
        bool,
        Setting(
            "providers.vllm.send_back_raw_request",
            Flag(),
            "Show in every answer what was sent to the server.",
        ),
    ] = False
    send_back_raw_response: Annotated[
        bool,
        Setting(
            "providers.vllm.send_back_raw_response", Flag(), "Show in every answer what the server answered."
        ),
    ] = False
    allow_raw_override: Annotated[
        bool,
        Setting(
            "client.allow_per_request_raw_override",
            Flag(),
            "Let clients ask for the raw request and response with x-bf-send-back-raw-request and -response.",
        ),
    ] = False
    request_limit: Annotated[
        int,
        Setting(
            "client.max_request_body_size_mb",
            Megabytes(1, 10_240),
            "The largest request body, in units of 1,048,576 bytes.",
        ),
    ] = 100 * 1024 * 1024
    warnings: tuple[str, ...] = ()
    retries: Annotated[Retries, Group("providers.vllm.network_config")] = field(default_factory=Retries)
    selection: Annotated[Selection, Group("providers.vllm.key_selection")] = field(default_factory=Selection)
    concurrency: Annotated[Concurrency, Group("providers.vllm.concurrency_and_buffer_size")] = field(
        default_factory=Concurrency
    )
    header_limit: Annotated[
        int,
        Setting(
            "server.read_buffer_size",
            Number(1_024, 16_777_216, whole=True),
            "The longest request header, in bytes.",
        ),
    ] = 65_536
    client_idle_s: Annotated[
        float,
        Setting(
            "server.idle_timeout_in_seconds",
            Number(1, 86_400, zero_is_unset=True),
            "How long a client's connection may be idle, or take over the headers of a request; "
            "more than proxies in front keep theirs (not in Bifrost).",
        ),
    ] = 75.0
    header_filter: Annotated[Filter, Group("client.header_filter_config")] = field(default_factory=Filter)
    required_headers: Annotated[
        tuple[Required, ...],
        Setting(
            "client.required_headers",
            RequiredHeaders(),
            "Headers without which a request is refused: a list of names, or an object of names and values.",
        ),
    ] = ()
    auth: Annotated[Auth, Group("client")] = field(default_factory=Auth)
    enforce_auth: Annotated[
        bool,
        Setting("client.enforce_auth_on_inference", Flag(), "Insist that clients need one of the api_keys."),
    ] = False
    cors: Annotated[Cors, Group("client")] = field(default_factory=Cors)
    log: Annotated[Log, Group("client")] = field(default_factory=Log)
    labels: Annotated[
        tuple[Label, ...],
        Setting(
            "client.prometheus_labels",
            Array(LabelText()),
            "Labels of all metrics: NAME, whose value clients send as x-bf-dim-NAME, or NAME=VALUE.",
        ),
    ] = ()
    sse_keep_alive_s: Annotated[
        float,
        Setting(
            "client.sse_keep_alive_interval_in_seconds",
            Number(0.1, 3_600, zero_is_unset=True),
            "After so long a silence, a comment goes to the client of a stream; none unless given "
            "(not in Bifrost).",
        ),
    ] = 0.0
    version: Annotated[
        int,
        Setting("version", OneOf((1, 2)), "2: an empty list of models allows none; 1: it allows all."),
    ] = field(default=2, compare=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that nobody outside may read, for ``secrets.Secrets``."""
        required = (header.secret or "" for header in self.required_headers)
        found = (*(key.value for key in self.keys), *self.auth.api_keys, *required)
        return tuple(dict.fromkeys(secret for secret in found if secret))

    @property
    def known_models(self) -> frozenset[str]:
        """The models that some key names, for ``metrics.model_label``."""
        named = {name for key in self.keys for name in (*key.models, *key.aliases, key.model_name)}
        return frozenset(named - {ANY_MODEL, ""})
