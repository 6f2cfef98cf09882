"""Rerank: what is sent and where, and how results are put in order."""

import json
from collections.abc import Mapping

import pytest

from translate import Body, Call, Document, Failure, Note, Plan, rerank
from transports.base import Cut, Reply

CALL = Call("rerank")


def sent(flat: Mapping[str, object]) -> object:
    request = rerank.from_flat({"model": "vllm/org/m", **flat})
    if isinstance(request, Failure):
        return request.error["error"]
    plan = rerank.plan(request, CALL)
    if isinstance(plan, Failure):
        return plan.error["error"]
    assert plan.body is not None
    assert plan[:2] == ("POST", "/v1/rerank")
    return json.loads(plan.body.data)


def test_the_request_of_the_documentation() -> None:
    flat = {
        "model": "vllm/BAAI/bge-reranker-v2-m3",
        "query": "What is machine learning?",
        "documents": [
            {"text": "Machine learning is a subset of AI."},
            {"text": "Python", "id": 7, "meta": {}},
        ],
        "params": {"return_documents": True},
    }
    assert sent(flat) == {
        "model": "BAAI/bge-reranker-v2-m3",
        "query": "What is machine learning?",
        "documents": ["Machine learning is a subset of AI.", "Python"],
    }


def test_parameters_may_stand_at_either_place() -> None:
    flat = {"query": "q", "documents": ["a"], "top_n": 1, "priority": 3}
    body = {"model": "org/m", **flat, "truncation_side": "left"}
    assert sent({**flat, "truncation_side": "left"}) == body
    assert sent({**flat, "params": {"truncation_side": "left"}}) == body


