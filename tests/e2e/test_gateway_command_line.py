"""The command line; where it serves, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import pytest
import requests

import gateway
from serving import command_line
from tests.e2e.loopback import ASK, COMPLETION, PATIENCE_S, Upstream, reply

GATEWAY = Path(gateway.__file__)
HELLO = {"model": "vllm/tiny/chat", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}


@contextmanager
def started(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(GATEWAY), "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
        cwd="/",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Address and remark of the line that tells that the gateway listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"bifrost-vllm: listening on (http://\S+:\d+) \((.*)\)\n", line)
    assert found, line
    return found[1], found[2]


Failed = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def failed(capsys: pytest.CaptureFixture[str]) -> Failed:
    """Runs a command line that cannot work; gives the exit status and the complaints."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        status = gateway.main(["serve", *arguments])
        out, errors = capsys.readouterr()
        assert out == ""
        return status, errors.splitlines()

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_the_bundled_recordings_until_told_to_stop(
    http: requests.Session, number: signal.Signals
) -> None:
    with started("--port", "0") as process:
        url, remark = ready(process)
        assert re.fullmatch(r"replaying \d+ recordings", remark)
        assert url.startswith("http://127.0.0.1:")
        assert http.get(f"{url}/health").json() == {
            "status": "ok",
            "keys": [{"name": "recorded", "status": "configured"}],
        }
        answer = http.post(f"{url}/v1/chat/completions", json=HELLO)
        assert answer.status_code == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert errors == ""


def config_file(folder: Path, document: object) -> str:
    file = folder / "config.json"
    file.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return str(file)


def test_it_serves_a_configuration(upstream: Upstream, http: requests.Session, tmp_path: Path) -> None:
    key = {
        "name": "k",
        "value": "env.K",
        "models": ["*"],
        "vllm_key_config": {"url": upstream.url},
        "colour": 1,
    }
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    upstream.answers(reply(COMPLETION))
    with started("--config", file, "--port", "0", K="from-the-environment") as process:
        url, remark = ready(process)
        assert remark == "1 key"
        assert http.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert errors == f"bifrost-vllm: {file}:1: warning: $.providers.vllm.keys[0].colour: unknown key\n"
    assert upstream.request().header("authorization") == "Bearer from-the-environment"


def test_recordings_replace_the_servers_of_a_configuration(http: requests.Session, tmp_path: Path) -> None:
    key = {"name": "k", "models": ["*"], "vllm_key_config": {"url": "http://nowhere.invalid"}}
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    folder = str(gateway.BUNDLED / "chat_completion")
    with started("--config", file, "--replay", folder, "--port", "0") as process:
        url, remark = ready(process)
        assert remark.startswith("replaying ")
        answer = http.post(f"{url}/v1/chat/completions", json=HELLO)
    assert answer.json()["extra_fields"]["routing_info"]["key"] == "k"


def test_it_finishes_what_runs_before_it_stops(
    upstream: Upstream, http: requests.Session, tmp_path: Path
) -> None:
    key = {"name": "k", "models": ["*"], "vllm_key_config": {"url": upstream.url}}
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    with started("--config", file, "--port", "0") as process:
        url, _ = ready(process)

        async def script(exchange: object) -> None:
            process.terminate()
            await reply(COMPLETION)(exchange)  # type: ignore[arg-type]

        upstream.answers(script)
        assert http.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("content", "complaints"),
    [
        pytest.param(b"{", None, id="no JSON"),
        pytest.param(
            {"version": 7, "providers": {"vllm": {"keys": [{"vllm_key_config": {"url": 5}}]}}},
            [
                "$.version: expected 1 or 2, got 7",
                "$.providers.vllm.keys[0].name: missing",
                "$.providers.vllm.keys[0].vllm_key_config.url: expected a string, got 5",
            ],
            id="problems",
        ),
    ],
)
def test_a_configuration_with_problems(
    failed: Failed, tmp_path: Path, content: object, complaints: list[str] | None
) -> None:
    file = config_file(tmp_path, content)
    status, told = failed("--config", file)
    assert status == 2
    if complaints is None:
        assert len(told) == 1
        assert told[0].startswith(f"bifrost-vllm: {file}:1: problem: not JSON: ")
    else:
        assert [line for line in told if ": problem: " in line] == [
            f"bifrost-vllm: {file}:1: problem: {complaint}" for complaint in complaints
        ]


