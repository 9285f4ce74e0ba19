"""A long job as a state machine: signals and events in, state out; no clock, no store, no task.

Its status moves by the table of :mod:`serve_app.core.job_status` and no other way. Its book has a
line for each segment of the plan, in order. A segment is *open* until a take of it is kept or it
was given up; so it is spoken once however often the job is paused, restarted or blocked.

**Editions.** What has been kept never changes. Asking for another take of a segment starts a new
edition of the job: the old takes stay, and who listens to the old edition hears it to its end.
The take of a segment in edition *e* is the one asked for last up to *e*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Self

from serve_app.core.job_status import TRANSITIONS, Signal, Status
from serve_app.core.job_take import Span, TakeInfo, spans
from serve_app.errors import ConflictError, NotFoundError

MAX_RETRIES: Final = 1_000
"""Editions beyond the first that one job may have; each is a line in its state."""


@dataclass(slots=True)
class Line:
    """One segment's line in the book.

    Args:
        est_s: Estimated seconds of speech.
        wanted: Editions that asked for a take, ascending; the first is 0.
        kept: The takes there are, by edition.
        failure: Why the newest take wanted could not be spoken; None while it is not given up.
        gone: Older editions whose take was lost and could not be spoken again.
    """

    est_s: float
    wanted: list[int] = field(default_factory=lambda: [0])
    kept: dict[int, TakeInfo] = field(default_factory=dict)
    failure: str | None = None
    gone: set[int] = field(default_factory=set)

    @property
    def missing(self) -> tuple[int, ...]:
        """Editions whose take has to be spoken; of older ones only what was lost since."""
        lost = (it for it in self.wanted[:-1] if it not in self.kept and it not in self.gone)
        return (*lost, self.wanted[-1]) if self._newest_is_open else tuple(lost)

    @property
    def is_open(self) -> bool:
        """Something of it has to be spoken."""
        return bool(self.missing)

    @property
    def _newest_is_open(self) -> bool:
        return self.failure is None and self.wanted[-1] not in self.kept

    def edition_for(self, edition: int) -> int:
        """The edition whose take counts in *edition*."""
        return max(wanted for wanted in self.wanted if wanted <= edition)


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a job is.

    Args:
        segments, done, failed: Counts.
        est_s: Estimated seconds of all speech.
        open_est_s: Of it, what has still to be spoken.
        audio_s: Seconds kept.
        doubtful: Segments whose kept take the check complains of.
        retried: Segments that needed more than one take.
        cached: Segments that came from the cache.
    """

    segments: int
    done: int
    failed: int
    est_s: float
    open_est_s: float
    audio_s: float
    doubtful: int
    retried: int
    cached: int


Found = tuple[int, int, TakeInfo]
"""Segment, edition and take, as the store has it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a job is besides its plan and its takes.

    Args:
        status, reason: Where it stands.
        edition: Newest one.
        wanted: Segment and edition of each take asked for beyond the first.
        failures: Why, by segment that was given up.
    """

    status: Status = Status.QUEUED
    reason: str = ""
    edition: int = 0
    wanted: tuple[tuple[int, int], ...] = ()
    failures: Mapping[int, str] = field(default_factory=dict)


