"""What an ingress answered, in bounded memory: counters and distributions by model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from telemetry.core.model_book import Sketch, Tally
from telemetry.core.request import RequestRecord

MOST_CAUSES: Final = 64
OTHERS: Final = "other"

Model = tuple[str, str, bool]
"""Engine, model, and whether any of it was simulated."""


@dataclass(frozen=True, slots=True)
class RequestStats:
    """What was answered with one model.

    Args:
        engine, model, simulated: Who spoke.
        duration_s: Durations by error code, ``""`` for those that ended well.
        first_audio_s, audio_s: Of those that gave audio.
        retries: How often something was done again, by kind and cause.
        underruns, underrun_s: How often listeners at real time had to wait, and how long.
    """

    engine: str
    model: str
    simulated: bool
    duration_s: tuple[tuple[str, Sketch], ...]
    first_audio_s: Sketch
    audio_s: Sketch
    retries: tuple[tuple[str, str, int], ...]
    underruns: int
    underrun_s: float


@dataclass(slots=True)
class _Sums:
    duration_s: dict[str, Tally] = field(default_factory=dict)
    first_audio_s: Tally = field(default_factory=Tally)
    audio_s: Tally = field(default_factory=Tally)
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    underruns: int = 0
    underrun_s: float = 0.0

    def add(self, record: RequestRecord) -> None:
        error = record.error or ""
        if error not in self.duration_s and len(self.duration_s) >= MOST_CAUSES:
            error = OTHERS
        self.duration_s.setdefault(error, Tally()).add(record.wall_s)
        if record.first_audio_s is not None:
            self.first_audio_s.add(record.first_audio_s)
            self.audio_s.add(record.audio_s)
        self.underruns += record.underruns
        self.underrun_s += record.underrun_s
        for kind, code, count in record.retries:
            known = (kind, code) in self.retries or len(self.retries) < MOST_CAUSES
            self.retries[kind, code if known else OTHERS] += count


class RequestBook:
    """Counts requests; owned by one event loop.

    A process serves one model or a few; :data:`MOST_CAUSES` bounds what comes from outside.
    """

    def __init__(self) -> None:
        self._sums: dict[Model, _Sums] = {}

    def add(self, record: RequestRecord) -> None:
        """Count a request."""
        key = (record.engine, record.model, record.simulated)
        self._sums.setdefault(key, _Sums()).add(record)

    @property
    def stats(self) -> tuple[RequestStats, ...]:
        """What was answered so far, by model."""
        return tuple(
            RequestStats(
                *key,
                tuple((error, tally.sketch) for error, tally in sums.duration_s.items()),
                sums.first_audio_s.sketch,
                sums.audio_s.sketch,
                tuple((kind, code, count) for (kind, code), count in sums.retries.items()),
                sums.underruns,
                sums.underrun_s,
            )
            for key, sums in self._sums.items()
        )
