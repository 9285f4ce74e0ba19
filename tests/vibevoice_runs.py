"""Segments through a batch, frame by frame, without a thread; and how far they are from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from serve_app.engines.base import Line
from serve_app.engines.vibevoice_graphs import Runner
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_loop import Batch, Row
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from tests.tiny_vibevoice import ArrayVoices
from tests.vibevoice_reference import generate_alone

Samples = NDArray[np.float32]
STEPS = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """What to say, for how many tokens at most, and the frame in which it comes."""

    lines: tuple[Line, ...]
    budget: int
    seed: int
    arrives: int = 0
    scale: float = 1.3
    steps: int = STEPS


def line(speaker: str, voice: str, text: str) -> Line:
    return Line(speaker, voice, text)


SEGMENTS = (
    Segment((line("Ada", "v1", "Hello."),), budget=4, seed=1),
    Segment((line("Ada", "v1", "Good morning to you."),), budget=30, seed=2),
    Segment(
        (line("Ben", "v2", "Who is there?"), line("Ada", "v1", "Nobody, it is only the rain.")),
        budget=9,
        seed=3,
        arrives=2,
        scale=2.0,
    ),
    Segment(
        (line("Cleo", "v3", "Yes."), line("Dan", "v4", "No!"), line("Cleo", "v3", "Well...")),
        budget=30,
        seed=4,
        arrives=6,
        steps=3,
    ),
    Segment((line("Ben", "v2", "So it ends as it began."),), budget=12, seed=5, arrives=7),
)
"""They leave and join in mid-way, and slots are taken over by others."""


def speak(
    loaded: LoadedModel,
    segments: Sequence[Segment],
    *,
    runner: Runner | None = None,
    piece: int | None = None,
) -> list[Samples]:
    """The samples of each segment, spoken in one batch."""
    waiting = list(segments)
    heard: dict[int, list[Samples]] = {segment.seed: [] for segment in segments}
    owner: dict[Row, int] = {}
    frame = 0
    with torch.inference_mode():
        reader = Reader(loaded, ArrayVoices(), piece=piece)
        batch = Batch(loaded, reader.begin(), runner)
        while waiting or batch.rows:
            while waiting and waiting[0].arrives <= frame:
                segment = waiting.pop(0)
                noise = torch.Generator().manual_seed(segment.seed)
                row = Row(segment.budget, noise, segment.scale, segment.steps)
                owner[row] = segment.seed
                batch.join(row, reader.read(reader.prompt(turns_of(segment.lines))))
            for sounded in batch.sound():
                if sounded.samples is not None:
                    heard[owner[sounded.row]].append(sounded.samples)
            batch.think()
            frame += 1
    return [np.concatenate(heard[segment.seed]) for segment in segments]


def stock(loaded: LoadedModel, segment: Segment, voices: Mapping[str, Samples]) -> Samples:
    """The segment from transformers' ``generate``, alone."""
    turns = turns_of(segment.lines)
    return generate_alone(
        loaded,
        turns.lines,
        {str(role): voices[voice] for role, voice in enumerate(turns.voices)},
        seed=segment.seed,
        budget=segment.budget,
        scale=segment.scale,
        steps=segment.steps,
    )


def distance(ours: Sequence[Samples], theirs: Sequence[Samples]) -> float:
    """Largest difference, relative to the loudest sample; infinite for another length."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            return float("inf")
        gap = np.nan_to_num(np.abs(one - other), nan=np.inf).max()
        worst = max(worst, float(gap / np.abs(other).max()))
    return worst
