"""Settings that all tests share."""

import os

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
