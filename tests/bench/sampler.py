"""CPU time of one tick of the card sampler, over the stand-in driver.

python -m tests.bench.sampler
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.driver.build import build, cards, environment, write_state
from tests.driver.nvml_child import NvmlChild

CARDS = 8
TICKS = 2_000
TARGET_S = 0.002


def measure() -> float:
    """Mean CPU seconds of a tick with ``CARDS`` cards."""
    with tempfile.TemporaryDirectory() as directory:
        library = build(Path(directory))
        state = library / "cards.state"
        write_state(state, cards(CARDS))
        child = NvmlChild(environment(library, state))
        try:
            return float(child("cpu_s", TICKS))
        finally:
            child.stop()


def main() -> None:
    """Print the figure beside what was promised."""
    cost_s = measure()
    sys.stdout.write(
        f"sampling {CARDS} cards: {cost_s * 1e3:.2f} ms of CPU a tick "
        f"(promised: at most {TARGET_S * 1e3:g} ms)\n"
    )


if __name__ == "__main__":
    main()
