"""10,000 requests that are wrong on purpose: only refusals, and the service lives on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from tests.unit.test_malformed import refusals

COUNT = 10_000


def run() -> Sequence[str]:
    """Send them; anything but a refusal is an error."""
    logging.disable(logging.WARNING)  # the server warns of each of them
    begun_s = time.monotonic()
    found = refusals(COUNT, seed=1)
    wall_s = time.monotonic() - begun_s
    if found != {"refused": COUNT}:
        raise AssertionError(f"some were not refused: {found}")
    return [f"malformed: {COUNT} requests, {COUNT} refused with 4xx, alive; {wall_s:.0f} s"]
