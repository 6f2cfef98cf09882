"""Rerank: ``POST /v1/rerank``, and ``/rerank`` where a server has only that.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api
"""

from collections.abc import Mapping, Sequence
from typing import Final

from . import choices, documents, errors, parameters, ranking
from .conversation import Once
from .exchange import Built, answered, ledger, opened
from .flat import request_model, taken_apart
from .plan import Call, Failure, Note, Plan, ReplyLike
from .ranking import Ranking
from .replies import document_of
from .types import Document

_ROW: Final = frozenset({"index", "relevance_score", "document"})
PATHS: Final = ("/v1/rerank", "/rerank")

_INPUTS: Final[Mapping[str, str]] = {"query": "query", "documents": "documents"}
_MEMBERS: Final = frozenset(_INPUTS)
_MISSING_ROUTE: Final = frozenset({404, 405, 501})


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that a flat body means; parameters may also stand under ``params``."""
    if flat.get("params") is None:
        return taken_apart(flat, _INPUTS)
    nested = documents.as_object(flat["params"])
    if nested is None:
        return errors.invalid("params must be an object", "params")
    for name, value in nested.items():
        if value is not None and flat.get(name) is not None:
            return errors.invalid(f"{name} and params.{name} cannot both be set", f"params.{name}")
    request = taken_apart({name: value for name, value in flat.items() if name != "params"}, _INPUTS)
    if isinstance(request, Failure):
        return request
    params = documents.as_object(request.get("params")) or {}
    given = {name: value for name, value in nested.items() if value is not None or name not in flat}
    return {**request, "params": {**params, **given}}


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send first; a failure names the place in the request that is at fault."""
    return ONCE.plan(_built(request, call), request, call)


def follow_up(plan: Plan, reply: ReplyLike, call: Call) -> Plan | None:
    """The same to the other path, when the server has no such route.

    A 404 that speaks of a model comes from the route itself and is an answer.
    """
    if call.path is not None or reply.cut is not None or not _is_missing_route(reply):
        return None
    other = PATHS[1] if plan.path == PATHS[0] else PATHS[0]
    return plan._replace(path=other)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request."""
    return ledger(_built(request, call))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The results, best first; equal scores in the order of the documents.

    ``model`` is the one that was asked for. With ``return_documents`` each
    result has the caller's document, whatever the server made of it.
    """
    return _parsed(_built(request, call), request, reply, spent_ms, call)


def _parsed(
    built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call
) -> Document | Failure:
    notes = ledger(built)
    outcome = _read(request, reply, call, notes)
    return answered(outcome, built, notes, request_model(request), reply, spent_ms, call)


def _built(request: Document, call: Call) -> Built | Failure:
    notes: list[Note] = []
    head = opened(request, notes, _MEMBERS)
    if isinstance(head, Failure):
        return head
    model, params = head
    query = request.get("query")
    if not isinstance(query, str | Mapping | None):
        return errors.invalid("query must be text", "query")
    if query is None or (isinstance(query, str) and not query.strip()):
        return errors.invalid("query is required for rerank", "query")
    if isinstance(request.get("documents"), str | Mapping):
        notes.append(Note("documents", "converted", "one document became a list of one"))
    texts = _texts(_listed(request), notes)
    if isinstance(texts, Failure):
        return texts
    given = parameters.merged(params, notes)
    if isinstance(given, Failure):
        return given
    failure = _top_n(given) or _return_documents(given)
    if failure is not None:
        return failure
    if "return_documents" in given:
        notes.append(Note("return_documents", "dropped", "the answer gets the documents of the request"))
        del given["return_documents"]
    fields = parameters.kept(given, ("model", "query", "documents"), notes)
    return Built(
        call.known_path or PATHS[0], {"model": model, "query": query, "documents": texts, **fields}, notes
    )


ONCE: Final = Once(_built, _parsed)


def _listed(request: Document) -> Sequence[object] | None:
    """The documents; vLLM takes one that is in no list, too."""
    value = request.get("documents")
    if isinstance(value, str | Mapping):
        return [value] if value else ()
    return () if value is None else documents.as_array(value)


def _texts(given: Sequence[object] | None, notes: list[Note]) -> list[object] | Failure:
    if given is None:
        return errors.invalid("documents must be an array", "documents")
    if not given:
        return errors.invalid("documents are required for rerank", "documents")
    if set(map(type, given)) == {str} and all(map(str.strip, given)):  # type: ignore[arg-type]
        return [*given]
    out: list[object] = []
    for index, entry in enumerate(given):
        place, text = f"documents[{index}]", entry
        if isinstance(entry, Mapping):
            if "text" not in entry and entry.get("content") is not None:  # vLLM's own form for more than text
                out.append(entry)
                continue
            place, text = f"{place}.text", entry.get("text")
            notes.append(Note("documents", "converted", "objects are sent as their text"))
        if text is None or (isinstance(text, str) and not text.strip()):
            message = f"document text is required for rerank at index {index}"
            return errors.invalid(message, f"documents[{index}]")
        if not isinstance(text, str):
            return errors.invalid(f"{place} must be text", place)
        out.append(text)
    return out


def _top_n(given: Document) -> Failure | None:
    if "top_n" not in given:
        return None
    number = documents.as_integer(given["top_n"])
    if number is None:
        return errors.invalid("top_n must be an integer", "top_n")
    return errors.invalid("top_n must be at least 1", "top_n") if number < 1 else None


