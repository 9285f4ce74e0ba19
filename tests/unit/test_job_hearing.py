"""Jobs whose takes are heard back: what a recogniser says counts, and its failures do not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.asr_check import Hearing
from serve_app.core.captions import captions
from serve_app.core.job_status import Status
from serve_app.core.job_take import anchors_of
from serve_app.core.letter_clock import Anchor, count_letters, pack_anchors
from serve_app.core.spoken.rule import Language
from serve_app.engines.simulated import SimulatedOptions
from serve_app.errors import NotReadyError
from serve_app.jobs.hear_work import HearAnswer
from serve_app.jobs.views import segment_json
from tests.unit.job_scene import FAST, RULES, scene

SHORT = "The ship sails on to places that nobody knew, and the harbour kept quiet all day."
CACHE_BYTES = 10**8
GOOD, BAD = 1.0, 0.2

Judging = Callable[[bytes, str], float]
"""Word recall of a take, by its samples and text."""


class FakeEar:
    """Hears what it is told to, and every word a tenth of a second after the one before.

    Args:
        recall: Of each take.
        revision: Of this recogniser.
    """

    def __init__(self, recall: Judging = lambda _flac, _text: GOOD, revision: str = "1") -> None:
        self.recall, self.heard = recall, list[str]()
        self._revision = revision

    async def revision(self) -> str:
        return self._revision

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        assert language == "en"
        self.heard.append(text)
        words = 100
        heard = round(words * self.recall(flac, text))
        starts = [match.start() for match in re.finditer(r"\S+", text)]
        anchors = [
            Anchor(count_letters(text[:at]), number / 10) for number, at in enumerate(starts)
        ]
        return HearAnswer(hearing=Hearing(words, heard, 0, 0, 0), anchors=pack_anchors(anchors))


class DeafEar(FakeEar):
    """Fails at whatever it is told to fail at."""

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        await super().hear(flac, text, language)
        raise NotReadyError("the recogniser is deaf")


def by_chance(flac: bytes, _text: str) -> float:
    """Refuses two takes of five, the same ones each time."""
    return BAD if blake2b(flac).digest()[0] % 5 < 2 else GOOD


async def spoken_audio(path: Path, ear: FakeEar | None, **options: Any) -> bytes:
    async with scene(path, ear=ear, **options) as at:
        job_id = await at.submit()
        assert (await at.done(job_id)).status is Status.COMPLETE
        return await at.heard(job_id)


async def test_a_take_with_missing_words_is_spoken_again_with_the_next_seed(tmp_path: Path) -> None:
    refused: set[str] = set()

    def once(_flac: bytes, text: str) -> float:
        first = "number 3 " in text and text not in refused
        refused.add(text)
        return BAD if first else GOOD

    async with scene(tmp_path, ear=FakeEar(once)) as at:
        job_id = await at.submit()
        view = await at.done(job_id)
        assert (view.status, view.doubtful, view.warnings) == (Status.COMPLETE, 0, ())
        segments = await at.runner.jobs.segments(job_id)
        (again,) = [it for it in segments if it.bad_takes]
        assert "number 3 " in again.lines[0][1]
        assert again.word_recall == GOOD
        seeds = [task.seed for task in at.cards.spoken if task.tag == again.number]
        assert len(set(seeds)) == 2
        told = segment_json(again)
        assert (told["word_recall"], "parts" in told) == (GOOD, False)


async def test_what_stays_doubtful_is_the_best_and_is_listed_with_its_place(
    tmp_path: Path,
) -> None:
    recalls: dict[bytes, float] = {}

    def worse_and_worse(flac: bytes, _text: str) -> float:
        return recalls.setdefault(flac, 0.4 - 0.01 * len(recalls))

    async with scene(tmp_path, ear=FakeEar(worse_and_worse)) as at:
        job_id = await at.submit(SHORT)
        view = await at.done(job_id)
        assert (view.status, view.segments, view.doubtful) == (Status.COMPLETE, 1, 1)
        (doubtful,) = await at.runner.jobs.segments(job_id)
        assert doubtful.word_recall == 0.4
        assert (doubtful.start_s, len(doubtful.parts)) == (0.0, 1)
        assert doubtful.end_s is not None
        assert doubtful.end_s > 1.0
        assert "words were heard (40%)" in doubtful.findings[0]
        assert len(recalls) > RULES.speaking.takes  # its halves were tried too
        assert any("Words may be missing" in text for text in view.warnings)


async def test_halves_count_if_more_of_their_words_are_heard(tmp_path: Path) -> None:
    def only_pieces(_flac: bytes, text: str) -> float:
        return BAD if text == SHORT else 0.45 if "harbour" in text else GOOD

    async with scene(tmp_path, ear=FakeEar(only_pieces)) as at:
        job_id = await at.submit(SHORT)
        assert (await at.done(job_id)).doubtful == 1
        (split,) = await at.runner.jobs.segments(job_id)
        assert len(split.parts) > 1
        assert split.word_recall is not None
        assert 0.45 <= split.word_recall < GOOD
        known = [anchor.letters for anchor in anchors_of(split.parts)]
        assert split.parts[0].letters in known
        assert known == sorted(known)


async def test_a_restart_goes_on_byte_for_byte_and_keeps_the_words_times(tmp_path: Path) -> None:
    undisturbed = await spoken_audio(tmp_path / "a", FakeEar(by_chance))
    assert undisturbed != await spoken_audio(tmp_path / "b", None)
    slow = SimulatedOptions(slots=1, first_chunk_s=0.01, real_time_factor=0.003)
    async with scene(tmp_path / "c", [slow], ear=FakeEar(by_chance)) as at:
        job_id = await at.submit()
        await at.until(job_id, lambda view: view.done > 3)
    ear = FakeEar(by_chance)
    async with scene(tmp_path / "c", ear=ear) as at:
        await at.done(job_id)
        assert await at.heard(job_id) == undisturbed
        segments = await at.runner.jobs.segments(job_id)
        kept = [it for it in segments if not any(it.lines[0][1] in said for said in ear.heard)]
        assert kept
        assert all(it.word_recall == GOOD for it in kept)
        timed = [it.timed for it in segments if it.timed is not None]
        assert len(timed) == len(segments)
        inner = [cue for cue in captions(timed) if cue.estimated or cue.aligned]
        assert inner
        assert not any(cue.estimated for cue in inner)


async def test_times_of_words_are_those_at_the_jobs_speed(tmp_path: Path) -> None:
    timed = []
    for speed in (1.0, 2.0):
        async with scene(tmp_path / str(speed), ear=FakeEar()) as at:
            job_id = await at.submit(speed=speed)
            await at.done(job_id)
            timed.append([it.timed for it in await at.runner.jobs.segments(job_id)])
    for slow, fast in zip(*timed, strict=True):
        assert slow is not None
        assert fast is not None
        assert slow.anchors
        assert [it.at_s for it in slow.anchors] == [2 * it.at_s for it in fast.anchors]
        assert slow.end_s == pytest.approx(2 * fast.end_s)


async def test_a_cached_segment_is_what_this_recogniser_let_pass(tmp_path: Path) -> None:
    plain = await spoken_audio(tmp_path, None, cache_bytes=CACHE_BYTES)
    first = FakeEar(by_chance)
    heard = await spoken_audio(tmp_path, first, cache_bytes=CACHE_BYTES)
    assert heard != plain
    assert first.heard
    # Another one would say otherwise, but what is cached for it is not judged again.
    second = FakeEar(lambda _flac, _text: BAD)
    async with scene(tmp_path, ear=second, cache_bytes=CACHE_BYTES) as at:
        job_id = await at.submit()
        view = await at.done(job_id)
        assert (view.cached, view.doubtful, second.heard) == (view.segments, 0, [])
        assert await at.heard(job_id) == heard
        assert all(it.word_recall == GOOD for it in await at.runner.jobs.segments(job_id))
    other = FakeEar(revision="2")
    assert await spoken_audio(tmp_path, other, cache_bytes=CACHE_BYTES) == plain
    assert other.heard


async def test_a_deaf_recogniser_changes_nothing_but_is_told(tmp_path: Path) -> None:
    plain = await spoken_audio(tmp_path / "a", None)
    deaf = DeafEar()
    async with scene(tmp_path / "b", [FAST], ear=deaf, cache_bytes=CACHE_BYTES) as at:
        job_id = await at.submit()
        view = await at.done(job_id)
        assert view.status is Status.COMPLETE
        assert [text for text in view.warnings if "the recogniser is deaf" in text] == [
            "Some segments could not be heard back, so that missing words may have gone "
            "unnoticed: the recogniser is deaf."
        ]
        assert await at.heard(job_id) == plain
        assert all(it.word_recall is None for it in await at.runner.jobs.segments(job_id))
        assert len(deaf.heard) == view.segments
    ear = FakeEar()
    await spoken_audio(tmp_path / "b", ear, cache_bytes=CACHE_BYTES)
    assert len(ear.heard) == view.segments  # nothing unheard was in the cache


class SlowEar(FakeEar):
    """Listens until it is told to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.first = ""

    async def hear(self, flac: bytes, text: str, language: Language) -> HearAnswer:
        self.first = self.first or text
        self.asked.set()
        await self.go.wait()
        return await super().hear(flac, text, language)


