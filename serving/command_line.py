"""The command line: ``bifrost-vllm serve``, ``check``, ``check-config`` and ``plan``."""

import argparse
import asyncio
import importlib
import importlib.util
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from aiohttp import web

from .allocation import keep_freed_memory
from .layers import check, comparison, confidential, settings, telemetry, translate, transports
from .line_writer import write_lines
from .observation import Tracing
from .uplink import TransportName

log: Final = logging.getLogger("bifrost_vllm.gateway")

BUNDLED: Final = Path(__file__).parent.parent / "cassettes"
"""The recordings that come along."""

RECORDED: Final = settings.Config(
    keys=(settings.Key(name="recorded", id="recorded", url="http://recorded.invalid", models=("*",)),)
)
"""The configuration for bundled recordings: one key that serves every model."""

GRACE_S: Final = 20.0
"""How long requests that run may take once the gateway was told to stop, unless told otherwise."""

_LOG_PAUSE_S: Final = 0.1
_MB: Final = 1024 * 1024


class MakeApplication(Protocol):
    def __call__(
        self,
        config: settings.Config,
        replay: transports.AsyncReplayTransport | None = None,
        sink: transports.Sink | None = None,
        transport: TransportName = "aiohttp",
        access: Callable[[Sequence[str]], None] = ...,
        tracing: Tracing | None = None,
        pause_s: float = 0.0,
    ) -> web.Application: ...


class Program(NamedTuple):
    """What there is to run: how to make an application, serve it, and change its configuration.

    The last argument of ``runner`` and ``listening`` are the seconds that requests have to end.
    """

    application: MakeApplication
    runner: Callable[[web.Application, float], web.AppRunner]
    listening: Callable[[web.Application, str, int, float], AbstractAsyncContextManager[int]]
    reconfigure: Callable[[web.Application, settings.Config], None]


class UnusableError(Exception):
    """The command line asks for something that cannot be."""


