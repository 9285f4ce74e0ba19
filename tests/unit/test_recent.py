"""What models did of late: counted by time, and forgotten by time."""

from __future__ import annotations

from telemetry.core.model_book import MOST_MODELS
from telemetry.core.recent import STEP_S, WINDOW_S, RecentBook, RecentStats, merge_recent
from telemetry.core.sample import CANCELLED
from tests.records import record

GOOD = record(model="m", audio_s=10.0, wall_s=5.0)


def test_everything_of_the_window_counts_and_nothing_before_it() -> None:
    book = RecentBook()
    for second in range(1000):
        book.add(float(second), record(model="m", error="engine_crashed" if second < 600 else None))
    (last,) = book.stats(999.0)
    assert last.failed == 0
    assert WINDOW_S - STEP_S <= last.attempts <= WINDOW_S + STEP_S
    assert book.stats(999.0 + WINDOW_S + 1) == ()


def test_what_was_cancelled_counts_for_nothing_and_what_failed_adds_no_audio() -> None:
    book = RecentBook()
    book.add(0.0, record(model="m", error=CANCELLED))
    assert book.stats(0.0) == ()
    book.add(0.0, GOOD)
    book.add(0.0, record(model="m", error="bad_audio", audio_s=3.0, simulated=True))
    assert book.stats(0.0) == (RecentStats("m", True, 2, 1, 10.0, 5.0),)


def test_names_beyond_the_most_are_one() -> None:
    book = RecentBook()
    for number in range(MOST_MODELS + 5):
        book.add(0.0, record(model=f"m{number}"))
    told = {one.model: one.attempts for one in book.stats(0.0)}
    assert len(told) == MOST_MODELS + 1
    assert told["other"] == 5


def test_two_nodes_add_up() -> None:
    both = merge_recent([RecentStats("m", False, 2, 1, 3.0, 1.0), RecentStats("m", True, 1)])
    assert both == {"m": RecentStats("m", True, 3, 1, 3.0, 1.0)}
