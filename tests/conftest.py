"""Settings that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_SLOW_MACHINES = [HealthCheck.too_slow]

# The default: the same examples on every run and every machine, no deadline to be missed.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=_SLOW_MACHINES,
)
# For a hunt: HYPOTHESIS_PROFILE=thorough pytest tests/property
settings.register_profile("thorough", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--live", action="store_true", help="also try a real vLLM, the one that make record sets up"
    )
    parser.addoption(
        "--clients", action="store_true", help="also try the clients that make test-clients installs"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clients: drives a client that has an environment of its own")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a vLLM or more clients on this machine, unless it is asked for."""
    optional = collection_path.name in {"live", "clients"} and collection_path.parent.name == "tests"
    return True if optional and not config.getoption(f"--{collection_path.name}") else None
