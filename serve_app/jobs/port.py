"""What an ingress needs of the jobs: the runner's answers, in this process or over Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Protocol

from serve_app.errors import NotReadyError
from serve_app.jobs.feed import JobEvent
from serve_app.jobs.order import JobOrder
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from serve_app.jobs.views import FileView, JobView, SegmentView


class UnansweredError(NotReadyError):
    """The runner gave no answer: whether it has done what was asked is not known."""


class JobCalls(Protocol):
    """See :class:`serve_app.jobs.desk.JobDesk`, also for the errors."""

    async def submit(self, order: JobOrder) -> JobView:
        """Plan a job and keep it."""
        ...

    async def list(self) -> tuple[JobView, ...]:
        """All jobs, newest first."""
        ...

    async def get(self, job_id: str) -> JobView:
        """One job."""
        ...

    async def segments(self, job_id: str) -> tuple[SegmentView, ...]:
        """Its segments."""
        ...

    async def file(
        self,
        job_id: str,
        *,
        audio_format: str,
        edition: int | None = None,
        wait_s: float = 0.0,
    ) -> FileView:
        """A finished file."""
        ...

    async def reading(self, job_id: str, name: str) -> None:
        """A finished file is being read."""
        ...

    async def pause(self, job_id: str) -> JobView:
        """Send out nothing more."""
        ...

    async def resume(self, job_id: str) -> JobView:
        """Go on."""
        ...

    async def cancel(self, job_id: str) -> JobView:
        """Stop for good."""
        ...

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended."""
        ...

    async def retry(
        self,
        job_id: str,
        number: int,
        *,
        text: str | None = None,
        voices: Mapping[str, str] | None = None,
    ) -> JobView:
        """Ask for another take of a segment."""
        ...

    def events(self, job_id: str, after: str | None = None) -> AsyncGenerator[JobEvent, None]:
        """Its events, as they come."""
        ...

    def audio(
        self, job_id: str, *, edition: int | None = None, follow: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Its signal, as PCM."""
        ...


@dataclass(frozen=True, slots=True)
class JobsPort:
    """The jobs as an ingress sees them.

    Args:
        calls: The runner.
        files: Finished files.
        settings: Bounds.
    """

    calls: JobCalls
    files: FileReader
    settings: JobSettings
