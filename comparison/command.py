"""``bifrost-vllm check``: recordings against today's translators, or against a server."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from . import reports
from .layers import translate, transports
from .verdicts import Verdict, against_expectation, against_server

_TIMEOUTS: Final = transports.Timeouts(connect_s=10, first_byte_s=300, idle_s=300, total_s=600)
_REPORTS: Final[Mapping[str, Callable[[Sequence[Verdict]], str]]] = {
    "json": reports.as_json,
    "junit": reports.as_junit,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="recordings, with their expectations")
    parser.add_argument("--update", action="store_true", help="write the expectations anew")
    parser.add_argument("--against", metavar="URL", help="compare with what this server answers now")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the key of that server"
    )
    parser.add_argument("--format", choices=["text", *_REPORTS], default="text", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """0 when nothing changed, 1 when something did, 2 when it could not be found out."""
    if options.update and options.against:
        print("bifrost-vllm: --update and --against exclude each other", file=sys.stderr)
        return 2
    try:
        recordings = transports.Recordings.load(options.folder)
        verdicts = _verdicts(recordings, options)
    except (OSError, ValueError) as error:
        print(f"bifrost-vllm: {error}", file=sys.stderr)
        return 2
    if options.format == "text":
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        report = reports.text(verdicts, colour, _remark(verdicts, options.update))
    else:
        report = _REPORTS[options.format](verdicts)
    sys.stdout.write(report)
    return 1 if any(verdict.outcome == "changed" for verdict in verdicts) and not options.update else 0


def _remark(verdicts: Sequence[Verdict], update: bool) -> str:
    judged = [verdict for verdict in verdicts if verdict.outcome != "unknown"]
    if update:
        return f"{len(judged)} expectations written"
    new = sum(verdict.outcome == "new" for verdict in judged)
    return f"{new} recordings have no expectation yet: --update writes them" if new else ""


def _verdicts(recordings: Sequence[transports.Recording], options: argparse.Namespace) -> list[Verdict]:
    if options.against is None:
        return _each(recordings, lambda each: against_expectation(each, options.folder, options.update))
    import requests  # noqa: PLC0415 - the gateway, which has this command, starts without it

    api_key = os.environ.get(options.api_key_env, "") if options.api_key_env else ""
    with requests.Session() as session:
        session.trust_env = False
        transport = transports.RequestsTransport(
            session, transports.Endpoint(options.against, api_key, timeouts=_TIMEOUTS)
        )
        version = transport.send(translate.Plan("GET", translate.servers.PATH))
        if version.cut is not None:
            raise OSError(f"{options.against}: {version.cut.detail}")
        if options.format == "text":
            told = translate.servers.told(version.body)
            print(f"{options.against}: {f'vLLM {told}' if told else 'it does not tell its version'}")
        return _each(recordings, lambda each: against_server(each, transport))


def _each(
    recordings: Sequence[transports.Recording], judge: Callable[[transports.Recording], Verdict]
) -> list[Verdict]:
    """All verdicts; tells a person at a terminal how far it is."""
    verdicts: list[Verdict] = []
    shown = sys.stderr.isatty()
    for number, recording in enumerate(recordings, 1):
        if shown:
            print(f"\r{number}/{len(recordings)}", end="", file=sys.stderr, flush=True)
        verdicts.append(judge(recording))
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return verdicts
