"""What hypothesis draws from for any operation on JSON: requests and replies, in one table."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests import completion_strategies, embedding_strategies, rerank_strategies
from tests import strategies as some
from tests.strategies import JSON
from translate.types import RequestType


class Kind(NamedTuple):
    """One kind of request as tests see it.

    ``operations`` are the plain one and, if there is one, the streamed one.
    ``inputs`` says under which name a request has what clients call otherwise,
    ``given`` what stands there; ``expected`` is what every success has.
    """

    operations: tuple[RequestType, ...]
    path: str
    inputs: Mapping[str, str]
    given: Mapping[str, SearchStrategy[JSON]]
    parameters: Mapping[str, SearchStrategy[JSON]]
    expected: str
    bodies: SearchStrategy[bytes]

    def __repr__(self) -> str:
        return self.operations[0]


KINDS: Final = (
    Kind(
        ("text_completion", "text_completion_stream"),
        "/v1/completions",
        {"prompt": "input"},
        {"prompt": completion_strategies.prompts},
        completion_strategies.PARAMETERS,
        "choices",
        completion_strategies.bodies,
    ),
    Kind(
        ("embedding",),
        "/v1/embeddings",
        {"input": "input"},
        {"input": embedding_strategies.inputs},
        embedding_strategies.PARAMETERS,
        "data",
        embedding_strategies.bodies | embedding_strategies.spelled_bodies(),
    ),
    Kind(
        ("rerank",),
        "/v1/rerank",
        {"query": "query", "documents": "documents"},
        {"query": some.sane_texts, "documents": rerank_strategies.candidates},
        rerank_strategies.PARAMETERS,
        "results",
        rerank_strategies.bodies,
    ),
)


@st.composite
def _parameters(draw: DrawFn, kind: Kind) -> dict[str, JSON]:
    given = draw(some.some_of(kind.parameters))
    if given and draw(st.integers(0, 4)) == 0:
        given[draw(st.sampled_from(sorted(given)))] = draw(st.none() | some.json_values)
    return given


@st.composite
def flat_requests(draw: DrawFn, kind: Kind, wrong: bool = True) -> dict[str, JSON]:
    """An OpenAI-style body, its members in any order."""
    out = draw(_parameters(kind))
    out["model"] = draw(st.sampled_from(["vllm/org/name", "vllm//models/x", "plain", "org/name"]))
    out |= {name: draw(values) for name, values in kind.given.items()}
    nested: dict[str, SearchStrategy[JSON]] = {
        "extra_body": _parameters(kind) | st.none(),
        "fallbacks": st.just(["vllm/other"]),
    }
    if "rerank" in kind.operations:
        nested["params"] = _parameters(kind) | st.none()
    out |= draw(some.some_of(nested))
    if wrong and draw(st.integers(0, 3)) == 0:
        out[draw(st.sampled_from(["model", "extra_body", "params", *kind.given]))] = draw(some.json_values)
    order = draw(st.permutations(sorted(out)))
    return {name: out[name] for name in order}


@st.composite
def requests(draw: DrawFn, kind: Kind) -> dict[str, JSON]:
    """A Bifrost request, now and then with something wrong in one place."""
    params = draw(_parameters(kind))
    params |= draw(some.some_of({name: _parameters(kind) for name in ("extra_params", "extra_body")}))
    out: dict[str, JSON] = {"provider": "vllm", "model": "org/name", "params": params}
    out |= {kind.inputs[name]: draw(values) for name, values in kind.given.items()}
    match draw(st.integers(0, 7)):
        case 0:
            del out[draw(st.sampled_from(sorted(out)))]
        case 1:
            out[draw(st.sampled_from(sorted(out)))] = draw(some.json_values)
        case 2:
            params[draw(st.sampled_from(["extra_params", "extra_body"]))] = draw(some.json_values)
    return out


_NAMES = [
    "provider", "model", "input", "prompt", "messages", "query", "documents", "params", "extra_params", "extra_body",
    "encoding_format", "top_n", "return_documents", "n", "stream", "stream_options", "structured_outputs", "tools",
]  # fmt: skip
anything: SearchStrategy[dict[str, JSON]] = some.json_objects | st.dictionaries(
    st.sampled_from(_NAMES), some.json_values | st.just([{"text": {"text": ""}}]), max_size=6
)
"""Any JSON object; often one that looks like a request from afar."""
