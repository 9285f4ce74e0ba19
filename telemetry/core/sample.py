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
class CardProcess:
    """A program that computes on a card.

    Args:
        pid: Its process id on the node.
        mem_bytes: Memory of the card that it holds, or None where the driver does not say.
    """

    pid: int
    mem_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class XidEvent:
    """A fault that the driver reported, with its repeats counted in.

    Args:
        timestamp: Unix time of the last one, s.
        uuid: The card, as in :class:`CardSample`.
        xid: NVIDIA's number of the fault.
        count: How many came, at least 1.
    """

    timestamp: float
    uuid: str
    xid: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class CardSample:
    """One reading of one card. Every signal is None where the card or its driver has none.

    Signals of the slow tier (thresholds, ECC, rows, processes and so on) are those of the last
    slow reading, which may be older than ``timestamp`` by the slow tier's period.

    Args:
        timestamp: Unix time of the reading, s.
        index: NVML index on its node.
        uuid: NVML UUID (``GPU-...``), ``SIM-...`` of a simulated card, or :func:`unknown_uuid`;
            the identity in every output.
        name: Product name.
        simulated: True for a card that exists only in software.
        gpu_util: Share of time in which a kernel ran, percent.
        mem_used_bytes, mem_total_bytes: Memory that programs hold, and all there is.
        temp_c: Core temperature.
        power_w, power_limit_w: Draw and enforced limit.
        sm_clock_mhz, mem_clock_mhz: Clocks.
        error: Why the card could not be read (then signals are None), or None.
        mem_bus_util: Share of time in which the memory bus was busy, percent.
        mem_free_bytes, mem_reserved_bytes: Memory nobody holds, and what the driver keeps.
        mem_temp_c: Memory temperature.
        temp_slowdown_c, temp_shutdown_c, temp_max_operating_c: Core temperatures at which the
            card slows down, shuts down, and up to which it is made to run.
        margin_c: Degrees C left to the slowdown point; negative beyond it.
        energy_j: Energy since the driver was loaded.
        pstate: Performance state, 0 (highest) to 15.
        fan_percent: Intended fan speed.
        throttle: What holds the clocks down, named as in :mod:`telemetry.core.throttle`; empty
            if nothing does.
        ecc_corrected, ecc_uncorrected: Memory errors since the driver was loaded.
        ecc_corrected_total, ecc_uncorrected_total: Memory errors in the card's life.
        rows_corrected, rows_uncorrected: Memory rows replaced after errors of each kind.
        rows_pending, rows_failed: A row waits for a reset to be replaced; one could not be.
        pcie_replays: Retransmissions on the bus since the driver was loaded.
        mig: The card is divided into instances.
        processes: Programs that compute on it.
        driver_version: Of the kernel driver.
        pci_bus_id: Where it sits (``domain:bus:device.function``).
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
    mem_bus_util: float | None = None
    mem_free_bytes: int | None = None
    mem_reserved_bytes: int | None = None
    mem_temp_c: float | None = None
    temp_slowdown_c: float | None = None
    temp_shutdown_c: float | None = None
    temp_max_operating_c: float | None = None
    margin_c: float | None = None
    energy_j: float | None = None
    pstate: int | None = None
    fan_percent: float | None = None
    throttle: tuple[str, ...] | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    ecc_corrected_total: int | None = None
    ecc_uncorrected_total: int | None = None
    rows_corrected: int | None = None
    rows_uncorrected: int | None = None
    rows_pending: bool | None = None
    rows_failed: bool | None = None
    pcie_replays: int | None = None
    mig: bool | None = None
    processes: tuple[CardProcess, ...] | None = None
    driver_version: str | None = None
    pci_bus_id: str | None = None


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
        card_share: Its share of what its card did meanwhile: its seconds on a slot in those of
            all segments that the replica spoke at that time; 1 if it was alone.
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
    card_share: float = 1.0

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
