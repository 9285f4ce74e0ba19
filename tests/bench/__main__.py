"""Run the benchmarks named on the command line, or all, and print their figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from tests.bench import core_speed, piper_speed, scale, vibevoice_batching

BENCHMARKS: dict[str, Callable[[], Sequence[str]]] = {
    "core": core_speed.run,
    "piper": piper_speed.run,
    "scale": scale.run,
    "vibevoice": vibevoice_batching.run,
}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        return 2
    for name in names:
        print(f"== {name}", flush=True)
        for line in BENCHMARKS[name]():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
