"""A runner of jobs over simulated cards in this process, and a store that fails on demand."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.job_share import ShareRules
from serve_app.engines.base import EngineInfo, SpeakTask
from serve_app.engines.simulated import SimulatedEngine, SimulatedOptions
from serve_app.errors import EngineCrashedError, SegmentFailedError
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.crew import JobRules
from serve_app.jobs.files import Finish
from serve_app.jobs.finish_work import FinishAnswer, FinishOrder, answer
from serve_app.jobs.folder import Folder
from serve_app.jobs.hearing import Ear
from serve_app.jobs.judge import Judge
from serve_app.jobs.order import JobOrder
from serve_app.jobs.runner import JobRunner
from serve_app.jobs.views import JobView
from serve_app.pieces import FanOutRules, TakeItem
from serve_app.replica import ReplicaIdentity, ReplicaInfo, Speaker
from telemetry.speech_metrics import NoSynthesisHook

TEXT = "\n\n".join(
    f"Paragraph number {n} tells a short story about a ship. It sails on, and on, and on. "
    f"Nobody knew where it went; {n} people asked. The harbour kept quiet all the while."
    for n in range(10)
)
RULES = JobRules(
    speaking=FanOutRules(assign_timeout_s=20, first_chunk_timeout_s=20, chunk_timeout_s=20),
    backoff_s=0.01,
    max_backoff_s=0.05,
    tick_s=0.02,
)
FAST = SimulatedOptions(slots=1, first_chunk_s=0.0, real_time_factor=0.0)


class NoNode(NoSynthesisHook):
    """A node that keeps no book."""

    def load(self, busy: int, slots: int) -> None:
        """Nobody asks."""


@dataclass
class Card:
    """One simulated card.

    Args:
        speaker: Its engine.
        slots: Places on it.
    """

    speaker: Speaker
    slots: asyncio.Semaphore
    lost: bool = False


class Cards:
    """Simulated cards behind one ``speak``: a free one takes the next task, as a router does."""

    def __init__(self, options: Sequence[SimulatedOptions]) -> None:
        self.spoken: list[SpeakTask] = []
        self.running = 0
        self.on_task: Callable[[SpeakTask], None] = lambda _task: None
        self._cards = [self._card(number, one) for number, one in enumerate(options)]
        self._free = asyncio.Condition()
        self._width = sum(one.slots for one in options)

    @property
    def slots(self) -> int:
        return self._width

    @property
    def info(self) -> EngineInfo:
        return self._cards[0].speaker.info.engine

    async def engine(self) -> EngineInfo:
        return self.info

    def describe(self) -> ReplicaInfo:
        return self._cards[0].speaker.info

    async def lose(self, number: int) -> None:
        """A card is gone for good, with what it was speaking."""
        self._cards[number].lost = True
        await self._cards[number].speaker.close()

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        self.on_task(task)
        card = await self._take()
        self.running += 1
        try:
            async with aclosing(card.speaker.speak(task)) as items:
                async for item in items:
                    yield item
            self.spoken.append(task)
        finally:
            self.running -= 1
            card.slots.release()
            async with self._free:
                self._free.notify_all()

    async def close(self) -> None:
        for card in self._cards:
            await card.speaker.close()

    async def _take(self) -> Card:
        async with self._free:
            while True:
                for card in self._cards:
                    if not card.lost and not card.slots.locked():
                        await card.slots.acquire()
                        return card
                if all(card.lost for card in self._cards):
                    raise EngineCrashedError("all cards are lost")
                await self._free.wait()

    @staticmethod
    def _card(number: int, options: SimulatedOptions) -> Card:
        identity = ReplicaIdentity(f"r{number}", "n", f"card-{number}", simulated=True)
        speaker = Speaker(SimulatedEngine(options), identity, NoNode(), NoSynthesisHook())
        return Card(speaker, asyncio.Semaphore(options.slots))


class FailingFolder(Folder):
    """A folder on a disk that is full, or gone, as long as *failing* says so.

    Args:
        url: As of a folder.
        failing: Asked with the path of each file to be written.
        error: What the backend raises then.
    """

    def __init__(
        self,
        url: str,
        failing: Callable[[str], bool] = lambda _path: False,
        error: Exception | None = None,
    ) -> None:
        super().__init__(url)
        self.failing = failing
        self.error = error or OSError(errno.ENOSPC, "No space left on device")

    def _put(self, path: str, data: bytes) -> None:
        if self.failing(path):
            super()._put(path, data[: len(data) // 2])
            raise self.error
        super()._put(path, data)


@dataclass
class Scene:
    """A runner at work.

    Args:
        runner: Ready.
        cards: That it speaks with.
        folder: Of its store.
    """

    runner: JobRunner
    cards: Cards
    folder: Folder
    lookups: list[bool] = field(default_factory=list)

    async def submit(self, text: str = TEXT, **order: Any) -> str:
        """Figures stay as they are, so that tests find them in what is spoken."""
        return (await self.runner.jobs.submit(JobOrder(text, **{"in_words": False, **order}))).id

    async def until(self, job_id: str, true: Callable[[JobView], bool]) -> JobView:
        """Wait for a job to be as wanted, by its events."""
        async with asyncio.timeout(60), aclosing(self.runner.jobs.events(job_id)) as events:
            async for _ in events:
                view = await self.runner.jobs.get(job_id)
                if true(view):
                    return view
        raise AssertionError("the events ended")

    async def done(self, job_id: str) -> JobView:
        return await self.until(job_id, lambda view: view.status.ended)

    async def heard(self, job_id: str, **options: Any) -> bytes:
        return b"".join([block async for block in self.runner.jobs.audio(job_id, **options)])

    async def heard_until_error(self, job_id: str) -> bytes:
        """What can be heard before the stream says that it can't go on."""
        audio = bytearray()
        with pytest.raises(SegmentFailedError):
            async for block in self.runner.jobs.audio(job_id):
                audio += block
        return bytes(audio)


async def finish_here(order: FinishOrder) -> FinishAnswer:
    """Make a finished file in a thread of this process, which is sooner there than another one."""
    return await asyncio.to_thread(answer, order)


def with_speaking(rules: JobRules, **changes: Any) -> JobRules:
    return replace(rules, speaking=replace(rules.speaking, **changes))


@asynccontextmanager
async def scene(
    path: Path | Folder,
    options: Sequence[SimulatedOptions] = (FAST,) * 3,
    *,
    rules: JobRules = RULES,
    cache_bytes: int | None = None,
    share: ShareRules | None = None,
    finish: Finish | None = None,
    ear: Ear | None = None,
    lease_ttl_s: float = 10.0,
) -> AsyncIterator[Scene]:
    """A runner that owns its store, until the block ends.

    *finish* makes finished files; *ear* hears takes back.
    """
    cards = Cards(options)
    folder = path if isinstance(path, Folder) else Folder(str(path))
    lookups: list[bool] = []
    cache = None if cache_bytes is None else SegmentCache(folder, cache_bytes, lookups.append)
    runner = JobRunner(
        folder,
        speak=cards.speak,
        engine=cards.engine,
        slots=cards.slots,
        rules=rules,
        share=share or ShareRules(reserve_share=0.0),
        cache=cache,
        finish=finish,
        judge=None if ear is None else Judge(ear),
        lease_ttl_s=lease_ttl_s,
    )
    await runner.start()
    try:
        async with asyncio.timeout(20):
            await runner.ready()
        yield Scene(runner, cards, folder, lookups)
    finally:
        await runner.close()
        await cards.close()


def is_take(path: str) -> bool:
    """Whether a file that is being written is a take of a job."""
    return "/takes/" in path
