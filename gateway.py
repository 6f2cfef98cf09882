"""The gateway: an HTTP server in front of vLLM, and its command line.

It joins three packages that do not know one another: ``routing`` decides,
``translate`` translates, ``transports`` does the I/O. What is left here is
aiohttp: reading a request, writing an answer, and giving up at once, the
upstream request included, when the client does.
"""

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING or not __package__:  # in a checkout
    import translate
    import transports
    from comparison import command as comparison
    from routing import config as configuration
    from routing import forms, headers, keys, listing, secrets, unsupported
    from translate import Failure, documents, errors, sse
else:  # installed
    from . import translate, transports
    from .comparison import command as comparison
    from .routing import config as configuration
    from .routing import forms, headers, keys, listing, secrets, unsupported
    from .translate import Failure, documents, errors, sse

log: Final = logging.getLogger("bifrost_vllm.gateway")

BUNDLED: Final = Path(__file__).parent / "cassettes"
RECORDED: Final = configuration.Config(
    keys=(configuration.Key(name="recorded", id="recorded", url="http://recorded.invalid", models=("*",)),)
)
"""The configuration for bundled recordings: one key that serves every model."""

_POOLED_S: Final = 4.0  # uvicorn, and so vLLM, closes idle connections after 5 s
_STALE_MS: Final = 1_000
_LISTING_S: Final = 30.0  # one server that hangs must not hide the models of all others for long
_GLANCE: Final = 65_536  # bytes of a body that is read although its request is not supported
_GRACE_S: Final = 12.0  # aiohttp waits twice that long, Kubernetes kills after 30 s
_INTERNAL: Final = errors.rejected("internal server error", 500, is_bifrost_error=True)


class Route(NamedTuple):
    """One row of the HTTP interface; ``streamed`` is what ``"stream": true`` asks for.

    With ``form``, what clients send is not JSON but a form with a file.
    """

    method: str
    paths: tuple[str, ...]
    operation: translate.RequestType
    streamed: translate.RequestType | None = None
    form: bool = False


def _everywhere(path: str) -> tuple[str, ...]:
    return f"/v1/{path}", f"/openai/v1/{path}", f"/openai/{path}"


ROUTES: Final = (
    Route("POST", _everywhere("chat/completions"), "chat_completion", "chat_completion_stream"),
    Route("POST", _everywhere("completions"), "text_completion", "text_completion_stream"),
    Route("POST", _everywhere("embeddings"), "embedding"),
    Route("POST", ("/v1/rerank",), "rerank"),
    Route("POST", _everywhere("audio/transcriptions"), "transcription", "transcription_stream", form=True),
)

_LIST_MODELS: Final = translate.Call("list_models")
_request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
_uplink: Final[ContextVar["Uplink"]] = ContextVar("uplink")


