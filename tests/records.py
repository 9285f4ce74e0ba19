"""A synthesis record to vary in tests: 8 s of audio in 2 s, so its real-time factor is 0.25."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from telemetry.core.sample import SynthesisRecord

_RECORD = SynthesisRecord(
    timestamp=100.0,
    node="node-1",
    replica="r-1",
    engine="piper",
    model="tts-1",
    card_uuid="GPU-a",
    simulated=False,
    input_characters=120,
    input_tokens=90,
    output_tokens=40,
    audio_s=8.0,
    wall_s=2.0,
    queue_s=0.1,
    first_audio_s=0.3,
    slots=1,
    trace_id="",
)


def record(**changes: Any) -> SynthesisRecord:
    """The record with some fields changed."""
    return replace(_RECORD, **changes)
