"""What each model did: percentiles within their error, sums that add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.model_book import (
    MOST_CAUSES,
    MOST_MODELS,
    OTHERS,
    ModelBook,
    ModelStats,
    merge_models,
)
from telemetry.core.sample import CANCELLED, SynthesisRecord
from tests.records import record

RECORD = record(model="joe", input_characters=100, audio_s=10.0, wall_s=5.0)


def stats_of(records: list[SynthesisRecord]) -> tuple[ModelStats, ...]:
    book = ModelBook()
    for one in records:
        book.add(one)
    return book.stats


def test_models_are_told_apart_and_failures_by_cause() -> None:
    joe, other = stats_of(
        [
            RECORD,
            replace(RECORD, error="engine_crashed"),
            replace(RECORD, error="bad_audio"),
            replace(RECORD, error="bad_audio"),
            replace(RECORD, error=CANCELLED),
            replace(RECORD, model="sim", engine="simulated", simulated=True),
        ]
    )
    assert (joe.spoken, joe.failed, joe.cancelled) == (1, 3, 1)
    assert joe.failures == (("bad_audio", 2), ("engine_crashed", 1))
    assert (joe.audio_s, joe.wall_s, joe.input_characters) == (10.0, 5.0, 100)
    assert (other.model, other.simulated, joe.simulated) == ("sim", True, False)


def test_no_value_no_percentile() -> None:
    (stats,) = stats_of([replace(RECORD, error="x")])
    assert stats.real_time_factor.percentile(0.5) is None


@given(st.lists(st.floats(0.002, 1e5), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_percentiles_are_right_within_the_width_of_a_bucket(
    values: list[float], share: float
) -> None:
    (stats,) = stats_of([replace(RECORD, queue_s=value) for value in values])
    rank = max(1, -int(-share * len(values) // 1))
    exact = sorted(values)[rank - 1]
    assert stats.queue_s.percentile(share) == pytest.approx(exact, rel=0.03)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.booleans()), max_size=50), st.integers(0, 50))
def test_the_books_of_two_nodes_add_up(work: list[tuple[float, bool]], cut: int) -> None:
    records = [replace(RECORD, wall_s=w, error="x" if bad else None) for w, bad in work]
    merged = merge_models([*stats_of(records[:cut]), *stats_of(records[cut:])])
    whole = stats_of(records)
    assert len(merged) == len(whole)
    for one, other in zip(merged, whole, strict=True):
        assert one.wall_s == pytest.approx(other.wall_s)
        assert replace(one, wall_s=0.0, audio_s=0.0) == replace(other, wall_s=0.0, audio_s=0.0)


def test_the_book_stays_small_whatever_it_is_told() -> None:
    book = ModelBook()
    for number in range(1000):
        book.add(replace(RECORD, model=f"m{number}"))
        book.add(replace(RECORD, error=f"e{number}"))
        book.add(replace(RECORD, wall_s=float(number)))
    assert len(book.stats) == MOST_MODELS + 1
    assert all(len(stats.failures) <= MOST_CAUSES + 1 for stats in book.stats)
    assert sum(stats.failed for stats in book.stats) == 1000
    assert OTHERS in {stats.model for stats in book.stats}
