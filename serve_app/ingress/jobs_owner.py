"""Whose job it is."""

from __future__ import annotations

from fastapi import Request

from serve_app.errors import NotFoundError
from serve_app.ingress.answer import known_caller
from serve_app.jobs.port import JobsPort
from serve_app.jobs.views import JobView


async def own_job(request: Request, jobs: JobsPort, job_id: str) -> JobView:
    """A job that the caller may see.

    Raises:
        NotFoundError: There is none, or it is another one's.
        NotReadyError: The runner does not answer.
    """
    caller = known_caller(request)
    view = await jobs.calls.get(job_id)
    if caller is None or caller.admin or view.owner == caller.name:
        return view
    raise NotFoundError(f"There is no job {job_id[:40]!r}.")
