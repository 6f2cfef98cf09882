"""translate.rerank: rankings in any order, requests in any form, servers with either path."""

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests import operation_strategies as operations
from tests import rerank_strategies as ranking
from tests import strategies as some
from tests.property.judgement import assert_well_formed, encoded, same, wire
from tests.property.test_operations import as_bytes
from translate import documents, rerank
from translate.plan import Call, Failure, Plan
from translate.ranking import read
from transports.base import Cut, Reply

CALL = Call("rerank")
PLAN = Plan("POST", "/v1/rerank")
(KIND,) = [kind for kind in operations.KINDS if "rerank" in kind.operations]


def request(candidates: Sequence[object], **params: object) -> dict[str, object]:
    return {"model": "m", "query": "q", "documents": candidates, "params": params}


def parsed(document: object, asked: Mapping[str, object]) -> Mapping[str, object] | Failure:
    return rerank.parse(asked, Reply(200, {}, some.dumped(document)), 0, CALL)


# -- results -----------------------------------------------------------------------------------------


@given(ranking.rankings(), st.booleans(), st.data())
def test_any_order_of_the_results_gives_the_same_answer(
    said: ranking.Ranking, return_documents: bool, data: DataObject
) -> None:
    asked = request(said.candidates, return_documents=return_documents)
    answer = parsed({"results": said.rows}, asked)
    other = parsed({"results": data.draw(st.permutations(said.rows))}, asked)
    assert not isinstance(answer, Failure)
    assert not isinstance(other, Failure)
    assert encoded(untold(answer)) == encoded(untold(other))


def untold(answer: Mapping[str, object]) -> Mapping[str, object]:
    """An answer without its notes, one of which says whether the results had to be sorted."""
    fields = wire(answer["extra_fields"])
    return {**answer, "extra_fields": {name: fields[name] for name in fields if name != "translation_notes"}}


def score_of(row: Mapping[str, object]) -> object:
    return row["relevance_score"] if row.get("relevance_score") is not None else row["score"]


@given(ranking.rankings(), st.sampled_from([True, False, None]))
def test_results_are_sorted_and_keep_what_the_server_said(
    said: ranking.Ranking, return_documents: bool | None
) -> None:
    answer = parsed({"results": said.rows}, request(said.candidates, return_documents=return_documents))
    assert not isinstance(answer, Failure)
    results = documents.decode(encoded(answer["results"]))
    assert isinstance(results, list)
    keys = [(-result["relevance_score"], result["index"]) for result in results]
    assert keys == sorted(keys)
    rows = {row["index"]: row for row in said.rows}
    assert sorted(rows) == sorted(result["index"] for result in results)  # type: ignore[type-var]
    for result in results:
        row = rows[result["index"]]
        assert encoded(result["relevance_score"]) == encoded(documents.decode(some.dumped(score_of(row))))
        for name, value in row.items():
            if name not in {"index", "relevance_score", "score", "document"}:
                assert name not in result if value is None else same(result[name], wire(value)), name
        if return_documents:
            original = said.candidates[result["index"]]
            assert same(
                result["document"], wire({"text": original} if isinstance(original, str) else original)
            )
        else:
            assert "document" not in result


def is_sound(document: object, count: int) -> bool:
    """Whether a reply is a ranking of ``count`` documents."""
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        return False
    indexes = [row.get("index") for row in results]
    scores = [
        row["relevance_score"] if row.get("relevance_score") is not None else row.get("score")
        for row in results
    ]
    return (
        all(type(index) in {int, float} and index == int(index) and 0 <= index < count for index in indexes)
        and len(set(indexes)) == len(indexes)
        and all(type(score) in {int, float} for score in scores)
    )


_ODD_ROWS: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 1, 1, 1.0, 2, -1, None, "0", True, 0.5, 10**30]),
        "relevance_score": st.sampled_from([0.0, -1, None, "0.5", True, [], 5]),
        "score": st.sampled_from([1, 0.0, None, False]),
    },
)


@given(
    st.lists(_ODD_ROWS, max_size=3).map(lambda rows: {"results": rows})
    | ranking.documents().flatmap(some.mutated),
    st.integers(1, 3),
)
def test_a_ranking_is_an_answer_and_anything_else_an_error(document: object, count: int) -> None:
    outcome = parsed(document, request(["a"] * count))
    sound = is_sound(wire(document), count)
    assert isinstance(outcome, Failure) != sound
    if isinstance(outcome, Failure):
        assert_well_formed(outcome.error)
    elif isinstance(document, dict):
        results = outcome["results"]
        assert isinstance(results, list)
        assert len(results) == len(document["results"])


