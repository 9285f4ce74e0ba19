"""Why a card's clocks are held down, decoded from NVML's bit mask.

The bits are those of ``nvmlClocksEventReasons`` in ``nvml.h``; ``clock_setting``, ``sync_boost``
and ``display`` are wishes of people, ``idle`` is rest, and the others cost speed.
"""

from __future__ import annotations

from typing import Final

REASONS: Final = (
    "idle",
    "clock_setting",
    "power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "power_brake",
    "display",
)

"""All that have a name, lowest bit first."""

OTHER: Final = "other"
"""A reason that this version has no name for."""

SLOWING: Final = frozenset({"hw_slowdown", "sw_thermal", "hw_thermal", "power_brake"})
"""Those by which heat or a failing supply costs speed; a power cap is somebody's wish."""


def throttle_reasons(mask: int) -> tuple[str, ...]:
    """The reasons in a mask, lowest bit first; empty if nothing holds the clocks down.

    Args:
        mask: As ``nvmlDeviceGetCurrentClocksEventReasons`` gives it.
    """
    named = tuple(name for bit, name in enumerate(REASONS) if mask >> bit & 1)
    return (*named, OTHER) if mask >> len(REASONS) else named
