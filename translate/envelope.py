"""What Bifrost wraps around every answer: ``extra_fields`` and the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from . import documents
from .plan import Call, Note
from .types import TranslationNote

PROVIDER: Final = "vllm"


def routing_info(call: Call, model: str) -> Mapping[str, object]:
    """Who answers: provider and model, then what the caller's routing adds."""
    if not model:
        return {"provider": PROVIDER, **call.routing_info}
    return {"provider": PROVIDER, "model": model, **call.routing_info}


def model_names(call: Call, model: str) -> dict[str, str]:
    """The model asked for and the model used; nothing for a request that names none."""
    if not model:
        return {}
    return {"original_model_requested": call.original_model or model, "resolved_model_used": model}


def extra_fields(
    call: Call, model: str, latency: int, chunk_index: int = 0, notes: Iterable[Note] = ()
) -> dict[str, object]:
    """``extra_fields`` of a success, as ``types.ExtraFields`` has them; ``latency`` in milliseconds."""
    fields: dict[str, object] = {
        "request_type": call.request_type,
        "provider": PROVIDER,
        "routing_info": routing_info(call, model),
    }
    if model:
        fields["original_model_requested"] = call.original_model or model
        fields["resolved_model_used"] = model
    fields["latency"] = latency
    fields["chunk_index"] = chunk_index
    if notes and (ledger := translation_notes(notes)):
        fields["translation_notes"] = ledger
    return fields


class Stamp(msgspec.Struct, frozen=True):
    """The ``extra_fields`` of all answers to one call for one model, as JSON up to their latency."""

    start: bytes

    def fields(self, latency: int, notes: Sequence[Note]) -> documents.Raw | None:
        """The whole of it; ``None`` where it depends on what is around it how it is written."""
        if not notes:
            return documents.Raw(b'%b%d,"chunk_index":0}' % (self.start, latency))
        try:
            ledger = _encode(translation_notes(notes))
        except UnicodeEncodeError:
            return None
        return documents.Raw(b'%b%d,"chunk_index":0,"translation_notes":%b}' % (self.start, latency, ledger))


def encoded_fields(call: Call, model: str, latency: int, notes: Sequence[Note] = ()) -> documents.Raw | None:
    """The same of one answer."""
    try:
        return documents.Raw(_encode(extra_fields(call, model, latency, notes=notes)))
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, OverflowError):
        return None


def stamp(call: Call, model: str) -> Stamp | None:
    """What is known of ``extra_fields`` before there is an answer; ``None`` as in ``Stamp.fields``."""
    data = bytes(encoded_fields(call, model, 0) or b"")
    return Stamp(data.removesuffix(_END)) if data.endswith(_END) else None


_END: Final = b'0,"chunk_index":0}'
_encode: Final = msgspec.json.Encoder().encode


def translation_notes(notes: Iterable[Note]) -> list[TranslationNote]:
    """The ledger as JSON; an entry that repeats is listed once."""
    return [
        {"param": note.param, "action": note.action, "detail": note.detail} for note in dict.fromkeys(notes)
    ]


def raw_text(data: bytes) -> str:
    """Bytes as text for ``raw_request`` and ``raw_response``."""
    return data.decode(errors="replace")


def raw_json(data: bytes) -> object:
    """Bytes as the JSON value that they are, else as text."""
    value = documents.decode(data)
    return raw_text(data) if isinstance(value, documents.Malformed) else value
