"""The VibeVoice engine where the shared contract says nothing: limits, memory, bad input."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile
import torch
from safetensors.torch import load_file, save_file

from serve_app.core.audio import bytes_from_pcm, finite_to_pcm
from serve_app.engines import vibevoice
from serve_app.engines.base import Chunk, Line, SpeakTask, SpeechEnd
from serve_app.engines.registry import create
from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_codec import FrameCodec
from serve_app.engines.vibevoice_frame import Device
from serve_app.engines.vibevoice_loop import Batch
from serve_app.errors import (
    BadAudioError,
    ConfigError,
    EmptyInputError,
    EngineCrashedError,
    EngineError,
    EngineTimeoutError,
    InputTooLongError,
    InvalidInputError,
    TooManySpeakersError,
)
from tests.contract.engine_cases import Heard, listen, speak
from tests.tiny_vibevoice import ArrayVoices, checkpoint, voice
from tests.vibevoice_engine import stock_tiny, tiny, tiny_engine
from tests.vibevoice_runs import Segment, distance, stock


def task(number: int, text: str = "Hello there.", voice_id: str = "v1") -> SpeakTask:
    return SpeakTask(f"task-{number}", (Line("Ada", voice_id, text),), seed=number, est_s=2.0)


@pytest.fixture
async def engine() -> AsyncIterator[VibeVoiceEngine]:
    made = tiny_engine(4)
    yield made
    await made.close()


async def test_its_samples_are_those_of_generate(engine: VibeVoiceEngine) -> None:
    lines = (Line("Ada", "v1", "Who is there?"), Line("Ben", "v2", "Only the rain."))
    spoken = await listen(engine, SpeakTask("", lines, seed=7, est_s=2.0))
    reference = stock(stock_tiny(), Segment(lines, budget=60, seed=7), ArrayVoices().voices)
    theirs = np.frombuffer(bytes_from_pcm(finite_to_pcm(reference)), np.int16).astype(int)
    ours = np.frombuffer(spoken.pcm, np.int16).astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.01


async def test_the_engine_reads_cfg_scale_and_steps(engine: VibeVoiceEngine) -> None:
    plain = await listen(engine, task(1))
    same = replace(task(1), options=(("cfg_scale", 1.3), ("steps", 4.0)))
    assert (await listen(engine, same)).pcm == plain.pcm
    for name, value in (("cfg_scale", 2.0), ("steps", 5.0)):
        assert (await listen(engine, replace(task(1), options=((name, value),)))).pcm != plain.pcm
    for name, bad in (("cfg_scale", -1.0), ("steps", 0.0), ("cfg_scale", float("nan"))):
        with pytest.raises(InvalidInputError, match=name):
            await listen(engine, replace(task(1), options=((name, bad),)))


class TestEnds:
    async def test_stop_gives_what_was_counted(self, engine: VibeVoiceEngine) -> None:
        heard = await listen(engine, task(1))
        (end,) = heard.ends
        assert (end.finish, end.output_frames * 6400) == ("stop", len(heard.pcm))
        assert end.input_tokens > len("Hello there.")

    async def test_the_estimate_bounds_the_tokens(self) -> None:
        rules = replace(tiny().rules, decay=None)
        engine = VibeVoiceEngine(replace(tiny(), rules=rules), ArrayVoices(), slots=1, steps=4)
        heard = await listen(engine, replace(task(1), est_s=0.1))
        await engine.close()
        assert heard.ends == (SpeechEnd("length", heard.ends[0].input_tokens, 32),)

    async def test_the_bound_changes_no_sample(self, engine: VibeVoiceEngine) -> None:
        short = await listen(engine, replace(task(1), est_s=1.0))
        assert (await listen(engine, replace(task(1), est_s=30.0))).pcm == short.pcm

    async def test_no_audio_at_all_is_an_error(self) -> None:
        rules = tiny().rules
        ending = [1e6 if token in rules.stops else 0.0 for token in rules.legal]
        loaded = replace(tiny(), rules=replace(rules, bias=tuple(ending)))
        engine = VibeVoiceEngine(loaded, ArrayVoices(), slots=1, steps=4)
        for _ in range(2):
            with pytest.raises(BadAudioError, match="without a frame"):
                await listen(engine, task(1))
        await engine.close()

    async def test_samples_that_are_no_numbers_harm_one(self, engine: VibeVoiceEngine) -> None:
        alone = [await listen(engine, task(number)) for number in range(3)]
        stock_sound = Batch.sound
        struck: list[object] = []

        def sound(batch: Batch) -> Any:
            given = stock_sound(batch)
            if len(given) == 3 and not struck:
                samples = given[1].samples
                assert samples is not None
                struck.append(samples)
                samples[5] = np.nan
            return given

        with mock.patch.object(Batch, "sound", sound):
            heard = await _all(engine, [task(number) for number in range(3)])
        assert isinstance(heard[1], BadAudioError)
        assert [heard[0].pcm, heard[2].pcm] == [alone[0].pcm, alone[2].pcm]

    async def test_a_state_that_is_no_number_is_no_end(self, engine: VibeVoiceEngine) -> None:
        """It harms one segment, and nobody who comes into its slot or moves there."""
        alone = [await listen(engine, task(number)) for number in range(5)]
        stock_think = Device.think
        struck: list[int] = []

        def think(self: Device, places: list[int]) -> None:
            stock_think(self, places)
            if len(places) == 8 and not struck:
                struck.append(places[2])
                self._hidden[2:4] = torch.nan
                for buffer in (*self._kv.keys, *self._kv.values):
                    buffer[2:4] = torch.nan

        with mock.patch.object(Device, "think", think):
            heard = await _all(engine, [task(number) for number in range(5)])
        assert struck
        assert [number for number, one in enumerate(heard) if isinstance(one, Exception)] == [1]
        assert isinstance(heard[1], BadAudioError)
        others = (0, 2, 3, 4)
        assert [heard[number].pcm for number in others] == [alone[number].pcm for number in others]
        slots = engine._thread._batch._device._kv
        with torch.inference_mode():
            for buffer in (*slots.keys, *slots.values):
                buffer[:] = torch.nan
        again = await _all(engine, [task(number) for number in range(2)])
        assert [one.pcm for one in again] == [one.pcm for one in alone[:2]]


async def _all(engine: VibeVoiceEngine, tasks: list[SpeakTask]) -> list[Any]:
    return await asyncio.gather(*(listen(engine, one) for one in tasks), return_exceptions=True)


async def test_cancelling_some_leaves_the_others_as_they_are(engine: VibeVoiceEngine) -> None:
    alone = [await listen(engine, task(number)) for number in range(4)]

    async def leave_after(number: int, chunks: int) -> None:
        async with speak(engine, task(number)) as items:
            for _ in range(chunks):
                await anext(items)

    heard = await asyncio.gather(
        leave_after(0, 2), listen(engine, task(1)), leave_after(2, 5), listen(engine, task(3))
    )
    kept = [item for item in heard if isinstance(item, Heard)]
    assert [item.pcm for item in kept] == [alone[1].pcm, alone[3].pcm]
    assert not engine._thread._batch.rows


async def test_segments_leave_nothing_behind(engine: VibeVoiceEngine) -> None:
    """What is kept on purpose has a bound, which the first ones reach."""
    pairs = list(itertools.permutations(("v1", "v2", "v3", "v4"), 2))

    async def spoken(numbers: range) -> Counter[type]:
        for first in numbers[::4]:
            some = [
                replace(task(at), lines=tuple(Line(v, v, "So.") for v in pairs[at % 4]), est_s=0.5)
                for at in range(first, first + 4)
            ]
            assert not [one for one in await _all(engine, some) if isinstance(one, Exception)]
        gc.collect()
        kinds = Counter(type(one) for one in gc.get_objects())
        ours = ("serve_app", "torch", "asyncio", "_asyncio")
        return Counter({kind: n for kind, n in kinds.items() if _package(kind) in ours})

    before = await spoken(range(8))
    grown = await spoken(range(8, 24)) - before
    assert {kind: count for kind, count in grown.items() if count >= 8} == {}


def _package(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


class TestRefusals:
    @pytest.mark.parametrize("text", ["", " \n\t "])
    async def test_nothing_to_say(self, text: str, engine: VibeVoiceEngine) -> None:
        with pytest.raises(EmptyInputError):
            await listen(engine, task(1, text))

    async def test_five_speakers(self, engine: VibeVoiceEngine) -> None:
        lines = tuple(Line(name, "v1", "Hello.") for name in "ABCDE")
        with pytest.raises(TooManySpeakersError, match="A, B, C, D, E"):
            await listen(engine, replace(task(1), lines=lines))
        assert (await listen(engine, task(1))).ends

    async def test_more_than_the_context(self, engine: VibeVoiceEngine) -> None:
        with pytest.raises(InputTooLongError, match="8192"):
            await listen(engine, task(1, "word " * 1700))
        assert (await listen(engine, task(1))).ends


class TestThread:
    async def test_a_frame_that_fails_ends_its_segments(self, engine: VibeVoiceEngine) -> None:
        alone = await listen(engine, task(1))
        with mock.patch.object(Batch, "think", side_effect=RuntimeError("planted")):
            heard = await _all(engine, [task(1), task(2)])
        assert [type(item) for item in heard] == [EngineCrashedError] * 2
        assert (await listen(engine, task(1))).pcm == alone.pcm

    async def test_health_fails_with_what_synthesis_uses(self, engine: VibeVoiceEngine) -> None:
        await engine.health()
        with (
            mock.patch.object(FrameCodec, "_block", side_effect=RuntimeError("planted")),
            pytest.raises(EngineError, match="planted"),
        ):
            await engine.health()
        await engine.health()

    @pytest.mark.parametrize("makes_shapes", [False, True])
    async def test_a_thread_that_hangs_is_not_one_that_compiles(self, makes_shapes: bool) -> None:
        engine = VibeVoiceEngine(
            replace(tiny(), compiled=makes_shapes), ArrayVoices(), slots=1, steps=4
        )
        entered, go_on = threading.Event(), threading.Event()
        stock_think = Batch.think

        def think(batch: Batch) -> None:
            entered.set()
            assert go_on.wait(30)
            stock_think(batch)

        with (
            mock.patch.object(Batch, "think", think),
            mock.patch.object(vibevoice, "HEALTH_TIMEOUT_S", 0.01),
        ):
            speaking = asyncio.create_task(listen(engine, task(1)))
            await asyncio.to_thread(entered.wait)
            if makes_shapes:
                await engine.health()
            else:
                with pytest.raises(EngineTimeoutError):
                    await engine.health()
            go_on.set()
            assert (await speaking).ends
        await engine.close()

    async def test_health_in_mid_way_changes_nothing(self, engine: VibeVoiceEngine) -> None:
        alone = await listen(engine, task(1))
        heard = bytearray()
        async with speak(engine, task(1)) as items:
            async for item in items:
                await engine.health()
                heard += item.pcm if isinstance(item, Chunk) else b""
        assert bytes(heard) == alone.pcm

    async def test_the_loop_runs_in_one_thread_of_its_own(self, engine: VibeVoiceEngine) -> None:
        seen: set[str] = set()
        stock_think = Batch.think

        def think(batch: Batch) -> None:
            seen.add(threading.current_thread().name)
            stock_think(batch)

        with mock.patch.object(Batch, "think", think):
            await _all(engine, [task(1), task(2)])
        assert seen == {"vibevoice"}


class TestCreate:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        recordings = {}
        for number in range(1, 3):
            path = tmp_path / f"voice-{number}.wav"
            soundfile.write(path, voice(number), 24_000)
            recordings[f"voice-{number}"] = str(path)
        return {
            "model": str(checkpoint()),
            "voices": recordings,
            "device": "cpu",
            "slots": 2,
            "steps": 4,
            "threads": 1,
        }

    async def test_from_a_folder(self, options: dict[str, Any]) -> None:
        engine = create("vibevoice", options)
        assert [known.id for known in engine.info.voices] == ["voice-1", "voice-2"]
        heard = await listen(engine, task(1, voice_id="voice-1"))
        await engine.close()
        assert heard.ends[0].finish == "stop"

    def test_another_voice_is_another_revision(self, options: dict[str, Any]) -> None:
        before = create("vibevoice", options).info.revision
        soundfile.write(options["voices"]["voice-1"], voice(9), 24_000)
        assert create("vibevoice", options).info.revision != before

    def test_a_missing_model_names_the_command(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=r"hf download \S+ --revision COMMIT .*/no/where"):
            create("vibevoice", {**options, "model": "/no/where"})
        hub = {**options, "model": "some/name", "revision": "abc123"}
        with pytest.raises(ConfigError, match="hf download some/name --revision abc123"):
            create("vibevoice", hub)

    @pytest.mark.parametrize(
        ("damage", "why"),
        [
            ("cut", "hf download"),
            ("lost", "lacks .* weights.*hf download"),
            ("config", "hf download"),
            ("nan diffusion_head", "no numbers"),
            ("nan language_model", "no numbers"),
            ("nan lm_head", "no numbers"),
        ],
    )
    def test_a_corrupt_checkpoint(
        self, damage: str, why: str, options: dict[str, Any], tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        for path in checkpoint().iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        weights = folder / "model.safetensors"
        kept = load_file(weights)
        part = damage.removeprefix("nan ") if damage.startswith("nan ") else "diffusion_head"
        name = next(key for key in kept if part in key)
        if damage == "cut":
            weights.write_bytes(weights.read_bytes()[:-1000])
        elif damage == "config":
            (folder / "config.json").write_text('{"model_type":', encoding="utf-8")
        elif damage == "lost":
            del kept[name]
            save_file(kept, weights, metadata={"format": "pt"})
        else:
            kept[name][:] = torch.nan
            save_file(kept, weights, metadata={"format": "pt"})
        with pytest.raises(ConfigError, match=why):
            create("vibevoice", {**options, "model": str(folder)})

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"voices": {}}, "no voices"),
            ({"static_cache_s": 0}, "static_cache_s"),
            ({"library": "nothing://here"}, "voice folder"),
            ({"steps": 0}, "steps"),
            ({"dtype": "int3"}, "dtype"),
            ({"colour": "red"}, "colour"),
            ({"slots": 0}, "0 slots"),
            ({"threads": 0}, "threads"),
        ],
    )
    def test_wrong_options(self, change: dict[str, Any], why: str, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=why):
            create("vibevoice", {**options, **change})


def test_distance_sees_a_missing_frame() -> None:
    samples = voice(1)
    assert distance([samples], [samples]) == 0
    assert distance([samples[:-1]], [samples]) == float("inf")