class Uplink:
    """The way of one request to its server.

    ``headers`` are those of the last answer, ``path`` is where it came from.
    With a ``fresh`` transport, which opens a connection for everything, a
    request that went into a pooled connection and came back without a byte is sent once more: the server had
    closed the connection, which HTTP cannot tell beforehand. ``connects``
    becomes true when a connection is opened for the first attempt.
    """

    def __init__(
        self, transport: transports.AsyncTransport, fresh: transports.AsyncTransport | None = None
    ) -> None:
        self.headers: Mapping[str, str] = {}
        self.path = ""
        self.connects = False
        self._transport = transport
        self._fresh = fresh

    async def send(self, plan: transports.PlanLike) -> transports.Reply:
        _uplink.set(self)
        reply = await self._transport.send(plan)
        if self._fresh is not None and self._went_stale(reply):
            reply = await self._fresh.send(plan)
        self.headers = reply.headers
        self.path = plan.path
        return reply

    @asynccontextmanager
    async def stream(self, plan: transports.PlanLike) -> AsyncIterator[transports.AsyncStream]:
        _uplink.set(self)
        async with self._transport.stream(plan) as stream:
            if self._fresh is None or not self._went_stale(stream.head):
                self.headers = stream.head.headers
                yield stream
                return
        async with self._fresh.stream(plan) as stream:
            self.headers = stream.head.headers
            yield stream

    def _went_stale(self, reply: transports.Reply) -> bool:
        cut = reply.cut
        unanswered = cut is not None and cut.kind == "read" and not reply.status and not reply.body
        return unanswered and not self.connects and reply.elapsed_ms <= _STALE_MS


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Does what aiohttp does by itself, and tells the request for which it happens."""
    if (uplink := _uplink.get(None)) is not None:
        uplink.connects = True
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)


@dataclass(frozen=True, slots=True)
class Job:
    """One request, understood and routed."""

    operation: translate.Operation
    document: translate.Document
    call: translate.Call
    endpoint: transports.Endpoint


MakeFold = Callable[[transports.Reply], translate.Fold]


class Gateway:
    """Serves the routes with one configuration."""

    def __init__(self, config: configuration.Config) -> None:
        self._config = config
        network = config.network
        self._timeouts = transports.Timeouts(
            first_byte_s=network.request_timeout_s,
            idle_s=network.stream_idle_timeout_s,
            total_s=network.request_timeout_s,
        )
        self._listing_timeouts = replace(self._timeouts, total_s=min(network.request_timeout_s, _LISTING_S))
        self._known_paths: dict[tuple[str, str], str] = {}  # what worked, by operation and server
        self._connect: Callable[[transports.Endpoint], Uplink]

    async def connected(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs, requests go to the servers."""
        pooled = aiohttp.TCPConnector(limit=0, keepalive_timeout=_POOLED_S, socket_factory=_open_socket)
        fresh = aiohttp.TCPConnector(limit=0, force_close=True)
        async with _session(pooled) as session, _session(fresh) as spare:
            self._connect = lambda endpoint: Uplink(
                transports.AiohttpTransport(session, endpoint), transports.AiohttpTransport(spare, endpoint)
            )
            yield

    def replaying(self, recordings: transports.Recordings) -> None:
        """From now on, requests are answered from recordings, the newest there are of each."""
        transport = transports.AsyncReplayTransport(recordings.newest())
        self._connect = lambda _endpoint: Uplink(transport)

    async def health(self, _request: web.Request) -> web.Response:
        """What the configuration says of each key; asks no server."""
        report = [{"name": key.name, "status": keys.status(key)} for key in self._config.keys]
        return _answer({"status": "ok", "keys": report})

    async def serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Answer one request of ``route``."""
        flat = await self._asked(route, request)
        if isinstance(flat, Failure):
            return _failed(flat)
        job = self._job(route, request, flat)
        if isinstance(job, Failure):
            return _failed(job)
        if (fold := job.operation.fold) is not None:
            return await self._stream(request, job, lambda head: fold(job.document, head, job.call))
        uplink = self._connect(job.endpoint)
        outcome = await _converse(job, uplink)
        if isinstance(outcome, Failure):
            return _failed(outcome, job, uplink)
        if job.operation.follow_up is not translate.never:
            self._known_paths[job.call.request_type, job.endpoint.url] = uplink.path
        return _answer(outcome, 200, _forwarded(job, uplink))

    async def list_models(self, request: web.Request) -> web.Response:
        """The models of all keys, or a page of them."""
        found = await self._listing(request)
        if not isinstance(found, listing.Listing):
            return found
        page = found.page(request.query.get("page_size", ""), request.query.get("page_token", ""))
        # Bifrost's own answer has no "object"; OpenAI's has, and some of its clients look.
        return _answer({"object": "list", **page} if request.path.startswith("/openai/") else page)

    async def retrieve_model(self, request: web.Request) -> web.Response:
        """The one model that the path names."""
        name = listing.named(request.rel_url.raw_path)
        if name is None:
            return _failed(errors.invalid("invalid model encoding", "model"))
        if not name.strip("/ "):
            return _failed(errors.invalid("model is required", "model"))
        found = await self._listing(request)
        if not isinstance(found, listing.Listing):
            return found
        provider = request.query.get("provider", "")
        if (model := found.model(name, provider)) is not None:
            return _answer(model)
        prefixed = bool(provider) or name.startswith(listing.PREFIX)
        if not prefixed and not any(keys.serves(key, name) for key in self._config.keys):
            return _failed(errors.invalid("provider is required", "provider"))
        unknown = errors.unknown_model(name)
        return _failed(errors.stamp(unknown, _LIST_MODELS, "", key_statuses=found.key_statuses))

    async def _listing(self, request: web.Request) -> listing.Listing | web.Response:
        """What all keys list, asked at once; the answer to the client when there is no list."""
        chosen = keys.choose_all(self._config, request.query.get("provider", ""), _pin(request))
        if isinstance(chosen, keys.Refusal):
            return _failed(_refused(chosen))
        raw = self._wants("x-bf-send-back-raw-response", request, self._config.send_back_raw_response)
        call = replace(_LIST_MODELS, raw_response=raw)
        asked: list[tuple[Job, Uplink]] = []
        for key in chosen:
            endpoint = self._endpoint(key, request)
            if isinstance(endpoint, Failure):
                return _failed(endpoint)
            endpoint = replace(endpoint, timeouts=self._listing_timeouts)
            job = Job(translate.OPERATIONS["list_models"], {}, call, endpoint)
            asked.append((job, self._connect(endpoint)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_converse(job, uplink)) for job, uplink in asked]
        answers: list[listing.Answer] = []
        failure: Failure | None = None
        for key, task in zip(chosen, tasks, strict=True):
            outcome = task.result()
            if isinstance(outcome, Failure):
                failure = outcome
                answers.append(listing.Answer(key, error=secrets.hide(outcome.error, key.value)))
            else:
                answers.append(listing.Answer(key, outcome))
        if failure is not None and all(answer.models is None for answer in answers):
            statuses = listing.key_statuses(answers)
            return _failed(errors.stamp(failure, call, "", key_statuses=statuses), *asked[-1])
        return listing.merge(answers)

    async def refuse(self, route: unsupported.Route, request: web.Request) -> web.Response:
        """Say that the operation of ``route`` is not supported; no large body is read for that."""
        request_type = route.request_type
        if route.streamed is not None and await _asks_for_stream(request):
            request_type = route.streamed
        return _failed(errors.unsupported(request_type))

    async def _asked(self, route: Route, request: web.Request) -> translate.Document | Failure:
        """What the client asks, as one flat object."""
        limit = self._config.request_limit
        if (request.content_length or 0) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, request.content_length or 0)
        try:
            if route.form:
                return await _form(request, limit)
            body = await request.read()
        except web.RequestPayloadError as error:
            return errors.rejected("invalid compressed request body", 400, cause=str(error))
        return _flat(body)

    def _job(self, route: Route, request: web.Request, flat: translate.Document) -> Job | Failure:
        streamed = flat.get("stream")
        if not isinstance(streamed, bool | None):
            return errors.invalid("stream must be true or false", "stream")
        request_type = route.streamed if streamed and route.streamed else route.operation
        operation = translate.OPERATIONS[request_type]
        document = operation.from_flat(flat)
        if isinstance(document, Failure):
            return document
        model = str(document.get("model", ""))
        choice = self._choice(document, model, request)
        if isinstance(choice, keys.Refusal):
            return errors.stamp(_refused(choice), translate.Call(request_type), model)
        endpoint = self._endpoint(choice.key, request)
        if isinstance(endpoint, Failure):
            return endpoint
        routing_info: dict[str, object] = {"key": choice.key.name}
        if choice.alias is not None:
            document = {**document, "model": choice.model}
            routing_info |= {"model": model, "resolved_key_alias": choice.alias.described()}
        call = translate.Call(
            request_type,
            raw_request=self._wants(
                "x-bf-send-back-raw-request", request, self._config.send_back_raw_request
            ),
            raw_response=self._wants(
                "x-bf-send-back-raw-response", request, self._config.send_back_raw_response
            ),
            original_model=None if choice.alias is None else model,
            routing_info=routing_info,
            structured_outputs=choice.key.structured_outputs,
            known_path=self._known_paths.get((request_type, endpoint.url)),
            verbatim=True,
        )
        return Job(operation, document, call, endpoint)

    def _choice(
        self, document: translate.Document, model: str, request: web.Request
    ) -> keys.Choice | keys.Refusal:
        return keys.choose(self._config, str(document.get("provider", "")), model, _pin(request))

    def _endpoint(self, key: configuration.Key, request: web.Request) -> transports.Endpoint | Failure:
        upstream = headers.to_upstream(
            request.headers.items(), self._config.network.extra_headers, _request_id.get(), bool(key.value)
        )
        if isinstance(upstream, headers.Unsendable):
            return errors.invalid(f"the value of the header {upstream.name} cannot be sent", upstream.name)
        return transports.Endpoint(key.url, key.value, upstream, self._timeouts)

    def _wants(self, header: str, request: web.Request, configured: bool) -> bool:
        asked = headers.flag(request.headers.get(header)) if self._config.allow_raw_override else None
        return configured if asked is None else asked

    async def _stream(self, request: web.Request, job: Job, fold: MakeFold) -> web.StreamResponse:
        plan = job.operation.plan(job.document, job.call)
        if isinstance(plan, Failure):
            return _failed(plan, job)
        response = web.StreamResponse()
        try:
            return await self._relay(request, response, job, plan, fold)
        except ConnectionResetError:  # the client left
            raise
        except Exception:
            if not response.prepared:
                raise
            log.exception("request %s: internal error in a stream", _request_id.get())
            with suppress(RuntimeError):  # the stream was at its end already
                await response.write(sse.frame(_encoded(_INTERNAL.error)))
                response.force_close()
            return response

    async def _relay(
        self,
        request: web.Request,
        response: web.StreamResponse,
        job: Job,
        plan: translate.Plan,
        fold: MakeFold,
    ) -> web.StreamResponse:
        """Send events as they come; until the first one, a failure still has a status of its own."""
        uplink = self._connect(job.endpoint)
        async with uplink.stream(plan) as stream:
            batches = transports.batches_async(stream.pieces, fold(stream.head))
            batch = await anext(batches)
            if isinstance(batch[0], Failure):
                return _failed(batch[0], job, uplink)
            response.headers.update(_forwarded(job, uplink) | dict(headers.EVENT_STREAM))
            await response.prepare(request)
            await _write(response, batch, job)
            async for batch in batches:
                await _write(response, batch, job)
        return response


async def _converse(job: Job, uplink: Uplink) -> translate.Document | Failure:
    if not job.endpoint.url:
        return errors.stamp(errors.missing_url(), job.call, "")
    return await transports.run_async(uplink, translate.converse(job.operation, job.document, job.call))


async def _asks_for_stream(request: web.Request) -> bool:
    """Whether a small JSON body asks for a stream; any other body is left where it is."""
    if "content-encoding" in request.headers or not 0 < (request.content_length or 0) <= _GLANCE:
        return False
    flat = _flat(await request.read())
    return not isinstance(flat, Failure) and (
        flat.get("stream") is True or flat.get("stream_format") == "sse"
    )


async def _write(response: web.StreamResponse, batch: Sequence[translate.Chunk | Failure], job: Job) -> None:
    """Send what one read of the upstream brought; returns when the client has taken in enough of it."""
    frames = bytearray()
    ended = False
    for event in batch:
        if isinstance(event, Failure):
            frames += sse.frame(_encoded(secrets.hide(event.error, job.endpoint.api_key)))
            ended = True
        else:
            frames += sse.frame(_encoded(event.data))
            if event.final:
                frames += sse.DONE
                ended = True
    await response.write(bytes(frames))
    if ended:  # before the rest of the upstream body is read
        await response.write_eof()


async def _form(request: web.Request, limit: int) -> translate.Document | Failure:
    """A form with a file, read as it comes, so that the file is never held twice."""
    boundary = forms.boundary(request.headers.get("content-type", ""))
    if isinstance(boundary, forms.Unreadable):
        return _no_form(boundary)
    reader = forms.Reader(boundary)
    async for data in request.content.iter_any():
        if request.content.total_bytes > limit:
            raise web.HTTPRequestEntityTooLarge(limit, request.content.total_bytes)
        if fault := reader.feed(data):
            return _no_form(fault)
    form = reader.close()
    if isinstance(form, forms.Unreadable):
        return _no_form(form)
    return {**form, "stream": form.get("stream") == "true"}


def _no_form(fault: forms.Unreadable) -> Failure:
    return _client_fault(f"failed to parse multipart form: {fault.reason}", 400)


def _flat(body: bytes) -> translate.Document | Failure:
    value = documents.decode_object(body, strict=True)
    if isinstance(value, documents.Malformed):
        return errors.rejected("Invalid request payload", 400, cause=value.reason)
    return value


def _pin(request: web.Request) -> keys.Pin:
    return keys.Pin(request.headers.get("x-bf-api-key-id", ""), request.headers.get("x-bf-api-key", ""))


def _refused(refusal: keys.Refusal) -> Failure:
    if refusal.reason == "no_url":
        return errors.missing_url()
    return errors.rejected(refusal.message, 400, cause=refusal.message)


def _forwarded(job: Job, uplink: Uplink) -> dict[str, str]:
    return headers.to_client(uplink.headers, job.endpoint.api_key)


def _encoded(document: object) -> bytes:
    data = documents.encode(document)
    if isinstance(data, documents.Malformed):
        raise TypeError(data.reason)
    return data


def _answer(document: object, status: int = 200, others: Mapping[str, str] | None = None) -> web.Response:
    own = {"content-type": "application/json"}
    return web.Response(body=_encoded(document), status=status, headers={**(others or {}), **own})


def _failed(failure: Failure, job: Job | None = None, uplink: Uplink | None = None) -> web.Response:
    error = failure.error if job is None else secrets.hide(failure.error, job.endpoint.api_key)
    others = _forwarded(job, uplink) if job is not None and uplink is not None else {}
    return _answer(error, errors.http_status(failure.error), others)


@web.middleware
async def _shield(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every answer is JSON, whatever happens."""
    _request_id.set(headers.request_id(request.headers.get("x-request-id"), lambda: str(uuid.uuid4())))
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        limit = request.client_max_size
        return _failed(_client_fault(f"request body exceeds max allowed size of {limit} bytes", 413))
    except web.HTTPMethodNotAllowed as refusal:
        response = _failed(_client_fault(f"{request.method} is not allowed for {request.path}", 405))
        response.headers["allow"] = refusal.headers["allow"]
        return response
    except web.HTTPNotFound:
        return _failed(_client_fault(f"no such route: {request.path}", 404))
    except web.HTTPException as refusal:
        return _failed(_client_fault(refusal.reason, refusal.status))
    except ConnectionResetError:  # the client left
        raise
    except Exception:
        log.exception("request %s: internal error", _request_id.get())
        return _failed(_INTERNAL)


