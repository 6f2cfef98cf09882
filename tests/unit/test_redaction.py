"""transports.redaction: what is blanked, what stays byte for byte, and what is found."""

import base64
import itertools
import json
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from transports import Cut, Recording, Rule
from transports.redaction import Secrets, kept_headers, redact, redacted_request

SECRET = "sk-canary/7f3b+91==x"


def rules(*texts: str) -> tuple[Rule, ...]:
    return tuple(map(Rule, texts))


BLANKED: dict[str, tuple[Sequence[str], str, str]] = {
    "a name at any depth": (
        ["user"],
        '{"user": "ann", "a": [{"user" :"bob","b":1.50}]}',
        '{"user": "[redacted]", "a": [{"user" :"[redacted]","b":1.50}]}',
    ),
    "an object and a list as a whole": (
        ["a"],
        '{"a": {"b": [1]}, "c": {"a": [1, {"a": 2}]}}',
        '{"a": "[redacted]", "c": {"a": "[redacted]"}}',
    ),
    "numbers and truth": (["a"], '{"a":1,"b":{"a":true}}', '{"a":"[redacted]","b":{"a":"[redacted]"}}'),
    "nothing of what is empty": (
        ["a"],
        '{"a":null,"b":{"a":""},"c":{"a":[ ]},"d":{"a":{}}}',
        '{"a":null,"b":{"a":""},"c":{"a":[ ]},"d":{"a":{}}}',
    ),
    "each entry of a list": (
        ["$.m[*].c"],
        '{"m":[{"c":"x"},{"c":"y"}],"c":"z"}',
        '{"m":[{"c":"[redacted]"},{"c":"[redacted]"}],"c":"z"}',
    ),
    "one entry of a list": (["$.m[1]"], '{"m":[1,2,3]}', '{"m":[1,"[redacted]",3]}'),
    "every member": (["$.m.*"], '{"m":{"a":1,"b":[2]}}', '{"m":{"a":"[redacted]","b":"[redacted]"}}'),
    "a name in brackets": (['$["a b"]'], '{"a b":1,"a":2}', '{"a b":"[redacted]","a":2}'),
    "the whole document": (["$"], ' {"a":1} ', ' "[redacted]" '),
    "a name with escapes": (["user"], '{"\\u0075ser":"ann"}', '{"\\u0075ser":"[redacted]"}'),
    "not a value that looks like a name": (
        ["user"],
        '{"a":"user","b":["user"]}',
        '{"a":"user","b":["user"]}',
    ),
    "several rules": (["a", "$.b"], '{"a":1,"b":{"a":2}}', '{"a":"[redacted]","b":"[redacted]"}'),
    "text with braces and quotes": (["a"], '{"a":"}\\"{,","b":"[a:"}', '{"a":"[redacted]","b":"[a:"}'),
    "a body that is not JSON": (["a"], "--boundary", "[redacted]"),
    "JSON that is broken off": (["a"], '{"b":"secre', "[redacted]"),
    "JSON that is nested too deeply": (["a"], "[" * 100_000 + "]" * 100_000, "[redacted]"),
    "without rules nothing": ([], '{"a":1', '{"a":1'),
}


@pytest.mark.parametrize(("texts", "body", "expected"), BLANKED.values(), ids=BLANKED)
def test_what_rules_cover_is_blanked_and_the_rest_stays_as_it_came(
    texts: Sequence[str], body: str, expected: str
) -> None:
    recording = Recording("it", "POST", "/v1/x", body.encode(), body=body.encode())
    redacted = redact(recording, rules(*texts))
    assert redacted == Recording(
        "it", "POST", "/v1/x", expected.encode(), body=expected.encode(), redacted=tuple(texts)
    )
    assert redacted_request(body.encode(), rules(*texts)) == expected.encode()


def test_a_body_that_is_not_there_stays_away() -> None:
    recording = Recording("it", "GET", "/v1/x")
    assert redact(recording, rules("a")) == Recording("it", "GET", "/v1/x", redacted=("a",))


def test_of_a_form_not_even_the_boundary_is_kept() -> None:
    sent = {"Content-Type": "multipart/form-data; boundary=5f4dcc3b", "Accept": "text/event-stream"}
    form = Recording("it", "POST", "/v1/x", b"--5f4dcc3b\r\n", request_headers=sent)
    assert redact(form, rules("file")).request_headers == {
        "Content-Type": "multipart/form-data",
        "Accept": "text/event-stream",
    }
    document = Recording("it", "POST", "/v1/x", b"{}", request_headers=sent)
    assert redact(document, rules("file")).request_headers == sent