def test_what_is_more_than_text_is_sent_as_it_is() -> None:
    picture = {"content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}
    assert sent({"query": picture, "documents": ["a", picture]}) == {
        "model": "org/m",
        "query": picture,
        "documents": ["a", picture],
    }


@pytest.mark.parametrize("document", ["a", {"text": "a", "id": 7}])
def test_one_document_need_not_be_in_a_list(document: object) -> None:
    request: Document = {
        "model": "org/m",
        "query": "q",
        "documents": document,
        "params": {"return_documents": True},
    }
    plan = rerank.plan(request, CALL)
    assert isinstance(plan, Plan)
    assert plan.body is not None
    assert json.loads(plan.body.data) == {"model": "org/m", "query": "q", "documents": ["a"]}
    reply = Reply(200, {}, b'{"results":[{"index":0,"relevance_score":0.5}]}')
    answer = rerank.parse(request, reply, 9, CALL)
    assert not isinstance(answer, Failure)
    shown = {"text": "a"} if document == "a" else document
    assert answer["results"] == [{"index": 0, "relevance_score": 0.5, "document": shown}]
    assert rerank.noted(request, CALL)[0] == Note(
        "documents", "converted", "one document became a list of one"
    )


@pytest.mark.parametrize(
    ("flat", "message", "param"),
    [
        ({"documents": ["a"]}, "query is required for rerank", "query"),
        ({"query": " ", "documents": ["a"]}, "query is required for rerank", "query"),
        ({"query": 5, "documents": ["a"]}, "query must be text", "query"),
        ({"query": "q"}, "documents are required for rerank", "documents"),
        ({"query": "q", "documents": []}, "documents are required for rerank", "documents"),
        ({"query": "q", "documents": 5}, "documents must be an array", "documents"),
        ({"query": "q", "documents": ""}, "documents are required for rerank", "documents"),
        ({"query": "q", "documents": " "}, "document text is required for rerank at index 0", "documents[0]"),
        (
            {"query": "q", "documents": ["a", " "]},
            "document text is required for rerank at index 1",
            "documents[1]",
        ),
        (
            {"query": "q", "documents": [{"text": ""}]},
            "document text is required for rerank at index 0",
            "documents[0]",
        ),
        ({"query": "q", "documents": ["a", 5]}, "documents[1] must be text", "documents[1]"),
        (
            {"query": "q", "documents": [{"text": {"content": []}}]},
            "documents[0].text must be text",
            "documents[0].text",
        ),
        (
            {"query": "q", "documents": ["a", {"id": 7}]},
            "document text is required for rerank at index 1",
            "documents[1]",
        ),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n must be at least 1", "top_n"),
        ({"query": "q", "documents": ["a"], "top_n": "1"}, "top_n must be an integer", "top_n"),
        (
            {"query": "q", "documents": ["a"], "return_documents": "yes"},
            "return_documents must be true or false",
            "return_documents",
        ),
        ({"query": "q", "documents": ["a"], "params": []}, "params must be an object", "params"),
        (
            {"query": "q", "documents": ["a"], "top_n": 1, "params": {"top_n": 2}},
            "top_n and params.top_n cannot both be set",
            "params.top_n",
        ),
    ],
)
def test_what_cannot_be_sent(flat: Mapping[str, object], message: str, param: str) -> None:
    assert sent(flat) == {"message": message, "type": "invalid_request_error", "param": param}


REQUEST: Document = {"model": "org/m", "query": "q", "documents": ["a", {"text": "b", "id": 7}, "c"]}
BODY = b'{"model":"org/m","query":"q","documents":["a","b","c"]}'
FIRST = Plan("POST", "/v1/rerank", Body("application/json", BODY))
SECOND = FIRST._replace(path="/rerank")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"detail":"Not Found"}'),
        (404, b""),
        (404, b"<html><body>no</body></html>"),
        (404, b"404 page not found"),
        (404, b'{"error":{"message":"Unknown route"}}'),
        (405, b'{"detail":"Method Not Allowed"}'),
        (501, b""),
    ],
)
def test_a_missing_route_is_asked_for_at_the_other_path(status: int, body: bytes) -> None:
    assert rerank.follow_up(FIRST, Reply(status, {}, body), CALL) == SECOND
    assert rerank.follow_up(SECOND, Reply(status, {}, body), CALL) == FIRST
    assert rerank.follow_up(FIRST, Reply(status, {}, body), Call("rerank", path="/mine")) is None
    assert rerank.follow_up(FIRST, Reply(status, {}, body, cut=Cut("read", "reset")), CALL) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}'),
        (404, b'{"object":"error","message":"The model `x` does not exist.","code":404}'),
        (404, b'{"error":{"message":"no","code":"model_not_found"}}'),
        (404, b'{"detail":"The model `x` does not exist."}'),
        (404, b'{"error":"Unknown Model"}'),
        (400, b'{"detail":"Not Found"}'),
        (500, b""),
        (200, b'{"error":{"message":"no such route","code":404}}'),
    ],
)
def test_any_other_answer_is_final(status: int, body: bytes) -> None:
    assert rerank.follow_up(FIRST, Reply(status, {}, body), CALL) is None


def test_the_path_that_worked_comes_first() -> None:
    assert rerank.plan(REQUEST, CALL) == FIRST
    assert rerank.plan(REQUEST, Call("rerank", known_path="/rerank")) == SECOND
    overridden = rerank.plan(REQUEST, Call("rerank", known_path="/rerank", path="/mine"))
    assert isinstance(overridden, Plan)
    assert overridden.path == "/mine"


def parsed(document: object, params: Mapping[str, object] | None = None) -> Document | Failure:
    reply = Reply(200, {"content-type": "application/json"}, json.dumps(document).encode(), 4)
    return rerank.parse({**REQUEST, "params": params or {}}, reply, 9, CALL)


EXTRA = {
    "request_type": "rerank",
    "provider": "vllm",
    "routing_info": {"provider": "vllm", "model": "org/m"},
    "original_model_requested": "org/m",
    "resolved_model_used": "org/m",
    "latency": 9,
    "chunk_index": 0,
    "translation_notes": [
        {"param": "documents", "action": "converted", "detail": "objects are sent as their text"}
    ],
}


NOT_THEIRS = Note("results[].document", "dropped", "return_documents gives back the caller's own")
SORTED = Note("results", "converted", "sorted, the best first")


def noted(*notes: Note) -> dict[str, object]:
    """The fields of an answer with these notes after those that every answer here has."""
    told = [*EXTRA["translation_notes"], *(note._asdict() for note in notes)]  # type: ignore[misc]
    return {**EXTRA, "translation_notes": told}