@given(st.sampled_from(ranking.USAGES) | some.json_values)
def test_usage_says_what_the_server_said_or_nothing(usage: object) -> None:
    answer = parsed({"results": [], "usage": usage}, request(["a"]))
    assert not isinstance(answer, Failure)
    told = wire(answer).get("usage")
    came = wire(usage)
    says = isinstance(came, dict) and any(
        any(value.values()) if isinstance(value, dict) else value for value in came.values()
    )
    assert (told is not None) == says
    if told is not None:
        assert not {"input_tokens", "output_tokens"} & set(told)
        for name in set(came) - {"input_tokens", "output_tokens", "prompt_tokens_details"}:
            if came[name] and not isinstance(came[name], dict):
                assert told[name] == came[name]


# -- verbatim -------------------------------------------------------------------------------------


def assert_equal_bytes(asked: Mapping[str, object], reply: Reply, call: Call) -> None:
    plain = rerank.parse(asked, reply, 7, call._replace(verbatim=False))
    verbatim = rerank.parse(asked, reply, 7, call._replace(verbatim=True))
    assert isinstance(verbatim, Failure) == isinstance(plain, Failure)
    assert as_bytes(verbatim) == as_bytes(plain)


def scored(*scores: str) -> bytes:
    """A reply with scores so spelled, for the first document first."""
    rows = [f'{{"index":{index},"relevance_score":{score}}}' for index, score in enumerate(scores)]
    return f'{{"results":[{",".join(rows)}]}}'.encode()


@given(
    ranking.spelled_bodies() | ranking.spelled_bodies() | ranking.bodies,
    st.lists(
        st.sampled_from(["a", "é", {"text": "b", "id": 1.5}, {"content": ["\ud83d"]}]), min_size=3, max_size=5
    ),
    st.sampled_from(["m", "é", "\ud83d"]),
    st.booleans(),
)
@example(scored("1e-5", "1e-05"), ["a"] * 2, "m", True)
@example(scored("0.5", "0.50"), ["a"] * 2, "m", True)
@example(scored("9007199254740992", "9007199254740993"), ["a"] * 2, "m", False)
@example(scored("-9007199254740993", "-9007199254740992"), ["a"] * 2, "m", False)
@example(scored("1", "1,0"), ["a"] * 2, "m", False)
@example(b'{"results":[{"index":0,"document":"\xff","relevance_score":1}]}', ["a"], "m", False)
@example(b'{"results":[{"index":0,"x_vendor":"x","relevance_score":1}]}', ["a"], "m", False)
@example(b'{"results":[{"index":0,"relevance_score":1}],"x_vendor":1}', ["a"], "m", False)
@example(b'{"results":[{"index":-1,"relevance_score":1}]}', ["a"], "m", False)
@example(b'{"results":[{"index":0,"relevance_score":2},{"index":0,"relevance_score":1}]}', ["a"], "m", False)
@example(
    b'{"results":[{"index":1,"relevance_score":0.5},{"index":0,"relevance_score":0.50}]}',
    ["a"] * 2,
    "m",
    True,
)
def test_scores_left_as_they_came_are_the_same_answer(
    body: bytes, candidates: Sequence[object], model: str, return_documents: bool
) -> None:
    asked = {**request(candidates, return_documents=return_documents), "model": model}
    assert_equal_bytes(asked, Reply(200, {}, body), CALL)


@given(operations.requests(KIND), some.replies_with(ranking.spelled_bodies()), some.calls_of("rerank"))
def test_whatever_is_asked_and_said_is_the_same_answer(
    asked: dict[str, object], reply: Reply, call: Call
) -> None:
    assert_equal_bytes(asked, reply, call)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.sampled_from([{"text": "a"}, None]), st.data())
def test_what_vllm_says_is_read_by_type(scores: list[float], shown: object, data: DataObject) -> None:
    order = data.draw(st.permutations(range(len(scores))))
    rows = [{"index": i, "document": shown, "relevance_score": scores[i]} for i in order]
    reply = {"id": "score-1", "model": "m", "usage": {"prompt_tokens": 5, "total_tokens": 5}, "results": rows}
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    said = read(some.dumped(reply), len(scores), None)
    assert said is not None
    assert wire(said.results) == [{"index": i, "relevance_score": scores[i]} for i in best]
    assert said.beside == {name: reply[name] for name in ("id", "model", "usage")}
    assert (said.was_sorted, said.had_documents, said.was_renamed) == (
        order == best,
        shown is not None,
        False,
    )


# -- requests ----------------------------------------------------------------------------------------


def body_of(asked: object) -> object:
    """What is sent, or why nothing is."""
    assert isinstance(asked, Mapping)
    plan = rerank.plan(asked, CALL)
    if isinstance(plan, Failure):
        return plan.error["error"]
    assert plan.body is not None
    return json.loads(plan.body.data)


