"""Simulated cards warm up under load, cool down without, and say what they are."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.reader import CardReader, UnknownCardError
from telemetry.simulated import CardModel, SimulatedCards

MODEL = CardModel()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def cards(count: int, clock: Clock) -> SimulatedCards:
    made = SimulatedCards(count, node="0123456789abcdef", clock=clock, wall=lambda: 1e9 + clock())
    reader: CardReader = made
    assert reader.source == "simulated"
    return made


def test_every_sample_says_that_it_is_simulated() -> None:
    clock = Clock()
    samples = cards(3, clock).read()
    assert [s.uuid for s in samples] == [f"SIM-01234567-{i}" for i in range(3)]
    assert {(s.simulated, s.name, s.error) for s in samples} == {(True, "Simulated card", None)}
    assert {s.timestamp for s in samples} == {1e9 + 100.0}


def test_a_loaded_card_follows_the_first_order_model_and_its_neighbour_stays_cool() -> None:
    clock = Clock()
    reader = cards(2, clock)
    hot, cool = reader.uuids
    reader.set_load(hot, 4, 4)
    clock.now += MODEL.tau_s
    first, second = reader.read()
    rise = (MODEL.full_c - MODEL.idle_c) * (1 - math.exp(-1))
    assert first.temp_c == pytest.approx(MODEL.idle_c + rise)
    assert (first.gpu_util, first.power_w) == (100.0, MODEL.limit_w)
    assert (second.uuid, second.temp_c, second.gpu_util) == (cool, MODEL.idle_c, 0.0)
    reader.set_load(hot, 0, 4)
    clock.now += 10 * MODEL.tau_s
    cooled = reader.read()[0]
    assert cooled.temp_c == pytest.approx(MODEL.idle_c, abs=0.01)
    assert cooled.power_w == MODEL.idle_w


def test_a_card_beyond_its_slowdown_point_says_so_and_slows_down() -> None:
    clock = Clock()
    model = CardModel(full_c=90.0, slowdown_c=80.0)
    made = SimulatedCards(1, node="n", model=model, clock=clock, wall=clock)
    (uuid,) = made.uuids
    made.set_load(uuid, 1, 1)
    (cool,) = made.read()
    clock.now += 10 * model.tau_s
    (hot,) = made.read()
    assert (cool.throttle, cool.sm_clock_mhz) == ((), model.full_mhz)
    assert hot.throttle == ("hw_slowdown", "hw_thermal")
    assert hot.sm_clock_mhz == model.slowed_mhz
    assert (cool.temp_slowdown_c, hot.temp_slowdown_c) == (80.0, 80.0)
    assert cool.margin_c == 80.0 - model.idle_c
    assert hot.margin_c == pytest.approx(-10.0, abs=0.01)


def test_energy_is_power_times_time_and_nothing_made_up_is_told() -> None:
    clock = Clock()
    reader = cards(1, clock)
    clock.now += 10
    reader.set_load(reader.uuids[0], 1, 1)
    clock.now += 5
    (sample,) = reader.read()
    assert sample.energy_j == pytest.approx(10 * MODEL.idle_w + 5 * MODEL.limit_w)
    told = {field.name for field in fields(sample) if getattr(sample, field.name) is not None}
    assert not {name for name in told if name.startswith(("ecc_", "rows_", "pcie_", "mig"))}
    assert (sample.processes, sample.pstate, sample.fan_percent) == (None, None, None)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(-1, 9), st.integers(0, 8))))
def test_no_load_and_no_step_leaves_the_model_s_range(
    story: list[tuple[float, int, int]],
) -> None:
    clock = Clock()
    reader = cards(1, clock)
    for wait_s, busy, slots in story:
        reader.set_load(reader.uuids[0], busy, slots)
        clock.now += wait_s
        (now,) = reader.read()
        assert now.temp_c is not None
        assert MODEL.idle_c <= now.temp_c <= MODEL.full_c
        assert (now.throttle == ("idle",)) == (now.gpu_util == 0)
        assert now.gpu_util is not None
        assert 0 <= now.gpu_util <= 100
        assert now.power_w is not None
        assert MODEL.idle_w <= now.power_w <= MODEL.limit_w
        assert now.mem_used_bytes is not None
        assert now.mem_used_bytes <= MODEL.memory_bytes


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=10))
def test_reading_more_often_does_not_change_the_temperature(waits: list[float]) -> None:
    clock = Clock()
    often, once = cards(1, clock), cards(1, clock)
    for reader in (often, once):
        reader.set_load(reader.uuids[0], 1, 2)
    for wait_s in waits:
        clock.now += wait_s
        often.read()
    assert often.read()[0].temp_c == pytest.approx(once.read()[0].temp_c)


def test_a_card_that_is_not_there_is_named_in_the_error() -> None:
    with pytest.raises(UnknownCardError, match="SIM-elsewhere-0"):
        cards(1, Clock()).set_load("SIM-elsewhere-0", 1, 1)


def test_no_cards_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cards(0, Clock())
