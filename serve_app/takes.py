"""One segment on its way: its takes, what of it has left, when it is spoken again.

A segment is spoken as one *part*, or as several after a split. A part may need several *takes*.
The first part of a script is let out as soon as something can be heard in it, for the sake of the
first sound. Those behind it are let out when they are complete and have passed their check:
which take counts is then a matter of the text and its seeds alone, never of how far the listener
had come. ``FanOutRules.live`` lets every segment out as soon as its turn comes, for a single slow
card; a bad take is then noticed too late more often, and which take counts depends on timing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Literal, NoReturn

from serve_app.core.audio import BYTES_PER_S, pcm_from_bytes
from serve_app.core.fair import Places
from serve_app.core.plan import PlannedSegment, replan_halves, seed_of
from serve_app.core.quality import QualityMeter, Verdict
from serve_app.core.retake import Outgoing
from serve_app.core.segment import Segment
from serve_app.core.stitch import pause_s
from serve_app.core.trail import trail
from serve_app.engines.base import Chunk, Line, SpeakTask
from serve_app.errors import (
    BadAudioError,
    EngineError,
    EngineMemoryError,
    EngineTimeoutError,
    NotReadyError,
    SegmentFailedError,
    ServeError,
    TakeMismatchError,
)
from serve_app.pieces import (
    Batch,
    Delivery,
    FanOutRules,
    Part,
    PartAudio,
    PartEnd,
    Piece,
    Speak,
    SpeechReport,
    Started,
    TakeItem,
    Waiting,
)

logger = logging.getLogger(__name__)

_DIGEST_DIGITS = 12
MAX_SPLITS = 3
"""How often a part is halved that no take of is good."""
_BATCH_BYTES = 256 * 1024
_RUNAWAY_FACTOR, _RUNAWAY_SLACK_S = 3.0, 15.0
_FREE_SLOT, _FIRST_SOUND, _NEXT_CHUNK = "a free slot", "the first sound", "the next chunk"


class _Track:
    """A part being spoken: the same over all its takes."""

    def __init__(self, planned: PlannedSegment, *, last: bool) -> None:
        segment = planned.segment
        self.planned, self.last = planned, last
        self.pauses_s = sum(pause_s(said.before) for said in segment.utterances[1:])
        self.part = Part(planned.key, segment.index, segment.before, segment.pause_s)
        self.outgoing = Outgoing()
        self.takes = 0
        self.failed_on: tuple[str, ...] = ()
        self.let_out = False
        self.complete = False

    @property
    def too_late(self) -> bool:
        """No other seed can replace this take any more."""
        return self.let_out or self.outgoing.sent_bytes > 0


class SegmentRun:
    """One planned segment: :meth:`work` fills it, :meth:`delivered` empties it.

    Args:
        planned: What to speak.
        speak: Speaks one task somewhere.
        rules: Bounds and time-outs.
        voices: Voice id by speaker.
        options: Engine options.
        on_event: Told of retries and splits.
    """

    def __init__(
        self,
        planned: PlannedSegment,
        speak: Speak,
        rules: FanOutRules,
        *,
        voices: dict[str, str],
        options: tuple[tuple[str, float], ...],
        on_event: Callable[[Delivery], None],
    ) -> None:
        self._planned, self._speak, self._rules = planned, speak, rules
        self._voices, self._options, self._on_event = voices, options, on_event
        self._pieces: deque[tuple[_Track, Piece]] = deque()
        self._changed = asyncio.Event()
        self._open = False
        self._finished = False
        self._error: ServeError | None = None
        self._held_bytes = 0
        self._taken_bytes = 0

    @property
    def weight_bytes(self) -> int:
        """PCM that this segment holds or, while it is spoken, may still come to hold."""
        if self._finished:
            return self._held_bytes
        expected = self._rules.bytes_of(self._planned.segment.est_s)
        return max(expected - self._taken_bytes, self._held_bytes)

    def open(self) -> None:
        """The listener waits for this segment now."""
        self._open = True

    async def delivered(self) -> AsyncGenerator[Batch, None]:
        """Yield the pieces as they come; they count as sent once yielded.

        Raises:
            ServeError: The segment can't be completed.
        """
        while True:
            while self._pieces:
                yield tuple(self._next_batch())
            if self._error is not None:
                raise self._error
            if self._finished:
                return
            self._changed.clear()
            await self._changed.wait()

    def _next_batch(self) -> Iterator[Piece]:
        """Pieces up to the end of a part, or to a bound."""
        size_bytes = 0
        while self._pieces and size_bytes < _BATCH_BYTES:
            track, piece = self._pieces.popleft()
            yield piece
            if isinstance(piece, PartEnd):
                return
            size_bytes += len(piece.chunk.pcm)
            self._held_bytes -= len(piece.chunk.pcm)
            self._taken_bytes += len(piece.chunk.pcm)
            if not track.complete:  # else no later take will be held against it
                track.outgoing.leave(piece.chunk.pcm)

    async def work(self, pool: Places, owner: Hashable) -> None:
        """Speak the segment; errors are kept for :meth:`delivered`."""
        try:
            await self._speak_part(self._planned, pool, owner, splits=0, last=True)
        except ServeError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - the listener must hear of a bug, not wait
            self._error = SegmentFailedError(
                f"Segment {self._planned.segment.index} ended with {type(error).__name__}."
            )
            logger.error("a segment was lost to a bug: %s", trail(error))  # noqa: TRY400
        finally:
            self._finished = True
            self._changed.set()

    async def _speak_part(
        self, planned: PlannedSegment, pool: Places, owner: Hashable, *, splits: int, last: bool
    ) -> None:
        track = _Track(planned, last=last)
        faults = full = bad = 0
        while True:
            try:
                queued_s = self._rules.clock()
                async with pool.place(owner, first=track.takes > 0):
                    await self._take(
                        track, seed_of(planned.key, bad), self._rules.clock() - queued_s
                    )
            except (BadAudioError, EngineError, NotReadyError) as error:
                cause = error
            else:
                return
            is_bad, is_full = isinstance(cause, BadAudioError), isinstance(cause, EngineMemoryError)
            bad, full, faults = bad + is_bad, full + is_full, faults + (not is_bad and not is_full)
            too_large = full >= self._rules.attempts
            if not track.too_late and (bad >= self._rules.takes or too_large):
                break
            hopeless = too_large or faults >= self._rules.attempts
            if hopeless or isinstance(cause, NotReadyError):
                raise _failed(planned.segment, cause) from cause
            self._tell("bad_take" if is_bad else "fault", cause)
            if isinstance(cause, EngineError):
                track.failed_on += () if cause.replica is None else (cause.replica,)
                await asyncio.sleep(self._rules.pause_s(faults + full))
            else:
                track.failed_on = ()
        halves = replan_halves(planned) if splits < MAX_SPLITS else None
        if halves is None:
            raise _failed(planned.segment, cause) from cause
        self._tell("split", cause)
        self._drop_held(track)
        for half in halves:
            await self._speak_part(
                half, pool, owner, splits=splits + 1, last=last and half is halves[-1]
            )

    def _tell(self, kind: Literal["fault", "bad_take", "split"], cause: ServeError) -> None:
        self._on_event(Delivery(kind, self._planned.segment.index, cause.code))

    async def _take(self, track: _Track, seed: int, waited_s: float) -> None:
        self._drop_held(track)
        track.outgoing.restart()
        track.takes += 1
        segment = track.planned.segment
        meter = QualityMeter()
        task = self._task(track, seed, waited_s)
        limit_bytes = runaway_bytes(segment.est_s)
        early = self._rules.live or track.part.index == 0
        heard_bytes = 0
        held: list[Chunk] = []
        report: SpeechReport | None = None
        async with aclosing(timed(self._speak, task, self._rules)) as items:
            async for item in items:
                if isinstance(item, Chunk):
                    heard_bytes += len(item.pcm)
                    meter.feed(pcm_from_bytes(item.pcm))
                    held.append(item)
                    self._held_bytes += len(item.pcm)
                    if heard_bytes > limit_bytes:
                        _refuse(track, f"ran on for {heard_bytes / BYTES_PER_S:.0f} s")
                    if early and (track.let_out or meter.heard_sound):
                        if not track.too_late:
                            _require(track, meter.early_verdict(segment.est_s, track.pauses_s))
                        self._let_out(track, held)
                elif isinstance(item, SpeechReport):
                    report = item
        if report is None:
            raise EngineError(f"segment {segment.index}: the stream ended without a report")
        self._finish(track, report, meter, held)

    def _let_out(self, track: _Track, held: list[Chunk]) -> None:
        """Hand what was held to the listener, less what of it an earlier take has sent."""
        track.let_out = track.let_out or not self._rules.live
        for chunk in held:
            fresh = track.outgoing.skip(chunk.pcm)
            self._held_bytes -= len(chunk.pcm) - len(fresh)
            if fresh:
                self._pieces.append((track, PartAudio(track.part, replace(chunk, pcm=fresh))))
        held.clear()
        self._changed.set()

    def _finish(
        self, track: _Track, report: SpeechReport, meter: QualityMeter, held: list[Chunk]
    ) -> None:
        est_s = track.planned.segment.est_s
        verdict = meter.verdict(est_s, report.end.finish, track.pauses_s)
        if verdict.lost_words or not track.too_late:
            _require(track, verdict)
        self._let_out(track, held)
        if not track.outgoing.caught_up:
            raise TakeMismatchError(
                f"A second take of segment {track.part.index} is shorter than the part already "
                "sent: the stream ends here. Send the request again."
            )
        track.complete = True
        self._pieces.append((track, PartEnd(track.part, report, verdict, track.last)))
        self._changed.set()

    def _drop_held(self, track: _Track) -> None:
        """Forget unsent audio of the part's earlier take; other parts keep theirs."""
        kept = [(owner, piece) for owner, piece in self._pieces if owner is not track]
        self._pieces = deque(kept)
        self._held_bytes = sum(
            len(piece.chunk.pcm) for _, piece in kept if isinstance(piece, PartAudio)
        )

    def _task(self, track: _Track, seed: int, waited_s: float) -> SpeakTask:
        segment = track.planned.segment
        chunk_s = self._rules.head_chunk_s if self._open else self._rules.behind_chunk_s
        return SpeakTask(
            key=track.planned.key,
            lines=lines_of(segment, self._voices),
            seed=seed,
            est_s=segment.est_s,
            chunk_s=chunk_s,
            options=self._options,
            tag=segment.index,
            attempt=track.takes,
            waited_s=waited_s,
            failed_on=track.failed_on,
        )


