"""``/v1/jobs``: long scripts as resources that outlive every process.

A key sees its own jobs only, an admin's key all of them; another one's job does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import closing
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import JsonValue

from serve_app.core.job_status import Status
from serve_app.errors import ForbiddenError, NotFoundError, NotReadyError
from serve_app.ingress import routes_job_audio, sse
from serve_app.ingress.answer import known_caller, name_of
from serve_app.ingress.bounded import ClosedStream
from serve_app.ingress.gate import Caller
from serve_app.ingress.jobs_body import FORM_SCHEMA, JobRequest, read_order
from serve_app.ingress.jobs_events import events, is_over, knows_the_end
from serve_app.ingress.jobs_models import (
    JobDeleted,
    JobList,
    JobOut,
    RetryRequest,
    SegmentList,
    page,
)
from serve_app.ingress.jobs_owner import own_job
from serve_app.jobs.order import JobOrder
from serve_app.jobs.port import JobsPort, UnansweredError
from serve_app.jobs.store import DamagedRecordError
from serve_app.jobs.views import JobView, job_json, segment_json

PREFIX: Final = "/v1/jobs"
_EXAMPLE: Final[dict[str, JsonValue]] = {
    "input": "Lily: Is anybody there?\nJeyes: Only me, miss.",
    "title": "A short play",
    "format": "m4b",
    "voices": {"Lily": "alloy"},
}
_CREATED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": JobOut, "description": "The job that this Idempotency-Key has made before."},
    201: {"model": JobOut, "description": "The job; it starts by itself."},
    409: {"description": "The Idempotency-Key belongs to another order."},
}
_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {"description": "The job is not in a state for this."}
}
_AFTER: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such job as `after`."}}
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `snapshot`, `status`, `segment`, `warning`, `edition`, `file` and, "
        "last, `end`; comments keep the connection alive.",
        "content": {sse.MEDIA_TYPE: {"schema": sse.EVENT_SCHEMA}},
    },
    204: {"description": "The job has ended, and the listener has heard it."},
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": JobRequest.model_json_schema(ref_template="#/components/schemas/{model}"),
                "example": _EXAMPLE,
            },
            "multipart/form-data": {"schema": FORM_SCHEMA},
        },
    }
}
# The description has no place for definitions inside of a schema: VoiceId is that of speech.
_BODY["requestBody"]["content"]["application/json"]["schema"].pop("$defs", None)  # type: ignore[index]


def router(jobs: JobsPort) -> APIRouter:
    """The routes of this resource."""
    routes = APIRouter(prefix=PREFIX, tags=["jobs"])
    _add_collection(routes, jobs)
    _add_commands(routes, jobs)
    _add_segments(routes, jobs)
    routes.include_router(routes_job_audio.router(jobs))
    return routes


def _add_collection(routes: APIRouter, jobs: JobsPort) -> None:
    @routes.post(
        "", status_code=201, response_model=JobOut, responses=_CREATED, openapi_extra=_BODY
    )
    async def create_job(
        request: Request,
        idempotency_key: Annotated[str, Header(max_length=255)] = "",
    ) -> Response:
        """Order a script to be spoken; send JSON, or a form with a document as ``file``."""
        caller = known_caller(request)
        order = await read_order(
            request,
            jobs.settings,
            owner=name_of(caller),
            idempotency_key=idempotency_key.strip(),
        )
        known = await _known(jobs, order)
        payer = None if known else caller
        # A runner that answers that it is not ready has kept nothing.
        view = await _paid(
            payer, len(order.text), jobs.calls.submit(order), perhaps_done=UnansweredError
        )
        return JSONResponse(
            job_json(view),
            status_code=200 if known else 201,
            headers={"location": f"{request.url.path.rstrip('/')}/{view.id}"},
        )

    @routes.get("", response_model=JobList, responses=_AFTER)
    async def list_jobs(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str | None, Query(description="Id of the last job of a page.")] = None,
        status: Annotated[Status | None, Query(description="Only jobs that stand there.")] = None,
    ) -> dict[str, Any]:
        """The caller's jobs, newest first."""
        caller = known_caller(request)
        views = [
            view
            for view in await jobs.calls.list()
            if caller is None or caller.admin or view.owner == caller.name
        ]
        if after is not None:
            views = views[_position(views, after) + 1 :]
        if status is not None:
            views = [view for view in views if view.status is status]
        return page([job_json(view) for view in views[:limit]], has_more=len(views) > limit)

    @routes.get("/{job_id}", response_model=JobOut)
    async def get_job(job_id: str, request: Request) -> dict[str, Any]:
        """A job as it stands."""
        return job_json(await own_job(request, jobs, job_id))

    @routes.get("/{job_id}/events", response_class=StreamingResponse, responses=_EVENTS)
    async def get_events(
        job_id: str,
        request: Request,
        last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    ) -> Response:
        """What happens to a job; who comes back with Last-Event-ID misses nothing."""
        view = await own_job(request, jobs, job_id)
        if knows_the_end(last_event_id) and is_over(view):
            return Response(status_code=204)
        return ClosedStream(
            events(jobs.calls, job_id, last_event_id),
            media_type=sse.MEDIA_TYPE,
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )


