"""ETA, laggards, the share of the slots, and retakes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.fair import FairPool
from serve_app.core.job_pace import Pace, remaining_s
from serve_app.core.job_retake import changed_text, retake
from serve_app.core.job_share import JobShare, ShareRules
from serve_app.core.plan import plan
from serve_app.core.script import parse
from serve_app.core.segment import Boundary
from serve_app.errors import EmptyInputError, InputTooLongError, InvalidInputError, NotReadyError
from serve_app.jobs.demand import DemandReporter


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def share(slots: int, **rules: float) -> tuple[JobShare, Clock]:
    clock = Clock()
    return JobShare(slots, ShareRules(**rules), clock), clock


@pytest.mark.parametrize(("slots", "free"), [(1, 0), (2, 1), (16, 1), (64, 3)])
def test_between_requests_only_the_reserve_is_free(slots: int, free: int) -> None:
    shared, clock = share(slots)
    shared.report("a", 0)
    assert shared.reserved == 0
    shared.report("a", 1)
    clock.now_s += 299.0
    assert shared.reserved == free
    clock.now_s += 2.0
    assert shared.reserved == 0


def test_jobs_make_room_for_what_requests_want_down_to_their_least_share() -> None:
    shared, clock = share(16)
    shared.report("a", 2)
    shared.report("b", 3)
    assert shared.reserved == 5
    shared.report("a", 100)
    assert shared.reserved == 12
    clock.now_s += 2.9
    shared.report("b", 1)
    clock.now_s += 0.2
    assert (shared.demand, shared.reserved) == (1, 1)


def test_few_slots_go_to_requests_but_jobs_get_one_now_and_then() -> None:
    shared, clock = share(1, patience_s=30.0, turn_s=1.0, fresh_s=1e9)
    assert shared.reserved == 0
    shared.report("a", 1)
    free = []
    for _ in range(130):
        free.append(shared.reserved)
        clock.now_s += 0.5
    assert free.count(0) == 6
    assert free[:60] == [1] * 60
    assert free[60:63] == [0] * 3


@given(slots=st.integers(1, 200), demands=st.lists(st.integers(0, 300), max_size=4))
def test_the_share_is_always_possible(slots: int, demands: list[int]) -> None:
    shared, _ = share(slots)
    for number, demand in enumerate(demands):
        shared.report(str(number), demand)
    assert 0 <= shared.reserved <= slots
    assert slots - shared.reserved >= slots // 4


def test_the_pace_is_unknown_before_the_first_segment_and_narrows_with_more() -> None:
    pace = Pace()
    assert pace.expected_s(10.0) is None
    assert pace.eta(100.0, 4) is None
    widths = []
    for number in range(30):
        pace.learn(60.0, 6.0 + 0.1 * (number % 3))
        eta = pace.eta(600.0, 4)
        assert eta is not None
        assert eta.low_s <= 600.0 * 0.102 / 4 <= eta.high_s
        widths.append(eta.high_s - eta.low_s)
    assert widths[-1] < widths[0] / 1.5
    pace.learn(60.0, 0.0)  # from the cache: teaches nothing
    assert pace.expected_s(60.0) == pytest.approx(6.1, abs=0.05)
    done = pace.eta(0.0, 4)
    assert done is not None
    assert (done.low_s, done.high_s) == (0.0, 0.0)
    assert pace.eta(1.0, 0) is None


def left(elapsed_s: float, quiet_s: float, heard_s: float) -> float:
    return remaining_s(
        elapsed_s=elapsed_s, quiet_s=quiet_s, heard_s=heard_s, est_s=60.0, expected_s=6.0
    )


def test_a_take_is_judged_by_how_it_goes() -> None:
    assert left(1.0, 1.0, 0.0) == 5.0
    assert left(20.0, 20.0, 0.0) == 20.0
    assert left(3.0, 0.1, 30.0) == 3.0
    assert left(30.0, 1.0, 30.0) == 30.0  # ten times too slow
    assert left(6.0, 9.0, 60.0) == 9.0  # all heard, and then nothing


SCRIPT = parse("Ann: Good morning to you all.\n\nBob: And a good night.")
VOICES = {"Ann": "a", "Bob": "b"}


def test_each_retake_has_its_own_noise_and_is_the_same_in_every_job() -> None:
    planned = plan(SCRIPT, voices=VOICES, revision="1").segments[0]
    said = planned.segment.utterances
    once = retake(planned, said, VOICES)
    twice = retake(once, said, VOICES)
    other = retake(planned, said, {**VOICES, "Ann": "c"})
    assert len({item.key for item in (planned, once, twice, other)}) == 4
    assert len({item.seed for item in (planned, once, twice, other)}) == 4
    assert retake(planned, said, VOICES) == once
    assert once.segment == planned.segment


def test_changed_text_is_read_as_a_script_of_the_jobs_speakers() -> None:
    segment = plan(SCRIPT, voices=VOICES, revision="1").segments[0].segment
    names = frozenset(VOICES)
    (plain,) = changed_text(segment, "Something else.", names)
    assert (plain.speaker, plain.text, plain.before) == ("Ann", "Something else.", segment.before)
    swapped = changed_text(segment, "Bob: One.\n\nTwo.\nANN: Three.", names)
    assert [(said.speaker, said.text) for said in swapped] == [
        ("Bob", "One."),
        ("Bob", "Two."),
        ("Ann", "Three."),
    ]
    assert [said.before for said in swapped] == [
        segment.before,
        Boundary.PARAGRAPH,
        Boundary.TURN,
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", EmptyInputError),
        ("Carl: Who am I?\nCarl: Nobody.", InvalidInputError),
        ("One. [pause 2s]\n\nTwo.", InvalidInputError),
        ("A rather long sentence about nothing at all. " * 100, InputTooLongError),
    ],
)
def test_text_that_can_not_be_one_segment_is_refused(text: str, error: type[Exception]) -> None:
    segment = plan(SCRIPT, voices=VOICES, revision="1").segments[0].segment
    with pytest.raises(error):
        changed_text(segment, text, frozenset(VOICES))


async def test_a_pool_keeps_reserved_places_free_and_tells_of_every_change() -> None:
    told: list[tuple[int, int]] = []
    pool = FairPool(3, lambda: told.append((pool.used, pool.waiting)))
    pool.reserve(2)
    order: list[str] = []
    leave = asyncio.Event()

    async def work(name: str) -> None:
        async with pool.place(name):
            order.append(name)
            await leave.wait()

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert (order, pool.used, pool.waiting, pool.usable, pool.idle) == (["a"], 1, 2, 1, 0)
    pool.reserve(3)
    assert pool.usable == 0
    pool.reserve(1)
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    leave.set()
    await asyncio.gather(*tasks)
    assert (order, pool.idle) == (["a", "b", "c"], 2)
    assert told[0] == (1, 0)
    assert told[-1] == (0, 0)
    with pytest.raises(ValueError, match="can't be reserved"):
        pool.reserve(-1)


async def test_demand_is_told_when_it_changes_and_again_to_a_runner_that_was_away() -> None:
    demand, away = 0, True
    told: list[int] = []
    heard = asyncio.Event()

    async def report(places: int) -> None:
        if away:
            raise NotReadyError("away")
        told.append(places)
        heard.set()

    async def next_told() -> int:
        heard.clear()
        reporter.changed()
        async with asyncio.timeout(10):
            await heard.wait()
        return told[-1]

    reporter = DemandReporter(lambda: demand, report)
    demand = 3
    reporter.changed()
    away = False
    assert await next_told() == 3
    demand = 0
    assert await next_told() == 0
    await reporter.close()
