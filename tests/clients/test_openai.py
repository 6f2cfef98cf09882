"""Releases of openai-python against the gateway: each gets the same, down to the last field."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.conftest import ask
from tests.e2e.loopback import Upstream, delta, reply, stream

pytestmark = pytest.mark.clients

RELEASES: Final = ("openai-1", "openai-2", "openai-newest")
EXPECTED: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))
ERRORS: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
    503: "InternalServerError",
}
TASKS: Final = sorted(task for task in EXPECTED if not task.startswith(("agents", "response_tools")))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("task", TASKS)
def test_task(bundled: str, release: str, task: str) -> None:
    assert ask(release, "with_openai.py", bundled, task) == EXPECTED[task]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("task", ["response_tools", "response_tools_stream"])
def test_tools(conversations: str, release: str, task: str) -> None:
    assert ask(release, "with_openai.py", conversations, task) == EXPECTED[task]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("task", ["error", "error_of_stream", "error_of_response"])
def test_error(troubled: str, upstream: Upstream, release: str, status: int, task: str) -> None:
    said = {"message": "so it is", "type": "SomeError", "param": None, "code": status}
    upstream.answers(reply({"error": said}, status))
    answer = ask(release, "with_openai.py", troubled, task)
    assert answer == {"class": ERRORS[status], "status": status, "code": str(status), "type": "SomeError"}


@pytest.mark.parametrize("release", RELEASES)
def test_error_within_a_stream(troubled: str, upstream: Upstream, release: str) -> None:
    broken = {"error": {"message": "engine died", "type": "Dead", "code": 500}}
    upstream.answers(stream(delta("Hel", role="assistant"), broken))
    answer = ask(release, "with_openai.py", troubled, "error_within_stream")
    assert answer == {"class": "APIError", "code": "500", "type": "Dead", "before": "Hel"}
