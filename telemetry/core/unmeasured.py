"""Syntheses whose energy is still to be told, for the sample behind them has not come yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from telemetry.core.card_use import NEAREST_S, CardUse
from telemetry.core.sample import SynthesisRecord

MOST_UNMEASURED: Final = 4096


class Unmeasured:
    """What waits for its card's next sample, in bounded memory; the oldest leave first.

    Plain state without clock, thread or lock.
    """

    def __init__(self) -> None:
        self._waiting: deque[SynthesisRecord] = deque(maxlen=MOST_UNMEASURED)

    def add(self, record: SynthesisRecord) -> None:
        """Wait with a synthesis that gave audio on a card; no other has an energy."""
        if record.card_uuid is not None and record.error is None and record.audio_s > 0:
            self._waiting.append(record)

    def due(self, now: float, sampled: Mapping[str, float]) -> list[SynthesisRecord]:
        """Those that need not wait any longer.

        Args:
            now: Unix time. A card that is not sampled again is not waited for.
            sampled: Unix time of each card's newest sample.
        """
        waiting, self._waiting = self._waiting, deque(maxlen=MOST_UNMEASURED)
        due = []
        for record in waiting:
            assert record.card_uuid is not None
            seen = sampled.get(record.card_uuid, now) > record.timestamp
            if seen or now - record.timestamp >= NEAREST_S:
                due.append(record)
            else:
                self._waiting.append(record)
        return due


def energy_j_per_min(record: SynthesisRecord, use: CardUse | None) -> float | None:
    """A synthesis' share of its card's energy per minute of its audio, J, where that is known."""
    if use is None or use.energy_j is None:
        return None
    return use.energy_j * record.card_share / (record.audio_s / 60.0)
