"""``/v1/jobs/{id}/audio`` and ``/captions.*``: what a job has become so far."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from serve_app.core.caption_files import to_json, to_srt, to_vtt
from serve_app.core.captions import captions
from serve_app.core.job_status import Status
from serve_app.encode import FORMATS
from serve_app.encode_file import FILE_FORMATS
from serve_app.errors import ConflictError, NotFoundError, UnknownFormatError
from serve_app.ingress.jobs_audio import file_answer, growing_answer
from serve_app.ingress.jobs_owner import own_job
from serve_app.jobs.port import JobsPort
from serve_app.jobs.views import JobView, SegmentView

FILE_WAIT_S: Final = 20.0
"""For a file in the making, before the client is told to come back."""

_STREAM_INSTEAD: Final = "mp3"
_KINDS: Final = tuple(dict.fromkeys((*FILE_FORMATS, *FORMATS)))
_TYPES: Final = {"srt": "application/x-subrip", "vtt": "text/vtt", "json": "application/json"}
_SOUND: Final = {"schema": {"type": "string", "format": "binary"}}
_FILES: Final = dict.fromkeys(sorted({it.media_type for it in FILE_FORMATS.values()}), _SOUND)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The finished file with its length and ETag, or, while not all is spoken, a "
        "growing stream without them.",
        "content": dict.fromkeys(
            sorted(
                {it.media_type for it in FILE_FORMATS.values()}
                | {it.media_type for it in FORMATS.values()}
            ),
            _SOUND,
        ),
    },
    206: {"description": "A part of the finished file.", "content": _FILES},
    304: {"description": "The client has this file."},
    409: {"description": "The job has ended without all of its audio, or is not that far."},
    416: {"description": "The file has no such part."},
}
_CAPTIONS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Captions as far as the job is spoken without a gap.",
        "content": {media_type: {} for media_type in _TYPES.values()},
    }
}


def router(jobs: JobsPort) -> APIRouter:
    """The routes, below ``/v1/jobs``."""
    routes = APIRouter()

    @routes.head("/{job_id}/audio", include_in_schema=False)
    @routes.get("/{job_id}/audio", response_class=Response, responses=_ANSWERS)
    async def get_audio(
        job_id: str,
        request: Request,
        audio_format: Annotated[
            Literal[_KINDS] | None,  # type: ignore[valid-type] # made of the tables
            Query(alias="format", description="Instead of the one that was ordered."),
        ] = None,
        edition: Annotated[int | None, Query(ge=0, description="Instead of the newest.")] = None,
        follow: Annotated[
            bool, Query(description="Wait for what has still to be spoken; else end before it.")
        ] = True,
    ) -> Response:
        """The finished file (ranges, ETag), or what is spoken so far and what comes.

        A growing stream is as it was spoken; the finished file is levelled as a whole. ``pcm`` is
        always the signal as it was spoken.
        """
        view = await own_job(request, jobs, job_id)
        if edition is not None and edition > view.edition:
            raise NotFoundError(
                f"The job has no edition {edition}; the newest is {view.edition}.", "edition"
            )
        wanted = str(audio_format or view.audio_format)
        whole = view.status is Status.COMPLETE or (edition is not None and edition < view.edition)
        if whole and wanted in FILE_FORMATS:
            file = await jobs.calls.file(
                job_id, audio_format=wanted, edition=edition, wait_s=FILE_WAIT_S
            )
            return file_answer(request, jobs, view, file)
        if follow and view.status.ended and view.status is not Status.COMPLETE:
            raise ConflictError(
                f"The job is {view.status}: {view.segments - view.done} of {view.segments} "
                "segments are missing. Resume it or retry them, or ask with follow=false for what "
                "comes before the first gap."
            )
        return growing_answer(
            request, jobs, view, _streamed(wanted, audio_format), edition=edition, follow=follow
        )

    @routes.get("/{job_id}/captions.{kind}", response_class=Response, responses=_CAPTIONS)
    async def get_captions(
        job_id: str, kind: Literal["srt", "vtt", "json"], request: Request
    ) -> Response:
        """Captions; exact where segments begin and end, inside of them marked as estimated.

        Where a recogniser heard the job's segments back they are marked as aligned instead.
        """
        view = await own_job(request, jobs, job_id)
        segments = await jobs.calls.segments(job_id)
        text = await asyncio.to_thread(_captions, view, segments, kind)
        complete = view.status is Status.COMPLETE
        return Response(
            text.encode(),
            media_type=_TYPES[kind],
            headers={"x-complete": str(complete).lower(), "x-edition": str(view.edition)},
        )

    return routes


def _streamed(wanted: str, asked: str | None) -> str:
    """The format of a growing stream."""
    if wanted in FORMATS:
        return wanted
    if asked is None:
        return _STREAM_INSTEAD
    raise UnknownFormatError(
        f"A {wanted} file is written when the job is complete; until then ask for one of "
        f"{', '.join(FORMATS)}.",
        "format",
    )


def _captions(view: JobView, segments: Sequence[SegmentView], kind: str) -> str:
    found = captions(timed for it in segments if (timed := it.timed) is not None)
    if kind == "srt":
        return to_srt(found, names=len(view.voices) > 1)
    return to_vtt(found) if kind == "vtt" else to_json(found)
