"""Embeddings: ``POST /v1/embeddings``.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#embeddings-api
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents, errors, parameters, vectors
from .conversation import Once
from .exchange import Built, answered, ledger, opened
from .flat import request_model, taken_apart
from .plan import Call, Failure, Note, Plan, ReplyLike
from .replies import document_of
from .types import Document

PATH: Final = "/v1/embeddings"

_FLOAT_BYTES: Final = 4


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that an OpenAI-style body means."""
    return taken_apart(flat, {"input": "input"})


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    return ONCE.plan(_built(request, call), request, call)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request."""
    return ledger(_built(request, call))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The vectors in Bifrost's form, in the order of the inputs.

    A vector is a list of numbers or, as the client asked, base64 of
    little-endian float32. With ``call.verbatim`` lists of numbers stay the
    bytes in which they came.
    """
    return _parsed(_built(request, call), request, reply, spent_ms, call)


def _parsed(
    built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call
) -> Document | Failure:
    notes = ledger(built)
    wanted = "" if isinstance(built, Failure) else _format(built.body)
    said = _ordinary(reply, wanted) if call.verbatim else None
    if said is None:
        outcome = _read(request, reply, wanted, call, notes)
    else:
        outcome = _answer(request, said, said["data"], notes)
    return answered(outcome, built, notes, request_model(request), reply, spent_ms, call)


def _built(request: Document, call: Call) -> Built | Failure:
    notes: list[Note] = []
    head = opened(request, notes)
    if isinstance(head, Failure):
        return head
    model, params = head
    given = parameters.merged(params, notes)
    if isinstance(given, Failure):
        return given
    fields = parameters.kept(given, ("model", "input"), notes)
    encoding = fields.get("encoding_format")
    if encoding in ("bytes", "bytes_only"):
        return errors.invalid(f"encoding_format {encoding} cannot be answered in JSON", "encoding_format")
    source = request.get("input")
    if source is None or source in ([], ()):
        if "messages" in fields:  # vLLM embeds conversations, too
            if "input" in request:
                notes.append(Note("input", "dropped", "empty"))
            return Built(PATH, {"model": model, **fields}, notes)
        return errors.invalid("input is required for embeddings", "input")
    if not isinstance(source, str) and documents.as_array(source) is None:
        return errors.invalid("input must be text or an array", "input")
    return Built(PATH, {"model": model, "input": source, **fields}, notes)


ONCE: Final = Once(_built, _parsed)


def _format(body: Document) -> str:
    """The form of the vectors that the client waits for; empty when it is not known what that is."""
    if body.get("embed_dtype", "float32") != "float32" or body.get("endianness", "little") == "big":
        return ""
    encoding = body.get("encoding_format", "float")
    return encoding if encoding in ("float", "base64") else ""


def _read(
    request: Document, reply: ReplyLike, wanted: str, call: Call, notes: list[Note]
) -> dict[str, object] | Failure:
    document = _untouched(reply) if call.verbatim else None
    if document is None or errors.from_document(document, "data") is not None:
        read = document_of(reply, "data")
        if isinstance(read, Failure):
            return read
        document = read
    rows = documents.as_array(document.get("data"))
    if rows is None:
        return errors.unreadable("data is missing")
    said: list[dict[str, object]] = []
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.get("embedding") is None:
            return errors.unreadable(f"data[{place}].embedding is missing")
        said.append(_vector(row, place, wanted, notes))
    return _answer(request, document, _in_order(said), notes)


def _answer(request: Document, document: Document, data: object, notes: list[Note]) -> dict[str, object]:
    """The answer with ``data`` in place of that of the ``document``."""
    answer: dict[str, object] = {"object": "list", "data": data, "model": request_model(request)}
    answer |= choices.plain_fields(document, ("data", "usage"))
    if (usage := choices.usage(document.get("usage"), notes)) is not None:
        answer["usage"] = usage
    return answer


def _ordinary(reply: ReplyLike, wanted: str) -> Document | None:
    """What vLLM usually says, in the order of the inputs; ``None`` when it takes a closer look."""
    if reply.cut is not None or reply.status != 200:
        return None
    document = vectors.read(reply.body, wanted == "base64")
    return document if document is None or errors.from_document(document, "data") is None else None


def _untouched(reply: ReplyLike) -> Document | None:
    """A healthy reply with its vectors as they came; ``None`` when it takes a closer look."""
    if reply.cut is not None or reply.status != 200:
        return None
    return documents.decode_rows(reply.body, "embedding")


def _in_order(said: list[dict[str, object]]) -> list[dict[str, object]]:
    numbers = [documents.as_integer(vector["index"]) for vector in said]
    if any(number is None for number in numbers):
        return said
    return [said[place] for place in sorted(range(len(said)), key=lambda place: numbers[place] or 0)]


def _vector(row: Document, place: int, wanted: str, notes: list[Note]) -> dict[str, object]:
    embedding = row["embedding"]
    is_text = isinstance(embedding, str)
    if wanted and is_text != (wanted == "base64"):
        converted = _from_base64(embedding) if isinstance(embedding, str) else _to_base64(embedding)
        if converted is None:
            notes.append(Note("data[].embedding", "repaired", f"left as it came: it cannot become {wanted}"))
        else:
            notes.append(Note("data[].embedding", "converted", f"the server did not answer in {wanted}"))
            embedding = converted
    return {
        "index": place,
        "object": "embedding",
        **choices.plain_fields(row, ("embedding",)),
        "embedding": embedding,
    }


def _from_base64(text: str) -> list[float] | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    count, rest = divmod(len(data), _FLOAT_BYTES)
    return None if rest else list(struct.unpack(f"<{count}f", data))


def _to_base64(vector: object) -> str | None:
    numbers = documents.decode(bytes(vector)) if isinstance(vector, documents.Raw) else vector
    if not isinstance(numbers, Sequence) or not all(map(_is_finite, numbers)):
        return None
    try:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    except (struct.error, OverflowError):
        return None


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < math.inf
