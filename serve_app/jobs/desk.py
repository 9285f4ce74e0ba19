"""What can be asked of the runner: orders, commands and questions about jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from serve_app.core.casting import with_stock_names
from serve_app.core.job_status import Signal
from serve_app.engines.base import EngineInfo
from serve_app.errors import ConflictError, OverloadedError, UnknownVoiceError
from serve_app.jobs.chapters import chapter_starts
from serve_app.jobs.crew import Crew
from serve_app.jobs.feed import JobEvent
from serve_app.jobs.files import JobFiles
from serve_app.jobs.listen import audio
from serve_app.jobs.live import LiveJob
from serve_app.jobs.order import JobOrder, PlannedOrder, check_same, plan_order
from serve_app.jobs.records import StateRecord
from serve_app.jobs.runs import Runs
from serve_app.jobs.shelf import Shelf
from serve_app.jobs.showing import job_view, segment_views
from serve_app.jobs.views import ChapterView, FileView, JobView, SegmentView, job_json
from serve_app.prepare import Ability


class JobDesk:
    """Every method raises NotReadyError while the runner does not own the store.

    Args:
        crew: What the jobs share.
        shelf: All jobs.
        runs: Those at work.
        files: Their finished files; None where none are made.
        engine: What speaks.
        ability: What it can speak.
        owned: Tells the runner's number, or raises.
        changed: Called when the runner should look at the jobs.
    """

    def __init__(
        self,
        crew: Crew,
        shelf: Shelf,
        runs: Runs,
        *,
        files: JobFiles | None,
        engine: Callable[[], Awaitable[EngineInfo]],
        ability: Ability,
        owned: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._crew, self._shelf, self._runs, self._files = crew, shelf, runs, files
        self._engine, self._ability = engine, ability
        self._owned, self._tell = owned, changed
        self._submitting = asyncio.Lock()

    async def submit(self, order: JobOrder) -> JobView:
        """Plan a job and keep it; it starts by itself.

        Raises:
            InvalidInputError: The order can't be served.
            OverloadedError: There are too many jobs.
            NotReadyError: No replica answers, or the store can't be written; nothing was kept.
        """
        self._owned()
        async with self._submitting:
            job_id = order.new_id()
            known = self._shelf.record(job_id)
            if known is not None:
                check_same(order, known)
                return await self.get(job_id)
            if len(self._shelf) >= self._crew.rules.max_jobs:
                raise OverloadedError(
                    f"There are {len(self._shelf)} jobs, the limit; delete some that have ended."
                )
            planned = await asyncio.to_thread(
                plan_order,
                order,
                await self._engine(),
                job_id=job_id,
                created=self._crew.rules.wall(),
                max_characters=self._crew.rules.max_characters,
                ability=self._ability,
            )
            # A client that leaves now would leave a job in the store that nobody knows.
            keeping = asyncio.create_task(self._keep(order, planned))
            try:
                live = await asyncio.shield(keeping)
            except asyncio.CancelledError:
                await asyncio.wait({keeping})
                raise
        return self._view(live)

    async def _keep(self, order: JobOrder, planned: PlannedOrder) -> LiveJob:
        record, plan = planned.record, planned.plan
        await self._crew.io(self._crew.store.create, record, plan, order.text, order.cover)
        wall = self._crew.rules.wall
        live = LiveJob(record, plan, StateRecord(), {}, series=self._shelf.series(), wall=wall)
        self._shelf.add(record, live)
        for warning in planned.warnings:
            live.warn(warning)
        self._tell()
        return live

    async def list(self) -> tuple[JobView, ...]:
        """All jobs, newest first."""
        self._owned()
        lines = self._shelf.lines()
        return tuple(
            shelved if live is None else job_view(live, self._runs.work(live.id))
            for live, shelved in lines
        )

    async def get(self, job_id: str) -> JobView:
        """One job.

        Raises:
            NotFoundError: There is none.
        """
        return self._view(await self._found(job_id))

    async def segments(self, job_id: str) -> tuple[SegmentView, ...]:
        """Its segments; errors as of :meth:`get`."""
        live = await self._found(job_id)
        return segment_views(live, self._runs.work(job_id))

    async def pause(self, job_id: str) -> JobView:
        """Send out nothing more; what is being spoken is finished and kept.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has ended.
            NotReadyError: This could not be written down; it holds until this runner ends.
        """
        return await self._signal(job_id, Signal.PAUSE)

    async def resume(self, job_id: str) -> JobView:
        """Go on, at once if it waits; a failed job tries again what failed. Errors as above."""
        return await self._signal(job_id, Signal.RESUME)

    async def cancel(self, job_id: str) -> JobView:
        """Stop for good; what was kept stays until the job is forgotten. Errors as above."""
        return await self._signal(job_id, Signal.CANCEL)

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended, with all its audio and whatever is at work for it.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has not ended.
            NotReadyError: The store can't be reached or is too slow; ask again.
        """
        self._owned()
        self._shelf.check_ended(job_id)
        await self._runs.stop(job_id)
        if self._files is not None:
            await self._files.drop(job_id)
        await self._shelf.forget(job_id)

    async def retry(
        self,
        job_id: str,
        number: int,
        *,
        text: str | None = None,
        voices: Mapping[str, str] | None = None,
    ) -> JobView:
        """Ask for another take of a segment: a new edition of the job's audio.

        Args:
            job_id: The job.
            number: The segment, from 0.
            text: What to say instead; may have labels of the job's speakers.
            voices: Other voices by speaker, for this segment.
        Raises:
            NotFoundError: There is no such job or segment.
            InvalidInputError: The change can't be made.
            ConflictError: The job is cancelled, or has had too many retries.
            NotReadyError: This could not be written down.
        """
        self._owned()
        async with self._shelf.held(job_id) as live:
            cast = await self._voices(voices) if voices else {}
            live.retry(number, text, cast)
            self._runs.drop(job_id, number)
            return await self._changed(live)

    async def events(self, job_id: str, after: str | None = None) -> AsyncGenerator[JobEvent, None]:
        """Its events, behind the one with the id *after*, and then as they come.

        Raises:
            NotFoundError: There is none.
        """
        self._owned()
        async with self._shelf.held(job_id) as live:
            told = live.feed.follow(after, lambda: job_json(self._view(live)))
            async with aclosing(told) as events:
                async for event in events:
                    yield event

    async def audio(
        self, job_id: str, *, edition: int | None = None, follow: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Its signal as far as it is spoken, and then as it comes; see ``listen.audio``."""
        self._owned()
        async with self._shelf.held(job_id) as live:
            heard = audio(live, self._crew, self.damaged, edition=edition, follow=follow)
            async with aclosing(heard) as blocks:
                async for block in blocks:
                    yield block

    async def file(
        self,
        job_id: str,
        *,
        audio_format: str,
        edition: int | None = None,
        wait_s: float = 0.0,
    ) -> FileView:
        """A finished file, of the newest edition unless told; see ``JobFiles.want``."""
        self._owned()
        if self._files is None:
            raise ConflictError("This runner makes no finished files.")
        return await self._files.want(
            job_id, edition=edition, audio_format=audio_format, wait_s=wait_s
        )

    async def reading(self, job_id: str, name: str) -> None:
        """A finished file is being read: it stays for now. Say so again while it lasts."""
        self._owned()
        self._shelf.reading(job_id, name)

    async def damaged(self, live: LiveJob, number: int, edition: int) -> None:
        """A kept take can't be read: it is spoken again."""
        name = live.lose(number, edition)
        if name is not None:
            await self._crew.io(self._crew.store.drop_take, live.id, name)
            await self._changed(live)

    async def _signal(self, job_id: str, signal: Signal) -> JobView:
        live = await self._found(job_id)
        live.signal(signal)
        return await self._changed(live)

    async def _changed(self, live: LiveJob) -> JobView:
        self._runs.wake(live.id)
        self._tell()
        await self._crew.save(live)
        return self._view(live)

    async def _found(self, job_id: str) -> LiveJob:
        self._owned()
        return await self._shelf.get(job_id)

    async def _voices(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Voice ids by speaker, of ids or aliases."""
        known = [voice.id for voice in (await self._engine()).voices]
        aliases = with_stock_names(self._ability.aliases, known)
        found = {who: aliases.get(name, name) for who, name in wanted.items()}
        strange = sorted(set(found.values()) - set(known))
        if strange:
            raise UnknownVoiceError(
                f"There is no voice {strange[0]!r}; there are {', '.join(known)}.", "voices"
            )
        return found

    def _view(self, live: LiveJob) -> JobView:
        return job_view(
            live,
            self._runs.work(live.id),
            chapters=_chapters(live),
            files=None if self._files is None else self._files.views(live),
        )


def _chapters(live: LiveJob) -> tuple[ChapterView, ...]:
    """All chapters; those behind what is spoken have no time yet."""
    starts = chapter_starts(live, live.job.edition)
    known = tuple(ChapterView(it.title, round(it.start_s, 3), it.estimated) for it in starts)
    return (*known, *(ChapterView(it.title, None) for it in live.record.chapters[len(known) :]))
