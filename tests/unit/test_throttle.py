"""NVML's bit mask of what holds the clocks down, against NVIDIA's own names."""

from __future__ import annotations

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.throttle import throttle_reasons

BITS = {
    "idle": pynvml.nvmlClocksEventReasonGpuIdle,
    "clock_setting": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power_brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "display": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}


@given(st.sets(st.sampled_from([*BITS])))
def test_every_combination_of_reasons_is_told(reasons: set[str]) -> None:
    told = throttle_reasons(sum(BITS[reason] for reason in reasons))
    assert set(told) == reasons
    assert len(told) == len(reasons)


@pytest.mark.parametrize(("mask", "told"), [(0x600, ("other",)), (0x240, ("hw_thermal", "other"))])
def test_a_reason_without_a_name_is_not_hidden(mask: int, told: tuple[str, ...]) -> None:
    assert throttle_reasons(mask) == told
