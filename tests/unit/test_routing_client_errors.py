"""routing.client_errors: what a client may read of an error."""

from copy import deepcopy
from typing import Any

import pytest

from routing.client_errors import presentable


def error(status: int | None, message: str, **more: object) -> dict[str, Any]:
    found: dict[str, Any] = {"is_bifrost_error": False, "error": {"message": message, **more}}
    return found if status is None else {**found, "status_code": status}


DATABASE = "failed to create customer: pq: duplicate key value violates unique constraint users_email_key"
GO = "goroutine 1 [running]:\nmain.handler\n\t/app/server.go:42"
PYTHON = 'Traceback (most recent call last):\n  File "/usr/lib/vllm/engine.py", line 1'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            error(500, DATABASE, error=GO, param="users_email_key", type="server_error", code="500"),
            error(500, "internal server error", type="server_error", code="500"),
            id="a database's wording and a stack",
        ),
        pytest.param(error(500, PYTHON), error(500, "internal server error"), id="Python's traceback"),
        pytest.param(
            error(500, "boom", error=GO), error(500, "internal server error"), id="only the cause tells"
        ),
        pytest.param(error(None, "PANIC: nil"), error(None, "internal server error"), id="without a status"),
        pytest.param(
            error(504, "timeout contacting https://u:p@proxy.internal?sig=1", error="x", param="y"),
            error(504, "upstream returned HTTP 504 Gateway Timeout"),
            id="a proxy's timeout with an address",
        ),
    ],
)
def test_what_is_hidden(given: dict[str, Any], expected: dict[str, Any]) -> None:
    before = deepcopy(given)
    assert presentable(given) == expected
    assert given == before


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            error(400, "model is required", error="missing model", param="model"), id="a client's fault"
        ),
        pytest.param(error(500, "failed to reload config"), id="a harmless message"),
        pytest.param(error(400, f"1 validation error: input: {PYTHON}"), id="a 400 that quotes the client"),
        pytest.param(error(422, "why does main.go:3 panic: nil?"), id="a 422 that quotes the client"),
        pytest.param(error(504, "the engine did not answer"), id="a timeout without an address"),
        pytest.param(
            {"is_bifrost_error": True, "status_code": 504, "error": {"message": "request timed out: ://"}},
            id="a timeout of our own",
        ),
        pytest.param({}, id="an empty document"),
        pytest.param({"error": "text", "status_code": 500}, id="a document of another shape"),
        pytest.param({"error": {"message": [GO], "error": {"a": GO}}, "status_code": 500}, id="odd members"),
    ],
)
def test_what_stays(given: dict[str, Any]) -> None:
    assert presentable(given) == given