@given(operations.flat_requests(KIND, wrong=False), st.data())
def test_parameters_mean_the_same_at_either_place(flat: dict[str, object], data: DataObject) -> None:
    flat = {name: value for name, value in flat.items() if name not in {"params", "stream"}}
    movable = sorted(set(flat) - {"model", "query", "documents", "fallbacks"})
    moved = data.draw(st.sets(st.sampled_from(movable))) if movable else set()
    nested = {name: value for name, value in flat.items() if name not in moved}
    nested["params"] = {name: flat[name] for name in moved}
    first, second = rerank.from_flat(flat), rerank.from_flat(nested)
    assert not isinstance(first, Failure)
    assert not isinstance(second, Failure)
    assert body_of(first) == body_of(second)


@given(st.sampled_from(["top_n", "x_vendor", "return_documents"]), st.data())
def test_of_null_and_a_value_the_value_counts(name: str, data: DataObject) -> None:
    value = data.draw(st.sampled_from([1, 2])) if name == "top_n" else True
    flat: dict[str, object] = {"model": "m", "query": "q", "documents": ["a"]}
    forms: list[dict[str, object]] = [
        {**flat, name: value, "params": None},
        {**flat, name: value, "params": {name: None}},
        {**flat, name: None, "params": {name: value}},
    ]
    plainly = rerank.from_flat({**flat, name: value})
    assert not isinstance(plainly, Failure)
    for form in forms:
        asked = rerank.from_flat(form)
        assert not isinstance(asked, Failure)
        assert body_of(asked) == body_of(plainly)
    both = rerank.from_flat({**flat, name: value, "params": {name: value}})
    assert isinstance(both, Failure)
    assert both.error["error"].get("param") == f"params.{name}"


_ANY_DOCUMENT: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(["a", "", " ", 5, None, [], {}, {"id": 7}, {"text": None}, {"text": " "}, {"text": 5}]),
    st.sampled_from([{"text": "a", "id": 7}, {"text": {"content": []}}, {"content": []}, {"content": None}]),
    some.json_values,
)


@given(st.lists(_ANY_DOCUMENT, min_size=1, max_size=3))
def test_every_document_is_sent_as_text_or_names_itself_in_a_refusal(candidates: list[object]) -> None:
    plan = rerank.plan(request(candidates), CALL)
    faults = [
        index
        for index, entry in enumerate(candidates)
        if not (isinstance(entry, str) and entry.strip())
        and not (isinstance(entry, dict) and isinstance(entry.get("text"), str) and entry["text"].strip())
        and not (isinstance(entry, dict) and "text" not in entry and entry.get("content") is not None)
    ]
    if faults:
        assert isinstance(plan, Failure)
        param = plan.error["error"].get("param")
        assert isinstance(param, str)
        assert param.startswith(f"documents[{faults[0]}]")
        return
    assert isinstance(plan, Plan)
    assert plan.body is not None
    sent = json.loads(plan.body.data)["documents"]
    for entry, out in zip(candidates, sent, strict=True):
        assert same(out, wire(entry["text"] if isinstance(entry, dict) and "text" in entry else entry))


# -- paths -------------------------------------------------------------------------------------------

_REFUSALS: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from([*some.ERROR_BODIES, b"The model is gone", b'{"error":{"code":"model_not_found"}}']),
    some.json_objects.map(some.dumped),
    some.any_bytes,
)


@given(_REFUSALS, st.sampled_from([404, 405, 501]) | some.statuses, some.cuts, st.booleans())
def test_only_a_missing_route_is_asked_for_elsewhere(
    body: bytes, status: int, cut: Cut | None, overridden: bool
) -> None:
    call = Call("rerank", path="/mine") if overridden else CALL
    second = rerank.follow_up(PLAN, Reply(status, {}, body, cut=cut), call)
    if second is not None:
        assert status in {404, 405, 501}
        assert (cut, overridden) == (None, False)
        assert second == PLAN._replace(path="/rerank")
        assert rerank.follow_up(second, Reply(status, {}, body), call) == PLAN
    elif cut is None and not overridden:
        assert status not in {405, 501}
        assert status != 404 or b"model" in body.lower()


@pytest.mark.parametrize("member", ["message", "code", "param"])
def test_a_refusal_is_read_however_deep_or_long_it_is(member: str) -> None:
    values = [b"[" * depth + b"]" * depth for depth in range(940, 1000)] + [b"7" * 4200, b"7" * 5000, b"null"]
    for value in values:
        body = b'{"error":{"%b":%b}}' % (member.encode(), value)
        assert rerank.follow_up(PLAN, Reply(404, {}, body), CALL) is not None


@pytest.mark.parametrize("known", ["/v1/rerank", "/rerank", "/elsewhere"])
def test_from_any_path_there_is_another_one(known: str) -> None:
    plan = rerank.plan(request(["a"]), Call("rerank", known_path=known))
    assert isinstance(plan, Plan)
    second = rerank.follow_up(plan, Reply(404, {}), Call("rerank", known_path=known))
    assert second is not None
    assert second.path in {"/v1/rerank", "/rerank"} - {known}
