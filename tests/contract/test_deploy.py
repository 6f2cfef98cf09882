"""What is in deploy/ fits Kubernetes, and fits the gateway."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

import gateway
from routing import auth, check, metrics
from routing.settings import Config
from serving import command_line, workers
from tests.contract.wheel import MODULES, PACKAGES, ROOT

DEPLOY = ROOT / "deploy"
FILES = {file.name: yaml.safe_load(file.read_text()) for file in (DEPLOY / "kubernetes").glob("*.yaml")}
MANIFESTS = {name: document for name, document in FILES.items() if document["kind"] != "Kustomization"}
BY_KIND: dict[str, Any] = {document["kind"]: document for document in MANIFESTS.values()}
POD = BY_KIND["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
OPTIONS = command_line._arguments().parse_args(CONTAINER["args"])
CONFIG_TEXT = BY_KIND["ConfigMap"]["data"]["config.json"]
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PAGE = (ROOT / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_a_manifest_is_valid_and_has_no_member_that_kubernetes_does_not_know(name: str, version: str) -> None:
    """1.30 is the first version in which a container may sleep before it stops."""
    major_minor = ".".join(version.split(".")[:2])
    assert kubernetes_validate.validate(MANIFESTS[name], version, strict=True) == major_minor


def test_a_misspelled_member_would_be_found() -> None:
    spoiled = {**MANIFESTS["service.yaml"], "spec": {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoiled, "1.30", strict=True)


def test_all_but_the_example_is_applied() -> None:
    assert set(FILES["kustomization.yaml"]["resources"]) == set(MANIFESTS) - {"secret.example.yaml"}


def test_the_manifests_speak_of_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    chosen = [
        BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"],
        BY_KIND["Service"]["spec"]["selector"],
        BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        POD["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert chosen == [labels] * 5
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = BY_KIND["Deployment"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }


def test_the_port_is_the_one_that_is_listened_on() -> None:
    (port,) = CONTAINER["ports"]
    assert (OPTIONS.host, OPTIONS.port) == ("0.0.0.0", port["containerPort"])
    assert BY_KIND["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert BY_KIND["NetworkPolicy"]["spec"]["ingress"][0]["ports"] == [
        {"protocol": "TCP", "port": port["name"]}
    ]


def open_paths() -> set[str]:
    """What is served to whoever has no key."""
    routes = gateway.application(Config()).router.routes()
    paths = {route.resource.canonical for route in routes if route.method == "GET" and route.resource}
    return {path for path in paths if auth.refused(auth.Auth(("some-key",)), "GET", path, []) is None}


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_asks_what_is_served_without_a_key(probe: str) -> None:
    asked = CONTAINER[probe]["httpGet"]
    assert asked["path"] in open_paths()
    assert asked["port"] == CONTAINER["ports"][0]["name"]


def test_what_the_autoscaler_looks_at_is_exported() -> None:
    (looked_at,) = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = looked_at["pods"]["metric"]["name"]
    (metric,) = (metric for metric in metrics.METRICS if metric.name == name)
    assert metric.kind == "gauge"
    assert set(looked_at["pods"]["metric"]["selector"]["matchLabels"]) <= set(metric.labels)
    assert int(looked_at["pods"]["target"]["averageValue"]) < configuration().concurrency.running


def configuration() -> Config:
    """The configuration, all of its references being set."""
    environ = {variable["name"]: f"the-{variable['name']}" for variable in CONTAINER["env"]}
    report = check.check(CONFIG_TEXT.encode(), environ)
    assert report.lines("config.json") == ()
    assert report.config is not None
    return report.config


def test_the_configuration_has_nothing_to_complain_of() -> None:
    config = configuration()
    assert config.auth.api_keys == ("the-CLIENT_KEY",)
    assert [key.value for key in config.keys] == ["the-VLLM_KEY"] * 2


def test_the_configuration_is_where_the_gateway_looks() -> None:
    (mount,) = (mount for mount in CONTAINER["volumeMounts"] if mount["name"] == "config")
    (volume,) = (volume for volume in POD["spec"]["volumes"] if volume["name"] == "config")
    assert volume["configMap"]["name"] == BY_KIND["ConfigMap"]["metadata"]["name"]
    assert Path(mount["mountPath"]) / "config.json" == OPTIONS.config


def test_every_reference_of_the_configuration_is_in_the_secret() -> None:
    referred_to = set(re.findall(r'"env\.(\w+)"', CONFIG_TEXT))
    given = {variable["name"]: variable["valueFrom"]["secretKeyRef"]["key"] for variable in CONTAINER["env"]}
    secret = BY_KIND["Secret"]
    assert {name: name for name in referred_to} == given
    assert set(secret["stringData"]) == referred_to
    assert {variable["valueFrom"]["secretKeyRef"]["name"] for variable in CONTAINER["env"]} == {
        secret["metadata"]["name"]
    }


def test_the_example_of_a_secret_lets_nobody_in() -> None:
    report = check.check(CONFIG_TEXT.encode(), BY_KIND["Secret"]["stringData"])
    assert report.config is None
    assert [line for line in report.lines("f") if ": problem: " in line] == [
        "f:3: problem: $.client.api_keys[0]: empty: this would let everybody in"
    ]


def test_the_network_lets_requests_through_to_the_servers() -> None:
    allowed = {
        port["port"]
        for rule in BY_KIND["NetworkPolicy"]["spec"]["egress"]
        for port in rule["ports"]
        if port["protocol"] == "TCP"
    }
    assert {urlsplit(key.url).port for key in configuration().keys} <= allowed


def test_a_pod_lives_until_its_requests_have_come_to_their_end() -> None:
    sleeps_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = sleeps_s + OPTIONS.grace + workers._LAST_WORDS_S
    assert needed_s < POD["spec"]["terminationGracePeriodSeconds"]


def test_nothing_runs_as_root_or_writes_to_its_image() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def dockerfile() -> list[tuple[str, str]]:
    """The instructions, each in one line."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def last(name: str) -> str:
    return [rest for instruction, rest in dockerfile() if instruction == name][-1]


