"""Slots and the threads behind an engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.slots import Slots
from serve_app.engines.workers import SlotThreads, StopSignal
from serve_app.errors import EngineCrashedError, EngineTimeoutError

STEPS = st.lists(
    st.one_of(
        st.just(("come", 0)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("give up"), st.integers(0, 9)),
        st.tuples(st.just("resize"), st.integers(1, 4)),
    ),
    max_size=40,
)


class Callers:
    """Callers of some slots, each a task that holds its place until it is told to leave."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._tasks: list[asyncio.Task[None]] = []
        self._leave: list[asyncio.Event] = []
        self.inside: list[int] = []
        self.entered: list[int] = []
        self.gave_up: set[int] = set()

    def come(self) -> None:
        self._leave.append(asyncio.Event())
        self._tasks.append(asyncio.create_task(self._stay(len(self._tasks))))

    def leave(self, index: int) -> None:
        if self.inside:
            self._leave[self.inside[index % len(self.inside)]].set()

    def give_up(self, index: int) -> None:
        waiting = self.waiting
        if waiting:
            number = waiting[index % len(waiting)]
            self.gave_up.add(number)
            self._tasks[number].cancel()

    @property
    def waiting(self) -> list[int]:
        gone = self.gave_up | set(self.entered)
        return [number for number in range(len(self._tasks)) if number not in gone]

    async def all_leave(self) -> None:
        for event in self._leave:
            event.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stay(self, number: int) -> None:
        await self._slots.acquire()
        self.entered.append(number)
        self.inside.append(number)
        try:
            await self._leave[number].wait()
        finally:
            self.inside.remove(number)
            self._slots.release()


@given(STEPS, st.integers(1, 3))
def test_places_are_given_in_order_and_never_too_many(
    steps: list[tuple[str, int]], limit: int
) -> None:
    async def scene() -> None:
        slots = Slots(limit)
        callers = Callers(slots)
        for step, value in steps:
            busy = slots.busy
            if step == "come":
                callers.come()
            elif step == "leave":
                callers.leave(value)
            elif step == "give up":
                callers.give_up(value)
            else:
                slots.resize(value)
            for _ in range(4):  # a step's wake-ups: leave, grant, enter
                await asyncio.sleep(0)
            assert slots.busy == len(callers.inside)
            assert slots.waiting == len(callers.waiting)
            assert slots.busy <= max(slots.limit, busy)
            assert slots.waiting == 0 or slots.busy >= slots.limit
            assert callers.entered == sorted(callers.entered)
        await callers.all_leave()
        assert slots.busy == slots.waiting == 0

    asyncio.run(scene())


async def test_a_place_granted_to_a_cancelled_caller_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.acquire()
    first = asyncio.create_task(slots.acquire())
    second = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (slots.busy, slots.waiting) == (1, 0)


async def test_closed_slots_refuse_everyone() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiting = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.close()
    for refused in (waiting, slots.acquire()):
        with pytest.raises(EngineCrashedError, match="closed"):
            await refused
    slots.release()
    assert slots.busy == 0


@pytest.fixture
async def threads() -> AsyncIterator[SlotThreads]:
    made = SlotThreads("test", 1, bound=3)
    yield made
    await made.close()


class Source:
    """Work that counts, up to *stop* or for ever, and says how far it is."""

    def __init__(self, stop: int | None = None, error: BaseException | None = None) -> None:
        self._stop, self._error = stop, error
        self.made = 0
        self.ended = threading.Event()

    def __call__(self, signal: StopSignal) -> Generator[int, None, None]:
        try:
            while self.made != self._stop:
                self.made += 1
                yield self.made
            if self._error is not None:
                raise self._error
        finally:
            self.ended.set()


