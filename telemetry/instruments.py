"""Every metric, as data.

Names are those of OpenTelemetry's semantic conventions where these have one (``hw.*`` for cards,
``gen_ai.*`` for synthesis, all of them still in development) and ``vibevoice.*`` where not.
``METRICS.md`` beside this file is made from this list: ``python -m telemetry.instruments``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What sort of instrument a metric is; the observable ones are read by a callback."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    OBSERVABLE_GAUGE = "observable gauge"
    OBSERVABLE_UP_DOWN_COUNTER = "observable up-down counter"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric.

    Args:
        name: Its name in every backend.
        unit: UCUM unit; ``1`` for a ratio.
        description: One sentence.
        kind: Sort of instrument.
        attributes: Names of the attributes that its points carry.
        buckets: Upper bounds of a histogram's buckets, in its unit; empty otherwise.
    """

    name: str
    unit: str
    description: str
    kind: Kind
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()


DURATION_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320)
LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80)
RTF_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 4)

_CARD = ("hw.id", "hw.type", "hw.name", "hw.vendor", "vibevoice.simulated")
_SPEECH = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "hw.id",
    "vibevoice.simulated",
)

CARD_UTILIZATION = Instrument(
    "hw.gpu.utilization",
    "1",
    "Share of the last sampling period in which the card worked, 0 to 1.",
    Kind.OBSERVABLE_GAUGE,
    _CARD,
)
CARD_MEMORY_USAGE = Instrument(
    "hw.gpu.memory.usage",
    "By",
    "Memory of the card that programs use.",
    Kind.OBSERVABLE_UP_DOWN_COUNTER,
    _CARD,
)
CARD_MEMORY_LIMIT = Instrument(
    "hw.gpu.memory.limit",
    "By",
    "Memory of the card.",
    Kind.OBSERVABLE_UP_DOWN_COUNTER,
    _CARD,
)
CARD_MEMORY_UTILIZATION = Instrument(
    "hw.gpu.memory.utilization",
    "1",
    "Share of the card's memory that programs use, 0 to 1.",
    Kind.OBSERVABLE_GAUGE,
    _CARD,
)
CARD_TEMPERATURE = Instrument(
    "hw.temperature",
    "Cel",
    "Temperature of the card.",
    Kind.OBSERVABLE_GAUGE,
    (*_CARD, "hw.sensor_location"),
)
CARD_POWER = Instrument("hw.power", "W", "Power that the card draws.", Kind.OBSERVABLE_GAUGE, _CARD)
CARD_POWER_LIMIT = Instrument(
    "vibevoice.gpu.power.limit",
    "W",
    "Power that the card is held to.",
    Kind.OBSERVABLE_GAUGE,
    _CARD,
)
CARD_CLOCK = Instrument(
    "vibevoice.gpu.clock",
    "Hz",
    "Clock of a part of the card.",
    Kind.OBSERVABLE_GAUGE,
    (*_CARD, "vibevoice.gpu.clock.domain"),
)
CARD_STATUS = Instrument(
    "hw.status",
    "1",
    "1 for the state that the card is in, 0 for the others; a stale card is in none.",
    Kind.OBSERVABLE_UP_DOWN_COUNTER,
    (*_CARD, "hw.state"),
)
CARD_SAMPLE_AGE = Instrument(
    "vibevoice.gpu.sample.age",
    "s",
    "Age of the card's newest sample; it grows while the driver hangs.",
    Kind.OBSERVABLE_GAUGE,
    _CARD,
)
SLOTS_BUSY = Instrument(
    "vibevoice.tts.slots.busy",
    "{slot}",
    "Segments that the replicas on a card speak right now.",
    Kind.OBSERVABLE_UP_DOWN_COUNTER,
    ("hw.id",),
)
SLOTS_LIMIT = Instrument(
    "vibevoice.tts.slots.limit",
    "{slot}",
    "Segments that the replicas on a card may speak at once.",
    Kind.OBSERVABLE_UP_DOWN_COUNTER,
    ("hw.id",),
)

