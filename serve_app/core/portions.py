"""Chunks of any size become chunks of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm

PORTION_SAMPLES: Final = SAMPLE_RATE_HZ
"""1 s: big enough to be worth a call, small enough that nothing made from it weighs much."""


def portions(chunks: Iterable[Pcm]) -> Iterator[Pcm]:
    """The same samples in chunks of 1 s; the last may be shorter."""
    waiting: list[Pcm] = []
    samples = 0
    for chunk in chunks:
        left = chunk
        while samples + len(left) >= PORTION_SAMPLES:
            need = PORTION_SAMPLES - samples
            yield np.concatenate((*waiting, left[:need]))
            left = left[need:]
            waiting, samples = [], 0
        if len(left):
            waiting.append(left)
            samples += len(left)
    if waiting:
        yield np.concatenate(waiting)
