"""``python -m fuzz.requests_by_schema``: requests that schemathesis makes from ``/openapi.json``.

A gateway is started in front of a server that answers everything in good
health, so that each status of 500 or more is the gateway's own fault. Answers
must be what the document says: their status, type, and shape.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

import gateway
from routing.settings import Config, Key
from tests.e2e.loopback import (
    COMPLETION,
    DONE,
    HELLO,
    MODELS,
    USAGE,
    Exchange,
    LoopThread,
    Upstream,
    reply,
    stream,
)

EXAMPLES: Final = 10
_OPERATIONS: Final = re.compile(r"Tested: (\d+)")
_CASES: Final = re.compile(r"(\d+) generated, (.*)")
_PASSED: Final = re.compile(r"(\d+) passed")
CHECKS: Final = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "unsupported_method",
    "response_schema_conformance", "response_headers_conformance",
)  # fmt: skip
_TEXTS: Final = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "usage": USAGE}
_TEXT: Final = {"index": 0, "text": "Hello", "finish_reason": "stop", "logprobs": None}
_SAID: Final = {"delta": {"content": "Hello"}, "finish_reason": "stop"}
_PIECE: Final = {"object": "transcription.chunk", "choices": [_SAID]}
_VECTOR: Final = {"index": 0, "object": "embedding", "embedding": [0.5]}
_ANSWERS: Final = {
    "/v1/models": reply(MODELS),
    "/v1/chat/completions": reply(COMPLETION),
    "/v1/completions": reply({**_TEXTS, "choices": [_TEXT]}),
    "/v1/embeddings": reply({"object": "list", "data": [_VECTOR], "model": "m", "usage": USAGE}),
    "/v1/rerank": reply({"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "usage": USAGE}),
    "/v1/audio/transcriptions": reply({"text": "Hello"}),
}
_STREAMS: Final = {
    "/v1/chat/completions": stream(*HELLO),
    "/v1/completions": stream({**_TEXTS, "choices": [_TEXT]}, DONE),
    "/v1/audio/transcriptions": stream(_PIECE, DONE),
}


async def healthy(exchange: Exchange) -> None:
    """Answer whatever is asked."""
    path = exchange.seen.line.split(" ")[1]
    wants_stream = exchange.seen.header("accept") == "text/event-stream"
    await (_STREAMS if wants_stream else _ANSWERS)[path](exchange)


class Asked(NamedTuple):
    """How many requests were made, and how many were answered as they should be."""

    operations: int
    made: int
    good: int
    told: str


def run(examples: int) -> Asked:
    """Put requests to every operation of a gateway; raises ``RuntimeError`` when that could not begin."""
    thread, running = LoopThread(), AsyncExitStack()
    with Upstream(thread) as upstream:
        upstream.always_answers(healthy)
        app = gateway.application(Config(keys=(Key("k", "k", url=upstream.url, models=("*",)),)))
        port = thread.run(running.enter_async_context(gateway.listening(app, "127.0.0.1", 0)))
        command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
        command += [f"http://127.0.0.1:{port}/openapi.json", "--checks", ",".join(CHECKS)]
        command += ["--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"]
        command += ["--seed", "1", "--no-color", "--suppress-health-check", "all", "--continue-on-failure"]
        told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        thread.run(running.aclose())
    thread.close()
    operations, made = _OPERATIONS.search(told), _CASES.search(told)
    if operations is None or made is None:
        raise RuntimeError(told[-2000:])
    good = _PASSED.search(made[2])
    return Asked(int(operations[1]), int(made[1]), int(good[1]) if good else 0, told)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.requests_by_schema", description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="for each operation")
    asked = run(parser.parse_args(arguments).examples)
    print(asked.told)
    return 0 if asked.good == asked.made else 1


if __name__ == "__main__":
    sys.exit(main())
