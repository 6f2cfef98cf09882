"""routing.confidential: what may be in no recording."""

from routing.auth import Auth
from routing.confidential import texts
from routing.settings import Config, Key, Network


def test_keys_credentials_and_hosts_are_confidential() -> None:
    urls = (
        "https://me:pass-word@gpu-7.internal:8000/v1",
        "http://vllm:8000",
        "http://vllm",
        "http://localhost:8000",
        "http://127.0.0.1:36875",
        "http://[::1]:8000",
        "http://[",
        "",
    )
    keys = tuple(Key(f"k{n}", f"k{n}", value="sk-1" if n < 2 else "", url=url) for n, url in enumerate(urls))
    headers = {"X-Api-Key": "extra-key", "Authorization": "Basic abc", "X-Team": "blue"}
    config = Config(keys, network=Network(extra_headers=headers), auth=Auth(("client-key",)))
    assert texts(config) == (
        "sk-1",
        "client-key",
        "extra-key",
        "Basic abc",
        "pass-word",
        "gpu-7.internal:8000",
        "vllm:8000",
    )
