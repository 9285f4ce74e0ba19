"""How an ingress tells the runner of the jobs what its requests have or want."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from serve_app.errors import ServeError

_LEAST_S: Final = 0.05
_RENEW_S: Final = 1.0


class DemandReporter:
    """Reports each change at once, at most twenty times a second, and renews it every second.

    Args:
        demand: Places that requests have or want now.
        report: Tells the runner; a ServeError means that it is away, and is tried again.
    """

    def __init__(self, demand: Callable[[], int], report: Callable[[int], Awaitable[None]]) -> None:
        self._demand, self._report = demand, report
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def changed(self) -> None:
        """Something may have changed; for :class:`serve_app.core.fair.FairPool`."""
        self._news.set()

    async def close(self) -> None:
        """Stop; what was reported last is soon forgotten."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        told: int | None = None
        while True:
            self._news.clear()
            demand = self._demand()
            if demand or demand != told:
                with suppress(ServeError):
                    await self._report(demand)
                    told = demand
            await asyncio.sleep(_LEAST_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_S):
                    await self._news.wait()
