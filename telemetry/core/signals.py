"""From samples and syntheses to the signals that alert rules watch.

A signal is a number by name; one that is not known is left out, never 0. Signals of a card:

=====================  =============================================================
``temp_c``             core temperature
``over_alert_c``       degrees C beyond the guard's own limit to tell people (negative: left)
``over_slowdown_c``    degrees C beyond the card's slowdown point (negative: left to it)
``slowdown``           1 while the hardware holds the clocks down for heat
``slowdown_onsets``    how often that began in the last 10 minutes
``power_brake``        1 while the power supply holds the clocks down
``paused``             1 while the thermal guard gives it no work
``lost``               1 while it can't be read
``sample_age_s``       age of its newest sample
``memory_fill``        share of its memory that is in use
``xid_critical``       faults of the last 10 minutes that need a hand
``xid_warning``        faults of the last 10 minutes that were contained
``ecc_uncorrected``    memory errors since the driver was loaded
``rows_pending``       1 while a memory row waits for a reset
``rows_failed``        1 if a memory row could not be replaced
=====================  =============================================================

Of a node: ``silent_s`` (since its last answer), ``cards_missing`` (below the most it ever showed)
and ``export_failing_s``. Of a model, over the last five minutes of the whole fleet:
``real_time_factor`` and ``error_rate``, of ``FEWEST_ATTEMPTS`` at least. Of an application:
``queue_age_s``, for how long a request that waits now has waited for its next place on a card.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from telemetry.core.recent import RecentStats
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.thermal import HARDWARE_SLOWDOWN, Guard, margin_of
from telemetry.core.window import AgedSample
from telemetry.core.xid import XidClass, xid_class

RECENT_S = 600.0
"""How long an event counts as recent."""

FEWEST_ATTEMPTS = 10
"""An error rate is a share of so many attempts, or more."""


class OnsetCounter:
    """How often something began lately; one for each card.

    Args:
        window_s: What counts as lately.
        most: Onsets remembered; more than that are not told apart.
    """

    def __init__(self, window_s: float = RECENT_S, most: int = 1000) -> None:
        self._window_s = window_s
        self._onsets: deque[float] = deque(maxlen=most)
        self._on = False

    def seen(self, now_s: float, *, on: bool | None) -> int:
        """Note whether it is on at monotonic time *now_s*; returns the onsets of the window.

        Where nobody knows (None) it is taken to be as it was: what goes on through a moment
        without readings began once.
        """
        if on and not self._on:
            self._onsets.append(now_s)
        self._on = self._on if on is None else on
        while self._onsets and now_s - self._onsets[0] > self._window_s:
            self._onsets.popleft()
        return len(self._onsets)


def is_slowed(sample: CardSample) -> bool | None:
    """Whether the hardware holds the clocks down for heat; None if the card does not tell."""
    if sample.throttle is None:
        return None
    return not HARDWARE_SLOWDOWN.isdisjoint(sample.throttle)


def card_signals(
    aged: AgedSample,
    *,
    guard: Guard,
    slowdown_onsets: int,
    xids: Iterable[XidEvent] = (),
    stale_after_s: float = 3.0,
) -> dict[str, float]:
    """Signals of one card.

    Args:
        aged: Its newest sample.
        guard: Its guard.
        slowdown_onsets: From its :class:`OnsetCounter`.
        xids: Faults of this card in the last ``RECENT_S``, repeats counted
            (:meth:`~telemetry.core.xid.XidBook.events`). They count whether or not it can still be
            read: a card that falls off its bus (Xid 79) can't.
        stale_after_s: Age from which a sample tells nothing but its age.
    """
    sample = aged.sample
    signals = {
        "sample_age_s": aged.age_s,
        "paused": float(guard.state == "paused"),
        **_xid_signals(xids),
    }
    if aged.age_s > stale_after_s:
        return signals
    signals["lost"] = float(sample.error is not None)
    if sample.error is not None:
        return signals
    margin_c, slowed = margin_of(sample), is_slowed(sample)
    brake = None if sample.throttle is None else "power_brake" in sample.throttle
    told: dict[str, float | None] = {
        "temp_c": sample.temp_c,
        "over_alert_c": None if (sample.temp_c, margin_c) == (None, None) else guard.over_alert_c,
        "over_slowdown_c": None if margin_c is None else -margin_c,
        "slowdown": slowed,
        "slowdown_onsets": None if slowed is None else slowdown_onsets,
        "power_brake": brake,
        "memory_fill": _share(sample.mem_used_bytes, sample.mem_total_bytes),
        "ecc_uncorrected": sample.ecc_uncorrected,
        "rows_pending": sample.rows_pending,
        "rows_failed": sample.rows_failed,
    }
    return signals | {name: float(value) for name, value in told.items() if value is not None}


def synthesis_signals(recent: RecentStats) -> dict[str, float]:
    """Signals of one model.

    Where nothing was tried both are 0: a window that has emptied itself clears what was on.
    """
    return {
        # A few attempts count as some, or a single failure at night would be all that there was.
        "error_rate": recent.failed / max(recent.attempts, FEWEST_ATTEMPTS),
        "real_time_factor": recent.wall_s / recent.audio_s if recent.audio_s > 0 else 0.0,
    }


def _xid_signals(xids: Iterable[XidEvent]) -> dict[str, float]:
    events = list(xids)
    return {
        f"xid_{kind}": float(sum(event.count for event in events if xid_class(event.xid) == kind))
        for kind in (XidClass.CRITICAL, XidClass.WARNING)
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