async def timed(
    speak: Speak, task: SpeakTask, rules: FanOutRules
) -> AsyncGenerator[TakeItem, None]:
    """The items of a take, each within its time; a fault is told where it was.

    Raises:
        NotReadyError: No replica had a slot in time.
        EngineTimeoutError: Sound did not come in time.
    """
    limit_s, waiting_for = rules.assign_timeout_s, _FREE_SLOT
    replica = refused_s = None
    async with aclosing(speak(task)) as items:
        while True:
            try:
                item = await _within(limit_s, items, f"segment {task.tag}", waiting_for)
            except EngineError as error:
                error.replica = replica
                raise
            if item is None:
                return
            if isinstance(item, Waiting):
                refused_s = rules.clock() if refused_s is None else refused_s
                _require_patience(task, rules, rules.clock() - refused_s)
                continue
            yield item
            if isinstance(item, Started):
                replica = item.replica
                limit_s, waiting_for = rules.first_chunk_timeout_s, _FIRST_SOUND
            else:
                limit_s, waiting_for = rules.chunk_timeout_s, _NEXT_CHUNK


async def _within(
    limit_s: float, items: AsyncGenerator[TakeItem | Waiting, None], who: str, waiting_for: str
) -> TakeItem | Waiting | None:
    """The next item, or None behind the last."""
    try:
        async with asyncio.timeout(limit_s):
            return await anext(items, None)
    except TimeoutError:
        text = f"{who}: waited {limit_s:g} s for {waiting_for}"
        if waiting_for == _FREE_SLOT:
            raise NotReadyError(f"{text}; all replicas are busy or gone.") from None
        raise EngineTimeoutError(text) from None


