"""The ingress' side of the jobs: a Serve handle turned into plain calls and our errors.

It has the methods of :class:`serve_app.jobs.desk.JobDesk`, and raises the same errors; besides
UnansweredError when the runner dies or is too slow, and NotReadyError while none takes calls.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, cast

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
)
from ray.serve.handle import DeploymentHandle

from serve_app.config import Settings
from serve_app.core.fair import FairPool
from serve_app.errors import NotReadyError, ServeError
from serve_app.jobs.demand import DemandReporter
from serve_app.jobs.feed import JobEvent
from serve_app.jobs.folder import Folder
from serve_app.jobs.order import JobOrder
from serve_app.jobs.port import JobsPort, UnansweredError
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from serve_app.jobs.views import FileView, JobView, SegmentView
from serve_app.jobs.windows import TAKEN_EVERY

_ANSWER_S: Final = 30.0
_PLAN_S: Final = 120.0


class JobsHandle:
    """Asks the runner through Ray Serve.

    Args:
        handle: Handle of the ``Jobs`` deployment.
    """

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle, self._streaming = handle, handle.options(stream=True)

    async def submit(self, order: JobOrder) -> JobView:
        """Plan a job and keep it."""
        return cast("JobView", await _answer(self._handle.submit.remote(order), _PLAN_S))

    async def list(self) -> tuple[JobView, ...]:
        """All jobs, newest first."""
        return cast("tuple[JobView, ...]", await _answer(self._handle.list.remote()))

    async def get(self, job_id: str) -> JobView:
        """One job."""
        return cast("JobView", await _answer(self._handle.get.remote(job_id)))

    async def segments(self, job_id: str) -> tuple[SegmentView, ...]:
        """Its segments."""
        answer = await _answer(self._handle.segments.remote(job_id))
        return cast("tuple[SegmentView, ...]", answer)

    async def file(
        self,
        job_id: str,
        *,
        audio_format: str,
        edition: int | None = None,
        wait_s: float = 0.0,
    ) -> FileView:
        """A finished file."""
        asked = self._handle.file.remote(job_id, audio_format, edition, wait_s)
        return cast("FileView", await _answer(asked, _ANSWER_S + wait_s))

    async def reading(self, job_id: str, name: str) -> None:
        """A finished file is being read."""
        await _answer(self._handle.reading.remote(job_id, name))

    async def pause(self, job_id: str) -> JobView:
        """Send out nothing more."""
        return cast("JobView", await _answer(self._handle.pause.remote(job_id)))

    async def resume(self, job_id: str) -> JobView:
        """Go on."""
        return cast("JobView", await _answer(self._handle.resume.remote(job_id)))

    async def cancel(self, job_id: str) -> JobView:
        """Stop for good."""
        return cast("JobView", await _answer(self._handle.cancel.remote(job_id)))

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended."""
        await _answer(self._handle.forget.remote(job_id))

    async def retry(
        self,
        job_id: str,
        number: int,
        *,
        text: str | None = None,
        voices: Mapping[str, str] | None = None,
    ) -> JobView:
        """Ask for another take of a segment."""
        asked = self._handle.retry.remote(job_id, number, text, dict(voices or {}))
        return cast("JobView", await _answer(asked))

    async def report(self, ingress: str, demand: int) -> None:
        """Tell how many places this ingress has or wants now."""
        await _answer(self._handle.report.remote(ingress, demand))

    async def events(self, job_id: str, after: str | None = None) -> AsyncGenerator[JobEvent, None]:
        """Its events, as they come."""
        response = self._streaming.events.remote(job_id, after)
        async for event in _items(response):
            yield event

    async def audio(
        self, job_id: str, *, edition: int | None = None, follow: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Its signal, as PCM."""
        reader, count = uuid.uuid4().hex, 0
        response = self._streaming.audio.remote(job_id, edition, follow, reader)
        async for block in _items(response):
            yield block
            count += 1
            if count % TAKEN_EVERY == 0:
                await _answer(self._handle.taken.remote(reader, count))


def jobs_port(settings: Settings, calls: JobsHandle) -> JobsPort:
    """What the routes need.

    Raises:
        ConfigError: The store can't be opened here.
    """
    jobs = settings.jobs or JobSettings()
    return JobsPort(calls, FileReader(Folder(jobs.store, jobs.store_options)), jobs)


def reporter(pool: FairPool, calls: JobsHandle) -> DemandReporter:
    """Tells the runner what the requests of an ingress have or want; call it in an event loop.

    Args:
        pool: Their places.
        calls: The runner.
    """
    name = uuid.uuid4().hex
    return DemandReporter(
        lambda: pool.used + pool.waiting, lambda demand: calls.report(name, demand)
    )


async def _answer(response: Any, limit_s: float = _ANSWER_S) -> Any:
    try:
        async with asyncio.timeout(limit_s):
            return await response
    except (TimeoutError, RayError, RayServeException) as error:
        raise _own(error) from error
    finally:
        response.cancel()


async def _items(response: Any) -> AsyncGenerator[Any, None]:
    # Between two items of a job lies as long as a segment takes, or a pause of days: the stream
    # ends with the runner, which Ray notices, and with the client, which closes it.
    try:
        async for item in response:
            yield item
    except (RayError, RayServeException) as error:
        raise _own(error) from error
    finally:
        response.cancel()


def _own(error: Exception) -> ServeError:
    """The error that the runner raised, without Ray's wrapping."""
    cause = getattr(error, "cause", None)
    if isinstance(error, RayTaskError) and isinstance(cause, ServeError):
        return cause
    if isinstance(error, RayTaskError) and not isinstance(error, ServeError):
        return ServeError(f"the job runner failed with {type(cause or error).__name__}")
    if isinstance(error, ServeError):
        return type(error)(*error.args)
    not_begun = isinstance(error, BackPressureError | DeploymentUnavailableError)
    return (NotReadyError if not_begun else UnansweredError)(
        f"The job runner does not answer ({type(error).__name__}); it is starting, or being "
        "replaced. Jobs go on by themselves; ask again in a moment."
    )
