"""What is measured, as plain data: a card's sample and a synthesis' record.

A signal that a card does not have is ``None``, never 0. Times are seconds since the epoch for
people (``timestamp``); ages and durations are taken from a monotonic clock by whoever measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CANCELLED: Final = "cancelled"
"""``error`` of a synthesis that its caller gave up; no failure of the card or the engine."""


def unknown_uuid(index: int) -> str:
    """What a card is called that was lost before its UUID could be read."""
    return f"unknown-{index}"


@dataclass(frozen=True, slots=True)
class CardSample:
    """One reading of one card.

    Args:
        timestamp: Unix time of the reading, s.
        index: NVML index on its node.
        uuid: NVML UUID (``GPU-...``), ``SIM-...`` of a simulated card, or :func:`unknown_uuid`;
            the identity in every output.
        name: Product name.
        simulated: True for a card that exists only in software.
        gpu_util: 0..100, or None.
        mem_used_bytes, mem_total_bytes: Memory, or None.
        temp_c: Core temperature, or None.
        power_w, power_limit_w: Draw and enforced limit, or None.
        sm_clock_mhz, mem_clock_mhz: Clocks, or None.
        error: Why the card could not be read (then signals are None), or None.
    """

    timestamp: float
    index: int
    uuid: str
    name: str
    simulated: bool
    gpu_util: float | None = None
    mem_used_bytes: int | None = None
    mem_total_bytes: int | None = None
    temp_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: float | None = None
    mem_clock_mhz: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SynthesisRecord:
    """One segment as a replica spoke it.

    Args:
        timestamp: Unix time of its end, s.
        node: Ray node id.
        replica: Replica id.
        engine, model: Who spoke.
        card_uuid: Card it ran on, or None without one.
        simulated: True if the engine or the card is simulated.
        input_characters, input_tokens: Size of the text.
        output_tokens: Frames written.
        audio_s: Seconds of audio.
        wall_s: Seconds from the start on a slot to the end.
        queue_s: Seconds it waited for a slot.
        first_audio_s: Seconds from the start on a slot to the first chunk, or None without one.
        slots: Slots of the engine at its end.
        trace_id: 32 hex digits, or "" when not sampled.
        error: Error code of a failed attempt, or None.
    """

    timestamp: float
    node: str
    replica: str
    engine: str
    model: str
    card_uuid: str | None
    simulated: bool
    input_characters: int
    input_tokens: int
    output_tokens: int
    audio_s: float
    wall_s: float
    queue_s: float
    first_audio_s: float | None
    slots: int
    trace_id: str
    error: str | None = None

    @property
    def real_time_factor(self) -> float | None:
        """Wall seconds per audio second; None without audio."""
        return self.wall_s / self.audio_s if self.audio_s > 0 else None

    @property
    def throughput_rt(self) -> float | None:
        """Audio seconds per wall second; None without a measurable time."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else None

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens per wall second; None without a measurable time."""
        return self.output_tokens / self.wall_s if self.wall_s > 0 else None
