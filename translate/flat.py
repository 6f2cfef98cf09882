"""The form in which HTTP clients write requests, turned into Bifrost's.

Clients send one flat object, as OpenAI's API has it; a Bifrost request keeps
model, input, parameters and fallbacks apart. Nothing is judged here but what
must be known to take the object apart, and nothing is lost: every other key
goes to ``params``, known to us or not, in the client's order.
"""

from collections.abc import Mapping
from typing import Final

from .envelope import PROVIDER
from .errors import invalid
from .plan import Failure
from .types import Document

_PREFIX: Final = PROVIDER + "/"


def split_model(model: str) -> tuple[str, str]:
    """Provider and model of ``provider/model``.

    The provider is empty when the text before the first slash is not one:
    ``vllm/org/name`` is ``("vllm", "org/name")``, ``org/name`` is
    ``("", "org/name")``, ``vllm//models/x`` is ``("vllm", "/models/x")``.
    """
    if model.startswith(_PREFIX):
        return PROVIDER, model.removeprefix(_PREFIX)
    return "", model


def named_model(flat: Document) -> tuple[str, str] | Failure:
    """Provider and model that a flat request names."""
    model = flat.get("model")
    if model is not None and not isinstance(model, str):
        return invalid("model must be text", "model")
    named = split_model(model or "")
    return named if named[1].strip() else invalid("model is required", "model")


def request_model(request: Document) -> str:
    """The model that goes upstream; empty when the request names none.

    Only a request that names no provider may carry one in its model.
    """
    model = request.get("model")
    if not isinstance(model, str):
        return ""
    return model if request.get("provider") or not model.startswith(_PREFIX) else split_model(model)[1]


def taken_apart(flat: Document, inputs: Mapping[str, str]) -> dict[str, object] | Failure:
    """The Bifrost request that ``flat`` means.

    ``inputs`` maps flat names to those of the request. ``stream`` is left out:
    the operation decides it.
    """
    named = named_model(flat)
    if isinstance(named, Failure):
        return named
    request: dict[str, object] = {"provider": named[0], "model": named[1]}
    params = dict(flat)
    params.pop("model", None)
    params.pop("stream", None)
    for name in inputs:
        if name in params:
            request[inputs[name]] = params.pop(name)
    if "fallbacks" in params:
        request["fallbacks"] = params.pop("fallbacks")
    if "extra_params" in params:  # in the flat form a name like any other
        params["extra_params"] = {"extra_params": params["extra_params"]}
    if params:
        request["params"] = params
    return request
