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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler as RequestHandler
from aiohttp.typedefs import Middleware

if TYPE_CHECKING or not __package__:  # in a checkout
    import translate
    import transports
    from routing import (
        attempts,
        auth,
        fallbacks,
        fleet,
        forms,
        headers,
        keys,
        limits,
        listing,
        refusals,
        request_heads,
        secrets,
        settings,
        unsupported,
    )
    from serving import command_line, interface
    from serving import uplink as uplinks
    from serving.admission import Admission, FullError, Turn
    from serving.answers import Answer, EventStream
    from serving.backlog import Backlog
    from serving.exchange import Exchange
    from serving.front import KnownHeads, Runner, Written, visit_of
    from serving.listener import Listener, listen
    from serving.metrics import CONTENT_TYPE, Metrics
    from serving.observation import Observation, Observer, Tracing
    from serving.presentation import encoded, presented
    from serving.relay import Relay
    from serving.server_versions import ServerVersions
    from serving.visits import Direct, Handler, Visit
    from translate import Failure, documents, errors, servers
else:  # installed
    from . import translate, transports
    from .routing import (
        attempts,
        auth,
        fallbacks,
        fleet,
        forms,
        headers,
        keys,
        limits,
        listing,
        refusals,
        request_heads,
        secrets,
        settings,
        unsupported,
    )
    from .serving import command_line, interface
    from .serving import uplink as uplinks
    from .serving.admission import Admission, FullError, Turn
    from .serving.answers import Answer, EventStream
    from .serving.backlog import Backlog
    from .serving.exchange import Exchange
    from .serving.front import KnownHeads, Runner, Written, visit_of
    from .serving.listener import Listener, listen
    from .serving.metrics import CONTENT_TYPE, Metrics
    from .serving.observation import Observation, Observer, Tracing
    from .serving.presentation import encoded, presented
    from .serving.relay import Relay
    from .serving.server_versions import ServerVersions
    from .serving.visits import Direct, Handler, Visit
    from .translate import Failure, documents, errors, servers

log: Final = logging.getLogger("bifrost_vllm.gateway")
BUNDLED: Final = command_line.BUNDLED
RECORDED: Final = command_line.RECORDED
_access: Final = logging.getLogger("bifrost_vllm.access")

FAULT_HEADER: Final = "x-bf-replay-fault"
"""Asks a replay to spoil its answer."""

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_VERSION_S: Final = 5.0  # for a server to say which version it is
_LISTING_S: Final = 30.0  # one server that hangs must not hide the models of all others for long
_GLANCE: Final = 65_536  # bytes of a body that is read although its request is not supported
_BODY_S: Final = 120.0  # a body that takes longer is not waited for
GRACE_S: Final = command_line.GRACE_S
_LAST_WORDS_S: Final = (
    2.0  # for errors to those that ran on; aiohttp waits twice, Kubernetes kills after 30 s
)
_LATER: Final = {"retry-after": str(limits.RETRY_AFTER_S)}
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

_current_task: Final = cast("Callable[[], asyncio.Task[object]]", asyncio.current_task)
_LIST_MODELS: Final = translate.Call("list_models")
_random_bits: Final = random.getrandbits
_RANDOM_BITS: Final = 0xFFFFFFFFFFFF_0FFF_3FFFFFFFFFFFFFFF
_VERSION_4: Final = 0x000000000000_4000_8000000000000000
_MOST_LANES: Final = 1_000
_VISIT: Final[web.RequestKey[Visit]] = web.RequestKey("visit", Visit)


class Manner(NamedTuple):
    """How requests are translated for one key; ``prepared`` where that can be done beforehand."""

    call: translate.Call
    prepared: translate.Prepared | None


class Lane(NamedTuple):
    """What requests for the same model have in common: where they begin, and in which manner for which key.

    Manners are told apart by the type of request, by what it wants back of what
    is sent and received, and by the key.
    """

    opening: attempts.Opening
    manners: dict[tuple[str, bool, bool, str], Manner]


class Inquiry(NamedTuple):
    """What a client asks for, understood and not yet routed.

    ``document`` is what ``flat`` means, unless there is a shorter way than
    through it. There is a ``lane`` unless it is routed by itself.
    """

    request_type: translate.RequestType
    operation: translate.Operation
    flat: translate.Document
    document: translate.Document | None
    provider: str
    model: str
    fallbacks: tuple[fallbacks.Fallback, ...]
    lane: Lane | None

    @property
    def request(self) -> translate.Document:
        """What it means."""
        document = self.operation.from_flat(self.flat) if self.document is None else self.document
        return {} if isinstance(document, Failure) else document


