"""The simulated engine's time, length and faults; no test of it takes time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.audio import SAMPLE_RATE_HZ, pcm_from_bytes
from serve_app.core.plan import seed_of
from serve_app.core.quality import QualityMeter, Reason, Verdict
from serve_app.engines.base import Chunk, Line, SpeakTask, SpeechEnd
from serve_app.engines.simulated import EXIT_CODE, SimulatedEngine, SimulatedOptions
from serve_app.engines.simulated_code import segments_heard
from serve_app.engines.simulated_faults import FaultRule
from serve_app.engines.simulated_sound import FRAME_SAMPLES
from serve_app.errors import EngineCrashedError, EngineMemoryError, ServeError

TASK = SpeakTask(
    key="k", lines=(Line("Ada", "sim-1", "One two three."),), seed=1, est_s=4.0, chunk_s=0.5, tag=6
)


class FakeTime:
    """A clock that moves only when someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.sleeps = 0

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps += 1
        self.now_s += seconds
        await asyncio.sleep(0)


def engine_of(time: FakeTime | None = None, **options: Any) -> SimulatedEngine:
    time = time or FakeTime()
    return SimulatedEngine(SimulatedOptions(**options), clock=time.clock, sleep=time.sleep)


async def listen(engine: SimulatedEngine, task: SpeakTask) -> tuple[bytes, SpeechEnd]:
    parts: list[bytes] = []
    async with aclosing(engine.speak(task)) as items:
        async for item in items:
            if isinstance(item, SpeechEnd):
                return b"".join(parts), item
            parts.append(item.pcm)
    raise AssertionError("no end")


class TestTime:
    @settings(deadline=None)
    @given(
        first_chunk_s=st.floats(0, 2),
        real_time_factor=st.floats(0, 2),
        est_s=st.floats(0.2, 20),
        chunk_s=st.floats(0.05, 5),
    )
    def test_chunks_leave_when_they_are_due(
        self, first_chunk_s: float, real_time_factor: float, est_s: float, chunk_s: float
    ) -> None:
        async def scene() -> None:
            time = FakeTime()
            engine = engine_of(time, first_chunk_s=first_chunk_s, real_time_factor=real_time_factor)
            audio_s = 0.0
            async for item in engine.speak(replace(TASK, est_s=est_s, chunk_s=chunk_s)):
                due_s = 1000.0 + first_chunk_s + real_time_factor * audio_s
                assert time.now_s == pytest.approx(due_s, abs=1e-9)
                if isinstance(item, Chunk):
                    audio_s += len(item.pcm) / 2 / SAMPLE_RATE_HZ
            await engine.close()

        asyncio.run(scene())

    async def test_a_slow_caller_is_not_kept_waiting_on_top(self) -> None:
        time = FakeTime()
        engine = engine_of(time, first_chunk_s=0.5, real_time_factor=0.1)
        async with aclosing(engine.speak(TASK)) as items:
            await anext(items)
            time.now_s += 100
            sleeps = time.sleeps
            assert len([item async for item in items]) == 8
        assert time.sleeps == sleeps
        await engine.close()

    async def test_no_time_is_no_sleep(self) -> None:
        time = FakeTime()
        engine = engine_of(time, first_chunk_s=0, real_time_factor=0)
        await listen(engine, TASK)
        assert time.sleeps == 0
        await engine.close()

    async def test_jitter_is_bounded_and_comes_from_key_and_seed(self) -> None:
        async def wall_s(task: SpeakTask, jitter: float) -> float:
            time = FakeTime()
            engine = engine_of(time, first_chunk_s=1.0, real_time_factor=0.5, jitter=jitter)
            await listen(engine, task)
            await engine.close()
            return time.now_s - 1000

        plain = await wall_s(TASK, 0.0)
        varied = [await wall_s(replace(TASK, seed=seed), 0.2) for seed in range(20)]
        assert varied == [await wall_s(replace(TASK, seed=seed), 0.2) for seed in range(20)]
        assert len(set(varied)) == 20
        assert all(0.8 * plain <= wall <= 1.2 * plain for wall in varied)


