"""The list of models that a server gives."""

from collections.abc import Mapping

import pytest

from translate import Call, Failure, models
from transports.base import Cut, Reply

CALL = Call("list_models")
JSON: Mapping[str, str] = {"content-type": "application/json"}
EXTRA = {
    "request_type": "list_models",
    "provider": "vllm",
    "routing_info": {"provider": "vllm"},
    "latency": 3,
    "chunk_index": 0,
}


def test_the_plan_is_one_get() -> None:
    assert models.plan({"provider": "vllm"}, CALL) == ("GET", "/v1/models", None)


@pytest.mark.parametrize(
    ("body", "rows", "others", "notes"),
    [
        pytest.param(
            b'{"object":"list","data":[{"id":"org/m","object":"model","created":1,"owned_by":"vllm","root":"m",'
            b'"parent":null,"max_model_len":1024,"permission":[{"id":"p"}]}]}',
            [
                {
                    "id": "vllm/org/m",
                    "object": "model",
                    "created": 1,
                    "owned_by": "vllm",
                    "root": "m",
                    "max_model_len": 1024,
                    "permission": [{"id": "p"}],
                    "context_length": 1024,
                }
            ],
            {"object": "list"},
            None,
            id="vLLM's list",
        ),
        pytest.param(
            b'{"data":[{"id":"lora_1","root":"/loras/1","parent":"org/m","max_model_len":null}]}',
            [{"id": "vllm/lora_1", "root": "/loras/1", "parent": "org/m"}],
            {},
            None,
            id="an adapter",
        ),
        pytest.param(
            b'[{"id":"a"},5]',
            [{"id": "vllm/a"}],
            {},
            [{"param": "data[1]", "action": "dropped", "detail": "not an object"}],
            id="a bare array",
        ),
    ],
)
def test_rows(body: bytes, rows: object, others: dict[str, object], notes: object) -> None:
    outcome = models.parse({"provider": "vllm"}, Reply(200, JSON, body, 3), 3, CALL)
    told = {} if notes is None else {"translation_notes": notes}
    assert outcome == {**others, "data": rows, "extra_fields": {**EXTRA, **told}}


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (Reply(401, JSON, b'{"error":"Unauthorized"}'), 401, "Unauthorized"),
        (Reply(200, JSON, b'{"error":{"message":"no","code":500}}'), 500, "no"),
        (Reply(200, JSON, b"{}"), None, "failed to unmarshal response from provider API"),
        (Reply(200, JSON, b"x"), None, "failed to unmarshal response from provider API"),
        (
            Reply(0, {}, cut=Cut("read", "connection reset")),
            502,
            "failed to execute HTTP request to provider API: connection reset",
        ),
    ],
)
def test_failures(reply: Reply, status: int | None, message: str) -> None:
    outcome = models.parse({"provider": "vllm"}, reply, 3, CALL)
    assert isinstance(outcome, Failure)
    assert (outcome.error.get("status_code"), outcome.error["error"]["message"]) == (status, message)