def _log_lines(lines: Sequence[str]) -> None:
    for line in lines:
        _access.info(line)


class Gateway:
    """Serves the routes with one configuration at a time.

    What goes to a server and comes back is told to ``sink``, if there is one.
    """

    def __init__(
        self,
        config: settings.Config,
        sink: transports.Sink | None = None,
        transport: uplinks.TransportName = "aiohttp",
        access: Callable[[Sequence[str]], None] = _log_lines,
        tracing: Tracing | None = None,
        pause_s: float = 0.0,
    ) -> None:
        self._sink = sink
        self._access = access
        self.tracing: Final = tracing
        self._transport: uplinks.TransportName = transport
        self._replay: transports.AsyncReplayTransport | None = None
        self.metrics = Metrics(config.labels)
        self._counts_at_once = self.metrics.shared  # whoever has an answer finds it counted by all processes
        self.over: Final = Backlog(self._settle, pause_s)
        self._fleet = fleet.Fleet()
        self._lanes: dict[tuple[str, str, keys.Pin], Lane] = {}
        self._known_paths: dict[tuple[str, str], str] = {}  # what worked, by operation and server
        self._versions = ServerVersions(self._told_version)
        self._admission = Admission(config.concurrency)
        self._connect: uplinks.Connect
        self.direct: Final[dict[tuple[str, str], Direct]] = {}
        self.known: Final = KnownHeads()
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
        self.known.forget()
        self._lanes.clear()
        self.observer = Observer(config, self.metrics)
        self._admission.concurrency = config.concurrency
        network = config.network
        self._timeouts = transports.Timeouts(
            connect_s=network.connect_timeout_s,
            first_byte_s=network.first_byte_timeout_s or network.request_timeout_s,
            idle_s=network.stream_idle_timeout_s,
            total_s=network.request_timeout_s,
        )
        self._listing_timeouts = replace(self._timeouts, total_s=min(network.request_timeout_s, _LISTING_S))

    def read(self, request: web.BaseRequest) -> request_heads.RequestHead:
        """What the head of a request says."""
        version = request.version
        return request_heads.read(
            self.config,
            request.method,
            request.path,
            (version.major, version.minor),
            tuple(request.headers.items()),
        )

    async def attend(self, visit: Visit, direct: Direct) -> None:
        """Answer a request, and notice it: who is in, what became of it, how long it took.

        Raises ``ConnectionResetError`` when the client left.
        """
        head = visit.head
        request_id = visit.request_id = head.request_id or _new_id()
        method = head.method if head.method in _METHODS else "unknown"
        seen = visit.seen = Observation(
            method,
            direct.path,
            request_id,
            visit.client,
            time.time(),
            time.monotonic(),
            head.pairs,
            visit.size,
        )
        if self.tracing is not None:
            seen.trace = self.tracing.begin(seen)
        observer = self.observer
        observer.began(method)
        reply: Answer | EventStream | None = None
        task = visit.task or _current_task()
        self.running.add(task)
        try:
            try:
                reply = await direct.handler(visit) if head.let_in else self._refusal(visit)
            except asyncio.CancelledError:
                if not self.stopping:
                    raise
                _uncancel()
                reply = _failed(_STOPPING, visit)
            except ConnectionResetError:  # the client left
                raise
            except Exception as error:
                reply = _answer_to(error, visit)
        finally:
            self.running.discard(task)
            self._is_finished(observer, seen, reply)
        if isinstance(reply, Answer):
            reply.write(visit.wire, visit.headers)

    def _is_finished(self, observer: Observer, seen: Observation, reply: Answer | EventStream | None) -> None:
        """Nothing more will be known of a request."""
        seen.took = time.monotonic() - seen.arrived
        if reply is None:
            seen.client_left, seen.status = True, 499
        elif isinstance(reply, Answer):
            seen.status, seen.bytes_out = reply.status, len(reply.body)
        else:
            seen.status = 200
        if seen.trace is not None:
            seen.trace.finished(seen, seen.client_left)
        if self._counts_at_once:
            observer.count(seen)
        self.over.add((observer, seen), seen.error is not None)

    def _settle(self, over: Sequence[tuple[Observer, Observation]]) -> None:
        """Count requests that are over, and log them."""
        lines: list[str] = []
        for observer, seen in over:
            try:
                if not self._counts_at_once:
                    observer.count(seen)
                line = observer.line(seen)
            except Exception:
                log.exception("request %s: it is not counted and logged", seen.request_id)
                continue
            if line is not None:
                lines.append(line)
        if lines:
            self._access(lines)

    def _refusal(self, visit: Visit) -> Answer:
        """The answer to those whom the configuration does not let in."""
        head = visit.head
        if head.misframed is not None:
            return _failed(_client_fault(head.misframed.message, head.misframed.status), visit, closes=True)
        if head.verdict.status is not None:
            return Answer(b"", head.verdict.status, content_type="")
        if head.unauthorized is not None:
            return _failed(_own(head.unauthorized), visit, others={"www-authenticate": auth.CHALLENGE})
        return _failed(_own(refusals.unmet_headers(head.unmet)), visit)

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

    async def close(self, _app: web.Application) -> None:
        """Log what is not logged yet."""
        self.over.close()

    def replaying(self, replay: transports.AsyncReplayTransport) -> None:
        """From now on, requests are answered from recordings."""
        self._replay = replay

    def _way(
        self, endpoint: transports.Endpoint, visit: Visit, request_type: str
    ) -> transports.AsyncTransport | Failure:
        """What goes to a server, or to a recording."""
        way: transports.AsyncTransport
        if FAULT_HEADER in visit.head.values:
            if self._replay is None:
                return errors.invalid("only a replay makes faults: no recordings are replayed", FAULT_HEADER)
            try:
                way = self._replay.with_fault(transports.Fault.parse(visit.head.values[FAULT_HEADER]))
            except ValueError as error:
                return errors.invalid(str(error), FAULT_HEADER)
        else:
            way = self._connect(endpoint) if self._replay is None else self._replay
        return (
            way if self._sink is None else transports.AsyncRecordingTransport(way, self._sink, request_type)
        )

    async def health(self, _visit: Visit) -> Answer:
        """What is known of each key; asks no server."""
        now_s = time.monotonic()
        report = [
            {"name": key.name, "status": "resting" if self._fleet.rests(key, "", now_s) else keys.status(key)}
            for key in self.config.keys
        ]
        return Answer(encoded({"status": "ok", "keys": report}))

    async def show_metrics(self, _visit: Visit) -> Answer:
        """Prometheus' text."""
        self.over.clear()
        return Answer(self.metrics.text(), content_type=CONTENT_TYPE)

    async def show_interface(self, _visit: Visit) -> Answer:
        """What there is to ask for, as OpenAPI."""
        return Answer(encoded(_interface(bool(self.config.auth.api_keys))))

    async def serve(self, route: Route, visit: Visit) -> Answer | EventStream:
        """Answer one request of ``route``."""
        visit.seen.operation = route.operation
        admission, body = self._admission, visit.body
        try:
            if body is not None and not route.form and admission.enters():
                try:
                    inquiry = self._understood(route, visit, self._read_flat(body))
                    return inquiry if isinstance(inquiry, Answer) else await self._answer(inquiry, visit)
                finally:
                    admission.leave()
            with admission.turn() as turn:
                flat = self._at_hand(route, visit, turn)
                if flat is None:
                    flat = await self._asked(route, visit, turn)
                inquiry = self._understood(route, visit, flat)
                if isinstance(inquiry, Answer):
                    return inquiry
                await turn.take()
                return await self._answer(inquiry, visit)
        except FullError:
            return _failed(_own(refusals.overloaded()), visit, others=_LATER)

    def _understood(self, route: Route, visit: Visit, flat: translate.Document | Failure) -> Inquiry | Answer:
        """What is asked for, or the answer where no server is asked."""
        inquiry = flat if isinstance(flat, Failure) else self._inquiry(route, visit, flat)
        if isinstance(inquiry, Failure):
            return _failed(inquiry, visit)
        seen = visit.seen
        seen.operation, seen.model = inquiry.request_type, inquiry.model
        if seen.trace is not None:
            seen.trace.understood(seen.operation, seen.model, inquiry.request.get("params"))
        if visit.head.dry_run:
            seen.trace = None
            return self._explanation(inquiry, visit)
        return inquiry

    def _answer(self, inquiry: Inquiry, visit: Visit) -> Awaitable[Answer | EventStream]:
        """Ask servers."""
        return self._whole(inquiry, visit) if inquiry.operation.fold is None else self._stream(inquiry, visit)

    async def list_models(self, visit: Visit) -> Answer:
        """The models of all keys, or a page of them."""
        found = await self._listing(visit)
        if not isinstance(found, listing.Listing):
            return found
        query = visit.request.query
        page = found.page(query.get("page_size", ""), query.get("page_token", ""))
        # Bifrost's own answer has no "object"; OpenAI's has, and some of its clients look.
        openai = visit.request.path.startswith("/openai/")
        return Answer(encoded({"object": "list", **page} if openai else page))

    async def retrieve_model(self, visit: Visit) -> Answer:
        """The one model that the path names."""
        name = listing.named(visit.request.rel_url.raw_path)
        if name is None:
            return _failed(errors.invalid("invalid model encoding", "model"), visit)
        if not name.strip("/ "):
            return _failed(errors.invalid("model is required", "model"), visit)
        found = await self._listing(visit)
        if not isinstance(found, listing.Listing):
            return found
        provider = visit.request.query.get("provider", "")
        if (model := found.model(name, provider)) is not None:
            return Answer(encoded(model))
        prefixed = bool(provider) or name.startswith(listing.PREFIX)
        if not prefixed and not any(keys.serves(key, name) for key in self.config.keys):
            return _failed(errors.invalid("provider is required", "provider"), visit)
        unknown = errors.unknown_model(name)
        return _failed(errors.stamp(unknown, _LIST_MODELS, "", key_statuses=found.key_statuses), visit)

    async def _listing(self, visit: Visit) -> listing.Listing | Answer:
        """What all keys list, asked at once; the answer to the client when there is no list."""
        seen = visit.seen
        seen.operation = "list_models"
        if seen.trace is not None:
            seen.trace.understood(seen.operation, "", None)
        chosen = keys.choose_all(self.config, visit.request.query.get("provider", ""), visit.head.pin)
        if isinstance(chosen, keys.Refusal):
            return _failed(_own(refusals.unroutable(chosen.message)), visit)
        call = _LIST_MODELS._replace(raw_response=visit.head.raw_response)
        exchanges: list[Exchange] = []
        for key in chosen:
            endpoint = self._endpoint(key, visit)
            if isinstance(endpoint, Failure):
                return _failed(endpoint, visit)
            endpoint = msgspec.structs.replace(endpoint, timeouts=self._listing_timeouts)
            way = self._way(endpoint, visit, "list_models")
            if isinstance(way, Failure):
                return _failed(way, visit)
            exchanges.append(Exchange(None, translate.OPERATIONS["list_models"], {}, call, endpoint, way))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listed(exchange)) for exchange in exchanges]
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
            return _failed(errors.stamp(failure, call, "", key_statuses=statuses), visit, exchanges[-1])
        return listing.merge(answers)

    async def _listed(self, exchange: Exchange) -> translate.Document | Failure:
        """What one server lists, after as many attempts as there is budget and time for."""
        end = asyncio.get_running_loop().time() + (self._listing_timeouts.total_s or _LISTING_S)
        outcome, number = await exchange.converse(), 1
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while isinstance(outcome, Failure):
                    wait_s = attempts.wait_to_repeat_s(
                        self.config.retries,
                        number,
                        exchange.failed(outcome),
                        random.random(),  # noqa: S311
                    )
                    if wait_s is None:
                        break
                    await asyncio.sleep(wait_s)
                    outcome, number = await exchange.converse(), number + 1
        return outcome

    async def refuse(self, route: unsupported.Route, visit: Visit) -> Answer:
        """Say that the operation of ``route`` is not supported; no large body is read for that."""
        request_type = route.request_type
        if route.streamed is not None and await _asks_for_stream(visit.request):
            request_type = route.streamed
        return _failed(errors.unsupported(request_type), visit)

    def _at_hand(self, route: Route, visit: Visit, turn: Turn) -> translate.Document | Failure | None:
        """What the client asks, as one flat object, when all of it is there already."""
        limit = self.config.request_limit
        if visit.size > limit:
            return _too_large(limit)
        if route.form:
            return None
        body = visit.body if visit.body is not None else _whole_body(visit.request)
        if body is None:
            return None
        if not turn.takes():
            turn.fits(len(body))
        return self._read_flat(body)

    def _read_flat(self, body: bytes) -> translate.Document | Failure:
        limit = self.config.request_limit
        return _flat(body) if len(body) <= limit else _too_large(limit)

    async def _asked(self, route: Route, visit: Visit, turn: Turn) -> translate.Document | Failure:
        """The same, when it is there."""
        limit = self.config.request_limit
        try:
            if route.form:
                content_type = visit.head.values.get("content-type", "")
                return await _form(self._pieces(visit, turn), content_type, limit)
            collected = bytearray()
            async for data in self._pieces(visit, turn):
                collected += data
                if len(collected) > limit:
                    return _too_large(limit)
            return _flat(bytes(collected))
        except TimeoutError:
            return _client_fault(f"the request body did not come within {self.body_s:g} s", 408)
        except web.RequestPayloadError as error:
            return errors.rejected("invalid compressed request body", 400, cause=str(error))

    async def _pieces(self, visit: Visit, turn: Turn) -> AsyncIterator[bytes]:
        """A body as it comes; raises ``TimeoutError`` when that takes too long."""
        if visit.body is not None:
            turn.fits(len(visit.body))
            yield visit.body
            return
        content = visit.request.content
        loop = asyncio.get_running_loop()
        end = loop.time() + self.body_s
        while True:
            async with asyncio.timeout_at(end):
                data = await content.readany()
            if not data:
                return
            if not turn.fits(len(data)):
                left_s = end - loop.time()
                await turn.take()
                end = loop.time() + left_s
            yield data

    def _inquiry(self, route: Route, visit: Visit, flat: translate.Document) -> Inquiry | Failure:
        streamed = flat.get("stream")
        if streamed is not None and not isinstance(streamed, bool):
            return errors.invalid("stream must be true or false", "stream")
        request_type = route.streamed if streamed and route.streamed else route.operation
        operation = translate.OPERATIONS[request_type]
        document: translate.Document | None = None
        if operation.of_flat is not None:
            named = translate.named_model(flat)
            if isinstance(named, Failure):
                return named
            provider, model = named
        else:
            made = operation.from_flat(flat)
            if isinstance(made, Failure):
                return made
            document, provider, model = made, str(made.get("provider", "")), str(made.get("model", ""))
        head, chain = visit.head, (document or flat).get("fallbacks")
        others = fallbacks.read(chain, self.config).entries if chain is not None else ()
        lane = None if others or head.session else self._lane(provider, model, head.pin)
        return Inquiry(request_type, operation, flat, document, provider, model, others, lane)

    def _lane(self, provider: str, model: str, pin: keys.Pin) -> Lane:
        alike = provider, model, pin
        lane = self._lanes.get(alike)
        if lane is None:
            lane = Lane(attempts.opening(self.config, attempts.Ask(provider, model, pin)), {})
            if len(self._lanes) < _MOST_LANES:  # clients make up models
                self._lanes[alike] = lane
        return lane

    def _exchange(self, inquiry: Inquiry, step: attempts.Try, visit: Visit) -> Exchange | Failure:
        endpoint = self._endpoint(step.key, visit, step.model)
        if isinstance(endpoint, Failure):
            return endpoint
        way = self._way(endpoint, visit, inquiry.request_type)
        if isinstance(way, Failure):
            return way
        call, prepared = self._manner(inquiry, step, visit.head)
        if prepared is not None:
            return Exchange(step, inquiry.operation, inquiry.flat, call, endpoint, way, prepared)
        document = step.applied(inquiry.request)
        return Exchange(step, inquiry.operation, document, call, endpoint, way)

    def _manner(self, inquiry: Inquiry, step: attempts.Try, head: request_heads.RequestHead) -> Manner:
        request_type, lane, key = inquiry.request_type, inquiry.lane, step.key
        server = self._server(key)
        if lane is None or step.course is not lane.opening.course or step.reason:
            return Manner(self._new_call(request_type, step, head, server), None)
        alike = request_type, head.raw_request, head.raw_response, key.id
        manner = lane.manners.get(alike)
        if manner is None or manner.call.server is not server:
            call = self._new_call(request_type, step, head, server)
            prepared = translate.prepared(inquiry.operation, call, step.model)
            manner = lane.manners[alike] = Manner(call, prepared)
        return manner

    def _new_call(
        self,
        request_type: translate.RequestType,
        step: attempts.Try,
        head: request_heads.RequestHead,
        server: servers.Server,
    ) -> translate.Call:
        return translate.Call(
            request_type,
            raw_request=head.raw_request,
            raw_response=head.raw_response,
            original_model=step.original_model,
            routing_info=step.routing_info,
            structured_outputs=step.key.structured_outputs,
            known_path=self._known_paths.get((request_type, step.key.url)),
            verbatim=True,
            server=server,
        )

    def _server(self, key: settings.Key) -> servers.Server:
        """What is known of the server of ``key``; no request waits for more to be known."""
        version = key.server_version
        if not version:
            return servers.UNKNOWN
        if version == settings.LEARNT_VERSION:
            if self._replay is not None:
                return servers.UNKNOWN
            limits_s = transports.Timeouts(_VERSION_S, _VERSION_S, _VERSION_S, _VERSION_S)
            version = self._versions.of(transports.Endpoint(key.url, key.value, timeouts=limits_s))
        return _server_of(version)

    async def _told_version(self, endpoint: transports.Endpoint) -> str:
        reply = await self._connect(endpoint).send(translate.Plan("GET", servers.PATH))
        return servers.told(reply.body) if reply.status == 200 and reply.cut is None else ""

    def _endpoint(self, key: settings.Key, visit: Visit, model: str = "") -> transports.Endpoint | Failure:
        upstream = visit.head.upstream(visit.request_id, bool(key.value))
        if isinstance(upstream, headers.Unsendable):
            return errors.invalid(f"the value of the header {upstream.name} cannot be sent", upstream.name)
        if (trace := visit.seen.trace) is not None:
            upstream |= trace.asks(key, model)
        return transports.Endpoint(key.url, key.value, upstream, self._timeouts)

    def _explanation(self, inquiry: Inquiry, visit: Visit) -> Answer:
        """What would be sent to whom first; nothing is."""
        step = self._first(inquiry, visit)
        if isinstance(step, attempts.GiveUp):
            return _failed(_given_up(step, inquiry), visit)
        exchange = self._exchange(inquiry, step, visit)
        if isinstance(exchange, Failure):
            return _failed(exchange, visit)
        call = exchange.call
        explained = translate.explained(inquiry.operation, step.applied(inquiry.request), call)
        if isinstance(explained, Failure):
            return _failed(explained, visit)
        return Answer(encoded({**explained, "routing_info": call.routing_info}))

    async def _whole(self, inquiry: Inquiry, visit: Visit) -> Answer:
        """Answer at once what is not streamed, after as many attempts as it takes."""
        seen = visit.seen
        tried: list[Exchange] = []
        step = self._first(inquiry, visit)
        while isinstance(step, attempts.Try):
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
            exchange = self._exchange(inquiry, step, visit)
            if isinstance(exchange, Failure):
                return _failed(exchange, visit)
            counts = self._is_tried(step, seen)
            began = time.monotonic()
            try:
                outcome = await exchange.converse()
                if not isinstance(outcome, Failure):
                    self._succeeded(step, exchange, seen)
                    seen.used(outcome)
                    return Answer(encoded(outcome), 200, exchange.forwarded)
            finally:
                seen.upstream.append((step, time.monotonic() - began, seen.served is step))
                if counts:
                    self._fleet = self._fleet.ended(step.key)
            tried.append(exchange)
            step = self._after(step, outcome, exchange, seen)
        return _failed(_given_up(step, inquiry), visit, _exchange_of(step, tried))

    async def _stream(self, inquiry: Inquiry, visit: Visit) -> Answer | EventStream:
        """Relay a stream, after as many attempts as it takes to get its first event."""
        seen = visit.seen
        seen.stream = True
        tried: list[Exchange] = []
        relay = Relay(visit, self.config.sse_keep_alive_s)
        stream = relay.stream
        step = self._first(inquiry, visit)
        try:
            async with relay.kept_alive():
                while isinstance(step, attempts.Try):
                    if step.wait_s:
                        await asyncio.sleep(step.wait_s)
                    exchange = self._exchange(inquiry, step, visit)
                    if isinstance(exchange, Failure):
                        return await self._broken_off(exchange, relay, visit)
                    tried.append(exchange)
                    counts = self._is_tried(step, seen)
                    began = time.monotonic()
                    try:
                        failure = await self._relayed(step, exchange, relay, seen)
                    finally:
                        seen.upstream.append((step, time.monotonic() - began, seen.served is step))
                        if counts:
                            self._fleet = self._fleet.ended(step.key)
                    if failure is None:
                        return stream
                    step = self._after(step, failure, exchange, seen)
                given_up = _given_up(step, inquiry)
                return await self._broken_off(given_up, relay, visit, _exchange_of(step, tried))
        except ConnectionResetError:  # the client left
            raise
        except asyncio.CancelledError:  # so it did, or there is no more time
            if not (self.stopping and stream.begun):
                raise
            _uncancel()
            return await self._broken_off(_STOPPING, relay, visit)
        except Exception:
            if not stream.begun:
                raise
            log.exception("request %s: internal error in a stream", visit.request_id)
            visit.wire.keeps = stream.ended and visit.wire.keeps
            return await self._broken_off(_INTERNAL, relay, visit)

    async def _broken_off(
        self, failure: Failure, relay: Relay, visit: Visit, exchange: Exchange | None = None
    ) -> Answer | EventStream:
        """The answer when no attempt came to an event, or the end of a stream that has begun."""
        failed = _failed(failure, visit, exchange)
        if not relay.stream.begun:
            return failed
        await relay.end(failed.body)
        return relay.stream

    async def _relayed(
        self, step: attempts.Try, exchange: Exchange, relay: Relay, seen: Observation
    ) -> Failure | None:
        """Relay the events of one attempt; a failure before the first one is given back."""
        begun = exchange.begin()
        if isinstance(begun, Failure):
            return begun
        plan, fold_from = begun
        limit = self.config.network.first_event_timeout_s or None
        deadline = asyncio.timeout(limit)
        try:
            async with deadline, exchange.way.stream(plan) as stream:
                exchange.reply = stream.head
                batches = transports.batches_async(stream.pieces, fold_from(stream.head))
                batch = await anext(batches)
                deadline.reschedule(None)
                if isinstance(batch[0], Failure):
                    return batch[0]
                self._succeeded(step, exchange, seen)
                relay.begin(exchange.forwarded)
                api_key = exchange.endpoint.api_key
                relay.write(batch, api_key)
                await relay.drain()
                async for batch in batches:
                    relay.write(batch, api_key)
                    if relay.is_full:
                        await relay.drain()
        except TimeoutError:
            if limit is None or not deadline.expired():
                raise
            return errors.stamp(_own(refusals.first_event_late(limit)), exchange.call, step.model)
        return None

    def _first(self, inquiry: Inquiry, visit: Visit) -> attempts.Try | attempts.GiveUp:
        """What to try first."""
        lane = inquiry.lane
        if lane is not None:
            return lane.opening.only or attempts.begin(lane.opening, self._fleet, _moment())
        head = visit.head
        ask = attempts.Ask(inquiry.provider, inquiry.model, head.pin, head.session, inquiry.fallbacks)
        return attempts.first(self.config, ask, self._fleet, _moment())

    def _is_tried(self, step: attempts.Try, seen: Observation) -> bool:
        """A request goes to a server; gives whether ``_fleet`` is to be told of its end."""
        seen.tried = step
        if counts := step.counts:
            self._fleet = self._fleet.started(step.key, step.shares)
        return counts

    def _succeeded(self, step: attempts.Try, exchange: Exchange, seen: Observation) -> None:
        if self._fleet.resting:
            self._fleet = self._fleet.answered(step.key, step.asked_model)
        seen.served = step
        has_other_paths = exchange.operation.follow_up is not translate.never
        if has_other_paths and exchange.path != exchange.call.known_path:
            self._known_paths[exchange.call.request_type, exchange.endpoint.url] = exchange.path
            self._lanes.clear()

    def _after(
        self, step: attempts.Try, failure: Failure, exchange: Exchange, seen: Observation
    ) -> attempts.Try | attempts.GiveUp:
        failed = exchange.failed(failure)
        moment = _moment()
        self._fleet = self._fleet.failed(
            step.key, step.asked_model, failed, self.config.selection, moment.now_s
        )
        if seen.trace is not None:
            seen.trace.answered(step.key, failure.error)
        following = attempts.after(step, failed, self._fleet, moment)
        seen.trail = following.trail
        return following


