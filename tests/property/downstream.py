"""What a client makes of a stream: chunks added up, strictly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Call:
    """A tool call that is being told."""

    id: str
    name: str
    arguments: str


@dataclass
class Choice:
    """One choice, added up."""

    role: str | None = None
    content: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    logprobs: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: object = None


def _add_call(choice: Choice, delta: Mapping[str, object]) -> None:
    number, function = delta["index"], delta["function"]
    assert isinstance(number, int)
    assert isinstance(function, dict)
    if number == len(choice.calls):
        assert delta["type"] == "function"
        assert delta["id"]
        choice.calls.append(Call(str(delta["id"]), function["name"], function["arguments"]))
    else:
        assert 0 <= number < len(choice.calls), "calls are numbered 0, 1, 2, ..."
        assert set(delta) == {"index", "function"}, "a call has its id, type and name once"
        assert set(function) == {"arguments"}
        choice.calls[number].arguments += function["arguments"]


def _add_delta(choice: Choice, delta: Mapping[str, object]) -> None:
    if "role" in delta:
        assert choice.role is None, "the role comes once"
        choice.role = str(delta["role"])
    content = delta.get("content")
    assert content is None or isinstance(content, str)
    choice.content += content or ""
    assert delta.get("reasoning") == delta.get("reasoning_content")
    assert ("reasoning" in delta) == ("reasoning_details" in delta)
    thought = delta.get("reasoning", "")
    assert isinstance(thought, str)
    choice.reasoning += thought
    calls = delta.get("tool_calls", ())
    assert isinstance(calls, list | tuple)
    for call in calls:
        _add_call(choice, call)


def _add_entry(choice: Choice, entry: Mapping[str, object]) -> None:
    delta = entry["delta"]
    assert isinstance(delta, dict)
    _add_delta(choice, delta)
    logprobs = entry["logprobs"]
    if isinstance(logprobs, dict):
        choice.logprobs += [token["token"] for token in logprobs["content"]]
    token_ids = entry.get("token_ids")
    if isinstance(token_ids, list):
        choice.token_ids += token_ids
    reason = entry["finish_reason"]
    if reason is not None:
        assert choice.finish_reason is None, "one finish reason for each choice"
        choice.finish_reason = str(reason)
    if "stop_reason" in entry:
        choice.stop_reason = entry["stop_reason"]


def added_up(chunks: Iterable[Mapping[str, object]]) -> dict[int, Choice]:
    """The choices of a stream by their index."""
    out: dict[int, Choice] = {}
    for chunk in chunks:
        entries = chunk["choices"]
        assert isinstance(entries, Sequence)
        indexes = [entry["index"] for entry in entries]
        assert len(set(indexes)) == len(indexes)
        for entry in entries:
            _add_entry(out.setdefault(entry["index"], Choice()), entry)
    return out
