"""Every field that vLLM says it accepts goes out as it is, or is known not to, and why."""

import json

import pytest

from recording import request_fields, schemas
from recording.request_reasons import REASONS
from tests.contract.wheel import ROOT
from translate.types import RequestType

KEPT = request_fields.accepted()
KINDS: dict[RequestType, tuple[request_fields.Operation, bool]] = {
    kind: (operation, kind != operation.plain)
    for operation in request_fields.OPERATIONS_OF
    for kind in (operation.plain, operation.streamed)
    if kind is not None
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_changed_is_what_has_a_reason(kind: RequestType) -> None:
    operation, streaming = KINDS[kind]
    changed = {
        place
        for _, request in KEPT.requests(operation)
        for place in request_fields.changed(operation, request, streaming)
    }
    assert changed == set(REASONS[kind])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("responses")])
def test_the_ledger_tells_of_every_field_that_is_changed(kind: RequestType) -> None:
    operation, streaming = KINDS[kind]
    silent = [
        place
        for place, request in KEPT.requests(operation)
        for changed in request_fields.changed(operation, request, streaming)
        if changed != "stream" and changed in request  # what is added was not the client's
        if not request_fields.noted(operation, request, streaming)
    ]
    assert silent == []


def test_every_field_of_every_operation_is_tried() -> None:
    document = json.loads(schemas.kept_file("0.32.0").read_text())
    for operation in request_fields.OPERATIONS_OF:
        (media,) = document["paths"][operation.path]["post"]["requestBody"]["content"].values()
        variants = media["schema"].get("anyOf", [media["schema"]])
        named = {
            name
            for variant in variants
            for name in document["components"]["schemas"][variant["$ref"].rpartition("/")[2]]["properties"]
        }
        assert named - set(KEPT.fields(operation)) <= {"file"}


def test_a_field_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    operation, _ = KINDS["chat_completion"]
    request = next(each for place, each in KEPT.requests(operation) if place == "top_k")
    assert request_fields.changed(operation, request, False) == set()
    monkeypatch.setattr("translate.parameters._DROPPED", {"top_k": "gone"})
    monkeypatch.setattr("translate.parameters._RULED", frozenset({"top_k"}))
    assert request_fields.changed(operation, request, False) == {"top_k"}


def test_the_page_says_what_the_tables_say() -> None:
    assert (ROOT / "docs" / "vllm-fields.md").read_text() == request_fields.page()
