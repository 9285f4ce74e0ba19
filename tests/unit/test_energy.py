"""What a card used: by its counter, by its power, over parts of minutes and gaps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.energy import BRIDGED_S, MINUTES, EnergyDay
from telemetry.core.sample import CardSample

CARD = CardSample(0.0, 0, "GPU-a", "card", simulated=False, power_w=300.0)
START = 600_030.0  # in the middle of a minute


def day(*times: float, **signals: Any) -> EnergyDay:
    energy = EnergyDay()
    for at in times:
        energy.add(replace(CARD, timestamp=START + at, **signals))
    return energy


@given(
    st.lists(st.floats(0.1, BRIDGED_S), min_size=1, max_size=200),
    st.lists(st.floats(0, 1), max_size=4),
)
def test_energy_is_power_times_the_time_that_was_sampled(
    gaps_s: list[float], cuts: list[float]
) -> None:
    energy, at = day(0.0), 0.0
    for gap_s in gaps_s:
        at += gap_s
        energy.add(replace(CARD, timestamp=START + at))
    assert energy.between(0.0, 1e9) == pytest.approx(300.0 * at, rel=1e-4)
    bounds = [START, *(START + at * cut for cut in sorted(cuts)), START + at]
    parts = [energy.between(a, b) or 0.0 for a, b in pairwise(bounds)]
    assert sum(parts) == pytest.approx(300.0 * at, rel=1e-4)


def test_the_first_and_the_last_part_of_a_minute_count_as_what_they_cover() -> None:
    energy = day(*range(0, 61, 10))  # :30 to :30
    assert energy.between(START - 30, START + 3600) == pytest.approx(300.0 * 60)
    assert energy.between(START + 15, START + 45) == pytest.approx(300.0 * 30)
    assert energy.between(START + 61, START + 3600) == 0.0


def test_a_counter_tells_across_any_gap_and_a_power_only_across_a_short_one() -> None:
    assert day(0.0, BRIDGED_S + 1).between(0.0, 1e9) is None
    counted = day(0.0, energy_j=5e6)
    counted.add(replace(CARD, timestamp=START + 4000, energy_j=5e6 + 123.0))
    assert counted.between(0.0, 1e9) == pytest.approx(123.0)


def test_a_counter_that_begins_anew_gives_way_to_the_power() -> None:
    energy = day(0.0, energy_j=5e6)
    energy.add(replace(CARD, timestamp=START + 10, energy_j=0.0))
    energy.add(replace(CARD, timestamp=START + 20, energy_j=40.0))
    assert energy.between(0.0, 1e9) == pytest.approx(3000.0 + 40.0)


def test_a_card_that_tells_neither_has_none() -> None:
    assert day(0.0, 10.0, power_w=None).between(0.0, 1e9) is None
    assert EnergyDay().between(0.0, 1e9) is None


def test_a_day_is_kept_and_no_more() -> None:
    energy = day(*(60.0 * minute for minute in range(2 * MINUTES)))
    assert energy.between(0.0, 1e9) == pytest.approx(300.0 * 60 * MINUTES, rel=1e-3)
