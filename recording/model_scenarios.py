"""The questions that are put to vLLM about its models.

There is but one such request. vLLM pays no heed to a query, so that is what
tells one question from the next.
"""

from typing import Final

from translate.models import PATH
from translate.plan import Body, Plan

from .scenarios import Expected, Forms, FromClient, Scenario, refused
from .server import ADAPTER_NAME, CHAT, EMBED, RERANK, SECOND_NAME, TRANSCRIPTION

ONLY: Final[Forms] = ("list_models",)


def get(query: str) -> Plan:
    return Plan("GET", f"{PATH}?{query}")


LISTS: Final = (
    Scenario("plain", FromClient({}), Expected(body='"max_model_len":1024'), ONLY),
    Scenario(
        "of_embeddings", get("server=embed"), Expected(body=f'"id":"{EMBED.name}"'), ONLY, "open", EMBED
    ),
    Scenario("of_rerank", get("server=rerank"), Expected(body=f'"id":"{RERANK.name}"'), ONLY, "open", RERANK),
    Scenario(
        "of_transcription",
        get("server=transcription"),
        Expected(body=f'"id":"{TRANSCRIPTION.name}"'),
        ONLY,
        elsewhere=TRANSCRIPTION,
    ),
    Scenario("with_adapter", get("server=adapted"), Expected(body=f'"id":"{ADAPTER_NAME}"'), ONLY, "adapted"),
    Scenario(
        "with_second_name",
        get("server=adapted&name=second"),
        Expected(body=f'"id":"{SECOND_NAME}"'),
        ONLY,
        "adapted",
    ),
    Scenario("with_key", get("key=right"), Expected(body=CHAT.name), ONLY, "locked", key="right"),
    Scenario("by_page", get("page_size=1&page_token=x"), Expected(body=CHAT.name), ONLY),
)

REFUSALS: Final = (
    Scenario("unauthorized", get("user=nobody"), refused("Unauthorized", 401), ONLY, "locked"),
    Scenario("wrong_key", get("key=wrong"), refused("Unauthorized", 401), ONLY, "locked", key="wrong"),
    Scenario("one_by_name", Plan("GET", f"{PATH}/{CHAT.name}"), refused("Not Found", 404), ONLY),
    Scenario("one_by_encoded_name", Plan("GET", f"{PATH}/tiny%2Fchat"), refused("Not Found", 404), ONLY),
    Scenario("wrong_route", Plan("GET", "/models"), refused("Not Found", 404), ONLY),
    Scenario("wrong_method", Plan("DELETE", PATH), refused("Method Not Allowed", 405), ONLY),
    Scenario(
        "posted",
        Plan("POST", PATH, Body("application/json", b"{}")),
        refused("Method Not Allowed", 405),
        ONLY,
    ),
    Scenario("options", Plan("OPTIONS", PATH), refused("Method Not Allowed", 405), ONLY),
)

SCENARIOS: Final = (*LISTS, *REFUSALS)
