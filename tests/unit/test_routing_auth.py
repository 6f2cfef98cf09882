"""routing.auth: who is let in."""

import pytest

from routing.auth import Auth, refused
from routing.refusals import unauthorized

AUTH = Auth(("first-key", "sécond-key"), open_routes=("/metrics",))
CHAT = "/v1/chat/completions"
MISSING = unauthorized(
    "an API key is required: send it as a bearer token or in the x-bf-vk header", "api_key_required"
)
WRONG = unauthorized("the API key is not known here", "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer first-key")],
        [("authorization", "bearer  first-key ")],
        [("AUTHORIZATION", "BEARER first-key")],
        [("Authorization", "Bearer sécond-key")],
        [("x-bf-vk", "first-key")],
        [("X-Api-Key", "first-key")],
        [("x-goog-api-key", "first-key")],
        [("api-key", "first-key")],
        [("Authorization", "Bearer sdk-default"), ("x-bf-vk", "first-key")],
        [("Authorization", "Basic dXNlcjpwYXNz"), ("x-api-key", "first-key")],
    ],
)
def test_a_known_key_is_let_in_however_it_comes(headers: list[tuple[str, str]]) -> None:
    assert refused(AUTH, "POST", CHAT, headers) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], MISSING),
        ([("Authorization", "")], MISSING),
        ([("Authorization", "Bearer ")], MISSING),
        ([("Authorization", "first-key")], MISSING),
        ([("Authorization", "Basic first-key")], MISSING),
        ([("Cookie", "first-key")], MISSING),
        ([("x-bf-api-key", "first-key")], MISSING),
        ([("x-bf-eh-authorization", "Bearer first-key")], MISSING),
        ([("x-bf-vk", "  ")], MISSING),
        ([("Authorization", "Bearer first-ke")], WRONG),
        ([("Authorization", "Bearer first-keyy")], WRONG),
        ([("Authorization", "Bearer First-Key")], WRONG),
        ([("Authorization", "Bearer first-key,sécond-key")], WRONG),
        ([("x-bf-vk", "\udcff\ud800")], WRONG),
        ([("x-bf-vk", "x" * 100_000)], WRONG),
    ],
)
def test_anybody_else_is_not(headers: list[tuple[str, str]], expected: object) -> None:
    assert refused(AUTH, "POST", CHAT, headers) == expected


def test_the_refusal_is_an_error_document() -> None:
    assert refused(AUTH, "GET", "/v1/models", []) == {
        "is_bifrost_error": False,
        "error": {
            "message": "an API key is required: send it as a bearer token or in the x-bf-vk header",
            "type": "authentication_error",
            "code": "api_key_required",
        },
        "status_code": 401,
    }


@pytest.mark.parametrize(
    ("auth", "method", "path"),
    [
        pytest.param(Auth(), "POST", CHAT, id="no keys, no doors"),
        pytest.param(AUTH, "OPTIONS", CHAT, id="a preflight"),
        pytest.param(AUTH, "GET", "/health", id="health"),
        pytest.param(AUTH, "GET", "/metrics", id="an open route"),
    ],
)
def test_what_needs_no_key(auth: Auth, method: str, path: str) -> None:
    assert refused(auth, method, path, []) is None


@pytest.mark.parametrize("path", ["/metrics/", "/Metrics", "/health/../v1/models", "/healthy"])
def test_an_open_route_is_that_path_and_no_other(path: str) -> None:
    assert refused(AUTH, "GET", path, []) == MISSING


def test_it_prints_no_key() -> None:
    assert repr(AUTH) == "Auth(2 keys, open_routes=('/metrics',))"
