"""The operations, one row each."""

from collections.abc import Mapping
from typing import Final

from . import chat, models, transcriptions
from .conversation import Operation
from .types import RequestType

OPERATIONS: Final[Mapping[RequestType, Operation]] = {
    "list_models": Operation(models.from_flat, models.plan, models.parse),
    "chat_completion": Operation(chat.from_flat, chat.plan, chat.parse),
    "chat_completion_stream": Operation(chat.from_flat, chat.plan, chat.parse, fold=chat.fold),
    "transcription": Operation(transcriptions.from_flat, transcriptions.plan, transcriptions.parse),
    "transcription_stream": Operation(
        transcriptions.from_flat, transcriptions.plan, transcriptions.parse, fold=transcriptions.fold
    ),
}
