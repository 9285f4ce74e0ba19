"""The bounded ring of samples and the totals of syntheses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.sample import CardSample, SynthesisRecord, unknown_uuid
from telemetry.core.window import RecordBook, SampleWindow, Totals, merge_totals
from tests.records import record


def sample(index: int, at: float, uuid: str | None = None) -> CardSample:
    return CardSample(at, index, uuid or f"GPU-{index}", "card", simulated=False)


steps = st.lists(
    st.tuples(st.floats(0, 30), st.sets(st.integers(0, 3), max_size=4)), min_size=1, max_size=60
)


@given(steps, st.integers(1, 20))
def test_the_window_holds_exactly_the_newest_of_the_last_minute(
    readings: list[tuple[float, set[int]]], most: int
) -> None:
    window = SampleWindow(max_age_s=60, max_samples=most, forget_s=10_000)
    now, taken = 1000.0, []
    for wait_s, indices in readings:
        now += wait_s
        window.add(now, [sample(index, now) for index in indices])
        taken += [(now, index) for index in indices]
    for index in range(4):
        mine = [at for at, card in taken if card == index][-most:]
        kept = [s.timestamp for s in window.samples(now) if s.index == index]
        assert kept == [at for at in mine if now - at <= 60]
    newest = {index: at for at, index in taken}
    assert {a.sample.index: now - a.age_s for a in window.latest(now)} == pytest.approx(newest)


def test_since_gives_only_later_samples_and_all_are_sorted_by_time() -> None:
    window = SampleWindow()
    for at in (1.0, 2.0, 3.0):
        window.add(at, [sample(1, at), sample(0, at)])
    assert [(s.timestamp, s.index) for s in window.samples(3.0, since=1.0)] == [
        (2.0, 0),
        (2.0, 1),
        (3.0, 0),
        (3.0, 1),
    ]


def test_a_silent_card_ages_then_is_forgotten() -> None:
    window = SampleWindow(max_age_s=60, forget_s=600)
    window.add(0.0, [sample(0, 0.0), sample(1, 0.0)])
    window.add(500.0, [sample(0, 500.0)])
    assert [(a.sample.index, a.age_s) for a in window.latest(500.0)] == [(0, 0.0), (1, 500.0)]
    assert [s.index for s in window.samples(500.0)] == [0]
    window.add(601.0, [sample(0, 601.0)])
    assert [a.sample.index for a in window.latest(601.0)] == [0]
    assert window.latest(1_202.0) == ()


def test_a_card_that_gets_its_name_back_is_not_counted_twice() -> None:
    window = SampleWindow()
    window.add(0.0, [sample(0, 0.0, unknown_uuid(0)), sample(1, 0.0)])
    window.add(1.0, [sample(0, 1.0, "GPU-found"), sample(1, 1.0)])
    assert [a.sample.uuid for a in window.latest(1.0)] == ["GPU-found", "GPU-1"]


@pytest.mark.parametrize("wrong", [{"max_age_s": 0}, {"max_samples": 0}, {"forget_s": 5}])
def test_a_window_without_room_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a window needs"):
        SampleWindow(**wrong)


records = st.lists(
    st.builds(
        record,
        timestamp=st.integers(0, 1000).map(float),
        wall_s=st.integers(0, 50).map(float),
        audio_s=st.integers(0, 50).map(float),
        error=st.sampled_from([None, None, "engine_crashed"]),
    ),
    max_size=40,
)


@given(records, st.integers(0, 40))
def test_totals_of_two_nodes_add_up_to_the_totals_of_one(
    spoken: list[SynthesisRecord], cut: int
) -> None:
    one, left, right = RecordBook(), RecordBook(), RecordBook()
    for index, item in enumerate(spoken):
        one.add(item)
        (left if index < cut else right).add(item)
    assert merge_totals([left.totals, right.totals]) == one.totals
    assert merge_totals([right.totals, left.totals]) == one.totals
    good = [item for item in spoken if item.error is None]
    assert one.totals.count == len(spoken)
    assert one.totals.failures == len(spoken) - len(good)
    assert one.totals.audio_s == sum(item.audio_s for item in good)
    assert one.last == tuple(spoken[-20:])


def test_two_cards_at_once_double_the_throughput_but_not_the_rtf() -> None:
    book = RecordBook()
    book.add(record(timestamp=102.0))
    book.add(record(timestamp=102.0))
    assert book.totals.real_time_factor == 0.25
    assert book.totals.elapsed_s == 2.0
    assert book.totals.throughput_rt == 8.0


def test_nothing_spoken_has_no_ratio() -> None:
    assert Totals().real_time_factor is None
    assert Totals().throughput_rt is None
    assert Totals.of(record(error="cancelled")).failures == 0
    failed = Totals.of(record(error="engine_crashed"))
    assert (failed.count, failed.failures, failed.audio_s, failed.throughput_rt) == (1, 1, 0, None)