def test_files_that_are_not_there(failed: Failed, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    status, told = failed("--config", str(missing))
    assert (status, told) == (2, [f"bifrost-vllm: {missing}: No such file or directory"])
    status, told = failed("--replay", str(tmp_path))
    assert status == 2
    assert told[0].startswith(f"bifrost-vllm: {tmp_path}: ")


def test_it_records_and_replays_what_it_recorded(
    upstream: Upstream, http: requests.Session, tmp_path: Path
) -> None:
    key = {"name": "k", "value": "sk-canary-3", "models": ["*"], "vllm_key_config": {"url": upstream.url}}
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    folder = tmp_path / "cassettes"
    told = {"error": {"message": "bad key sk-canary-3", "code": 401}}
    upstream.answers(reply(COMPLETION), reply(told, 401))
    options = ["--record-redact", "$.messages[*].content", "--record-sample", "1", "--record-max-mb", "1"]
    with started("--config", file, "--port", "0", "--record", str(folder), *options) as process:
        url, remark = ready(process)
        assert remark == f"1 key, recording to {folder}"
        live = [http.post(f"{url}/v1/chat/completions", json=ASK) for _ in range(2)]
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert [answer.status_code for answer in live] == [200, 401]
    warning, summary = (line.partition(": ")[2] for line in errors.splitlines())
    assert warning.startswith("not recorded: an exchange holds a known secret; ")
    assert summary == f"exchanges for {folder}: 1 written, 1 holds a secret"
    (cassette,) = folder.rglob("*.yaml")
    assert '"content":"[redacted]"' in cassette.read_text()

    arguments = ["--timing", "recorded", "--fault", "status=429,times=1", "--fault", "split=1"]
    with started("--config", file, "--port", "0", "--replay", str(folder), *arguments) as process:
        url, remark = ready(process)
        assert remark == "replaying 1 recording"
        played = [http.post(f"{url}/v1/chat/completions", json=ASK) for _ in range(2)]
    assert played[0].status_code == 429
    expected = live[0].json()
    assert played[1].json() == {**expected, "extra_fields": {**expected["extra_fields"], "latency": ANY}}


NOWHERE = {
    "providers": {
        "vllm": {
            "keys": [{"name": "k", "models": ["*"], "vllm_key_config": {"url": "http://nowhere.invalid"}}]
        }
    }
}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_keys_that_come_with_a_new_configuration_are_not_recorded(
    upstream: Upstream, http: requests.Session, tmp_path: Path
) -> None:
    key = {"name": "k", "models": ["*"], "vllm_key_config": {"url": upstream.url}}
    file = config_file(tmp_path, {"providers": {"vllm": {"keys": [key]}}})
    told = {"error": {"message": "bad key sk-canary-9", "code": 401}}
    upstream.answers(reply(COMPLETION), reply(told, 401))
    with started("--config", file, "--port", "0", "--record", str(tmp_path / "cassettes")) as process:
        url, _ = ready(process)
        http.post(f"{url}/v1/chat/completions", json=ASK)
        config_file(tmp_path, {"providers": {"vllm": {"keys": [{**key, "value": "sk-canary-9"}]}}})
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert "the configuration was reloaded" in process.stderr.readline()
        http.post(f"{url}/v1/chat/completions", json=ASK)
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert errors.splitlines()[-1].endswith(": 1 written, 1 holds a secret")


RECORD = ["--record", "/nowhere"]
NONSENSE: dict[str, tuple[list[str], str]] = {
    "recording a replay": (RECORD, "--record wants a server to record: give --config, and no --replay"),
    "timing of a server": (
        ["--timing", "recorded"],
        "--timing and --fault are for recordings: give --replay, too",
    ),
    "faults of a server": (
        ["--fault", "split=1"],
        "--timing and --fault are for recordings: give --replay, too",
    ),
}


@pytest.mark.parametrize(("arguments", "complaint"), NONSENSE.values(), ids=NONSENSE)
def test_options_that_do_not_go_together(
    failed: Failed, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    config = ["--config", config_file(tmp_path, NOWHERE)] if arguments is not RECORD else []
    assert failed(*config, *arguments) == (2, [f"bifrost-vllm: {complaint}"])


def test_a_folder_that_cannot_be_recorded_into(failed: Failed, tmp_path: Path) -> None:
    file = config_file(tmp_path, NOWHERE)
    assert failed("--config", file, "--record", file) == (2, [f"bifrost-vllm: {file}: File exists"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_it_does_not_listen_beyond_this_machine_unless_told(failed: Failed, host: str) -> None:
    status, told = failed("--host", host, "--port", "0")
    assert status == 2
    assert told == [
        f"bifrost-vllm: refusing to listen on {host or 'every address'}: without client.api_keys everybody "
        "is let in, so only a loopback address may be used unless --allow-unauthenticated is given"
    ]


def test_it_listens_beyond_this_machine_when_told(http: requests.Session) -> None:
    with started("--host", "0.0.0.0", "--port", "0", "--allow-unauthenticated") as process:
        url, _ = ready(process)
        assert http.get(url.replace("0.0.0.0", "127.0.0.1") + "/health").status_code == 200


def test_a_port_that_is_taken(failed: Failed, upstream: Upstream) -> None:
    status, told = failed("--port", str(upstream.port))
    assert status == 2
    assert len(told) == 1
    assert told[0].startswith("bifrost-vllm: cannot listen: ")
    assert told[0].endswith("address already in use")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--port", "x"],
        ["--port", "99999"],
        ["--timing", "soon"],
        ["--timing", "-1"],
        ["--fault", "explode"],
        ["--record-redact", "$["],
        ["--record-sample", "0"],
        ["--record-sample", "1.1"],
        ["--record-max-mb", "0"],
        ["--grace", "0"],
        ["--grace", "1e6"],
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gateway.main(["serve", *arguments] if arguments else [])
    assert ended.value.code == 2


def test_the_fastest_loop_that_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert command_line._fastest_loop() is uvloop.new_event_loop