def _client_fault(message: str, status: int) -> Failure:
    return errors.rejected(message, status, error_type="invalid_request_error")


async def _dress(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(headers.SECURITY)
    response.headers["x-request-id"] = _request_id.get()
    response.headers["server"] = "bifrost-vllm"


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "bifrost-vllm"},
        trust_env=False,
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what is the client's fault: it comes with excerpts of the client's headers."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def application(
    config: configuration.Config, recordings: transports.Recordings | None = None
) -> web.Application:
    """The gateway as an aiohttp application; with ``recordings`` it talks to no server."""
    gateway = Gateway(config)
    app = web.Application(middlewares=[_shield], client_max_size=config.request_limit)
    app.on_response_prepare.append(_dress)
    if recordings is None:
        app.cleanup_ctx.append(gateway.connected)
    else:
        gateway.replaying(recordings)
    app.router.add_get("/health", gateway.health)
    for route in ROUTES:
        for path in route.paths:
            app.router.add_route(route.method, path, partial(gateway.serve, route))
    for path in _everywhere("models"):
        app.router.add_route("GET", path, gateway.list_models)
        app.router.add_route("GET", f"{path}/{{model:.*}}", gateway.retrieve_model)
    for refused in unsupported.ROUTES:
        for path in _everywhere(refused.path):
            app.router.add_route(refused.method, path, partial(gateway.refuse, refused))
    return app


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """The application at work; gives the port, which the system chooses when it is 0.

    On leaving, requests that run have some time to end.
    """
    server_log = logging.getLogger("bifrost_vllm.http")
    server_log.addFilter(_is_ours)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE_S, logger=server_log
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port, backlog=1024).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _arguments().parse_args(argv)
    if options.command == "check":
        return comparison.run(options)
    if options.command == "plan":
        return _explain(options.operation, options.file, options.format)
    if not (_is_loopback(options.host) or options.allow_unauthenticated):
        return _complain(
            f"refusing to listen on {options.host or 'every address'}: this gateway does not authenticate "
            "its clients, so only a loopback address may be used unless --allow-unauthenticated is given"
        )
    config = RECORDED if options.config is None else _configuration(options.config)
    if isinstance(config, configuration.Rejected):
        return _complain(*config.problems)
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    folder = BUNDLED if options.config is None and options.replay is None else options.replay
    recordings = None
    if folder is not None:
        try:
            recordings = transports.Recordings.load(folder)
        except (OSError, ValueError) as error:
            return _complain(f"{folder}: {error}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(_run(config, recordings, options.host, options.port))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bifrost-vllm", description="A gateway in front of vLLM.")
    commands = parser.add_subparsers(required=True, dest="command")
    check = commands.add_parser(
        "check",
        help="compare recordings with what the translators, or a server, make of them now",
        description="Run recordings through the translators and report what differs from the expectations "
        "beside them; or put their questions to a server, and report where its answers look different.",
    )
    comparison.add_arguments(check)
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
    serve = commands.add_parser(
        "serve",
        help="serve the HTTP API",
        description="Serve the HTTP API. Without --config, answer from the bundled recordings.",
    )
    serve.add_argument("--config", type=Path, metavar="FILE", help="Bifrost's config.json")
    serve.add_argument("--replay", type=Path, metavar="DIR", help="answer from recordings, ask no server")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", default=8080, type=_port, help="0 lets the system choose (default: %(default)s)"
    )
    serve.add_argument(
        "--allow-unauthenticated", action="store_true", help="allow addresses other than loopback"
    )
    return parser


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


