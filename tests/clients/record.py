"""``python -m tests.clients.record``: records the cassettes of this folder anew from a real vLLM.

For each task it starts the server that ``python -m recording`` sets up, or asks
one that runs already (``--server chat=http://127.0.0.1:8000``), and puts a
recording gateway before it, through which each client does what the tests let
it do. What shares recordings, other ways and other releases, does the same on the
server without being recorded. Ends with 1 when a client got anything else than
``clients.py`` says; the new recordings are kept all the same, to be looked at.
A name of a folder of ``cassettes`` confines it to that.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from recording.__main__ import DEFAULT_VERSION, MODELS, ROOT, install, make_models
from recording.server import CHAT, EMBED, RERANK, TRANSCRIPTION, Served, serving
from tests.clients import environments
from tests.clients.clients import CLIENTS, COLUMNS, EVERY_COLUMN, TASKS, Client
from tests.clients.driving import CASSETTES, ask, before, missing, tried

SERVED: Final[Mapping[str, Served]] = {
    "chat": CHAT,
    "embeddings": EMBED,
    "rerank": RERANK,
    "transcription": TRANSCRIPTION,
}
EXPECTED: Final = Path(__file__).parent / "expected.json"
CONVERSATIONS: Final = "conversations"
NEWEST: Final = "openai-newest"
FORMS: Final = {
    "chat": (
        *("chat_completion", "chat_completion_stream"),
        *("responses", "responses_stream", "list_models"),
    ),
    "embeddings": ("embedding",),
    "rerank": ("rerank",),
    "transcription": ("transcription",),
}
"""The folders below that of a client, by the server that is asked."""
DOCUMENTS: Final = ("response_tools", "response_tools_stream", "response_parse")
AGENTS: Final = (("responses",), ("responses", "stream"))


def recorded_first() -> list[Client]:
    """One client for each folder of recordings: the last, which is the newest release."""
    return list({client.recordings: client for client in CLIENTS}.values())


def differences(client: Client, report: Mapping[str, Any]) -> list[str]:
    """Where a report on some tasks is not what is expected."""
    wrong: list[str] = []
    for way, told in report.items():
        wrong += [f"{client.name}, {way}: {name}: {said}" for name, said in told["failures"].items()]
        for column in EVERY_COLUMN.values():
            wrong += [
                f"{client.name}, {way}: {name} is {told['features'][name]!r}, not {value!r}"
                for name, value in client.expected(column).items()
                if name in told["features"] and (told["features"][name] or None) != value
            ]
    return wrong


def conversations(server: str, folder: Path) -> None:
    """Record what the tests compare to the last field, and write that down."""
    expected = json.loads(EXPECTED.read_text("utf-8"))
    target = CASSETTES / CONVERSATIONS
    shutil.rmtree(target, ignore_errors=True)
    with before(server, folder, "--record", str(target)) as url:
        for arguments in AGENTS:
            name = " ".join(("agents", *arguments))
            expected[name] = ask("openai-agents", "with_agents.py", url, *arguments)
        expected |= dict(zip(DOCUMENTS, ask(NEWEST, "with_openai.py", url, *DOCUMENTS), strict=True))
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", "utf-8")


def record(served: str, server: str, folders: Sequence[str]) -> list[str]:
    """Record the tasks of one server, and do them in all other ways; what was not as expected."""
    wrong: list[str] = []
    tasks = TASKS[served]
    first = recorded_first()
    with tempfile.TemporaryDirectory() as name:
        for client in CLIENTS:
            if client.recordings not in folders or not client.expected(COLUMNS[served]):
                continue
            print(f"  {client.name}", flush=True)
            ways = client.ways
            if client in first:
                target = CASSETTES / client.recordings
                for form in FORMS[served]:
                    shutil.rmtree(target / form, ignore_errors=True)
                with before(server, Path(name), "--record", str(target)) as url:
                    wrong += differences(client, tried(client, {ways[0]: url}, tasks, {}))
                ways = ways[1:]
            if ways:
                with before(server, Path(name)) as url:
                    wrong += differences(client, tried(client, dict.fromkeys(ways, url), tasks, {}))
        if served == "chat" and CONVERSATIONS in folders:
            print(f"  {CONVERSATIONS}", flush=True)
            conversations(server, Path(name))
    return wrong


@contextmanager
def running(served: str, given: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that serves a model: the one that is given, or one of our own."""
    if served in given:
        yield given[served]
        return
    python = install(DEFAULT_VERSION, ROOT / ".vllm")
    make_models(python)
    with serving(python, MODELS, MODELS / f"server-{served}-clients.log", SERVED[served]) as server:
        yield server.url


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.record", description=__doc__)
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="MODEL=URL",
        help=f"one that runs already; MODEL is {', '.join(SERVED)}",
    )
    folders = [*dict.fromkeys(client.recordings for client in CLIENTS), CONVERSATIONS]
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(folders))
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.folders if name not in folders]:
        parser.error(f"no such folder: {', '.join(unknown)}")
    given = dict(each.split("=", 1) for each in options.server)
    for name in environments.names():
        environments.make(name)
    if absent := [reason for client in CLIENTS if (reason := missing(client))]:
        print("\n".join(absent), file=sys.stderr)
        return 1
    wrong: list[str] = []
    for served in SERVED:
        if options.folders == [CONVERSATIONS] and served != "chat":
            continue
        print(f"asking a server: {served}", flush=True)
        with running(served, given) as server:
            wrong += record(served, server, options.folders or folders)
    print("\n".join(wrong) or "all as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
