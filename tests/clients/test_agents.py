"""The OpenAI Agents SDK against the gateway: a tool, called and answered, in two turns with thoughts."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.driving import ask

pytestmark = pytest.mark.clients

EXPECTED: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))


@pytest.mark.parametrize("arguments", [("responses",), ("responses", "stream")], ids=["plain", "streamed"])
def test_conversation(conversations: str, arguments: tuple[str, ...]) -> None:
    answer = ask("openai-agents", "with_agents.py", conversations, *arguments)
    assert answer == EXPECTED[" ".join(("agents", *arguments))]
