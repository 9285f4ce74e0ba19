"""What a node's replicas said of their exports: sums that only grow, and the worst of now."""

from __future__ import annotations

from typing import Any

from telemetry.core.export_state import ExportBook, ExportState, merge_exports
from telemetry.core.replica_reports import MAX_REPLICAS, REPORT_EXPIRY_S


def spans(**told: Any) -> tuple[ExportState, ...]:
    return (ExportState("traces", **told),)


def test_counts_grow_and_stay_and_what_fails_now_is_that_of_who_still_reports() -> None:
    book = ExportBook()
    book.heard(0.0, "a", spans(failing_s=20.0, failures=3, dropped=1, problem="no"))
    book.heard(0.0, "b", spans(failures=1))
    book.heard(5.0, "a", spans(failing_s=25.0, failures=4, dropped=1, problem="no"))
    assert book.states(5.0) == spans(failing_s=25.0, failures=5, dropped=1, problem="no")
    book.heard(10.0, "b", spans(failures=2))
    assert book.states(6.0 + REPORT_EXPIRY_S) == spans(failures=6, dropped=1)
    book.heard(30.0, "b", spans(failures=1))  # it was started anew
    assert book.states(30.0) == spans(failures=7, dropped=1)


def test_of_many_processes_only_some_are_remembered() -> None:
    book = ExportBook()
    for number in range(2 * MAX_REPLICAS):
        book.heard(0.0, f"r{number}", spans(failures=1))
    assert len(book._last) == MAX_REPLICAS
    assert book.states(0.0) == spans(failures=2 * MAX_REPLICAS)


def test_signals_are_told_apart() -> None:
    both = merge_exports([*spans(failing_s=3.0), ExportState("metrics"), *spans(failures=1)])
    assert both == (ExportState("traces", 3.0, 1), ExportState("metrics"))
