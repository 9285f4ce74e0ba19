"""What a report tells, as facts: each card's and each model's time from one moment to another.

Facts are measured only: a card that tells no power has no energy, a window without samples counts
as time without readings. Everything comes from :mod:`telemetry.core.history` and what the nodes
count; nothing here judges (see :mod:`telemetry.core.findings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from telemetry.core.channels import ChannelCount
from telemetry.core.history import STEPS, CardHistory, Window
from telemetry.core.model_book import ModelStats
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.thermal import HeatLimits, margin_of

_MINUTE = STEPS[-1]

CardState = Literal["here", "lost", "absent"]
"""Whether a card is read at the end, its driver can't read it, or nobody tells of it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A signal over the whole time.

    Args:
        low, mean, high: Over its samples; the mean weighs each minute alike.
    """

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class CardFacts:
    """One card's time.

    Args:
        host, node: Where it is.
        sample: Its newest sample that was read, if any: identity, thresholds, errors.
        state: What became of it.
        read_at: Unix time of its newest reading, or None if it was never read.
        seen_s: Length of the time that is judged: from its first reading in it to the end.
        available: Share of ``seen_s`` that lies in minutes with readings.
        util, mem_fill, temp_c, power_w: Spreads, or None where the card does not tell.
        slowed: Share of the samples that heat or power held down, or None.
        warm: Share of the minutes at or above the limit at which cards are eased, or None.
        energy_j: What it used in the time that was sampled, or None.
        xids: Faults in this time, repeats counted.
        minutes: Mean and highest temperature and mean utilisation and power by minute, for charts.
    """

    host: str
    node: str
    sample: CardSample
    state: CardState
    read_at: float | None
    seen_s: float
    available: float
    util: Spread | None
    mem_fill: Spread | None
    temp_c: Spread | None
    power_w: Spread | None
    slowed: float | None
    warm: float | None
    energy_j: float | None
    xids: tuple[XidEvent, ...]
    minutes: dict[str, tuple[Window, ...]]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.host} card {self.sample.index}"

    @property
    def least_margin_c(self) -> float | None:
        """Degrees C that were left to the slowdown point at the hottest moment."""
        now = margin_of(self.sample)
        if now is None or self.temp_c is None or self.sample.temp_c is None:
            return None
        return now + self.sample.temp_c - self.temp_c.high


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """All of a report.

    Args:
        start, end: Unix times, s.
        cards: By host and index.
        models: By engine and name; all that they did since the nodes' telemetry started.
        alerts: Alerts that are on at the end, for people.
        problems: What the telemetry itself could not see, for people.
        channels: What became of the messages of each alert channel since telemetry started.
    """

    start: float
    end: float
    cards: tuple[CardFacts, ...]
    models: tuple[ModelStats, ...]
    alerts: tuple[str, ...]
    problems: tuple[str, ...]
    channels: tuple[ChannelCount, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether any card or model exists only in software."""
        return any(card.sample.simulated for card in self.cards) or any(
            model.simulated for model in self.models
        )

    @property
    def energy_j(self) -> float | None:
        """Energy of all cards that tell their power."""
        told = [card.energy_j for card in self.cards if card.energy_j is not None]
        return sum(told) if told else None

    @property
    def energy_per_audio_minute_j(self) -> float | None:
        """What a minute of speech took of its card: the segments' mean, right to 2.5 %.

        Of all segments since the nodes' telemetry started, as :attr:`models` is: not of the time
        of the report. None where no segment's energy is known.
        """
        sketches = [model.energy_j_per_min for model in self.models]
        count = sum(sketch.count for sketch in sketches)
        return sum(sketch.total for sketch in sketches) / count if count else None


def card_facts(
    history: CardHistory,
    *,
    start: float,
    end: float,
    limits: HeatLimits,
    state: CardState = "here",
    xids: Iterable[XidEvent] = (),
) -> CardFacts | None:
    """One card's facts from Unix time *start* to *end*.

    Minutes that the time cuts count as far as they lie inside, but for means and peaks, which are
    those of whole minutes.

    Returns:
        None of a card that is absent and was not seen in that time.
    """
    names = ("gpu_util", "mem_fill", "temp_c", "power_w", "slowed")
    since = start - start % _MINUTE.step_s
    minutes = {
        name: tuple(
            window for window in history.windows(name, _MINUTE, since) if window.start < end
        )
        for name in names
    }
    seen = sorted({window.start for windows in minutes.values() for window in windows})
    sample = history.read or history.last
    if sample is None or (state == "absent" and not seen):
        return None
    judged = max(start, seen[0]) if seen else start
    slowed, temps = minutes["slowed"], minutes["temp_c"]
    return CardFacts(
        host=history.place.host,
        node=history.place.node,
        sample=sample,
        state=state,
        read_at=None if history.read is None else history.read.timestamp,
        seen_s=end - judged,
        available=_covered_s(seen, judged, end) / (end - judged),
        util=_spread(minutes["gpu_util"]),
        mem_fill=_spread(minutes["mem_fill"]),
        temp_c=_spread(temps),
        power_w=_spread(minutes["power_w"]),
        slowed=_mean(window.mean for window in slowed),
        warm=_mean(float(window.high >= limits.ease) for window in temps),
        energy_j=history.energy.between(start, end),
        xids=tuple(event for event in xids if start <= event.timestamp <= end),
        minutes=minutes,
    )


def _covered_s(minutes: Sequence[int], start: float, end: float) -> float:
    """Seconds of a time that lie in some minutes, told by their beginnings."""
    return sum(min(at + _MINUTE.step_s, end) - max(at, start) for at in minutes)


def _spread(windows: tuple[Window, ...]) -> Spread | None:
    if not windows:
        return None
    return Spread(
        min(window.low for window in windows),
        sum(window.mean for window in windows) / len(windows),
        max(window.high for window in windows),
    )


def _mean(values: Iterable[float]) -> float | None:
    told = list(values)
    return sum(told) / len(told) if told else None
