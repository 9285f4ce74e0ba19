"""The audio of a job, from its kept takes: what is there, and what comes while one listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from serve_app.core.audio import bytes_from_pcm
from serve_app.errors import NotReadyError, SegmentFailedError
from serve_app.jobs.crew import Crew
from serve_app.jobs.live import LiveJob
from serve_app.jobs.mix import Mixer
from serve_app.jobs.take_file import DamagedTakeError, StoredTake

Lost = Callable[[LiveJob, int, int], Awaitable[None]]
"""Told that a kept take of a segment and edition can't be read; it will be spoken again."""


async def audio(
    live: LiveJob, crew: Crew, lost: Lost, *, edition: int | None, follow: bool
) -> AsyncGenerator[bytes, None]:
    """The signal of an edition, 16-bit little-endian PCM at 24 kHz, in blocks of up to 10 s.

    The same bytes whenever it is asked for and however far the job is.

    Args:
        live: The job.
        crew: Store and threads.
        lost: Told of damaged takes.
        edition: Which; the newest when None.
        follow: Wait for what has still to be spoken; else end before it.
    Raises:
        SegmentFailedError: A segment is waited for and will not come.
        NotReadyError: The store can't be reached, or this runner stops.
    """
    counted = live.job.edition if edition is None else min(edition, live.job.edition)
    mixer = Mixer(live.gains_db, live.record.speed)
    for number in range(len(live.job.lines)):
        take = await _take(live, crew, lost, number, counted, follow=follow)
        if take is None:
            return
        segment = live.planned(number, live.job.line(number).edition_for(counted)).segment
        for pcm in await asyncio.to_thread(lambda: list(mixer.add(take, segment))):  # noqa: B023
            if len(pcm):
                yield bytes_from_pcm(pcm)
    rest = await asyncio.to_thread(mixer.finish, live.final_pause_s)
    if len(rest):
        yield bytes_from_pcm(rest)


async def _take(
    live: LiveJob, crew: Crew, lost: Lost, number: int, counted: int, *, follow: bool
) -> StoredTake | None:
    while True:
        edition = live.job.line(number).edition_for(counted)
        name = live.names.get((number, edition))
        if name is None:
            if not await _more(live, number, follow=follow):
                return None
            continue
        try:
            key = live.planned(number, edition).key
            return await crew.io(crew.store.take, live.id, name, key)
        except DamagedTakeError:
            await lost(live, number, edition)


async def _more(live: LiveJob, number: int, *, follow: bool) -> bool:
    """Wait until something changes; False if that is not wanted.

    Of a job that is complete, only a take of an old edition can be missing, which was damaged and
    could not be spoken again.
    """
    if not follow:
        return False
    if live.job.status.ended:
        raise SegmentFailedError(
            f"The job is {live.job.status} and has no audio of segment {number}; the audio ends "
            "before it. Resume the job or retry the segment."
        )
    if not await live.feed.changed():
        raise NotReadyError("the runner of the jobs stops; ask again in a moment")
    return True
