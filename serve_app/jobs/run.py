"""One job at work: open segments go out in order, and what comes back is in the store first."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial

from serve_app.core.job_status import Signal, Status
from serve_app.core.plan import PlannedSegment
from serve_app.errors import NotReadyError, SegmentFailedError, ServeError
from serve_app.jobs.crew import Crew
from serve_app.jobs.live import LiveJob, WorkState
from serve_app.jobs.names import TakeName
from serve_app.jobs.recorder import Heard
from serve_app.jobs.speak import NothingWorksError, SegmentSpeaker
from serve_app.jobs.take_file import Header

logger = logging.getLogger(__name__)

_At = tuple[int, int]
_AT_WORK = frozenset({Status.RUNNING, Status.WAITING})


class JobRun:
    """A job while it is queued, running, waiting or about to pause; iterate :meth:`run` once.

    Args:
        live: The job.
        crew: What it shares with the others.
    """

    def __init__(self, live: LiveJob, crew: Crew) -> None:
        self._live, self._crew = live, crew
        self._tasks: dict[_At, asyncio.Task[None]] = {}
        self._hearing: set[_At] = set()
        self._storing: set[_At] = set()
        self._blocked: set[_At] = set()
        self._furthest = -1
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()

    def wake(self) -> None:
        """The job was changed from outside: look again, and wait for nothing."""
        self._hurry.set()
        self._hurry = asyncio.Event()
        self._changed.set()

    def drop(self, number: int) -> None:
        """What is being spoken for a segment is no longer wanted."""
        for (at, _), task in self._tasks.items():
            if at == number:
                task.cancel()

    def failed(self, error: BaseException) -> None:
        """The run is over because of *error*: the job waits for another one, and says why."""
        if self._live.job.status in _AT_WORK:
            why = error.message if isinstance(error, ServeError) else type(error).__name__
            self._live.signal(Signal.BLOCK, f"its run failed ({why}); another one begins soon")

    def work(self, places: int) -> WorkState:
        """What is going on."""
        flights = [f for f in self._crew.flights.of(self._live.id) if f.speaking]
        return WorkState(
            speaking=frozenset(flight.task.tag for flight in flights),
            replicas=tuple(sorted({name for flight in flights for name in flight.replicas})),
            places=places,
        )

    async def run(self) -> None:
        """Speak until the job has ended or is paused."""
        live = self._live
        try:
            while True:
                self._changed.clear()
                waits_for_nothing = live.job.status is Status.WAITING and not self._blocked
                if live.job.status is Status.QUEUED or waits_for_nothing:
                    live.signal(Signal.START)
                if live.job.status is Status.RUNNING:
                    self._fill()
                elif live.job.status is Status.PAUSED:
                    self._recall()
                with suppress(NotReadyError):  # the runner's tick tries again
                    await self._crew.save(live)
                ended = live.job.status.ended or live.job.status is Status.PAUSED
                if live.job.status is Status.CANCELLED or (ended and not self._tasks):
                    return
                await self._changed.wait()
                self._reap()
        finally:
            await self._stop()

    def _fill(self) -> None:
        """Send out open segments, in order, no further than the look-ahead."""
        ahead = self._crew.rules.look_ahead_per_place * max(1, self._crew.pool.usable)
        first: int | None = None
        for number, edition in self._live.job.open_segments():
            first = number if first is None else first
            if number >= first + ahead:
                return
            if (number, edition) not in self._tasks:
                again = number < self._furthest
                self._furthest = max(self._furthest, number)
                task = asyncio.create_task(self._segment(number, edition, again=again))
                self._tasks[number, edition] = task
                task.add_done_callback(lambda _task: self._changed.set())

    def _recall(self) -> None:
        """Call back what has no place yet; what is being spoken is kept when it is done."""
        speaking = self.work(0).speaking
        for at, task in self._tasks.items():
            if at[0] not in speaking and at not in self._hearing | self._storing:
                task.cancel()

    def _reap(self) -> None:
        done = [(at, task) for at, task in self._tasks.items() if task.done()]
        for at, task in done:
            del self._tasks[at]
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _segment(self, number: int, edition: int, *, again: bool) -> None:
        at = (number, edition)
        try:
            try:
                header, flac, card = await self._spoken(at, again=again)
            except ServeError as error:
                self._live.give_up(number, edition, error.message)
                return
            self._storing.add(at)
            name = await self._stored(at, header, flac)
        finally:
            self._storing.discard(at)
        self._live.keep(name, header.info, card)

    async def _spoken(self, at: _At, *, again: bool) -> tuple[Header, bytes, str | None]:
        """The segment's take, from the cache or from a card.

        Raises:
            ServeError: It can't be spoken.
        """
        planned = self._live.planned(*at)
        cached = await self._cached(planned.key)
        if cached is not None:
            return (*cached, None)
        waits = self._crew.rules.backoff()
        flights = self._crew.flights
        failed_at: int | None = None
        rounds = 0
        while True:
            speaker = SegmentSpeaker(
                flights,
                self._crew.rules.speaking,
                voices=self._live.voices(*at),
                options=self._live.options,
                owner=self._live.id,
                again=again and not rounds,
                listen=None if self._crew.judge is None else partial(self._judged, at),
            )
            try:
                spoken = await speaker.speak(planned)
                break
            except NothingWorksError as error:
                rounds += 1
                failed_at = flights.landed if failed_at is None else failed_at
                if rounds > self._crew.rules.blocked_rounds or flights.landed > failed_at:
                    raise SegmentFailedError(
                        f"Segment {at[0]} could not be spoken: {error}"
                    ) from error
                reason = str(error)
            except NotReadyError as error:
                reason = error.message
            await self._wait(at, reason, next(waits))
        self._storing.add(at)  # whatever happens to the job now, it is kept
        header, flac = await asyncio.to_thread(spoken.packed, planned.key)
        if spoken.unheard:
            self._live.warn(
                "Some segments could not be heard back, so that missing words may have gone "
                f"unnoticed: {spoken.unheard}."
            )
        elif not spoken.lacked_memory:
            await self._remember(header, flac)
        return header, flac, spoken.parts[0].card

    async def _judged(self, at: _At, heard: Heard, planned: PlannedSegment) -> Heard:
        """A take that the recogniser has heard back."""
        assert self._crew.judge is not None
        self._hearing.add(at)
        try:
            return await self._crew.judge.judged(heard, planned)
        finally:
            self._hearing.discard(at)

    async def _cached(self, key: str) -> tuple[Header, bytes] | None:
        """A take from the cache, under its own key again."""
        if self._crew.cache is None:
            return None
        try:
            found = await self._crew.io(self._crew.cache.get, await self._cache_key(key))
        except ServeError as error:
            logger.warning("the segment cache can't be read: %s", error)
            return None
        if found is None:
            return None
        header, flac = found
        return _under(header, key), flac

    async def _remember(self, header: Header, flac: bytes) -> None:
        """Put a good take into the cache; only what the key's own revision has spoken."""
        if self._crew.cache is None or header.info.revision != self._live.revision:
            return
        try:
            kept = _under(header, await self._cache_key(header.info.key))
            await self._crew.io(self._crew.cache.put, kept, flac)
        except ServeError as error:
            logger.warning("the segment cache can't be written: %s", error)

    async def _cache_key(self, key: str) -> str:
        return key if self._crew.judge is None else await self._crew.judge.cache_key(key)

    async def _stored(self, at: _At, header: Header, flac: bytes) -> TakeName:
        """Keep the take, however long the store fails: it is in memory until then.

        What has no place yet is called back, so that no more than what is in the air has to wait.
        """
        waits = self._crew.rules.backoff()
        keep, live = self._crew.store.keep, self._live
        try:
            while True:
                try:
                    return await self._crew.io(keep, live.id, *at, header, flac)
                except NotReadyError as error:
                    self._block(at, error.message)
                    self._recall()
                await self._sleep(next(waits))
        finally:
            self._unblock(at)

    async def _wait(self, at: _At, reason: str, wait_s: float) -> None:
        self._block(at, reason)
        try:
            await self._sleep(wait_s)
        finally:
            self._unblock(at)

    def _block(self, at: _At, reason: str) -> None:
        """The job waits, and says why."""
        self._blocked.add(at)
        if self._live.job.status in _AT_WORK:
            self._live.signal(Signal.BLOCK, reason)

    def _unblock(self, at: _At) -> None:
        """It goes on when nothing holds it up any more."""
        self._blocked.discard(at)
        if not self._blocked and self._live.job.status is Status.WAITING:
            self._live.signal(Signal.START)
            self._changed.set()

    async def _sleep(self, wait_s: float) -> None:
        """Wait, but no longer than until someone says that it is time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()


def _under(header: Header, key: str) -> Header:
    return replace(header, info=replace(header.info, key=key))
