"""Items that come one by one, taken as many at a time as there are.

What crosses a process costs about the same for one small item as for many: a fast engine's chunks
travel together, a slow one's each at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")


async def gathered(
    source: AsyncGenerator[Item, None], size_of: Callable[[Item], int], most_bytes: int
) -> AsyncGenerator[tuple[Item, ...], None]:
    """Yield all items that have come since the last batch; never waits for more than one.

    The source runs in a task of its own, until *most_bytes* wait here; closing this ends it.

    Args:
        source: Closed at the end.
        size_of: Bytes of an item.
        most_bytes: Held here at most, and one item more.

    Raises:
        Exception: What the source raises, behind the items before it.
    """
    ready: list[Item] = []
    changed, room = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        held_bytes = 0
        async with aclosing(source) as items:
            async for item in items:
                held_bytes = size_of(item) + (held_bytes if ready else 0)
                ready.append(item)
                changed.set()
                if held_bytes >= most_bytes:
                    room.clear()
                    await room.wait()

    reader = asyncio.create_task(run())
    reader.add_done_callback(lambda _: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            if ready:
                batch = tuple(ready)
                ready.clear()
                room.set()
                yield batch
            if reader.done() and not ready:
                await reader
                return
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