REQUEST_DURATION = Instrument(
    "gen_ai.server.request.duration",
    "s",
    "Time from the start on a slot to the last sample of a segment, failed attempts included.",
    Kind.HISTOGRAM,
    (*_SPEECH, "error.type"),
    DURATION_BUCKETS_S,
)
FIRST_AUDIO = Instrument(
    "vibevoice.tts.time_to_first_audio",
    "s",
    "Time from the start on a slot to a segment's first chunk of audio.",
    Kind.HISTOGRAM,
    _SPEECH,
    LATENCY_BUCKETS_S,
)
REAL_TIME_FACTOR = Instrument(
    "vibevoice.tts.real_time_factor",
    "1",
    "Seconds on a slot per second of audio, by segment.",
    Kind.HISTOGRAM,
    _SPEECH,
    RTF_BUCKETS,
)
AUDIO_DURATION = Instrument(
    "vibevoice.tts.audio.duration",
    "s",
    "Audio of a segment; the sum is the audio delivered.",
    Kind.HISTOGRAM,
    _SPEECH,
    DURATION_BUCKETS_S,
)
QUEUE_TIME = Instrument(
    "vibevoice.tts.queue.time",
    "s",
    "Time that a segment waited in its replica for a slot.",
    Kind.HISTOGRAM,
    _SPEECH,
    LATENCY_BUCKETS_S,
)
INPUT_CHARACTERS = Instrument(
    "vibevoice.tts.input.characters",
    "{character}",
    "Characters of text spoken.",
    Kind.COUNTER,
    _SPEECH,
)
INPUT_TOKENS = Instrument(
    "vibevoice.tts.input.tokens", "{token}", "Tokens of text spoken.", Kind.COUNTER, _SPEECH
)
OUTPUT_TOKENS = Instrument(
    "vibevoice.tts.output.tokens", "{token}", "Frames of audio written.", Kind.COUNTER, _SPEECH
)

CARD_INSTRUMENTS = (
    CARD_UTILIZATION,
    CARD_MEMORY_USAGE,
    CARD_MEMORY_LIMIT,
    CARD_MEMORY_UTILIZATION,
    CARD_TEMPERATURE,
    CARD_POWER,
    CARD_POWER_LIMIT,
    CARD_CLOCK,
    CARD_STATUS,
    CARD_SAMPLE_AGE,
    SLOTS_BUSY,
    SLOTS_LIMIT,
)
"""Exported by each node's actor for its own cards."""

SYNTHESIS_INSTRUMENTS = (
    REQUEST_DURATION,
    FIRST_AUDIO,
    REAL_TIME_FACTOR,
    AUDIO_DURATION,
    QUEUE_TIME,
    INPUT_CHARACTERS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
)
"""Exported by each replica for the segments it spoke."""

INSTRUMENTS = CARD_INSTRUMENTS + SYNTHESIS_INSTRUMENTS
"""All of them."""


def markdown() -> str:
    """The text of ``METRICS.md``."""
    sections = [
        ("Cards, from each node's telemetry actor", CARD_INSTRUMENTS),
        ("Synthesis, from each replica", SYNTHESIS_INSTRUMENTS),
    ]
    lines = [
        "# Metrics",
        "",
        "Made from `telemetry/instruments.py` by `python -m telemetry.instruments`.",
        "A signal that a card does not have is absent, never 0. `hw.id` is the card's UUID.",
        "`error.type` stands on failed attempts only.",
    ]
    for title, instruments in sections:
        lines += ["", f"## {title}", "", "| name | unit | kind | what | attributes | buckets |"]
        lines += ["|---|---|---|---|---|---|", *map(_row, instruments)]
    return "\n".join(lines) + "\n"


def _row(instrument: Instrument) -> str:
    attributes = ", ".join(f"`{name}`" for name in instrument.attributes)
    buckets = ", ".join(f"{bound:g}" for bound in instrument.buckets)
    cells = (
        f"`{instrument.name}`",
        f"`{instrument.unit}`",
        instrument.kind.value,
        instrument.description,
        attributes,
        buckets,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
