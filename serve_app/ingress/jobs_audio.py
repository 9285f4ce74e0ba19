"""The audio of a job over HTTP: a finished file with ranges, or a growing stream."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final
from urllib.parse import quote

from fastapi import Request, Response

from serve_app.core.audio import BYTES_PER_S, pcm_from_bytes
from serve_app.encode import FORMATS, Encoder, open_encoder
from serve_app.encode_file import FILE_FORMATS
from serve_app.encode_tags import Tags
from serve_app.errors import NotReadyError, RangeError, ServeError
from serve_app.ingress.answer import StreamCutError
from serve_app.ingress.bounded import ClosedStream
from serve_app.ingress.problems import problem
from serve_app.jobs.port import JobsPort
from serve_app.jobs.views import FileView, JobView

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PIECE_BYTES: Final = BYTES_PER_S
"""Encoded in one go, so that a client that leaves waits for no more."""

_TELL_S: Final = 60.0
"""How often the runner is told that a file is being read; well below the grace it gives."""


def wanted_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The part that a Range header asks for, ``start <= at < stop``; None for all of the file.

    A header that is no single range of bytes counts as none, as RFC 9110 allows.

    Raises:
        RangeError: The file has no such part.
    """
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or not (found[1] or found[2]):
        return None
    if found[1]:
        start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size_bytes
        if found[2] and stop <= start:
            return None
    else:
        start, stop = max(0, size_bytes - int(found[2])), size_bytes
    if start >= size_bytes or stop <= start:
        raise RangeError(f"The file has {size_bytes} bytes; {header!r} lies outside of it.")
    return start, min(stop, size_bytes)


def file_answer(request: Request, jobs: JobsPort, view: JobView, file: FileView) -> Response:
    """A finished file, or the part of it that is asked for."""
    extension = FILE_FORMATS[file.audio_format].extension
    headers = {
        "etag": file.etag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": _attachment(view, extension),
        "x-edition": str(file.edition),
        "x-audio-seconds": f"{file.audio_s:.3f}",
        "x-ai-generated": "true",
    }
    if _has(request.headers.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    fresh = request.headers.get("if-range", file.etag) == file.etag
    try:
        part = wanted_range(request.headers.get("range"), file.size_bytes) if fresh else None
    except RangeError as error:
        refused = problem(error)
        refused.headers["content-range"] = f"bytes */{file.size_bytes}"
        return refused
    start, stop = part or (0, file.size_bytes)
    headers["content-length"] = str(stop - start)
    status = 200 if part is None else 206
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{file.size_bytes}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.media_type)
    body = _file_body(jobs, view.id, file.name, start, stop)
    return ClosedStream(body, status_code=status, headers=headers, media_type=file.media_type)


def growing_answer(
    request: Request,
    jobs: JobsPort,
    view: JobView,
    audio_format: str,
    *,
    edition: int | None,
    follow: bool,
) -> Response:
    """The part spoken so far, and what comes, through one encoder; without a length."""
    chosen = FORMATS[audio_format]
    headers = {
        "accept-ranges": "none",
        "cache-control": "no-store",
        "content-disposition": _attachment(view, chosen.extension),
        "x-accel-buffering": "no",
        "x-edition": str(view.edition if edition is None else edition),
        "x-ai-generated": "true",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type=chosen.media_type)
    encoder = open_encoder(audio_format, Tags(view.title, tuple(view.voices)))
    blocks = jobs.calls.audio(view.id, edition=edition, follow=follow)
    return ClosedStream(_encoded(blocks, encoder), headers=headers, media_type=chosen.media_type)


async def _file_body(
    jobs: JobsPort, job_id: str, name: str, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    told_s = time.monotonic()
    try:
        async with aclosing(jobs.files.blocks(job_id, name, start, stop)) as blocks:
            async for block in blocks:
                yield block
                if time.monotonic() - told_s >= _TELL_S:
                    told_s = time.monotonic()
                    with suppress(ServeError):  # a runner that is away removes nothing
                        await jobs.calls.reading(job_id, name)
    except (FileNotFoundError, NotReadyError) as error:
        raise StreamCutError(f"a file of job {job_id} can't be read on") from error


async def _encoded(
    blocks: AsyncGenerator[bytes, None], encoder: Encoder
) -> AsyncGenerator[bytes, None]:
    working = threading.Lock()

    def encode(piece: bytes) -> bytes:
        with working:
            return encoder.encode(pcm_from_bytes(piece))

    def abort() -> None:
        with working:
            encoder.abort()

    try:
        async with aclosing(blocks):
            async for block in blocks:
                for at in range(0, len(block), _PIECE_BYTES):
                    data = await asyncio.to_thread(encode, block[at : at + _PIECE_BYTES])
                    if data:
                        yield data
        yield await asyncio.to_thread(encoder.close)
    except ServeError as error:
        raise StreamCutError(error.message) from error
    finally:
        # Who was cancelled may have left a thread at work: it must not lose what it uses.
        await asyncio.shield(asyncio.to_thread(abort))


def _has(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or etag in {
        it.strip().removeprefix("W/") for it in header.split(",")
    }


def _attachment(view: JobView, extension: str) -> str:
    named = quote(f"{view.title or view.id}.{extension}", safe="")
    return f"attachment; filename=\"{view.id}.{extension}\"; filename*=UTF-8''{named}"
