"""Why a card's clocks are held down, decoded from NVML's bit mask.

The bits are those of ``nvmlClocksEventReasons`` in ``nvml.h``; ``clock_setting``, ``sync_boost``
and ``display`` are wishes of people, ``idle`` is rest, and the others cost speed.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = (
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

OTHER: Final = "other"
"""A reason that this version has no name for."""


def throttle_reasons(mask: int) -> tuple[str, ...]:
    """The reasons in a mask, lowest bit first; empty if nothing holds the clocks down.

    Args:
        mask: As ``nvmlDeviceGetCurrentClocksEventReasons`` gives it.
    """
    named = tuple(name for bit, name in enumerate(_NAMES) if mask >> bit & 1)
    return (*named, OTHER) if mask >> len(_NAMES) else named
