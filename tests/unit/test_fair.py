"""Places go round between owners, and none is ever lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.fair import FairPool, Places


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_owners_take_turns_and_each_keeps_its_own_order() -> None:
    pool = FairPool(1)
    order: list[str] = []

    async def work(owner: str, name: str, *, first: bool = False) -> None:
        async with pool.place(owner, first=first):
            order.append(name)

    async with pool.place("holder"):
        tasks = [asyncio.create_task(work("long", f"long{i}")) for i in range(4)]
        await _settle()
        tasks.append(asyncio.create_task(work("short", "short")))
        tasks.append(asyncio.create_task(work("long", "again", first=True)))
        await _settle()
        assert pool.waiting == 6
    await asyncio.gather(*tasks)
    assert order == ["again", "short", "long0", "long1", "long2", "long3"]
    assert (pool.used, pool.waiting) == (0, 0)


async def test_a_wait_counts_from_the_owners_last_turn_and_not_for_who_can_wait() -> None:
    now_s = 0.0
    pool = FairPool(1, clock=lambda: now_s)
    assert pool.waits_s() == 0.0
    ends = [asyncio.Event() for _ in range(3)]

    async def work(owner: str, end: asyncio.Event, priority: int = 0) -> None:
        async with pool.place(owner, priority=priority):
            await end.wait()

    tasks = [asyncio.create_task(work("script", end)) for end in ends]
    tasks.append(asyncio.create_task(work("batch", asyncio.Event(), priority=5)))
    await _settle()
    now_s = 50.0
    assert pool.waits_s() == 50.0
    ends[0].set()
    await _settle()
    assert pool.waits_s() == 0.0
    now_s = 90.0
    assert pool.waits_s() == 40.0
    tasks[2].cancel()
    await _settle()
    assert pool.waits_s() == 0.0
    assert pool.waiting == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@given(
    width=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["run", "cancel"])), max_size=30),
    resize=st.integers(1, 6),
)
def test_never_over_width_and_nothing_leaks(
    width: int, steps: list[tuple[int, str]], resize: int
) -> None:
    async def scenario() -> None:
        pool = FairPool(width)
        peak = 0

        async def work(owner: int) -> None:
            nonlocal peak
            async with pool.place(owner):
                peak = max(peak, pool.used)
                await asyncio.sleep(0)

        tasks = []
        for owner, action in steps:
            task = asyncio.create_task(work(owner))
            tasks.append(task)
            await asyncio.sleep(0)
            if action == "cancel":
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert peak <= width
        assert (pool.used, pool.waiting) == (0, 0)
        assert pool._turn_s == {}
        pool.resize(resize)
        async with asyncio.timeout(5):
            await asyncio.gather(*(work(i) for i in range(8)))
        assert pool.used == 0

    asyncio.run(scenario())


async def test_cancelled_at_the_moment_of_being_served_gives_the_place_back() -> None:
    pool = FairPool(1)

    async def work() -> None:
        async with pool.place("b"):
            pass

    async with pool.place("a"):
        waiter = asyncio.create_task(work())
        await _settle()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert (pool.used, pool.waiting) == (0, 0)


def test_a_pool_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FairPool(0)
    with pytest.raises(ValueError, match="at least one"):
        FairPool(1).resize(0)


async def test_a_higher_number_waits_for_the_lower_ones() -> None:
    pool = FairPool(1)
    order: list[str] = []

    async def work(places: Places, name: str) -> None:
        async with places.place(name):
            order.append(name)

    async with pool.place("holder"):
        tasks = [asyncio.create_task(work(pool.at(5), f"batch{i}")) for i in range(2)]
        await _settle()
        tasks += [asyncio.create_task(work(pool.at(0), f"live{i}")) for i in range(2)]
        left = asyncio.create_task(work(pool.at(3), "left"))
        await _settle()
        assert pool.waiting == 5
        left.cancel()
        await _settle()
        assert pool.waiting == 4
    await asyncio.gather(*tasks)
    assert order == ["live0", "live1", "batch0", "batch1"]
    assert (pool.used, pool.waiting, pool.idle) == (0, 0, 1)