def main(program: Program, argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say; returns the exit status."""
    options = _arguments().parse_args(argv)
    match options.command:
        case "check":
            return comparison.run(options)
        case "check-config":
            return _check_config(options.file)
        case "plan":
            return _explain(options.operation, options.file, options.format, options.server_version)
        case _:
            return _serve(program, options)


def _serve(program: Program, options: argparse.Namespace) -> int:
    config = RECORDED if options.config is None else configuration(options.config)
    if config is None:
        return 2
    if not (_is_loopback(options.host) or config.auth.api_keys or options.allow_unauthenticated):
        return _complain(
            f"refusing to listen on {options.host or 'every address'}: without client.api_keys everybody "
            "is let in, so only a loopback address may be used unless --allow-unauthenticated is given"
        )
    try:
        recordings = _recordings(options)
        writer = None if options.record is None else _writer(options, config)
    except UnusableError as error:
        return _complain(str(error))
    _set_up_logging()
    _allow_connections()
    keep_freed_memory()
    source = _counted(config.keys, "key")
    if recordings is not None:
        source = f"replaying {_counted(recordings, 'recording')}"
    if writer is not None:
        source += f", recording to {options.record}"
    make = partial(_application, program, config, recordings, options, writer)
    if options.workers > 1:
        return _serve_in_processes(program, make, source, options)
    with writer or nullcontext(), asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        return runner.run(_run(program, make, source, options, writer))


def _application(
    program: Program,
    config: settings.Config,
    recordings: transports.Recordings | None,
    options: argparse.Namespace,
    writer: transports.CassetteWriter | None,
) -> web.Application:
    replay = None
    if recordings is not None:
        replay = transports.AsyncReplayTransport(
            recordings,
            timing=options.timing or "instant",
            faults=options.fault,
            idle_s=config.network.stream_idle_timeout_s,
        )
    access = partial(write_lines, sys.stdout)
    return program.application(
        config, replay, writer, _transport(options.transport), access, _tracing(), _LOG_PAUSE_S
    )


def _tracing() -> Tracing | None:
    """What traces requests, if the environment wants them traced: nothing is imported unless it does."""
    wanted = telemetry.traces(os.environ)
    if isinstance(wanted, telemetry.Unusable):
        log.warning("requests are not traced: %s", wanted.reason)
    elif wanted == "on":
        try:
            tracing: Tracing = importlib.import_module(".tracing", __package__).from_environment()
        except ImportError:
            log.warning("requests are not traced: that needs pip install 'bifrost-vllm[otel]'")
        else:
            return tracing
    return None


def _transport(asked: str) -> TransportName:
    if asked == "auto":
        return "httptools" if importlib.util.find_spec("httptools") else "aiohttp"
    return "httptools" if asked == "httptools" else "aiohttp"


def _serve_in_processes(
    program: Program, make: Callable[[], web.Application], source: str, options: argparse.Namespace
) -> int:
    if options.record is not None:
        return _complain("--record and --workers exclude each other: one process writes recordings")
    try:
        workers = importlib.import_module(".workers", __package__)
    except ImportError:
        return _complain("--workers needs gunicorn: pip install 'bifrost-vllm[workers]'")
    worker = partial(_worker, program, make, source, options.config, options.grace)
    return int(workers.run(worker, options.host, options.port, options.workers, options.grace))


async def _worker(
    program: Program, make: Callable[[], web.Application], source: str, file: Path | None, grace_s: float
) -> web.AppRunner:
    """One of several processes; each reads the file anew, as gunicorn starts new ones after SIGHUP."""
    app = make()
    now = None if file is None else configuration(file)
    if now is not None:
        program.reconfigure(app, now)
        source = _counted(now.keys, "key")
    log.info("process %d is ready (%s)", os.getpid(), source)
    return program.runner(app, grace_s)


async def _run(
    program: Program,
    make: Callable[[], web.Application],
    source: str,
    options: argparse.Namespace,
    writer: transports.CassetteWriter | None,
) -> int:
    stop = asyncio.Event()
    app = make()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if options.config is not None:
            loop.add_signal_handler(signal.SIGHUP, _reread, program, app, options.config, writer)
    async with AsyncExitStack() as running:
        try:
            server = program.listening(app, options.host, options.port, options.grace)
            bound = await running.enter_async_context(server)
        except OSError as error:
            return _complain(f"cannot listen: {error.strerror}")
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"bifrost-vllm: listening on http://{host}:{bound} ({source})", flush=True)
        await stop.wait()
    return 0


def _reread(
    program: Program, app: web.Application, file: Path, writer: transports.CassetteWriter | None
) -> None:
    """Read the configuration again; a bad one changes nothing."""
    config = configuration(file)
    if config is None:
        log.error("the configuration was not reloaded")
    else:
        if writer is not None:
            writer.learn(confidential.texts(config))
        program.reconfigure(app, config)
        log.info("the configuration was reloaded: %s", _counted(config.keys, "key"))


def _recordings(options: argparse.Namespace) -> transports.Recordings | None:
    """What is to be replayed, if anything."""
    folder = BUNDLED if options.config is None and options.replay is None else options.replay
    if folder is None:
        if options.timing is not None or options.fault:
            raise UnusableError("--timing and --fault are for recordings: give --replay, too")
        return None
    if options.record is not None:
        raise UnusableError("--record wants a server to record: give --config, and no --replay")
    try:
        return transports.Recordings.load(folder).newest()
    except (OSError, ValueError) as error:
        raise UnusableError(f"{folder}: {error}") from error


def _writer(options: argparse.Namespace, config: settings.Config) -> transports.CassetteWriter:
    limits = transports.Limits(sample=options.record_sample, total_bytes=options.record_max_mb * _MB)
    try:
        return transports.CassetteWriter(
            options.record, options.record_redact, confidential.texts(config), limits
        )
    except OSError as error:
        raise UnusableError(f"{options.record}: {error.strerror}") from error


def _allow_connections() -> None:
    """Have as many connections as the system allows: what a process starts with is often 1,024."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where "unlimited" is more than there can be
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - where it is there
    except ImportError:
        return None
    return uvloop.new_event_loop


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _report(file: Path) -> check.Report | None:
    try:
        text = file.read_bytes()
    except OSError as error:
        _complain(f"{file}: {error.strerror}")
        return None
    return check.check(text, os.environ)


def configuration(file: Path) -> settings.Config | None:
    """The configuration in a file, if it is one; tells what is to be said of it."""
    report = _report(file)
    if report is None:
        return None
    for line in report.lines(str(file)):
        print(f"bifrost-vllm: {line}", file=sys.stderr)
    return report.config


def _check_config(file: Path) -> int:
    report = _report(file)
    if report is None:
        return 2
    for line in report.lines(str(file)):
        print(line)
    return 1 if report.config is None else 0


def _explain(
    request_type: translate.RequestType, file: str, style: translate.explanation.Style, version: str
) -> int:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        return _complain(f"{file}: {error.strerror}")
    document = translate.documents.decode_object(data, strict=True)
    if isinstance(document, translate.documents.Malformed):
        return _complain(f"{file}: {document.reason}")
    operation = translate.OPERATIONS[request_type]
    request = document if "provider" in document else operation.from_flat(document)
    call = translate.Call(request_type, server=translate.servers.server(version))
    explained = (
        request if isinstance(request, translate.Failure) else translate.explained(operation, request, call)
    )
    if isinstance(explained, translate.Failure):
        field = explained.error["error"]
        return _complain(f"{field['param']}: {field['message']}" if "param" in field else field["message"])
    print(translate.explanation.written(explained, style), end="")
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bifrost-vllm", description="A gateway in front of vLLM.")
    commands = parser.add_subparsers(required=True, dest="command")
    compare = commands.add_parser(
        "check",
        help="compare recordings with what the translators, or a server, make of them now",
        description="Run recordings through the translators and report what differs from the expectations "
        "beside them; or put their questions to a server, and report where its answers look different.",
    )
    comparison.add_arguments(compare)
    configuration = commands.add_parser(
        "check-config",
        help="say what is wrong with a config.json",
        description="Say line by line what is wrong, and which keys would serve nothing.",
    )
    configuration.add_argument("file", type=Path, metavar="FILE", help="Bifrost's config.json")
    plan = commands.add_parser(
        "plan",
        help="show what would be sent for a request",
        description="Show method, path and body that a request becomes, and what was changed on the way.",
    )
    plan.add_argument("operation", choices=list(translate.OPERATIONS))
    plan.add_argument(
        "file", metavar="FILE", help="the request, as clients or as Bifrost send it; - is stdin"
    )
    plan.add_argument(
        "--format", choices=["text", "json", "curl"], default="text", help="default: %(default)s"
    )
    plan.add_argument(
        "--server-version",
        default="",
        metavar="VERSION",
        help="write it for this version of vLLM, such as 0.16.0; else as any version reads it",
    )
    serve = commands.add_parser(
        "serve",
        help="serve the HTTP API",
        description="Serve the HTTP API. Without --config, answer from the bundled recordings.",
    )
    serve.add_argument("--config", type=Path, metavar="FILE", help="Bifrost's config.json; SIGHUP rereads it")
    serve.add_argument("--replay", type=Path, metavar="DIR", help="answer from recordings, ask no server")
    serve.add_argument(
        "--timing",
        type=_checked(transports.as_timing),
        metavar="WHEN",
        help="when recorded pieces come: instant (default), recorded, or a factor of the recorded times",
    )
    serve.add_argument(
        "--fault",
        type=_checked(transports.Fault.parse),
        action="append",
        default=[],
        metavar="FAULT",
        help="a fault to make of replayed answers, such as status=503,times=1 or reset-after=120; repeatable",
    )
    serve.add_argument(
        "--record", type=Path, metavar="DIR", help="write every exchange with a server into this folder"
    )
    serve.add_argument(
        "--record-redact",
        type=_checked(transports.Rule),
        action="append",
        default=[],
        metavar="FIELD",
        help="blank the fields of this name, or at this place ($.messages[*].content); repeatable",
    )
    serve.add_argument(
        "--record-sample", type=_share, default=1.0, metavar="SHARE", help="record this share, 0 to 1 (all)"
    )
    serve.add_argument(
        "--record-max-mb", type=_positive, default=1024, metavar="MB", help="what the folder may hold (1024)"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", default=8080, type=_port, help="0 lets the system choose (default: %(default)s)"
    )
    serve.add_argument(
        "--workers",
        default=1,
        type=_positive,
        metavar="N",
        help="processes, by gunicorn (default: %(default)s)",
    )
    serve.add_argument(
        "--grace",
        default=GRACE_S,
        type=_seconds,
        metavar="SECONDS",
        help="how long requests that run may take after SIGTERM, before they end with an error "
        "(default: %(default)g)",
    )
    serve.add_argument(
        "--transport",
        choices=["auto", "aiohttp", "httptools"],
        default="auto",
        help="what asks the servers; auto is httptools where the extra 'fast' is installed",
    )
    serve.add_argument(
        "--allow-unauthenticated", action="store_true", help="allow addresses other than loopback"
    )
    return parser


T = TypeVar("T")


def _checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """``read`` for an argument, whose complaints are shown."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) <= 86_400:
        raise argparse.ArgumentTypeError("more than 0 and at most 86400 seconds")
    return seconds


def _share(text: str) -> float:
    if not 0 < (share := float(text)) <= 1:
        raise argparse.ArgumentTypeError("a share is more than 0 and at most 1")
    return share


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _complain(*lines: str) -> int:
    for line in lines:
        print(f"bifrost-vllm: {line}", file=sys.stderr)
    return 2


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"
