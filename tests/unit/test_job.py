"""A job as a state machine: the table is total, and each segment is spoken once, in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.job import Found, Job, Saved
from serve_app.core.job_status import TRANSITIONS, Signal, Status
from serve_app.core.job_take import PartInfo, TakeInfo
from serve_app.core.segment import Boundary
from serve_app.errors import ConflictError, InvalidInputError, NotFoundError


def take(samples: int = 24_000, *findings: str) -> TakeInfo:
    part = PartInfo(Boundary.TURN, None, samples, 0, samples, 0, 0, findings)
    return TakeInfo("k", "1", (part,), wall_s=0.1)


def test_the_table_has_a_row_for_every_status_and_an_entry_or_a_refusal_for_every_signal() -> None:
    assert set(TRANSITIONS) == set(Status)
    for status in Status:
        for signal in Signal:
            job = Job([1.0])
            job.status = status
            target = TRANSITIONS[status].get(signal)
            if target is None:
                with pytest.raises(InvalidInputError, match=f"{status} takes no '{signal}'"):
                    job.signal(signal)
                assert job.status is status
            else:
                job.signal(signal)
                assert job.status is target


def test_what_has_ended_starts_again_only_when_someone_asks() -> None:
    for status in (status for status in Status if status.ended):
        moves = {signal for signal, to in TRANSITIONS[status].items() if not to.ended}
        assert moves <= {Signal.RESUME, Signal.REOPEN}
        assert Signal.START not in TRANSITIONS[status]
    assert all(to is Status.CANCELLED for to in TRANSITIONS[Status.CANCELLED].values())


def test_a_job_is_complete_with_its_last_segment_and_failed_with_one_that_can_not_be() -> None:
    job = Job([1.0, 2.0])
    job.signal(Signal.START)
    assert job.keep(1, 0, take())
    assert list(job.open_segments()) == [(0, 0)]
    assert not job.give_up(0, 0, "no")
    assert (job.status, job.totals().failed) == (Status.FAILED, 1)
    assert "segments 0" in job.reason
    job.signal(Signal.RESUME)
    assert list(job.open_segments()) == [(0, 0)]
    job.keep(0, 0, take())
    assert (job.status, job.totals().done) == (Status.COMPLETE, 2)


def test_a_retry_starts_an_edition_and_the_old_one_stays_what_it_was() -> None:
    job = Job([1.0, 1.0])
    first, second = take(100), take(200)
    job.keep(0, 0, first)
    job.keep(1, 0, first)
    assert job.retry(1) == 1
    assert job.status is Status.QUEUED
    assert job.take(1) is None
    assert job.take(1, 0) is first
    job.keep(1, 1, second)
    assert (job.status, job.take(1), job.take(1, 0)) == (Status.COMPLETE, second, first)
    assert job.take(0) is first


def test_a_retry_that_fails_leaves_the_earlier_take() -> None:
    job = Job([1.0])
    kept = take()
    job.keep(0, 0, kept)
    job.retry(0)
    assert job.give_up(0, 1, "no")
    assert (job.status, job.take(0)) == (Status.COMPLETE, kept)


def test_a_segment_nobody_has_heard_is_retried_in_place() -> None:
    job = Job([1.0])
    assert job.retry(0) == 0
    job.give_up(0, 0, "no")
    assert job.retry(0) == 0
    assert list(job.open_segments()) == [(0, 0)]


def test_what_is_lost_is_open_again_also_in_a_complete_job_but_not_in_a_cancelled_one() -> None:
    job = Job([1.0])
    job.keep(0, 0, take())
    job.lose(0, 0)
    assert (job.status, list(job.open_segments())) == (Status.QUEUED, [(0, 0)])
    job.keep(0, 0, take())
    job.retry(0)
    job.signal(Signal.CANCEL)
    job.lose(0, 0)
    assert job.status is Status.CANCELLED


def test_what_an_old_edition_loses_is_open_again_and_may_stay_lost() -> None:
    job = Job([1.0, 1.0])
    for number in (0, 1):
        job.keep(number, 0, take())
    job.retry(0)
    job.keep(0, 1, take())
    job.lose(0, 0)
    job.lose(1, 0)
    assert (job.status, job.whole(0)) == (Status.QUEUED, False)
    assert list(job.open_segments()) == [(0, 0), (1, 0)]
    assert not job.give_up(0, 0, "no")
    assert list(job.open_segments()) == [(1, 0)]
    job.keep(1, 0, take())
    assert (job.status, job.whole(0), job.whole(1)) == (Status.COMPLETE, False, True)
    assert list(
        Job.restored([1.0, 1.0], job.saved(), [(0, 1, take()), (1, 0, take())]).lines[0].missing
    ) == [0]


def test_what_does_not_exist_is_refused() -> None:
    job = Job([1.0])
    for call in (lambda: job.line(1), lambda: job.line(-1), lambda: job.keep(0, 1, take())):
        with pytest.raises(NotFoundError):
            call()


class Machine:
    """A job, what its store would hold, and every take that was ever spoken."""

    def __init__(self, segments: int) -> None:
        self.est_s = [1.0] * segments
        self.job = Job(self.est_s)
        self.store: list[Found] = []
        self.saved: Saved = self.job.saved()
        self.spoken: list[tuple[int, int]] = []
        self.in_air: list[tuple[int, int]] = []

    def dispatch(self) -> None:
        if self.job.status is Status.QUEUED:
            self.job.signal(Signal.START)
        if self.job.status is Status.RUNNING:
            free = (at for at in self.job.open_segments() if at not in self.in_air)
            self.in_air += [at for at, _ in zip(free, range(2), strict=False)]

    def finish(self, which: int) -> None:
        if self.in_air:
            number, edition = self.in_air.pop(which % len(self.in_air))
            made = take(1000 * number + edition + 1)
            self.spoken.append((number, edition))
            self.store.append((number, edition, made))
            self.job.keep(number, edition, made)
            self.saved = self.job.saved()

    def fail(self, which: int) -> None:
        """What was spoken once can be spoken again: only the newest takes fail here."""
        at = self.in_air[which % len(self.in_air)] if self.in_air else None
        if at is not None and at[1] == self.job.line(at[0]).wanted[-1]:
            number, edition = self.in_air.pop(which % len(self.in_air))
            self.job.give_up(number, edition, "no")
            self.saved = self.job.saved()

    def lose(self, which: int) -> None:
        """The file of a take is found damaged, and removed."""
        if self.store:
            number, edition, _ = self.store.pop(which % len(self.store))
            self.job.lose(number, edition)
            self.spoken.remove((number, edition))
            self.saved = self.job.saved()

    def crash(self, _which: int) -> None:
        """All that is left is the store, and the takes may be newer than the state."""
        self.in_air = []
        self.job = Job.restored(self.est_s, self.saved, self.store)

    def ask(self, signal: Signal) -> None:
        if signal in TRANSITIONS[self.job.status]:
            self.job.signal(signal)
            self.saved = self.job.saved()

    def cancel(self, which: int) -> None:
        """Seldom, since nothing comes after it; what is in the air is called back."""
        if not which and Signal.CANCEL in TRANSITIONS[self.job.status]:
            self.ask(Signal.CANCEL)
            self.in_air = []

    def retry(self, which: int) -> None:
        number = which % len(self.est_s)
        if self.job.status is Status.CANCELLED:
            with pytest.raises(ConflictError):
                self.job.retry(number)
        elif (number, self.job.line(number).wanted[-1]) not in self.in_air:
            self.job.retry(number)
            self.saved = self.job.saved()


STEPS: dict[str, Callable[[Machine, int], None]] = {
    "dispatch": lambda machine, _which: machine.dispatch(),
    "finish": Machine.finish,
    "fail": Machine.fail,
    "crash": Machine.crash,
    "pause": lambda machine, _which: machine.ask(Signal.PAUSE),
    "resume": lambda machine, _which: machine.ask(Signal.RESUME),
    "block": lambda machine, _which: machine.ask(Signal.BLOCK),
    "retry": Machine.retry,
    "lose": Machine.lose,
    "cancel": Machine.cancel,
}


@given(
    segments=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9)), max_size=60),
)
def test_any_interleaving_gives_each_segment_exactly_once_and_in_order(
    segments: int, steps: list[tuple[str, int]]
) -> None:
    machine = Machine(segments)
    for name, which in steps:
        STEPS[name](machine, which)
        opened = list(machine.job.open_segments())
        assert opened == sorted(set(opened))
        assert machine.job.status is not Status.COMPLETE or not opened
    cancelled, before = machine.job.status is Status.CANCELLED, list(machine.spoken)
    for _ in range(3 * segments):
        machine.ask(Signal.RESUME)
        machine.dispatch()
        machine.finish(0)
    if cancelled:
        assert (machine.job.status, machine.spoken) == (Status.CANCELLED, before)
    else:
        assert machine.job.status is Status.COMPLETE
    assert len(machine.spoken) == len(set(machine.spoken))
    by_edition = [machine.job.take(n, 0) for n in range(segments)]
    first = {number: made for number, edition, made in machine.store if edition == 0}
    assert by_edition == [first.get(number) for number in range(segments)]
    assert cancelled or None not in by_edition
    rebuilt = Job.restored(machine.est_s, machine.job.saved(), machine.store)
    assert rebuilt.saved() == machine.job.saved()
    assert rebuilt.totals() == machine.job.totals()
