"""Shared settings; the one local Ray cluster lives in tests/integration/conftest.py."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline would make a property fail on a busy machine: timings belong into the benchmarks.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("shared")
