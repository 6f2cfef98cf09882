"""Record a client's session, replay it without the server, check it, break a rule, compare with an older server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

import gateway
from routing.config import Config, Key
from tests.e2e.conftest import Serve
from tests.e2e.loopback import Exchange, Script, Upstream, reply
from translate import choices
from transports import CassetteWriter, Recordings
from transports.cassette import canonical

CASSETTES = Path(__file__).parents[2] / "cassettes"
SESSION = (
    "chat_completion/hello",
    "chat_completion_stream/hello",
    "chat_completion/unknown_model",
    "list_models/plain",
)
THOUGHT = '"\\nThe user greets me. I greet back.\\n"'


def vllm(version: str) -> Script:
    """A server that says what this version of vLLM said, byte for byte."""
    files = [CASSETTES / f"{name}@vllm-{version}.yaml" for name in SESSION]
    recorded = {(each.path, canonical(each.request_body)): each for each in Recordings.load(*files)}

    async def answer(exchange: Exchange) -> None:
        path = exchange.seen.line.split()[1]
        if path == "/version":
            await reply({"version": version})(exchange)
            return
        recording = recorded[path, canonical(exchange.seen.body or None)]
        await reply(recording.body, recording.status, recording.headers["content-type"])(exchange)

    return answer


def session(url: str) -> list[Any]:
    """What a client gets to see."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:

        def ask(model: str = "vllm/tiny/chat", **more: Any) -> Any:
            messages: Any = [{"role": "user", "content": "Hello"}]
            return client.chat.completions.create(model=model, messages=messages, **more)

        seen: list[Any] = [ask(temperature=0).choices[0].message.to_dict()]
        seen.append([chunk.choices[0].to_dict() for chunk in ask(temperature=0, stream=True)])
        with pytest.raises(openai.NotFoundError) as refused:
            ask("vllm/tiny/nothing")
        seen.append(refused.value.body)
        seen.append([model.id for model in client.models.list()])
        return seen


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs ``check`` on the recordings; gives its status and what it says, but for the table."""

    def check(*arguments: str) -> tuple[int, list[str]]:
        status = gateway.main(["check", str(tmp_path), *arguments])
        said = capsys.readouterr().out.splitlines()
        table = next(number for number, line in enumerate(said) if line.startswith("operation "))
        return status, said[:table]

    return check


def test_the_whole_cycle(
    serve: Serve,
    upstream: Upstream,
    tmp_path: Path,
    checked: Callable[..., tuple[int, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.always_answers(vllm("0.32.0"))
    config = Config(keys=(Key("k", "k", url=upstream.url, models=("*",)),))
    with CassetteWriter(tmp_path, secrets=[upstream.url]) as writer:
        live = session(serve(config, sink=writer))
    asked = len(upstream.seen)
    assert asked == len(SESSION)

    recordings = Recordings.load(tmp_path)
    assert len(recordings) == len(SESSION)
    assert session(serve(gateway.RECORDED, recordings)) == live
    assert len(upstream.seen) == asked, "nobody was asked"

    first = next(each.name for each in recordings if each.name.startswith("chat_completion/"))
    streamed = next(each.name for each in recordings if each.name.startswith("chat_completion_stream/"))
    assert checked("--update")[0] == 0
    assert checked() == (0, [])

    told = choices.reasoning_fields
    monkeypatch.setattr(
        choices,
        "reasoning_fields",
        lambda text, details=None: {**told(text, details), "reasoning_content": "?"},
    )
    status, said = checked()
    assert status == 1
    assert [line for line in said if line.startswith("changed")] == [
        f"changed {first}",
        f"changed {streamed}",
    ]
    assert said[1] == f'    result: $.choices[0].message.reasoning_content: {THOUGHT} became "?"'
    assert all("reasoning_content" in line for line in said if line.startswith("    "))
    monkeypatch.undo()
    assert checked() == (0, [])

    upstream.always_answers(vllm("0.16.0"))
    status, said = checked("--against", upstream.url)
    assert (status, said[0]) == (1, f"{upstream.url}: vLLM 0.16.0")
    of_first = said[said.index(f"changed {first}") + 1 : said.index(f"changed {streamed}")]
    assert of_first == [
        "    added $.choices[].message.tool_calls: array",
        "    missing $.choices[].routed_experts: null",
        "    missing $.ec_transfer_params: null",
        "    missing $.metrics: null",
        "    missing $.prompt_text: null",
        "    retyped $.system_fingerprint: from text to null",
        "    missing $.usage.completion_tokens_details: object",
        "    retyped $.usage.prompt_tokens_details: from object to null",
    ]
