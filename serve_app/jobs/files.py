"""The finished files of the jobs: each made once an edition and format, in a process of its own.

The format that was ordered is made when a job is complete, any other when someone asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from serve_app.core.job_status import Status
from serve_app.encode_file import file_format
from serve_app.errors import ConflictError, NotFoundError, NotReadyError, ServeError
from serve_app.jobs.crew import Crew
from serve_app.jobs.finish_work import FinishAnswer, FinishOrder
from serve_app.jobs.live import LiveJob
from serve_app.jobs.records import FileRecord
from serve_app.jobs.shelf import Shelf
from serve_app.jobs.views import FileView

logger = logging.getLogger(__name__)

Finish = Callable[[FinishOrder], Awaitable[FinishAnswer]]
"""Makes one file somewhere, within a bounded time."""

Lost = Callable[[LiveJob, int, int], Awaitable[None]]

_LEAST_S: Final = 300.0
_RETRY_AFTER_S: Final = 5
_TOLD_CHARACTERS: Final = 400

_Key = tuple[str, int, str]


async def finish_in_child(order: FinishOrder) -> FinishAnswer:
    """Make a file in a process of its own, which ends with this call whatever happens.

    Raises:
        NotReadyError: It took too long, or its process died.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serve_app.jobs.finish_work"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        async with asyncio.timeout(order.limit_s):
            out, err = await child.communicate(order.model_dump_json().encode())
    except TimeoutError:
        raise NotReadyError(f"the file was not done after {order.limit_s:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        if child.returncode:
            await asyncio.shield(asyncio.to_thread(order.clear))
    try:
        return FinishAnswer.model_validate_json(out)
    except ValidationError:
        logger.error("a finished file failed: %s", err.decode(errors="replace")[-2_000:])  # noqa: TRY400
        raise NotReadyError(
            f"the process that made the file ended with {child.returncode}"
        ) from None


class JobFiles:
    """Makes files and knows which there are; touched by one event loop only.

    Args:
        crew: Store, threads and bounds.
        shelf: The jobs.
        lost: Told of kept takes that can't be read.
        finish: Makes one file.
    """

    def __init__(self, crew: Crew, shelf: Shelf, lost: Lost, finish: Finish) -> None:
        self._crew, self._shelf = crew, shelf
        self._lost, self._finish = lost, finish
        self._turns = asyncio.Semaphore(crew.rules.file_processes)
        self._making: dict[_Key, asyncio.Task[FileRecord]] = {}
        self._failures: dict[_Key, str] = {}

    def start_due(self) -> None:
        """Begin what was ordered, of jobs that are complete; once, until someone asks for it."""
        for live in self._shelf.loaded:
            key = self._ordered(live)
            if key is not None and key not in self._failures:
                self._begin(live, key)

    def views(self, live: LiveJob) -> tuple[FileView, ...]:
        """The files of a job."""
        keys = {key: "failed" for key in self._failures if key[0] == live.id}
        keys |= {key: "making" for key in self._making if key[0] == live.id}
        ordered = self._ordered(live)
        if ordered is not None and ordered not in keys:
            keys[ordered] = "making"
        made = [_view(record) for record in live.files.values()]
        rest = [
            FileView(
                edition=key[1],
                audio_format=key[2],
                state="failed" if state == "failed" else "making",
                media_type=file_format(key[2]).media_type,
                failure=self._failures.get(key),
            )
            for key, state in keys.items()
            if key[1:] not in live.files
        ]
        return tuple(sorted((*made, *rest), key=lambda it: (it.edition, it.audio_format)))

    async def want(
        self, job_id: str, *, edition: int | None, audio_format: str, wait_s: float
    ) -> FileView:
        """A file, once it is there; it is made if nobody has asked for it yet.

        Raises:
            NotFoundError: There is no such job or edition.
            UnknownFormatError: Files have no such format.
            ConflictError: Not all of the edition has been spoken.
            NotReadyError: It is being made and was not done within *wait_s*; ask again.
            ServeError: It can't be made.
        """
        file_format(audio_format)
        async with self._shelf.held(job_id) as live:
            counted = live.job.edition if edition is None else edition
            if not 0 <= counted <= live.job.edition:
                raise NotFoundError(
                    f"Job {job_id} has no edition {counted}; the newest is {live.job.edition}."
                )
            if not live.job.whole(counted):
                raise ConflictError(
                    f"Edition {counted} of job {job_id} is not spoken to its end yet."
                )
            found = live.files.get((counted, audio_format))
            if found is None:
                task = self._begin(live, (job_id, counted, audio_format))
                await asyncio.wait({task}, timeout=wait_s)
                if not task.done():
                    raise NotReadyError(
                        f"The {audio_format} file of job {job_id} is being written; ask again.",
                        retry_after_s=_RETRY_AFTER_S,
                    )
                found = task.result()
            self._shelf.reading(job_id, found.name)
            return _view(found)

    async def drop(self, job_id: str) -> None:
        """Stop whatever is made for a job, and forget what failed."""
        tasks = [task for key, task in self._making.items() if key[0] == job_id]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._failures = {key: why for key, why in self._failures.items() if key[0] != job_id}

    async def close(self) -> None:
        """Stop all work."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ordered(self, live: LiveJob) -> _Key | None:
        """What was ordered and is not there, of a job that is complete."""
        key = (live.id, live.job.edition, live.record.audio_format)
        due = live.job.status is Status.COMPLETE and key[1:] not in live.files
        return key if due else None

    def _begin(self, live: LiveJob, key: _Key) -> asyncio.Task[FileRecord]:
        if key not in self._making:
            self._failures.pop(key, None)
            self._making[key] = asyncio.create_task(self._make(live, key))
            self._making[key].add_done_callback(lambda task: self._ended(live, key, task))
        return self._making[key]

    async def _make(self, live: LiveJob, key: _Key) -> FileRecord:
        job_id, edition, audio_format = key
        async with self._shelf.held(job_id), self._turns:
            await self._crew.save(live)  # the other process reads what is written down
            folder = self._crew.store.folder
            made = await self._finish(
                FinishOrder(
                    store=folder.url,
                    store_options=dict(folder.options),
                    job_id=job_id,
                    edition=edition,
                    audio_format=audio_format,
                    target_lufs=self._crew.rules.target_lufs,
                    limit_s=_LEAST_S + live.job.totals().audio_s * max(1.0, 1 / live.record.speed),
                )
            )
            if made.damaged is not None:
                await self._lost(live, *made.damaged)
                raise ConflictError("Kept audio was damaged and is spoken again; ask again later.")
            if made.outcome == "not_ready":
                raise NotReadyError(made.message)
            if made.record is None:
                raise ServeError(made.message)
            in_use = self._shelf.read_lately(job_id)
            await self._crew.io(self._crew.store.keep_output, job_id, made.record, in_use)
            records = await self._crew.io(self._crew.store.outputs, job_id)
            live.files = {(it.edition, it.audio_format): it for it in records}
            self._shelf.grown(job_id)
            return made.record

    def _ended(self, live: LiveJob, key: _Key, task: asyncio.Task[FileRecord]) -> None:
        self._making.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ConflictError):
            return  # damaged audio is spoken again; what was ordered is then made by itself
        if error is not None:
            why = error.message if isinstance(error, ServeError) else type(error).__name__
            self._failures[key] = why[:_TOLD_CHARACTERS]
            logger.error("the %s file of job %s: %s", key[2], key[0], why)
        told = {"edition": key[1], "format": key[2], "failure": self._failures.get(key)}
        live.feed.publish("file", told)


def _view(record: FileRecord) -> FileView:
    return FileView(
        edition=record.edition,
        audio_format=record.audio_format,
        state="made",
        media_type=record.media_type,
        name=record.name,
        size_bytes=record.size_bytes,
        etag=record.etag,
        audio_s=record.audio_s,
        lufs=record.lufs,
        true_peak_dbtp=record.true_peak_dbtp,
    )
