"""One segment of a job: spoken, judged, spoken again, split; the best take is kept.

The rules are those of a stream (see ``takes``), so that a job and a stream of the same script are
the same audio: a fault repeats the same seed, a bad take the next one, then the segment is split.
But nobody listens yet, so no take is let out early; and where a stream would end, a job keeps the
best take that it has heard, and says that it is doubtful. Where a recogniser hears takes back, one
may be bad that a stream would let out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final

from serve_app.core.plan import PlannedSegment, replan_halves, seed_of
from serve_app.engines.base import SpeakTask
from serve_app.errors import (
    BadAudioError,
    EngineError,
    EngineMemoryError,
    SegmentFailedError,
    ServeError,
)
from serve_app.jobs.flight import Flight, Flights
from serve_app.jobs.recorder import Heard, Spoken, rank
from serve_app.pieces import FanOutRules
from serve_app.takes import MAX_SPLITS, lines_of, why_of

_TEXT_SHOWN: Final = 80

Options = tuple[tuple[str, float], ...]
Listen = Callable[[Heard, PlannedSegment], Awaitable[Heard]]
"""A take of a part with what a recogniser says of it."""


class NothingWorksError(Exception):
    """A segment failed again and again while no other one was spoken: perhaps no fault of its."""


class SegmentSpeaker:
    """Speaks one planned segment for a job.

    Args:
        flights: Takes in the air.
        rules: How often what is tried.
        voices: Voice by speaker.
        options: Engine options.
        owner: Whose turn it takes.
        again: It goes before the owner's other segments.
        listen: Hears each complete take back; None where nobody does.
    """

    def __init__(
        self,
        flights: Flights,
        rules: FanOutRules,
        *,
        voices: Mapping[str, str],
        options: Options,
        owner: Hashable,
        again: bool,
        listen: Listen | None = None,
    ) -> None:
        self._flights, self._rules, self._listen = flights, rules, listen
        self._voices, self._options, self._owner, self._again = voices, options, owner, again
        self._bad_takes = self._faults = self._takes = 0
        self._lacked_memory = False

    async def speak(self, planned: PlannedSegment) -> Spoken:
        """Speak it; returns the best there is.

        Raises:
            SegmentFailedError: There is nothing to keep of it.
            NothingWorksError, NotReadyError: The cards are at fault; try again later.
        """
        parts = await self._part(planned, 0)
        return Spoken(tuple(parts), self._bad_takes, self._faults, self._lacked_memory)

    async def _part(self, planned: PlannedSegment, splits: int) -> list[Heard]:
        best, cause = await self._whole(planned)
        if best is not None and not best.info.findings:
            return [best]
        halves = replan_halves(planned) if splits < MAX_SPLITS else None
        if halves is None:
            return [_kept(best, planned, cause)]
        try:
            pieces = [piece for half in halves for piece in await self._part(half, splits + 1)]
        except SegmentFailedError:
            return [_kept(best, planned, cause)]
        if best is not None and rank([best]) <= rank(pieces):
            return [best]
        return pieces

    async def _whole(self, planned: PlannedSegment) -> tuple[Heard | None, ServeError]:
        """The best take of a part in one piece, and what speaks against the last one."""
        best: Heard | None = None
        cause: ServeError = BadAudioError("nothing can be heard")
        for bad in range(self._rules.takes):
            try:
                heard = await self._faultless(planned, seed_of(planned.key, bad))
                if self._listen is not None:
                    heard = await self._listen(heard, planned)
            except BadAudioError as error:
                cause = error
            except EngineMemoryError as error:
                self._lacked_memory = True
                return best, error
            else:
                if heard.info.kept and (best is None or rank([heard]) < rank([best])):
                    best = heard
                if not heard.info.findings:
                    break
            self._bad_takes += 1
        return best, cause

    async def _faultless(self, planned: PlannedSegment, seed: int) -> Heard:
        """One take, repeated with the same seed after a fault."""
        landed = self._flights.landed
        tried = full = 0
        failed_on: tuple[str, ...] = ()
        while True:
            self._takes += 1
            again = self._again or self._takes > 1
            task = self._task(planned, seed, failed_on)
            flight = Flight(planned, task, self._owner, again=again)
            try:
                return await self._flights.fly(flight)
            except EngineError as error:
                tried += 1
                self._faults += 1
                full += isinstance(error, EngineMemoryError)
                if full >= self._rules.attempts:
                    raise
                if tried - full >= self._rules.attempts:
                    if self._flights.landed == landed:
                        raise NothingWorksError(
                            f"segment {planned.segment.index} failed {tried} times and nothing "
                            f"else was spoken meanwhile ({why_of(error)})"
                        ) from error
                    raise _failed(planned, error) from error
                failed_on += () if error.replica is None else (error.replica,)
                await asyncio.sleep(self._rules.pause_s(tried))

    def _task(self, planned: PlannedSegment, seed: int, failed_on: tuple[str, ...]) -> SpeakTask:
        segment = planned.segment
        return SpeakTask(
            key=planned.key,
            lines=lines_of(segment, self._voices),
            seed=seed,
            est_s=segment.est_s,
            chunk_s=self._rules.behind_chunk_s,
            options=self._options,
            tag=segment.index,
            attempt=self._takes,
            failed_on=failed_on,
        )


def _kept(best: Heard | None, planned: PlannedSegment, cause: ServeError) -> Heard:
    if best is not None:
        return best
    raise _failed(planned, cause)


def _failed(planned: PlannedSegment, cause: ServeError) -> SegmentFailedError:
    text = " ".join(said.text for said in planned.segment.utterances)
    shown = text if len(text) <= _TEXT_SHOWN else text[:_TEXT_SHOWN] + "..."
    return SegmentFailedError(
        f"Segment {planned.segment.index} could not be spoken ({why_of(cause)}). Its text "
        f"begins: {shown!r}. Retry it, or change its text."
    )
