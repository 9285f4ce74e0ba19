"""What each model did, in bounded memory: totals, percentiles, and failures by cause.

Percentiles come from a sketch of fixed size: values are counted in buckets that grow by 5 %, so a
percentile is wrong by 2.5 % at most, and the sketches of two nodes add up. The idea is that of
DDSketch (Masson, Rim, Lee, VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from telemetry.core.sample import CANCELLED, SynthesisRecord

_GROWTH: Final = 1.05
_LEAST: Final = 1e-3
_BUCKETS: Final = 400
"""From a millisecond to 83 hours, or a real-time factor from 0.001 on."""

MOST_MODELS: Final = 32
MOST_CAUSES: Final = 32
OTHERS: Final = "other"


@dataclass(frozen=True, slots=True)
class Sketch:
    """A distribution of positive numbers.

    Args:
        counts: How many values each bucket holds, by its number.
    """

    counts: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        """Values in all."""
        return sum(count for _, count in self.counts)

    def percentile(self, share: float) -> float | None:
        """The value that *share* (0 to 1) of all values do not exceed; None without values."""
        rank = math.ceil(share * self.count)
        seen = 0
        for bucket, count in self.counts:
            seen += count
            if seen >= rank:
                return _middle(bucket)
        return None

    def at_most(self, bound: float) -> int:
        """Values up to *bound*, as far as the buckets tell them apart."""
        return sum(count for bucket, count in self.counts if _middle(bucket) <= bound)

    @property
    def total(self) -> float:
        """Sum of all values, right to 2.5 %."""
        return sum(count * _middle(bucket) for bucket, count in self.counts)

    def merged(self, other: Sketch) -> Sketch:
        """The distribution of both."""
        counts = dict(self.counts)
        for bucket, count in other.counts:
            counts[bucket] = counts.get(bucket, 0) + count
        return Sketch(tuple(sorted(counts.items())))


def _bucket(value: float) -> int:
    if value <= _LEAST:
        return 0
    return min(int(math.log(value / _LEAST) / math.log(_GROWTH)), _BUCKETS - 1)


def _middle(bucket: int) -> float:
    return _LEAST * math.pow(_GROWTH, bucket + 0.5)


class Tally:
    """A distribution while it grows."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, value: float | None) -> None:
        """Count a value; None counts for nothing."""
        if value is not None:
            bucket = _bucket(value)
            self._counts[bucket] = self._counts.get(bucket, 0) + 1

    @property
    def sketch(self) -> Sketch:
        """The distribution so far."""
        return Sketch(tuple(sorted(self._counts.items())))


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What one model did.

    Args:
        engine, model: Who spoke.
        simulated: True if any of it was simulated.
        spoken, cancelled: Attempts that ended well, and that were given up.
        failures: Failed attempts by error code, most frequent first.
        audio_s, wall_s: Seconds of audio, and on a slot, of those that ended well.
        input_characters: Of those.
        real_time_factor, first_audio_s, queue_s: Distributions over those.
        input_tokens, output_tokens: Of those.
        duration_s: Distribution of the seconds on a slot of those.
        segment_audio_s: Distribution of their seconds of audio.
        energy_j_per_min: Distribution of their energy per minute of audio, where it is known.
    """

    engine: str
    model: str
    simulated: bool = False
    spoken: int = 0
    cancelled: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    audio_s: float = 0.0
    wall_s: float = 0.0
    input_characters: int = 0
    real_time_factor: Sketch = field(default=Sketch())
    first_audio_s: Sketch = field(default=Sketch())
    queue_s: Sketch = field(default=Sketch())
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: Sketch = field(default=Sketch())
    segment_audio_s: Sketch = field(default=Sketch())
    energy_j_per_min: Sketch = field(default=Sketch())

    @property
    def failed(self) -> int:
        """Failed attempts."""
        return sum(count for _, count in self.failures)

    def merged(self, other: ModelStats) -> ModelStats:
        """What the same model did on two nodes."""
        failures = dict(self.failures)
        for code, count in other.failures:
            failures[code] = failures.get(code, 0) + count
        return ModelStats(
            self.engine,
            self.model,
            self.simulated or other.simulated,
            self.spoken + other.spoken,
            self.cancelled + other.cancelled,
            _by_number(failures),
            self.audio_s + other.audio_s,
            self.wall_s + other.wall_s,
            self.input_characters + other.input_characters,
            self.real_time_factor.merged(other.real_time_factor),
            self.first_audio_s.merged(other.first_audio_s),
            self.queue_s.merged(other.queue_s),
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.duration_s.merged(other.duration_s),
            self.segment_audio_s.merged(other.segment_audio_s),
            self.energy_j_per_min.merged(other.energy_j_per_min),
        )


def merge_models(parts: Iterable[ModelStats]) -> tuple[ModelStats, ...]:
    """The statistics of each model over all *parts*, by engine and name."""
    merged: dict[tuple[str, str], ModelStats] = {}
    for part in parts:
        key = (part.engine, part.model)
        merged[key] = merged[key].merged(part) if key in merged else part
    return tuple(merged[key] for key in sorted(merged))


@dataclass(slots=True)
class _Tally:
    """One model's counters while they grow."""

    simulated: bool = False
    spoken: int = 0
    cancelled: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    wall_s: float = 0.0
    input_characters: int = 0
    real_time_factor: Tally = field(default_factory=Tally)
    first_audio_s: Tally = field(default_factory=Tally)
    queue_s: Tally = field(default_factory=Tally)
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: Tally = field(default_factory=Tally)
    segment_audio_s: Tally = field(default_factory=Tally)
    energy_j_per_min: Tally = field(default_factory=Tally)

    def add(self, record: SynthesisRecord) -> None:
        self.simulated |= record.simulated
        if record.error == CANCELLED:
            self.cancelled += 1
        elif record.error is not None:
            known = record.error in self.failures or len(self.failures) < MOST_CAUSES
            code = record.error if known else OTHERS
            self.failures[code] = self.failures.get(code, 0) + 1
        else:
            self.spoken += 1
            self.audio_s += record.audio_s
            self.wall_s += record.wall_s
            self.input_characters += record.input_characters
            self.real_time_factor.add(record.real_time_factor)
            self.first_audio_s.add(record.first_audio_s)
            self.queue_s.add(record.queue_s)
            self.input_tokens += record.input_tokens
            self.output_tokens += record.output_tokens
            self.duration_s.add(record.wall_s)
            self.segment_audio_s.add(record.audio_s)


