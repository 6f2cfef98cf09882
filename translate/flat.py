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


def named_model(flat: Document) -> tuple[str, str] | Failure:
    """Provider and model that a flat request names.

    The provider is empty when the text before the first slash is not one:
    ``vllm/org/name`` is ``("vllm", "org/name")``, ``org/name`` is
    ``("", "org/name")``, ``vllm//models/x`` is ``("vllm", "/models/x")``.
    """
    model = flat.get("model")
    if not isinstance(model, str):
        return invalid("model is required" if model is None else "model must be text", "model")
    provider = ""
    if model.startswith(_PREFIX):
        provider, model = PROVIDER, model[len(_PREFIX) :]
    return (provider, model) if model.strip() else invalid("model is required", "model")


def request_model(request: Document) -> str:
    """The model that goes upstream; empty when the request names none.

    Only a request that names no provider may carry one in its model.
    """
    model = request.get("model")
    if not isinstance(model, str):
        return ""
    return model.removeprefix(_PREFIX) if model.startswith(_PREFIX) and not request.get("provider") else model


def taken_apart(flat: Document, inputs: Mapping[str, str]) -> dict[str, object] | Failure:
    """The Bifrost request that ``flat`` means.

    ``inputs`` maps flat names to those of the request. ``stream`` is left out:
    the operation decides it.
    """
    named = named_model(flat)
    if isinstance(named, Failure):
        return named
    request: dict[str, object] = {"provider": named[0], "model": named[1]}
    params = parameters_of(flat)
    for name in inputs:
        if name in params:
            request[inputs[name]] = params.pop(name)
    if "fallbacks" in flat:
        request["fallbacks"] = flat["fallbacks"]
    if params:
        request["params"] = params
    return request


def parameters_of(flat: Document) -> dict[str, object]:
    """``params`` of the Bifrost request that ``flat`` means, and its inputs among them."""
    params = dict(flat)
    pop = params.pop
    pop("model", None)
    pop("stream", None)
    pop("fallbacks", None)
    if "extra_params" in params:  # in the flat form a name like any other
        params["extra_params"] = {"extra_params": params["extra_params"]}
    return params
