"""serving.observation: what is counted, and what is remembered for the next request."""

from collections.abc import Mapping

import pytest

from routing import attempts, settings
from routing.fallbacks import Fallback
from routing.metrics import Label
from serving import observation
from serving.metrics import Metrics
from serving.observation import Observation, Observer, tokens
from translate import documents

KEY = settings.Key("gpu-a", "a", url="http://localhost:1", models=("*",))
CONFIG = settings.Config((KEY,))


def finish(observer: Observer, model: str = "m", **more: object) -> None:
    """One request that the server served."""
    seen = Observation("POST", "/v1/embeddings", "id", "::1", 0.0, 0.0)
    course = attempts.Course(CONFIG, attempts.Ask("vllm", model), Fallback("vllm", model))
    seen.tried = seen.served = attempts.Try(KEY, model, None, 0.0, course)
    seen.upstream.append((seen.tried, 0.25, True))
    seen.operation, seen.model, seen.status = "embedding", model, 200
    for name, value in more.items():
        setattr(seen, name, value)
    observer.began(seen.method)
    observer.count(seen)


def values(metrics: Metrics) -> Mapping[str, str]:
    lines = metrics.text().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, (None, None, None)),
        (
            {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
            (1, 2, 3),
        ),
        ({"input_tokens": 1, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 3}}, (1, 2, 3)),
        ({"prompt_tokens": None, "input_tokens": 1}, (None, None, None)),
        ({"prompt_tokens": True, "completion_tokens": -1, "prompt_tokens_details": 3}, (None, None, None)),
        ({"prompt_tokens": 2**63 - 1, "completion_tokens": 10**400}, (2**63 - 1, None, None)),
        ({"prompt_tokens": 1.5, "completion_tokens": "2"}, (None, None, None)),
    ],
)
def test_tokens_under_any_name(
    usage: dict[str, object], expected: tuple[int | None, int | None, int | None]
) -> None:
    assert tokens(usage) == expected


def test_a_label_that_is_no_text_costs_nobody_the_metrics() -> None:
    config = settings.Config((KEY,), labels=(Label("team"),))
    metrics = Metrics(config.labels)
    finish(Observer(config, metrics), headers=[("x-bf-dim-team", "caf\udce9")])
    counted = 'http_requests_total{method="POST",path="/v1/embeddings",status="200",team="caf?"}'
    assert values(metrics)[counted] == "1.0"


def test_only_so_many_groups_are_remembered_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "_MOST_REMEMBERED", 3)
    metrics = Metrics()
    observer = Observer(CONFIG, metrics)
    for number in range(20):
        finish(observer, f"m-{number % 5}")
        assert len(observer._groups) <= 3
    served = {
        labels: value
        for labels, value in values(metrics).items()
        if labels.startswith("bifrost_success_requests_total")
    }
    assert len(served) == 5
    assert set(served.values()) == {"4.0"}


def test_models_that_clients_make_up_are_not_remembered_one_by_one() -> None:
    metrics = Metrics()
    observer = Observer(CONFIG, metrics)
    refusal = {"error": {"status_code": 404}, "status": 404, "served": None}
    for number in range(5):
        finish(observer, f"m-{number}", **refusal, tried=None, upstream=[])
    assert len(observer._groups) == 1
    for number in range(5):
        finish(observer, f"m-{number}", **refusal, upstream=[])
    assert len(observer._groups) == 2
    finish(observer, "m" * 257)
    assert len(observer._groups) == 2
    failed = {
        name: value for name, value in values(metrics).items() if name.startswith("bifrost_error_requests")
    }
    assert set(failed.values()) == {"5.0"}
    assert len(failed) == 2


def test_the_second_request_is_counted_by_what_is_remembered_of_the_first() -> None:
    observer = Observer(CONFIG, Metrics())
    finish(observer)
    first = dict(observer._groups)
    finish(observer)
    assert dict(observer._groups) == first
    assert len(first) == 1


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (documents.Encoded(b"no JSON", tokens=(1, 2**70, 2)), (1, None, 2)),
        (documents.Encoded(b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'), (3, 4, None)),
    ],
    ids=["told", "decoded"],
)
def test_an_answer_that_tells_its_tokens_is_not_decoded_for_them(
    document: documents.Encoded, expected: object
) -> None:
    seen = Observation("POST", "/v1/chat/completions", "id", "::1", 0.0, 0.0)
    seen.used(document)
    assert seen.tokens == expected