def _new_id() -> str:
    """A random UUID (RFC 9562, 5.4)."""
    digits = "%032x" % (_random_bits(128) & _RANDOM_BITS | _VERSION_4)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=64)
def _server_of(version: str) -> servers.Server:
    return servers.server(version)


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
    return errors.stamp(failure, translate.Call(inquiry.request_type), inquiry.model)


def _exchange_of(given_up: attempts.GiveUp, tried: Sequence[Exchange]) -> Exchange | None:
    return next((exchange for exchange in tried if exchange.step is given_up.tried), None)


async def _asks_for_stream(request: web.Request) -> bool:
    """Whether a small JSON body asks for a stream; any other body is left where it is."""
    if "content-encoding" in request.headers or not 0 < (request.content_length or 0) <= _GLANCE:
        return False
    flat = _flat(await request.read())
    return not isinstance(flat, Failure) and (
        flat.get("stream") is True or flat.get("stream_format") == "sse"
    )


def _whole_body(request: web.Request) -> bytes | None:
    """The body, when it came with the head and as it is."""
    content = request.content
    if not content.is_eof() or "content-encoding" in request.headers:
        return None
    return content.read_nowait()


async def _form(pieces: AsyncIterator[bytes], content_type: str, limit: int) -> translate.Document | Failure:
    """A form with a file, read as it comes, so that the file is never held twice."""
    boundary = forms.boundary(content_type)
    if isinstance(boundary, forms.Unreadable):
        return _no_form(boundary)
    reader, size = forms.Reader(boundary), 0
    async for data in pieces:
        size += len(data)
        if size > limit:
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


