"""What all running jobs of a runner share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, TypeVar

from serve_app.core.fair import FairPool
from serve_app.core.loudness import LoudnessRules
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.flight import Flights
from serve_app.jobs.judge import Judge
from serve_app.jobs.live import LiveJob
from serve_app.jobs.store import JobStore
from serve_app.pieces import FanOutRules

_P = ParamSpec("_P")
_T = TypeVar("_T")
_IO_THREADS: Final = 8
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class JobRules:
    """Bounds of the runner.

    Args:
        speaking: How often what is tried, and how long is waited.
        look_ahead_per_place: Segments in work per usable place, counted from the first open one.
        running_jobs: At once; others wait in line.
        file_processes: Finished files that are made at once.
        target_lufs: Integrated loudness of finished files.
        max_jobs: In the store; one more is refused.
        max_characters: Of one script.
        backoff_s, max_backoff_s: Wait before what failed is tried again; doubled each time.
        blocked_rounds: How often a segment that failed while nothing else was spoken is tried
            again, before it is given up.
        tick_s: How often laggards, shares and retention are looked at.
        loaded_jobs: Jobs kept in memory that don't run.
        max_age_s: Jobs that ended longer ago are forgotten.
        max_bytes: Of all jobs; the ones that ended first are forgotten until the rest fits.
        retention_s: How often age and size are looked at.
        grace_s: How long a finished file stays that somebody has read, whatever age and size say.
        wall: Unix seconds, for time stamps and ages only.
    """

    speaking: FanOutRules = field(default_factory=FanOutRules)
    look_ahead_per_place: int = 4
    running_jobs: int = 4
    file_processes: int = 1
    target_lufs: float = LoudnessRules().target_lufs
    max_jobs: int = 1_000
    max_characters: int = 2_000_000
    backoff_s: float = 1.0
    max_backoff_s: float = 300.0
    blocked_rounds: int = 12
    tick_s: float = 0.25
    loaded_jobs: int = 4
    max_age_s: float = 30 * _DAY_S
    max_bytes: int = 200 * 2**30
    retention_s: float = 300.0
    grace_s: float = 3_600.0
    wall: Callable[[], float] = time.time

    def backoff(self) -> Iterator[float]:
        """Waits, each twice the one before up to the longest; without end."""
        wait_s = self.backoff_s
        while True:
            yield wait_s
            wait_s = min(2 * wait_s, self.max_backoff_s)


class Io:
    """Threads for calls that wait for the store, so that no event loop does; owned, closed.

    Args:
        threads: Calls at once.
    """

    def __init__(self, threads: int = _IO_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="job-store")

    async def __call__(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run *work* in a thread. A cancelled caller leaves it running to its end."""
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Wait for what still runs and end the threads."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Crew:
    """What all running jobs share.

    Args:
        store: Where takes are kept.
        cache: Segments by key, or None.
        flights: Takes in the air.
        pool: Places of all jobs.
        io: Threads for the store.
        rules: Bounds.
        judge: Hears takes back, or None.
    """

    store: JobStore
    cache: SegmentCache | None
    flights: Flights
    pool: FairPool
    io: Io
    rules: JobRules
    judge: Judge | None = None

    async def save(self, live: LiveJob) -> None:
        """Write down what a job's takes don't tell, if it has changed.

        Raises:
            NotReadyError: The store fails; the job stays marked.
            LeaseLostError: Another runner owns it.
        """
        if live.dirty or live.saving.locked():
            # Who is cancelled leaves the write at work, and the next one has to wait for it.
            await asyncio.shield(asyncio.create_task(self._write(live)))

    async def _write(self, live: LiveJob) -> None:
        async with live.saving:
            if not live.dirty:
                return
            live.dirty = False
            try:
                await self.io(self.store.save_state, live.id, live.state())
            except BaseException:
                live.dirty = True
                raise
