"""Jobs over simulated cards: order, quality, commands, retries and what is heard."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.core.audio import bytes_from_pcm, pcm_from_bytes
from serve_app.core.fair import FairPool
from serve_app.core.job_share import ShareRules
from serve_app.core.job_status import Status
from serve_app.core.plan import plan
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.engines.base import SpeakTask
from serve_app.engines.simulated_code import segments_heard
from serve_app.engines.simulated_faults import FaultRule
from serve_app.errors import EngineError, InvalidInputError, NotFoundError, UnknownVoiceError
from serve_app.fanout import FanOut
from serve_app.pieces import FanOutRules, PartAudio
from serve_app.prepare import Ability, ScriptOrder, prepare
from tests.unit.fake_replicas import pieces_of
from tests.unit.job_scene import FAST, RULES, TEXT, Cards, scene, with_speaking

SLOW = replace(FAST, first_chunk_s=0.02, real_time_factor=0.01)


async def streamed(text: str) -> bytes:
    """The same script as a stream would sound."""
    cards = Cards([FAST])
    script = prepare(ScriptOrder(text, in_words=False), cards.info, Ability()).script
    voices = dict.fromkeys(script.speakers, "sim-1")
    planned = plan(script, voices=voices, revision=cards.info.revision)
    fan_out = FanOut(planned.segments, cards.speak, FairPool(1), FanOutRules(), voices=voices)
    stitcher = Stitcher(StitchRules(), {voice.id: voice.gain_db for voice in cards.info.voices})
    out: list[bytes] = []
    part = None
    async for piece in pieces_of(fan_out):
        if isinstance(piece, PartAudio):
            if piece.part is not part:
                part = piece.part
                stitcher.begin(part.before, part.pause_s)
            out.append(bytes_from_pcm(stitcher.feed(pcm_from_bytes(piece.chunk.pcm), "sim-1")))
        else:
            out.append(bytes_from_pcm(stitcher.end()))
    out.append(bytes_from_pcm(stitcher.finish(script.final_pause_s)))
    await cards.close()
    return b"".join(out)


def tags(audio: bytes) -> list[int]:
    """Segments heard whole, in order."""
    heard = segments_heard(np.frombuffer(audio, "<i2"))
    assert all(segment.complete for segment in heard)
    return [segment.tag for segment in heard]


async def test_a_job_is_the_same_audio_as_a_stream_and_each_segment_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job = await at.submit()
        view = await at.done(job)
        audio = await at.heard(job)
        segments = await at.runner.jobs.segments(job)
        assert (view.status, view.done, view.failed) == (Status.COMPLETE, view.segments, 0)
        assert len(at.cards.spoken) == view.segments
        assert tags(audio) == list(range(view.segments))
        heard = segments_heard(np.frombuffer(audio, "<i2"))
        for segment, found in zip(segments, heard, strict=True):
            assert segment.start_s is not None
            assert segment.end_s is not None
            assert segment.start_s * 24_000 - 1 <= found.start <= found.stop
            assert found.stop <= segment.end_s * 24_000 + 1
        assert audio == await streamed(TEXT)


async def test_who_listens_while_it_is_spoken_hears_the_same_bytes(tmp_path: Path) -> None:
    async with scene(tmp_path, [SLOW] * 2) as at:
        job = await at.submit()
        early = asyncio.create_task(at.heard(job))
        await at.until(job, lambda view: view.done >= 5)
        part = await at.heard(job, follow=False)
        await at.done(job)
        whole = await at.heard(job)
        assert await early == whole
        assert 0 < len(part) < len(whole)
        assert whole.startswith(part)


async def test_dispatch_is_in_order_and_no_further_than_the_look_ahead(tmp_path: Path) -> None:
    rules = replace(RULES, look_ahead_per_place=2)
    # Its twin, where a slow machine gives it one, hangs too: one of three cards is left.
    stuck = replace(FAST, faults=(FaultRule("hang", tag=1),))
    async with scene(tmp_path, [stuck] * 3, rules=rules) as at:
        sent: list[int] = []
        at.cards.on_task = lambda task: sent.append(task.tag)
        job = await at.submit()
        async with asyncio.timeout(20):
            while len(at.cards.spoken) < 6:
                await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0)
        assert sorted(set(sent)) == list(range(len(set(sent))))
        assert max(sent) == 2 * 3
        await at.runner.jobs.cancel(job)


async def test_two_jobs_take_turns(tmp_path: Path) -> None:
    rules = replace(RULES, look_ahead_per_place=20)
    async with scene(tmp_path, [replace(FAST, first_chunk_s=0.01)], rules=rules) as at:
        turns: list[str] = []
        at.cards.on_task = lambda task: turns.append(task.lines[0].voice)
        jobs = [await at.submit("\n\n".join([TEXT] * 4), voice=it) for it in ("sim-1", "sim-2")]
        async with asyncio.timeout(20):
            while turns.count("sim-2") < 8:
                await asyncio.sleep(0.01)
        for job in jobs:
            await at.runner.jobs.cancel(job)
        assert turns[turns.index("sim-2") :][:14] == ["sim-2", "sim-1"] * 7


async def test_pause_keeps_what_is_spoken_and_resume_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path, [SLOW] * 2) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.done >= 3)
        assert (await at.runner.jobs.pause(job)).status is Status.PAUSED
        async with asyncio.timeout(20):
            while at.cards.running:
                await asyncio.sleep(0.01)
        spoken = len(at.cards.spoken)
        for _ in range(20):
            await asyncio.sleep(0.005)
        view = await at.runner.jobs.get(job)
        assert (view.done, len(at.cards.spoken)) == (spoken, spoken)
        await at.runner.jobs.resume(job)
        view = await at.done(job)
        assert (view.status, len(at.cards.spoken)) == (Status.COMPLETE, view.segments)
        with pytest.raises(InvalidInputError, match="complete takes no 'pause'"):
            await at.runner.jobs.pause(job)


async def test_cancel_stops_every_card_at_once_and_then_it_can_be_forgotten(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, [replace(FAST, real_time_factor=100.0)] * 2) as at:
        job = await at.submit()
        async with asyncio.timeout(20):
            while at.cards.running < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(InvalidInputError, match="cancel it before"):
            await at.runner.jobs.forget(job)
        await at.runner.jobs.cancel(job)
        async with asyncio.timeout(20):
            while at.cards.running:
                await asyncio.sleep(0.01)
        await at.runner.jobs.forget(job)
        with pytest.raises(NotFoundError):
            await at.runner.jobs.get(job)
        assert not list((tmp_path / "jobs").glob("*"))


async def test_bad_takes_get_new_seeds_then_halves_and_doubts_are_listed(tmp_path: Path) -> None:
    faults = (
        FaultRule("bad_audio", text="number 2", takes=1),
        FaultRule("bad_audio", text="hoarse", audio="cut"),
    )
    async with scene(tmp_path, [replace(FAST, faults=faults)] * 2) as at:
        job = await at.submit(TEXT.replace("number 5 tells", "number 5 hoarsely tells"))
        view = await at.done(job)
        segments = await at.runner.jobs.segments(job)
        by_text = {n: next(s for s in segments if f"number {n} " in s.lines[0][1]) for n in (2, 5)}
        assert (by_text[2].bad_takes, by_text[2].findings) == (1, ())
        assert by_text[5].findings
        assert by_text[5].start_s is not None
        assert (view.status, view.doubtful) == (Status.COMPLETE, 1)
        assert len({task.seed for task in at.cards.spoken if "number 2 " in task.lines[0].text}) > 1


async def test_faults_repeat_the_same_take_and_change_nothing(tmp_path: Path) -> None:
    crash = FaultRule("crash", every=4)
    async with scene(tmp_path, [replace(FAST, faults=(crash,))] * 2) as at:
        job = await at.submit()
        view = await at.done(job)
        assert (view.status, view.retried > 0) == (Status.COMPLETE, True)
        assert await at.heard(job) == await streamed(TEXT)


async def test_a_segment_that_kills_every_card_fails_alone_and_can_be_changed(
    tmp_path: Path,
) -> None:
    poison = FaultRule("crash", text="number 4 tells")
    async with scene(tmp_path, [replace(FAST, faults=(poison,))] * 2) as at:
        job = await at.submit()
        view = await at.done(job)
        assert (view.status, view.failed, view.done) == (Status.FAILED, 1, view.segments - 1)
        (failed,) = [s for s in await at.runner.jobs.segments(job) if s.state == "failed"]
        assert "engine_crashed" in (failed.failure or "")
        assert tags(await at.heard_until_error(job)) == list(range(failed.number))
        await at.runner.jobs.retry(job, failed.number, text="Something harmless instead of it.")
        view = await at.until(job, lambda view: view.status is Status.COMPLETE)
        assert (view.edition, view.failed) == (0, 0)
        assert tags(await at.heard(job)) == list(range(view.segments))


async def test_a_retry_is_another_take_and_the_old_edition_stays(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job = await at.submit("Ann: One two three.\n\nBob: Four five six.\n\nAnn: Seven eight.")
        await at.done(job)
        old = await at.heard(job)
        with pytest.raises(UnknownVoiceError):
            await at.runner.jobs.retry(job, 0, voices={"Ann": "nobody"})
        view = await at.runner.jobs.retry(
            job,
            0,
            text="Bob: Quite another and much longer text is spoken here.",
            voices={"Bob": "sim-4"},
        )
        assert view.edition == 1
        await at.until(job, lambda view: view.status is Status.COMPLETE)
        new = await at.heard(job)
        assert await at.heard(job, edition=0) == old
        assert new != old
        assert at.cards.spoken[-1].lines[0].voice == "sim-4"
        (first, *_) = await at.runner.jobs.segments(job)
        assert first.lines[0] == ("Bob", "Quite another and much longer text is spoken here.")


async def test_the_same_key_and_order_are_the_same_job(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = await at.submit("Hello there.", idempotency_key="k")
        assert await at.submit("Hello there.", idempotency_key="k") == first
        with pytest.raises(InvalidInputError, match="another key"):
            await at.submit("Good bye.", idempotency_key="k")
        assert await at.submit("Hello there.") != first
        assert len(await at.runner.jobs.list()) == 2


async def test_events_go_on_where_a_listener_left(tmp_path: Path) -> None:
    async with scene(tmp_path, [SLOW]) as at:
        job = await at.submit()
        seen = []
        async with aclosing(at.runner.jobs.events(job)) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 4:
                    break
        assert seen[0].kind == "snapshot"
        async with aclosing(at.runner.jobs.events(job, seen[1].id)) as events:
            again = [await anext(events), await anext(events)]
        assert again == seen[2:4]
        async with aclosing(at.runner.jobs.events(job, "999-1")) as events:
            assert (await anext(events)).kind == "snapshot"
        await at.done(job)


async def test_a_listener_to_a_job_that_was_read_back_misses_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, rules=replace(RULES, loaded_jobs=0)) as at:
        job = await at.submit("One sentence.")
        await at.done(job)
        async with aclosing(at.runner.jobs.events(job)) as events:
            first = await anext(events)
        async with asyncio.timeout(20):
            while at.runner._shelf.loaded:
                await asyncio.sleep(0.01)
        await at.runner.jobs.retry(job, 0)
        await at.until(job, lambda view: view.status.ended)
        async with aclosing(at.runner.jobs.events(job, first.id)) as events:
            told = await anext(events)
        assert (told.kind, told.data["edition"]) == ("snapshot", 1)


async def test_a_laggard_is_spoken_twice_and_the_first_to_finish_counts(tmp_path: Path) -> None:
    hang = FaultRule("hang", tag=19, times=1)
    book = str(tmp_path / "faults")
    cards = [replace(SLOW, faults=(hang,), faults_dir=book)] * 2
    async with scene(tmp_path / "store", cards) as at:
        job = await at.submit()
        view = await at.done(job)
        assert (view.status, view.segments, view.retried) == (Status.COMPLETE, 20, 0)
        assert at.runner.flights.twins >= 1
        assert await at.heard(job) == await streamed(TEXT)
        assert at.cards.running == 0


async def test_jobs_leave_the_reserve_and_make_room_for_requests(tmp_path: Path) -> None:
    slow = replace(FAST, first_chunk_s=0.05, slots=2)
    async with scene(tmp_path, [slow] * 4, share=ShareRules(reserve_share=0.25)) as at:
        peak = 0

        def note(_task: object) -> None:
            nonlocal peak
            peak = max(peak, at.cards.running + 1)

        at.cards.on_task = note
        await at.done(await at.submit())
        assert peak > 6
        at.runner.report("ingress", 1)
        at.runner.report("ingress", 0)
        peak = 0
        await at.done(await at.submit(TEXT.replace("ship", "yacht")))
        assert peak == 6
        peak = 0
        at.runner.report("ingress", 5)
        await at.done(await at.submit(TEXT.replace("ship", "boat")))
        assert peak == 3
        at.runner.report("ingress", 0)
        at.runner.set_slots(4)
        peak = 0
        await at.done(await at.submit(TEXT.replace("ship", "raft")))
        assert peak == 3


async def test_nothing_is_asked_again_and_again_while_all_cards_fail(tmp_path: Path) -> None:
    dead = FaultRule("crash", times=30)
    book = str(tmp_path / "faults")
    rules = with_speaking(RULES, attempts=2)
    cards = [replace(FAST, faults=(dead,), faults_dir=book)] * 2
    async with scene(tmp_path / "store", cards, rules=rules) as at:
        job = await at.submit()
        waiting = await at.until(job, lambda view: view.status is Status.WAITING)
        assert "nothing else was spoken" in waiting.reason
        view = await at.done(job)
        assert (view.status, view.failed) == (Status.COMPLETE, 0)
        assert await at.heard(job) == await streamed(TEXT)


async def test_what_a_library_said_of_a_failure_stays_out_of_the_job(tmp_path: Path) -> None:
    def refuse(_task: SpeakTask) -> None:
        raise EngineError("no such file: /srv/models/secret.bin")

    async with scene(tmp_path, [FAST]) as at:
        at.cards.on_task = refuse
        job = await at.submit("One two three.")
        view = await at.until(job, lambda view: EngineError.code in view.reason)
        assert "secret" not in view.reason
