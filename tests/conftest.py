"""Shared settings; the one local Ray cluster lives in tests/integration/conftest.py."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Several processes of tests share two cores: pools of threads that spin for each other cost both.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's processes would otherwise give way to every other test, and theirs is the longest queue.
os.environ.setdefault("RAY_worker_niceness", "0")

# A deadline would make a property fail on a busy machine: timings belong into the benchmarks.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("shared")


# These start clusters of their own, which never meet the shared one.
OWN_CLUSTERS = (
    "tests/integration/test_cards_service.py",
    "tests/integration/test_heat.py",
    "tests/integration/test_telemetry_ray.py",
    "tests/integration/test_transport.py",
)


class ClusterQueues(LoadScopeScheduling):  # type: ignore[misc] # xdist is typed in part only
    """Spreads single tests over the processes, but those that share a cluster go to one of them.

    Tests with clusters of their own go, one after another, to another process. xdist's own groups
    change the ids of tests, which pytest 9.2 ignores.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(OWN_CLUSTERS):
            return "own clusters"
        return "shared cluster" if nodeid.startswith("tests/integration/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ClusterQueues:
    """The most tests of one scope go first, which is those that start Ray; single ones fill up."""
    return ClusterQueues(config, log)
