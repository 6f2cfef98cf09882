"""The transports under test, by name, and the package as it is installed."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.libraries import LIBRARIES, Library
from tests.contract.loopback import KEY, MAKERS, Client, Connect
from tests.contract.wheel import build
from transports import Endpoint, Timeouts


@pytest.fixture(params=sorted(MAKERS))
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client of each library in turn, and closes it."""
    with ExitStack() as stack:

        def client(url: str, **options: object) -> Client:
            settings: dict[str, Any] = {"api_key": KEY, "timeouts": Timeouts(20, 20, 20), **options}
            endpoint = Endpoint(url, **settings)
            made = MAKERS[request.param](endpoint)
            stack.callback(made.close)
            return made

        yield client


@pytest.fixture(params=sorted(LIBRARIES))
def library(request: pytest.FixtureRequest) -> Library:
    """Each of the asynchronous transports in turn."""
    return LIBRARIES[request.param]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel"))
