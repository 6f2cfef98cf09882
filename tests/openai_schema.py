"""Whether a document is what openai-python says it is, to the letter.

Its models take anything when they are built from an answer; here they check
it: every required member, every type without conversion, no null where none is
allowed, and no member that the model does not name but those listed here.
"""

from collections.abc import Iterator
from typing import Any, Final

from openai import BaseModel
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(ResponseStreamEvent)
_RESPONSE: Final = TypeAdapter(Response)

OURS: Final = {
    # Bifrost's, on every answer; OpenAI itself sends the others of the first line.
    ("Response", "extra_fields"), ("Response", "store"), ("Response", "presence_penalty"),
    ("Response", "frequency_penalty"), ("Response", "stop_reason"),
    # The names of one release in which the function's name was required.
    ("ResponseFunctionCallArgumentsDoneEvent", "name"),
    # What the error is to clients of Bifrost, and what makes OpenAI's SDK raise.
    ("ResponseErrorEvent", "error"), ("ResponseErrorEvent", "is_bifrost_error"),
    ("ResponseErrorEvent", "status_code"), ("ResponseErrorEvent", "event_id"),
    # Counts that only Bifrost or vLLM has.
    ("InputTokensDetails", "created_cache_tokens"), ("InputTokensDetails", "cached_read_tokens"),
    ("InputTokensDetails", "cached_write_tokens"),
}  # fmt: skip
"""Members beyond OpenAI's, by the model that they stand in."""


def assert_response(document: object) -> Response:
    """``document`` as a response, which it must be."""
    response = _RESPONSE.validate_python(document, strict=True)
    assert set(_beyond(response)) <= OURS
    return response


def assert_event(document: object) -> Any:
    """``document`` as an event of a streamed response, which it must be."""
    event = _EVENT.validate_python(document, strict=True)
    assert set(_beyond(event)) - {(type(event).__name__, "extra_fields")} <= OURS
    return event


def _beyond(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for entry in value:
            yield from _beyond(entry)
    elif isinstance(value, BaseModel):
        yield from ((type(value).__name__, name) for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from _beyond(getattr(value, name))
