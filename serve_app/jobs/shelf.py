"""All jobs of a store: a line about each, the whole of those that are in use."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from serve_app.errors import ConflictError, NotFoundError, NotReadyError, ServeError
from serve_app.jobs.crew import Crew
from serve_app.jobs.live import LiveJob
from serve_app.jobs.records import JobRecord, StateRecord
from serve_app.jobs.restore import load
from serve_app.jobs.showing import damaged_view, shelved_view
from serve_app.jobs.store import RESTORE, DamagedRecordError
from serve_app.jobs.views import JobView

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 8
"""Jobs that are looked at together when a runner takes over."""


class Shelf:
    """The jobs of a runner; touched by one event loop only.

    Args:
        crew: Store, threads and bounds.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._known: dict[str, tuple[JobRecord, StateRecord]] = {}
        self._damaged: dict[str, JobView] = {}
        self._lives: OrderedDict[str, LiveJob] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._reads_s: dict[str, dict[str, float]] = {}
        self._unswept: set[str] = set()
        self._loading = asyncio.Lock()
        self._epoch = self._loads = 0

    def __len__(self) -> int:
        return len(self._known.keys() | self._damaged)

    @property
    def loaded(self) -> tuple[LiveJob, ...]:
        """Jobs in memory, oldest first."""
        return tuple(sorted(self._lives.values(), key=lambda live: live.record.created))

    async def adopt(self, epoch: int) -> None:
        """Take over what the store has; jobs that had not ended are loaded.

        Raises:
            NotReadyError: The store can't be reached.
        """
        self._epoch = epoch
        store, io = self._crew.store, self._crew.io
        for job_id in await io(store.forgotten):
            await io(store.forget, job_id)
        ids = await io(store.ids)
        self._unswept = set(ids)
        left = iter(ids)

        async def take_over() -> None:
            for job_id in left:
                await self._take_over(job_id)

        workers = [asyncio.create_task(take_over()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def sweep(self) -> None:
        """Remove what the runner before this one has left half written, job by job.

        Raises:
            NotReadyError: The store can't be reached; what is left can be asked for again.
        """
        while self._unswept:
            async with self._loading:
                await self._sweep(next(iter(self._unswept), ""))

    async def _sweep(self, job_id: str) -> None:
        """The same of one job that nothing is at work for; once."""
        if job_id in self._unswept:
            await self._crew.io(self._crew.store.sweep, job_id)
            self._unswept.discard(job_id)

    async def _take_over(self, job_id: str) -> None:
        store, io = self._crew.store, self._crew.io
        record: JobRecord | None = None
        try:
            record = await io(store.job, job_id)
            state = await io(store.state, job_id)
            self._known[job_id] = (record, state)
            if not state.status.ended:
                await self.get(job_id)
        except NotReadyError:
            raise
        except ServeError as error:
            gone = record is None and isinstance(error, NotFoundError)
            if gone and not await io(store.has_audio, job_id):
                await io(store.forget, job_id)  # half made: its record comes last
            elif job_id not in self._damaged:
                self._damage(job_id, record, error)

    def series(self) -> str:
        """A name for the events of a job that comes into memory; never used before."""
        self._loads += 1
        return f"{self._epoch}.{self._loads}"

    def add(self, record: JobRecord, live: LiveJob) -> None:
        """A job was made."""
        self._known[record.id] = (record, StateRecord())
        self._lives[record.id] = live

    def record(self, job_id: str) -> JobRecord | None:
        """What was ordered under an id, if it exists.

        Raises:
            ServeError: Its files are damaged.
        """
        if job_id in self._damaged:
            raise DamagedRecordError(self._damaged[job_id].reason)
        known = self._known.get(job_id)
        return None if known is None else known[0]

    async def get(self, job_id: str) -> LiveJob:
        """A job in full.

        Raises:
            NotFoundError: There is none.
            ServeError: Its files are damaged.
            NotReadyError: The store can't be reached.
        """
        async with self._loading:
            if job_id in self._damaged:
                await self._look_again(job_id)
            record, _ = self._line(job_id)
            if job_id not in self._lives:
                crew, wall = self._crew, self._crew.rules.wall
                await self._sweep(job_id)
                try:
                    live = await crew.io(load, crew.store, job_id, self.series(), wall)
                except NotReadyError:
                    raise
                except ServeError as error:
                    raise self._damage(job_id, record, error) from error
                self._lives[job_id] = live
            self._bytes.pop(job_id, None)
            self._lives.move_to_end(job_id)
            return self._lives[job_id]

    @asynccontextmanager
    async def held(self, job_id: str) -> AsyncIterator[LiveJob]:
        """A job in full, which stays in memory as long as this is open; errors as :meth:`get`."""
        live = await self.get(job_id)
        live.readers += 1
        try:
            yield live
        finally:
            live.readers -= 1

    def lines(self) -> Iterator[tuple[LiveJob | None, JobView]]:
        """Every job, newest first: the live one if it is in memory, and what was written down."""
        sound = [
            (self._lives.get(job_id), shelved_view(record, state))
            for job_id, (record, state) in self._known.items()
            if job_id not in self._damaged
        ]
        broken = [(None, view) for view in self._damaged.values()]
        yield from sorted((*sound, *broken), key=lambda line: line[1].created, reverse=True)

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended, or is damaged, with all its files.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has not ended.
            NotReadyError: The store can't be reached.
        """
        async with self._loading:
            self.check_ended(job_id)
            await self._remove(job_id)

    def check_ended(self, job_id: str) -> None:
        """Refuse a job that can't be forgotten.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has not ended.
        """
        if job_id in self._damaged:
            return
        live = self._lives.get(job_id)
        status = self._line(job_id)[1].status if live is None else live.job.status
        if not status.ended:
            raise ConflictError(f"Job {job_id} is {status}; cancel it before it can be forgotten.")

    def grown(self, job_id: str) -> None:
        """A job's files have changed: its size has to be looked at again."""
        self._bytes.pop(job_id, None)

    def reading(self, job_id: str, name: str) -> None:
        """Somebody reads a finished file, which this process may not see."""
        if job_id in self._known:
            now_s, lately = self._crew.rules.speaking.clock(), self.read_lately(job_id)
            # Only what still counts is remembered: the files of one job.
            before = self._reads_s.get(job_id, {})
            self._reads_s[job_id] = {it: before[it] for it in lately} | {name: now_s}

    def read_lately(self, job_id: str) -> frozenset[str]:
        """Finished files of a job that somebody reads, or will perhaps go on to read."""
        oldest_s = self._crew.rules.speaking.clock() - self._crew.rules.grace_s
        reads_s = self._reads_s.get(job_id, {})
        return frozenset(name for name, at_s in reads_s.items() if at_s >= oldest_s)

    async def retain(self) -> None:
        """Forget what is too old, and the oldest until the rest fits; only jobs that have ended.

        Raises:
            NotReadyError: The store can't be reached.
        """
        rules = self._crew.rules
        idle = ((self._ended(job_id), job_id) for job_id in self._known)
        ended = sorted((at, job_id) for at, job_id in idle if at is not None)
        for at, job_id in ended:
            if rules.wall() - at > rules.max_age_s:
                await self._retire(job_id, at)
        sizes = {job_id: await self._size_bytes(job_id) for job_id in list(self._known)}
        total_bytes = sum(sizes.values())
        for at, job_id in ended:
            if total_bytes <= rules.max_bytes:
                return
            if job_id in sizes and await self._retire(job_id, at):
                total_bytes -= sizes[job_id]

    def make_room(self) -> None:
        """Let go of jobs that have ended and that nobody uses, but for the last few."""
        idle = [
            job_id
            for job_id, live in self._lives.items()
            if live.job.status.ended and not (live.readers or live.dirty or live.saving.locked())
        ]
        for job_id in idle[: -self._crew.rules.loaded_jobs or None]:
            live = self._lives.pop(job_id)
            self._known[job_id] = (live.record, live.state())

    async def _look_again(self, job_id: str) -> None:
        """Someone may have restored the files of a damaged job."""
        store, io = self._crew.store, self._crew.io
        record: JobRecord | None = None
        try:
            record = await io(store.job, job_id)
            self._known[job_id] = (record, await io(store.state, job_id))
        except NotReadyError:
            raise
        except ServeError as error:
            raise self._damage(job_id, record, error) from error
        del self._damaged[job_id]

    def _damage(
        self, job_id: str, record: JobRecord | None, error: ServeError
    ) -> DamagedRecordError:
        """Note that a job's files are damaged; returns what to tell whoever asks for it."""
        why = error.message
        if isinstance(error, NotFoundError):
            why = f"files of job {job_id} are missing; {RESTORE}"
        logger.error("job %s is damaged: %s", job_id, why)
        known = self._known.get(job_id)
        self._damaged[job_id] = damaged_view(job_id, record, known and known[1], why)
        return DamagedRecordError(why)

    def _line(self, job_id: str) -> tuple[JobRecord, StateRecord]:
        known = self._known.get(job_id)
        if known is None:
            raise NotFoundError(f"There is no job {job_id[:40]!r}.")
        return known

    def _ended(self, job_id: str) -> float | None:
        """When a job ended that nobody uses; None for any other."""
        if self.read_lately(job_id):
            return None
        live = self._lives.get(job_id)
        if live is not None:
            return live.ended if live.job.status.ended and not live.readers else None
        return self._line(job_id)[1].ended if job_id in self._known else None

    async def _size_bytes(self, job_id: str) -> int:
        known_bytes = self._bytes.get(job_id)
        if known_bytes is not None and self._ended(job_id) is not None:
            return known_bytes
        size_bytes = await self._crew.io(self._crew.store.size_bytes, job_id)
        if job_id in self._known:
            self._bytes[job_id] = size_bytes
        return size_bytes

    async def _retire(self, job_id: str, ended: float) -> bool:
        """Remove a job unless someone uses it, or has used it since; returns whether it is gone."""
        async with self._loading:
            if self._ended(job_id) == ended:
                await self._remove(job_id)
        return job_id not in self._known

    async def _remove(self, job_id: str) -> None:
        if job_id in self._lives:
            self._lives[job_id].feed.close()
        await self._crew.io(self._crew.store.forget, job_id)
        for place in (self._known, self._damaged, self._lives, self._bytes, self._reads_s):
            place.pop(job_id, None)