EVENTS = {
    "each event": ('data: {"c":"x"}\n\ndata:{"c":"y"}\r\n\r\n', 'data: {"c":"[redacted]"}\n\ndata:{"c":"[redacted]"}\r\n\r\n'),
    "not the end": ("data: [DONE]\n\n", "data: [DONE]\n\n"),
    "not comments and other fields": (": hi\nevent: c\nid: 1\nretry: 5\n\n", ": hi\nevent: c\nid: 1\nretry: 5\n\n"),
    "an event that is not JSON": ("data: {not\ndata:\ndata\n", "data: [redacted]\ndata:\ndata\n"),
    "an event that is broken off": ('data: {"a":1}\n\ndata: {"c":"sec', 'data: {"a":1}\n\ndata: [redacted]'),
    "a line that is no field": ("<html>\n", "[redacted]\n"),
    "after a byte order mark": ('\ufeffdata: {"c":1}\r', '\ufeffdata: {"c":"[redacted]"}\r'),
    "JSON in place of events": ('{"c":1}', '{"c":"[redacted]"}'),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), EVENTS.values(), ids=EVENTS)
def test_events_are_blanked_one_by_one(body: str, expected: str) -> None:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    recording = Recording("it", "POST", "/v1/x", headers=headers, body=body.encode())
    assert redact(recording, rules("c")).body == expected.encode()


def test_cuts_stay_where_they_were_in_the_text() -> None:
    body = b'data: {"a":"some long text","c":1}\n\ndata: {"a":"","c":2}\n\ndata: [DONE]\n\n'
    places = [body.index(b"long"), body.index(b'text"'), body.index(b"c"), body.index(b"data: [DONE]")]
    cuts = zip(range(4), [places[0], *(b - a for a, b in itertools.pairwise(places))], strict=True)
    recording = Recording(
        "it",
        "POST",
        "/v1/x",
        headers={"content-type": "text/event-stream"},
        body=body,
        cuts=(*cuts, (4, len(body) - places[-1]), (5, 0)),
        cut=Cut("read", "connection reset"),
        cut_ms=9,
    )
    redacted = redact(recording, rules("a"))
    reads, start = [], 0
    for at_ms, count in redacted.cuts:
        reads.append((at_ms, redacted.body[start : start + count]))
        start += count
    assert reads == [
        (0, b'data: {"a":"[reda'),
        (1, b"cted]"),
        (2, b'","'),
        (3, b'c":1}\n\ndata: {"a":"","c":2}\n\n'),
        (4, b"data: [DONE]\n\n"),
        (5, b""),
    ]
    assert (redacted.cut, redacted.cut_ms) == (recording.cut, 9)


@pytest.mark.parametrize("text", ["", "$a", "$.", "$[", "$[x]", "$.a[-1]", '$["a', "$.a b"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a field to redact|not a path"):
        Rule(text)


SPELLINGS = {
    "as it is": SECRET,
    "in JSON": json.dumps({"key": SECRET}),
    "with escapes": "".join(f"\\u{ord(c):04x}" for c in SECRET),
    "with the escapes of YAML": "".join(f"\\x{ord(c):02X}" for c in SECRET),
    "with a slash that is escaped": SECRET.replace("/", "\\/"),
    "in JSON in JSON in JSON": json.dumps(json.dumps(json.dumps({"key": SECRET}))).replace("7", "\\u0037"),
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded in part": SECRET.replace("7", "%37"),
    "in base64": base64.b64encode(SECRET.encode()).decode(),
    "in base64, one byte in": base64.b64encode(f"a{SECRET}bc".encode()).decode(),
    "in base64, two bytes in": base64.b64encode(f"ab{SECRET}c".encode()).decode(),
    "in base64 for addresses": base64.urlsafe_b64encode(f"user:{SECRET}?>".encode()).decode(),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_is_found_however_it_is_spelled(text: str) -> None:
    secrets = Secrets(["another-one", SECRET])
    assert secrets.are_in(b"nothing", f"before {text} after".encode())
    assert not secrets.are_in(b"nothing", text[: len(text) // 2].encode())


def test_what_is_too_short_is_no_secret_and_no_secret_is_printed() -> None:
    assert not Secrets(["", "abc"]).are_in(b"abc")
    assert not Secrets().are_in(b"anything")
    assert SECRET not in repr(Secrets([SECRET]))


def test_headers_that_tell_too_much_are_not_kept() -> None:
    headers = {
        "content-type": "application/json",
        "content-encoding": "gzip",
        "content-length": "5",
        "transfer-encoding": "chunked",
        "connection": "close",
        "set-cookie": "a=1",
        "proxy-authorization": "Basic x",
        "x-api-key": "x",
        "x-request-id": "7",
        "x-echo": f"key {SECRET}",
        "x-sk-canary/7f3b+91==x": "1",
        "location": "https://gpu-7.internal:8000/v1/models?a=1",
        "link": '<http://gpu-7.internal>; rel="next", </b>',
    }
    assert kept_headers(headers, Secrets([SECRET])) == {
        "content-type": "application/json",
        "connection": "close",
        "x-request-id": "7",
        "location": "http://localhost:8000/v1/models?a=1",
        "link": '<http://localhost:8000>; rel="next", </b>',
    }
