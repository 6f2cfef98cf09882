"""aiohttp's server, with its own errors in our words: JSON, and no bytes of the client's."""

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from .answers import SERVER
from .layers import headers

BACKLOG: Final = 1024
"""How many clients may wait to be let in."""

_MALFORMED: Final = "malformed HTTP request"
_INTERNAL: Final = "internal server error"


class _Connection(RequestHandler):
    """One connection of a client."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be read; ``message`` has excerpts of it and is left out."""
        request_id = str(uuid.uuid4())  # the client's own, if it sent one, was not read
        self.log_exception(
            "request %s: error handling a request from %s", request_id, request.remote, exc_info=exc
        )
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        error = (
            {"message": _MALFORMED, "type": "invalid_request_error"}
            if status < 500
            else {"message": _INTERNAL}
        )
        document = {"is_bifrost_error": status >= 500, "status_code": status, "error": error}
        response = web.Response(
            body=json.dumps(document, separators=(",", ":")).encode(),
            status=status,
            headers={
                **headers.SECURITY,
                "content-type": "application/json",
                "server": SERVER,
                "x-request-id": request_id,
            },
        )
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application.

    Requests whose method and path are in ``direct`` go there without a look at
    the application's routes and middlewares, which take as long as all that
    ``direct`` has to decide.
    """

    def __init__(
        self, app: web.Application, direct: Mapping[tuple[str, str], Handler], **settings: Any
    ) -> None:
        super().__init__(app, **settings)
        self._direct = direct

    def _reg_site(self, site: web.BaseSite) -> None:
        """gunicorn's worker listens with room for 128, and clients beyond that wait for seconds."""
        site._backlog = max(site._backlog, BACKLOG)
        super()._reg_site(site)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        direct, others = self._direct, made.request_handler

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            handler = direct.get((request.method, request.rel_url.raw_path))
            if handler is None or "expect" in request.headers:
                return await others(request)
            return await handler(cast("web.Request", request))

        return _Server(
            handle,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
