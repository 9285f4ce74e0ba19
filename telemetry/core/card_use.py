"""What a card did while something was spoken on it, out of the samples that are there.

A sample tells of the time since the one before it: utilisation is a share of that time, and an
energy counter has risen over it. So each counts for as much of that time as lies in the interval,
the one behind the interval too, and the one before it only for the counter that it begins. A peak
is that of the samples inside; a synthesis that falls between two samples has those two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from telemetry.core.sample import CardSample
from telemetry.core.thermal import GuardState
from telemetry.core.throttle import SLOWING

NEAREST_S: Final = 5.0
"""How far outside the interval a sample may lie and still count."""


@dataclass(frozen=True, slots=True)
class GuardChange:
    """A card's guard took another state.

    Args:
        timestamp: Unix time, s.
        uuid: The card.
        state, why: See :mod:`telemetry.core.thermal`.
    """

    timestamp: float
    uuid: str
    state: GuardState
    why: str


@dataclass(frozen=True, slots=True)
class CardUse:
    """A card over an interval; what it does not tell is None.

    Args:
        uuid: The card.
        samples: How many samples this rests on, at least 1.
        gpu_util: Mean utilisation, percent.
        mem_peak_bytes: Most memory in use.
        temp_peak_c: Highest core temperature.
        energy_j: Energy of the whole card.
        throttled: Whether heat or power held its clocks down.
        changes: What its guard did meanwhile, oldest first.
    """

    uuid: str
    samples: int
    gpu_util: float | None
    mem_peak_bytes: int | None
    temp_peak_c: float | None
    energy_j: float | None
    throttled: bool | None
    changes: tuple[GuardChange, ...] = ()


def card_use(
    samples: Iterable[CardSample],
    since: float,
    until: float,
    changes: Iterable[GuardChange] = (),
) -> CardUse | None:
    """What a card did from Unix time *since* to *until*.

    Args:
        samples: Of this card, oldest first; those that failed or lie too far off are left out.
        since, until: The interval.
        changes: Of its guard; those outside the interval are left out.

    Returns:
        None without a sample about the interval.
    """
    read = [sample for sample in samples if sample.error is None]
    inside = [s for s in read if since <= s.timestamp <= until]
    around = _around(read, inside, since, until)
    seen = inside or around
    if not seen:
        return None
    utils = [(s.timestamp, s.gpu_util) for s in around if s.gpu_util is not None]
    told = [s.throttle for s in seen if s.throttle is not None]
    watts = counted_power_w(around, since, until)
    watts = mean_power_w(seen, since, until) if watts is None else watts
    return CardUse(
        seen[0].uuid,
        len(seen),
        _mean_since_last(utils, since, until) if utils else None,
        max((s.mem_used_bytes for s in seen if s.mem_used_bytes is not None), default=None),
        max((s.temp_c for s in seen if s.temp_c is not None), default=None),
        None if watts is None else watts * max(until - since, 0.0),
        any(not SLOWING.isdisjoint(reasons) for reasons in told) if told else None,
        tuple(change for change in changes if since <= change.timestamp <= until),
    )


def counted_power_w(samples: Sequence[CardSample], since: float, until: float) -> float | None:
    """Mean power over an interval by the card's energy counter, W.

    Args:
        samples: Oldest first, with one on either side of the interval.
        since, until: Unix times.

    Returns:
        None without a counter, or where it began anew.
    """
    counted = [(s.timestamp, s.energy_j) for s in samples if s.energy_j is not None]
    steps = [
        (b, (after_j - before_j) / (b - a))
        for (a, before_j), (b, after_j) in pairwise(counted)
        if b > a
    ]
    if not steps or min(watts for _, watts in steps) < 0:
        return None
    return _mean_since_last(steps, since, until)


def mean_power_w(samples: Sequence[CardSample], since: float, until: float) -> float | None:
    """Time-weighted mean of the power readings, W; the outermost hold on to the ends.

    Args:
        samples: Oldest first.
        since, until: Unix times.
    """
    read = [(s.timestamp, s.power_w) for s in samples if s.power_w is not None]
    if not read:
        return None
    if len(read) == 1 or until <= since:
        return sum(watts for _, watts in read) / len(read)
    return _trapezoids(read, since, until) / (until - since)


def _mean_since_last(told: Sequence[tuple[float, float]], since: float, until: float) -> float:
    """Mean over an interval of values that each tell of the time since the one before.

    The first tells of all the time before it, and the last of all behind it.
    """
    ends = [*(at for at, _ in told[:-1]), math.inf]
    begins = [-math.inf, *ends[:-1]]
    parts = [
        (value, max(min(end, until) - max(begin, since), 0.0))
        for begin, end, (_, value) in zip(begins, ends, told, strict=True)
    ]
    whole_s = sum(length_s for _, length_s in parts)
    if whole_s <= 0:  # an interval without length
        return next((value for at, value in told if at >= since), told[-1][1])
    return sum(value * length_s for value, length_s in parts) / whole_s


def _trapezoids(read: list[tuple[float, float]], since: float, until: float) -> float:
    """Energy under the power readings from *since* to *until*, J."""
    times = sorted({since, until, *(at for at, _ in read if since < at < until)})
    values = [_power_at(read, at) for at in times]
    steps = pairwise(zip(times, values, strict=True))
    return sum((b - a) * (watts_a + watts_b) / 2 for (a, watts_a), (b, watts_b) in steps)


def _power_at(read: list[tuple[float, float]], at: float) -> float:
    """Power at a moment: on the line between two readings, or that of the nearest end."""
    if at <= read[0][0]:
        return read[0][1]
    for (a, watts_a), (b, watts_b) in pairwise(read):
        if at <= b:
            return watts_a + (watts_b - watts_a) * (at - a) / (b - a) if b > a else watts_b
    return read[-1][1]


def _around(
    samples: list[CardSample], inside: list[CardSample], since: float, until: float
) -> list[CardSample]:
    """Samples *inside*, with the nearest before and behind if they are near enough."""
    before = [s for s in samples if since - NEAREST_S <= s.timestamp < since][-1:]
    behind = [s for s in samples if until < s.timestamp <= until + NEAREST_S][:1]
    return before + inside + behind


class GuardLog:
    """The last changes of the guards of one node's cards, in bounded memory.

    Plain state without clock, thread or lock.

    Args:
        most: Changes kept; the oldest leave first.
    """

    def __init__(self, most: int = 512) -> None:
        self._changes: deque[GuardChange] = deque(maxlen=most)
        self._states: dict[str, GuardState] = {}

    def note(self, timestamp: float, guards: Iterable[tuple[str, GuardState, str]]) -> None:
        """Take every known card's state and its reason, as seen at Unix time *timestamp*."""
        states: dict[str, GuardState] = {}
        for uuid, state, why in guards:
            states[uuid] = state
            if state != self._states.get(uuid, "open"):
                self._changes.append(GuardChange(timestamp, uuid, state, why))
        self._states = states

    def of(self, uuid: str) -> tuple[GuardChange, ...]:
        """The changes of one card, oldest first."""
        return tuple(change for change in self._changes if change.uuid == uuid)


class Occupancy:
    """How many segments were spoken side by side, to share out what their card used.

    Args:
        now_s: Monotonic time of the beginning.
    """

    def __init__(self, now_s: float) -> None:
        self._busy, self._at_s, self._slot_s = 0, now_s, 0.0

    def change(self, now_s: float, by: int) -> None:
        """One more segment is spoken from *now_s* on, or one less."""
        self._slot_s = self.slot_s(now_s)
        self._busy += by
        self._at_s = now_s

    def slot_s(self, now_s: float) -> float:
        """Seconds on slots, over all slots, up to *now_s*."""
        return self._slot_s + self._busy * (now_s - self._at_s)


def share_of(own_s: float, all_s: float) -> float:
    """A segment's share of its card: its own slot seconds in those of all meanwhile; 0 to 1."""
    return min(own_s / all_s, 1.0) if all_s > 0 else 1.0
