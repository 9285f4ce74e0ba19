"""Takes in the air, up to the moment at which they are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count

from serve_app.core.fair import FairPool
from serve_app.core.plan import plan_segments
from serve_app.core.script import parse
from serve_app.engines.base import SpeakTask
from serve_app.jobs.flight import Flight, Flights
from serve_app.pieces import FanOutRules, TakeItem
from serve_app.takes import lines_of
from tests.unit.job_scene import FAST, Cards

VOICES = {"Narrator": "sim-1"}


async def test_a_take_that_has_landed_is_in_the_air_until_it_is_handed_over() -> None:
    cards, tries, released = Cards([FAST]), count(), asyncio.Event()

    async def speak(task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        if next(tries):  # the twin, which takes its time to go
            try:
                await asyncio.Event().wait()
            finally:
                await released.wait()
        async with aclosing(cards.speak(task)) as items:
            async for item in items:
                yield item

    (planned,) = plan_segments(parse("One two three."), voices=VOICES, revision="r")
    task = SpeakTask(
        key=planned.key,
        lines=lines_of(planned.segment, VOICES),
        seed=1,
        est_s=planned.segment.est_s,
    )
    flight = Flight(planned, task, "job", again=False)
    flights = Flights(speak, FairPool(2), FanOutRules())
    flying = asyncio.create_task(flights.fly(flight))
    async with asyncio.timeout(20):
        while not flight.tries:
            await asyncio.sleep(0)
        flights._try(flight)
        while not flights.landed:
            await asyncio.sleep(0.001)
        assert not flying.done()
        assert flights.of("job") == [flight]
        flights.help_the_slowest()
        assert len(flight.tasks) == 2
        released.set()
        heard = await flying
    assert heard.info.kept
    assert flights.of("job") == []
    await cards.close()
