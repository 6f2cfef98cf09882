"""routing.cors: which web pages may talk to the gateway."""

import pytest

from routing.cors import Cors, Verdict, decide

METHODS = "GET, POST, PUT, DELETE, PATCH, OPTIONS, HEAD"
HEADERS = "Content-Type, Authorization, X-Requested-With, X-Stainless-Timeout, X-Api-Key, X-OpenAI-Agents-SDK"


def allowed(origin: str, headers: str = HEADERS, credentials: bool = True) -> dict[str, str]:
    found = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": headers,
        "access-control-max-age": "86400",
        "vary": "Origin",
    }
    return {**found, "access-control-allow-credentials": "true"} if credentials else found


LOCAL = [
    "http://localhost:3000",
    "https://localhost:3000",
    "http://127.0.0.1:8080",
    "https://127.0.0.1:3000",
    "http://0.0.0.0:5000",
]


@pytest.mark.parametrize("origin", LOCAL)
def test_pages_on_this_machine_always_may(origin: str) -> None:
    assert decide(Cors(), "POST", origin) == Verdict(allowed(origin))
    assert decide(Cors(), "OPTIONS", origin) == Verdict(allowed(origin), 200)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://0.0.0.0:5000",
        "http://localhost:3000.evil.example",
        "http://localhost.evil.example:3000",
        "http://127.0.0.1:80x",
        "http://LOCALHOST:3000",
        "null",
        "",
        "http://localhost:3000\r\nx: y",
    ],
)
def test_what_only_looks_like_this_machine(origin: str) -> None:
    assert decide(Cors(), "POST", origin) == Verdict()
    assert decide(Cors(), "OPTIONS", origin) == Verdict(status=403)


@pytest.mark.parametrize(
    ("patterns", "origin", "expected"),
    [
        (("https://example.com",), "https://example.com", True),
        (("https://example.com",), "https://example.com:8443", False),
        (("https://example.com",), "http://example.com", False),
        (("https://example.com",), "https://Example.com", False),
        (("https://*.example.com",), "https://app.example.com", True),
        (("https://*.example.com",), "https://a.b.example.com", False),
        (("https://*.example.com",), "https://.example.com", False),
        (("https://*.example.com",), "https://evil.com/x.example.com", False),
        (("https://app-*-*.example.com",), "https://app-1-2.example.com", True),
        (("https://a.example.com",), "https://axexample.com", False),
        (("https://other.com", "https://example.com"), "https://example.com", True),
    ],
)
def test_configured_origins(patterns: tuple[str, ...], origin: str, expected: bool) -> None:
    cors = Cors(patterns)
    assert decide(cors, "POST", origin) == (Verdict(allowed(origin)) if expected else Verdict())
    assert decide(cors, "OPTIONS", origin) == (
        Verdict(allowed(origin), 200) if expected else Verdict(status=403)
    )


def test_a_star_lets_every_page_in_but_not_with_its_cookies() -> None:
    cors = Cors(("*", "https://known.example"))
    assert decide(cors, "POST", "https://any.example") == Verdict(
        allowed("https://any.example", credentials=False)
    )
    assert decide(cors, "POST", "https://known.example") == Verdict(allowed("https://known.example"))
    assert decide(cors, "POST", "http://localhost:1") == Verdict(allowed("http://localhost:1"))


@pytest.mark.parametrize(
    ("configured", "origins", "requested", "expected"),
    [
        (("X-Team",), ("https://e.example",), None, f"{HEADERS}, X-Team"),
        (("*",), ("https://e.example",), "x-one, x-two", "x-one, x-two"),
        (("*",), ("https://e.example",), None, HEADERS),
        (("*",), ("https://e.example",), "x-one\r\nevil: 1", HEADERS),
        (("*", "X-Team"), ("https://e.example",), "", f"{HEADERS}, X-Team"),
        (("*",), ("*",), "x-one", "*"),
    ],
)
def test_allowed_headers(
    configured: tuple[str, ...], origins: tuple[str, ...], requested: str | None, expected: str
) -> None:
    verdict = decide(Cors(origins, configured), "OPTIONS", "https://e.example", requested)
    assert verdict == Verdict(allowed("https://e.example", expected, "*" not in origins), 200)


@pytest.mark.parametrize("cors", [Cors(), Cors(("*",)), Cors(("https://e.example",))])
def test_who_is_no_page_gets_no_headers(cors: Cors) -> None:
    assert decide(cors, "GET", None) == Verdict()
    assert decide(cors, "OPTIONS", None) == Verdict(status=403)


def test_a_page_that_is_not_allowed_is_served_without_headers() -> None:
    assert decide(Cors(("https://allowed.example",)), "POST", "https://malicious.example") == Verdict()
