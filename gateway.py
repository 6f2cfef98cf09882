"""The gateway: an HTTP server in front of vLLM, and its command line.

It joins three packages that do not know one another: ``routing`` decides,
``translate`` translates, ``transports`` does the I/O. What is left here is
aiohttp: reading a request, writing an answer, and giving up at once, the
upstream request included, when the client does.
"""

import asyncio
import logging
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

if TYPE_CHECKING or not __package__:  # in a checkout
    import translate
    import transports
    from routing import (
        attempts,
        auth,
        client_errors,
        cors,
        failures,
        fallbacks,
        fleet,
        forms,
        header_settings,
        headers,
        keys,
        limits,
        listing,
        refusals,
        secrets,
        settings,
        unsupported,
    )
    from serving import command_line, interface
    from serving import uplink as uplinks
    from serving.admission import Admission, FullError, Turn
    from serving.answers import SERVER, Answer
    from serving.front import Runner
    from serving.listener import Listener, listen
    from serving.metrics import CONTENT_TYPE, Metrics
    from serving.observation import Observation, Observer, Tracing
    from serving.server_versions import ServerVersions
    from serving.uplink import Uplink
    from translate import Failure, documents, errors, servers, sse
else:  # installed
    from . import translate, transports
    from .routing import (
        attempts,
        auth,
        client_errors,
        cors,
        failures,
        fallbacks,
        fleet,
        forms,
        header_settings,
        headers,
        keys,
        limits,
        listing,
        refusals,
        secrets,
        settings,
        unsupported,
    )
    from .serving import command_line, interface
    from .serving import uplink as uplinks
    from .serving.admission import Admission, FullError, Turn
    from .serving.answers import SERVER, Answer
    from .serving.front import Runner
    from .serving.listener import Listener, listen
    from .serving.metrics import CONTENT_TYPE, Metrics
    from .serving.observation import Observation, Observer, Tracing
    from .serving.server_versions import ServerVersions
    from .serving.uplink import Uplink
    from .translate import Failure, documents, errors, servers, sse

log: Final = logging.getLogger("bifrost_vllm.gateway")
BUNDLED: Final = command_line.BUNDLED
RECORDED: Final = command_line.RECORDED
_access: Final = logging.getLogger("bifrost_vllm.access")

FAULT_HEADER: Final = "x-bf-replay-fault"
"""Asks a replay to spoil its answer."""

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_COMMENT: Final = b": keep-alive\n\n"
_VERSION_S: Final = 5.0  # for a server to say which version it is
_LISTING_S: Final = 30.0  # one server that hangs must not hide the models of all others for long
_GLANCE: Final = 65_536  # bytes of a body that is read although its request is not supported
_BODY_S: Final = 120.0  # a body that takes longer is not waited for
GRACE_S: Final = command_line.GRACE_S
_LAST_WORDS_S: Final = (
    2.0  # for errors to those that ran on; aiohttp waits twice, Kubernetes kills after 30 s
)
_INTERNAL: Final = errors.rejected("internal server error", 500, is_bifrost_error=True)
_STOPPING: Final = errors.rejected(
    "the gateway is shutting down", 503, error_type="server_shutdown", is_bifrost_error=True
)


class Route(NamedTuple):
    """One row of the HTTP interface; ``streamed`` is what ``"stream": true`` asks for.

    With ``form``, what clients send is not JSON but a form with a file.
    """

    method: str
    paths: tuple[str, ...]
    operation: translate.RequestType
    streamed: translate.RequestType | None = None
    form: bool = False


_PREFIXES: Final = ("/v1", "/openai/v1", "/openai")


def _everywhere(path: str) -> tuple[str, ...]:
    return tuple(f"{prefix}/{path}" for prefix in _PREFIXES)


ROUTES: Final = (
    Route("POST", _everywhere("chat/completions"), "chat_completion", "chat_completion_stream"),
    Route("POST", _everywhere("responses"), "responses", "responses_stream"),
    Route("POST", _everywhere("completions"), "text_completion", "text_completion_stream"),
    Route("POST", _everywhere("embeddings"), "embedding"),
    Route("POST", ("/v1/rerank", "/v2/rerank", "/rerank"), "rerank"),
    Route("POST", _everywhere("audio/transcriptions"), "transcription", "transcription_stream", form=True),
)

_LIST_MODELS: Final = translate.Call("list_models")
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
_SEEN: Final[web.RequestKey[Observation]] = web.RequestKey("seen", Observation)
_CORS: Final[web.RequestKey[Mapping[str, str]]] = web.RequestKey("cors", Mapping)


class Inquiry(NamedTuple):
    """What a client asks for, understood and not yet routed."""

    request_type: translate.RequestType
    document: translate.Document
    ask: attempts.Ask
    raw_request: bool = False
    raw_response: bool = False

    @property
    def operation(self) -> translate.Operation:
        return translate.OPERATIONS[self.request_type]


