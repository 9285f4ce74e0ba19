"""The watch over a thousand simulated cards on 125 nodes: memory, time a tick, time of a page."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Sequence

from telemetry.body import to_json
from telemetry.cluster import ClusterView
from telemetry.core.alert_rules import RULES
from telemetry.core.thermal import DEFAULT_RULES
from telemetry.fleet_watch import FleetWatch
from tests.fleet_source import Fleet

NODES, CARDS, TICKS = 125, 8, 10


def run() -> Sequence[str]:
    """The figures."""
    return asyncio.run(_measure())


async def _measure() -> list[str]:
    fleet = Fleet(NODES, CARDS)
    view = ClusterView(fleet, clock=fleet.clock, wall=fleet.clock)
    watch = FleetWatch(
        view,
        thermal=DEFAULT_RULES,
        alerts=RULES,
        post=lambda _message: None,
        clock=fleet.clock,
        wall=fleet.clock,
    )
    tracemalloc.start()
    await watch.tick()
    held_mib = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    ticks, pages, histories = [], [], []
    uuids = tuple(f"SIM-n{n}-{c}" for n in range(NODES) for c in range(CARDS))
    for _ in range(TICKS):
        fleet.now += 2.0
        ticks.append(await _timed(watch.tick()))
        pages.append(await _timed(_page(view, fleet.now - 2.0)))
        began = time.process_time()
        watch.windows(uuids[:8], "temp_c", 10, 0.0)
        histories.append(time.process_time() - began)
    return [
        f"fleet watch, {NODES} nodes x {CARDS} simulated cards, one process:",
        f"  memory after a tick     {held_mib:8.0f} MiB (a day of every card)",
        f"  CPU of a tick (2 s)     {1000 * statistics.median(ticks):8.0f} ms",
        f"  page data, 2 s of news  {1000 * statistics.median(pages):8.0f} ms (bar 100)",
        f"  6 h of 8 cards          {1000 * statistics.median(histories):8.1f} ms",
    ]


async def _page(view: ClusterView, since: float) -> None:
    json.dumps(to_json(await view.gather(since)))


async def _timed(work: Awaitable[object]) -> float:
    began = time.process_time()
    await work
    return time.process_time() - began
