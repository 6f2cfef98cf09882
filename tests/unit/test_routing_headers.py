"""routing.headers: which headers cross the gateway, in which direction."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing import request_heads
from routing.headers import (
    Filter,
    Misframed,
    Unsendable,
    flag,
    misframed,
    request_id,
    to_client,
    to_upstream,
    trace_context,
)
from routing.settings import Config

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
    sent = to_upstream(client, configured, key_has_value)
    assert sent == expected


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        pytest.param(
            [("Connection", "close, X-BF-EH-X-Hop"), ("x-bf-eh-x-hop", "1"), ("x-bf-eh-x-end", "2")],
            {"x-end": "2"},
            id="as the client wrote it",
        ),
        pytest.param(
            [("x-bf-eh-x-hop", "1"), ("connection", "keep-alive"), ("connection", " x-hop ")],
            {},
            id="as it would go on",
        ),
    ],
)
def test_what_the_connection_header_names_is_not_sent_on(
    client: list[tuple[str, str]], expected: dict[str, str]
) -> None:
    assert to_upstream(client, {}, False) == expected


SENT = [
    ("x-bf-eh-x-team", "1"),
    ("x-bf-eh-x-team-secret", "2"),
    ("x-bf-eh-other", "3"),
    ("X-Team", "4"),
    ("X-Team-Secret", "5"),
    ("Other", "6"),
    ("x-bf-vk", "7"),
    ("Authorization", "8"),
    ("Cookie", "9"),
    ("Content-Type", "10"),
    ("x-bf-eh-cookie", "11"),
    ("x-bf-eh-x-api-key", "12"),
    ("x-bf-eh-authorization", "13"),
]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(
            Filter(),
            {"x-team": "1", "x-team-secret": "2", "other": "3", "authorization": "13"},
            id="no rules",
        ),
        pytest.param(Filter(("x-team",)), {"x-team": "1, 4"}, id="allowed, with and without the prefix"),
        pytest.param(Filter(("X-BF-EH-X-Team",)), {"x-team": "1"}, id="allowed with the prefix only"),
        pytest.param(
            Filter(("x-team*",)), {"x-team": "1, 4", "x-team-secret": "2, 5"}, id="allowed by the beginning"
        ),
        pytest.param(Filter(("*secret",)), {"x-team-secret": "2, 5"}, id="allowed by the end"),
        pytest.param(Filter(("x*m-se*t",)), {"x-team-secret": "2, 5"}, id="allowed by several pieces"),
        pytest.param(
            Filter(("*",)),
            {"x-team": "1, 4", "x-team-secret": "2, 5", "other": "3, 6", "authorization": "13"},
            id="all allowed: still nothing that never goes upstream",
        ),
        pytest.param(
            Filter(("*",), ("*secret", "other")), {"x-team": "1, 4", "authorization": "13"}, id="denied"
        ),
        pytest.param(
            Filter((), ("x-team*", "authorization")),
            {"other": "3"},
            id="denied without a list of what is allowed",
        ),
        pytest.param(Filter((), ("*",)), {}, id="all denied"),
        pytest.param(Filter(("nothing",)), {}, id="nothing allowed"),
    ],
)
def test_the_operators_rules(rules: Filter, expected: dict[str, str]) -> None:
    assert to_upstream(SENT, {}, False, rules) == expected


def test_what_nobody_asked_for_and_cannot_be_sent_stays_behind() -> None:
    rules = Filter(("*",))
    assert to_upstream([("x-odd", "\udcff"), ("odd name", "1")], {}, False, rules) == {}
    assert to_upstream([("x-bf-eh-x-odd", "\udcff")], {}, False, rules) == Unsendable("x-bf-eh-x-odd")
    assert to_upstream([("X-BF-EH-a b", "1")], {}, False) == Unsendable("x-bf-eh-a b")


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([("Traceparent", PARENT)], {"traceparent": PARENT}, id="a parent"),
        pytest.param(
            [("traceparent", f" {PARENT} "), ("tracestate", "a=1"), ("TraceState", "b=2")],
            {"traceparent": PARENT, "tracestate": "a=1,b=2"},
            id="a parent and states",
        ),
        pytest.param(
            [("traceparent", f"cc{PARENT[2:]}-what")],
            {"traceparent": f"cc{PARENT[2:]}-what"},
            id="a later version",
        ),
        pytest.param([("tracestate", "a=1")], {}, id="a state alone"),
        pytest.param([("traceparent", PARENT), ("traceparent", PARENT)], {}, id="two parents"),
        pytest.param([("traceparent", PARENT.upper())], {}, id="upper case"),
        pytest.param([("traceparent", f"{PARENT}-more")], {}, id="more than version 00 has"),
        pytest.param([("traceparent", f"ff{PARENT[2:]}")], {}, id="the forbidden version"),
        pytest.param(
            [("traceparent", PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32))], {}, id="no trace"
        ),
        pytest.param([("traceparent", PARENT.replace("b7ad6b7169203331", "0" * 16))], {}, id="no span"),
        pytest.param([("traceparent", "x"), ("tracestate", "a=1")], {}, id="nonsense"),
        pytest.param(
            [("traceparent", PARENT), ("tracestate", "a=\x00")],
            {"traceparent": PARENT},
            id="a state that cannot be sent",
        ),
        pytest.param(
            [("traceparent", PARENT), ("tracestate", "a" * 513)],
            {"traceparent": PARENT},
            id="a state that is too long",
        ),
    ],
)
def test_the_trace_goes_on(client: list[tuple[str, str]], expected: dict[str, str]) -> None:
    assert trace_context(client) == expected
    assert to_upstream(client, {}, False) == expected


def test_a_trace_that_was_asked_for_or_configured_goes_before_the_clients_own() -> None:
    client = [("traceparent", PARENT), ("x-bf-eh-traceparent", "asked")]
    assert to_upstream(client, {}, False) == {"traceparent": "asked"}
    assert to_upstream(client[:1], {"traceparent": "own"}, False) == {"traceparent": "own"}


LENGTH = "a request has one content-length, in digits"
BOTH = "transfer-encoding goes neither with content-length nor with HTTP/1.0"
CODING = "the only transfer-encoding understood is chunked"
HOST = "a request has one host"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([("Host", "h")], None, id="no body"),
        pytest.param([("Host", "h:8080"), ("Content-Length", "3")], None, id="a length"),
        pytest.param([("Host", "[::1]:8080"), ("Transfer-Encoding", "Chunked")], None, id="chunks"),
        pytest.param([("Host", "")], None, id="an empty host"),
        pytest.param([("Content-Length", "3"), ("content-length", "3")], (400, LENGTH), id="a length twice"),
        pytest.param([("Content-Length", "3"), ("content-length", "5")], (400, LENGTH), id="two lengths"),
        pytest.param([("Content-Length", "3, 3")], (400, LENGTH), id="two lengths in one"),
        pytest.param([("Content-Length", "+3")], (400, LENGTH), id="a sign"),
        pytest.param([("Content-Length", "-1")], (400, LENGTH), id="a length below zero"),
        pytest.param([("Content-Length", "0x3")], (400, LENGTH), id="a base"),
        pytest.param([("Content-Length", "3_0")], (400, LENGTH), id="an underscore"),
        pytest.param([("Content-Length", "٣")], (400, LENGTH), id="digits of another script"),
        pytest.param([("Content-Length", "")], (400, LENGTH), id="an empty length"),
        pytest.param(
            [("Transfer-Encoding", "chunked"), ("Content-Length", "3")], (400, BOTH), id="length and chunks"
        ),
        pytest.param(
            [("Content-Length", "3"), ("Transfer-Encoding", "chunked")], (400, BOTH), id="chunks and length"
        ),
        pytest.param([("Transfer-Encoding", "gzip, chunked")], (501, CODING), id="compressed chunks"),
        pytest.param([("Transfer-Encoding", "chunked, identity")], (501, CODING), id="chunks are not last"),
        pytest.param([("Transfer-Encoding", "xchunked")], (501, CODING), id="nearly chunks"),
        pytest.param([("Transfer-Encoding", "\x0bchunked")], (501, CODING), id="a space of another kind"),
        pytest.param(
            [("Transfer-Encoding", "chunked"), ("transfer-encoding", "chunked")],
            (501, CODING),
            id="chunks twice",
        ),
        pytest.param([("Transfer-Encoding", "")], (501, CODING), id="no coding"),
        pytest.param([("Host", "a"), ("Host", "b")], (400, HOST), id="two hosts"),
        pytest.param([("Host", "a/b@c")], (400, HOST), id="a host that is a path"),
        pytest.param([("Host", "a b")], (400, HOST), id="a host with a space"),
        pytest.param([("Host", "a:b")], (400, HOST), id="a port that is none"),
    ],
)
def test_a_request_that_others_could_take_apart_otherwise(
    pairs: list[tuple[str, str]], expected: tuple[int, str] | None
) -> None:
    assert misframed((1, 1), pairs) == (None if expected is None else Misframed(*expected))


def test_versions_of_http() -> None:
    assert misframed((1, 0), [("Content-Length", "3")]) is None
    assert misframed((1, 0), [("Transfer-Encoding", "chunked")]) == Misframed(400, BOTH)
    for version in ((0, 9), (1, 2), (2, 0)):
        assert misframed(version, []) == Misframed(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")


def test_the_client_may_ask_for_another_request_id_upstream() -> None:
    assert to_upstream([("x-bf-eh-x-request-id", "other")], {}, False) == {"x-request-id": "other"}


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
        ("x" * 257, ""),
        ("", ""),
        ("   ", ""),
        ("a\x1bb", ""),
        ("é", ""),
    ],
)
def test_request_id(given_id: str, expected: str) -> None:
    assert request_id(given_id) == expected


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


NAMES = st.sampled_from(
    [
        "host",
        "cookie",
        "connection",
        "authorization",
        "x-team",
        "transfer-encoding",
        "content-length",
        "traceparent",
    ]
) | st.text(max_size=6)
HEADERS = st.lists(
    st.tuples(NAMES.map(lambda name: "x-bf-eh-" + name) | NAMES, st.text(max_size=6) | st.just("chunked")),
    max_size=5,
)


PATTERNS = st.lists(
    st.sampled_from(["*", "x*", "cookie", "authorization", "h*t", "*-*", "connection"]), max_size=2
)


@given(client=HEADERS, key_has_value=st.booleans(), allowed=PATTERNS, denied=PATTERNS)
def test_whatever_the_client_sends_only_sendable_values_come_out(
    client: list[tuple[str, str]], key_has_value: bool, allowed: list[str], denied: list[str]
) -> None:
    sent = to_upstream(client, {}, key_has_value, Filter(tuple(allowed), tuple(denied)))
    if isinstance(sent, dict):
        assert not any(set(value) & {"\r", "\n", "\x00"} for value in sent.values())
        assert not sent.keys() & {"host", "cookie", "content-length", "connection", "x-api-key"}
        assert not (key_has_value and "authorization" in sent)


@given(client=HEADERS, key_has_value=st.booleans(), allowed=PATTERNS)
@example(client=[("X-BF-EH-Authorization", "Bearer c")], key_has_value=False, allowed=[])
@example(client=[("x-bf-eh-authorization", "a\nb")], key_has_value=True, allowed=[])
def test_a_head_that_was_read_says_the_same_of_every_key(
    client: list[tuple[str, str]], key_has_value: bool, allowed: list[str]
) -> None:
    config = Config(header_filter=Filter(tuple(allowed)))
    sent = to_upstream(client, {}, key_has_value, config.header_filter)
    expected = {"x-request-id": "id-1", **sent} if isinstance(sent, dict) else sent
    head = request_heads.read(config, "POST", "/v1/chat/completions", (1, 1), tuple(client))
    assert head.upstream("id-1", key_has_value) == expected


@given(client=HEADERS, version=st.tuples(st.integers(0, 3), st.integers(0, 9)))
def test_whatever_the_client_sends_the_frame_is_judged(
    client: list[tuple[str, str]], version: tuple[int, int]
) -> None:
    judged = misframed(version, client)
    assert judged is None or judged.status in {400, 501, 505}
