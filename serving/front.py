"""aiohttp's server, with its own errors in our words: JSON, and no bytes of the client's."""

import json
import uuid
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .layers import headers

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
                "server": "bifrost-vllm",
                "x-request-id": request_id,
            },
        )
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
