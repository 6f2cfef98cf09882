"""Text completions: ``POST /v1/completions``, streamed and not.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#completions-api
"""

from collections.abc import Sequence
from typing import Final

from . import choices, documents, errors, parameters
from .chunks import generated
from .completion_stream import CompletionInterpreter
from .conversation import Once
from .exchange import Built, answered, ledger, opened, sent
from .flat import request_model, taken_apart
from .fold import Fold, choose
from .plan import Call, Failure, HeadLike, Note, Plan, ReplyLike
from .replies import document_of
from .types import Document

PATH: Final = "/v1/completions"


def from_flat(flat: Document) -> Document | Failure:
    """The Bifrost request that an OpenAI-style body means."""
    return taken_apart(flat, {"prompt": "input"})


def plan(request: Document, call: Call) -> Plan | Failure:
    """What to send; a failure names the place in the request that is at fault."""
    return ONCE.plan(_built(request, call), request, call)


def noted(request: Document, call: Call) -> Sequence[Note]:
    """What planning does to the request."""
    return ledger(_built(request, call))


def parse(request: Document, reply: ReplyLike, spent_ms: int, call: Call) -> Document | Failure:
    """The answer in Bifrost's form; ``spent_ms`` is the time of all attempts.

    Log probabilities stay as they came: with ``echo`` the first one is null.
    """
    return _parsed(_built(request, call), request, reply, spent_ms, call)


def _parsed(
    built: Built | Failure, request: Document, reply: ReplyLike, spent_ms: int, call: Call
) -> Document | Failure:
    notes = ledger(built)
    return answered(_read(request, reply, notes), built, notes, request_model(request), reply, spent_ms, call)


def fold(request: Document, head: HeadLike, call: Call) -> Fold:
    """The state machine for a streamed answer that began with ``head``."""
    model = request_model(request)
    asked = sent(_built(request, call))
    chunks = generated(call, "text_completion", model, asked)
    expected = _prompts(asked.body) * max(documents.as_integer(asked.body.get("n")) or 1, 1)
    return choose(head, call, model, CompletionInterpreter(chunks, expected))


def _built(request: Document, call: Call) -> Built | Failure:
    notes: list[Note] = []
    head = opened(request, notes)
    if isinstance(head, Failure):
        return head
    model, params = head
    streaming = call.request_type == "text_completion_stream"
    fields = parameters.completion_fields(params, streaming, call, notes)
    if isinstance(fields, Failure):
        return fields
    prompt = request.get("input")
    if prompt is None or prompt in ("", [], ()):
        if "prompt_embeds" in fields:
            if "input" in request:
                notes.append(Note("prompt", "dropped", "empty"))
            return Built(PATH, {"model": model, **fields}, notes)
        return errors.invalid("prompt is required for text completion", "prompt")
    if not isinstance(prompt, str) and documents.as_array(prompt) is None:
        return errors.invalid("prompt must be text or an array", "prompt")
    return Built(PATH, {"model": model, "prompt": prompt, **fields}, notes)


ONCE: Final = Once(_built, _parsed)


def _prompts(body: Document) -> int:
    """How many prompts there are; one may be an array of token ids."""
    several = [_count(body.get(name)) for name in ("prompt", "prompt_embeds")]
    return max(sum(several), 1)


def _count(value: object) -> int:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return 1 if value and documents.as_integer(value[0]) is not None else len(value)
    return 0 if value is None else 1


def _read(request: Document, reply: ReplyLike, notes: list[Note]) -> dict[str, object] | Failure:
    document = document_of(reply, "choices")
    if isinstance(document, Failure):
        return document
    said = choices.listed(document, notes)
    if isinstance(said, Failure):
        return said
    answer = choices.answer(document, "text_completion", request_model(request), notes)
    answer["choices"] = [_choice(source, position, notes) for position, source in enumerate(said)]
    return answer


def _choice(source: Document, position: int, notes: list[Note]) -> dict[str, object]:
    text = source.get("text")
    index = choices.numbered(source, position, notes)
    return {
        "index": index,
        **({} if text is None else {"text": text}),
        "finish_reason": choices.finish_reason(source.get("finish_reason"), True, f"choices[{index}]", notes),
        "logprobs": source.get("logprobs"),
        **choices.plain_fields(source, ("index", "text", "finish_reason", "logprobs")),
    }
