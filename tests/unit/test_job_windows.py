"""A stream between processes waits for its reader."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.jobs.windows import Windows


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.integers(1, 9), st.lists(st.integers(0, 40), max_size=20))
def test_never_more_is_under_way_than_agreed(most: int, told: list[int]) -> None:
    async def run() -> None:
        windows, sent = Windows(most), 0

        async def send() -> None:
            nonlocal sent
            with windows.open("r") as window:
                while True:
                    await window.send()
                    sent += 1

        sending = asyncio.create_task(send())
        await settled()
        assert sent == most
        taken = 0
        for count in told:
            windows.taken("r", min(count, sent))  # late and repeated words among them
            taken = max(taken, min(count, sent))
            for _ in range(5 * most):
                await asyncio.sleep(0)
            assert sent == taken + most
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        windows.taken("r", 1000)

    asyncio.run(run())


async def test_streams_do_not_wait_for_each_other() -> None:
    windows = Windows(1)
    with windows.open("one") as one, windows.open("two") as two:
        await one.send()
        await two.send()
        windows.taken("two", 1)
        await asyncio.wait_for(two.send(), 5)
        waiting = asyncio.create_task(one.send())
        await settled()
        assert not waiting.done()
        windows.taken("one", 1)
        await asyncio.wait_for(waiting, 5)