class Job:
    """Status and book of one job.

    Args:
        est_s: Estimated seconds of each segment, in the plan's order; at least one.
    """

    def __init__(self, est_s: Sequence[float]) -> None:
        self.status = Status.QUEUED
        self.reason = ""
        self.edition = 0
        self.lines = tuple(Line(seconds) for seconds in est_s)

    @classmethod
    def restored(cls, est_s: Sequence[float], saved: Saved, kept: Iterable[Found]) -> Self:
        """A job as the store has it; what ran when its runner died is queued again.

        Args:
            est_s: As of :class:`Job`.
            saved: What was written down of it.
            kept: The takes in the store; those that nobody asked for are ignored.
        """
        job = cls(est_s)
        job.edition = saved.edition
        for number, edition in sorted(saved.wanted):
            line = job.line(number)
            if edition not in line.wanted:
                line.wanted.append(edition)
        for number, edition, take in kept:
            if edition in job.line(number).wanted:
                job.line(number).kept[edition] = take
        for number, why in saved.failures.items():
            line = job.line(number)
            line.failure = None if line.wanted[-1] in line.kept else why
        stays = saved.status in {Status.PAUSED, Status.CANCELLED}
        job.status, job.reason = (saved.status, saved.reason) if stays else (Status.QUEUED, "")
        job._settle()
        return job

    def saved(self) -> Saved:
        """What has to be written down besides the takes."""
        return Saved(
            self.status,
            self.reason,
            self.edition,
            tuple(
                (number, edition)
                for number, line in enumerate(self.lines)
                for edition in line.wanted[1:]
            ),
            {n: line.failure for n, line in enumerate(self.lines) if line.failure is not None},
        )

    def signal(self, signal: Signal, reason: str = "") -> None:
        """Move by the table; *reason* tells people why.

        Raises:
            ConflictError: The job takes no such signal where it stands.
        """
        target = TRANSITIONS[self.status].get(signal)
        if target is None:
            raise ConflictError(
                f"A job that is {self.status} takes no '{signal}'; "
                f"it takes {', '.join(TRANSITIONS[self.status])}."
            )
        if signal is Signal.RESUME and self.status is Status.FAILED:
            self._forgive()
        self.status, self.reason = target, reason

    def open_segments(self) -> Iterator[tuple[int, int]]:
        """Segment and edition of every take that has still to be spoken, in order."""
        for number, line in enumerate(self.lines):
            for edition in line.missing:
                yield number, edition

    def keep(self, number: int, edition: int, take: TakeInfo) -> bool:
        """A take is in the store. Returns False, and changes nothing, if one was there already.

        Raises:
            NotFoundError: There is no such segment, or nobody asked for that edition of it.
        """
        line = self.line(number)
        if edition not in line.wanted:
            raise NotFoundError(f"Nobody asked for edition {edition} of segment {number}.")
        if edition in line.kept:
            return False
        line.kept[edition] = take
        if edition == line.wanted[-1]:
            line.failure = None
        self._settle()
        return True

    def lose(self, number: int, edition: int) -> None:
        """The store no longer has a take that was kept: it is spoken again."""
        line = self.line(number)
        if line.kept.pop(edition, None) is None or self.status is Status.CANCELLED:
            return
        self.signal(Signal.REOPEN, f"the kept audio of segment {number} was damaged")

    def give_up(self, number: int, edition: int, why: str) -> bool:
        """A take can't be spoken.

        Returns whether an older one counts instead from now on. That is never so for the take of
        an older edition, which was lost: the edition then lacks it.
        """
        line = self.line(number)
        if edition in line.kept:
            return False
        if edition != line.wanted[-1]:
            line.gone.add(edition)
            self._settle()
            return False
        older = edition != 0 and line.wanted[-2] in line.kept
        if older:
            line.wanted.pop()
        else:
            line.failure = why
        self._settle()
        return older

    def retry(self, number: int) -> int:
        """Ask for another take of a segment; returns the edition that it is for.

        A new one, if the segment has a take already. Where it has none, nobody can have heard it,
        and the edition that waits for it gets the new take.

        Raises:
            NotFoundError: There is no such segment.
            ConflictError: The job is cancelled, or has had too many retries.
        """
        line = self.line(number)
        if self.edition >= MAX_RETRIES:
            raise ConflictError(
                f"This job has had {MAX_RETRIES} retries, the limit; submit the script again."
            )
        self.signal(Signal.REOPEN, self.reason)
        if line.wanted[-1] in line.kept:
            self.edition += 1
            line.wanted.append(self.edition)
        line.failure = None
        return line.wanted[-1]

    def take(self, number: int, edition: int | None = None) -> TakeInfo | None:
        """The take of a segment that counts in an edition (the newest), if it is there."""
        line = self.line(number)
        counted = line.edition_for(self.edition if edition is None else edition)
        return line.kept.get(counted)

    def whole(self, edition: int) -> bool:
        """Every segment of an edition is kept."""
        return 0 <= edition <= self.edition and all(
            line.edition_for(edition) in line.kept for line in self.lines
        )

    def line(self, number: int) -> Line:
        """The line of a segment.

        Raises:
            NotFoundError: There is no such segment.
        """
        if not 0 <= number < len(self.lines):
            raise NotFoundError(
                f"The job has no segment {number}; they are 0 to {len(self.lines) - 1}."
            )
        return self.lines[number]

    def spans(self, edition: int | None = None) -> Iterator[Span]:
        """Where segments lie in the finished signal, up to the first that is missing."""
        takes = (self.take(number, edition) for number in range(len(self.lines)))
        return spans(take for take in takewhile(lambda take: take is not None, takes) if take)

    def totals(self) -> Totals:
        """How far the job is, in its newest edition."""
        takes = [self.take(number) for number in range(len(self.lines))]
        kept = [take for take in takes if take is not None]
        return Totals(
            segments=len(self.lines),
            done=len(kept),
            failed=sum(line.failure is not None for line in self.lines),
            est_s=sum(line.est_s for line in self.lines),
            open_est_s=sum(line.est_s for line in self.lines if line.is_open),
            audio_s=sum(take.audio_s for take in kept),
            doubtful=sum(take.doubtful for take in kept),
            retried=sum(take.bad_takes + take.faults > 0 for take in kept),
            cached=sum(take.cached for take in kept),
        )

    def _forgive(self) -> None:
        for line in self.lines:
            line.failure = None

    def _settle(self) -> None:
        """Once nothing is open, the job has ended."""
        if self.status.ended or any(line.is_open for line in self.lines):
            return
        failed = [number for number, line in enumerate(self.lines) if line.failure is not None]
        if not failed:
            self.signal(Signal.COMPLETE)
            return
        named = ", ".join(map(str, failed[:5])) + (" and others" if len(failed) > 5 else "")
        self.signal(Signal.FAIL, f"segments {named} could not be spoken; retry or change them")
