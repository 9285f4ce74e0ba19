"""Reading a stream's beginning before anybody asks: no byte lost, closed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serve_app.ahead import Ahead
from serve_app.errors import EngineError


class Source:
    """Yields its parts; waits for the gate in front of the one of that number."""

    def __init__(self, parts: list[bytes], gate_at: int | None = None, *, fails: bool = False):
        self.parts, self.gate_at, self.fails = parts, gate_at, fails
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        self.closed = False

    async def body(self) -> AsyncGenerator[bytes, None]:
        try:
            for number, part in enumerate(self.parts):
                if number == self.gate_at:
                    self.reached.set()
                    await self.gate.wait()
                yield part
            if self.fails:
                raise EngineError("broken")
        finally:
            self.closed = True


async def all_of(ahead: Ahead) -> bytes:
    return b"".join([part async for part in ahead])


async def test_a_short_stream_is_whole_and_a_long_one_is_not() -> None:
    short = Ahead(Source([b"b", b"c"]).body(), b"a")
    await short.read_on(5.0)
    assert short.whole
    assert await all_of(short) == b"abc"
    source = Source([b"b", b"c", b"d"], gate_at=1)
    long = Ahead(source.body(), b"a")
    await long.read_on(0.01)
    assert not long.whole
    assert await anext(long) == b"ab"
    source.gate.set()
    assert await all_of(long) == b"cd"


async def test_without_reading_ahead_it_is_the_stream_itself() -> None:
    ahead = Ahead(Source([b"b", b"c"]).body(), b"a")
    await ahead.read_on(0.0)
    assert [part async for part in ahead] == [b"a", b"b", b"c"]


async def test_closing_in_the_middle_of_a_read_closes_the_stream() -> None:
    source = Source([b"b", b"c"], gate_at=1)
    ahead = Ahead(source.body(), b"a")
    await ahead.read_on(0.01)
    await ahead.aclose()
    assert source.closed


async def test_an_error_is_raised_where_it_is_met_and_closes_the_stream() -> None:
    source = Source([b"b"], fails=True)
    with pytest.raises(EngineError, match="broken"):
        await Ahead(source.body(), b"a").read_on(5.0)
    assert source.closed
    late = Source([b"b", b"c"], gate_at=1, fails=True)
    ahead = Ahead(late.body(), b"a")
    await ahead.read_on(0.01)
    late.gate.set()
    with pytest.raises(EngineError, match="broken"):
        await all_of(ahead)


async def test_a_reader_who_is_cancelled_closes_the_stream() -> None:
    source = Source([b"b", b"c"], gate_at=1)
    reading = asyncio.create_task(Ahead(source.body(), b"").read_on(30.0))
    await source.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed
