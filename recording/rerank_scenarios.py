"""The questions that are put to vLLM as rerank.

What the model has learnt about them is in ``rerank_model``.
"""

from typing import Final

from translate.plan import Body, Plan
from translate.rerank import PATHS

from .scenarios import Expected, Forms, FromClient, Scenario, ToServer, refused
from .server import CHAT, EMBED, RERANK

JSON: Final = "application/json"
ONLY: Final[Forms] = ("rerank",)
QUERY: Final = "What is machine learning?"
ANSWER: Final = "In machine learning, a model is trained on examples."
DOCUMENTS: Final = ("My bicycle is green.", ANSWER, "Paris is the capital of France.")
FIRST: Final = Expected(body='"results":[{"index":1,')


def client(documents: object = DOCUMENTS, query: str = QUERY, **parameters: object) -> FromClient:
    fields = {"model": f"vllm/{RERANK.name}", "query": query, "documents": documents}
    return FromClient(fields | parameters)


def server(**fields: object) -> ToServer:
    """A body for the server itself."""
    return ToServer({"model": RERANK.name} | fields)


def at(path: str, model: str) -> Plan:
    """A request for a path of our choice."""
    text = '{"model":"%s","query":"What is bread?","documents":["Bread is baked.","42"]}'
    return Plan("POST", path, Body(JSON, (text % model).encode()))


ANSWERS: Final = (
    Scenario("three_documents", client(), FIRST, ONLY),
    Scenario(
        "documents_returned",
        client([{"text": each, "id": each[:2]} for each in DOCUMENTS[1:]], return_documents=True),
        Expected(body='"results":[{"index":0,'),
        ONLY,
    ),
    Scenario(
        "nested_parameters",
        client([{"text": each} for each in DOCUMENTS], params={"top_n": 2, "return_documents": True}),
        FIRST,
        ONLY,
    ),
    Scenario("best_one", client(top_n=1), FIRST, ONLY),
    Scenario("more_than_there_are", client(top_n=99), FIRST, ONLY),
    Scenario("one_document", client([ANSWER]), Expected(body='"results":[{"index":0,'), ONLY),
    Scenario("equal_documents", client(["42", "42", ANSWER]), Expected(body='{"index":2,'), ONLY),
    Scenario(
        "another_language",
        client(["Rom ist die italienische Hauptstadt.", "42"], "Wie heißt die Hauptstadt von Italien?"),
        Expected(body='"results":[{"index":0,'),
        ONLY,
    ),
    Scenario("raw_scores", client(use_activation=False), Expected(body='"relevance_score":-'), ONLY),
    Scenario("truncated", client(truncate_prompt_tokens=16, truncation_side="left"), Expected(), ONLY),
    Scenario("truncated_documents", client(max_tokens_per_doc=3), Expected(), ONLY),
    Scenario("padded", client(padding="max_length"), Expected(body='"prompt_tokens":768'), ONLY),
    Scenario("named", client(request_id="mine", user="ada"), Expected(body='"id":"score-mine"'), ONLY),
    Scenario("first_path", at(PATHS[0], RERANK.name), Expected(), ONLY),
    Scenario("second_path", at(PATHS[1], RERANK.name), Expected(), ONLY),
    Scenario("third_path", at("/v2/rerank", RERANK.name), Expected(), ONLY),
    Scenario("similarities", at(PATHS[0], EMBED.name), Expected(), ONLY, elsewhere=EMBED),
)

REFUSALS: Final = (
    Scenario(
        "unknown_model",
        FromClient({"model": "vllm/tiny/nothing", "query": QUERY, "documents": ["42"]}),
        refused("does not exist", 404),
        ONLY,
    ),
    Scenario("too_long", client(["the sea " * 150]), refused("maximum context length"), ONLY),
    Scenario(
        "truncated_to_too_much", client(truncate_prompt_tokens=9999), refused("than max_model_len"), ONLY
    ),
    Scenario("side_unknown", client(truncation_side="middle"), refused("literal_error"), ONLY),
    Scenario(
        "image_to_a_text_model",
        client([{"content": [{"type": "text", "text": "42"}]}]),
        refused("not supported for Bert"),
        ONLY,
    ),
    Scenario("best_none", server(query=QUERY, documents=["42"], top_n=-1), refused("body.top_n"), ONLY),
    Scenario("documents_missing", server(query=QUERY), refused("body.documents"), ONLY),
    Scenario("documents_empty", server(query=QUERY, documents=[]), refused("At least one"), ONLY),
    Scenario(
        "documents_as_objects",
        server(query=QUERY, documents=[{"text": "42"}]),
        refused("4 validation errors"),
        ONLY,
    ),
    Scenario("query_missing", server(documents=["42"]), refused("body.query"), ONLY),
    Scenario("not_json", Plan("POST", PATHS[0], Body(JSON, b'{"query":')), refused("json_invalid"), ONLY),
    Scenario("wrong_method", Plan("GET", PATHS[0]), refused("Method Not Allowed", 405), ONLY),
    Scenario(
        "wrong_server", at(PATHS[0], CHAT.name), refused('{"detail":"Not Found"}', 404), ONLY, elsewhere=CHAT
    ),
    Scenario(
        "wrong_server_second_path",
        at(PATHS[1], CHAT.name),
        refused('{"detail":"Not Found"}', 404),
        ONLY,
        elsewhere=CHAT,
    ),
    Scenario(  # no server looks at the request before it has seen the key
        "unauthorized", client(user="nobody"), refused("Unauthorized", 401), ONLY, "locked", CHAT
    ),
)

SCENARIOS: Final = (*ANSWERS, *REFUSALS)
