"""Every way to fail, as a ``Failure`` that holds one BifrostError document.

Servers spell errors in many ways: vLLM itself changed its envelope in 0.10
(flat to nested), its middleware answers ``{"error": "Unauthorized"}``, FastAPI
``{"detail": ...}``, proxies HTML. One reader serves them all, for error
statuses, for errors inside HTTP 200 and for error frames inside streams.
Nothing that the body said is thrown away, and secrets that it echoed are
blotted out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from . import documents
from .envelope import PROVIDER, model_names, routing_info
from .plan import Call, CutLike, Failure, ReplyLike
from .types import BifrostError, Document, ErrorField

LONGEST_TEXT: Final = 16_384
"""Characters of an upstream text that an error quotes."""

TRUNCATED: Final = (
    "provider closed the stream before sending a completion marker (upstream connection ended mid-stream)"
)

_SECRETS: Final = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)(?=[^\s\"',;]*[0-9_=\-]|[^\s\"',;]{16})[^\s\"',;]+"
    r"|(?P<key>\b(?:sk|hf)[-_])[A-Za-z0-9_\-]{8,}"
    r"|(?P<login>://)[^\s/@\"']+(?=@)"
    r"|(?P<host>https?://)(?:localhost|\d+(?:\.\d+){3}|\[[0-9a-f:]+\])(?::\d+)?",
    re.IGNORECASE,
)
_TOO_LONG: Final = re.compile(
    r"maximum context length|context length is only|maximum model length|context window", re.IGNORECASE
)
_HTML: Final = re.compile(r"<(?:!doctype\s+html|html|head|title|body|h1)\b", re.IGNORECASE)
_SERVER_FAULTS: Final = (500, 502, 503, 504)
_EMPTY_BODY: Final[Mapping[int, str]] = {
    401: "authentication failed: unauthorized (401) - check your API key",
    403: "access forbidden (403) - your API key may not have permission for this operation",
    404: "resource not found (404)",
    429: "rate limit exceeded (429)",
} | {status: f"provider server error ({status})" for status in _SERVER_FAULTS}


def rejected(
    message: str,
    status: int | None,
    *,
    error_type: str | None = None,
    code: str | None = None,
    param: object = None,
    cause: str | None = None,
    is_bifrost_error: bool = False,
) -> Failure:
    """A failure put together from its parts; ``None`` leaves a part out."""
    field: ErrorField = {"message": _quoted(message)}
    if error_type is not None:
        field["type"] = error_type
    if code is not None:
        field["code"] = code
    if param is not None:
        field["param"] = param
    if cause is not None:
        field["error"] = _quoted(cause)
    return _failure(field, status, is_bifrost_error)


def _failure(field: ErrorField, status: int | None, is_bifrost_error: bool = False) -> Failure:
    error: BifrostError = {"is_bifrost_error": is_bifrost_error, "error": field}
    if status is not None:
        error["status_code"] = status
    return Failure(error)


def invalid(message: str, param: str | None = None) -> Failure:
    """The caller's fault, found before anything was sent: 400."""
    return rejected(message, 400, error_type="invalid_request_error", param=param)


def missing_url() -> Failure:
    """A key without ``vllm_key_config.url``."""
    return rejected("no base URL configured: set vllm_key_config.url on the key", None, is_bifrost_error=True)


def unknown_model(model: str) -> Failure:
    """A model that none of the servers lists; worded as vLLM and coded as OpenAI does."""
    return rejected(
        f"The model `{model}` does not exist.",
        404,
        error_type="invalid_request_error",
        code="model_not_found",
        param="model",
    )


def unsupported(request_type: str) -> Failure:
    """An operation that vLLM does not serve: Bifrost's UnsupportedOperationError.

    ``registry.UNSUPPORTED`` lists them; nothing needs to be sent to know it.
    """
    failure = rejected(
        f"{request_type} is not supported by vllm provider", None, code="unsupported_operation"
    )
    failure.error["extra_fields"] = {"request_type": request_type, "provider": PROVIDER}
    return failure


def unreadable(reason: str) -> Failure:
    """HTTP 200 with a body that is not what was asked for."""
    return rejected(
        "failed to unmarshal response from provider API", None, cause=reason, is_bifrost_error=True
    )


