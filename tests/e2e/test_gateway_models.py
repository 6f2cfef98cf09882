"""The models of all keys, as one list and one by one."""

import http.client as raw_http
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import permutations
from typing import Any

import pytest
import requests

from routing.config import Alias, Config, Key, Network, Retries
from tests.e2e.conftest import Serve
from tests.e2e.loopback import (
    MODELS,
    PATIENCE_S,
    Exchange,
    LoopThread,
    Script,
    Upstream,
    reply,
)

LIST = "/v1/models"


def row(name: str, **members: object) -> dict[str, object]:
    return {"id": name, "object": "model", **members}


def models(*rows: dict[str, object], **headers: str) -> Script:
    return reply({"object": "list", "data": rows}, 200, "application/json", **headers)


def settled(document: Any) -> Any:
    fields = document["extra_fields"]
    return {**document, "extra_fields": {**fields, "latency": 0}}


EXTRA_FIELDS = {
    "request_type": "list_models",
    "provider": "vllm",
    "routing_info": {"provider": "vllm"},
    "latency": 0,
}
OF_A_LIST = {**EXTRA_FIELDS, "chunk_index": 0}


def success(key_id: str) -> Mapping[str, object]:
    return {"key_id": key_id, "provider": "vllm", "status": "success"}


def failed(key_id: str, error: Mapping[str, object]) -> Mapping[str, object]:
    return {"key_id": key_id, "provider": "vllm", "status": "list_models_failed", "error": error}


@pytest.fixture
def servers(loop_thread: LoopThread) -> Iterator[Sequence[Upstream]]:
    with ExitStack() as running:
        yield [running.enter_context(Upstream(loop_thread)) for _ in range(4)]


@pytest.fixture
def keys(servers: Sequence[Upstream]) -> tuple[Key, ...]:
    """A key for each server, with a value of its own."""
    return tuple(
        Key(name, f"id-{name}", value=f"canary-of-{name}", url=server.url, models=("*",))
        for name, server in zip("abc", servers, strict=False)
    )


@pytest.mark.parametrize("path", [LIST, "/openai/v1/models", "/openai/models"])
def test_the_models_of_one_server(url: str, upstream: Upstream, http: requests.Session, path: str) -> None:
    upstream.answers(reply(MODELS))
    answer = http.get(url + path)
    assert answer.status_code == 200
    document = settled(answer.json())
    assert document.pop("object", None) == (None if path == LIST else "list")
    assert document == {
        "data": [{"id": "vllm/m", "object": "model", "created": 1, "owned_by": "vllm"}],
        "key_statuses": [success("k")],
        "extra_fields": OF_A_LIST,
    }
    assert upstream.request().line == "GET /v1/models HTTP/1.1"


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_all_servers_are_asked_at_once_and_the_order_of_their_answers_does_not_matter(
    serve: Serve,
    servers: Sequence[Upstream],
    keys: tuple[Key, ...],
    http: requests.Session,
    order: Sequence[str],
) -> None:
    """Each server waits until the one before it in ``order`` has answered, the first until all were asked."""
    asked = {name: servers[0].signal() for name in "abc"}
    answered = {name: servers[0].signal() for name in "abc"}

    def script(name: str) -> Script:
        async def in_turn(exchange: Exchange) -> None:
            asked[name].set()
            place = order.index(name)
            for signal in [answered[order[place - 1]]] if place else asked.values():
                await signal.happened()
            await models(row("shared", of=name), row(f"of-{name}"))(exchange)
            answered[name].set()

        return in_turn

    for name, server in zip("abc", servers, strict=False):
        server.answers(script(name))
    answer = http.get(serve(Config(keys)) + LIST)
    assert settled(answer.json()) == {
        "data": [
            row("vllm/of-a"),
            row("vllm/of-b"),
            row("vllm/of-c"),
            row("vllm/shared", of="a"),
        ],
        "key_statuses": [success("id-a"), success("id-b"), success("id-c")],
        "extra_fields": OF_A_LIST,
    }
    for name, server in zip("abc", servers, strict=False):
        assert len(server.seen) == 1
        assert server.request().line == "GET /v1/models HTTP/1.1"
        assert server.request().header("authorization") == f"Bearer canary-of-{name}"


