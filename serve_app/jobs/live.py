"""A job in memory: its book, its plan, where its takes are, and who follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from serve_app.core.job import Found, Job
from serve_app.core.job_pace import Pace
from serve_app.core.job_retake import changed_text, retake
from serve_app.core.job_status import Signal, Status
from serve_app.core.job_take import TakeInfo
from serve_app.core.plan import PlannedSegment
from serve_app.core.segment import Segment
from serve_app.errors import InvalidInputError
from serve_app.jobs.feed import Feed
from serve_app.jobs.names import TakeName
from serve_app.jobs.records import (
    FileRecord,
    JobRecord,
    PlanRecord,
    RetryRecord,
    StateRecord,
    UtteranceRecord,
)

_MAX_WARNINGS: Final = 50
_MAX_RETRIES: Final = 2_000
_SHOWN: Final = 20
"""Segments that a warning names."""


@dataclass(frozen=True, slots=True)
class WorkState:
    """What runs for a job at a moment.

    Args:
        speaking: Segments being spoken.
        replicas: Who speaks them.
        places: How many the job has, for its ETA.
    """

    speaking: frozenset[int] = frozenset()
    replicas: tuple[str, ...] = ()
    places: int = 0


class LiveJob:
    """One job, as the store had it and as it goes on; touched by one event loop only.

    Args:
        record, plan, state: From the store.
        kept: Takes in the store, with the names of their files.
        series: Of its events; see :class:`serve_app.jobs.feed.Feed`.
        wall: Unix seconds.
        files: Finished files in the store.

    Attributes:
        dirty: It differs from what is written down.
        files: Finished files by edition and format.
        readers: Who holds it right now, besides its run.
        saving: Held while it is written down: an older state must not land on a newer one.
    """

    def __init__(
        self,
        record: JobRecord,
        plan: PlanRecord,
        state: StateRecord,
        kept: Mapping[TakeName, TakeInfo],
        *,
        series: str,
        wall: Callable[[], float],
        files: Iterable[FileRecord] = (),
    ) -> None:
        self.record, self.ended, self._wall = record, state.ended, wall
        self.gains_db, self.final_pause_s = plan.gains_db, plan.final_pause_s
        self.revision, self.options = plan.revision, plan.options
        self._segments = plan.planned()
        self._retries, self._withdrawn = list(state.retries), list(state.withdrawn)
        self.warnings = list(state.warnings)
        found: list[Found] = []
        self.names: dict[tuple[int, int], TakeName] = {}
        for name, info in kept.items():
            at = (name.number, name.edition)
            if at not in self.names and self._is_take_of(info, *at):
                self.names[at] = name
                found.append((*at, self._placed(info, name.number)))
        est_s = [item.segment.est_s for item in self._segments]
        self.job = Job.restored(est_s, state.saved(), found)
        self.dirty = self.job.status.ended and self.job.status is not state.status
        if self.dirty:
            self.ended = wall()
        self.pace = Pace()
        for number, _, info in found:
            self.pace.learn(est_s[number], info.wall_s)
        self.cards: dict[str, float] = {}
        self.readers = 0
        self.saving = asyncio.Lock()
        self.files = {(it.edition, it.audio_format): it for it in files}
        self.feed = Feed(series)

    @property
    def id(self) -> str:
        """Its name."""
        return self.record.id

    @property
    def plan_segments(self) -> tuple[Segment, ...]:
        """The plan as it was made, whatever has been changed since."""
        return tuple(item.segment for item in self._segments)

    def planned(self, number: int, edition: int) -> PlannedSegment:
        """What is to be spoken for a segment in an edition that asked for a take of it."""
        planned = self._segments[number]
        for retry in self._retries:
            if retry.segment == number and retry.edition <= edition:
                said = tuple(record.utterance() for record in retry.utterances)
                planned = retake(planned, said, retry.voices)
        return planned

    def voices(self, number: int, edition: int) -> dict[str, str]:
        """Voice by speaker for that take."""
        voices = dict(self.record.voices)
        for retry in self._retries:
            if retry.segment == number and retry.edition <= edition:
                voices |= retry.voices
        return voices

    def retry(self, number: int, text: str | None, voices: Mapping[str, str]) -> None:
        """Ask for another take, with other words or voices if they are given.

        Raises:
            NotFoundError: There is no such segment.
            InvalidInputError: The change can't be made, or the job is cancelled.
        """
        newest = self.job.line(number).wanted[-1]
        if len(self._retries) >= _MAX_RETRIES:
            raise InvalidInputError(f"This job has had {_MAX_RETRIES} retries, the limit.")
        said = self.planned(number, newest).segment.utterances
        speakers = frozenset(self.record.voices)
        if text is not None:
            said = changed_text(self._segments[number].segment, text, speakers)
        strangers = sorted(set(voices) - speakers)
        if strangers:
            raise InvalidInputError(
                f"'voices' names {', '.join(strangers)}; the job's speakers are "
                f"{', '.join(sorted(speakers))}.",
                "voices",
            )
        spoken_by = {**self.voices(number, newest), **voices}
        before = (self.job.status, self.job.reason)
        edition = self.job.retry(number)
        self._retries.append(
            RetryRecord(
                segment=number,
                edition=edition,
                utterances=tuple(map(UtteranceRecord.of, said)),
                voices={who: spoken_by[who] for who in sorted({u.speaker for u in said})},
            )
        )
        self.note_status(before)
        self.dirty = True
        self.feed.publish("edition", {"edition": self.job.edition, "segment": number})

    def signal(self, signal: Signal, reason: str = "") -> None:
        """Move the job and tell its followers.

        Raises:
            InvalidInputError: The job takes no such signal where it stands.
        """
        before = (self.job.status, self.job.reason)
        self.job.signal(signal, reason)
        self.note_status(before)

    def note_status(self, before: tuple[Status, str]) -> None:
        """Tell followers if the status is no longer what it was *before*."""
        if (self.job.status, self.job.reason) != before:
            self.dirty = self.dirty or self.job.status is not before[0]
            if not self.job.status.ended:
                self.ended = None
            elif self.ended is None:
                self.ended = self._wall()
            said = {"status": str(self.job.status), "reason": self.job.reason}
            self.feed.publish("status", said)

    def keep(self, name: TakeName, info: TakeInfo, card: str | None) -> None:
        """A take is in the store."""
        before = (self.job.status, self.job.reason)
        at = (name.number, name.edition)
        if not self.job.keep(*at, self._placed(info, name.number)):
            return
        self.names[at] = name
        self.pace.learn(self.job.line(name.number).est_s, info.wall_s)
        if card is not None:
            self.cards[card] = self.cards.get(card, 0.0) + info.audio_s
        if info.revision != self.revision:
            self.warn(
                f"The engine changed from {self.revision} to {info.revision} while the job ran: "
                f"voices may sound different from segment {name.number} on."
            )
        if info.lost_words:
            self.warn(f"Words may be missing in segment {name.number}: {info.findings[0]}.")
        self._tell_segment(name.number)
        self.note_status(before)

    def lose(self, number: int, edition: int) -> TakeName | None:
        """A kept take turned out to be damaged; returns its file's name."""
        before = (self.job.status, self.job.reason)
        name = self.names.pop((number, edition), None)
        self.job.lose(number, edition)
        if name is not None:
            cancelled = self.job.status is Status.CANCELLED
            then = "the job is cancelled, so it is gone" if cancelled else "it is spoken again"
            self.warn(f"The kept audio of segment {number} was damaged; {then}.")
            self.note_status(before)
        return name

    def miss(self, damaged: Collection[int], state: StateRecord) -> None:
        """Say which takes are no longer there that once were.

        Args:
            damaged: Segments with a take whose file is not what was written.
            state: As it was written down, perhaps before the newest takes were kept.
        """
        opened = {number for number, _ in self.job.open_segments()}
        lost = opened if state.status is Status.COMPLETE else opened & set(damaged)
        then = "it is gone" if self.job.status is Status.CANCELLED else "it is spoken again"
        if lost:
            named = ", ".join(map(str, sorted(lost)[:_SHOWN])) + (" ..." * (len(lost) > _SHOWN))
            self.warn(f"Kept audio was damaged or missing, segments {named}; {then}.")
        more = state.done - self.job.totals().done - len(lost)
        if more > 0:
            self.warn(f"Kept audio of {more} segments was missing; {then}.")

    def give_up(self, number: int, edition: int, why: str) -> None:
        """A take can't be spoken."""
        before = (self.job.status, self.job.reason)
        is_newest = edition == self.job.line(number).wanted[-1]
        if self.job.give_up(number, edition, why):
            self._withdrawn.append((number, edition))
            self.warn(f"{why} The earlier take of segment {number} stays.")
        elif not is_newest:
            self.warn(f"{why} Edition {edition} has no audio of segment {number} any more.")
        self.dirty = True
        self._tell_segment(number)
        self.note_status(before)

    def warn(self, text: str) -> None:
        """Something people should know; said once."""
        if text not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(text)
            self.dirty = True
            self.feed.publish("warning", {"text": text})

    def state(self) -> StateRecord:
        """What has to be written down."""
        saved, totals = self.job.saved(), self.job.totals()
        return StateRecord(
            status=saved.status,
            reason=saved.reason,
            edition=saved.edition,
            retries=tuple(self._retries),
            withdrawn=tuple(self._withdrawn),
            failures=dict(saved.failures),
            warnings=tuple(self.warnings),
            ended=self.ended,
            audio_s=totals.audio_s,
            done=totals.done,
            doubtful=totals.doubtful,
        )

    def _placed(self, info: TakeInfo, number: int) -> TakeInfo:
        """*info* with what lies before its segment here: a take may come from another script."""
        segment = self._segments[number].segment
        return info.placed(segment.before, segment.pause_s)

    def _is_take_of(self, info: TakeInfo, number: int, edition: int) -> bool:
        known = number < len(self._segments)
        return known and info.key == self.planned(number, edition).key

    def _tell_segment(self, number: int) -> None:
        line, take = self.job.line(number), self.job.take(number)
        totals = self.job.totals()
        self.feed.publish(
            "segment",
            {
                "segment": number,
                "failure": line.failure,
                "audio_s": None if take is None else round(take.audio_s / self.record.speed, 3),
                "doubtful": take is not None and take.doubtful,
                "done": totals.done,
                "segments": totals.segments,
            },
        )
