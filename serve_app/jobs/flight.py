"""Takes in the air: each on a place of its own, the slowest on a second one when places idle.

A take that lags far behind the pace of the others (a card that hangs, throttles or is lost) is
spoken a second time beside itself. Both are the same task, so they give the same bytes; the first
to finish counts and the other is cancelled. A take that keeps its pace gets no twin: it would
finish first anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass, replace

from serve_app.core.audio import BYTES_PER_S
from serve_app.core.fair import FairPool
from serve_app.core.job_pace import Pace, remaining_s
from serve_app.core.plan import PlannedSegment
from serve_app.core.trail import trail
from serve_app.engines.base import Chunk, SpeakTask
from serve_app.errors import (
    BadAudioError,
    EngineError,
    ServeError,
)
from serve_app.jobs.recorder import Heard, Recorder
from serve_app.pieces import FanOutRules, Speak, SpeechReport, Started, TakeItem
from serve_app.takes import runaway_bytes, timed

logger = logging.getLogger(__name__)

_BLOCK_S = 4.0
_TWIN_FACTOR, _TWIN_SLACK_S = 1.2, 0.2


@dataclass(slots=True)
class _Progress:
    """How one try at a take is going, by the clock."""

    started_s: float | None = None
    last_s: float = 0.0
    heard_bytes: int = 0
    replica: str = ""
    revision: str = ""


class Flight:
    """One take of one part.

    Args:
        planned: What is spoken.
        task: The same as the engine gets it.
        owner: Whose turn it takes in the pool.
        again: It goes before the owner's other segments.
    """

    def __init__(
        self, planned: PlannedSegment, task: SpeakTask, owner: Hashable, *, again: bool
    ) -> None:
        self.planned, self.task, self.owner, self.again = planned, task, owner, again
        self.tries: list[_Progress] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.alive = 0
        self.outcomes: asyncio.Queue[Heard | ServeError] = asyncio.Queue()

    @property
    def speaking(self) -> bool:
        """It has a place on a replica."""
        return any(progress.started_s is not None for progress in self.tries)

    @property
    def replicas(self) -> list[str]:
        """Who speaks it."""
        return [progress.replica for progress in self.tries if progress.replica]


class Flights:
    """All takes in the air.

    Args:
        speak: Speaks one task somewhere.
        pool: Places of all jobs.
        rules: Time-outs.
    """

    def __init__(self, speak: Speak, pool: FairPool, rules: FanOutRules) -> None:
        self._speak, self._pool, self._rules = speak, pool, rules
        self._clock: Callable[[], float] = rules.clock
        self._flying: dict[Flight, None] = {}
        self._landing: set[Flight] = set()
        self.pace = Pace()
        self.landed = 0
        self.twins = 0

    def of(self, owner: Hashable) -> list[Flight]:
        """An owner's takes in the air, and those that have landed but are not handed over yet."""
        found = (*self._flying, *self._landing)
        return [flight for flight in found if flight.owner == owner]

    async def fly(self, flight: Flight) -> Heard:
        """Speak a take; returns with all of it.

        Raises:
            BadAudioError: The engine could make no proper signal of it, or ran on.
            EngineError: A fault; the same take can be tried again.
            NotReadyError: No replica had a slot for it in time.
        """
        self._flying[flight] = None
        self._try(flight)
        try:
            while True:
                outcome = await flight.outcomes.get()
                flight.alive -= 1
                if isinstance(outcome, Heard):
                    self.landed += 1
                    self.pace.learn(flight.task.est_s, outcome.wall_s)
                    return outcome
                if not flight.alive:
                    raise outcome
        finally:
            del self._flying[flight]  # so that it gets no twin any more
            self._landing.add(flight)
            try:
                for task in flight.tasks:
                    task.cancel()
                await asyncio.gather(*flight.tasks, return_exceptions=True)
            finally:
                self._landing.discard(flight)

    def help_the_slowest(self) -> None:
        """Give idle places to the takes that lag most, one each; call it now and then."""
        lagging = sorted(
            ((self._lag(flight), number) for number, flight in enumerate(self._flying)),
            reverse=True,
        )
        flights = list(self._flying)
        for lag, number in lagging[: self._pool.idle]:
            if lag > 0:
                self.twins += 1
                self._try(flights[number])

    def _lag(self, flight: Flight) -> float:
        """By how much a second try would be sooner, in seconds; 0 or less if it would not."""
        if len(flight.tries) != 1 or flight.tries[0].started_s is None:
            return 0.0
        expected_s = self.pace.expected_s(flight.task.est_s)
        if expected_s is None:
            return 0.0
        progress, now = flight.tries[0], self._clock()
        left_s = remaining_s(
            elapsed_s=now - (progress.started_s or now),
            quiet_s=now - progress.last_s,
            heard_s=progress.heard_bytes / BYTES_PER_S,
            est_s=flight.task.est_s,
            expected_s=expected_s,
        )
        return left_s - (_TWIN_FACTOR * expected_s + _TWIN_SLACK_S)

    def _try(self, flight: Flight) -> None:
        progress = _Progress()
        flight.tries.append(progress)
        flight.alive += 1
        flight.tasks.append(asyncio.create_task(self._one(flight, progress)))

    async def _one(self, flight: Flight, progress: _Progress) -> None:
        outcome: Heard | ServeError
        try:
            queued_s = self._clock()
            async with self._pool.place(flight.owner, first=flight.again):
                outcome = await self._listen(flight, progress, self._clock() - queued_s)
        except ServeError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - whoever waits for the take must hear of a bug
            outcome = EngineError(f"{type(error).__name__} while a segment was spoken")
            logger.error("a segment of a job met a bug: %s", trail(error))  # noqa: TRY400
        flight.outcomes.put_nowait(outcome)

    async def _listen(self, flight: Flight, progress: _Progress, waited_s: float) -> Heard:
        recorder = await asyncio.to_thread(Recorder, flight.planned)
        try:
            task = replace(flight.task, waited_s=waited_s)
            report = await self._record(recorder, task, progress)
            return await asyncio.to_thread(
                recorder.close,
                report.end.finish,
                wall_s=self._clock() - (progress.started_s or self._clock()),
                replica=report.record.replica,
                card=report.record.card_uuid,
                revision=progress.revision,
            )
        except BaseException:
            # Its thread may still be at work; waiting for it must not hold up a cancelled task.
            asyncio.get_running_loop().run_in_executor(None, recorder.abort)
            raise

    async def _record(
        self, recorder: Recorder, task: SpeakTask, progress: _Progress
    ) -> SpeechReport:
        limit_bytes = runaway_bytes(task.est_s)
        held: list[Chunk] = []
        noted_bytes = 0
        report: SpeechReport | None = None
        async with aclosing(timed(self._speak, task, self._rules)) as items:
            async for item in items:
                self._note(progress, item)
                if isinstance(item, SpeechReport):
                    report = item
                elif isinstance(item, Chunk):
                    held.append(item)
                    if progress.heard_bytes > limit_bytes:
                        heard_s = progress.heard_bytes / BYTES_PER_S
                        raise BadAudioError(f"segment {task.tag} ran on for {heard_s:.0f} s")
                    if progress.heard_bytes - noted_bytes >= _BLOCK_S * BYTES_PER_S:
                        noted_bytes = progress.heard_bytes
                        await asyncio.to_thread(recorder.add, held)
                        held = []
        if report is None:
            raise EngineError(f"segment {task.tag}: the stream ended without a report")
        await asyncio.to_thread(recorder.add, held)
        return report

    def _note(self, progress: _Progress, item: TakeItem) -> None:
        progress.last_s = self._clock()
        if isinstance(item, Started):
            progress.started_s = progress.last_s
            progress.replica, progress.revision = item.replica, item.revision
        elif isinstance(item, Chunk):
            progress.heard_bytes += len(item.pcm)
