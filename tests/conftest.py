"""Shared settings; the one local Ray cluster lives in tests/integration/conftest.py."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline would make a property fail on a busy machine: timings belong into the benchmarks.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("shared")


class OneCluster(LoadScopeScheduling):  # type: ignore[misc] # xdist is typed in part only
    """Spreads single tests over the processes, but all that start Ray go to one of them.

    They share a cluster. xdist's own groups change the ids of tests, which pytest 9.2 ignores.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith("tests/integration/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    """The most tests of one scope go first, which is those that start Ray."""
    return OneCluster(config, log)