def _add_commands(routes: APIRouter, jobs: JobsPort) -> None:
    @routes.post("/{job_id}/pause", response_model=JobOut, responses=_CONFLICT)
    async def pause_job(job_id: str, request: Request) -> dict[str, Any]:
        """Send out nothing more; what is being spoken is finished and kept."""
        await own_job(request, jobs, job_id)
        return job_json(await jobs.calls.pause(job_id))

    @routes.post("/{job_id}/resume", response_model=JobOut, responses=_CONFLICT)
    async def resume_job(job_id: str, request: Request) -> dict[str, Any]:
        """Go on; a failed job tries again what failed."""
        await own_job(request, jobs, job_id)
        return job_json(await jobs.calls.resume(job_id))

    @routes.delete("/{job_id}", response_model=JobOut | JobDeleted, responses=_CONFLICT)
    async def delete_job(
        job_id: str,
        request: Request,
        forget: Annotated[bool, Query(description="Forget it at once, also if it runs.")] = False,
    ) -> dict[str, Any]:
        """Cancel a job that has not ended; what was spoken stays. Once more: forget it for good."""
        try:
            view = await own_job(request, jobs, job_id)
        except DamagedRecordError:  # there is nothing left of it to cancel, nor an owner
            caller = known_caller(request)
            if caller is not None and not caller.admin:
                raise ForbiddenError(
                    "This job's files are damaged: removing it needs an admin's key."
                ) from None
        else:
            if not view.status.ended:
                view = await jobs.calls.cancel(job_id)
                if not forget:
                    return job_json(view)
        await jobs.calls.forget(job_id)
        return JobDeleted(id=job_id).model_dump()


def _add_segments(routes: APIRouter, jobs: JobsPort) -> None:
    @routes.get("/{job_id}/segments", response_model=SegmentList)
    async def list_segments(
        job_id: str,
        request: Request,
        first: Annotated[int, Query(ge=0, description="Number of the first one.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
        only: Annotated[
            Literal["doubtful", "failed", "open"] | None, Query(description="Only such ones.")
        ] = None,
    ) -> dict[str, Any]:
        """The segments in their newest edition: texts, times, and what is doubtful."""
        await own_job(request, jobs, job_id)
        segments = await jobs.calls.segments(job_id)
        found = [it for it in segments[first:] if only is None or _is(it.state, it.findings, only)]
        return {
            "object": "list",
            "data": [segment_json(view) for view in found[:limit]],
            "total": len(segments),
            "has_more": len(found) > limit,
        }

    @routes.post("/{job_id}/segments/{number}/retry", response_model=JobOut, responses=_CONFLICT)
    async def retry_segment(
        job_id: str, number: int, request: Request, body: RetryRequest | None = None
    ) -> dict[str, Any]:
        """Speak a segment again, if wanted with other words or voices: a new edition."""
        wanted = body or RetryRequest()
        caller = known_caller(request)
        await own_job(request, jobs, job_id)
        segments = await jobs.calls.segments(job_id)
        if not 0 <= number < len(segments):
            raise NotFoundError(
                f"The job has no segment {number}; they are 0 to {len(segments) - 1}.", "number"
            )
        said = segments[number].lines
        everyone = dict.fromkeys((who for who, _ in said), wanted.voice) if wanted.voice else {}
        characters = len(wanted.text or "".join(text for _, text in said))
        retrying = jobs.calls.retry(
            job_id, number, text=wanted.text, voices={**everyone, **wanted.voices}
        )
        return job_json(await _paid(caller, characters, retrying))


def _is(state: str, findings: tuple[str, ...], only: str) -> bool:
    return bool(findings) if only == "doubtful" else state == only


def _position(views: list[JobView], job_id: str) -> int:
    for at, view in enumerate(views):
        if view.id == job_id:
            return at
    raise NotFoundError(f"There is no job {job_id[:40]!r} to list the ones after.", "after")


async def _known(jobs: JobsPort, order: JobOrder) -> bool:
    """Whether the order's Idempotency-Key has made a job before."""
    if not order.idempotency_key:
        return False
    try:
        await jobs.calls.get(order.new_id())
    except NotFoundError:
        return False
    return True


async def _paid(
    caller: Caller | None,
    characters: int,
    asking: Coroutine[Any, Any, JobView],
    *,
    perhaps_done: type[NotReadyError] = NotReadyError,
) -> JobView:
    """Ask for something; its characters are the caller's unless it is refused.

    Args:
        caller: Who pays, if anyone.
        characters: How many.
        asking: The question.
        perhaps_done: An error after which it may have been done all the same.
    """
    if caller is None:
        return await asking
    with closing(asking):  # which is never begun where they are too many
        caller.spend(characters)
        try:
            return await asking
        except (asyncio.CancelledError, perhaps_done):
            raise
        except BaseException:
            caller.refund(characters)
            raise
