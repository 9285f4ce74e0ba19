"""The runner of the jobs as a Ray Serve deployment: one replica, replaced when it dies.

Thin on purpose: Serve pickles this class by value, so what it needs is imported inside its
methods. What each method does is told in :class:`serve_app.jobs.desk.JobDesk`.
"""

# ruff: noqa: PLC0415 - what Serve pickles by value imports in the replica's own process
from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from serve_app.jobs.feed import JobEvent
    from serve_app.jobs.order import JobOrder
    from serve_app.jobs.views import FileView, JobView, SegmentView


@serve.deployment(
    name="Jobs",
    num_replicas=1,
    max_ongoing_requests=512,
    health_check_period_s=2,
    health_check_timeout_s=20,
    graceful_shutdown_timeout_s=30,
)
class Jobs:
    """See :mod:`serve_app.jobs.rayjobs`.

    Args:
        synth: Handle of the replicas that speak.
        args: The application's settings, as plain data.
        jobs: Those of the jobs, as plain data.
        replicas: How many replicas there are.
    """

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self,
        synth: DeploymentHandle[Any],
        args: dict[str, Any],
        jobs: dict[str, Any],
        replicas: int,
    ) -> None:
        from serve_app.config import parse_settings
        from serve_app.jobs.rayjobs import RunningJobs
        from serve_app.jobs.settings import JobSettings

        settings = JobSettings.model_validate(jobs)
        self._running = RunningJobs(synth, parse_settings(args), settings, replicas)
        await self._running.start()
        self._jobs = self._running.runner.jobs

    async def submit(self, order: JobOrder) -> JobView:
        """Plan a job and keep it."""
        return await self._jobs.submit(order)

    async def list(self) -> tuple[JobView, ...]:
        """All jobs, newest first."""
        return await self._jobs.list()

    async def get(self, job_id: str) -> JobView:
        """One job."""
        return await self._jobs.get(job_id)

    async def segments(self, job_id: str) -> tuple[SegmentView, ...]:
        """Its segments."""
        return await self._jobs.segments(job_id)

    async def file(
        self, job_id: str, audio_format: str, edition: int | None, wait_s: float
    ) -> FileView:
        """A finished file."""
        return await self._jobs.file(
            job_id, audio_format=audio_format, edition=edition, wait_s=wait_s
        )

    async def reading(self, job_id: str, name: str) -> None:
        """A finished file is being read."""
        await self._jobs.reading(job_id, name)

    async def pause(self, job_id: str) -> JobView:
        """Send out nothing more."""
        return await self._jobs.pause(job_id)

    async def resume(self, job_id: str) -> JobView:
        """Go on."""
        return await self._jobs.resume(job_id)

    async def cancel(self, job_id: str) -> JobView:
        """Stop for good."""
        return await self._jobs.cancel(job_id)

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended."""
        await self._jobs.forget(job_id)

    async def retry(
        self, job_id: str, number: int, text: str | None, voices: Mapping[str, str]
    ) -> JobView:
        """Ask for another take of a segment."""
        return await self._jobs.retry(job_id, number, text=text, voices=voices)

    async def events(self, job_id: str, after: str | None) -> AsyncGenerator[JobEvent, None]:
        """Its events, as they come."""
        async with aclosing(self._jobs.events(job_id, after)) as events:
            async for event in events:
                yield event

    async def audio(
        self,
        job_id: str,
        edition: int | None,
        follow: bool,
        reader: str,
    ) -> AsyncGenerator[bytes, None]:
        """Its signal, as PCM; *reader* names the stream for :meth:`taken`."""
        heard = self._running.audio(job_id, edition, follow=follow, reader=reader)
        async with aclosing(heard) as blocks:
            async for block in blocks:
                yield block

    async def taken(self, reader: str, count: int) -> None:
        """A reader has taken so many blocks of its signal."""
        self._running.windows.taken(reader, count)

    async def report(self, ingress: str, demand: int) -> None:
        """An ingress has or wants so many places now."""
        self._running.runner.report(ingress, demand)

    async def check_health(self) -> None:
        """Raise if this runner can't go on; Serve then replaces it."""
        self._running.runner.health()

    async def __del__(self) -> None:
        """Stop and let the next runner take over; Serve awaits this at shutdown."""
        await self._running.close()
