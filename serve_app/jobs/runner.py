"""The owner of all jobs of a store: one process, one event loop, one lease.

It takes up where whoever ran before it left off, from the store alone. While it waits for the
lease it answers that it is not ready; when it loses the lease it stops at once.

**The share.** All jobs together use the places of one pool, by turns, and leave free what
:class:`serve_app.core.job_share.JobShare` says. What a job speaks is never taken away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from serve_app.core.fair import FairPool
from serve_app.core.job_share import JobShare, ShareRules
from serve_app.engines.base import EngineInfo
from serve_app.errors import NotReadyError
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.crew import Crew, Io, JobRules
from serve_app.jobs.desk import JobDesk
from serve_app.jobs.files import Finish, JobFiles
from serve_app.jobs.flight import Flights
from serve_app.jobs.folder import Folder
from serve_app.jobs.judge import Judge
from serve_app.jobs.lease import Lease, LeaseLostError
from serve_app.jobs.live import LiveJob
from serve_app.jobs.runs import Runs, stopped
from serve_app.jobs.shelf import Shelf
from serve_app.jobs.store import JobStore
from serve_app.pieces import Speak
from serve_app.prepare import Ability

logger = logging.getLogger(__name__)

_LAST_SAVES_S = 5.0
_RENEWALS = 5
"""In the time after which a silent runner is replaced."""


class JobRunner:
    """Owns and runs jobs; :meth:`start`, then ask :attr:`jobs`, then :meth:`close`.

    Args:
        folder: The store.
        speak: Speaks one task somewhere.
        engine: What it speaks with.
        slots: Segments that all cards speak at once.
        rules: Bounds.
        share: How the slots are shared with requests.
        cache: Segments by key, in the same store; None for none.
        ability: What the engine can speak.
        finish: Makes finished files; None makes none.
        lease_ttl_s: How long a runner may be silent before another takes over.
        judge: Hears takes back; None where nobody does. Whoever made it closes what it hears with.

    Attributes:
        jobs: What can be asked of it.
        flights: Takes in the air, for counts.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        speak: Speak,
        engine: Callable[[], Awaitable[EngineInfo]],
        slots: int,
        rules: JobRules,
        share: ShareRules | None = None,
        cache: SegmentCache | None = None,
        ability: Ability | None = None,
        finish: Finish | None = None,
        lease_ttl_s: float = 10.0,
        judge: Judge | None = None,
    ) -> None:
        clock = rules.speaking.clock
        self._ttl_s = lease_ttl_s
        self._lease = Lease(folder, clock, ttl_s=lease_ttl_s)
        self._lease_io = Io(threads=1)  # slow takes must not hold up a renewal
        self._share = JobShare(slots, share or ShareRules(), clock)
        pool = FairPool(slots)
        self.flights = Flights(speak, pool, rules.speaking)
        store = JobStore(folder, lambda: self._lease.epoch)
        self._crew = Crew(store, cache, self.flights, pool, Io(), rules, judge)
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._lost: str | None = None
        self._life: asyncio.Task[None] | None = None
        self._shelf = Shelf(self._crew)
        self._runs = Runs(self._crew, self._wake.set)
        self._files = (
            None if finish is None else JobFiles(self._crew, self._shelf, self._damaged, finish)
        )
        self.jobs = JobDesk(
            self._crew,
            self._shelf,
            self._runs,
            files=self._files,
            engine=engine,
            ability=ability or Ability(),
            owned=self._owned,
            changed=self._wake.set,
        )

    async def start(self) -> None:
        """Begin to wait for the lease; returns at once."""
        self._life = asyncio.create_task(self._live())

    async def ready(self) -> None:
        """Wait until this runner owns the store and has taken over its jobs.

        Raises:
            NotReadyError: It never will.
        """
        await self._ready.wait()
        self.health()

    async def close(self) -> None:
        """Stop all work and let the next runner take over; what is in the store stays."""
        await stopped(self._life)
        await self._halt()
        with suppress(NotReadyError):
            if self._lost is None:
                await self._save_last()
            if self._crew.cache is not None and self._ready.is_set():
                await self._crew.io(self._crew.cache.save)
            await self._lease_io(self._lease.release)
        await self._lease_io.close()
        await self._crew.io.close()

    def health(self) -> None:
        """Raise if this runner can't go on, so that it is replaced.

        Raises:
            NotReadyError: It has lost its store to another runner, or failed.
        """
        if self._lost is not None:
            raise NotReadyError(self._lost)

    def report(self, ingress: str, demand: int) -> None:
        """An ingress has or wants so many places now; renew it every second."""
        self._share.report(ingress, demand)
        self._crew.pool.reserve(self._share.reserved)

    def set_slots(self, slots: int) -> None:
        """The number of slots of all cards has changed."""
        self._share.slots = max(1, slots)
        self._crew.pool.resize(self._share.slots)

    def _owned(self) -> int:
        self.health()
        if not self._ready.is_set():
            raise NotReadyError("The job runner is starting; try again in a moment.")
        return self._lease.epoch

    async def _live(self) -> None:
        beside: list[asyncio.Task[None]] = []
        try:
            await self._insist(self._acquire)
            beside.append(self._beside(self._renew(), "renewing the lease"))
            await self._insist(self._adopt)
            self._ready.set()
            beside.append(self._beside(self._save(), "saving jobs"))
            beside.append(self._beside(self._tidy(), "tidying the store"))
            while self._lost is None:
                await self._tick()
        except Exception as error:
            logger.exception("the job runner failed")
            self._lose(f"the job runner failed ({type(error).__name__}: {error})")
        finally:
            for task in beside:
                await stopped(task)
        await self._halt()

    async def _insist(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Take a step as often as it needs, unless the lease is lost meanwhile."""
        done = False
        while not done and self._lost is None:
            try:
                done = await step()
            except NotReadyError as error:
                logger.warning("the job store is not ready: %s", error)
            if not done:
                await self._pause(self._crew.rules.backoff_s)

    async def _acquire(self) -> bool:
        return await self._lease_io(self._lease.acquire)

    async def _adopt(self) -> bool:
        if self._crew.cache is not None:
            await self._crew.io(self._crew.cache.load)
        await self._shelf.adopt(self._lease.epoch)
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._ttl_s / _RENEWALS)
            try:
                await self._lease_io(self._lease.renew)
            except LeaseLostError as error:
                self._lose(error.message)
                return
            except NotReadyError as error:
                logger.warning("the lease on the job store could not be renewed: %s", error)

    async def _save(self) -> None:
        """Write down what could not be, or was not yet, of jobs that are not at work."""
        while True:
            await asyncio.sleep(self._crew.rules.tick_s)
            with suppress(NotReadyError):
                await self._save_idle()

    async def _save_last(self) -> None:
        """What ended in the last moment is written down while this runner still owns the store."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SAVES_S):
                await self._save_idle()

    async def _save_idle(self) -> None:
        for live in self._shelf.loaded:
            if live.id not in self._runs:
                await self._crew.save(live)

    async def _tidy(self) -> None:
        """Remove what nobody needs, however long it takes; readers first have time to say so."""
        while True:
            with suppress(NotReadyError):
                await self._shelf.sweep()
            await asyncio.sleep(self._crew.rules.retention_s)
            with suppress(NotReadyError):
                await self._shelf.retain()

    def _beside(self, work: Coroutine[Any, Any, None], doing: str) -> asyncio.Task[None]:
        """Work that goes on beside the ticks; without it this runner would only look well."""

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._lose(f"{doing} failed ({type(error).__name__}: {error})")

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    def _lose(self, why: str) -> None:
        logger.error("the job runner stops: %s", why)
        self._lost = why
        self._ready.set()
        self._wake.set()

    async def _damaged(self, live: LiveJob, number: int, edition: int) -> None:
        await self.jobs.damaged(live, number, edition)

    async def _halt(self) -> None:
        await self._runs.close()
        if self._files is not None:
            await self._files.close()
        for live in self._shelf.loaded:
            live.feed.close()

    async def _tick(self) -> None:
        """Look after everything once, then wait for a change or the next tick."""
        self._wake.clear()
        self._crew.pool.reserve(self._share.reserved)
        self.flights.help_the_slowest()
        self._runs.reap()
        self._runs.start(self._shelf.loaded)
        if self._files is not None:
            self._files.start_due()
        self._shelf.make_room()
        await self._pause(self._crew.rules.tick_s)

    async def _pause(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