def _return_documents(given: Document) -> Failure | None:
    if isinstance(given.get("return_documents", False), bool):
        return None
    return errors.invalid("return_documents must be true or false", "return_documents")


def _is_missing_route(reply: ReplyLike) -> bool:
    if reply.status != 404:
        return reply.status in _MISSING_ROUTE
    document = documents.decode(reply.body)
    if not isinstance(document, Mapping):
        return True
    field = errors.from_reply(reply).error["error"]
    return "model" not in f"{field['message']} {field.get('code')} {field.get('param')}".lower()


def _read(request: Document, reply: ReplyLike, call: Call, notes: list[Note]) -> dict[str, object] | Failure:
    candidates = _listed(request) or ()
    returned = candidates if _asks_for_documents(request) else None
    ordinary = call.verbatim and reply.cut is None and reply.status == 200
    ranked = ranking.read(reply.body, len(candidates), returned) if ordinary else None
    if ranked is None:
        document = document_of(reply, "results")
        if isinstance(document, Failure):
            return document
        read = _ranked(document, len(candidates), returned)
        if isinstance(read, str):
            return errors.rejected(
                "error converting rerank response",
                None,
                cause=f"invalid vllm rerank response: {read}",
                is_bifrost_error=True,
            )
        ranked = read
    beside = ranked.beside
    if ranked.was_renamed:
        notes.append(Note("results[].score", "renamed", "relevance_score"))
    if ranked.had_documents:
        notes.append(Note("results[].document", "dropped", "return_documents gives back the caller's own"))
    if not ranked.was_sorted:
        notes.append(Note("results", "converted", "sorted, the best first"))
    answer: dict[str, object] = choices.plain_fields(beside, ("results", "usage", "model"))
    answer |= {"results": ranked.results, "model": request_model(request)}
    if beside.get("model") not in (None, answer["model"]):
        notes.append(Note("model", "dropped", "the answer has the model that was asked for"))
    if (usage := _usage(beside.get("usage"), notes)) is not None:
        answer["usage"] = usage
    return answer


def _asks_for_documents(request: Document) -> bool:
    params = documents.as_object(request.get("params"))
    given = parameters.merged(params or {}, [])
    return not isinstance(given, Failure) and given.get("return_documents") is True


def _ranked(document: Document, count: int, returned: Sequence[object] | None) -> Ranking | str:
    """The ranking of ``count`` documents, those ``returned`` handed back, or what is wrong with it."""
    if document.get("results") is None:
        return "missing results"
    rows = documents.as_array(document["results"])
    if rows is None:
        return "results must be an array"
    scored: dict[int, tuple[float, dict[str, object]]] = {}
    was_renamed = had_documents = False
    for source in rows:
        row = documents.as_object(source)
        if row is None:
            return "result item must be an object"
        index = documents.as_integer(row.get("index"))
        if index is None:
            return "result index is required"
        if not 0 <= index < count:
            return f"result index {index} out of range"
        if index in scored:
            return f"duplicate index {index}"
        name, score = _score(row)
        if score is None:
            return "relevance_score/score is required"
        was_renamed = was_renamed or name == "score"
        had_documents = had_documents or row.get("document") is not None
        scored[index] = (score, _result(row, index, name, score, returned))
    best_first = sorted(scored.values(), key=lambda pair: (-pair[0], pair[1]["index"]))
    was_sorted = [*scored.values()] == best_first
    return Ranking([entry for _, entry in best_first], document, was_sorted, had_documents, was_renamed)


def _result(
    row: Document, index: int, name: str, score: float, returned: Sequence[object] | None
) -> dict[str, object]:
    out: dict[str, object] = {"index": index, "relevance_score": score}
    if not row.keys() <= _ROW:
        out |= choices.plain_fields(row, _ROW | {name})
    if returned is not None:
        out["document"] = ranking.original(returned, index)
    return out


def _score(row: Document) -> tuple[str, float | None]:
    """The name under which a row has its score, and the score if it is a number."""
    name = "score" if row.get("relevance_score") is None else "relevance_score"
    score = row.get(name)
    return name, score if isinstance(score, int | float) and not isinstance(score, bool) else None


def _usage(value: object, notes: list[Note]) -> dict[str, object] | None:
    """Token counts under one name each, or ``None`` when it says nothing."""
    counts = choices.usage(value, notes)
    if counts is None:
        return None
    for name, other in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        if other in counts:
            second = counts.pop(other)
            if counts.get(name):
                notes.append(Note(f"usage.{other}", "dropped", f"{name} is set"))
            else:
                if name in counts:
                    notes.append(Note(f"usage.{name}", "dropped", f"{other} says more"))
                counts[name] = second
                notes.append(Note(f"usage.{other}", "renamed", name))
    spent = sum(
        documents.as_integer(counts.get(name)) or 0 for name in ("prompt_tokens", "completion_tokens")
    )
    if spent and not counts.get("total_tokens"):
        counts["total_tokens"] = spent
        notes.append(Note("usage.total_tokens", "defaulted", "the sum of the others"))
    told = (any(count.values()) if isinstance(count, Mapping) else count for count in counts.values())
    if any(told):
        return counts
    notes.append(Note("usage", "dropped", "all counts are zero"))
    return None