class TestAudio:
    @settings(deadline=None)
    @given(est_s=st.floats(0.1, 60), tag=st.integers(0, 0xFFFF))
    def test_length_is_the_estimate_in_frames_and_the_tag_is_heard(
        self, est_s: float, tag: int
    ) -> None:
        async def scene() -> None:
            engine = engine_of(first_chunk_s=0, real_time_factor=0)
            data, end = await listen(engine, replace(TASK, est_s=est_s, tag=tag, chunk_s=1.7))
            assert end.output_frames == max(1, round(est_s * 7.5))
            assert len(data) == 2 * FRAME_SAMPLES * end.output_frames
            (heard,) = segments_heard(pcm_from_bytes(data))
            assert (heard.tag, heard.complete) == (tag, True)
            await engine.close()

        asyncio.run(scene())

    async def test_length_jitter_comes_from_the_text_and_changes_the_revision(self) -> None:
        engine = engine_of(first_chunk_s=0, real_time_factor=0, length_jitter=0.3)
        texts = [replace(TASK, lines=(Line("Ada", "sim-1", "word " * n),)) for n in range(1, 20)]
        lengths = [len((await listen(engine, task))[0]) for task in texts]
        reseeded = [len((await listen(engine, replace(task, seed=99)))[0]) for task in texts]
        assert lengths == reseeded
        assert len(set(lengths)) > 5
        assert all(0.7 * 4 - 0.1 <= length / 48_000 <= 1.3 * 4 + 0.1 for length in lengths)
        assert engine.info.revision != engine_of().info.revision
        await engine.close()

    async def test_more_than_it_can_count_is_cut_and_says_so(self) -> None:
        engine = engine_of(first_chunk_s=0, real_time_factor=0)
        async for item in engine.speak(replace(TASK, est_s=11_000.0, chunk_s=600.0)):
            if isinstance(item, SpeechEnd):
                assert item.finish == "length"
        await engine.close()


