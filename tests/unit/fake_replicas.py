"""Replicas for the fan-out's tests: deterministic audio, and faults by script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from serve_app.engines.base import Chunk, SpeakTask, SpeechEnd
from serve_app.errors import EngineCrashedError, EngineMemoryError
from serve_app.fanout import FanOut
from serve_app.pieces import Piece, SpeechReport, Started, TakeItem, Waiting
from telemetry.core.sample import SynthesisRecord

RATE_HZ = 24_000


async def pieces_of(fan_out: FanOut) -> AsyncGenerator[Piece, None]:
    """What a fan-out delivers, one by one; closing it closes the fan-out."""
    async with aclosing(fan_out.batches()) as batches:
        async for batch in batches:
            for piece in batch:
                yield piece


def tone(task: SpeakTask) -> bytes:
    """Speech-like enough for the quality check; a function of the key and the seed alone."""
    samples = round(task.est_s * RATE_HZ)
    noise = np.random.Generator(np.random.Philox(key=[task.seed, hash_of(task.key)]))
    wave = noise.normal(0.0, 3000.0, samples)
    wave[-2400:] *= np.linspace(1.0, 0.0, min(2400, samples))[-samples:] if samples else 1.0
    return np.clip(wave, -20_000, 20_000).astype("<i2").tobytes()


def hash_of(key: str) -> int:
    return int(key[:15], 16)


def report(
    task: SpeakTask, audio_bytes: int, finish: Literal["stop", "length"] = "stop"
) -> SpeechReport:
    record = SynthesisRecord(
        timestamp=0.0,
        node="n",
        replica="r",
        engine="fake",
        model="fake",
        card_uuid="card",
        simulated=True,
        input_characters=1,
        input_tokens=1,
        output_tokens=1,
        audio_s=audio_bytes / 2 / RATE_HZ,
        wall_s=0.0,
        queue_s=task.waited_s,
        first_audio_s=0.0,
        slots=1,
        trace_id="",
    )
    return SpeechReport(SpeechEnd(finish, 1, 1), record)


@dataclass
class FakeReplicas:
    """Speaks tasks; ``faults`` decides what goes wrong with the n-th take of a tag.

    A fault is ``crash``, ``crash_after`` (half of the audio has come), ``hang``, ``memory``,
    ``silent``, ``length``, ``other_audio`` (nondeterministic), or None.
    """

    faults: Callable[[SpeakTask, int], str | None] = lambda _task, _take: None
    chunk_bytes: int = 9600
    replica_for: Callable[[SpeakTask], str] = lambda _task: "r"
    taken: list[tuple[int, int]] = field(default_factory=list)
    raised: int = 0
    running: int = 0
    peak: int = 0
    gate: asyncio.Event | None = None
    refusals: Callable[[], AsyncGenerator[None, None]] | None = None

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        take = sum(1 for tag, _ in self.taken if tag == task.tag)
        self.taken.append((task.tag, task.seed))
        fault = self.faults(task, take)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if self.refusals is not None:
                async for _ in self.refusals():
                    yield Waiting()
            yield Started(self.replica_for(task), "1")
            if self.gate is not None:
                await self.gate.wait()
            async for item in self._audio(task, fault):
                yield item
        finally:
            self.running -= 1

    async def _audio(self, task: SpeakTask, fault: str | None) -> AsyncGenerator[TakeItem, None]:
        await asyncio.sleep(0)
        if fault == "crash":
            self.raised += 1
            raise EngineCrashedError("gone")
        if fault == "memory":
            self.raised += 1
            raise EngineMemoryError("out of memory")
        if fault == "hang":
            await asyncio.Event().wait()
        pcm = tone(task)
        if fault == "silent":
            pcm = bytes(len(pcm))
        if fault == "other_audio":
            pcm = bytes(reversed(pcm))
        for start in range(0, len(pcm), self.chunk_bytes):
            if fault == "crash_after" and start >= len(pcm) // 2:
                self.raised += 1
                raise EngineCrashedError("gone in the middle")
            yield Chunk(pcm[start : start + self.chunk_bytes], None)
            await asyncio.sleep(0)
        yield report(task, len(pcm), "length" if fault == "length" else "stop")
