"""The ingress' copy of the library: young enough, never blocking, there without the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from serve_app.config import VoiceSettings
from serve_app.engines.base import EngineInfo, Voice
from serve_app.errors import ConfigError, NotReadyError
from serve_app.readiness import Readiness
from serve_app.voice_roster import LibraryReplicas, VoiceRoster, open_roster
from serve_app.voice_store import FolderStore
from serve_app.voices import VoiceLibrary
from tests.unit.voice_sounds import file_of, speech

SOUNDS = [file_of(speech(1.2, 24_000, seed, -20.0), 24_000, "WAV", "PCM_16") for seed in range(2)]
ENGINE = EngineInfo("vibevoice", "m", "r", (Voice("alice", "alice", ("en",)),), 7.5, ("en", "zh"))


class Scene:
    """A library, its roster and a clock that stands still until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 100.0
        self.library = VoiceLibrary(str(folder))
        self.roster = VoiceRoster(
            VoiceLibrary(str(folder)),
            fresh_s=2.0,
            stale_s=60.0,
            wait_s=0.1,
            clock=lambda: self.now_s,
        )

    def add(self, name: str, number: int) -> str:
        return self.library.add(name, SOUNDS[number], "CC0").id

    async def names(self) -> list[str]:
        return [voice.name for voice in await self.roster.voices()]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path / "voices")
    yield made
    await made.roster.close()


async def test_the_store_is_asked_again_when_the_copy_is_old(scene: Scene) -> None:
    assert await scene.names() == []
    scene.add("Ann", 0)
    scene.now_s += 1.9
    assert await scene.names() == []
    scene.now_s += 0.2
    assert await scene.names() == ["Ann"]
    scene.library.delete((await scene.roster.voices())[0].id)
    scene.now_s += 2.1
    assert await scene.names() == []


async def test_a_change_made_here_shows_at_once(scene: Scene) -> None:
    assert await scene.names() == []
    scene.add("Ann", 0)
    scene.roster.changed()
    assert await scene.names() == ["Ann"]


async def test_a_copy_begun_before_a_change_does_not_count(scene: Scene) -> None:
    begun, released = threading.Event(), threading.Event()
    stock = FolderStore.files

    def slow(store: FolderStore) -> Any:
        files = stock(store)
        begun.set()
        released.wait(30)
        return files

    with mock.patch.object(FolderStore, "files", slow):
        asked = asyncio.create_task(scene.names())
        await asyncio.to_thread(begun.wait)
    scene.add("Ann", 0)
    scene.roster.changed()
    released.set()
    assert await asked == ["Ann"]


async def test_many_who_ask_are_one_reading(scene: Scene) -> None:
    scene.add("Ann", 0)
    with mock.patch.object(
        VoiceLibrary, "list", autospec=True, side_effect=VoiceLibrary.list
    ) as listed:
        assert await asyncio.gather(*(scene.names() for _ in range(20))) == [["Ann"]] * 20
        assert listed.call_count == 1


async def test_a_store_that_fails_leaves_the_copy_until_it_is_stale(scene: Scene) -> None:
    scene.add("Ann", 0)
    assert await scene.names() == ["Ann"]
    with mock.patch.object(FolderStore, "files", side_effect=NotReadyError("the store failed")):
        scene.now_s += 59
        assert await scene.names() == ["Ann"]
        scene.now_s += 2
        with pytest.raises(NotReadyError, match="the store failed"):
            await scene.names()
    assert await scene.names() == ["Ann"]


async def test_a_store_that_hangs_delays_nobody_for_long(scene: Scene) -> None:
    scene.add("Ann", 0)
    assert await scene.names() == ["Ann"]
    scene.now_s += 3
    released = threading.Event()
    stock = FolderStore.files

    def hang(store: FolderStore) -> Any:
        released.wait(30)
        return stock(store)

    with mock.patch.object(FolderStore, "files", hang):
        assert await scene.names() == ["Ann"]  # waits for the reading, real time
        scene.now_s += 1
        assert await scene.names() == ["Ann"]  # the reading is overdue: at once
        scene.now_s += 60
        with pytest.raises(NotReadyError, match="slow"):
            await scene.names()
        released.set()
        scene.add("Ben", 1)
    async with asyncio.timeout(20):
        while True:
            with suppress(NotReadyError):  # until the reading that hung has ended
                if await scene.names() == ["Ann", "Ben"]:
                    break
            await asyncio.sleep(0.001)
            scene.now_s += 3


class OneEngine:
    """Replicas of one engine."""

    def __init__(self, info: EngineInfo) -> None:
        self.info = info

    async def engine(self) -> EngineInfo:
        return self.info

    async def readiness(self) -> Readiness:
        return Readiness(True, {})


async def test_engine_facts_name_the_library_s_voices_behind_its_own(scene: Scene) -> None:
    ids = [scene.add("Ann", 0), scene.add("Ben", 1)]
    seen = await LibraryReplicas(OneEngine(ENGINE), scene.roster).engine()
    assert [voice.id for voice in seen.voices] == ["alice", *ids]
    assert seen.voices[1] == Voice(ids[0], "Ann", ("en", "zh"))
    assert replace(seen, voices=ENGINE.voices) == ENGINE


async def test_an_engine_without_recordings_is_left_alone(scene: Scene) -> None:
    scene.add("Ann", 0)
    plain = replace(ENGINE, library_languages=())
    listed = LibraryReplicas(OneEngine(plain), scene.roster)
    assert await listed.engine() == plain
    assert (await listed.readiness()).ready


async def test_it_is_opened_where_the_settings_say(tmp_path: Path) -> None:
    assert open_roster(VoiceSettings()) is None
    roster = open_roster(VoiceSettings(path=str(tmp_path), max_voices=1))
    assert roster is not None
    roster.library.add("Ann", SOUNDS[0], "CC0")
    assert [voice.name for voice in await roster.voices()] == ["Ann"]
    await roster.close()
    with pytest.raises(ConfigError, match="voice folder"):
        open_roster(VoiceSettings(path="nothing://here"))
