"""What a thousand segments leave behind in one VibeVoice engine: memory after 100 and 1,000.

Eight slots on a CPU, random weights, texts of many lengths, each pair of four voices: more pairs
than beginnings of prompts are kept.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence

import torch

from serve_app.engines.base import Line, SpeakTask
from tests.processes import rss_bytes
from tests.vibevoice_engine import tiny_engine

SLOTS = 8
COUNTED = (100, 1000)
PAIRS = tuple(itertools.permutations(("v1", "v2", "v3", "v4"), 2))


def _task(number: int) -> SpeakTask:
    one, other = PAIRS[number % len(PAIRS)]
    words = " ".join(f"word-{at}" for at in range(1 + number % 30))
    lines = (Line("Ada", one, f"Segment {number}: {words}."), Line("Ben", other, "Indeed."))
    return SpeakTask(str(number), lines, seed=number, est_s=2.0)


async def _speak_all() -> list[float]:
    """MiB of this process after each of ``COUNTED`` segments."""
    engine = tiny_engine(SLOTS)
    numbers = iter(range(max(COUNTED)))
    spoken, sizes = 0, []

    async def work() -> None:
        nonlocal spoken
        for number in numbers:
            async for _ in engine.speak(_task(number)):
                pass
            spoken += 1
            if spoken in COUNTED:
                sizes.append(rss_bytes(os.getpid()) / 2**20)

    try:
        await asyncio.gather(*(work() for _ in range(SLOTS)))
    finally:
        await engine.close()
    return sizes


def run() -> Sequence[str]:
    threads = torch.get_num_threads()
    try:
        sizes = asyncio.run(_speak_all())
    finally:
        torch.set_num_threads(threads)
    return [
        f"memory of an engine of {SLOTS} slots after "
        + " and ".join(map(str, COUNTED))
        + " segments: "
        + " and ".join(f"{size:.1f} MiB" for size in sizes)
    ]