def _failed(
    failure: Failure,
    visit: Visit,
    exchange: Exchange | None = None,
    others: Mapping[str, str] | None = None,
    closes: bool = False,
) -> Answer:
    """The answer that says what went wrong, which is then known of the request, too."""
    visit.seen.error = failure.error
    error = presented(failure.error, "" if exchange is None else exchange.endpoint.api_key)
    own = {**({} if exchange is None else exchange.forwarded), **(others or {})}
    return Answer(encoded(error), errors.http_status(failure.error), own, closes=closes)


def _attending(gateway: Gateway) -> Middleware:
    """What every request passes on its way to whoever answers it."""

    @web.middleware
    async def attend(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "unknown"
        visit = request[_VISIT] = visit_of(request, gateway.read(request))
        await gateway.attend(visit, Direct(path, lambda _visit: cast("Awaitable[Answer]", handler(request))))
        return Written(visit.wire)

    return attend


def _routed(handler: Handler) -> RequestHandler:
    """A handler as aiohttp calls it, within ``_attending``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return cast("web.StreamResponse", await handler(request[_VISIT]))

    return handle


def _answer_to(error: Exception, visit: Visit) -> Answer:
    """Every answer is JSON, whatever happened."""
    match error:
        case web.HTTPRequestEntityTooLarge():
            return _failed(_too_large(visit.request.client_max_size), visit)
        case web.HTTPMethodNotAllowed():
            fault = _client_fault(f"{visit.head.method} is not allowed for {visit.request.path}", 405)
            return _failed(fault, visit, others={"allow": error.headers["allow"]})
        case web.HTTPNotFound():
            return _failed(_client_fault(f"no such route: {visit.request.path}", 404), visit)
        case web.HTTPException():
            return _failed(_client_fault(error.reason, error.status), visit)
    log.error("request %s: internal error", visit.request_id, exc_info=error)
    return _failed(_INTERNAL, visit)


def _client_fault(message: str, status: int) -> Failure:
    return errors.rejected(message, status, error_type="invalid_request_error")


def _too_large(limit: int) -> Failure:
    return _client_fault(f"request body exceeds max allowed size of {limit} bytes", 413)


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
    access: Callable[[Sequence[str]], None] = _log_lines,
    tracing: Tracing | None = None,
    pause_s: float = 0.0,
) -> web.Application:
    """The gateway as an aiohttp application; with ``replay`` it talks to no server.

    With a ``sink``, every exchange with a server is recorded. ``transport``
    is the library that asks the servers. ``access`` gets the lines of the
    access log; unless told otherwise, the logger ``bifrost_vllm.access``. With
    ``pause_s``, a line may come so much later, together with others, which
    takes less; what ``/metrics`` answers is always up to date.
    """
    gateway = Gateway(config, sink, transport, access, tracing, pause_s)
    app = web.Application(middlewares=[_attending(gateway)], client_max_size=config.request_limit)
    app[GATEWAY] = gateway
    app.on_shutdown.append(gateway.finish)
    app.on_cleanup.append(gateway.close)
    if tracing is not None:
        app.cleanup_ctx.append(tracing.running)
    if replay is None:
        app.cleanup_ctx.append(gateway.connected)
    else:
        gateway.replaying(replay)
    app.router.add_get("/health", _routed(gateway.health))
    app.router.add_get("/metrics", _routed(gateway.show_metrics))
    app.router.add_get("/openapi.json", _routed(gateway.show_interface))
    for route in ROUTES:
        for path in route.paths:
            handler = partial(gateway.serve, route)
            gateway.direct[route.method, path] = Direct(path, handler)
            app.router.add_route(route.method, path, _routed(handler))
    for path in _everywhere("models"):
        app.router.add_route("GET", path, _routed(gateway.list_models))
        app.router.add_route("GET", f"{path}/{{model:.*}}", _routed(gateway.retrieve_model))
    for refused in unsupported.ROUTES:
        for path in _everywhere(refused.path):
            app.router.add_route(refused.method, path, _routed(partial(gateway.refuse, refused)))
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
        app[GATEWAY],
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
