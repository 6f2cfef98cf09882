"""Changes to JSON inside of an input: what blind changes of bytes seldom hit.

The JSON texts of an input are found where they stand: the whole of it, or line
by line behind ``data:``. One value of one of them is replaced by a hostile
one, dropped, doubled, or given a name that another has.
"""

import json
import random
import re
from copy import deepcopy
from typing import Any, Final

_TEXT: Final = re.compile(rb"[\[{].*[\]}]")
HOSTILE: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**63, 2**64, 10**400, -0.0, 1e-300, 1e308),
    *(
        "",
        " ",
        "x",
        "0",
        "null",
        "\ud800",
        "\u2028",
        "\x00",
        "tool_calls",
        "stop",
        "data: [DONE]\n\n",
        "x" * 200,
    ),
    *([], {}, [[]], [None], [{}], {"": None}, {"message": "m"}, {"content": None}),
)
_NAMES: Final = ("id", "index", "error", "usage", "name", "type", "choices", "delta", "params", "x")


def mutated(data: bytes, seed: int) -> bytes:
    """``data`` with one value of one of its JSON texts changed; itself when it has none."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    texts = [found for found in _TEXT.finditer(data) if found]
    for found in chance.sample(texts, len(texts)):
        try:
            value = json.loads(found[0])
        except (ValueError, RecursionError):
            continue
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            value = _changed(value, chance)
        text = json.dumps(value, separators=(",", ":")).encode()
        return data[: found.start()] + text + data[found.end() :]
    return data


def _changed(value: Any, chance: random.Random, depth: int = 0) -> Any:
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1 * depth:
        return deepcopy(chance.choice(HOSTILE))
    places: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = chance.choice(places)
    match chance.randrange(12):
        case 0:
            del value[place]
        case 1 if isinstance(value, dict):
            value[chance.choice(places)] = deepcopy(value[place])
        case 2 if isinstance(value, dict):
            value[chance.choice(_NAMES)] = deepcopy(chance.choice(HOSTILE))
        case 3 if isinstance(value, list):
            value.insert(place, deepcopy(value[place]))
        case _:
            value[place] = _changed(value[place], chance, depth + 1)
    return value