def truncated(detail: str = "") -> Failure:
    """A stream that ended without a finish reason and without ``[DONE]``."""
    return rejected(
        f"{TRUNCATED}: {detail}" if detail else TRUNCATED,
        502,
        error_type="provider_connection_failed",
        code="stream_truncated",
    )


def empty_stream() -> Failure:
    """A stream that said ``[DONE]`` and nothing else."""
    return rejected("provider ended the stream without sending any event", 502, code="empty_stream")


def event_too_large() -> Failure:
    """A stream with an event over the size limit."""
    return rejected("provider sent an event that is larger than the limit", 502, code="event_too_large")


def response_too_large() -> Failure:
    """A stream that says more than one event at its end can repeat."""
    return rejected("provider sent more than a response may hold", 502, code="response_too_large")


def from_cut(cut: CutLike) -> Failure:
    """A broken exchange: 502, 504 when time ran out, 499 when the caller left."""
    match cut.kind:
        case "timeout":
            return rejected(
                f"request timed out: {cut.detail}",
                504,
                error_type="request_timed_out",
                is_bifrost_error=True,
            )
        case "cancelled":
            return rejected(
                f"request cancelled: {cut.detail}",
                499,
                error_type="request_cancelled",
                is_bifrost_error=True,
            )
        case "connect":
            message = (
                "network error occurred while connecting to provider API "
                "(DNS lookup, connection refused, etc.)"
            )
        case _:
            message = "failed to execute HTTP request to provider API"
    return rejected(f"{message}: {cut.detail}", 502, error_type="provider_connection_failed")


def from_reply(reply: ReplyLike) -> Failure:
    """A reply whose status is not 200, whatever its body."""
    status = reply.status if 400 <= reply.status <= 599 else 502
    text = reply.body.decode(errors="replace").strip()
    if not text:
        message = _EMPTY_BODY.get(
            reply.status, f"empty response received from provider (HTTP {reply.status})"
        )
        return rejected(message, status)
    value = documents.decode(reply.body)
    if isinstance(value, Mapping):
        field = _read(value) or {"message": ""}
        if not field["message"].strip():
            field["message"] = f"provider API error (status {reply.status})"
            field.setdefault("error", _quoted(text))
        return _reported(field, status, value)
    if isinstance(value, documents.Malformed) and is_html(text, reply.headers.get("content-type", "")):
        return rejected("HTML response received from provider", status, cause=text)
    return rejected(f"provider API error: {text}", status)


def from_document(document: Document, expected: str, default_status: int = 502) -> Failure | None:
    """The error that a 200 body or a stream frame holds, or ``None``.

    ``expected`` is the member that a success always has: beside it, only an
    explicit error counts. The status is the body's own ``status_code``, else a
    numeric ``error.code`` from 400 to 599, else ``default_status``.
    """
    succeeded = document.get(expected) is not None
    if succeeded and "error" not in document and document.get("object") != "error":
        return None
    field = _read(document, succeeded)
    if field is None:
        if succeeded or "error" not in document:
            return None
        field = ErrorField(message="")
    if not field["message"].strip():
        field["message"] = "provider reported an error without a message"
        field.setdefault("error", _quoted(_text(document)))
    return _reported(field, _inner_status(document, field, default_status), document)


def non_sse(body: bytes, content_type: str) -> Failure:
    """HTTP 200 on a stream whose body is neither events nor an error."""
    text = body.decode(errors="replace").strip()
    content_type = content_type.lower()
    if not text:
        message = f'provider returned an empty body for streaming request (content-type "{content_type}")'
    else:
        message = (
            "provider returned non-SSE response for streaming request "
            f'(content-type "{content_type}"): {text[:512]}'
        )
    return rejected(message, 502)


def stamp(failure: Failure, call: Call, model: str, **more: object) -> Failure:
    """``failure`` with ``extra_fields`` that say which request it answers."""
    fields: dict[str, object] = {
        "routing_info": routing_info(call, model),
        "provider": PROVIDER,
        **model_names(call, model),
        "request_type": call.request_type,
        **more,
        **failure.error.get("extra_fields", {}),
    }
    stamped = failure.error.copy()
    stamped["extra_fields"] = fields
    return Failure(stamped)


