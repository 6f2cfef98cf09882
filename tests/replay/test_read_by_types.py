"""What vLLM really said: its rankings and vectors are read by their types, whatever its version."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.property.judgement import encoded
from translate import OPERATIONS, Call, Failure, RequestType, documents, ranking, vectors
from transports import Recording, Recordings, Reply

CASSETTES = Path(__file__).parents[2] / "cassettes"


def said(kind: RequestType) -> list[Recording]:
    return list(Recordings.load(CASSETTES / kind))


def is_answer(recording: Recording) -> bool:
    document = documents.decode(recording.body)
    return recording.status == 200 and isinstance(document, dict) and document.get("object") != "error"


def each(kind: RequestType, answers: bool = True) -> pytest.MarkDecorator:
    chosen = [recording for recording in said(kind) if not answers or is_answer(recording)]
    return pytest.mark.parametrize("recording", chosen, ids=lambda recording: recording.name)


def asked(recording: Recording) -> Mapping[str, object]:
    return documents.decode_object(recording.request_body or b"")  # type: ignore[return-value]


@each("rerank")
def test_a_ranking_is_read_by_its_types(recording: Recording) -> None:
    candidates = documents.as_array(asked(recording)["documents"]) or ["the only one"]
    for returned in (None, candidates):
        assert ranking.read(recording.body, len(candidates), returned) is not None


@each("embedding")
def test_vectors_are_read_by_their_types(recording: Recording) -> None:
    in_base64 = asked(recording).get("encoding_format") == "base64"
    assert vectors.read(recording.body, in_base64) is not None


def as_bytes(kind: RequestType, recording: Recording, verbatim: bool) -> bytes:
    flat = documents.decode(recording.request_body or b"")
    operation = OPERATIONS[kind]
    request = operation.from_flat(flat) if isinstance(flat, dict) else {}
    if isinstance(request, Failure):
        request = {}
    reply = Reply(recording.status, {}, recording.body)
    outcome = operation.parse(request, reply, 5, Call(kind, verbatim=verbatim))
    return encoded(outcome.error if isinstance(outcome, Failure) else outcome)


@each("rerank", answers=False)
def test_a_ranking_is_the_same_bytes_either_way(recording: Recording) -> None:
    assert as_bytes("rerank", recording, verbatim=True) == as_bytes("rerank", recording, verbatim=False)


@each("embedding", answers=False)
def test_vectors_are_the_same_bytes_either_way(recording: Recording) -> None:
    assert as_bytes("embedding", recording, verbatim=True) == as_bytes("embedding", recording, verbatim=False)
