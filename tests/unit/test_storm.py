"""A quarter of a minute of ``tests.bench.storm``: nothing leaks, and nobody good is harmed."""

from __future__ import annotations

import pytest

from tests.bench.storm import CLIENTS, storm


@pytest.mark.timeout(120)
def test_rude_clients_leave_nothing_behind_and_harm_nobody() -> None:
    report = storm(CLIENTS, 15.0)
    assert report.rude > CLIENTS
    assert report.good > 0
    assert report.harmed == []
    left = {name: count - report.before[name] for name, count in report.after.items()}
    assert all(count <= 0 for count in left.values()), left
    assert report.grown_mib < 64
