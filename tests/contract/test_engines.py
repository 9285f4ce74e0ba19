"""The contract of serve_app.engines.base, held by every engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core.audio import BYTES_PER_S, pcm_from_bytes
from serve_app.core.quality import QualityMeter
from serve_app.engines.base import Chunk, Engine, Line, SpeechEnd
from serve_app.errors import EngineError, UnknownVoiceError, UnsupportedTextError
from tests.contract.engine_cases import CASES, Case, digests, listen, speak

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    if chosen.needs is not None:
        pytest.importorskip(chosen.needs)
    return chosen


@pytest.fixture
async def engine(case: Case) -> AsyncIterator[Engine]:
    made = case.make(1)
    yield made
    await made.close()


async def test_facts_are_complete(case: Case, engine: Engine) -> None:
    assert isinstance(engine, Engine)
    info = engine.info
    assert info.name == case.name
    assert info.revision == case.make(3).info.revision != ""
    assert len({voice.id for voice in info.voices}) == len(info.voices) == 4
    assert len({voice.name for voice in info.voices}) == 4
    assert all(voice.languages and abs(voice.gain_db) <= 20 for voice in info.voices)
    assert info.tokens_per_s > 0


class TestSameTaskSameBytes:
    async def test_whatever_was_spoken_before(self, case: Case, engine: Engine) -> None:
        fresh = await listen(engine, case.short[0])
        for task in case.short[1:]:
            await listen(engine, task)
        assert (await listen(engine, case.short[0])).pcm == fresh.pcm != b""

    async def test_whoever_speaks_beside(self, case: Case, engine: Engine) -> None:
        alone = [(await listen(engine, task)).pcm for task in case.short]
        engine.set_slots(3)
        together = await asyncio.gather(*(listen(engine, task) for task in case.short * 2))
        assert [heard.pcm for heard in together] == alone * 2

    async def test_in_another_process(self, case: Case) -> None:
        command = [sys.executable, "-m", "tests.contract.engine_cases", case.name]
        other = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert other.stdout.split() == await digests(case)

    async def test_and_another_seed_other_bytes(self, case: Case, engine: Engine) -> None:
        task = case.short[0]
        first = await listen(engine, task)
        second = await listen(engine, replace(task, seed=task.seed + 1))
        assert first.pcm != second.pcm

    async def test_whatever_key_tag_apart_the_task_has(self, case: Case, engine: Engine) -> None:
        task = case.short[1]
        renamed = replace(task, key="other", waited_s=9.0)
        assert (await listen(engine, renamed)).pcm == (await listen(engine, task)).pcm


class TestChunks:
    async def test_any_size_joins_to_the_same_bytes(self, case: Case, engine: Engine) -> None:
        task = case.short[1]
        sizes = (1e-9, 0.0101, 0.2, 7.0) if case.name == "simulated" else (0.0101, 0.2, 7.0)
        heard = [await listen(engine, replace(task, chunk_s=size)) for size in sizes]
        assert len({sha256(item.pcm).digest() for item in heard}) == 1

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(chunk_s=st.floats(0.0005, 20), est_s=st.floats(0.01, 9))
    def test_simulated_chunks_of_any_size(self, chunk_s: float, est_s: float) -> None:
        async def both() -> None:
            simulated = CASES[0]
            engine = simulated.make(1)
            task = replace(simulated.short[0], est_s=est_s)
            whole = await listen(engine, replace(task, chunk_s=1000.0))
            parts = await listen(engine, replace(task, chunk_s=chunk_s))
            assert len(whole.chunks) == 1
            assert parts.pcm == whole.pcm
            await engine.close()

        asyncio.run(both())

    async def test_none_is_empty_odd_or_too_long(self, case: Case, engine: Engine) -> None:
        for chunk_s in (0.05, 0.3):
            heard = await listen(engine, replace(case.short[0], chunk_s=chunk_s))
            assert all(len(c.pcm) % 2 == 0 for c in heard.chunks)
            assert all(0 < len(c.pcm) <= chunk_s * BYTES_PER_S for c in heard.chunks)

    async def test_a_voice_named_is_one_of_the_lines(self, case: Case, engine: Engine) -> None:
        for task in case.short:
            voices = {line.voice for line in task.lines}
            heard = {chunk.voice for chunk in (await listen(engine, task)).chunks}
            assert heard <= voices | {None}
            assert heard == voices or len(voices) > 1

    async def test_what_they_hold_passes_for_speech(self, case: Case, engine: Engine) -> None:
        for task in case.short:
            heard = await listen(engine, task)
            meter = QualityMeter()
            meter.feed(pcm_from_bytes(heard.pcm))
            est_s = len(heard.pcm) / BYTES_PER_S
            pauses_s = sum(line.pause_s for line in task.lines)
            verdict = meter.verdict(est_s, heard.ends[0].finish, pauses_s)
            assert verdict.ok, str(verdict)


async def test_a_stream_ends_with_exactly_one_end(case: Case, engine: Engine) -> None:
    for task in case.short:
        heard = await listen(engine, task)
        (end,) = heard.ends
        assert heard.last_is_end
        assert end.finish == "stop"
        assert end.input_tokens > 0
        assert end.output_frames > 0


class TestSlots:
    async def test_more_callers_wait_in_line(self, case: Case, engine: Engine) -> None:
        order: list[int] = []

        async def caller(number: int) -> None:
            await listen(engine, case.short[number % 3])
            order.append(number)

        async with speak(engine, case.short[0]) as running:
            assert isinstance(await anext(running), Chunk)
            callers = [asyncio.create_task(caller(number)) for number in range(5)]
            await self._as_long_as_one_takes(case)
            assert order == []
        await asyncio.gather(*callers)
        assert order == list(range(5))

    async def test_closing_a_stream_frees_its_slot(self, case: Case, engine: Engine) -> None:
        async with speak(engine, case.long) as items:
            await anext(items)
        assert (await listen(engine, case.short[0])).ends

    async def test_cancelling_its_task_frees_its_slot(self, case: Case, engine: Engine) -> None:
        begun = asyncio.Event()

        async def caller() -> None:
            async with speak(engine, case.long) as items:
                async for _ in items:
                    begun.set()
                    await asyncio.sleep(0)

        task = asyncio.create_task(caller())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await listen(engine, case.short[0])).ends

    async def test_leaving_the_line_takes_no_slot(self, case: Case, engine: Engine) -> None:
        async with speak(engine, case.short[0]) as running:
            await anext(running)
            leaver = asyncio.create_task(listen(engine, case.short[1]))
            stayer = asyncio.create_task(listen(engine, case.short[2]))
            await asyncio.sleep(0)
            leaver.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaver
        assert (await stayer).ends
        assert (await listen(engine, case.short[0])).ends

    async def test_more_slots_let_the_next_in_at_once(self, case: Case, engine: Engine) -> None:
        async with speak(engine, case.short[0]) as running:
            await anext(running)
            waiting = asyncio.create_task(listen(engine, case.short[1]))
            await asyncio.sleep(0)
            engine.set_slots(2)
            assert engine.slots == 2
            assert (await waiting).ends

    async def test_fewer_slots_hold_for_the_next(self, case: Case, engine: Engine) -> None:
        engine.set_slots(2)
        async with speak(engine, case.short[0]) as first:
            await anext(first)
            async with speak(engine, case.short[1]) as second:
                await anext(second)
                engine.set_slots(1)
                assert engine.slots == 1
            waiting = asyncio.create_task(listen(engine, case.short[2]))
            await self._as_long_as_one_takes(case)
            assert not waiting.done()
        assert (await waiting).ends

    @pytest.mark.parametrize("slots", [0, -1])
    async def test_none_is_refused(self, engine: Engine, slots: int) -> None:
        with pytest.raises(ValueError, match=str(slots)):
            engine.set_slots(slots)
        assert engine.slots == 1

    @staticmethod
    async def _as_long_as_one_takes(case: Case) -> None:
        """Time enough for a caller that is not held back: two tasks on another engine."""
        other = case.make(1)
        for task in case.short[:2]:
            await listen(other, task)
        await other.close()


class TestRefusals:
    async def test_an_unknown_voice(self, case: Case, engine: Engine) -> None:
        lines = (Line("Eve", "nobody", "Hello."),)
        with pytest.raises(UnknownVoiceError, match="nobody"):
            engine.check(lines)
        with pytest.raises(UnknownVoiceError, match="Eve"):
            await listen(engine, replace(case.short[0], lines=lines))
        assert (await listen(engine, case.short[0])).ends

    async def test_text_without_sounds(self, case: Case, engine: Engine) -> None:
        voice = engine.info.voices[0].id
        if case.unspeakable is None:
            engine.check((Line("Eve", voice, "你好, Привет, hello"),))
            return
        lines = (Line("Ada", voice, "Hello."), Line("Eve", voice, case.unspeakable))
        with pytest.raises(UnsupportedTextError, match="Eve"):
            engine.check(lines)
        with pytest.raises(UnsupportedTextError, match="你 好"):
            await listen(engine, replace(case.short[0], lines=lines))
        assert (await listen(engine, case.short[0])).ends


class TestHealth:
    async def test_a_working_engine_is_well(self, case: Case, engine: Engine) -> None:
        await engine.health()
        await listen(engine, case.short[0])
        await engine.health()

    async def test_it_does_not_wait_in_line(self, case: Case, engine: Engine) -> None:
        async with speak(engine, case.long) as running:
            await anext(running)
            await engine.health()

    async def test_a_closed_engine_is_not(self, engine: Engine) -> None:
        await engine.close()
        with pytest.raises(EngineError):
            await engine.health()


class TestClose:
    async def test_twice_and_at_once(self, case: Case, engine: Engine) -> None:
        await listen(engine, case.short[0])
        await asyncio.gather(engine.close(), engine.close())
        await engine.close()

    async def test_ends_running_and_waiting_streams(self, case: Case, engine: Engine) -> None:
        async with speak(engine, case.long) as running:
            await anext(running)
            waiting = asyncio.create_task(listen(engine, case.short[0]))
            await asyncio.sleep(0)
            await engine.close()
            with pytest.raises(EngineError):
                await waiting
            with pytest.raises(EngineError):
                while not isinstance(await anext(running), SpeechEnd):
                    pass
        with pytest.raises(EngineError):
            await listen(engine, case.short[0])

    async def test_leaves_no_threads(self, case: Case) -> None:
        before = set(threading.enumerate())
        engine = case.make(2)
        async with speak(engine, case.long) as running:
            await anext(running)
            await listen(engine, case.short[0])
            await engine.health()
            await engine.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
            assert not thread.is_alive(), thread.name


async def test_pcm_is_whole_and_finite_speech(case: Case, engine: Engine) -> None:
    pcm = pcm_from_bytes((await listen(engine, case.short[0])).pcm)
    assert np.abs(pcm.astype(int)).max() > 1000
    assert abs(float(pcm.mean())) < 50
