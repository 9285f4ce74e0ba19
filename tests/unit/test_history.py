"""A day of a card: what the windows hold, and that they never hold more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.history import STEPS, TRACKS, CardHistory, FleetHistory, Place, Step
from telemetry.core.sample import CardSample

SECOND, TEN, MINUTE = STEPS
PLACE = Place("n", "host")


def sample(
    timestamp: float, uuid: str = "GPU-a", temp_c: float | None = 50.0, **signals: Any
) -> CardSample:
    return CardSample(timestamp, 0, uuid, "card", False, temp_c=temp_c, **signals)


def test_windows_tell_minimum_mean_and_maximum() -> None:
    card = CardHistory(PLACE)
    for second in range(120):
        card.add(sample(1200.0 + second, temp_c=float(second % 60)))
    minutes = card.windows("temp_c", MINUTE)
    assert [window.start for window in minutes] == [1200, 1260]
    assert [round(minutes[0].low, 1), round(minutes[0].mean, 1), round(minutes[0].high, 1)] == [
        0.0,
        29.5,
        59.0,
    ]
    assert len(card.windows("temp_c", SECOND)) == 120
    assert len(card.windows("temp_c", TEN, since=1250.0)) == 7


def test_a_gap_is_a_gap_and_a_missing_signal_is_absent() -> None:
    card = CardHistory(PLACE)
    card.add(sample(100.0))
    card.add(sample(103.0, temp_c=None, gpu_util=7.0))
    card.add(sample(105.0, temp_c=0.0))
    assert [w.start for w in card.windows("temp_c", SECOND)] == [100, 105]
    assert [round(w.mean, 2) for w in card.windows("gpu_util", SECOND)] == [7.0]
    assert card.windows("power_w", SECOND) == ()


def test_what_is_old_leaves_even_after_a_long_silence() -> None:
    card = CardHistory(PLACE)
    card.add(sample(1000.0, temp_c=10.0))
    card.add(sample(1000.0 + 2 * SECOND.keep_s, temp_c=20.0))
    assert [round(w.mean) for w in card.windows("temp_c", SECOND)] == [20]
    assert [round(w.mean) for w in card.windows("temp_c", TEN)] == [10, 20]


def test_time_that_goes_back_is_left_out() -> None:
    card = CardHistory(PLACE)
    card.add(sample(100.0))
    card.add(sample(90.0, temp_c=90.0))
    card.add(sample(100.0, temp_c=90.0))
    assert [w.high for w in card.windows("temp_c", MINUTE)] == pytest.approx([50.0], abs=0.01)


def test_memory_throttling_and_extremes_are_kept() -> None:
    card = CardHistory(PLACE)
    card.add(sample(5.0, mem_used_bytes=3, mem_total_bytes=4, throttle=("hw_thermal",)))
    card.add(sample(6.0, mem_used_bytes=3, mem_total_bytes=0, throttle=(), power_w=1e9))
    assert card.windows("mem_fill", SECOND)[0].mean == pytest.approx(0.75, abs=1e-4)
    assert [w.mean for w in card.windows("slowed", SECOND)] == [1.0, 0.0]
    assert card.windows("power_w", SECOND)[0].mean == 2000.0


def test_the_longest_silent_card_leaves_a_full_book() -> None:
    fleet = FleetHistory(most_cards=2)
    for at, uuid in enumerate(["a", "b", "a", "c"]):
        fleet.add([sample(float(at), uuid)], PLACE, 1e9)
    assert [uuid for uuid in "abc" if fleet.card(uuid) is not None] == ["a", "c"]


def test_a_dead_card_that_is_told_again_and_again_still_counts_as_silent() -> None:
    fleet = FleetHistory(most_cards=2)
    fleet.add([sample(1.0, "dead"), sample(2.0, "well"), sample(1.0, "dead")], PLACE, 1e9)
    fleet.add([sample(3.0, "new")], PLACE, 1e9)
    assert fleet.card("dead") is None
    assert fleet.card("well") is not None


def test_a_card_is_never_missing_while_its_sample_is_kept() -> None:
    fleet = FleetHistory()
    fleet.add([sample(1.0)], PLACE, 1e9)
    seen: list[CardHistory | None] = []

    class Asking(float):
        """A reading at which another thread, which writes a report, looks for the card."""

        def __lt__(self, other: float) -> bool:
            seen.append(fleet.card("GPU-a"))
            return super().__lt__(other)

    fleet.add([sample(2.0, temp_c=Asking(50.0))], PLACE, 1e9)
    assert seen
    assert None not in seen


@pytest.mark.parametrize("step", STEPS)
def test_steps_hold_whole_windows(step: Step) -> None:
    assert step.windows * step.step_s == step.keep_s


values = st.lists(st.tuples(st.floats(0.1, 500.0), st.floats(0, 150)), min_size=1, max_size=60)


@given(values, st.sampled_from(STEPS))
def test_windows_are_those_of_the_samples(steps: list[tuple[float, float]], step: Step) -> None:
    card, now, truth = CardHistory(PLACE), 1e6, dict[int, list[float]]()
    for gap_s, temp_c in steps:
        now += gap_s
        card.add(sample(now, temp_c=temp_c))
        truth.setdefault(int(now // step.step_s), []).append(temp_c)
    newest = max(truth)
    kept = {n: seen for n, seen in truth.items() if n > newest - step.windows}
    windows = card.windows("temp_c", step)
    assert [window.start for window in windows] == [n * step.step_s for n in sorted(kept)]
    for window in windows:
        seen = kept[window.start // step.step_s]
        assert window.mean == pytest.approx(sum(seen) / len(seen), abs=0.01)
        if step is not SECOND:
            assert window.low == pytest.approx(min(seen), abs=0.01)
            assert window.high == pytest.approx(max(seen), abs=0.01)


def test_every_track_reads_a_sample_that_tells_nothing() -> None:
    assert [track.read(sample(0.0, temp_c=None)) for track in TRACKS] == [None] * len(TRACKS)


def test_a_sample_from_the_future_silences_no_card() -> None:
    fleet = FleetHistory()
    fleet.add([sample(1000.0), sample(9e8, temp_c=90.0)], PLACE, 1000.0)
    fleet.add([sample(1001.0)], PLACE, 1001.0)
    card = fleet.card("GPU-a")
    assert card is not None
    assert [w.start for w in card.windows("temp_c", SECOND)] == [1000, 1001]


def test_a_card_begins_anew_when_the_keeper_s_own_clock_is_put_back() -> None:
    fleet = FleetHistory()
    fleet.add([sample(9e8)], PLACE, 9e8)
    fleet.add([sample(1000.0)], PLACE, 1000.0)
    card = fleet.card("GPU-a")
    assert card is not None
    assert [w.start for w in card.windows("temp_c", SECOND)] == [1000]


def test_a_card_is_where_it_was_seen_last_and_its_last_reading_is_kept() -> None:
    fleet = FleetHistory()
    fleet.add([sample(1.0)], PLACE, 1e9)
    fleet.add([sample(2.0, temp_c=None, error="lost")], Place("m", "other"), 1e9)
    ((uuid, card),) = fleet.cards()
    assert (uuid, card.place.host) == ("GPU-a", "other")
    assert card.last is not None
    assert card.read is not None
    assert (card.last.timestamp, card.read.timestamp) == (2.0, 1.0)