def test_the_image_is_made_of_nothing_but_the_package_and_a_plain_base() -> None:
    bases = [rest for name, rest in dockerfile() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"python:3\.\d+-slim( AS build)?", base)
    sources = {
        source
        for name, rest in dockerfile()
        if name == "COPY" and not rest.startswith("--from=build")
        for source in rest.split()[:-1]
    }
    needed = {"pyproject.toml", "README.md", "LICENSE", *MODULES, *PACKAGES, "cassettes"}
    assert sources == needed | {"constraints.txt"}


def test_the_image_does_not_run_as_root_and_serves_as_the_pods_do() -> None:
    user, _, group = last("USER").partition(":")
    assert [int(user), int(group)] == [
        POD["spec"]["securityContext"][name] for name in ("runAsUser", "runAsGroup")
    ]
    assert json.loads(last("ENTRYPOINT")) == ["bifrost-vllm"]
    options = command_line._arguments().parse_args(json.loads(last("CMD")))
    assert (options.config, options.host, options.port) == (OPTIONS.config, OPTIONS.host, OPTIONS.port)
    assert int(last("EXPOSE")) == OPTIONS.port
    asked = re.search(r"'(http://\S+)'", last("HEALTHCHECK"))
    assert asked
    address = urlsplit(asked[1])
    assert (address.port, address.path in open_paths()) == (OPTIONS.port, True)


def test_the_image_has_the_version_and_extras_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CONTAINER["image"] == f"{project['name']}:{project['version']}"
    assert f"-t {CONTAINER['image']} ." in (DEPLOY / "Dockerfile").read_text()
    extras = re.search(r"'\.\[(.*)\]'", last("RUN"))
    assert extras
    assert set(extras[1].split(",")) == set(project["optional-dependencies"]) - {"audit", "dev", "fuzz"}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_is_of_what_is_exported(rule: Any) -> None:
    by_series = {
        f"{metric.name}{suffix}": metric
        for metric in metrics.METRICS
        for suffix in (("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",))
    }
    text: str = rule["expr"]
    series = re.findall(r"\b(?:bifrost|http)_\w+", re.sub(r'"[^"]*"', '""', text))
    assert set(series) <= set(by_series)
    labels = set(re.findall(r"(\w+)=~?\"", text))
    for grouped in re.findall(r"by \(([^)]*)\)", text):
        labels |= set(re.findall(r"\w+", grouped))
    known = {label for name in series for label in by_series[name].labels} | {"le"}
    assert labels <= known
    kinds = get_args(metrics.ErrorType)
    for pattern in re.findall(r'error_type=~?"([^"]*)"', text):
        assert any(re.fullmatch(pattern, kind) for kind in kinds)
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert label in labels


def test_the_page_tells_of_every_alert_and_every_file() -> None:
    told = set(re.findall(r"`(BifrostVllm\w+)`", PAGE))
    assert told == {rule["alert"] for rule in RULES}
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.name != "kustomization.yaml":
            assert file.name in PAGE


def test_the_configuration_on_the_page_can_be_loaded() -> None:
    shown = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    for text in shown:
        assert check.check(text.encode(), {"VLLM_KEY": "k", "CLIENT_KEY": "c"}).lines("f") == ()
