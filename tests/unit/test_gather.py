"""Items taken as many at a time as there are: none lost, none out of turn, none waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.gather import gathered

ROUNDS = st.lists(st.integers(1, 6), max_size=12)


async def in_rounds(rounds: list[int], fails: bool = False) -> AsyncGenerator[int, None]:
    """Counts; others get a turn between two rounds only."""
    number = 0
    for size in rounds:
        await asyncio.sleep(0)
        for _ in range(size):
            yield number
            number += 1
    if fails:
        raise ValueError("the source broke")


@given(ROUNDS, st.integers(1, 8), st.booleans())
def test_nothing_is_lost_or_out_of_turn(rounds: list[int], most: int, fails: bool) -> None:
    async def take() -> list[tuple[int, ...]]:
        batches = []
        try:
            async with aclosing(gathered(in_rounds(rounds, fails), lambda _: 1, most)) as taken:
                async for batch in taken:
                    batches.append(batch)  # noqa: PERF401 - those before an error count too
        except ValueError:
            assert fails
        else:
            assert not fails
        return batches

    batches = asyncio.run(take())
    assert [item for batch in batches for item in batch] == list(range(sum(rounds)))
    assert all(1 <= len(batch) <= most for batch in batches)


async def test_what_comes_together_goes_together_and_the_first_waits_for_nobody() -> None:
    more = asyncio.Event()

    async def source() -> AsyncGenerator[str, None]:
        yield "started"
        await more.wait()
        for word in ("one", "two", "three"):
            yield word

    async with aclosing(gathered(source(), len, 1000)) as batches:
        assert await anext(batches) == ("started",)
        more.set()
        assert await anext(batches) == ("one", "two", "three")


async def test_a_reader_that_stops_stops_the_source() -> None:
    taken = 0

    async def source() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        while True:
            taken += 1
            yield b"four"

    async with aclosing(gathered(source(), len, 12)) as batches:
        await anext(batches)
        for _ in range(100):
            await asyncio.sleep(0)
    assert taken <= 7  # a batch of three, the next three, and the one that waits for room


async def test_closing_ends_the_source_and_waits_for_its_end() -> None:
    ended = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    batches = gathered(source(), lambda _: 1, 10)
    await anext(batches)
    await batches.aclose()
    assert ended.is_set()


async def test_a_cancelled_reader_ends_the_source() -> None:
    ended = asyncio.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            ended.set()

    async def read() -> None:
        async with aclosing(gathered(source(), lambda _: 1, 10)) as batches:
            await anext(batches)

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert ended.is_set()
