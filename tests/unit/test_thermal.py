"""The thermal guard's table, walked and searched."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.sample import CardSample
from telemetry.core.thermal import (
    MARGIN_LIMITS,
    Guard,
    HeatLimits,
    ThermalRules,
    advance,
    first_guard,
    heat_of,
    margin_of,
    pass_time,
    slots_of,
)

RULES = ThermalRules()
SEEN = Guard("open", "cool", 0.0, 0.0, measured=True)
CARD = CardSample(0.0, 0, "GPU-a", "card", simulated=False)


def at(temp_c: float | None, **signals: Any) -> CardSample:
    return replace(CARD, temp_c=temp_c, **signals)


def walk(
    samples: list[CardSample], guard: Guard | None = None, rules: ThermalRules = RULES
) -> list[Guard]:
    """The guard after each sample, one a second."""
    guards = [guard or SEEN]
    for sample in samples:
        guards.append(advance(guards[-1], sample, guards[-1].seen_s + 1.0, rules))
    return guards[1:]


def states(*args: Any, **kwargs: Any) -> list[str]:
    return [guard.state for guard in walk(*args, **kwargs)]


PAUSED = Guard("paused", "hot", 0.0, 0.0, measured=True)
EASED = Guard("eased", "warm", 0.0, 0.0, measured=True)


def test_three_warm_samples_ease_and_three_hot_ones_pause() -> None:
    assert states([at(72.0)] * 3) == ["open", "open", "eased"]
    assert states([at(75.0)] * 3) == ["open", "open", "paused"]
    assert states([at(75.0)] * 3, EASED) == ["eased", "eased", "paused"]


def test_a_single_cooler_sample_starts_the_count_again() -> None:
    assert states([at(72.0), at(72.0), at(71.9), at(72.0), at(72.0)]) == ["open"] * 5
    assert states([at(74.0), at(75.0), at(75.0)]) == ["open", "open", "eased"]


@pytest.mark.parametrize("reason", ["hw_slowdown", "hw_thermal"])
def test_hardware_slowdown_pauses_at_once_and_holds(reason: str) -> None:
    slowed = at(40.0, throttle=(reason,))
    assert states([slowed]) == ["paused"]
    assert states([slowed] * 40, PAUSED) == ["paused"] * 40


@pytest.mark.parametrize("guard", [first_guard(0.0), SEEN, PAUSED])
def test_the_heat_of_a_card_that_its_hardware_slows_is_known(guard: Guard) -> None:
    slowed = advance(guard, at(91.0, throttle=("hw_thermal",)), 1.0, RULES)
    assert (slowed.state, slowed.over_alert_c, slowed.measured) == ("paused", 11.0, True)


def test_software_slowdown_eases_at_once_and_keeps_the_card_from_opening() -> None:
    slowed = at(50.0, throttle=("sw_thermal",))
    assert states([slowed]) == ["eased"]
    assert set(states([slowed] * 60)) == {"eased"}


def test_the_ways_back_take_twenty_cool_seconds_each() -> None:
    cooling = states([at(70.0)] * 21, PAUSED)
    assert cooling == ["paused"] * 20 + ["eased"]
    assert states([at(69.0)] * 60, EASED) == ["eased"] * 60
    assert states([at(68.0)] * 21, EASED) == ["eased"] * 20 + ["open"]


def test_a_warm_sample_on_the_way_back_starts_the_wait_again() -> None:
    assert states([*[at(70.0)] * 20, at(70.5), *[at(70.0)] * 20], PAUSED) == ["paused"] * 41


def test_a_lost_card_gets_nothing_and_comes_back_step_by_step() -> None:
    lost = at(None, error="GPU is lost")
    assert states([lost]) == ["paused"]
    back = states([at(50.0)] * 42, walk([lost])[-1])
    assert back[19:21] == ["paused", "eased"]
    assert back[-1] == "open"


def test_silence_eases_and_never_opens() -> None:
    warm = walk([at(50.0)])[-1]
    assert pass_time(warm, warm.seen_s + 9.9, RULES).state == "open"
    blind = pass_time(warm, warm.seen_s + 10.0, RULES)
    assert (blind.state, blind.why) == ("eased", "no reading for 10 s")
    assert pass_time(PAUSED, 1e6, RULES) == PAUSED
    assert states([at(50.0)] * 21, blind)[-1] == "open"


def test_a_card_that_forgets_its_temperature_is_silent_not_cool() -> None:
    guard = walk([at(50.0)])[-1]
    for second in range(1, 12):
        guard = advance(guard, at(None), guard.seen_s + second, RULES)
    assert guard.state == "eased"
    assert advance(PAUSED, at(None), 100.0, RULES).state == "paused"


def test_a_card_without_a_temperature_is_guarded_by_its_slowdown_alone() -> None:
    blank = at(None)
    (guard,) = walk([blank], first_guard(0.0))
    assert guard.state == "open"
    assert "tells no temperature" in guard.why
    slowed = [at(None, throttle=("hw_thermal",)), *[blank] * 42]
    assert states(slowed, first_guard(0.0))[-1] == "open"


def test_margins_are_judged_by_their_own_limits() -> None:
    rules = ThermalRules(scale="margin")
    near = at(82.0, margin_c=5.0)
    assert heat_of(near, rules) == (-5.0, MARGIN_LIMITS)
    assert states([near] * 3, rules=rules) == ["open", "open", "paused"]
    assert set(states([at(82.0, margin_c=12.0)] * 30, rules=rules)) == {"open"}
    assert states([at(82.0, temp_slowdown_c=90.0)] * 3, rules=rules)[-1] == "eased"
    assert margin_of(at(80.0)) is None
    assert states([at(75.0)] * 3, rules=rules)[-1] == "paused"  # no margin: by temperature
    assert states([at(None, margin_c=4.0)] * 3)[-1] == "paused"  # nothing but the margin


def test_people_are_told_above_the_last_limit() -> None:
    told = [guard.over_alert_c for guard in walk([at(80.0), at(81.5), at(None)])]
    assert told == [0.0, 1.5, 1.5]
    margin = ThermalRules(scale="margin")
    assert walk([at(82.0, margin_c=1.0)], rules=margin)[0].over_alert_c == 1.0
    assert first_guard(0.0).over_alert_c is None


def test_a_guard_that_was_restarted_judges_a_hot_card_by_its_first_sample() -> None:
    new = first_guard(0.0)
    assert states([at(75.0)], new) == ["paused"]
    assert states([at(72.0)], new) == ["eased"]
    assert states([at(71.0), at(76.0), at(76.0), at(76.0)], new) == [
        *["open"] * 3,
        "paused",
    ]


def test_slots_of_each_state() -> None:
    assert [slots_of(state, 8) for state in ("open", "eased", "paused")] == [8, 4, 0]
    assert slots_of("eased", 1) == 1


@pytest.mark.parametrize(
    "limits",
    [{"ease": 76.0}, {"resume": 75.0}, {"reopen": 71.0}, {"alert": 75.0}, {"reopen": 72.0}],
)
def test_limits_out_of_order_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"limits|resume"):
        HeatLimits(**limits)


readings = st.lists(
    st.builds(
        at,
        st.one_of(st.none(), st.floats(20, 100)),
        throttle=st.sampled_from([None, (), ("idle",), ("hw_slowdown",), ("sw_thermal",)]),
        error=st.sampled_from([None, None, None, "lost"]),
    ),
    max_size=80,
)


@given(readings)
def test_a_card_never_skips_a_state_on_its_way_back(samples: list[CardSample]) -> None:
    seen = ["open", *states(samples)]
    steps = set(pairwise(seen))
    assert ("paused", "open") not in steps


@given(readings, st.floats(75, 100))
def test_a_hot_card_is_paused_whatever_came_before(
    samples: list[CardSample], temp_c: float
) -> None:
    hot = [at(temp_c)] * RULES.samples
    assert states([*samples, *hot])[-1] == "paused"


@given(readings)
def test_a_cool_card_is_open_again_within_two_holds(samples: list[CardSample]) -> None:
    cool = [at(40.0)] * (2 * int(RULES.hold_s) + 2)
    assert states([*samples, *cool])[-1] == "open"


@given(readings)
def test_no_state_but_paused_comes_from_a_slowed_card(samples: list[CardSample]) -> None:
    for sample, guard in zip(samples, walk(samples), strict=True):
        if sample.error or "hw_slowdown" in (sample.throttle or ()):
            assert guard.state == "paused"
