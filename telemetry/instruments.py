"""Every metric, as data.

Names are those of OpenTelemetry's semantic conventions where these have one (``hw.*`` for cards,
``gen_ai.*`` for synthesis, all of them still in development) and ``vibevoice.*`` where not.
``METRICS.md`` beside this file is made from these lists (:mod:`telemetry.metrics_document`).
"""

from __future__ import annotations

from functools import partial

from telemetry.instrument import Instrument, Kind

DURATION_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320)
LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80)
RTF_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 4)
ENERGY_BUCKETS_J = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)

_CARD = ("hw.id", "hw.type", "hw.name", "hw.vendor", "vibevoice.simulated")
_SPEECH = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "vibevoice.simulated",
)

_card = partial(Instrument, kind=Kind.OBSERVABLE_GAUGE, attributes=_CARD)
_card_state = partial(Instrument, kind=Kind.OBSERVABLE_UP_DOWN_COUNTER, attributes=_CARD)
_card_total = partial(Instrument, kind=Kind.OBSERVABLE_COUNTER, attributes=_CARD)
_spoken = partial(Instrument, kind=Kind.HISTOGRAM, attributes=(*_SPEECH, "hw.id"))
_counted = partial(Instrument, kind=Kind.COUNTER, attributes=(*_SPEECH, "hw.id"))
_answered = partial(Instrument, kind=Kind.HISTOGRAM, attributes=_SPEECH)