def _require_patience(task: SpeakTask, rules: FanOutRules, paused_s: float) -> None:
    if paused_s > rules.paused_timeout_s:
        raise NotReadyError(
            f"segment {task.tag}: no card has taken it for {paused_s:.0f} s; they are too hot."
        )


def lines_of(segment: Segment, voices: Mapping[str, str]) -> tuple[Line, ...]:
    """What an engine speaks for a segment, with the voice of each speaker."""
    return tuple(
        Line(
            speaker=said.speaker,
            voice=voices[said.speaker],
            text=said.text,
            pause_s=pause_s(said.before) if number else 0.0,
        )
        for number, said in enumerate(segment.utterances)
    )


def runaway_bytes(est_s: float) -> int:
    """PCM bytes of a take from which on it will not end by itself."""
    return int((_RUNAWAY_FACTOR * est_s + _RUNAWAY_SLACK_S) * BYTES_PER_S)


def _require(track: _Track, verdict: Verdict) -> None:
    if not verdict.ok:
        _refuse(track, str(verdict))


def _refuse(track: _Track, why: str) -> NoReturn:
    segment = track.planned.segment
    if not track.too_late:
        raise BadAudioError(f"segment {segment.index}: {why}")
    raise _failed(segment, BadAudioError(f"{why}, after part of it had been sent"))


def why_of(cause: ServeError) -> str:
    """What a client is told of a cause: an engine's message may quote a library's, and that a path
    or the text."""
    return cause.code if isinstance(cause, EngineError) else f"{cause.code}: {cause}"


def _failed(segment: Segment, cause: ServeError) -> SegmentFailedError:
    text = " ".join(utterance.text for utterance in segment.utterances)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
    return SegmentFailedError(
        f"Segment {segment.index} could not be spoken ({why_of(cause)}). "
        f"Its text is not shown: {len(text)} characters, SHA-256 {digest}. "
        "The audio before it is complete; send the request again."
    )
