"""Reads cards in a process that was started with the stand-in driver on its library path.

Started by :class:`NvmlChild` of this file; takes one JSON command a line on stdin and answers
with one JSON line on stdout. The clock stands still unless a command moves it.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from telemetry.card_metrics import observe_cards
from telemetry.core.reader import Reading, UnknownCardError
from telemetry.node import NodeTelemetry
from telemetry.nvml import NvmlCards, uuid_of
from telemetry.otel import start_metrics


class Commands:
    """One method per command; each returns something that JSON can carry."""

    def __init__(self) -> None:
        self._now = 0.0
        self._cards = NvmlCards(retry_s=10.0, slow_s=15.0, clock=lambda: self._now)
        self._node: NodeTelemetry | None = None

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def read(self) -> list[dict[str, Any]]:
        """All samples of one look at every lane."""
        return [asdict(sample) for reading in self._look() for sample in reading.samples]

    def faults(self) -> list[list[Any]]:
        """UUID and number of all faults of one look at every lane."""
        return [[xid.uuid, xid.xid] for reading in self._look() for xid in reading.xids]

    def _look(self) -> list[Reading]:
        return [lane.read() for lane in self._cards.lanes()]

    def problems(self) -> list[str]:
        return list(self._cards.problems())

    def close(self) -> None:
        self._cards.close()

    def uuid_of(self, entry: str) -> str:
        try:
            return uuid_of(entry)
        except UnknownCardError as error:
            return f"UnknownCardError: {error}"

    def start_node(self, period_s: float) -> None:
        self._node = NodeTelemetry("n", "h", NvmlCards(retry_s=0.05), period_s=period_s)
        self._node.start()

    def export_node(self) -> None:
        """Export the node's cards to where the environment says."""
        assert self._node is not None
        metrics = start_metrics("test")
        assert metrics is not None
        observe_cards(metrics.meter, self._node)

    def node(self) -> dict[str, Any]:
        """What the node knows, and its threads."""
        assert self._node is not None
        snapshot = self._node.snapshot()
        return {
            "ages": {aged.sample.uuid: aged.age_s for aged in snapshot.latest},
            "temps": {aged.sample.uuid: aged.sample.temp_c for aged in snapshot.latest},
            "times": {
                aged.sample.uuid: [
                    sample.timestamp
                    for sample in snapshot.samples
                    if sample.uuid == aged.sample.uuid
                ]
                for aged in snapshot.latest
            },
            "xids": [[event.uuid, event.xid, event.count] for event in snapshot.xids],
            "threads": sorted(thread.name for thread in _sampler_threads()),
            "problems": list(snapshot.problems),
        }

    def close_node(self, timeout_s: float) -> bool:
        assert self._node is not None
        return self._node.close(timeout_s)

    def tick_cpu_s(self, ticks: int, slow_s: float) -> float:
        """Mean CPU time of one tick in one thread: reading all cards and keeping the samples."""
        telemetry = NodeTelemetry("n", "h", NvmlCards(slow_s=slow_s))
        telemetry.tick()
        before = time.process_time()
        for _ in range(ticks):
            telemetry.tick()
        return (time.process_time() - before) / ticks

    def run(self, period_s: float, run_s: float, export: bool) -> dict[str, float]:
        """Samples for a while: CPU time a period, and the longest time between two samples of a
        card, s."""
        self.start_node(period_s)
        assert self._node is not None
        self._node.wait_first(10.0)
        if export:
            self.export_node()
        before, began = (_thread_cpu_s(), time.process_time()), time.monotonic()
        time.sleep(run_s)
        after = (_thread_cpu_s(), time.process_time())
        ticks = (time.monotonic() - began) / period_s
        gaps = [
            later - earlier
            for times in self.node()["times"].values()
            for earlier, later in pairwise(times)
        ]
        return {
            "thread_cpu_s": (after[0] - before[0]) / ticks,
            "cpu_s": (after[1] - before[1]) / ticks,
            "gap_s": max(gaps),
        }


def _sampler_threads() -> list[threading.Thread]:
    names = {"card-sampler", "card-reader"}
    return [thread for thread in threading.enumerate() if thread.name in names]


def _thread_cpu_s() -> float:
    """CPU time of the sampler's threads so far."""
    ids = [thread.ident for thread in _sampler_threads() if thread.ident is not None]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in ids)


class NvmlChild:
    """The parent's end: ``child("read")`` runs a command in the child.

    Args:
        environment: From :func:`tests.driver.build.environment`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            text=True,
        )

    def __call__(self, command: str, *args: object, timeout_s: float = 30.0) -> Any:
        """Run a command; AssertionError if it does not answer in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *args]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        assert ready, f"{command} did not answer within {timeout_s} s"
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """End the child; a thread that hangs in the driver does not hold it up."""
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Answer commands until stdin ends."""
    commands = Commands()
    for line in sys.stdin:
        name, *args = json.loads(line)
        sys.stdout.write(json.dumps(getattr(commands, name)(*args)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
