"""A client of streamed responses that puts up with nothing.

It accumulates a response from the events alone and holds every event against
what came before: what is closed must have been opened, what is told in pieces
must add up to what is told at the end, and the last event must repeat it all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
_PARTS = {"reasoning_text": "text", "output_text": "text", "refusal": "refusal"}


class StrictClient:
    """Takes events one by one; ``final`` is the response, once it has come."""

    def __init__(self) -> None:
        self.final: Any = None
        self._count = 0
        self._begun: Any = None
        self._done: list[Any] = []
        self._item: Any = None  # the open one, as announced
        self._parts: list[Any] = []  # its closed parts
        self._part: Any = None  # its open part
        self._told = ""  # of the open part, or of the arguments
        self._arguments: str | None = None  # once they are done

    def take(self, event: Mapping[str, Any]) -> None:
        kind = event["type"].removeprefix("response.")
        assert self.final is None, "nothing comes after the end"
        assert event["sequence_number"] == self._count
        self._count += 1
        if self._count <= 2:
            assert kind == ("created", "in_progress")[self._count - 1]
            self._begin(event["response"])
        elif event["type"] in TERMINAL:
            self._end(kind, event["response"])
        elif kind == "output_item.added":
            self._open(event)
        elif kind == "output_item.done":
            self._close(event)
        elif kind.startswith("function_call_arguments."):
            self._argue(kind, event)
        else:
            self._speak(kind, event)

    def _begin(self, response: Any) -> None:
        assert response["status"] == "in_progress"
        assert response["output"] == []
        assert self._begun in (None, response)
        self._begun = response

    def _open(self, event: Mapping[str, Any]) -> None:
        assert self._item is None, "one item is open at a time"
        assert event["output_index"] == len(self._done)
        self._item = event["item"]
        assert self._item["status"] == "in_progress"
        assert self._item.get("content", []) == []
        assert self._item.get("arguments", "") == ""
        assert self._item["id"] not in {item["id"] for item in self._done}
        self._parts, self._told, self._arguments = [], "", None

    def _where(self, event: Mapping[str, Any]) -> None:
        assert self._item is not None
        assert event["output_index"] == len(self._done)
        assert event["item_id"] == self._item["id"]

    def _argue(self, kind: str, event: Mapping[str, Any]) -> None:
        self._where(event)
        assert self._item["type"] == "function_call"
        assert self._arguments is None
        if kind.endswith("delta"):
            assert event["delta"]
            self._told += event["delta"]
        else:
            self._arguments = event["arguments"]
            assert self._arguments == self._told
            assert event["name"] == self._item["name"]

    def _speak(self, kind: str, event: Mapping[str, Any]) -> None:
        self._where(event)
        assert event["content_index"] == len(self._parts)
        if kind == "content_part.added":
            assert self._part is None
            self._part, self._told = event["part"], ""
            assert self._part[_PARTS[self._part["type"]]] == ""
            assert (self._item["type"] == "reasoning") == (self._part["type"] == "reasoning_text")
            return
        assert self._part is not None
        name = self._part["type"]
        if kind == f"{name}.delta":
            assert event["delta"]
            self._told += event["delta"]
        elif kind == f"{name}.done":
            assert event[_PARTS[name]] == self._told
            self._part = {**self._part, _PARTS[name]: self._told}
        else:
            assert kind == "content_part.done"
            part = {**event["part"]}
            assert part == {**self._part, **({"logprobs": part["logprobs"]} if "logprobs" in part else {})}
            self._parts.append(event["part"])
            self._part = None

    def _close(self, event: Mapping[str, Any]) -> None:
        assert self._item is not None
        assert self._part is None
        assert event["output_index"] == len(self._done)
        item = event["item"]
        assert item["status"] in {"completed", "incomplete"}
        said = {"arguments": self._arguments} if item["type"] == "function_call" else {"content": self._parts}
        assert item == {**self._item, "status": item["status"], **said}
        assert all(part["type"] for part in self._parts)
        self._done.append(item)
        self._item = None

    def _end(self, kind: str, response: Any) -> None:
        assert response["status"] == kind
        output = response["output"]
        assert output[: len(self._done)] == self._done
        if kind != "failed":
            assert self._item is None
            assert output == self._done
            assert output, "there is always something"
        unchanged = {"id", "object", "created_at", "model", "tools", "tool_choice", "metadata"}
        assert all(response[name] == self._begun[name] for name in unchanged)
        assert all(item["status"] == "completed" for item in output[:-1]) or kind == "failed"
        call_ids = [item["call_id"] for item in output if item["type"] == "function_call"]
        assert len(set(call_ids)) == len(call_ids)
        self.final = response


def accumulated(events: Iterable[Mapping[str, Any]]) -> Any:
    """The response that events add up to; there must be one."""
    client = StrictClient()
    for event in events:
        client.take(event)
    assert client.final is not None
    return client.final
