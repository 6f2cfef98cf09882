"""What several properties ask of a value."""

import json
import math
from typing import Any

from translate import OPERATIONS, documents
from translate.errors import http_status
from translate.types import BifrostError


def same(first: object, second: object) -> bool:
    """Whether two JSON values are the same: 1, 1.0 and true differ, NaN equals itself, order counts."""
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, float) and isinstance(second, float):
        return float(first).hex() == float(second).hex() or (math.isnan(first) and math.isnan(second))
    if isinstance(first, float) or isinstance(second, float):
        return False
    return first == second


def encoded(value: object) -> bytes:
    """``value`` as JSON, which it must be."""
    out = documents.encode(value)
    assert isinstance(out, bytes), out
    return out


def wire(value: object) -> Any:
    """``value`` as it arrives at the other end."""
    return json.loads(encoded(value))


def assert_well_formed(error: BifrostError) -> None:
    """Whether a failure has all that clients rely on."""
    assert isinstance(error["is_bifrost_error"], bool)
    field = error["error"]
    assert isinstance(field["message"], str)
    assert field["message"].strip()
    for name in ("type", "code", "error", "event_id"):
        assert isinstance(field.get(name, ""), str), name
    fields = error.get("extra_fields", {})
    assert fields["provider"] == "vllm"
    assert fields["request_type"] in OPERATIONS
    assert 400 <= http_status(error) <= 599
    assert isinstance(error.get("status_code", 400), int)
    wire(error)
