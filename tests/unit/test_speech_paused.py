"""A request that was let in just before every card was paused is told so, and does not hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from serve_app.core.fair import FairPool
from serve_app.engines.base import SpeakTask
from serve_app.errors import AllPausedError
from serve_app.outcomes import Outcomes
from serve_app.pieces import TakeItem, Waiting
from serve_app.prepare import ScriptOrder
from serve_app.speech import SpeechOrder, SpeechService
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import ENGINE, SETTINGS

SCRIPT = ScriptOrder("Ann: Hello there, how are you today?", voice="alto")
ORDER = SpeechOrder(SCRIPT, "pcm", request_id="asked")


class Fleet:
    """A fleet that is paused when told to, and whose first segment waits until it is let go."""

    def __init__(self) -> None:
        self.paused, self.asked, self.go = False, asyncio.Event(), asyncio.Event()
        self.left = asyncio.Event()
        self.speech = SpeechService(
            SETTINGS.speech,
            speak=self.speak,
            pool=FairPool(1),
            outcomes=Outcomes(),
            admit=self.admit,
        )

    def admit(self) -> None:
        if self.paused:
            raise AllPausedError("all cards are paused", retry_after_s=7)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        yield Waiting()
        self.asked.set()
        try:
            await self.go.wait()
            async with aclosing(FakeReplicas().speak(task)) as items:
                async for item in items:
                    yield item
        finally:
            self.left.set()


async def test_a_request_that_no_card_has_taken_is_told_when_all_are_paused() -> None:
    fleet = Fleet()
    opening = asyncio.create_task(fleet.speech.open(ORDER, ENGINE))
    async with asyncio.timeout(10):
        await fleet.asked.wait()
        fleet.paused = True
        with pytest.raises(AllPausedError) as caught:
            await opening
        await fleet.left.wait()
    assert caught.value.retry_after_s == 7
    outcome = fleet.speech.outcomes.get("asked", "")
    assert outcome is not None
    assert (outcome.state, outcome.error) == ("failed", "all cards are paused")


async def test_a_request_that_a_card_speaks_goes_on() -> None:
    fleet = Fleet()
    opening = asyncio.create_task(fleet.speech.open(ORDER, ENGINE))
    async with asyncio.timeout(10):
        await fleet.asked.wait()
        fleet.go.set()
        stream = await opening
        fleet.paused = True
        async with aclosing(stream.body):
            assert b"".join([data async for data in stream.body])
    assert stream.outcome.state == "complete"