def http_status(error: BifrostError) -> int:
    """The status with which a gateway answers: always 400 to 599."""
    status = error.get("status_code")
    if status is None:
        return 500 if error["is_bifrost_error"] else 400
    return status if 400 <= status <= 599 else 502


def redact(text: str) -> str:
    """``text`` without bearer tokens, API keys, and logins and private addresses inside URLs."""
    return _SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}***", text)


def _quoted(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more characters)"
    return redact(text)


def _read(document: Document, beside_a_success: bool = False) -> ErrorField | None:
    inner = document.get("error")
    if isinstance(inner, Mapping) and inner:
        return _members(inner)
    if isinstance(inner, str) and inner.strip():
        told = document.get("message")
        if isinstance(told, str) and told.strip():  # Spring's form
            return {"message": _quoted(told), "error": _quoted(inner)}
        return {"message": _quoted(inner)}
    if document.get("object") == "error":
        return _members(document)
    if beside_a_success:
        return None
    if inner:
        return {"message": _quoted(_text(inner))}
    if "detail" in document:
        return _detail(document["detail"])
    if isinstance(document.get("message"), str):
        return _members(document)
    return None


def _members(source: Document) -> ErrorField:
    field: ErrorField = {"message": _quoted(_text(source.get("message")))}
    for name in ("type", "code", "event_id"):
        if (value := source.get(name)) is not None:
            field[name] = _code(value) if name == "code" else _quoted(_text(value))
    if (param := source.get("param")) is not None:
        field["param"] = _quoted(param) if isinstance(param, str) else param
    if (cause := source.get("error")) is not None and not isinstance(cause, Mapping):
        field["error"] = _quoted(_text(cause))
    return field


def _detail(detail: object) -> ErrorField | None:
    """FastAPI's two forms: a text, or a list of pydantic's ``{loc, msg, type}``."""
    if not isinstance(detail, Sequence) or isinstance(detail, str):
        return {"message": _quoted(_text(detail))} if detail else None
    messages: list[str] = []
    params: list[str] = []
    for entry in detail:
        if isinstance(entry, Mapping):
            place = _location(entry.get("loc"))
            params.append(place)
            told = _text(entry.get("msg"))
            messages.append(f"{place}: {told}" if place else told)
        else:
            messages.append(_text(entry))
    field: ErrorField = {"message": _quoted("; ".join(messages)), "type": "invalid_request_error"}
    if param := next(filter(None, params), ""):
        field["param"] = param
    field["error"] = _quoted(_text(detail))
    return field


def _location(loc: object) -> str:
    if not isinstance(loc, Sequence) or isinstance(loc, str):
        return ""
    steps = loc[1:] if loc[:1] == ["body"] else loc
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{_text(step)}" for step in steps)
    return path.removeprefix(".")


def _reported(field: ErrorField, status: int, document: Document) -> Failure:
    if status in {400, 413, 422} and field.get("code", "0").isdigit() and _TOO_LONG.search(field["message"]):
        field["code"] = "context_length_exceeded"
    failure = _failure(field, status)
    if (event_id := document.get("event_id")) is not None:
        failure.error["event_id"] = _quoted(_text(event_id))
    return failure


def _inner_status(document: Document, field: ErrorField, default_status: int) -> int:
    for candidate in (document.get("status_code"), field.get("code")):
        status = candidate
        if isinstance(status, str) and status.isascii() and status.isdigit() and len(status) == 3:
            status = int(status)
        number = documents.as_integer(status)
        if number is not None and 400 <= number <= 599:
            return number
    return default_status


def _code(value: object) -> str:
    number = documents.as_integer(value)
    return _text(value) if number is None else _text(number)


def _text(value: object) -> str:
    """``value`` as text: text as it is, anything else as JSON, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    encoded = documents.encode(value)
    return encoded.decode(errors="replace") if isinstance(encoded, bytes) else encoded.reason


def is_html(text: str, content_type: str) -> bool:
    """Whether a body that is not JSON is a web page."""
    return "text/html" in content_type.lower() or (len(text) >= 20 and bool(_HTML.search(text)))