class Job(NamedTuple):
    """One request to one server; ``uplink`` is the way there, ``way`` what to send through.

    ``way`` is the uplink itself, or a recorder around it.
    """

    operation: translate.Operation
    document: translate.Document
    call: translate.Call
    endpoint: transports.Endpoint
    uplink: Uplink
    way: transports.AsyncTransport


class Gateway:
    """Serves the routes with one configuration at a time.

    What goes to a server and comes back is told to ``sink``, if there is one.
    """

    def __init__(
        self,
        config: settings.Config,
        sink: transports.Sink | None = None,
        transport: uplinks.TransportName = "aiohttp",
        access: Callable[[str], None] = _access.info,
        tracing: Tracing | None = None,
    ) -> None:
        self._sink = sink
        self._access = access
        self.tracing: Final = tracing
        self._transport: uplinks.TransportName = transport
        self._replay: transports.AsyncReplayTransport | None = None
        self.metrics = Metrics(config.labels)
        self._fleet = fleet.Fleet()
        self._known_paths: dict[tuple[str, str], str] = {}  # what worked, by operation and server
        self._versions = ServerVersions(self._told_version)
        self._admission = Admission(config.concurrency)
        self._connect: uplinks.Connect
        self.direct: Final[dict[tuple[str, str], Handler]] = {}
        self.running: Final[set[asyncio.Task[object]]] = set()
        self.stopping = False
        self.grace_s = GRACE_S
        self.body_s = _BODY_S
        self.configure(config)

    def configure(self, config: settings.Config) -> None:
        """From now on, requests are served with ``config``; those that run keep the one they began with.

        What belongs to connections, to servers (``uplinks.connections``) and of
        clients (``runner``), stays as it was.
        """
        self.config = config
        self.observer = Observer(config, self.metrics, self._access)
        self._admission.concurrency = config.concurrency
        network = config.network
        self._timeouts = transports.Timeouts(
            connect_s=network.connect_timeout_s,
            first_byte_s=network.first_byte_timeout_s or network.request_timeout_s,
            idle_s=network.stream_idle_timeout_s,
            total_s=network.request_timeout_s,
        )
        self._listing_timeouts = replace(self._timeouts, total_s=min(network.request_timeout_s, _LISTING_S))

    async def attend(self, request: web.Request, path: str, handler: Handler) -> web.StreamResponse:
        """Answer a request by ``handler``, and notice it: who is in, what became of it, how long it took."""
        _request_id.set(headers.request_id(request.headers.get("x-request-id"), _new_id))
        seen = request[_SEEN] = Observation(
            request.method if request.method in _METHODS else "unknown",
            path,
            _request_id.get(),
            request.remote or "",
        )
        seen.headers = request.headers.items()
        seen.bytes_in = request.content_length or 0
        if self.tracing is not None:
            seen.trace = self.tracing.begin(seen)
        observer = self.observer
        observer.began(seen.method)
        client_left = True
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self.running.add(task)
        try:
            try:
                response = self._refusal(request, seen) or await handler(request)
            except asyncio.CancelledError:
                if not self.stopping:
                    raise
                _uncancel()
                response = _failed(_STOPPING, seen)
            except ConnectionResetError:  # the client left
                raise
            except Exception as error:
                response = _answer_to(error, request)
            client_left = False
            seen.status = response.status
            if isinstance(response, Answer):
                seen.bytes_out = len(response.document)
            elif not response.prepared:
                _dress(request, response)
                if isinstance(response, web.Response) and isinstance(response.body, bytes):
                    seen.bytes_out = len(response.body)
            return response
        finally:
            self.running.discard(task)
            seen.status = seen.status or 499
            observer.finished(seen, client_left)

    def _refusal(self, request: web.Request, seen: Observation) -> web.Response | None:
        """The answer to those whom the configuration does not let in."""
        config, pairs = self.config, request.headers.items()
        version = request.version
        if (misframed := headers.misframed((version.major, version.minor), pairs)) is not None:
            response = _failed(_client_fault(misframed.message, misframed.status), seen)
            response.force_close()
            return response
        asked = request.headers.get("access-control-request-headers")
        verdict = cors.decide(config.cors, request.method, request.headers.get("origin"), asked)
        request[_CORS] = verdict.headers
        if verdict.status is not None:
            return web.Response(status=verdict.status)
        if (refused := auth.refused(config.auth, request.method, request.path, pairs)) is not None:
            response = _failed(_own(refused), seen)
            response.headers["www-authenticate"] = auth.CHALLENGE
            return response
        if unmet := header_settings.unmet(config.required_headers, pairs):
            return _failed(_own(refusals.unmet_headers(unmet)), seen)
        return None

    async def connected(self, _app: web.Application) -> AsyncIterator[None]:
        """While the application runs, requests go to the servers."""
        async with uplinks.connections(self.config.network, self._transport) as self._connect:
            yield
            await self._versions.close()

    async def finish(self, _app: web.Application) -> None:
        """Let what runs come to its end; what is not there in time ends with an error."""
        if self.running:
            await asyncio.wait(set(self.running), timeout=self.grace_s)
        self.stopping = True
        for task in self.running:
            task.cancel()

    def replaying(self, replay: transports.AsyncReplayTransport) -> None:
        """From now on, requests are answered from recordings."""
        self._replay = replay

    def _way(
        self, endpoint: transports.Endpoint, request: web.Request, request_type: str
    ) -> tuple[Uplink, transports.AsyncTransport] | Failure:
        """The way to a server, or to a recording, and what to send through."""
        if (text := request.headers.get(FAULT_HEADER)) is not None:
            if self._replay is None:
                return errors.invalid("only a replay makes faults: no recordings are replayed", FAULT_HEADER)
            try:
                uplink = Uplink(self._replay.with_fault(transports.Fault.parse(text)))
            except ValueError as error:
                return errors.invalid(str(error), FAULT_HEADER)
        else:
            uplink = self._connect(endpoint) if self._replay is None else Uplink(self._replay)
        if self._sink is None:
            return uplink, uplink
        return uplink, transports.AsyncRecordingTransport(uplink, self._sink, request_type)

    async def health(self, _request: web.Request) -> web.Response:
        """What is known of each key; asks no server."""
        now_s = time.monotonic()
        report = [
            {"name": key.name, "status": "resting" if self._fleet.rests(key, "", now_s) else keys.status(key)}
            for key in self.config.keys
        ]
        return _answer({"status": "ok", "keys": report})

    async def show_metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text."""
        return web.Response(body=self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def show_interface(self, _request: web.Request) -> web.Response:
        """What there is to ask for, as OpenAPI."""
        return _answer(_interface(bool(self.config.auth.api_keys)))

    async def serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Answer one request of ``route``."""
        seen = request[_SEEN]
        seen.operation = route.operation
        try:
            async with self._admission.turn() as turn:
                flat = await self._asked(route, request, turn)
                inquiry = flat if isinstance(flat, Failure) else self._inquiry(route, request, flat)
                if isinstance(inquiry, Failure):
                    return _failed(inquiry, seen)
                seen.operation, seen.model = inquiry.request_type, inquiry.ask.model
                if seen.trace is not None:
                    seen.trace.understood(seen.operation, seen.model, inquiry.document.get("params"))
                if headers.flag(request.headers.get("x-bf-dry-run")):
                    seen.trace = None  # nobody is asked
                    return self._explanation(inquiry, request)
                await turn.take()
                if inquiry.operation.fold is None:
                    return await self._whole(inquiry, request)
                return await self._stream(inquiry, request)
        except FullError:
            response = _failed(_own(refusals.overloaded()), seen)
            response.headers["retry-after"] = str(limits.RETRY_AFTER_S)
            return response

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
            return _failed(errors.invalid("invalid model encoding", "model"), request[_SEEN])
        if not name.strip("/ "):
            return _failed(errors.invalid("model is required", "model"), request[_SEEN])
        found = await self._listing(request)
        if not isinstance(found, listing.Listing):
            return found
        provider = request.query.get("provider", "")
        if (model := found.model(name, provider)) is not None:
            return _answer(model)
        prefixed = bool(provider) or name.startswith(listing.PREFIX)
        if not prefixed and not any(keys.serves(key, name) for key in self.config.keys):
            return _failed(errors.invalid("provider is required", "provider"), request[_SEEN])
        unknown = errors.unknown_model(name)
        return _failed(
            errors.stamp(unknown, _LIST_MODELS, "", key_statuses=found.key_statuses), request[_SEEN]
        )

    async def _listing(self, request: web.Request) -> listing.Listing | web.Response:
        """What all keys list, asked at once; the answer to the client when there is no list."""
        seen = request[_SEEN]
        seen.operation = "list_models"
        if seen.trace is not None:
            seen.trace.understood(seen.operation, "", None)
        chosen = keys.choose_all(self.config, request.query.get("provider", ""), _pin(request))
        if isinstance(chosen, keys.Refusal):
            return _failed(_own(refusals.unroutable(chosen.message)), request[_SEEN])
        raw = self._wants("x-bf-send-back-raw-response", request, self.config.send_back_raw_response)
        call = _LIST_MODELS._replace(raw_response=raw)
        jobs: list[Job] = []
        for key in chosen:
            endpoint = self._endpoint(key, request)
            if isinstance(endpoint, Failure):
                return _failed(endpoint, request[_SEEN])
            endpoint = replace(endpoint, timeouts=self._listing_timeouts)
            way = self._way(endpoint, request, "list_models")
            if isinstance(way, Failure):
                return _failed(way, request[_SEEN])
            jobs.append(Job(translate.OPERATIONS["list_models"], {}, call, endpoint, *way))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listed(job)) for job in jobs]
        answers: list[listing.Answer] = []
        failure: Failure | None = None
        for key, task in zip(chosen, tasks, strict=True):
            outcome = task.result()
            if seen.trace is not None:
                seen.trace.answered(key, outcome.error if isinstance(outcome, Failure) else None)
            if isinstance(outcome, Failure):
                failure = outcome
                answers.append(listing.Answer(key, error=secrets.hide(outcome.error, key.value)))
            else:
                answers.append(listing.Answer(key, outcome))
        if failure is not None and all(answer.models is None for answer in answers):
            statuses = listing.key_statuses(answers)
            return _failed(errors.stamp(failure, call, "", key_statuses=statuses), request[_SEEN], jobs[-1])
        return listing.merge(answers)

    async def _listed(self, job: Job) -> translate.Document | Failure:
        """What one server lists, after as many attempts as there is budget and time for."""
        end = asyncio.get_running_loop().time() + (self._listing_timeouts.total_s or _LISTING_S)
        outcome, number = await _converse(job), 1
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while isinstance(outcome, Failure):
                    wait_s = attempts.wait_to_repeat_s(
                        self.config.retries,
                        number,
                        _failed_at(job, outcome),
                        random.random(),  # noqa: S311
                    )
                    if wait_s is None:
                        break
                    await asyncio.sleep(wait_s)
                    outcome, number = await _converse(job), number + 1
        return outcome

    async def refuse(self, route: unsupported.Route, request: web.Request) -> web.Response:
        """Say that the operation of ``route`` is not supported; no large body is read for that."""
        request_type = route.request_type
        if route.streamed is not None and await _asks_for_stream(request):
            request_type = route.streamed
        return _failed(errors.unsupported(request_type), request[_SEEN])

    async def _asked(self, route: Route, request: web.Request, turn: Turn) -> translate.Document | Failure:
        """What the client asks, as one flat object."""
        limit = self.config.request_limit
        if (request.content_length or 0) > limit:
            return _too_large(limit)
        content = request.content
        if content.is_eof() and not route.form and "content-encoding" not in request.headers:
            turn.fits(content.total_bytes)
            return _too_large(limit) if content.total_bytes > limit else _flat(content.read_nowait())
        try:
            if route.form:
                return await _form(self._pieces(request, turn), request, limit)
            collected = bytearray()
            async for data in self._pieces(request, turn):
                collected += data
                if len(collected) > limit:
                    return _too_large(limit)
            return _flat(bytes(collected))
        except TimeoutError:
            return _client_fault(f"the request body did not come within {self.body_s:g} s", 408)
        except web.RequestPayloadError as error:
            return errors.rejected("invalid compressed request body", 400, cause=str(error))

    async def _pieces(self, request: web.Request, turn: Turn) -> AsyncIterator[bytes]:
        """A body as it comes; raises ``TimeoutError`` when that takes too long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.body_s
        while True:
            async with asyncio.timeout_at(end):
                data = await request.content.readany()
            if not data:
                return
            if not turn.fits(len(data)):
                left_s = end - loop.time()
                await turn.take()
                end = loop.time() + left_s
            yield data

    def _inquiry(self, route: Route, request: web.Request, flat: translate.Document) -> Inquiry | Failure:
        streamed = flat.get("stream")
        if not isinstance(streamed, bool | None):
            return errors.invalid("stream must be true or false", "stream")
        request_type = route.streamed if streamed and route.streamed else route.operation
        document = translate.OPERATIONS[request_type].from_flat(flat)
        if isinstance(document, Failure):
            return document
        ask = attempts.Ask(
            str(document.get("provider", "")),
            str(document.get("model", "")),
            _pin(request),
            request.headers.get("x-bf-session-id", ""),
            fallbacks.read(document.get("fallbacks"), self.config).entries,
        )
        config = self.config
        return Inquiry(
            request_type,
            document,
            ask,
            self._wants("x-bf-send-back-raw-request", request, config.send_back_raw_request),
            self._wants("x-bf-send-back-raw-response", request, config.send_back_raw_response),
        )

    def _job(self, inquiry: Inquiry, step: attempts.Try, request: web.Request) -> Job | Failure:
        endpoint = self._endpoint(step.key, request, step.model)
        if isinstance(endpoint, Failure):
            return endpoint
        call = translate.Call(
            inquiry.request_type,
            raw_request=inquiry.raw_request,
            raw_response=inquiry.raw_response,
            original_model=step.original_model,
            routing_info=step.routing_info,
            structured_outputs=step.key.structured_outputs,
            known_path=self._known_paths.get((inquiry.request_type, endpoint.url)),
            verbatim=True,
            server=self._server(step.key),
        )
        way = self._way(endpoint, request, inquiry.request_type)
        if isinstance(way, Failure):
            return way
        return Job(inquiry.operation, step.applied(inquiry.document), call, endpoint, *way)

    def _server(self, key: settings.Key) -> servers.Server:
        """What is known of the server of ``key``; no request waits for more to be known."""
        version = key.server_version
        if version == settings.LEARNT_VERSION:
            if self._replay is not None:
                return servers.UNKNOWN
            limits_s = transports.Timeouts(_VERSION_S, _VERSION_S, _VERSION_S, _VERSION_S)
            version = self._versions.of(transports.Endpoint(key.url, key.value, timeouts=limits_s))
        return servers.server(version)

    async def _told_version(self, endpoint: transports.Endpoint) -> str:
        reply = await self._connect(endpoint).send(translate.Plan("GET", servers.PATH))
        return servers.told(reply.body) if reply.status == 200 and reply.cut is None else ""

    def _endpoint(
        self, key: settings.Key, request: web.Request, model: str = ""
    ) -> transports.Endpoint | Failure:
        upstream = headers.to_upstream(
            request.headers.items(),
            self.config.network.extra_headers,
            _request_id.get(),
            bool(key.value),
            self.config.header_filter,
        )
        if isinstance(upstream, headers.Unsendable):
            return errors.invalid(f"the value of the header {upstream.name} cannot be sent", upstream.name)
        if (trace := request[_SEEN].trace) is not None:
            upstream |= trace.asks(key, model)
        return transports.Endpoint(key.url, key.value, upstream, self._timeouts)

    def _wants(self, header: str, request: web.Request, configured: bool) -> bool:
        if not self.config.allow_raw_override:
            return configured
        asked = headers.flag(request.headers.get(header))
        return configured if asked is None else asked

    def _explanation(self, inquiry: Inquiry, request: web.Request) -> web.Response:
        """What would be sent to whom first; nothing is."""
        step = attempts.first(self.config, inquiry.ask, self._fleet, _moment())
        if isinstance(step, attempts.GiveUp):
            return _failed(_given_up(step, inquiry), request[_SEEN])
        job = self._job(inquiry, step, request)
        explained = (
            job if isinstance(job, Failure) else translate.explained(job.operation, job.document, job.call)
        )
        if isinstance(explained, Failure) or isinstance(job, Failure):
            return _failed(explained if isinstance(explained, Failure) else _INTERNAL, request[_SEEN])
        return _answer({**explained, "routing_info": job.call.routing_info})

    async def _whole(self, inquiry: Inquiry, request: web.Request) -> web.StreamResponse:
        """Answer at once what is not streamed, after as many attempts as it takes."""
        seen = request[_SEEN]
        tried: list[tuple[attempts.Try, Job]] = []
        step = attempts.first(self.config, inquiry.ask, self._fleet, _moment())
        while isinstance(step, attempts.Try):
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
            job = self._job(inquiry, step, request)
            if isinstance(job, Failure):
                return _failed(job, seen)
            tried.append((step, job))
            began = self._began(step, seen)
            try:
                outcome = await _converse(job)
                if not isinstance(outcome, Failure):
                    self._succeeded(step, job, seen)
                    seen.used(outcome)
                    return Answer(_encoded(outcome), _others(job, request))
            finally:
                self._is_over(step, seen, began)
            step = self._after(step, outcome, job, seen)
        return _failed(_given_up(step, inquiry), seen, _job_of(step, tried))

    async def _stream(self, inquiry: Inquiry, request: web.Request) -> web.StreamResponse:
        """Relay a stream, after as many attempts as it takes to get its first event."""
        seen = request[_SEEN]
        seen.stream = True
        tried: list[tuple[attempts.Try, Job]] = []
        relay = Relay(request, self.config.sse_keep_alive_s)
        step = attempts.first(self.config, inquiry.ask, self._fleet, _moment())
        try:
            async with relay.kept_alive():
                while isinstance(step, attempts.Try):
                    if step.wait_s:
                        await asyncio.sleep(step.wait_s)
                    job = self._job(inquiry, step, request)
                    if isinstance(job, Failure):
                        return await relay.failed(job, None)
                    tried.append((step, job))
                    began = self._began(step, seen)
                    try:
                        failure = await self._relayed(step, job, relay)
                    finally:
                        self._is_over(step, seen, began)
                    if failure is None:
                        return relay.response
                    step = self._after(step, failure, job, seen)
                return await relay.failed(_given_up(step, inquiry), _job_of(step, tried))
        except ConnectionResetError:  # the client left
            raise
        except asyncio.CancelledError:  # so it did, or there is no more time
            if not (self.stopping and relay.response.prepared):
                raise
            _uncancel()
            with suppress(RuntimeError):  # the stream was at its end already
                await relay.failed(_STOPPING, None)
            return relay.response
        except Exception:
            if not relay.response.prepared:
                raise
            log.exception("request %s: internal error in a stream", _request_id.get())
            with suppress(RuntimeError):  # the stream was at its end already
                await relay.response.write(sse.frame(_encoded(_INTERNAL.error)))
                relay.response.force_close()
            return relay.response

    async def _relayed(self, step: attempts.Try, job: Job, relay: "Relay") -> Failure | None:
        """Relay the events of one attempt; a failure before the first one is given back."""
        plan = job.operation.plan(job.document, job.call)
        if isinstance(plan, Failure):
            return plan
        if job.operation.fold is None:
            raise TypeError("this operation is not streamed")
        limit = self.config.network.first_event_timeout_s or None
        deadline = asyncio.timeout(limit)
        try:
            async with deadline, job.way.stream(plan) as stream:
                fold = job.operation.fold(job.document, stream.head, job.call)
                batches = transports.batches_async(stream.pieces, fold)
                batch = await anext(batches)
                deadline.reschedule(None)
                if isinstance(batch[0], Failure):
                    return batch[0]
                self._succeeded(step, job, relay.seen)
                await relay.begin(_forwarded(job))
                await relay.write(batch, job)
                async for batch in batches:
                    await relay.write(batch, job)
        except TimeoutError:
            if limit is None or not deadline.expired():
                raise
            return errors.stamp(_own(refusals.first_event_late(limit)), job.call, step.model)
        return None

    def _began(self, step: attempts.Try, seen: Observation) -> float:
        """A request goes to a server; gives the time."""
        seen.tried = step
        self._fleet = self._fleet.started(step.key, step.shares)
        return time.monotonic()

    def _is_over(self, step: attempts.Try, seen: Observation, began: float) -> None:
        self._fleet = self._fleet.ended(step.key)
        seen.upstream.append((step, time.monotonic() - began, seen.served is step))

    def _succeeded(self, step: attempts.Try, job: Job, seen: Observation) -> None:
        self._fleet = self._fleet.answered(step.key, step.asked_model)
        seen.served = step
        if job.operation.follow_up is not translate.never:
            self._known_paths[job.call.request_type, job.endpoint.url] = job.uplink.path

    def _after(
        self, step: attempts.Try, failure: Failure, job: Job, seen: Observation
    ) -> attempts.Try | attempts.GiveUp:
        failed = _failed_at(job, failure)
        moment = _moment()
        self._fleet = self._fleet.failed(
            step.key, step.asked_model, failed, self.config.selection, moment.now_s
        )
        if seen.trace is not None:
            seen.trace.answered(step.key, failure.error)
        following = attempts.after(step, failed, self._fleet, moment)
        seen.trail = following.trail
        return following


class Relay:
    """The stream that a client gets; it begins with its first event, or with a comment before it."""

    def __init__(self, request: web.Request, keep_alive_s: float) -> None:
        self.response = web.StreamResponse(headers=dict(headers.EVENT_STREAM))
        self.seen = request[_SEEN]
        self._request = request
        self._keep_alive_s = keep_alive_s
        self._writing = asyncio.Lock()
        self._written_at = time.monotonic()

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """While in here, a silence does not last longer than was configured."""
        if not self._keep_alive_s:
            yield
            return
        ticking = asyncio.ensure_future(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError, ConnectionResetError, RuntimeError):
                await ticking

    async def _tick(self) -> None:
        while True:
            silence = time.monotonic() - self._written_at
            if silence >= self._keep_alive_s:
                await self._send(_COMMENT)
            else:
                await asyncio.sleep(self._keep_alive_s - silence)

    async def begin(self, forwarded: Mapping[str, str]) -> None:
        """Send the headers, unless a comment was first."""
        async with self._writing:
            if not self.response.prepared:
                self.response.headers.update({**forwarded, **headers.EVENT_STREAM})
                await self._prepare()

    async def write(self, batch: Sequence[translate.Chunk | Failure], job: Job) -> None:
        """Send what one read of the upstream brought; returns when the client has taken in enough of it."""
        frames = bytearray()
        ended = False
        for event in batch:
            if isinstance(event, Failure):
                self.seen.error = event.error
                error = client_errors.presentable(_hidden(event.error, job))
                frames += sse.frame(_encoded(error), event.event)
                ended = True
            else:
                failed = event.event == "response.failed"  # it tells the error
                data = _hidden(event.data, job) if failed else event.data
                frames += sse.frame(_encoded(data), event.event)
                if event.final:
                    self.seen.used(event.data)
                    frames += b"" if event.event else sse.DONE
                    ended = True
        self.seen.event()
        await self._send(bytes(frames))
        if ended:  # before the rest of the upstream body is read
            await self.response.write_eof()

    async def failed(self, failure: Failure, job: Job | None) -> web.StreamResponse:
        """The answer when no attempt came to an event."""
        if not self.response.prepared:
            return _failed(failure, self.seen, job)
        self.seen.error = failure.error
        await self._send(sse.frame(_encoded(client_errors.presentable(_hidden(failure.error, job)))))
        await self.response.write_eof()
        return self.response

    async def _prepare(self) -> None:
        _dress(self._request, self.response)
        await self.response.prepare(self._request)

    async def _send(self, data: bytes) -> None:
        async with self._writing:
            if not self.response.prepared:
                await self._prepare()
            self.seen.bytes_out += len(data)
            self._written_at = time.monotonic()
            await self.response.write(data)


async def _converse(job: Job) -> translate.Document | Failure:
    if not job.endpoint.url:
        return errors.stamp(errors.missing_url(), job.call, "")
    return await transports.run_async(job.way, translate.converse(job.operation, job.document, job.call))


def _failed_at(job: Job, failure: Failure) -> failures.Failed:
    told = job.uplink.headers
    return failures.Failed(
        failure.error,
        failures.retry_after_s(told.get("retry-after"), told.get("date")),
        unreachable=job.uplink.unreachable,
    )


def _new_id() -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


@cache
def _interface(locked: bool) -> Mapping[str, object]:
    return interface.document(ROUTES, _everywhere("models"), _PREFIXES, locked)


def _uncancel() -> None:
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


def _moment() -> attempts.Moment:
    return attempts.Moment(time.monotonic(), random.random(), random.random())  # noqa: S311 - load, not secrets


def _given_up(given_up: attempts.GiveUp, inquiry: Inquiry) -> Failure:
    """The error for the client; what was made here does not know yet which request it answers."""
    failure = _own(given_up.error)
    if not given_up.own:
        return failure
    return errors.stamp(failure, translate.Call(inquiry.request_type), inquiry.ask.model)


def _job_of(given_up: attempts.GiveUp, tried: Sequence[tuple[attempts.Try, Job]]) -> Job | None:
    return next((job for step, job in tried if step is given_up.tried), None)


async def _asks_for_stream(request: web.Request) -> bool:
    """Whether a small JSON body asks for a stream; any other body is left where it is."""
    if "content-encoding" in request.headers or not 0 < (request.content_length or 0) <= _GLANCE:
        return False
    flat = _flat(await request.read())
    return not isinstance(flat, Failure) and (
        flat.get("stream") is True or flat.get("stream_format") == "sse"
    )


async def _form(
    pieces: AsyncIterator[bytes], request: web.Request, limit: int
) -> translate.Document | Failure:
    """A form with a file, read as it comes, so that the file is never held twice."""
    boundary = forms.boundary(request.headers.get("content-type", ""))
    if isinstance(boundary, forms.Unreadable):
        return _no_form(boundary)
    reader = forms.Reader(boundary)
    async for data in pieces:
        if request.content.total_bytes > limit:
            return _too_large(limit)
        if fault := reader.feed(data):
            return _no_form(fault)
    form = reader.close()
    if isinstance(form, forms.Unreadable):
        return _no_form(form)
    return {**form, "stream": form.get("stream") == "true"}


def _no_form(fault: forms.Unreadable) -> Failure:
    return _client_fault(f"failed to parse multipart form: {fault.reason}", 400)


def _own(error: Mapping[str, object]) -> Failure:
    """An error document of ``routing``, which does not know the translators' name for it."""
    return Failure(cast("translate.BifrostError", error))


