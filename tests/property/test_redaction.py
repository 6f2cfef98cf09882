"""Redaction changes what it should and nothing else, for any document and any cuts."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from transports import Recording, Rule
from transports.redaction import REDACTED, Secrets, redact

NAMES = st.sampled_from(["a", "b", "c", 'd"', "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def blanked(value: Any, name: str) -> Any:
    """What the rule of a name makes of a value, by walking through it."""
    if isinstance(value, list):
        return [blanked(entry, name) for entry in value]
    if isinstance(value, dict):
        return {
            key: REDACTED if key == name and member not in (None, "", [], {}) else blanked(member, name)
            for key, member in value.items()
        }
    return value


@given(VALUES, NAMES, st.booleans(), st.sampled_from([None, 2]))
def test_a_name_is_blanked_wherever_it_is(
    value: Any, name: str, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    redacted = redact(Recording("it", "POST", "/x", body, body=body), [Rule(name)])
    expected = json.dumps(blanked(value, name), ensure_ascii=ascii_only, indent=indent).encode()
    assert json.loads(redacted.body) == json.loads(expected)
    assert redacted.request_body == redacted.body
    if json.loads(expected) == json.loads(body):
        assert redacted.body == body


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.booleans())
def test_nothing_of_what_cannot_be_read_is_kept(data: bytes, streamed: bool) -> None:
    secret = b"do-not-keep"
    body = data.replace(b"\n", b"").replace(b"\r", b"") + secret
    headers = {"content-type": "text/event-stream" if streamed else "text/plain"}
    lead = b"data: " if streamed else b""
    redacted = redact(Recording("it", "POST", "/x", body, headers=headers, body=lead + body), [Rule("a")])
    assert secret not in redacted.body
    assert redacted.request_body == REDACTED.encode()


@given(st.lists(VALUES, min_size=1, max_size=4), NAMES, st.lists(st.integers(0, 30), max_size=12))
def test_cuts_cover_the_body_and_stay_in_order(values: list[Any], name: str, sizes: list[int]) -> None:
    body = b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values)
    cuts, left = [], len(body)
    for at_ms, size in enumerate(sizes):
        cuts.append((at_ms, min(size, left)))
        left -= cuts[-1][1]
    cuts.append((len(sizes), left))
    whole = Recording("it", "POST", "/x", headers={"content-type": "text/event-stream"}, body=body)
    cut = Recording(
        "it", "POST", "/x", headers={"content-type": "text/event-stream"}, body=body, cuts=tuple(cuts)
    )
    redacted = redact(cut, [Rule(name)])
    assert redacted.body == redact(whole, [Rule(name)]).body
    assert [at_ms for at_ms, _ in redacted.cuts] == [at_ms for at_ms, _ in cuts]
    assert all(count >= 0 for _, count in redacted.cuts)
    if redacted.body == body:
        assert redacted.cuts == cut.cuts


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    st.binary(max_size=9),
    st.binary(max_size=9),
)
def test_a_secret_is_found_in_any_neighbourhood(secret: str, before: bytes, after: bytes) -> None:
    whole = before + secret.encode() + after
    secrets = Secrets([secret])
    assert secrets.are_in(whole)
    assert secrets.are_in(base64.b64encode(whole))
    assert secrets.are_in(base64.urlsafe_b64encode(whole))
    assert secrets.are_in(json.dumps(whole.decode("latin-1")).encode())
    assert secrets.are_in("".join(f"%{byte:02x}" for byte in whole).encode())
