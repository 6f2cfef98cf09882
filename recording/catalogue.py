"""All scenarios."""

from typing import Final

from . import (
    chat_scenarios,
    completion_scenarios,
    embedding_scenarios,
    model_scenarios,
    rerank_scenarios,
    transcription_scenarios,
)

SCENARIOS: Final = (
    *chat_scenarios.SCENARIOS,
    *completion_scenarios.SCENARIOS,
    *embedding_scenarios.SCENARIOS,
    *rerank_scenarios.SCENARIOS,
    *transcription_scenarios.SCENARIOS,
    *model_scenarios.SCENARIOS,
)