def _flat(body: bytes) -> translate.Document | Failure:
    value = documents.decode_object(body, strict=True)
    if isinstance(value, documents.Malformed):
        return errors.rejected("Invalid request payload", 400, cause=value.reason)
    return value


def _pin(request: web.Request) -> keys.Pin:
    by_id, by_name = request.headers.get("x-bf-api-key-id", ""), request.headers.get("x-bf-api-key", "")
    return keys.Pin(by_id, by_name) if by_id or by_name else keys.NO_PIN


def _others(job: Job, request: web.Request) -> dict[str, str]:
    """The headers of an answer of ``job`` besides those of every answer."""
    own = {"x-request-id": _request_id.get()}
    return {**_forwarded(job), **request.get(_CORS, _NO_HEADERS), **own}


def _forwarded(job: Job) -> dict[str, str]:
    return headers.to_client(job.uplink.headers, job.endpoint.api_key)


def _hidden(error: Mapping[str, object], job: Job | None) -> Mapping[str, object]:
    hidden = error if job is None else secrets.hide(error, job.endpoint.api_key)
    return hidden if isinstance(hidden, Mapping) else error


def _encoded(document: object) -> bytes:
    data = documents.encode(document)
    if isinstance(data, documents.Malformed):
        raise TypeError(data.reason)
    return data