def test_a_whole_answer() -> None:
    upstream = {
        "id": "score-1",
        "model": "up/m",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        "results": [
            {"index": 0, "document": {"text": "a", "multi_modal": None}, "relevance_score": -3.5},
            {
                "index": 2,
                "document": {"text": "c", "multi_modal": None},
                "relevance_score": 0.0,
                "score": 0.9,
            },
            {"index": 1, "document": None, "relevance_score": 0.0, "more": "x"},
        ],
    }
    assert parsed(upstream) == {
        "id": "score-1",
        "results": [
            {"index": 1, "relevance_score": 0.0, "more": "x"},
            {"index": 2, "relevance_score": 0.0, "score": 0.9},
            {"index": 0, "relevance_score": -3.5},
        ],
        "model": "org/m",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        "extra_fields": noted(
            NOT_THEIRS, SORTED, Note("model", "dropped", "the answer has the model that was asked for")
        ),
    }


def test_callers_get_their_own_documents_back() -> None:
    upstream = {
        "results": [{"index": 0, "score": 1}, {"index": 1, "score": 2, "document": {"text": "not mine"}}]
    }
    assert parsed(upstream, {"return_documents": True}) == {
        "results": [
            {"index": 1, "relevance_score": 2, "document": {"text": "b", "id": 7}},
            {"index": 0, "relevance_score": 1, "document": {"text": "a"}},
        ],
        "model": "org/m",
        "extra_fields": noted(
            Note("return_documents", "dropped", "the answer gets the documents of the request"),
            Note("results[].score", "renamed", "relevance_score"),
            NOT_THEIRS,
            SORTED,
        ),
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"total_tokens": 5}, {"total_tokens": 5}),
        ({"total_tokens": 0}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        (
            {"input_tokens": 3, "output_tokens": 1},
            {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        ),
        ({"prompt_tokens": 0, "input_tokens": 3, "total_tokens": 9}, {"prompt_tokens": 3, "total_tokens": 9}),
        ({"prompt_tokens": 5, "input_tokens": 3}, {"prompt_tokens": 5, "total_tokens": 5}),
        ({"search_units": 1}, {"search_units": 1}),
        ({"prompt_tokens_details": {"x": 0}, "total_tokens": 0}, None),
        (None, None),
        ("x", None),
    ],
)
def test_usage_under_one_name_each(usage: object, expected: object) -> None:
    answer = parsed({"results": [], "usage": usage})
    assert not isinstance(answer, Failure)
    assert (answer["results"], answer.get("usage")) == ([], expected)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"id": "x"}, "missing results"),
        ({"results": None}, "missing results"),
        ({"results": {}}, "results must be an array"),
        ({"results": [5]}, "result item must be an object"),
        ({"results": [{"relevance_score": 1}]}, "result index is required"),
        ({"results": [{"index": "0", "relevance_score": 1}]}, "result index is required"),
        ({"results": [{"index": 3, "relevance_score": 1}]}, "result index 3 out of range"),
        ({"results": [{"index": -1, "relevance_score": 1}]}, "result index -1 out of range"),
        (
            {"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]},
            "duplicate index 0",
        ),
        ({"results": [{"index": 0}]}, "relevance_score/score is required"),
        ({"results": [{"index": 0, "relevance_score": "0.5"}]}, "relevance_score/score is required"),
        ({"results": [{"index": 0, "relevance_score": True}]}, "relevance_score/score is required"),
    ],
)
def test_results_that_are_none(document: object, reason: str) -> None:
    outcome = parsed(document)
    assert isinstance(outcome, Failure)
    assert {name: value for name, value in outcome.error.items() if name != "extra_fields"} == {
        "is_bifrost_error": True,
        "error": {
            "message": "error converting rerank response",
            "error": f"invalid vllm rerank response: {reason}",
        },
    }


def test_an_error_inside_a_success() -> None:
    outcome = parsed({"error": {"message": "The model does not support Rerank API", "code": 400}})
    assert isinstance(outcome, Failure)
    assert (outcome.error.get("status_code"), outcome.error["error"]["message"]) == (
        400,
        "The model does not support Rerank API",
    )
