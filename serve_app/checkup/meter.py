"""What one card does while something runs, summed up from the samples of its node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final, Protocol

from serve_app.core.check import CardUse
from telemetry.core.sample import CardSample
from telemetry.snapshot import NodeSnapshot

POLL_S: Final = 1.0
"""Well below the age and number of samples that a node keeps."""

_AT_REST: Final = "idle"
_TOLD: Final = (
    *("mem_before_bytes", "mem_peak_bytes", "mem_after_bytes", "temp_start_c", "temp_max_c"),
    *("power_mean_w", "energy_j", "throttle"),
)


class CardWatch(Protocol):
    """Samples cards in a thread of its own; :class:`telemetry.here.ThisNode` does."""

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        """What it has seen; only samples later than the Unix time *since*."""
        ...


class Tally:
    """Sums over the samples of one card, in constant memory."""

    def __init__(self) -> None:
        self._count = 0
        self._first: CardSample | None = None
        self._last: CardSample | None = None
        self._mem_peak: int | None = None
        self._temp_max: float | None = None
        self._watts = self._joules = 0.0
        self._power_count = 0
        self._held: set[str] = set()
        self._held_count = self._throttle_count = 0

    def add(self, sample: CardSample) -> None:
        """Count one more sample, later than the others."""
        before, self._last = self._last, sample
        self._first = self._first or sample
        self._count += 1
        if sample.mem_used_bytes is not None:
            self._mem_peak = max(self._mem_peak or 0, sample.mem_used_bytes)
        if sample.temp_c is not None:
            hottest = sample.temp_c if self._temp_max is None else self._temp_max
            self._temp_max = max(hottest, sample.temp_c)
        if sample.power_w is not None:
            self._watts += sample.power_w
            self._power_count += 1
            if before is not None and before.power_w is not None:
                passed_s = sample.timestamp - before.timestamp
                self._joules += (before.power_w + sample.power_w) / 2 * passed_s
        if sample.throttle is not None:
            held = set(sample.throttle) - {_AT_REST}
            self._throttle_count += 1
            self._held_count += bool(held)
            self._held |= held

    def use(self) -> CardUse:
        """What was seen."""
        first, last = self._first, self._last
        if first is None or last is None:
            return CardUse(0, 0.0, missing={"card": "no sample came while it ran"})
        energy_j, energy_from = self._energy(first, last)
        told = self._throttle_count > 0
        use = CardUse(
            samples=self._count,
            metered_s=last.timestamp - first.timestamp,
            mem_before_bytes=first.mem_used_bytes,
            mem_peak_bytes=self._mem_peak,
            mem_after_bytes=last.mem_used_bytes,
            temp_start_c=first.temp_c,
            temp_max_c=self._temp_max,
            power_mean_w=self._watts / self._power_count if self._power_count else None,
            energy_j=energy_j,
            energy_from=energy_from,
            throttle=tuple(sorted(self._held)) if told else None,
            throttled_share=self._held_count / self._throttle_count if told else None,
        )
        untold = "the card or its driver does not tell it"
        missing = {name: untold for name in _TOLD if getattr(use, name) is None}
        if energy_j is None and self._count == 1:
            missing["energy_j"] = "a single reading; speak more segments"
        return replace(use, missing=missing)

    def _energy(self, first: CardSample, last: CardSample) -> tuple[float | None, str | None]:
        """By the card's counter, else from its power."""
        if self._count < 2:
            return None, None
        if first.energy_j is not None and last.energy_j is not None:
            return last.energy_j - first.energy_j, "counter"
        return (self._joules, "power") if self._power_count == self._count else (None, None)


class CardMeter:
    """Meters one card; for one event loop.

    Args:
        watch: Samples it.
        uuid: The card; None takes the only one there is, and nothing if there are several.
        poll_s: Seconds between two looks at the watch.
        wall: Unix seconds, as the samples have them.
    """

    def __init__(
        self,
        watch: CardWatch,
        uuid: str | None,
        *,
        poll_s: float = POLL_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._watch, self._uuid = watch, uuid
        self._poll_s, self._wall = poll_s, wall

    @asynccontextmanager
    async def metering(self) -> AsyncIterator[Tally]:
        """Count the samples that are taken within a block; the tally is complete after it."""
        tally = Tally()
        newest = self._wall()

        async def collect() -> None:
            nonlocal newest
            seen = await self._watch.snapshot("here", newest)
            samples = self._mine(seen)
            for sample in samples:
                tally.add(sample)
            newest = max((sample.timestamp for sample in samples), default=newest)

        async def poll() -> None:
            while True:
                await asyncio.sleep(self._poll_s)
                await collect()

        polling = asyncio.create_task(poll())
        try:
            yield tally
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling
            await collect()

    def _mine(self, seen: NodeSnapshot) -> list[CardSample]:
        uuids = {aged.sample.uuid for aged in seen.latest}
        only = uuids.pop() if len(uuids) == 1 else None
        wanted = self._uuid or only
        return [sample for sample in seen.samples if sample.uuid == wanted]