def _answer(document: object, status: int = 200, others: Mapping[str, str] | None = None) -> web.Response:
    own = {"content-type": "application/json"}
    return web.Response(body=_encoded(document), status=status, headers={**(others or {}), **own})


def _failed(failure: Failure, seen: Observation | None = None, job: Job | None = None) -> web.Response:
    if seen is not None:
        seen.error = failure.error
    error = client_errors.presentable(_hidden(failure.error, job))
    others = _forwarded(job) if job is not None else {}
    return _answer(error, errors.http_status(failure.error), others)


def _attending(gateway: Gateway) -> Middleware:
    """What every request passes on its way to whoever answers it."""

    @web.middleware
    async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "unknown"
        return await gateway.attend(request, path, handler)

    return attend


def _answer_to(error: Exception, request: web.Request) -> web.Response:
    """Every answer is JSON, whatever happened."""
    seen = request[_SEEN]
    match error:
        case web.HTTPRequestEntityTooLarge():
            return _failed(_too_large(request.client_max_size), seen)
        case web.HTTPMethodNotAllowed():
            response = _failed(
                _client_fault(f"{request.method} is not allowed for {request.path}", 405), seen
            )
            response.headers["allow"] = error.headers["allow"]
            return response
        case web.HTTPNotFound():
            return _failed(_client_fault(f"no such route: {request.path}", 404), seen)
        case web.HTTPException():
            return _failed(_client_fault(error.reason, error.status), seen)
    log.error("request %s: internal error", _request_id.get(), exc_info=error)
    return _failed(_INTERNAL, seen)


