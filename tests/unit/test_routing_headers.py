"""routing.headers: which headers cross the gateway, in which direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.headers import Unsendable, flag, request_id, to_client, to_upstream

DENIED = """
Proxy-Authorization Cookie Host Content-Length Connection Transfer-Encoding x-api-key x-goog-api-key
x-bf-api-key x-bf-api-key-id x-bf-vk x-bf-direct-key
Keep-Alive TE Trailer Upgrade Proxy-Connection Proxy-Authenticate
Expect Accept-Encoding Content-Encoding
"""
STAY_BEHIND = """
content-length content-encoding transfer-encoding connection keep-alive proxy-connection proxy-authenticate
proxy-authorization authorization cookie set-cookie set-cookie2 www-authenticate te trailer upgrade host date
server alt-svc strict-transport-security content-type access-control-allow-origin access-control-max-age
x-request-id
"""


@pytest.mark.parametrize(
    ("client", "configured", "key_has_value", "expected"),
    [
        pytest.param([], {}, False, {}, id="nothing"),
        pytest.param([("X-BF-EH-X-Team", "blue")], {}, False, {"x-team": "blue"}, id="asked for"),
        pytest.param(
            [
                ("Authorization", "Bearer client"),
                ("Cookie", "c=1"),
                ("User-Agent", "x"),
                ("Accept", "*/*"),
                ("x-bf-api-key", "k"),
                ("x-bf-passthrough-extra-params", "true"),
                ("content-type", "text/plain"),
            ],
            {},
            False,
            {},
            id="nothing of the client's own",
        ),
        pytest.param(
            [("x-bf-eh-x-team", "blue")],
            {"x-team": "red", "x-org": "o"},
            False,
            {"x-team": "blue", "x-org": "o"},
            id="the client's replaces the configured one",
        ),
        pytest.param(
            [("x-bf-eh-a", "1"), ("x-bf-eh-A", "2")], {"a": "0"}, False, {"a": "1, 2"}, id="repeated"
        ),
        pytest.param(
            [(f"x-bf-eh-{name}", "x") for name in [*DENIED.split(), ""]], {}, False, {}, id="never sent"
        ),
        pytest.param([("x-bf-eh-authorization", "Bearer c")], {}, True, {}, id="authorization beside a key"),
        pytest.param(
            [("x-bf-eh-authorization", "Bearer c")],
            {},
            False,
            {"authorization": "Bearer c"},
            id="authorization without a key",
        ),
        pytest.param([("X-BF-EH-Evil", "a\r\nb: c")], {}, False, Unsendable("x-bf-eh-evil"), id="line end"),
        pytest.param([("x-bf-eh-odd", "\udcff")], {}, False, Unsendable("x-bf-eh-odd"), id="not ASCII"),
        pytest.param(
            [("x-bf-eh-host", "a\nb")], {}, False, {}, id="a name that is dropped may hold anything"
        ),
    ],
)
def test_what_goes_upstream(
    client: list[tuple[str, str]], configured: dict[str, str], key_has_value: bool, expected: object
) -> None:
    sent = to_upstream(client, configured, "id-1", key_has_value)
    assert sent == ({"x-request-id": "id-1", **expected} if isinstance(expected, dict) else expected)


def test_the_client_may_ask_for_another_request_id_upstream() -> None:
    assert to_upstream([("x-bf-eh-x-request-id", "other")], {}, "id-1", False) == {"x-request-id": "other"}


def test_what_the_client_gets_to_see() -> None:
    kept = {"retry-after": "3", "x-vllm": "1", "openai-processing-ms": "12", "cache-control": "no-store"}
    assert to_client(dict.fromkeys(STAY_BEHIND.split(), "x") | kept) == kept


def test_headers_that_the_connection_header_names_stay_behind() -> None:
    assert to_client({"connection": "close, X-Hop", "x-hop": "1", "x-end": "2"}) == {"x-end": "2"}


def test_a_header_that_cannot_be_sent_stays_behind() -> None:
    assert to_client({"x-a": "a\x00b", "x-b": "\udc80", "x-c": "é", "x-d": "c\td"}) == {"x-d": "c\td"}


def test_a_header_that_echoes_the_key_stays_behind() -> None:
    upstream = {"x-echo": "Bearer sk-abc", "x-other": "1"}
    assert to_client(upstream, "sk-abc") == {"x-other": "1"}
    assert to_client(upstream, "") == upstream


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("abc", "abc"),
        ("  abc\t", "abc"),
        ("a b", "a b"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "new"),
        ("", "new"),
        ("   ", "new"),
        (None, "new"),
        ("a\x1bb", "new"),
        ("é", "new"),
    ],
)
def test_request_id(given_id: str | None, expected: str) -> None:
    assert request_id(given_id, lambda: "new") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((text, True) for text in ("1", "t", "T", "true", "True", "TRUE")),
        *((text, False) for text in ("0", "f", "F", "false", "False", "FALSE")),
        *((text, None) for text in ("", "yes", "tRUE", " true", None)),
    ],
)
def test_booleans_are_read_as_go_reads_them(value: str | None, expected: bool | None) -> None:
    assert flag(value) is expected


HEADERS = st.lists(
    st.tuples(
        st.text(max_size=6).map(lambda name: "x-bf-eh-" + name) | st.text(max_size=6), st.text(max_size=6)
    ),
    max_size=5,
)


@given(client=HEADERS, key_has_value=st.booleans())
def test_whatever_the_client_sends_only_sendable_values_come_out(
    client: list[tuple[str, str]], key_has_value: bool
) -> None:
    sent = to_upstream(client, {}, "id", key_has_value)
    if isinstance(sent, dict):
        assert not any(set(value) & {"\r", "\n", "\x00"} for value in sent.values())
        assert not sent.keys() & {"host", "cookie", "content-length", "connection"}
