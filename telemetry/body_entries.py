"""What ``GET /get_metrics`` tells, as types; :mod:`telemetry.body` fills them.

Memory is in MiB here, as operators know it from ``nvidia-smi``; all else is in the units that
the names say. A value that is not known is ``null``, never 0.
"""

from __future__ import annotations

from typing import TypedDict


class GpuEntry(TypedDict):
    """One sample of one card; see :class:`~telemetry.core.sample.CardSample`.

    ``timestamp`` is Unix time in s, ``gpu_util`` in percent, ``mem_used`` and ``mem_total`` in
    MiB, ``temp`` in deg C.
    """

    timestamp: float
    node: str
    index: int
    uuid: str
    name: str
    gpu_util: float | None
    mem_used: float | None
    mem_total: float | None
    temp: float | None
    power_w: float | None
    power_limit_w: float | None
    sm_clock_mhz: float | None
    mem_clock_mhz: float | None
    simulated: bool
    error: str | None


class ProcessEntry(TypedDict):
    """A program that computes on a card; ``mem_used`` in MiB, null if the driver does not say."""

    pid: int
    mem_used: float | None


class CardEntry(GpuEntry):
    """A card as it is now: its newest sample, how old that is, and its replicas' slots.

    ``throttle`` names what holds its clocks down, null if it does not tell; ``guard`` is what the
    thermal guard allows (``open``, ``eased`` or ``paused``, null without a guard) since
    ``guard_for_s``, and ``guard_why`` the reason. ``processes`` is null if the card does not tell.
    """

    host: str
    age_s: float
    stale: bool
    busy: int
    slots: int
    throttle: list[str] | None
    margin_c: float | None
    mem_temp: float | None
    energy_j: float | None
    guard: str | None
    guard_why: str | None
    guard_for_s: float | None
    processes: list[ProcessEntry] | None


class InferenceEntry(TypedDict):
    """One segment that was spoken, or failed with ``error``.

    ``output_duration`` is its audio and ``inference_time`` the time on a slot, both in s;
    ``throughput_rt`` is the first per second of the other and ``rtf`` the inverse.
    """

    timestamp: float
    input_tokens: int
    input_characters: int
    output_tokens: int
    output_duration: float
    inference_time: float
    throughput_rt: float | None
    tokens_per_s: float | None
    rtf: float | None
    queue_s: float
    first_audio_s: float | None
    node: str
    replica: str
    card_uuid: str | None
    engine: str
    model: str
    simulated: bool
    trace_id: str
    error: str | None


class TotalsEntry(TypedDict):
    """Sums over all segments since the nodes' telemetry started.

    ``rtf`` is time on slots per audio; ``throughput_rt`` is audio per ``elapsed_s``, the time
    from the first start to the last end on any node, idle time included.
    """

    segments: int
    failures: int
    simulated: int
    input_characters: int
    input_tokens: int
    output_tokens: int
    audio_s: float
    wall_s: float
    elapsed_s: float
    rtf: float | None
    throughput_rt: float | None
    cards: int
    simulated_cards: int


class NodeEntry(TypedDict):
    """A node; ``age_s`` is the time since its last answer, null if it never gave one."""

    id: str
    host: str
    state: str
    age_s: float | None
    card_source: str | None
    problems: list[str]


class AlertEntry(TypedDict):
    """An alert that is on; ``subject`` is a card's UUID, a node's id or ``model:NAME``."""

    rule: str
    severity: str
    title: str
    subject: str
    label: str
    value: float
    unit: str
    simulated: bool


class ChannelEntry(TypedDict):
    """An alert channel, over all that send to it; messages by what became of them."""

    name: str
    sent: int
    failed: int
    dropped: int
    waiting: int
    failing: bool


class MetricsBody(TypedDict):
    """All of it; ``gpu`` and ``inference`` are oldest first, critical ``alerts`` come first."""

    timestamp: float
    gpu: list[GpuEntry]
    cards: list[CardEntry]
    inference: list[InferenceEntry]
    totals: TotalsEntry
    nodes: list[NodeEntry]
    problems: list[str]
    alerts: list[AlertEntry]
    channels: list[ChannelEntry]
