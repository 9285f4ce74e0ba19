"""Signals that alert rules watch, made from samples and syntheses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from telemetry.core.alert_rules import RULES
from telemetry.core.recent import RecentStats
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.signals import (
    FEWEST_ATTEMPTS,
    OnsetCounter,
    card_signals,
    is_slowed,
    synthesis_signals,
)
from telemetry.core.thermal import Guard
from telemetry.core.window import AgedSample

FULL = CardSample(
    1000.0,
    0,
    "GPU-a",
    "card",
    simulated=False,
    temp_c=78.0,
    temp_slowdown_c=90.0,
    mem_used_bytes=97,
    mem_total_bytes=100,
    throttle=("power_brake",),
    ecc_uncorrected=0,
    rows_pending=True,
    rows_failed=False,
)
GUARD = Guard("open", "", 0.0, 0.0, over_alert_c=-2.0, measured=True)


def signals(sample: CardSample, age_s: float = 0.5, **more: Any) -> dict[str, float]:
    given: dict[str, Any] = {"guard": GUARD, "slowdown_onsets": 0, **more}
    return card_signals(AgedSample(sample, age_s), **given)


def test_a_card_that_tells_all_has_every_signal_of_a_card() -> None:
    told = signals(FULL)
    assert told == {
        "sample_age_s": 0.5,
        "paused": 0.0,
        "lost": 0.0,
        "temp_c": 78.0,
        "over_alert_c": -2.0,
        "over_slowdown_c": -12.0,
        "slowdown": 0.0,
        "slowdown_onsets": 0.0,
        "power_brake": 1.0,
        "memory_fill": 0.97,
        "ecc_uncorrected": 0.0,
        "rows_pending": 1.0,
        "rows_failed": 0.0,
        "xid_critical": 0.0,
        "xid_warning": 0.0,
    }
    fleet = {"silent_s", "cards_missing", "export_failing_s"}
    model = {"real_time_factor", "error_rate", "queue_age_s"}
    assert {rule.signal for rule in RULES} <= set(told) | fleet | model


def test_what_a_card_does_not_tell_is_left_out() -> None:
    blank = CardSample(1000.0, 0, "GPU-a", "card", simulated=False)
    assert set(signals(blank)) == {"sample_age_s", "paused", "lost", "xid_critical", "xid_warning"}


def test_a_stale_or_lost_card_tells_only_that() -> None:
    paused = replace(GUARD, state="paused")
    assert signals(FULL, age_s=3.5, guard=paused) == {
        "sample_age_s": 3.5,
        "paused": 1.0,
        "xid_critical": 0.0,
        "xid_warning": 0.0,
    }
    assert signals(replace(FULL, error="lost")) == {
        "sample_age_s": 0.5,
        "paused": 0.0,
        "lost": 1.0,
        "xid_critical": 0.0,
        "xid_warning": 0.0,
    }


def test_faults_count_by_class() -> None:
    xids = [
        XidEvent(990.0, "GPU-a", 79),
        XidEvent(400.5, "GPU-a", 48, count=2),
        XidEvent(999.0, "GPU-a", 94, count=4),
        XidEvent(999.0, "GPU-a", 31, count=9),
    ]
    told = signals(FULL, xids=xids)
    assert (told["xid_critical"], told["xid_warning"]) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("throttle", "slowed"),
    [(None, None), ((), False), (("idle", "sw_thermal"), False), (("hw_thermal",), True)],
)
def test_slowdown_is_the_hardwares(throttle: tuple[str, ...] | None, slowed: bool | None) -> None:
    assert is_slowed(replace(FULL, throttle=throttle)) is slowed


def test_onsets_are_counted_once_each_and_forgotten() -> None:
    counter = OnsetCounter(window_s=10.0)
    seen = [counter.seen(float(at), on=on) for at, on in enumerate(map(bool, [1, 1, 0, 1, 0, 0]))]
    assert seen == [1, 1, 1, 2, 2, 2]
    assert counter.seen(10.5, on=False) == 1
    assert counter.seen(13.5, on=True) == 1


def test_a_sample_that_tells_nothing_is_no_end_of_a_slowdown() -> None:
    counter = OnsetCounter()
    seen = [counter.seen(float(at), on=on) for at, on in enumerate([None, True, None, True])]
    assert seen == [0, 1, 1, 1]
    assert [counter.seen(9.0, on=on) for on in (False, None, True)] == [1, 1, 2]


def test_an_error_rate_is_a_share_of_some_attempts_at_least() -> None:
    one = synthesis_signals(RecentStats("m", attempts=1, failed=1))
    assert one == {"error_rate": 1 / FEWEST_ATTEMPTS, "real_time_factor": 0.0}
    many = RecentStats("m", attempts=40, failed=10, audio_s=20.0, wall_s=10.0)
    assert synthesis_signals(many) == {"error_rate": 0.25, "real_time_factor": 0.5}
    assert synthesis_signals(RecentStats("m"))["error_rate"] == 0.0
