"""Shared fixtures; the one local Ray cluster lives in tests/integration/conftest.py."""

from __future__ import annotations

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
