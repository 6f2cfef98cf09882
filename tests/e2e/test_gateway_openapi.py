"""What the gateway says it offers is what it offers."""

import tomllib
from typing import Any

import pytest
import requests
from aiohttp import web

import gateway
from routing.auth import Auth
from routing.settings import Config, Key
from serving import interface
from tests.contract.wheel import ROOT
from tests.e2e.conftest import Serve
from tests.e2e.loopback import ASK, COMPLETION, Upstream, reply
from tests.json_schema import faults
from translate import OPERATIONS, Failure, flat_schemas
from translate.flat_schemas import FORMS


@pytest.fixture
def document(url: str, http: requests.Session) -> Any:
    answer = http.get(f"{url}/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def test_every_route_is_described_and_nothing_else(document: Any) -> None:
    app = gateway.application(Config(keys=(Key("k", "k", url="http://h", models=("*",)),)))
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if isinstance(route.resource, web.Resource) and route.method != "HEAD"
    }
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert described == served


def test_the_version_is_that_of_the_package(document: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "security" not in document
    assert document["info"] == {"title": project["name"], "version": project["version"]}
    assert project["version"] == interface.VERSION


def test_a_gateway_that_wants_a_key_says_so(serve: Serve, http: requests.Session) -> None:
    locked = Config(keys=(Key("k", "k", url="http://h", models=("*",)),), auth=Auth(("secret-1",)))
    url = serve(locked)
    assert http.get(f"{url}/openapi.json").status_code == 401
    document = http.get(f"{url}/openapi.json", headers={"authorization": "Bearer secret-1"}).json()
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert http.get(f"{url}/health").status_code == 200


def test_every_operation_has_a_body_of_its_own(document: Any) -> None:
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for operations in document["paths"].values()
        for operation in operations.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert bodies == {
        "ChatCompletionRequest",
        "ResponsesRequest",
        "TextCompletionRequest",
        "EmbeddingRequest",
        "RerankRequest",
    }


@pytest.mark.parametrize("operation", FORMS)
def test_the_names_of_a_body_are_those_that_are_read(operation: Any) -> None:
    flat = {"model": "m", **dict.fromkeys(FORMS[operation].inputs, "x")}
    request = OPERATIONS[operation].from_flat(flat)
    assert not isinstance(request, Failure)
    assert {name: request[name] for name in FORMS[operation].inputs.values()} == dict.fromkeys(
        FORMS[operation].inputs.values(), "x"
    )
    assert "params" not in request


def test_answers_and_errors_are_what_their_schemas_say(
    url: str, upstream: Upstream, http: requests.Session
) -> None:
    upstream.answers(reply(COMPLETION), reply({"detail": "Not Found"}, 404))
    good = http.post(f"{url}/v1/chat/completions", json=ASK)
    bad = http.post(f"{url}/v1/chat/completions", json=ASK)
    assert [good.status_code, bad.status_code] == [200, 404]
    assert faults(good.json(), flat_schemas.answer_schema()) == []
    assert faults(bad.json(), flat_schemas.error_schema()) == []
    assert faults({}, flat_schemas.error_schema()) != []