async def test_a_take_that_is_being_heard_is_kept_though_its_job_is_paused(tmp_path: Path) -> None:
    ear = SlowEar()
    async with scene(tmp_path, [FAST], ear=ear) as at:
        job_id = await at.submit()
        await asyncio.wait_for(ear.asked.wait(), 20)
        await at.runner.jobs.pause(job_id)
        before = (await at.runner.jobs.get(job_id)).done
        ear.go.set()
        assert (await at.until(job_id, lambda view: view.done > before)).status is Status.PAUSED
        await at.runner.jobs.resume(job_id)
        assert (await at.done(job_id)).status is Status.COMPLETE
        assert ear.heard.count(ear.first) == 1


async def test_a_take_that_is_being_heard_holds_no_card(tmp_path: Path) -> None:
    ear = SlowEar()
    async with scene(tmp_path, [FAST], ear=ear) as at:
        job_id = await at.submit()
        async with asyncio.timeout(20):
            while len(at.cards.spoken) < 2 or at.cards.running:
                await asyncio.sleep(0.01)
        ear.go.set()
        assert (await at.done(job_id)).status is Status.COMPLETE


async def test_a_job_that_is_cancelled_meanwhile_waits_for_nobody(tmp_path: Path) -> None:
    ear = SlowEar()
    async with scene(tmp_path, [FAST], ear=ear) as at:
        job_id = await at.submit()
        await asyncio.wait_for(ear.asked.wait(), 20)
        await at.runner.jobs.cancel(job_id)
        assert (await at.done(job_id)).status is Status.CANCELLED