class TestFaults:
    @pytest.fixture
    async def make(self) -> AsyncIterator[Callable[..., SimulatedEngine]]:
        made: list[SimulatedEngine] = []

        def make(*rules: FaultRule, faults_dir: str | None = None) -> SimulatedEngine:
            engine = engine_of(
                first_chunk_s=0, real_time_factor=0, faults=rules, faults_dir=faults_dir
            )
            made.append(engine)
            return engine

        yield make
        for engine in made:
            await engine.close()

    @pytest.mark.parametrize(
        ("kind", "error"), [("crash", EngineCrashedError), ("oom", EngineMemoryError)]
    )
    async def test_errors_come_after_the_audio_asked_for_and_free_the_slot(
        self, make: Callable[..., SimulatedEngine], kind: Any, error: type[ServeError]
    ) -> None:
        engine = make(FaultRule(kind, tag=6, after_s=1.2))
        engine.set_slots(1)
        chunks = 0
        with pytest.raises(error, match="6"):
            async for _ in engine.speak(TASK):
                chunks += 1
        assert chunks == 2
        await listen(engine, replace(TASK, tag=7))
        await engine.health()

    async def test_a_fault_at_or_behind_the_end_leaves_all_audio_but_no_end(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        for after_s in (4.0, 99.0):
            heard: list[Chunk | SpeechEnd] = []
            with pytest.raises(EngineCrashedError):
                async for item in make(FaultRule("crash", after_s=after_s)).speak(TASK):
                    heard.append(item)  # noqa: PERF401 - what came before the error counts
            assert len(heard) == 8
            assert all(isinstance(item, Chunk) for item in heard)

    async def test_a_hang_ends_with_its_caller_or_the_engine(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        engine = make(FaultRule("hang", tag=6))
        engine.set_slots(1)
        hanging = asyncio.create_task(listen(engine, TASK))
        behind = asyncio.create_task(listen(engine, replace(TASK, tag=7)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not hanging.done()
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        await behind
        hanging = asyncio.create_task(listen(engine, TASK))
        for _ in range(20):
            await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineCrashedError, match="closed"):
            await hanging

    async def test_close_ends_a_stream_that_sleeps(self) -> None:
        never = asyncio.Event()

        async def sleep(_seconds: float) -> None:
            await never.wait()

        engine = SimulatedEngine(SimulatedOptions(), sleep=sleep)
        sleeping = asyncio.create_task(listen(engine, TASK))
        for _ in range(20):
            await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineCrashedError, match="closed"):
            await sleeping

    @pytest.mark.parametrize(
        ("audio", "reason"), [("silence", Reason.SILENT), ("cut", Reason.CUT_OFF)]
    )
    async def test_bad_audio_is_found_bad(
        self, make: Callable[..., SimulatedEngine], audio: Any, reason: Reason
    ) -> None:
        healthy, _ = await listen(make(), TASK)
        engine = make(FaultRule("bad_audio", audio=audio))
        data, end = await listen(engine, TASK)
        assert reason in self._verdict(data, end).reasons
        assert self._verdict(healthy, end).ok
        parts, _ = await listen(engine, replace(TASK, chunk_s=0.013))
        assert parts == data

    async def test_a_new_take_heals_on_every_engine(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        rule = FaultRule("bad_audio", takes=2)
        bad: list[bool] = []
        for take in range(4):
            task = replace(TASK, seed=seed_of(TASK.key, take))
            data, end = await listen(make(rule), task)
            bad.append(not self._verdict(data, end).ok)
        assert bad == [True, True, False, False]

    async def test_conditions_hold_together(self, make: Callable[..., SimulatedEngine]) -> None:
        engine = make(FaultRule("crash", tag=6, text="two"))
        await listen(engine, replace(TASK, tag=5))
        await listen(engine, replace(TASK, lines=(Line("Ada", "sim-1", "Four."),)))
        with pytest.raises(EngineCrashedError):
            await listen(engine, TASK)

    async def test_a_share_is_drawn_from_key_and_seed(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        async def struck(engine: SimulatedEngine) -> list[bool]:
            tasks = [replace(TASK, key=f"k{n}", seed=n // 2, est_s=0.2) for n in range(200)]
            return [not await self._survives(engine, task) for task in tasks]

        rule = FaultRule("oom", share=0.3)
        first = await struck(make(rule))
        assert first == await struck(make(rule))
        assert 35 <= sum(first) <= 85
        assert not any(await struck(make(FaultRule("oom", share=0.0))))

    async def test_every_third_and_at_most_twice(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        engine = make(FaultRule("crash", every=3, times=2))
        survived = [await self._survives(engine, TASK) for _ in range(12)]
        assert [n for n, well in enumerate(survived) if not well] == [2, 5]

    async def test_the_first_rule_that_strikes_wins(
        self, make: Callable[..., SimulatedEngine]
    ) -> None:
        engine = make(FaultRule("crash", times=1), FaultRule("oom"))
        with pytest.raises(EngineCrashedError):
            await listen(engine, TASK)
        with pytest.raises(EngineMemoryError):
            await listen(engine, TASK)

    async def test_a_directory_counts_for_all_engines(
        self, make: Callable[..., SimulatedEngine], tmp_path: Path
    ) -> None:
        rules = (FaultRule("crash", times=2), FaultRule("oom", times=1))
        engines = [make(*rules, faults_dir=str(tmp_path / "faults")) for _ in range(3)]
        survived = [await self._survives(engine, TASK) for engine in engines * 2]
        assert survived == [False, False, False, True, True, True]

    async def test_exit_ends_the_process(self, tmp_path: Path) -> None:
        program = f"""
import asyncio
from serve_app.engines.simulated import create
from tests.unit.test_simulated import TASK, listen

options = {{
    "first_chunk_s": 0,
    "real_time_factor": 0,
    "faults": [{{"kind": "exit", "times": 1}}],
    "faults_dir": {str(tmp_path)!r},
}}
asyncio.run(listen(create(options), TASK))
print("alive")
"""
        root = Path(__file__).parents[2]
        runs = [
            await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", program],
                cwd=root,
                capture_output=True,
                text=True,
                check=False,
            )
            for _ in range(2)
        ]
        assert [(run.returncode, run.stdout) for run in runs] == [(EXIT_CODE, ""), (0, "alive\n")]

    @pytest.mark.parametrize("wrong", [{"share": 1.5}, {"every": 0}, {"after_s": -1.0}])
    def test_rules_out_of_range_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FaultRule("crash", **wrong)

    @staticmethod
    async def _survives(engine: SimulatedEngine, task: SpeakTask) -> bool:
        try:
            await listen(engine, task)
        except (EngineCrashedError, EngineMemoryError):
            return False
        return True

    @staticmethod
    def _verdict(data: bytes, end: SpeechEnd) -> Verdict:
        meter = QualityMeter()
        meter.feed(pcm_from_bytes(data))
        return meter.verdict(TASK.est_s, end.finish)


@pytest.mark.parametrize(
    "wrong", [{"first_chunk_s": -1.0}, {"real_time_factor": -0.1}, {"jitter": 1.0}, {"slots": 0}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        engine_of(**wrong)
