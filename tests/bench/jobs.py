"""Long jobs on simulated cards in this process: what the runner and its store cost.

The card time is what the simulated engine takes by its own rule (first chunk 0.3 s, then 0.1 s a
second of audio). Ideal is all of it shared evenly by the cards there are.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from serve_app.core.job_share import ShareRules
from serve_app.engines.base import Chunk, Line, SpeakTask
from serve_app.engines.simulated import SimulatedOptions
from serve_app.jobs.crew import JobRules
from serve_app.jobs.views import JobView
from serve_app.pieces import Started
from tests.bench.service import PeakMemory
from tests.long_text import minutes_of_text, ninety_minutes
from tests.unit.job_scene import Scene, scene

CARDS = 8
FIRST_S, FACTOR = 0.3, 0.1
CARD = SimulatedOptions(slots=1, first_chunk_s=FIRST_S, real_time_factor=FACTOR)
TWO = SimulatedOptions(slots=2, first_chunk_s=FIRST_S, real_time_factor=FACTOR)
QUICK = SimulatedOptions(slots=1, first_chunk_s=0.0, real_time_factor=0.001)
REQUEST_S = 4.0


def run() -> Sequence[str]:
    """All figures."""
    lines = []
    for part in (_memory, _plain, _card_lost, _beside_requests):
        with tempfile.TemporaryDirectory() as folder:
            lines += asyncio.run(part(Path(folder)))
    return lines


async def _card_s(at: Scene, job: str) -> float:
    segments = await at.runner.jobs.segments(job)
    return sum(FIRST_S + FACTOR * segment.est_s for segment in segments)


async def _plain(folder: Path) -> list[str]:
    async with scene(folder, [CARD] * CARDS, rules=JobRules()) as at:
        begun_s, cpu_s = time.monotonic(), time.process_time()
        job = await at.submit(ninety_minutes())
        view = await _done(at, job)
        wall_s, cpu_s = time.monotonic() - begun_s, time.process_time() - cpu_s
        ideal_s = await _card_s(at, job) / CARDS
        return [
            f"{view.segments} segments, {view.audio_s / 60:.1f} minutes on {CARDS} cards: "
            f"{wall_s:.2f} s, ideal {ideal_s:.2f} s",
            f"wall / ideal                 {wall_s / ideal_s:6.3f} (the bar is 1.05)",
            f"CPU of runner and cards      {100 * cpu_s / wall_s:6.1f} % of a core; "
            f"{at.runner.flights.twins} twins",
        ]


async def _card_lost(folder: Path) -> list[str]:
    async with scene(folder, [CARD] * CARDS, rules=JobRules()) as at:
        job = await at.submit(ninety_minutes())
        await at.until(job, lambda view: view.done >= view.segments // 2)
        segments = await at.runner.jobs.segments(job)
        left_s = sum(FIRST_S + FACTOR * s.est_s for s in segments if s.state != "kept")
        now = time.monotonic()
        begun = [flight.tries[0].started_s for flight in at.runner.flights.of(job)]
        left_s -= sum(now - started_s for started_s in begun if started_s is not None)
        lost_s = now
        await at.cards.lose(3)
        view = await _done(at, job)
        wall_s, ideal_s = time.monotonic() - lost_s, left_s / (CARDS - 1)
        return [
            f"one card of {CARDS} lost in the middle: {wall_s:.2f} s more, ideal {ideal_s:.2f} s, "
            f"{view.retried} segments spoken again",
            f"wall / ideal of the rest     {wall_s / ideal_s:6.3f} (the bar is 1.08)",
        ]


async def _beside_requests(folder: Path) -> list[str]:
    share = ShareRules()
    async with scene(folder, [TWO] * CARDS, rules=JobRules(), share=share) as at:
        requests = _Requests(at)
        idle = await requests.for_s(10.0)
        begun_s = time.monotonic()
        job = await at.submit(ninety_minutes())
        asking = asyncio.create_task(requests.for_s(3600.0))
        await _done(at, job)
        wall_s = time.monotonic() - begun_s
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        busy = requests.firsts_s[len(idle) :]
        used_s = len(busy) * (FIRST_S + FACTOR * REQUEST_S)
        slots = CARDS * TWO.slots
        ideal_s = (await _card_s(at, job) + used_s) / slots
        p95_idle, p95_busy = _p95(idle), _p95(busy)
        return [
            f"beside {len(busy)} requests of {REQUEST_S:g} s, one a second, {slots} slots: "
            f"{wall_s:.2f} s, ideal of the capacity left {ideal_s:.2f} s",
            f"wall / ideal of what is left {wall_s / ideal_s:6.3f} (the bar is 1.08)",
            f"p95 time to first audio      {p95_busy:6.3f} s, idle {p95_idle:.3f} s: "
            f"{p95_busy / p95_idle:.3f} x (the bar is 1.5)",
        ]


class _Requests:
    """Short requests beside a job, as an ingress would send and report them."""

    def __init__(self, at: Scene) -> None:
        self._at = at
        self._waiting = 0
        self.firsts_s: list[float] = []

    async def for_s(self, seconds: float) -> list[float]:
        async with asyncio.TaskGroup() as group:
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                group.create_task(self._one(len(self.firsts_s)))
                await asyncio.sleep(1.0)
        return list(self.firsts_s)

    async def _one(self, number: int) -> None:
        begun_s = time.monotonic()
        self._change(+1)
        try:
            line = Line("A", "sim-1", f"Request number {number}.")
            task = SpeakTask(f"{number:032x}", (line,), seed=number, est_s=REQUEST_S)
            first_s: float | None = None
            async with aclosing(self._at.cards.speak(task)) as items:
                async for item in items:
                    assert isinstance(item, (Chunk, Started)) or first_s is not None
                    if isinstance(item, Chunk) and first_s is None:
                        first_s = time.monotonic() - begun_s
            assert first_s is not None
            self.firsts_s.append(first_s)
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._waiting += by
        self._at.runner.report("bench", self._waiting)


async def _memory(folder: Path) -> list[str]:
    lines = []
    for minutes in (10, 600):
        text = minutes_of_text(minutes)
        async with scene(folder / str(minutes), [QUICK] * CARDS, rules=JobRules()) as at:
            await _done(at, await at.submit("A short text wakes everything up."))
            begun_s = time.monotonic()
            with PeakMemory(os.getpid()) as memory:
                job = await at.submit(text)
                view = await _done(at, job)
                spoken_s = time.monotonic() - begun_s
                heard_bytes = 0
                async for block in at.runner.jobs.audio(job):
                    heard_bytes += len(block)
                mixed_s = time.monotonic() - begun_s - spoken_s
            grown_mib = (memory.peak_bytes - memory.idle_bytes) / 2**20
            lines.append(
                f"{view.audio_s / 60:.0f} minutes, {view.segments} segments: "
                f"+{grown_mib:.0f} MiB at the peak over {memory.idle_bytes / 2**20:.0f} MiB "
                f"(the bar is 100); spoken in {spoken_s:.0f} s, mixed at "
                f"{heard_bytes / 48_000 / mixed_s:.0f} x real time"
            )
    return lines


async def _done(at: Scene, job: str) -> JobView:
    async with aclosing(at.runner.jobs.events(job)) as events:
        async for _ in events:
            view = await at.runner.jobs.get(job)
            if view.status.ended:
                if view.status != "complete":
                    raise RuntimeError(f"the job ended as {view.status}: {view.reason}")
                return view
    raise RuntimeError("the events ended")


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]
