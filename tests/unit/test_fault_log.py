"""When faults came, out of counts that only tell how many."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.fault_log import FaultLog
from telemetry.core.sample import XidEvent

FAULT = XidEvent(100.0, "GPU-a", 79, 2)


def test_a_time_has_the_faults_that_came_in_it() -> None:
    log = FaultLog()
    log.note([FAULT])
    log.note([FAULT])
    log.note([replace(FAULT, timestamp=5_000.0, count=5), XidEvent(5_000.0, "GPU-b", 13)])
    assert log.between(0.0, 1e9)["GPU-a"] == (XidEvent(5_000.0, "GPU-a", 79, 5),)
    assert log.between(4_000.0, 1e9) == {
        "GPU-a": (XidEvent(5_000.0, "GPU-a", 79, 3),),
        "GPU-b": (XidEvent(5_000.0, "GPU-b", 13, 1),),
    }
    assert log.between(101.0, 4_000.0) == {}


def test_a_telemetry_that_begins_anew_counts_from_nothing() -> None:
    log = FaultLog()
    log.note([FAULT])
    log.note([replace(FAULT, timestamp=200.0, count=1)])
    assert log.between(0.0, 1e9)["GPU-a"][0].count == 3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=80), st.integers(1, 8))
def test_nothing_is_counted_twice_and_memory_is_bounded(
    faults: list[tuple[int, int]], looks_every: int
) -> None:
    log, totals = FaultLog(most=100), dict[int, int]()
    for number, (xid, count) in enumerate(faults):
        totals[xid] = totals.get(xid, 0) + count
        if number % looks_every == 0:
            log.note(XidEvent(1.0, "GPU-a", known, total) for known, total in totals.items())
    log.note(XidEvent(1.0, "GPU-a", known, total) for known, total in totals.items())
    seen = log.between(0.0, 2.0).get("GPU-a", ())
    assert {event.xid: event.count for event in seen} == totals


def test_a_full_log_loses_the_oldest() -> None:
    log = FaultLog(most=3)
    log.note(XidEvent(float(n), f"GPU-{n}", 79) for n in range(5))
    assert set(log.between(0.0, 10.0)) == {"GPU-2", "GPU-3", "GPU-4"}
