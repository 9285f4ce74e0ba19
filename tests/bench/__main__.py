"""Run the benchmarks named on the command line, or all, and print their figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from tests.bench import (
    core_speed,
    fleet,
    heat,
    jobs,
    jobs_ray,
    leaving,
    malformed,
    overhead,
    piper_speed,
    play,
    raw_words,
    sampler,
    scale,
    storm,
    telemetry_cost,
    telemetry_cpu,
    vibevoice_batching,
)


def _printing(main: Callable[[], None]) -> Callable[[], Sequence[str]]:
    """A benchmark that prints its lines as they come."""

    def run() -> Sequence[str]:
        main()
        return ()

    return run


BENCHMARKS: dict[str, Callable[[], Sequence[str]]] = {
    "core": core_speed.run,
    "fleet": fleet.run,
    "jobs": jobs.run,
    "jobs-ray": jobs_ray.run,
    "piper": piper_speed.run,
    "scale": scale.run,
    "vibevoice": vibevoice_batching.run,
    "sampler": _printing(sampler.main),
    "heat": _printing(heat.main),
    "leaving": leaving.run,
    "overhead": overhead.run,
    "telemetry": telemetry_cpu.run,
}
STORMS: dict[str, Callable[[], Sequence[str]]] = {
    "malformed": malformed.run,
    "play": play.run,
    "raw-words": raw_words.run,
    "storm": storm.run,
    "telemetry-cost": telemetry_cost.run,
}
"""Too long for every day; run by name."""


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    known = BENCHMARKS | STORMS
    unknown = set(names) - set(known)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    for name in names:
        print(f"== {name}", flush=True)
        for line in known[name]():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
