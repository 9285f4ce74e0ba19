"""What sampling eight cards costs, over the stand-in driver, and how late a sample comes.

python -m tests.bench.sampler
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.driver.build import build, cards, environment, write_state
from tests.driver.nvml_child import NvmlChild
from tests.otlp import BlackHole

CARDS = 8
ROUNDS = 3
TICKS = 1_000
PERIOD_S = 1.0
RUN_S = 15.0
TARGET_S = 0.002
LATEST_S = 1.5
DEAD = {
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


@contextmanager
def child(**variables: str) -> Iterator[NvmlChild]:
    """A process that sees the cards."""
    with tempfile.TemporaryDirectory() as directory:
        library = build(Path(directory))
        state = library / "cards.state"
        write_state(state, cards(CARDS))
        started = NvmlChild({**environment(library, state), **variables})
        try:
            yield started
        finally:
            started.stop()


def tick_s(slow_s: float) -> float:
    """Median over the rounds of the CPU time of a tick, every *slow_s* with the slow tier."""

    def one() -> float:
        with child() as sampler:
            return float(sampler("tick_cpu_s", TICKS, slow_s))

    return statistics.median(one() for _ in range(ROUNDS))


def run(*, export: bool) -> dict[str, Any]:
    """The sampler with its own threads; with *export*, the process exports to a dead collector."""
    with BlackHole() as hole:
        variables = {**DEAD, "OTEL_EXPORTER_OTLP_ENDPOINT": hole.endpoint} if export else {}
        with child(**variables) as sampler:
            return dict(sampler("run", PERIOD_S, RUN_S, export, timeout_s=RUN_S + 30))


def main() -> None:
    """Print the figures beside what was promised."""
    for what, slow_s in (("fast tier", 3600.0), ("fast and slow tier", 0.0)):
        sys.stdout.write(
            f"{CARDS} cards, {what}, one thread: {tick_s(slow_s) * 1e3:.2f} ms of CPU a tick "
            f"(promised for the fast tier: at most {TARGET_S * 1e3:g} ms)\n"
        )
    for where, export in (("nowhere", False), ("to a dead collector", True)):
        seen = run(export=export)
        sys.stdout.write(
            f"{CARDS} cards each {PERIOD_S:g} s in the sampler's threads, exporting {where}: "
            f"{seen['thread_cpu_s'] * 1e3:.2f} ms of CPU a tick in those, "
            f"{seen['cpu_s'] * 1e3:.2f} ms in the whole process; longest time between two "
            f"samples of a card {seen['gap_s']:.3f} s (promised: at most {LATEST_S:g} s)\n"
        )


if __name__ == "__main__":
    main()
