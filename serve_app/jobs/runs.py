"""The jobs at work, so many at once; the others wait in line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from serve_app.core.job_status import Status
from serve_app.jobs.crew import Crew
from serve_app.jobs.live import LiveJob, WorkState
from serve_app.jobs.run import JobRun

logger = logging.getLogger(__name__)

_READY = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})


async def stopped(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait until it is gone."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Runs:
    """Starts, counts and stops the runs of jobs.

    Args:
        crew: What they share.
        ended: Called when a run is over.
    """

    def __init__(self, crew: Crew, ended: Callable[[], None]) -> None:
        self._crew, self._ended = crew, ended
        self._runs: dict[str, tuple[JobRun, asyncio.Task[None]]] = {}
        self._not_before_s: dict[str, float] = {}

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._runs

    def start(self, jobs: Iterable[LiveJob]) -> None:
        """Start what is ready, in this order, as far as there is room."""
        now = self._crew.rules.speaking.clock()
        for live in jobs:
            if len(self._runs) >= self._crew.rules.running_jobs:
                return
            due = now >= self._not_before_s.get(live.id, now)
            if live.job.status in _READY and due and live.id not in self._runs:
                run = JobRun(live, self._crew)
                task = asyncio.create_task(run.run())
                task.add_done_callback(lambda _task: self._ended())
                self._runs[live.id] = (run, task)

    def reap(self) -> None:
        """Forget runs that are over; one that failed waits, says why, and starts again later."""
        for job_id, (run, task) in list(self._runs.items()):
            if not task.done():
                continue
            del self._runs[job_id]
            error = None if task.cancelled() else task.exception()
            if error is not None:
                rules = self._crew.rules
                self._not_before_s[job_id] = rules.speaking.clock() + rules.max_backoff_s
                logger.error("the run of job %s failed", job_id, exc_info=error)
                run.failed(error)

    def wake(self, job_id: str) -> None:
        """A job was changed from outside: look at it again, and at once."""
        self._not_before_s.pop(job_id, None)
        if job_id in self._runs:
            self._runs[job_id][0].wake()

    def drop(self, job_id: str, number: int) -> None:
        """What is being spoken for a segment is no longer wanted."""
        if job_id in self._runs:
            self._runs[job_id][0].drop(number)

    def work(self, job_id: str) -> WorkState:
        """What goes on for a job."""
        if job_id not in self._runs:
            return WorkState()
        return self._runs[job_id][0].work(max(1, self._crew.pool.usable // len(self._runs)))

    async def stop(self, job_id: str) -> None:
        """End a job's run, if there is one."""
        if job_id in self._runs:
            await stopped(self._runs.pop(job_id)[1])

    async def close(self) -> None:
        """End all runs."""
        for job_id in list(self._runs):
            await self.stop(job_id)
