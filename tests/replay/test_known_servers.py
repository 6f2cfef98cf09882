"""Each cell of the table of known servers is what the recordings that it names say."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from translate.servers import TABLE, TRAITS, Value
from transports import Recording, Recordings

CASSETTES = Path(__file__).parents[2] / "cassettes"
CELLS = [(version, trait) for version, row in TABLE.items() for trait in row]


def body(recording: Recording) -> Any:
    return json.loads(recording.body)


def text(recording: Recording) -> str:
    content = body(recording)["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content.strip()


def structured_outputs(guided: Recording, structured: Recording) -> Value:
    """Paris is what the model says, Rome what it may say."""
    said = {"guided": text(guided), "structured_outputs": text(structured)}
    read = tuple(name for name, answer in said.items() if answer == "Rome")
    assert set(said.values()) == {"Rome", "The capital of France is Paris."} or len(read) == len(said)
    return read[0] if len(read) == 1 else read


def efforts(unknown: Recording) -> Value:
    if unknown.status == 200:
        return "any"
    listed = re.search(r"Input should be ((?:'[a-z]+'(?:, | or )?)+)", body(unknown)["error"]["message"])
    assert listed is not None
    return tuple(re.findall("'([a-z]+)'", listed[1]))


def thoughts_read(*recordings: Recording) -> Value:
    """A thought that is read makes the prompt longer."""
    newer, older, none = (body(recording)["usage"]["prompt_tokens"] for recording in recordings)
    lengths = {"reasoning": newer, "reasoning_content": older}
    return tuple(name for name, length in lengths.items() if length > none)


def thoughts_said(whole: Recording, streamed: Recording) -> Value:
    names = ("reasoning", "reasoning_content")
    message = body(whole)["choices"][0]["message"]
    frames = [json.loads(line[6:]) for line in streamed.body.split(b"\n") if line.startswith(b"data: {")]
    deltas = [choice["delta"] for frame in frames for choice in frame["choices"]]
    said = tuple(name for name in names if message.get(name))
    assert said == tuple(name for name in names if any(delta.get(name) for delta in deltas))
    return said


def reception(recording: Recording) -> Value:
    assert recording.status in {200, 400}
    return "accepted" if recording.status == 200 else "refused"


def errors(recording: Recording) -> Value:
    document = body(recording)
    assert recording.status == 404
    return "nested" if "message" in document.get("error", {}) else "flat" if document["message"] else ""


def rerank_paths(*recordings: Recording) -> Value:
    return tuple(each.path for each in recordings if each.status == 200 and body(each)["results"])


JUDGES: Mapping[str, Callable[..., Value]] = {
    "structured_outputs": structured_outputs,
    "efforts": efforts,
    "thoughts_read": thoughts_read,
    "thoughts_said": thoughts_said,
    **dict.fromkeys(
        (
            "tools_empty", "choice_without_tools", "choice_any", "arguments_as_object", "stream_options_alone",
            "top_logprobs_alone",
        ),
        reception,
    ),
    "errors": errors,
    "rerank_paths": rerank_paths,
}  # fmt: skip


def recorded(names: Sequence[str], version: str) -> list[Recording]:
    return [Recordings.load(CASSETTES / f"{name}@vllm-{version}.yaml")[0] for name in names]


@pytest.mark.parametrize(("version", "trait"), CELLS, ids=[" ".join(cell) for cell in CELLS])
def test_a_cell_is_what_its_recordings_say(version: str, trait: str) -> None:
    cell = TABLE[version][trait]
    assert cell.proof
    assert JUDGES[trait](*recorded(cell.proof, version)) == cell.value


def test_every_trait_has_a_judge_and_is_known_of_the_newest() -> None:
    assert list(TRAITS) == list(JUDGES) == list(TABLE["0.32.0"])
    assert all(set(row) <= set(TRAITS) for row in TABLE.values())
