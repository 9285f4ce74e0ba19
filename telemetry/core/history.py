"""A day of every card in bounded memory: windows of minimum, mean and maximum.

========  =======  =======================================
step      kept     for
========  =======  =======================================
1 s       10 min   what goes on now
10 s      6 h      the shift
1 min     24 h     the day, and the report
========  =======  =======================================

A value takes two bytes (a fraction of its signal's range, which is finer than the card tells), so
a card takes about 140 kB and a thousand of them 140 MB, however long they run. Windows start at
multiples of their step in Unix time; a window without samples is absent, never 0. Samples come
about in order: one that is older than the open window of a step is left out of that step.

All times are those of one clock, which the keeper tells: a sample from its future is left out, and
a card whose newest sample has come to lie in the future (the keeper's own clock was put back)
begins anew, since all that it tells from now on would be older than that.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from telemetry.core.energy import EnergyDay
from telemetry.core.node_clocks import TOLERANCE_S
from telemetry.core.sample import CardSample
from telemetry.core.throttle import SLOWING


@dataclass(frozen=True, slots=True)
class Step:
    """One resolution.

    Args:
        step_s: Length of a window.
        keep_s: How far back windows are kept; a multiple of *step_s*.
    """

    step_s: int
    keep_s: int

    @property
    def windows(self) -> int:
        """Windows that are kept."""
        return self.keep_s // self.step_s


STEPS: Final = (Step(1, 600), Step(10, 6 * 3600), Step(60, 24 * 3600))


@dataclass(frozen=True, slots=True)
class Track:
    """One signal that is kept.

    Args:
        name: Its name in answers.
        read: Its value in a sample, or None.
        most: Largest value that is told apart; larger ones are kept as this.
    """

    name: str
    read: Callable[[CardSample], float | None]
    most: float


def _fill(sample: CardSample) -> float | None:
    if sample.mem_used_bytes is None or not sample.mem_total_bytes:
        return None
    return sample.mem_used_bytes / sample.mem_total_bytes


def _slowed(sample: CardSample) -> float | None:
    return None if sample.throttle is None else float(not SLOWING.isdisjoint(sample.throttle))


TRACKS: Final = (
    Track("gpu_util", lambda sample: sample.gpu_util, 100.0),
    Track("mem_fill", _fill, 1.0),
    Track("temp_c", lambda sample: sample.temp_c, 200.0),
    Track("power_w", lambda sample: sample.power_w, 2000.0),
    Track("slowed", _slowed, 1.0),
)
"""What is kept of each card; ``slowed`` is the share of samples that heat or power held down."""

_ABSENT: Final = 0xFFFF
_FULL: Final = 0xFFFE


@dataclass(frozen=True, slots=True)
class Window:
    """A signal over one window.

    Args:
        start: Unix time of its beginning, s.
        low, mean, high: Over its samples.
    """

    start: int
    low: float
    mean: float
    high: float


class _Ring:
    """The windows of one signal at one step, each in its own place by its number."""

    def __init__(self, step: Step, most: float) -> None:
        self._step, self._most = step, most
        size = step.windows
        # Where a window holds one sample its minimum and maximum are the mean.
        ends = size if step.step_s > 1 else 0
        self._mean = array("H", [_ABSENT]) * size
        self._low, self._high = array("H", [_ABSENT]) * ends, array("H", [_ABSENT]) * ends
        self._newest = -1
        self._count = 0
        self._sum = 0.0

    def add(self, timestamp: float, value: float) -> None:
        number = int(timestamp // self._step.step_s)
        if number < self._newest:
            return
        value = min(max(value, 0.0), self._most)
        if number > self._newest:
            self._open(number)
        self._count += 1
        self._sum += value
        place, coded = number % len(self._mean), self._code(value)
        self._mean[place] = self._code(self._sum / self._count)
        if self._low:
            first = self._count == 1
            self._low[place] = coded if first else min(self._low[place], coded)
            self._high[place] = coded if first else max(self._high[place], coded)

    def windows(self, since: float) -> Iterator[Window]:
        size, step_s = len(self._mean), self._step.step_s
        first = max(self._newest - size + 1, math.ceil(since / step_s), 0)
        for number in range(first, self._newest + 1):
            place = number % size
            if self._mean[place] == _ABSENT:
                continue
            mean = self._value(self._mean[place])
            low = self._value(self._low[place]) if self._low else mean
            high = self._value(self._high[place]) if self._high else mean
            yield Window(number * step_s, low, mean, high)

    def _open(self, number: int) -> None:
        """Start window *number*, and forget those that it passes over."""
        size = len(self._mean)
        for passed in range(max(self._newest + 1, number - size + 1), number + 1):
            self._mean[passed % size] = _ABSENT
        self._newest, self._count, self._sum = number, 0, 0.0

    def _code(self, value: float) -> int:
        return round(value / self._most * _FULL)

    def _value(self, coded: int) -> float:
        return coded / _FULL * self._most


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card is.

    Args:
        node, host: Ray node id and host name.
    """

    node: str
    host: str


