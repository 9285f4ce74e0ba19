"""The voice library on a replica: found on first use, kept, and never in anyone's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

from serve_app.core.audio import Pcm
from serve_app.engines.base import Line, SpeakTask
from serve_app.engines.registry import create
from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_library import TEST_VOICE, LibraryVoices
from serve_app.errors import (
    EngineCrashedError,
    EngineError,
    NotReadyError,
    ServeError,
    UnknownVoiceError,
    VoiceAudioError,
)
from serve_app.replica import ReplicaIdentity, Speaker
from serve_app.voice_record import VoiceRecord
from serve_app.voice_store import FolderStore
from serve_app.voices import VoiceLibrary
from tests.contract.engine_cases import listen
from tests.tiny_vibevoice import checkpoint
from tests.unit.test_vibevoice_memory import Silent
from tests.unit.voice_sounds import file_of, speech

SOUNDS = [file_of(speech(1.3, 24_000, seed, -20.0), 24_000, "WAV", "PCM_16") for seed in range(3)]
UNKNOWN = "voice_" + "0" * 24


@pytest.fixture
def shelf(tmp_path: Path) -> VoiceLibrary:
    """As some other process sees the library."""
    return VoiceLibrary(str(tmp_path / "voices"))


def add(shelf: VoiceLibrary, number: int) -> VoiceRecord:
    return shelf.add(f"Voice {number}", SOUNDS[number], "CC0, spoken by nobody")


@pytest.fixture
def voices(tmp_path: Path) -> Iterator[LibraryVoices]:
    made = LibraryVoices(VoiceLibrary(str(tmp_path / "voices")))
    yield made
    made.close()


class TestVoices:
    async def test_one_that_came_later_is_read_once(
        self, shelf: VoiceLibrary, voices: LibraryVoices
    ) -> None:
        record = add(shelf, 0)
        with mock.patch.object(
            VoiceLibrary, "pcm", autospec=True, side_effect=VoiceLibrary.pcm
        ) as read:

            async def use() -> Pcm:
                async with voices.held([record.id, "a-voice-of-a-file"]):
                    return voices.pcm(record.id)

            heard = await asyncio.gather(*(use() for _ in range(8)))
            assert read.call_count == 1
        assert all(np.array_equal(pcm, shelf.pcm(record.id)) for pcm in heard)

    async def test_a_deleted_one_stays_with_those_that_have_it(
        self, shelf: VoiceLibrary, tmp_path: Path
    ) -> None:
        record = add(shelf, 0)
        voices = LibraryVoices(VoiceLibrary(str(tmp_path / "voices")), kept_bytes=0)
        async with voices.held([record.id]):
            shelf.delete(record.id)
            async with voices.held([record.id]):
                pass
            assert len(voices.pcm(record.id)) > 0
        with pytest.raises(UnknownVoiceError, match=record.id):
            async with voices.held([record.id]):
                pass
        voices.close()

    async def test_what_is_kept_is_bounded(self, shelf: VoiceLibrary, tmp_path: Path) -> None:
        records = [add(shelf, number) for number in range(3)]
        most = max(shelf.pcm(record.id).nbytes for record in records)
        voices = LibraryVoices(VoiceLibrary(str(tmp_path / "voices")), kept_bytes=2 * most)
        for record in records:
            async with voices.held([record.id]):
                pass
        with mock.patch.object(FolderStore, "read", side_effect=NotReadyError("gone")):
            async with voices.held([records[1].id, records[2].id]):
                pass
            with pytest.raises(EngineError, match="gone"):
                async with voices.held([records[0].id]):
                    pass
        voices.close()

    async def test_a_store_that_hangs_costs_its_time_and_no_more(
        self, shelf: VoiceLibrary, tmp_path: Path
    ) -> None:
        record = add(shelf, 0)
        voices = LibraryVoices(VoiceLibrary(str(tmp_path / "voices")), timeout_s=0.05)
        released = threading.Event()

        def hang(*_: Any) -> None:
            released.wait(30)
            raise NotReadyError("late")

        with mock.patch.object(FolderStore, "files", hang):
            with pytest.raises(EngineError, match=r"0\.05 s"):
                async with voices.held([record.id]):
                    pass
            released.set()
        voices.close()
        with pytest.raises(EngineCrashedError):
            async with voices.held([record.id]):
                pass

    async def test_close_refuses_who_waits(self, shelf: VoiceLibrary, tmp_path: Path) -> None:
        records = [add(shelf, 0), add(shelf, 1)]
        voices = LibraryVoices(VoiceLibrary(str(tmp_path / "voices")))
        begun, released = threading.Event(), threading.Event()
        stock = FolderStore.files

        def slow(store: FolderStore) -> Any:
            begun.set()
            released.wait(30)
            return stock(store)

        async def use(voice: str) -> str:
            async with voices.held([voice]):
                return voice

        with mock.patch.object(FolderStore, "files", slow):
            uses = [asyncio.create_task(use(record.id)) for record in records]
            await asyncio.to_thread(begun.wait)
            voices.close()
            released.set()
            first, second = await asyncio.gather(*uses, return_exceptions=True)
        assert first == records[0].id
        assert isinstance(second, EngineCrashedError)


class TestEngine:
    @pytest.fixture
    def engine(self, tmp_path: Path) -> VibeVoiceEngine:
        made = create(
            "vibevoice",
            {
                "model": str(checkpoint()),
                "library": str(tmp_path / "voices"),
                "device": "cpu",
                "slots": 2,
                "steps": 4,
                "threads": 1,
            },
        )
        assert isinstance(made, VibeVoiceEngine)
        return made

    @staticmethod
    def task(voice: str) -> SpeakTask:
        return SpeakTask("task", (Line("Ada", voice, "Hello there."),), seed=3, est_s=2.0)

    async def test_it_warms_up_without_any_voice(self, engine: VibeVoiceEngine) -> None:
        assert engine.info.voices == ()
        assert engine.info.library_languages == ("en", "zh")
        assert engine.info.test_voice == TEST_VOICE
        identity = ReplicaIdentity("r", "n", None, simulated=False)
        speaker = Speaker(engine, identity, Silent(), Silent())
        await speaker.warm_up()
        await speaker.close()

    async def test_a_voice_that_came_later_speaks_as_its_recording_would(
        self, engine: VibeVoiceEngine, shelf: VoiceLibrary, tmp_path: Path
    ) -> None:
        revision = engine.info.revision
        records = [add(shelf, number) for number in range(2)]
        heard = [await listen(engine, self.task(record.id)) for record in records]
        assert heard[0].pcm != heard[1].pcm
        assert engine.info.revision == revision
        (tmp_path / "voice.wav").write_bytes(SOUNDS[0])
        fixed = create(
            "vibevoice",
            {
                "model": str(checkpoint()),
                "voices": {"one": str(tmp_path / "voice.wav")},
                "device": "cpu",
                "slots": 1,
                "steps": 4,
            },
        )
        assert (await listen(fixed, self.task("one"))).pcm == heard[0].pcm
        await fixed.close()
        await engine.close()

    async def test_bad_voices_are_named_and_the_engine_goes_on(
        self, engine: VibeVoiceEngine, shelf: VoiceLibrary, tmp_path: Path
    ) -> None:
        good, damaged = add(shelf, 0), add(shelf, 1)
        (audio,) = (tmp_path / "voices").glob(f"{damaged.id}.*.flac")
        audio.write_bytes(bytes(damaged.audio_bytes))
        for voice, error, why in (
            (UNKNOWN, UnknownVoiceError, UNKNOWN),
            ("nobody", UnknownVoiceError, "nobody"),
            (damaged.id, ServeError, "damaged"),
        ):
            with pytest.raises(error, match=why):
                await listen(engine, self.task(voice))
        for sound, coding, why in (
            (np.full(48_000, np.nan, np.float32), "FLOAT", "not finite"),
            (speech(600.0, 8_000, 1, -20.0), "PCM_16", "600 s long"),
        ):
            with pytest.raises(VoiceAudioError, match=why):
                shelf.add("bad", file_of(sound, 8_000, "WAV", coding), "CC0")
        stereo = np.stack([speech(2.0, 24_000, seed, -20.0) for seed in (5, 6)], axis=1)
        mixed = shelf.add("mixed", file_of(stereo, 24_000, "WAV", "PCM_16"), "CC0")
        for record in (good, mixed):
            assert (await listen(engine, self.task(record.id))).ends
        await engine.close()

    async def test_a_store_that_is_gone_asks_for_another_try(
        self, engine: VibeVoiceEngine, shelf: VoiceLibrary
    ) -> None:
        record = add(shelf, 0)
        with (
            mock.patch.object(FolderStore, "files", side_effect=NotReadyError("gone")),
            pytest.raises(EngineError, match="gone"),
        ):
            await listen(engine, self.task(record.id))
        assert (await listen(engine, self.task(record.id))).ends
        await engine.close()
