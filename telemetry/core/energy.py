"""What a card used, by minute over a day, in bounded memory.

Between two samples it is the rise of the card's own counter where the card has one, else the mean
of the two powers times the time between them. So a minute holds what was used in the part of it
that was sampled, not sixty seconds of its mean. A counter tells across any gap; across one longer
than ``BRIDGED_S`` nobody knows a power.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

from telemetry.core.sample import CardSample

MINUTE_S: Final = 60.0
MINUTES: Final = 24 * 60
BRIDGED_S: Final = 90.0
"""Longest time between two samples whose powers are joined; samplers go up to a minute."""


class EnergyDay:
    """One card's energy; 4 bytes a minute. Samples come in the order of time."""

    def __init__(self) -> None:
        self._joules = array("f", [math.nan]) * MINUTES
        self._newest = -1
        self._first_at: float | None = None
        self._last: CardSample | None = None

    def add(self, sample: CardSample) -> None:
        """Take a sample; one that tells neither energy nor power counts for nothing."""
        if sample.energy_j is None and sample.power_w is None:
            return
        last, self._last = self._last, sample
        if last is None:
            self._first_at = sample.timestamp
        elif (joules := _used(last, sample)) is not None:
            self._spread(last.timestamp, sample.timestamp, joules)

    def between(self, start: float, end: float) -> float | None:
        """Joules from Unix time *start* to *end*, of at most a day; None if nothing was told.

        A minute that the time cuts gives the share of it that lies inside.
        """
        if self._last is None or self._first_at is None:
            return None
        oldest = max(self._newest - MINUTES + 1, 0)
        first, last = int(start // MINUTE_S), int(end // MINUTE_S)
        told = [
            self._joules[minute % MINUTES] * self._share(minute, start, end)
            for minute in range(max(first, oldest), min(last, self._newest) + 1)
            if not math.isnan(self._joules[minute % MINUTES])
        ]
        return sum(told) if told else None

    def _share(self, minute: int, start: float, end: float) -> float:
        """Share of a minute's energy that lies in a time."""
        assert self._last is not None
        assert self._first_at is not None
        begins = max(minute * MINUTE_S, self._first_at)
        ends = min((minute + 1) * MINUTE_S, self._last.timestamp)
        if ends <= begins:
            return 1.0
        return max(min(end, ends) - max(start, begins), 0.0) / (ends - begins)

    def _spread(self, since: float, until: float, joules: float) -> None:
        """Share *joules* out over the minutes that they were used in."""
        since = max(since, until - MINUTES * MINUTE_S)
        at = since
        while at < until:
            minute = int(at // MINUTE_S)
            ends = min((minute + 1) * MINUTE_S, until)
            self._open(minute)
            place = minute % MINUTES
            more = joules * (ends - at) / (until - since)
            held = self._joules[place]
            self._joules[place] = more if math.isnan(held) else held + more
            at = ends

    def _open(self, minute: int) -> None:
        """Forget the minutes that are passed over."""
        for passed in range(max(self._newest + 1, minute - MINUTES + 1), minute + 1):
            self._joules[passed % MINUTES] = math.nan
        self._newest = max(self._newest, minute)


def _used(last: CardSample, sample: CardSample) -> float | None:
    """Joules between two samples, or None where nobody knows."""
    if last.energy_j is not None and sample.energy_j is not None:
        rise_j = sample.energy_j - last.energy_j
        if rise_j >= 0:  # it begins anew with the driver
            return rise_j
    passed_s = sample.timestamp - last.timestamp
    if last.power_w is None or sample.power_w is None or passed_s > BRIDGED_S:
        return None
    return (last.power_w + sample.power_w) / 2 * passed_s