async def silence(exchange: Exchange) -> None:
    await exchange.client_left()


def test_those_that_fail_do_not_hide_the_others(
    serve: Serve, servers: Sequence[Upstream], http: requests.Session
) -> None:
    healthy, refusing, slow, confused = servers
    healthy.answers(models(row("m", max_model_len=8)))
    confused.answers(reply({"error": {"message": "not now", "code": 503}}))
    refusing.answers(reply({"error": "Unauthorized: canary-of-refusing"}, 401, "application/json"))
    slow.answers(silence)
    keys = (
        Key("dead", "1", value="canary-of-dead", url="http://127.0.0.1:1", models=("*",)),
        Key("refusing", "2", value="canary-of-refusing", url=refusing.url, models=("*",)),
        Key("slow", "3", value="canary-of-slow", url=slow.url, models=("*",)),
        Key("nowhere", "4", value="canary-of-nowhere", models=("*",)),
        Key("healthy", "5", value="canary-of-healthy", url=f"{healthy.url}/prefix/v1/", models=("m", "x")),
        Key("off", "6", url=healthy.url, models=("*",), enabled=False),
        Key("confused", "7", value="canary-of-confused", url=confused.url, models=("*",)),
    )
    answer = http.get(serve(Config(keys, network=Network(request_timeout_s=0.5))) + LIST)
    assert answer.status_code == 200
    document = answer.json()
    assert document["data"] == [
        row("vllm/m", max_model_len=8, context_length=8),
        {"id": "vllm/x", "name": "X"},
    ]
    told = {status["key_id"]: status for status in document["key_statuses"]}
    assert list(told) == ["1", "2", "3", "4", "5", "7"]
    assert {status["status"] for status in told.values()} == {"success", "list_models_failed"}
    assert told["5"] == success("5")
    assert told["4"] == failed(
        "4",
        {
            "is_bifrost_error": True,
            "error": {"message": "no base URL configured: set vllm_key_config.url on the key"},
            "extra_fields": {name: value for name, value in EXTRA_FIELDS.items() if name != "latency"},
        },
    )
    assert settled(told["2"]["error"]) == {
        "is_bifrost_error": False,
        "status_code": 401,
        "error": {"message": "Unauthorized: ***"},
        "extra_fields": EXTRA_FIELDS,
    }
    assert told["1"]["error"]["error"]["type"] == "provider_connection_failed"
    assert told["3"]["error"]["error"]["type"] == "request_timed_out"
    assert told["7"]["error"]["status_code"] == 503
    assert "canary" not in answer.text
    assert "127.0.0.1" not in answer.text
    assert healthy.request().line == "GET /prefix/v1/models HTTP/1.1"
    slow.request().left.wait()


def test_a_server_that_fails_for_a_moment_is_asked_again(
    serve: Serve, servers: Sequence[Upstream], keys: tuple[Key, ...], http: requests.Session
) -> None:
    url = serve(Config(keys[:3], retries=Retries(1, 0.001, 0.001)))
    broken = {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}
    servers[0].answers(reply(broken, 503), reply(MODELS))
    servers[1].always_answers(reply(broken, 500))
    servers[2].always_answers(reply({"error": "Unauthorized"}, 401))
    document = http.get(url + LIST).json()
    assert [model["id"] for model in document["data"]] == ["vllm/m"]
    assert {row["key_id"]: row["status"] for row in document["key_statuses"]} == {
        "id-a": "success",
        "id-b": "list_models_failed",
        "id-c": "list_models_failed",
    }
    assert [len(server.seen) for server in servers[:3]] == [2, 2, 1]


