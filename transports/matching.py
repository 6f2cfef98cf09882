"""Which recordings answer a request, and which comes nearest when none does."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from .base import PlanLike, whole
from .cassette import Recording, canonical
from .redaction import Rule, redacted_request

_Key = tuple[str, str, str | bytes]


class Asked(NamedTuple):
    """A request: its method, its path, and its body if there is one."""

    method: str
    path: str
    body: bytes | None


def asked(plan: PlanLike) -> Asked:
    return Asked(plan.method, plan.path, whole(plan.body) if plan.body else None)


class Index:
    """Recordings by the request that they answer.

    Bodies are compared as JSON where they are JSON: the order of keys does not
    matter, 1 is not 1.0. Where fields of a recording were blanked, the same
    fields of a request may hold anything.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = recordings
        rules: dict[tuple[str, ...], tuple[Rule, ...]] = {}
        self._numbers: dict[tuple[Rule, ...], defaultdict[_Key, list[int]]] = {}
        for number, recording in enumerate(recordings):
            applied = rules.setdefault(recording.redacted, tuple(map(Rule, recording.redacted)))
            key = recording.method, recording.path, canonical(recording.request_body)
            self._numbers.setdefault(applied, defaultdict(list))[key].append(number)

    def answers(self, request: Asked) -> tuple[int, ...]:
        """The numbers of the recordings that answer a request, in their order."""
        found: list[int] = []
        for rules, numbers in self._numbers.items():
            body = redacted_request(request.body, rules)
            found += numbers.get((request.method, request.path, canonical(body)), ())
        return tuple(sorted(found))

    def nearest(self, request: Asked) -> str:
        """Why no recording answers a request, in words that follow upon its method and path."""
        nearest: list[tuple[float, str, str]] = []
        for each in self._recordings:
            if (each.method, each.path) == (request.method, request.path):
                body = redacted_request(request.body, tuple(map(Rule, each.redacted)))
                nearest.append((*_distance(body, each.request_body), each.name))
        if not nearest:
            return "; there is none with this method and path"
        _, place, name = min(nearest, key=itemgetter(0))
        return f" with this body; the nearest is {name}, which differs at {place}"


def _distance(body: bytes | None, recorded: bytes | None) -> tuple[float, str]:
    """How far a body is from a recorded one, and the first place where they differ."""
    ours, theirs = body or b"", recorded or b""
    try:
        here, there = dict(_leaves(json.loads(ours), "$")), dict(_leaves(json.loads(theirs), "$"))
    except (ValueError, RecursionError):
        pairs = enumerate(zip(ours, theirs, strict=False))
        first = next((at for at, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
        return float("inf"), f"byte {first}"
    different = [place for place in here | there if here.get(place) != there.get(place)]
    return len(different), different[0]


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Everything in a document that has no parts, as JSON text, with its place."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(
                inner, f"{place}.{key}" if key.isidentifier() else f"{place}[{json.dumps(key)}]"
            )
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, json.dumps(value)