class Stubborn:
    """Work that gives one item and then does not stop when it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self, signal: StopSignal) -> Generator[int, None, None]:
        yield 1
        self.release.wait()


async def test_items_come_in_order_and_end(threads: SlotThreads) -> None:
    assert [item async for item in threads.stream(Source(100))] == list(range(1, 101))
    assert threads.slots.busy == 0


async def test_work_waits_for_a_slow_caller(threads: SlotThreads) -> None:
    source = Source(1000)
    async with aclosing(threads.stream(source)) as items:
        async for item in items:
            assert source.made <= item + 3 + 1, "three may wait, one is in its hands"
    assert source.made == 1000


@pytest.mark.parametrize("error", [EngineTimeoutError("late"), ValueError("bug"), SystemExit(3)])
async def test_what_work_raises_reaches_the_caller_after_its_items(
    threads: SlotThreads, error: BaseException
) -> None:
    heard: list[int] = []
    with pytest.raises(type(error)):
        async for item in threads.stream(Source(2, error)):
            heard.append(item)  # noqa: PERF401 - what came before the error counts
    assert heard == [1, 2]
    assert [item async for item in threads.stream(Source(1))] == [1]


async def test_closing_stops_work_that_waits_for_room(threads: SlotThreads) -> None:
    source = Source()
    async with aclosing(threads.stream(source)) as items:
        await anext(items)
    assert source.ended.is_set()
    assert threads.slots.busy == 0


async def test_closing_calls_what_the_work_wants_called(threads: SlotThreads) -> None:
    told = threading.Event()

    def work(signal: StopSignal) -> Generator[int, None, None]:
        signal.on_stop(told.set)
        yield 1
        told.wait()
        assert signal.stopped

    async with aclosing(threads.stream(work)) as items:
        await anext(items)
    assert told.is_set()
    threads.check()
    assert threads.slots.busy == 0


def test_a_late_hook_is_called_at_once_and_each_only_once() -> None:
    signal = StopSignal()
    calls: list[str] = []
    signal.on_stop(lambda: calls.append("early"))
    signal.stop()
    signal.stop()
    signal.on_stop(lambda: calls.append("late"))
    assert calls == ["early", "late"]


async def test_a_slot_is_taken_until_its_caller_closes(threads: SlotThreads) -> None:
    source = Source(1)
    async with aclosing(threads.stream(source)) as items:
        await anext(items)
        await asyncio.to_thread(source.ended.wait)
        assert threads.slots.busy == 1
    assert threads.slots.busy == 0


async def test_a_stuck_thread_keeps_its_slot_and_makes_the_engine_ill() -> None:
    threads = SlotThreads("test", 1, grace_s=0.01)
    work = Stubborn()
    async with aclosing(threads.stream(work)) as items:
        await anext(items)
    with pytest.raises(EngineCrashedError, match="1 of 1 threads"):
        threads.check()
    assert threads.slots.busy == 1
    waiting = asyncio.create_task(anext(threads.stream(Source(1))))
    work.release.set()
    assert await waiting == 1
    threads.check()


async def test_a_check_runs_beside_the_slots(threads: SlotThreads) -> None:
    async with aclosing(threads.stream(Source())) as items:
        await anext(items)
        assert await threads.run(Source(5), 10.0) == 1


async def test_a_check_that_gives_nothing_in_time_makes_the_engine_ill(
    threads: SlotThreads,
) -> None:
    release = threading.Event()

    def work(signal: StopSignal) -> Generator[int, None, None]:
        release.wait()
        yield 1

    with pytest.raises(EngineTimeoutError, match=r"0\.01 s"):
        await threads.run(work, 0.01)
    with pytest.raises(EngineCrashedError):
        threads.check()
    release.set()


async def test_a_check_that_gives_nothing_at_all_is_an_error(threads: SlotThreads) -> None:
    with pytest.raises(EngineCrashedError, match="gave nothing"):
        await threads.run(Source(0), 10.0)
    with pytest.raises(ValueError, match="bug"):
        await threads.run(Source(0, ValueError("bug")), 10.0)


async def test_close_ends_streams_with_an_error_and_refuses_new_work() -> None:
    threads = SlotThreads("test", 2)
    source = Source()
    async with aclosing(threads.stream(source)) as items:
        await anext(items)
        await threads.close()
        assert source.ended.is_set()
        with pytest.raises(EngineCrashedError, match="closed"):
            while True:
                await anext(items)
    await threads.close()
    for refused in (anext(threads.stream(Source(1))), threads.run(Source(1), 1.0)):
        with pytest.raises(EngineCrashedError, match="closed"):
            await refused
    with pytest.raises(EngineCrashedError, match="closed"):
        threads.check()


@pytest.mark.parametrize("limit", [0, -3])
def test_no_slots_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=str(limit)):
        Slots(limit)
    slots = Slots(1)
    with pytest.raises(ValueError, match=str(limit)):
        slots.resize(limit)
    assert slots.limit == 1