def test_when_all_fail_the_last_error_is_the_answer(
    serve: Serve, servers: Sequence[Upstream], keys: tuple[Key, ...], http: requests.Session
) -> None:
    for server, status in zip(servers, (401, 500, 503), strict=False):
        error = {"message": f"canary-of-a canary-of-b canary-of-c {status}", "code": status}
        server.answers(reply({"error": error}, status, "application/json", retry_after=str(status)))
    answer = http.get(serve(Config(keys)) + LIST)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "503")
    document = answer.json()
    statuses = document["extra_fields"].pop("key_statuses")
    assert settled(document) == {
        "is_bifrost_error": False,
        "status_code": 503,
        "error": {"message": "canary-of-a canary-of-b *** 503", "code": "503"},
        "extra_fields": EXTRA_FIELDS,
    }
    assert [status["error"]["status_code"] for status in statuses] == [401, 500, 503]
    assert [status["key_id"] for status in statuses] == ["id-a", "id-b", "id-c"]
    assert "canary-of-a" not in json.dumps(statuses[0])
    assert "canary-of-b" not in json.dumps(statuses[1])


@pytest.mark.parametrize(
    ("query", "headers", "message"),
    [
        ("?provider=openai", {}, "no valid keys found for provider: openai"),
        ("/m?provider=Vllm", {}, "no valid keys found for provider: Vllm"),
        ("", {"x-bf-api-key": "z"}, 'no supported key found with name "z" for provider: vllm'),
    ],
)
def test_keys_that_do_not_exist(
    url: str, upstream: Upstream, http: requests.Session, query: str, headers: dict[str, str], message: str
) -> None:
    answer = http.get(url + LIST + query, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {"message": message, "error": message},
    }
    assert upstream.seen == []


def test_a_pinned_key_is_asked_alone(
    serve: Serve, servers: Sequence[Upstream], keys: tuple[Key, ...], http: requests.Session
) -> None:
    servers[1].answers(models(row("m")))
    answer = http.get(serve(Config(keys)) + LIST, headers={"x-bf-api-key-id": "id-b"})
    assert answer.json()["key_statuses"] == [success("id-b")]
    assert [len(server.seen) for server in servers] == [0, 1, 0, 0]


def test_pages(url: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.always_answers(models(*(row(name) for name in "dbace")))
    found: list[str] = []
    token = ""
    while not found or token:
        query = {"provider": "vllm", "page_size": "2", "page_token": token}
        document = http.get(url + LIST, params=query).json()
        found.append("".join(each["id"][-1] for each in document["data"]))
        assert document["key_statuses"] == [success("k")]
        token = document.get("next_page_token", "")
    assert found == ["ab", "cd", "e"]
    assert {seen.line for seen in upstream.seen} == {"GET /v1/models HTTP/1.1"}


def test_raw_responses(
    serve: Serve, servers: Sequence[Upstream], keys: tuple[Key, ...], http: requests.Session
) -> None:
    said = [{"object": "list", "data": [row(name, parent=None)]} for name in "ab"]
    servers[0].answers(reply(said[0]))
    servers[1].answers(reply({"detail": "Not Found, canary-of-b"}, 404))
    servers[2].answers(reply(said[1]))
    document = http.get(serve(Config(keys, send_back_raw_response=True)) + LIST).json()
    assert settled(document)["extra_fields"] == {**OF_A_LIST, "raw_response": said}
    assert document["data"] == [row("vllm/a"), row("vllm/b")]
    error = document["key_statuses"][1]["error"]
    assert error["extra_fields"]["raw_response"] == {"detail": "Not Found, ***"}


def test_a_client_that_leaves_takes_all_requests_with_it(
    serve: Serve, servers: Sequence[Upstream], keys: tuple[Key, ...]
) -> None:
    for server in servers:
        server.answers(silence)
    host, port = serve(Config(keys)).removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % LIST.encode())
        asked = [server.request() for server in servers[:3]]
    for seen in asked:
        seen.left.wait()


def get(url: str, path: str) -> tuple[int, Any]:
    """Ask for ``path`` as it is spelled; requests would spell it anew."""
    connection = raw_http.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, json.load(answer)
    connection.close()
    return found


