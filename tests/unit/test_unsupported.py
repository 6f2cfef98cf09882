"""Operations that vLLM does not serve, in the library and as routes."""

import re

import pytest

from routing import unsupported
from translate import OPERATIONS, UNSUPPORTED
from translate import unsupported as refuse

WITHOUT_A_ROUTE = {name for name in UNSUPPORTED if name.startswith("cached_content_")} | {
    "decisions",
    "passthrough",
    "passthrough_stream",
}


@pytest.mark.parametrize("request_type", sorted(UNSUPPORTED))
def test_the_library_says_so(request_type: str) -> None:
    assert refuse(request_type).error == {
        "is_bifrost_error": False,
        "error": {
            "message": f"{request_type} is not supported by vllm provider",
            "code": "unsupported_operation",
        },
        "extra_fields": {"request_type": request_type, "provider": "vllm"},
    }


def test_no_operation_is_both_served_and_unsupported() -> None:
    assert UNSUPPORTED
    assert UNSUPPORTED.isdisjoint(OPERATIONS)


def test_the_routes_stand_for_what_is_unsupported_each_once() -> None:
    types = [kind for route in unsupported.ROUTES for kind in (route.request_type, route.streamed) if kind]
    assert len(types) == len(set(types))
    assert set(types) == UNSUPPORTED - WITHOUT_A_ROUTE


def test_no_two_routes_are_the_same() -> None:
    routes = {(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in unsupported.ROUTES}
    assert len(routes) == len(unsupported.ROUTES)
    assert ("POST", "responses") not in routes
