"""What docs/record-and-replay.md says is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

import gateway
import translate
import transports
from routing import confidential
from tests.e2e.conftest import Serve
from transports import Recordings, Rule
from transports.redaction import redacted_request
from transports.scripted_faults import FAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "record-and-replay.md").read_text()
ROWS = re.findall(r"^\| (`.+?) \| (.+) \|$", PAGE, re.MULTILINE)


def test_its_table_lists_the_faults_in_their_order() -> None:
    shown = [first.strip("`") for first, _ in ROWS if first.strip("`").partition("=")[0] in FAULTS]
    assert [each.partition("=")[0] for each in shown] == list(FAULTS)
    assert [transports.Fault.parse(each).parts[0][0] for each in shown] == list(FAULTS)


def test_the_fields_that_it_shows_are_rules() -> None:
    (table,) = re.findall(r"^\| `FIELD` \| blanks \|\n.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    firsts = [line.split("|")[1] for line in table.splitlines()[2:-1]]
    shown = [field for first in firsts for field in re.findall(r"`([^`]+)`", first)]
    assert shown == ["content", "$.messages", "$.messages[*].content", "$.tools[0]", '$["a b"].*']
    body = b'{"messages":[{"role":"user","content":"hi"}],"tools":[1,2],"a b":{"c":1}}'
    blanked = [json.loads(redacted_request(body, [Rule(each)]) or b"") for each in shown]
    document = json.loads(body)
    hidden, message = "[redacted]", {"role": "user", "content": "[redacted]"}
    assert blanked == [
        {**document, "messages": [message]},
        {**document, "messages": hidden},
        {**document, "messages": [message]},
        {**document, "tools": [hidden, 2]},
        {**document, "a b": {"c": hidden}},
    ]


def test_its_options_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gateway.main(["serve", "--help"])
    told = set(re.findall(r"--(?:record|replay|timing|fault)[a-z-]*", capsys.readouterr().out))
    assert set(re.findall(r"--(?:record|replay|timing|fault)[a-z-]*", PAGE)) == told


def test_its_program_records_and_replays(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
    url = serve(gateway.RECORDED, Recordings.load(gateway.BUNDLED).newest())
    monkeypatch.chdir(tmp_path)
    with requests.Session() as session:
        session.trust_env = False
        names: dict[str, Any] = {
            **{name: getattr(transports, name) for name in transports.__all__},
            **{name: getattr(translate, name) for name in ("OPERATIONS", "Call", "converse")},
            "session": session,
            "key": "sk-canary-4",
            "request": {
                "model": "tiny/chat",
                "input": [{"role": "user", "content": "Hello"}],
                "params": {"temperature": 0},
            },
        }
        exec(program.replace("http://localhost:8000", url), names)  # noqa: S102 - our own page
    assert "Hello!" in names["outcome"]["choices"][0]["message"]["content"]
    (recording,) = Recordings.load(tmp_path)
    assert (recording.path, recording.redacted) == ("/v1/chat/completions", ("content",))
    plan = translate.chat.plan(names["request"], translate.Call("chat_completion"))
    assert isinstance(plan, translate.Plan)
    assert names["replay"].send(plan).cut == transports.Cut("read", "connection reset")
    assert names["replay"].send(plan).body == recording.body
    assert confidential.texts(gateway.RECORDED) == ("recorded.invalid",)