@pytest.fixture
def library(serve: Serve, upstream: Upstream) -> str:
    """A gateway to a server with models whose names are hard to spell."""
    upstream.always_answers(
        models(row("org/name"), row("/models/x"), row("50%2F50"), row("é a"), row("vllm/odd"), row("m"))
    )
    allowed = ("org/name", "/models/x", "50%2F50", "é a", "vllm/odd", "absent")
    key = Key("k", "k", url=upstream.url, models=allowed, aliases={"fast": Alias("org/name")})
    return serve(Config((key,)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/vllm/org/name", "org/name"),
        ("/v1/models/vllm%2Forg%2fname", "org/name"),
        ("/openai/v1/models/vllm/org%2Fname", "org/name"),
        ("/openai/models/vllm/org/name?x=/models/y", "org/name"),
        ("/v1/models/org/name", "org/name"),
        ("/v1/models/org/name?provider=vllm", "org/name"),
        ("/v1/models/vllm/org/name?provider=vllm", "org/name"),
        ("/v1/models/vllm//models/x", "/models/x"),
        ("/v1/models/vllm/%2Fmodels%2Fx", "/models/x"),
        ("/v1/models/%2Fmodels/x", "/models/x"),
        ("/v1/models/vllm/50%252F50", "50%2F50"),
        ("/v1/models/vllm%2F%C3%A9%20a", "é a"),
        ("/v1/models/vllm/vllm/odd", "vllm/odd"),
    ],
)
def test_one_model(library: str, path: str, name: str) -> None:
    status, document = get(library, path)
    assert (status, settled(document)) == (200, {**row(f"vllm/{name}"), "extra_fields": OF_A_LIST})


def test_an_alias_and_a_model_that_the_server_does_not_list(library: str) -> None:
    assert settled(get(library, "/v1/models/fast")[1]) == {
        **row("vllm/fast"),
        "alias": "org/name",
        "extra_fields": OF_A_LIST,
    }
    assert settled(get(library, "/v1/models/vllm/absent")[1]) == {
        "id": "vllm/absent",
        "name": "Absent",
        "extra_fields": OF_A_LIST,
    }


@pytest.mark.parametrize(
    ("path", "message", "param"),
    [
        ("/v1/models/", "model is required", "model"),
        ("/v1/models/%2F", "model is required", "model"),
        ("/v1/models/%20?provider=vllm", "model is required", "model"),
        ("/v1/models/vllm%2", "invalid model encoding", "model"),
        ("/v1/models/vllm%2Fx%zz", "invalid model encoding", "model"),
        ("/openai/models/%ff", "invalid model encoding", "model"),
        ("/v1/models/m", "provider is required", "provider"),  # no key allows it
    ],
)
def test_a_path_that_names_no_model(library: str, path: str, message: str, param: str) -> None:
    status, document = get(library, path)
    assert (status, document) == (
        400,
        {
            "is_bifrost_error": False,
            "status_code": 400,
            "error": {"message": message, "type": "invalid_request_error", "param": param},
        },
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/vllm/m", "vllm/m"),
        ("/v1/models/m?provider=vllm", "m"),
        ("/v1/models/vllm/50/50", "vllm/50/50"),
        ("/v1/models/vllm/50%2F50", "vllm/50/50"),
        ("/v1/models/vllm%252Forg%252Fname?provider=vllm", "vllm%2Forg%2Fname"),
        ("/v1/models/vllm/org/name/", "vllm/org/name/"),
        ("/v1/models/ORG/NAME", "ORG/NAME"),
    ],
)
def test_a_model_that_is_not_listed(library: str, path: str, name: str) -> None:
    status, document = get(library, path)
    assert (status, document) == (
        404,
        {
            "is_bifrost_error": False,
            "status_code": 404,
            "error": {
                "message": f"The model `{name}` does not exist.",
                "type": "invalid_request_error",
                "code": "model_not_found",
                "param": "model",
            },
            "extra_fields": {
                "routing_info": {"provider": "vllm"},
                "provider": "vllm",
                "request_type": "list_models",
                "key_statuses": [success("k")],
            },
        },
    )


def test_one_model_when_no_server_answers(url: str, upstream: Upstream, http: requests.Session) -> None:
    upstream.answers(reply({"error": "Unauthorized"}, 401))
    answer = http.get(f"{url}/v1/models/vllm/m")
    assert answer.status_code == 401
    assert answer.json()["error"] == {"message": "Unauthorized"}