class ModelBook:
    """Counts every synthesis of a node by its model.

    Models beyond ``MOST_MODELS`` and causes beyond ``MOST_CAUSES`` are counted as ``other``.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def add(self, record: SynthesisRecord) -> None:
        """Count a synthesis."""
        self._tally(record).add(record)

    def used(self, record: SynthesisRecord, energy_j_per_min: float) -> None:
        """Count what a synthesis used, which is known a moment after it."""
        self._tally(record).energy_j_per_min.add(energy_j_per_min)

    def _tally(self, record: SynthesisRecord) -> _Tally:
        key = (record.engine, record.model)
        if key not in self._tallies and len(self._tallies) >= MOST_MODELS:
            key = (OTHERS, OTHERS)
        return self._tallies.setdefault(key, _Tally())

    @property
    def stats(self) -> tuple[ModelStats, ...]:
        """Every model's statistics so far."""
        return tuple(
            ModelStats(
                engine,
                model,
                tally.simulated,
                tally.spoken,
                tally.cancelled,
                _by_number(tally.failures),
                tally.audio_s,
                tally.wall_s,
                tally.input_characters,
                tally.real_time_factor.sketch,
                tally.first_audio_s.sketch,
                tally.queue_s.sketch,
                tally.input_tokens,
                tally.output_tokens,
                tally.duration_s.sketch,
                tally.segment_audio_s.sketch,
                tally.energy_j_per_min.sketch,
            )
            for (engine, model), tally in self._tallies.items()
        )


def _by_number(failures: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(failures.items(), key=lambda item: (-item[1], item[0])))
