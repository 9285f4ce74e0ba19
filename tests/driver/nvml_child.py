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
from typing import Any

from telemetry.core.reader import UnknownCardError
from telemetry.node import NodeTelemetry
from telemetry.nvml import NvmlCards, uuid_of


class Commands:
    """One method per command; each returns something that JSON can carry."""

    def __init__(self) -> None:
        self._now = 0.0
        self._cards = NvmlCards(retry_s=10.0, clock=lambda: self._now)
        self._node: NodeTelemetry | None = None

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def read(self) -> list[dict[str, Any]]:
        return [asdict(sample) for sample in self._cards.read()]

    def problems(self) -> list[str]:
        return list(self._cards.problems())

    def missing(self) -> dict[str, Any] | None:
        return asdict(self._cards.missing) if self._cards.missing else None

    def close(self) -> None:
        self._cards.close()

    def uuid_of(self, entry: str) -> str:
        try:
            return uuid_of(entry)
        except UnknownCardError as error:
            return f"UnknownCardError: {error}"

    def start_node(self, period_s: float) -> None:
        self._node = NodeTelemetry("n", "h", NvmlCards(), period_s=period_s)
        self._node.start()

    def node(self) -> dict[str, Any]:
        assert self._node is not None
        samplers = [t for t in threading.enumerate() if t.name == "card-sampler"]
        return {
            "ages": {aged.sample.uuid: aged.age_s for aged in self._node.latest()},
            "samplers": len(samplers),
            "problems": list(self._node.snapshot().problems),
        }

    def close_node(self, timeout_s: float) -> bool:
        assert self._node is not None
        return self._node.close(timeout_s)

    def cpu_s(self, ticks: int) -> float:
        """Mean CPU time of one tick: reading all cards and keeping the samples."""
        telemetry = NodeTelemetry("n", "h", NvmlCards())
        telemetry.tick()
        before = time.process_time()
        for _ in range(ticks):
            telemetry.tick()
        return (time.process_time() - before) / ticks


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
