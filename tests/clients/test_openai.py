"""Releases of openai-python against the gateway: each gets the same, down to the last field."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.driving import ask
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
CONVERSATIONS: Final = ("response_parse", "response_tools", "response_tools_stream")
TASKS: Final = sorted(
    task for task in EXPECTED if not task.startswith("agents") and task not in CONVERSATIONS
)


@pytest.mark.parametrize("release", RELEASES)
def test_tasks(bundled: str, release: str) -> None:
    answers = ask(release, "with_openai.py", bundled, *TASKS)
    assert dict(zip(TASKS, answers, strict=True)) == {task: EXPECTED[task] for task in TASKS}


@pytest.mark.parametrize("release", RELEASES)
def test_conversations(conversations: str, release: str) -> None:

    answers = ask(release, "with_openai.py", conversations, *CONVERSATIONS)
    assert answers == [EXPECTED[task] for task in CONVERSATIONS]


@pytest.mark.parametrize("release", RELEASES)
def test_errors(troubled: str, upstream: Upstream, release: str) -> None:
    tasks, expected = [], []
    for status, name in ERRORS.items():
        said = {"message": "so it is", "type": "SomeError", "param": None, "code": status}
        for task in ("error", "error_of_stream", "error_of_response"):
            upstream.answers(reply({"error": said}, status))
            tasks.append(task)
            expected.append({"class": name, "status": status, "code": str(status), "type": "SomeError"})
    assert ask(release, "with_openai.py", troubled, *tasks) == expected


@pytest.mark.parametrize("release", RELEASES)
def test_error_within_a_stream(troubled: str, upstream: Upstream, release: str) -> None:
    broken = {"error": {"message": "engine died", "type": "Dead", "code": 500}}
    upstream.answers(stream(delta("Hel", role="assistant"), broken))
    answer = ask(release, "with_openai.py", troubled, "error_within_stream")
    assert answer == [{"class": "APIError", "code": "500", "type": "Dead", "before": "Hel"}]
