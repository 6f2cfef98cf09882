"""What versions of vLLM read and say, as far as recordings prove it.

Each cell of the table names the recordings that prove it, one file each:
``cassettes/<name>@vllm-<version>.yaml``. A version between two that agree is
taken to agree with them. Where they do not, and for any version newer than all
of them, nothing is known, and requests stay in the form that is safe anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from . import documents

Value = str | tuple[str, ...]


class Cell(NamedTuple):
    """What is so of a version, and the recordings that prove it."""

    value: Value
    proof: tuple[str, ...]


PATH: Final = "/version"
"""Where a server says which it is."""

TRAITS: Final[Mapping[str, str]] = {
    "structured_outputs": "what it calls the constraints of an answer; other names are overlooked",
    "efforts": "the labels of reasoning_effort that it accepts; `any` is overlooked, too",
    "thoughts_read": "where it reads an earlier thought of the assistant",
    "thoughts_said": "where it says a thought",
    "tools_empty": "an empty list of tools",
    "choice_without_tools": "`tool_choice` without tools",
    "choice_any": "`tool_choice: any`",
    "arguments_as_object": "arguments of an earlier call that are an object",
    "stream_options_alone": "`stream_options` of an answer that is not streamed",
    "top_logprobs_alone": "`top_logprobs` without `logprobs`",
    "errors": "how an error is wrapped",
    "rerank_paths": "the paths that answer a rerank",
}
"""The columns of the table."""

_CHOICES: Final = ("chat_completion/guided_choice_as_sent", "chat_completion/structured_choice_as_sent")
_THOUGHTS: Final = (
    "chat_completion/thought_as_reasoning",
    "chat_completion/thought_as_reasoning_content",
    "chat_completion/thought_forgotten",
)
_HELLO: Final = ("chat_completion/hello", "chat_completion_stream/hello")
_EFFORTS: Final = ("chat_completion/effort_unknown",)
_RERANK: Final = ("rerank/first_path", "rerank/second_path", "rerank/third_path")
_ALL_PATHS: Final = ("/v1/rerank", "/rerank", "/v2/rerank")


def _of_chat(name: str) -> tuple[str, ...]:
    return (f"chat_completion/{name}",)


TABLE: Final[Mapping[str, Mapping[str, Cell]]] = {
    "0.8.5": {
        "thoughts_said": Cell(("reasoning_content",), _HELLO),
        "errors": Cell("flat", _of_chat("unknown_model")),
    },
    "0.16.0": {
        "structured_outputs": Cell("structured_outputs", _CHOICES),
        "efforts": Cell(("low", "medium", "high"), _EFFORTS),
        "thoughts_read": Cell(("reasoning",), _THOUGHTS),
        "thoughts_said": Cell(("reasoning",), _HELLO),
        "tools_empty": Cell("accepted", _of_chat("tools_empty")),
        "choice_without_tools": Cell("refused", _of_chat("tool_choice_without_tools")),
        "choice_any": Cell("refused", _of_chat("tool_choice_any")),
        "arguments_as_object": Cell("refused", _of_chat("arguments_as_object")),
        "stream_options_alone": Cell("refused", _of_chat("stream_options_alone")),
        "top_logprobs_alone": Cell("refused", _of_chat("top_logprobs_alone")),
        "errors": Cell("nested", _of_chat("unknown_model")),
        "rerank_paths": Cell(_ALL_PATHS, _RERANK),
    },
    "0.32.0": {
        "structured_outputs": Cell("structured_outputs", _CHOICES),
        "efforts": Cell(("none", "minimal", "low", "medium", "high", "xhigh", "max"), _EFFORTS),
        "thoughts_read": Cell(("reasoning", "reasoning_content"), _THOUGHTS),
        "thoughts_said": Cell(("reasoning",), _HELLO),
        "tools_empty": Cell("refused", _of_chat("tools_empty")),
        "choice_without_tools": Cell("refused", _of_chat("tool_choice_without_tools")),
        "choice_any": Cell("refused", _of_chat("tool_choice_any")),
        "arguments_as_object": Cell("refused", _of_chat("arguments_as_object")),
        "stream_options_alone": Cell("refused", _of_chat("stream_options_alone")),
        "top_logprobs_alone": Cell("refused", _of_chat("top_logprobs_alone")),
        "errors": Cell("nested", _of_chat("unknown_model")),
        "rerank_paths": Cell(_ALL_PATHS, _RERANK),
    },
}

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every label that some version accepts, from the least effort to the most."""

_VERSION: Final = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?(?![0-9.]*[0-9])")


@dataclass(frozen=True, slots=True)
class Server:
    """What a server reads, where that decides how a request is written.

    ``efforts`` are the labels of ``reasoning_effort`` that it accepts, none
    when it overlooks them all, ``None`` when that is not known.
    """

    version: str = ""
    structured_outputs: Literal["native", "legacy"] | None = None
    efforts: tuple[str, ...] | None = None

    def nearest(self, effort: object) -> object:
        """The label that it accepts and that is next to ``effort``; the lesser of two, any other as it is."""
        if not self.efforts or effort in self.efforts or effort not in EFFORTS:
            return effort
        wanted = EFFORTS.index(str(effort))
        return min(self.efforts, key=lambda label: abs(EFFORTS.index(label) - wanted))


UNKNOWN: Final = Server()


def numbers(version: str) -> tuple[int, ...] | None:
    """``0.16.0``, ``v0.16`` or ``0.16.1rc2+cpu`` as numbers; ``None`` for what is no version."""
    found = _VERSION.match(version.strip())
    return None if found is None else tuple(int(part or 0) for part in found.groups())


def cell(version: str, trait: str) -> Value | None:
    """What is known of a trait of this version, if anything is."""
    at = numbers(version)
    if at is None:
        return None
    known = sorted((numbers(each) or (), row[trait].value) for each, row in TABLE.items() if trait in row)
    below = [value for number, value in known if number <= at]
    above = [value for number, value in known if number >= at]
    return below[-1] if below and above and below[-1] == above[0] else None


def told(body: bytes) -> str:
    """The version in the answer to ``GET /version``; empty when there is none."""
    document = documents.decode(body)
    version = document.get("version") if isinstance(document, Mapping) else None
    return version if isinstance(version, str) and numbers(version) is not None else ""


def server(version: str) -> Server:
    """What the table says of a version; of ``""`` it says nothing."""
    if not version:
        return UNKNOWN
    names, efforts = cell(version, "structured_outputs"), cell(version, "efforts")
    return Server(
        version,
        None if names is None else "native" if "structured_outputs" in names else "legacy",
        () if efforts == "any" else efforts if isinstance(efforts, tuple) else None,
    )
