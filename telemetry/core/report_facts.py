"""What a report tells, as facts: each card's and each model's time from one moment to another.

Facts are measured only: a card that tells no power has no energy, a window without samples counts
as time without readings. Everything comes from :mod:`telemetry.core.history` and what the nodes
count; nothing here judges (see :mod:`telemetry.core.findings`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.core.history import STEPS, CardHistory, Window
from telemetry.core.model_book import ModelStats
from telemetry.core.sample import CardSample, XidEvent
from telemetry.core.thermal import HeatLimits, margin_of

_MINUTE = STEPS[-1]


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
        sample: Its newest sample: identity, thresholds, errors.
        seen_s: Length of the time that is judged: from its first reading in it to the end.
        available: Share of the minutes of ``seen_s`` with readings.
        util, mem_fill, temp_c, power_w: Spreads, or None where the card does not tell.
        slowed: Share of the samples that heat or power held down, or None.
        warm: Share of the minutes at or above the limit at which cards are eased, or None.
        energy_j: Mean power times time, or None.
        xids: Faults in this time, repeats counted.
        minutes: Mean and highest temperature and mean utilisation and power by minute, for charts.
    """

    host: str
    node: str
    sample: CardSample
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
    """

    start: float
    end: float
    cards: tuple[CardFacts, ...]
    models: tuple[ModelStats, ...]
    alerts: tuple[str, ...]
    problems: tuple[str, ...]

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
    host: str,
    node: str,
    start: float,
    end: float,
    limits: HeatLimits,
    xids: Iterable[XidEvent] = (),
) -> CardFacts | None:
    """One card's facts from Unix time *start* to *end*; None if it was not seen in that time."""
    names = ("gpu_util", "mem_fill", "temp_c", "power_w", "slowed")
    minutes = {
        name: tuple(
            window for window in history.windows(name, _MINUTE, start) if window.start < end
        )
        for name in names
    }
    seen = sorted({window.start for windows in minutes.values() for window in windows})
    if not seen or history.last is None:
        return None
    seen_s = max(end - seen[0], float(_MINUTE.step_s))
    # The minute in which the time ends may be a part of one.
    whole = max(round(seen_s / _MINUTE.step_s), 1)
    power, slowed, temps = minutes["power_w"], minutes["slowed"], minutes["temp_c"]
    return CardFacts(
        host=host,
        node=node,
        sample=history.last,
        seen_s=seen_s,
        available=min(len(seen) / whole, 1.0),
        util=_spread(minutes["gpu_util"]),
        mem_fill=_spread(minutes["mem_fill"]),
        temp_c=_spread(temps),
        power_w=_spread(power),
        slowed=_mean(window.mean for window in slowed),
        warm=_mean(float(window.high >= limits.ease) for window in temps),
        energy_j=sum(window.mean for window in power) * _MINUTE.step_s if power else None,
        xids=tuple(event for event in xids if start <= event.timestamp <= end),
        minutes=minutes,
    )


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