def _configuration(file: Path) -> configuration.Config | configuration.Rejected:
    try:
        document = documents.decode(file.read_bytes(), strict=True)
    except OSError as error:
        return configuration.Rejected((f"{file}: {error.strerror}",))
    if isinstance(document, documents.Malformed):
        return configuration.Rejected((f"{file}: not JSON: {document.reason}",))
    return configuration.load(document, os.environ)


def _explain(request_type: translate.RequestType, file: str, style: translate.explanation.Style) -> int:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        return _complain(f"{file}: {error.strerror}")
    document = documents.decode_object(data, strict=True)
    if isinstance(document, documents.Malformed):
        return _complain(f"{file}: {document.reason}")
    operation = translate.OPERATIONS[request_type]
    request = document if "provider" in document else operation.from_flat(document)
    explained = (
        request
        if isinstance(request, Failure)
        else translate.explained(operation, request, translate.Call(request_type))
    )
    if isinstance(explained, Failure):
        field = explained.error["error"]
        return _complain(f"{field['param']}: {field['message']}" if "param" in field else field["message"])
    print(translate.explanation.written(explained, style), end="")
    return 0


async def _run(
    config: configuration.Config, recordings: transports.Recordings | None, host: str, port: int
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run()
            loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as running:
        try:
            bound = await running.enter_async_context(listening(application(config, recordings), host, port))
        except OSError as error:
            return _complain(f"cannot listen: {error.strerror}")
        origin = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        source = _counted(config.keys, "key")
        if recordings is not None:
            source = f"replaying {_counted(recordings, 'recording')}"
        print(f"bifrost-vllm: listening on {origin} ({source})", flush=True)
        await stop.wait()
    return 0


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


if __name__ == "__main__":
    sys.exit(main())