def _client_fault(message: str, status: int) -> Failure:
    return errors.rejected(message, status, error_type="invalid_request_error")


def _too_large(limit: int) -> Failure:
    return _client_fault(f"request body exceeds max allowed size of {limit} bytes", 413)


def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer the headers that every answer has."""
    response.headers.update(headers.SECURITY)
    response.headers.update(request.get(_CORS) or {})
    response.headers["x-request-id"] = _request_id.get()
    response.headers["server"] = SERVER


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out what clients do: leave, or send what comes back here with excerpts of their headers."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


GATEWAY: Final[web.AppKey[Gateway]] = web.AppKey("gateway", Gateway)


def application(
    config: settings.Config,
    replay: transports.AsyncReplayTransport | None = None,
    sink: transports.Sink | None = None,
    transport: uplinks.TransportName = "aiohttp",
    access: Callable[[str], None] = _access.info,
    tracing: Tracing | None = None,
) -> web.Application:
    """The gateway as an aiohttp application; with ``replay`` it talks to no server.

    With a ``sink``, every exchange with a server is recorded. ``transport``
    is the library that asks the servers. ``access`` gets the lines of the
    access log; unless told otherwise, the logger ``bifrost_vllm.access``.
    """
    gateway = Gateway(config, sink, transport, access, tracing)
    app = web.Application(middlewares=[_attending(gateway)], client_max_size=config.request_limit)
    app[GATEWAY] = gateway
    app.on_shutdown.append(gateway.finish)
    if tracing is not None:
        app.cleanup_ctx.append(tracing.running)
    if replay is None:
        app.cleanup_ctx.append(gateway.connected)
    else:
        gateway.replaying(replay)
    app.router.add_get("/health", gateway.health)
    app.router.add_get("/metrics", gateway.show_metrics)
    app.router.add_get("/openapi.json", gateway.show_interface)
    for route in ROUTES:
        for path in route.paths:
            handler = partial(gateway.serve, route)
            gateway.direct[route.method, path] = partial(gateway.attend, path=path, handler=handler)
            app.router.add_route(route.method, path, handler)
    for path in _everywhere("models"):
        app.router.add_route("GET", path, gateway.list_models)
        app.router.add_route("GET", f"{path}/{{model:.*}}", gateway.retrieve_model)
    for refused in unsupported.ROUTES:
        for path in _everywhere(refused.path):
            app.router.add_route(refused.method, path, partial(gateway.refuse, refused))
    return app


def runner(app: web.Application, grace_s: float = GRACE_S) -> web.AppRunner:
    """What serves the application.

    When it is told to stop, requests that run have ``grace_s`` to end; those that do not end with an error.
    """
    server_log = logging.getLogger("bifrost_vllm.http")
    server_log.addFilter(_is_ours)
    config = app[GATEWAY].config
    app[GATEWAY].grace_s = grace_s
    return Runner(
        app,
        app[GATEWAY].direct,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=config.client_idle_s,
        shutdown_timeout=_LAST_WORDS_S,
        logger=server_log,
        max_line_size=config.header_limit,
        max_field_size=config.header_limit,
    )


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, grace_s: float = GRACE_S
) -> AsyncIterator[int]:
    """The application at work; gives the port, which the system chooses when it is 0.

    On leaving, requests that run have some time to end.
    """
    running = runner(app, grace_s)
    listener: Listener | None = None
    try:
        await running.setup()
        if running.server is None:
            raise RuntimeError("the application did not start")
        listener = await listen(running.server, host, port)
        yield listener.port
    finally:
        if listener is not None:
            listener.close()
        await running.cleanup()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return command_line.main(command_line.Program(application, runner, listening, _reconfigure), argv)


def _reconfigure(app: web.Application, config: settings.Config) -> None:
    app[GATEWAY].configure(config)


if __name__ == "__main__":
    sys.exit(main())
