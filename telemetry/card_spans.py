"""What a card did meanwhile, on the span of the synthesis that ran on it.

The node's actor knows the samples, so somebody has to ask it: one sampling period after the end,
since the last of the work is in the sample behind it. No listener should wait for that: the span's
block ends first, with the time of its end noted, and the span itself when the answer is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from telemetry.core.card_use import NEAREST_S, CardUse
from telemetry.spans import Span

logger = logging.getLogger(__name__)

AskCard = Callable[[float, float], Awaitable[CardUse | None]]
"""What the replica's card did between two Unix times."""


class CardSpans:
    """Ends a replica's synthesis spans; owned by one event loop.

    Args:
        ask: Asks the node; may fail or take any time.
        period_s: Between two samples of the card.
        timeout_s: Longest wait for an answer.
        most: Spans that wait at once; further ones end without.
    """

    def __init__(
        self, ask: AskCard, *, period_s: float = 1.0, timeout_s: float = 1.0, most: int = 512
    ) -> None:
        self._ask, self._timeout_s, self._most = ask, timeout_s, most
        # A sample that comes later says nothing about the span.
        self._wait_s = min(period_s, NEAREST_S)
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def end(self, span: Span) -> None:
        """End a span whose block is over, now or when its card's answer is there."""
        if not span.kept or len(self._tasks) >= self._most:
            span.end()
            return
        task = asyncio.get_running_loop().create_task(self._finish(span))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask for what is left at once, and wait for the answers; bounded by the time-out."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _finish(self, span: Span) -> None:
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._wait_s)
            async with asyncio.timeout(self._timeout_s):
                use = await self._ask(span.began, span.ended)
        except Exception as error:  # noqa: BLE001 - whatever the node's trouble is, the span ends
            logger.debug("a span ends without its card: %s", error or type(error).__name__)
        else:
            if use is not None:
                describe_card(span, use)
        finally:
            span.end()


def describe_card(span: Span, use: CardUse) -> None:
    """Put on a span what its card did meanwhile."""
    span.set(
        {
            "hw.id": use.uuid,
            "vibevoice.gpu.utilization.mean": None if use.gpu_util is None else use.gpu_util / 100,
            "vibevoice.gpu.memory.peak": use.mem_peak_bytes,
            "vibevoice.gpu.temperature.peak": use.temp_peak_c,
            "vibevoice.gpu.energy": use.energy_j,
            "vibevoice.gpu.throttled": use.throttled,
            "vibevoice.gpu.samples": use.samples,
        }
    )
    for change in use.changes:
        span.event(
            f"card {change.state}",
            {"hw.id": change.uuid, "vibevoice.gpu.guard.why": change.why},
            at=change.timestamp,
        )