CARD_UTILIZATION = _card(
    "hw.gpu.utilization", "1", "Share of the last sampling period in which the card worked, 0 to 1."
)
CARD_BUS_UTILIZATION = _card(
    "vibevoice.gpu.memory.bus.utilization",
    "1",
    "Share of time in which the memory bus was busy, 0 to 1.",
)
CARD_MEMORY_USAGE = _card_state(
    "hw.gpu.memory.usage", "By", "Memory of the card that programs use."
)
CARD_MEMORY_LIMIT = _card_state("hw.gpu.memory.limit", "By", "Memory of the card.")
CARD_MEMORY_UTILIZATION = _card(
    "hw.gpu.memory.utilization", "1", "Share of the card's memory that programs use, 0 to 1."
)
CARD_MEMORY_FREE = _card_state(
    "vibevoice.gpu.memory.free", "By", "Memory of the card that nobody holds."
)
CARD_MEMORY_RESERVED = _card_state(
    "vibevoice.gpu.memory.reserved", "By", "Memory of the card that its driver keeps."
)
CARD_TEMPERATURE = _card(
    "hw.temperature",
    "Cel",
    "Temperature of a part of the card: `gpu` or `memory`.",
    attributes=(*_CARD, "hw.sensor_location"),
)
CARD_TEMPERATURE_LIMIT = _card(
    "hw.temperature.limit",
    "Cel",
    "Core temperature of its slowdown (`high.degraded`), its shutdown and its best range.",
    attributes=(*_CARD, "hw.limit_type"),
)
CARD_MARGIN = _card(
    "vibevoice.gpu.temperature.margin",
    "Cel",
    "Degrees left to the slowdown point; negative beyond it.",
)
CARD_POWER = _card("hw.power", "W", "Power that the card draws.")
CARD_POWER_LIMIT = _card("vibevoice.gpu.power.limit", "W", "Power that the card is held to.")
CARD_ENERGY = _card_total("hw.energy", "J", "Energy since the driver was loaded.")
CARD_CLOCK = _card(
    "vibevoice.gpu.clock",
    "Hz",
    "Clock of a part of the card: `sm` or `memory`.",
    attributes=(*_CARD, "vibevoice.gpu.clock.domain"),
)
CARD_PSTATE = _card("vibevoice.gpu.pstate", "{state}", "Performance state, 0 (highest) to 15.")
CARD_FAN = _card("hw.fan.speed_ratio", "1", "Intended speed of the fan, 0 to 1.")
CARD_THROTTLED = _card_state(
    "vibevoice.gpu.throttled",
    "1",
    "1 for each reason that holds the clocks down now, 0 for the others.",
    attributes=(*_CARD, "vibevoice.gpu.throttle.reason"),
)
CARD_STATUS = _card_state(
    "hw.status",
    "1",
    "1 for the state that the card is in, 0 for the others; a stale card is in none.",
    attributes=(*_CARD, "hw.state"),
)
CARD_ERRORS = _card_total(
    "hw.errors",
    "{error}",
    "Faults: `xid` by number, `ecc_corrected`, `ecc_uncorrected`, `pcie_replay`.",
    attributes=(*_CARD, "error.type", "vibevoice.gpu.xid"),
)
CARD_LIFETIME_ERRORS = _card_total(
    "vibevoice.gpu.ecc.lifetime",
    "{error}",
    "Memory errors in the card's life, by kind.",
    attributes=(*_CARD, "error.type"),
)
CARD_ROWS = _card_total(
    "vibevoice.gpu.rows.remapped",
    "{row}",
    "Memory rows replaced after errors of a kind.",
    attributes=(*_CARD, "error.type"),
)
CARD_ROWS_PENDING = _card_state(
    "vibevoice.gpu.rows.pending", "1", "1 while a memory row waits for a reset to be replaced."
)
CARD_ROWS_FAILED = _card_state(
    "vibevoice.gpu.rows.failed", "1", "1 if a memory row could not be replaced."
)
CARD_MIG = _card_state("vibevoice.gpu.mig", "1", "1 while the card is divided into instances.")
CARD_PROCESSES = _card_state(
    "vibevoice.gpu.processes", "{process}", "Programs that compute on the card."
)
CARD_PROCESS_MEMORY = _card_state(
    "vibevoice.gpu.processes.memory",
    "By",
    "Memory of the card that programs which compute on it hold, as far as the driver says.",
)
CARD_INFO = _card(
    "vibevoice.gpu.info",
    "{card}",
    "Always 1; tells what the card is in its attributes.",
    attributes=(*_CARD, "hw.driver_version", "vibevoice.gpu.pci.bus_id"),
)
CARD_SAMPLE_AGE = _card(
    "vibevoice.gpu.sample.age",
    "s",
    "Age of the card's newest sample; it grows while the driver hangs.",
)
CARD_GUARD = _card_state(
    "vibevoice.gpu.guard.state",
    "1",
    "1 for what the thermal guard allows (`open`, `eased` or `paused`), 0 for the others.",
    attributes=("hw.id", "vibevoice.gpu.guard"),
)
CARD_PAUSED = _card_state(
    "vibevoice.gpu.paused",
    "1",
    "1 while the thermal guard gives the card no work.",
    attributes=("hw.id",),
)
ALERTS = _card_state(
    "vibevoice.alerts.active",
    "{alert}",
    "Alerts that are on.",
    attributes=("vibevoice.alert.rule", "vibevoice.alert.severity", "vibevoice.alert.subject"),
)
NOTICES = _card_total(
    "vibevoice.alerts.notices",
    "{notice}",
    "Messages to a channel, by what became of them: `sent`, `failed` (given up) or `dropped`.",
    attributes=("vibevoice.alert.channel", "vibevoice.alert.outcome"),
)
NOTICES_WAITING = _card_state(
    "vibevoice.alerts.notices.waiting",
    "{notice}",
    "Messages that wait for a channel.",
    attributes=("vibevoice.alert.channel",),
)
SLOTS_BUSY = _card_state(
    "vibevoice.tts.slots.busy",
    "{slot}",
    "Segments in flight: those that the replicas on a card speak right now.",
    attributes=("hw.id",),
)
SLOTS_LIMIT = _card_state(
    "vibevoice.tts.slots.limit",
    "{slot}",
    "Segments that the replicas on a card may speak at once.",
    attributes=("hw.id",),
)
EXPORT_FAILURES = _card_total(
    "vibevoice.telemetry.export.failures",
    "{export}",
    "Exports of this process that failed or were refused, by signal.",
    attributes=("vibevoice.signal",),
)
EXPORT_DROPPED = _card_total(
    "vibevoice.telemetry.export.dropped",
    "{span}",
    "Spans of this process that found their queue full, by signal.",
    attributes=("vibevoice.signal",),
)
EXPORT_FAILING = _card(
    "vibevoice.telemetry.export.failing",
    "s",
    "For how long no export of a signal has succeeded; 0 while they do.",
    attributes=("vibevoice.signal",),
)

SEGMENT_DURATION = _spoken(
    "vibevoice.tts.segment.duration",
    "s",
    "Time from the start on a slot to the last sample of a segment, failed attempts included.",
    attributes=(*_SPEECH, "hw.id", "error.type"),
    buckets=DURATION_BUCKETS_S,
)
SEGMENT_FIRST_AUDIO = _spoken(
    "vibevoice.tts.segment.time_to_first_audio",
    "s",
    "Time from the start on a slot to a segment's first chunk of audio.",
    buckets=LATENCY_BUCKETS_S,
)
REAL_TIME_FACTOR = _spoken(
    "vibevoice.tts.real_time_factor",
    "1",
    "Seconds on a slot per second of audio, by segment.",
    buckets=RTF_BUCKETS,
)
AUDIO_DURATION = _spoken(
    "vibevoice.tts.audio.duration",
    "s",
    "Audio of a segment; the sum is the audio spoken.",
    buckets=DURATION_BUCKETS_S,
)
QUEUE_TIME = _spoken(
    "vibevoice.tts.queue.time",
    "s",
    "Time that a segment waited for a slot.",
    buckets=LATENCY_BUCKETS_S,
)
AUDIO_ENERGY = _spoken(
    "vibevoice.tts.audio.energy",
    "J/min",
    "A segment's share of its card's energy per minute of audio; from the node's actor.",
    buckets=ENERGY_BUCKETS_J,
)
INPUT_CHARACTERS = _counted(
    "vibevoice.tts.input.characters", "{character}", "Characters of text spoken."
)
INPUT_TOKENS = _counted("vibevoice.tts.input.tokens", "{token}", "Tokens of text spoken.")
OUTPUT_TOKENS = _counted("vibevoice.tts.output.tokens", "{token}", "Frames of audio written.")
FAILURES = _counted(
    "vibevoice.tts.failures",
    "{segment}",
    "Attempts at a segment that failed, by cause.",
    attributes=(*_SPEECH, "hw.id", "error.type"),
)

REQUEST_DURATION = _answered(
    "gen_ai.server.request.duration",
    "s",
    "Time from the arrival of a request for speech to its last byte, failed ones included.",
    attributes=(*_SPEECH, "error.type"),
    buckets=DURATION_BUCKETS_S,
)
FIRST_AUDIO = _answered(
    "vibevoice.tts.time_to_first_audio",
    "s",
    "Time from the arrival of a request to its first bytes of audio.",
    buckets=LATENCY_BUCKETS_S,
)
STREAM_AUDIO = _answered(
    "vibevoice.tts.stream.duration",
    "s",
    "Audio that left for a request.",
    buckets=DURATION_BUCKETS_S,
)
RETRIES = _counted(
    "vibevoice.tts.retries",
    "{segment}",
    "What had to be done again: `fault` (same seed), `bad_take` (next seed) or `split`, by cause.",
    attributes=(*_SPEECH, "vibevoice.retry.kind", "error.type"),
)
UNDERRUNS = _counted(
    "vibevoice.tts.stream.underruns",
    "{underrun}",
    "How often a listener at real time had to wait for audio.",
    attributes=_SPEECH,
)
UNDERRUN_TIME = _counted(
    "vibevoice.tts.stream.underrun.time",
    "s",
    "How long listeners at real time had to wait for audio.",
    attributes=_SPEECH,
)
CACHE_LOOKUPS = _counted(
    "vibevoice.tts.cache.lookups",
    "{segment}",
    "Segments of jobs looked up in the cache, by whether they were there.",
    attributes=("vibevoice.cache.hit",),
)

NODE_INSTRUMENTS = (
    CARD_UTILIZATION,
    CARD_BUS_UTILIZATION,
    CARD_MEMORY_USAGE,
    CARD_MEMORY_LIMIT,
    CARD_MEMORY_UTILIZATION,
    CARD_MEMORY_FREE,
    CARD_MEMORY_RESERVED,
    CARD_TEMPERATURE,
    CARD_TEMPERATURE_LIMIT,
    CARD_MARGIN,
    CARD_POWER,
    CARD_POWER_LIMIT,
    CARD_ENERGY,
    CARD_CLOCK,
    CARD_PSTATE,
    CARD_FAN,
    CARD_THROTTLED,
    CARD_STATUS,
    CARD_ERRORS,
    CARD_LIFETIME_ERRORS,
    CARD_ROWS,
    CARD_ROWS_PENDING,
    CARD_ROWS_FAILED,
    CARD_MIG,
    CARD_PROCESSES,
    CARD_PROCESS_MEMORY,
    CARD_INFO,
    CARD_SAMPLE_AGE,
    CARD_GUARD,
    CARD_PAUSED,
    ALERTS,
    NOTICES,
    NOTICES_WAITING,
    SLOTS_BUSY,
    SLOTS_LIMIT,
    AUDIO_ENERGY,
)
"""Exported by each node's actor for its own cards and replicas.

The fleet's watch exports alerts and messages too: those that no single node has.
"""

SYNTHESIS_INSTRUMENTS = (
    SEGMENT_DURATION,
    SEGMENT_FIRST_AUDIO,
    REAL_TIME_FACTOR,
    AUDIO_DURATION,
    QUEUE_TIME,
    INPUT_CHARACTERS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    FAILURES,
)
"""Exported by each replica for the segments it spoke."""

REQUEST_INSTRUMENTS = (
    REQUEST_DURATION,
    FIRST_AUDIO,
    STREAM_AUDIO,
    RETRIES,
    UNDERRUNS,
    UNDERRUN_TIME,
    CACHE_LOOKUPS,
)
"""Exported by each ingress for the requests it answered, and by what runs jobs."""

PROCESS_INSTRUMENTS = (
    EXPORT_FAILURES,
    EXPORT_DROPPED,
    EXPORT_FAILING,
)
"""Exported by every process that exports anything."""
