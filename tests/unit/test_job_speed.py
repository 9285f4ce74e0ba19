"""A job's speed: the audio follows it, and so does every time that is told."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from serve_app.core.chapters import headings
from serve_app.errors import ConflictError, InvalidInputError
from serve_app.jobs.finish_work import FinishAnswer, FinishOrder
from serve_app.jobs.order import JobOrder
from serve_app.jobs.views import JobView, SegmentView
from tests.unit.job_scene import FAST, TEXT, Scene, finish_here, scene

BOOK = "\n\n".join(
    f"CHAPTER {number}. {title}\n\n{title} is told here in a few words. They are soon over. "
    "And yet they fill more than one of the segments that a card speaks in one go, as they should."
    for number, title in (("I", "The Ship"), ("II", "The Sea"), ("III", "The Harbour"))
)
RATE_HZ = 24_000


async def spoken(at: Scene, speed: float) -> tuple[JobView, tuple[SegmentView, ...], bytes]:
    job_id = await at.submit(BOOK, headings=headings(BOOK), speed=speed)
    await at.done(job_id)
    heard = await at.heard(job_id)
    return await at.runner.jobs.get(job_id), await at.runner.jobs.segments(job_id), heard


@pytest.mark.parametrize("speed", [0.25, 0.8, 2.0, 4.0])
async def test_audio_and_all_times_follow_the_speed(tmp_path: Path, speed: float) -> None:
    async with scene(tmp_path) as at:
        usual, segments, heard = await spoken(at, 1.0)
        view, paced, audio = await spoken(at, speed)
        assert len(audio) // 2 == round(len(heard) / 2 / speed)
        assert view.speed == speed
        assert (view.audio_s, view.est_s) == pytest.approx(
            (usual.audio_s / speed, usual.est_s / speed)
        )
        assert len(view.chapters) == 3
        assert [it.start_s for it in view.chapters] == pytest.approx(
            [(it.start_s or 0.0) / speed for it in usual.chapters], abs=1e-3
        )
        assert [(it.start_s, it.end_s) for it in paced] == [
            pytest.approx(((it.start_s or 0.0) / speed, (it.end_s or 0.0) / speed))
            for it in segments
        ]
        # Where one segment ends and the next begins nothing is heard: the times are the audio's.
        loud = np.abs(np.frombuffer(audio, "<i2").astype(np.int32))
        pauses = [
            ((before.end_s or 0.0) + (after.start_s or 0.0)) / 2 * RATE_HZ
            for before, after in pairwise(paced)
        ]
        assert len(pauses) > 2
        assert max(loud[int(middle) - 20 : int(middle) + 20].max() for middle in pauses) < 100
        assert loud.max() > 1_000


async def test_who_listens_early_hears_the_same_at_any_speed(tmp_path: Path) -> None:
    async with scene(tmp_path, [FAST]) as at:
        job_id = await at.submit(speed=1.5)
        early = await at.heard(job_id)
        await at.done(job_id)
        assert await at.heard(job_id) == early
    async with scene(tmp_path) as at:
        assert (await at.runner.jobs.get(job_id)).speed == 1.5
        assert await at.heard(job_id) == early


async def test_the_finished_file_has_the_speed(tmp_path: Path) -> None:
    answers: list[FinishAnswer] = []

    async def finish(order: FinishOrder) -> FinishAnswer:
        answers.append(await finish_here(order))
        return answers[-1]

    async with scene(tmp_path, finish=finish) as at:
        job_id = await at.submit(BOOK, headings=headings(BOOK), speed=2.0, audio_format="flac")
        await at.done(job_id)
        async with asyncio.timeout(30):
            file = await at.runner.jobs.file(job_id, audio_format="flac", wait_s=30)
        assert round(file.audio_s * RATE_HZ) * 2 == len(await at.heard(job_id))
    assert [answer.outcome for answer in answers] == ["made"]


async def test_another_speed_is_another_order_but_speaks_nothing_anew(tmp_path: Path) -> None:
    async with scene(tmp_path, cache_bytes=2**24) as at:
        job_id = await at.submit(TEXT, idempotency_key="monday")
        await at.done(job_id)
        with pytest.raises(ConflictError):
            await at.submit(TEXT, idempotency_key="monday", speed=2.0)
        before = len(at.cards.spoken)
        view = await at.done(await at.submit(TEXT, speed=2.0))
        assert len(at.cards.spoken) == before
        assert view.cached == view.segments


@pytest.mark.parametrize("speed", [0.0, 0.24, 4.1, float("nan")])
async def test_a_speed_out_of_range_is_refused(tmp_path: Path, speed: float) -> None:
    async with scene(tmp_path) as at:
        with pytest.raises(InvalidInputError, match="speed"):
            await at.runner.jobs.submit(JobOrder(TEXT, speed=speed))
        assert await at.runner.jobs.list() == ()