class CardHistory:
    """The day of one card.

    ``last`` is its newest sample, ``read`` the newest one that is not of a card that could not be
    read, ``place`` where that was seen, and ``energy`` what it used.

    Args:
        place: Where it is.
    """

    def __init__(self, place: Place) -> None:
        self._rings = {
            track.name: tuple(_Ring(step, track.most) for step in STEPS) for track in TRACKS
        }
        self.place = place
        self.energy = EnergyDay()
        self.last: CardSample | None = None
        self.read: CardSample | None = None

    def add(self, sample: CardSample) -> None:
        """Keep one sample; one that is not newer than the last is left out."""
        if self.last is not None and sample.timestamp <= self.last.timestamp:
            return
        self.last = sample
        if sample.error is None:
            self.read = sample
        self.energy.add(sample)
        for track in TRACKS:
            if (value := track.read(sample)) is not None:
                for ring in self._rings[track.name]:
                    ring.add(sample.timestamp, value)

    def windows(self, track: str, step: Step, since: float = 0.0) -> tuple[Window, ...]:
        """Windows of one signal that start at Unix time *since* or later, oldest first.

        Raises:
            KeyError: No such track.
            ValueError: No such step.
        """
        return tuple(self._rings[track][STEPS.index(step)].windows(since))


class FleetHistory:
    """The day of every card of a cluster, by UUID.

    One thread adds; any thread may ask for a card meanwhile.

    Args:
        most_cards: Cards that are kept; the one that was silent longest leaves first.
    """

    def __init__(self, most_cards: int = 4096) -> None:
        self._most_cards = most_cards
        self._cards: dict[str, CardHistory] = {}

    def add(self, samples: Iterable[CardSample], place: Place, now: float) -> None:
        """Keep samples of cards of one node, each card's in the order of time.

        Args:
            samples: Of any of its cards; those from the future are left out.
            place: The node.
            now: Unix time, in the time of the samples.
        """
        latest = now + TOLERANCE_S
        for sample in samples:
            if sample.timestamp > latest:
                continue
            card = self._cards.get(sample.uuid)
            if card is None or _is_ahead(card, latest):
                card = self._cards[sample.uuid] = CardHistory(place)
            card.place = place
            card.add(sample)
        if (more := len(self._cards) - self._most_cards) > 0:
            for uuid in sorted(self._cards, key=self._heard)[:more]:
                del self._cards[uuid]

    def cards(self) -> tuple[tuple[str, CardHistory], ...]:
        """Every known card by UUID."""
        return tuple(self._cards.items())

    def card(self, uuid: str) -> CardHistory | None:
        """One card's day, if it is known."""
        return self._cards.get(uuid)

    def _heard(self, uuid: str) -> float:
        """Unix time of a card's newest sample."""
        last = self._cards[uuid].last
        return 0.0 if last is None else last.timestamp


def _is_ahead(card: CardHistory, latest: float) -> bool:
    return card.last is not None and card.last.timestamp > latest
