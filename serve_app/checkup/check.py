"""The check of a card: load as the config says, speak at rising slots, write down what was seen."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from serve_app.checkup.meter import CardMeter, Tally
from serve_app.checkup.speak import Spoken, speak_all, warm_up
from serve_app.checkup.surroundings import version_of
from serve_app.checkup.tasks import check_tasks
from serve_app.core.check import Take, compare, speed
from serve_app.core.check_page import Report, Run
from serve_app.core.machine import Card, Driver
from serve_app.engines.base import EngineInfo
from serve_app.engines.registry import create

DTYPES: Final = ("float32", "bfloat16", "float16")
NO_CARD: Final = "there is no card: this ran on the CPU"


class PeakMemory(Protocol):
    """What a process' tensors take of a card."""

    def reset(self) -> None:
        """Count from now on."""
        ...

    def peak_bytes(self) -> int:
        """Most at once."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a check runs.

    Args:
        driver: NVIDIA's driver.
        card: As the driver shows it, or None on a CPU and where it can't be told.
        on_card: Whether torch computes on a card.
        meter: Of the card, or None.
        memory: Of this process on the card, or None.
        torch_cuda: CUDA that torch was built for.
    """

    driver: Driver
    card: Card | None
    on_card: bool
    meter: CardMeter | None
    memory: PeakMemory | None
    torch_cuda: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be spoken.

    Args:
        kind: Engine.
        options: Of the engine.
        slots: Numbers of slots, rising, the first of them 1.
        text: Script.
        segments: How many of its segments, repeated with other seeds, a run speaks.
        segment_s: Estimated length of one, at most.
    """

    kind: str
    options: Mapping[str, Any]
    slots: tuple[int, ...]
    text: str
    segments: int
    segment_s: float

    @property
    def makes_shapes(self) -> bool:
        """Whether the engine records or compiles each shape of a batch when it first comes."""
        return bool(self.options.get("cuda_graphs") or self.options.get("torch_compile"))


@dataclass(frozen=True, slots=True)
class Progress:
    """A run that is done, and the report so far."""

    report: Report
    takes: tuple[Take, ...]


async def check(
    plan: Plan,
    place: Place,
    *,
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncGenerator[Progress, None]:
    """Run the check; a report after every run.

    Raises:
        ConfigError: The engine can't be made, or has no voice.
    """
    at, begun_s = now().isoformat(timespec="seconds"), clock()
    engine = await asyncio.to_thread(create, plan.kind, plan.options)
    try:
        info = engine.info
        tasks = check_tasks(plan.text, info, plan.segments, plan.segment_s)
        report = _head(plan, place, info, at, clock() - begun_s)
        alone: tuple[Take, ...] = ()
        room = engine.slots  # fewer than asked for, if the card has no more
        for slots in sorted({min(count, room) for count in plan.slots}):
            await warm_up(engine, tasks, slots, whole=plan.makes_shapes)
            if place.memory is not None:
                place.memory.reset()
            async with place.meter.metering() if place.meter else nullcontext(None) as tally:
                spoken = await speak_all(engine, tasks, slots, clock=clock)
            run = _run(spoken, slots, engine.slots, place, tally)
            if slots == room < plan.slots[-1]:
                why = {f"{plan.slots[-1]} slots": f"the engine has room for {room}"}
                run = replace(run, missing={**run.missing, **why})
            alone = alone or spoken.takes
            found = compare(alone, spoken.takes, slots) if report.runs else None
            report = replace(
                report,
                runs=(*report.runs, run),
                comparisons=(*report.comparisons, *([found] if found else [])),
            )
            yield Progress(report, spoken.takes)
    finally:
        await engine.close()


def _run(spoken: Spoken, slots: int, slots_at_end: int, place: Place, tally: Tally | None) -> Run:
    missing = {}
    if tally is None:
        missing["card"] = "NVML shows no card with torch's UUID" if place.on_card else NO_CARD
    if place.memory is None:
        missing["torch_peak_bytes"] = "torch has no card" if place.on_card else NO_CARD
    return Run(
        speed=speed(spoken.takes, slots, slots_at_end, spoken.wall_s),
        card=None if tally is None else tally.use(),
        torch_peak_bytes=None if place.memory is None else place.memory.peak_bytes(),
        missing=missing,
    )


def _head(plan: Plan, place: Place, info: EngineInfo, at: str, load_s: float) -> Report:
    card = place.card
    memory = info.memory
    revision = plan.options.get("revision")
    return Report(
        at=at,
        on_card=place.on_card,
        machine={
            "card": card.name if card else None,
            "card UUID": card.uuid if card else None,
            "driver": place.driver.version,
            "driver's CUDA": place.driver.cuda,
            "torch": version_of("torch"),
            "torch's CUDA": place.torch_cuda,
            "transformers": version_of("transformers"),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        model={
            "name": info.model,
            "engine": info.name,
            "revision asked for": None if revision is None else str(revision),
            "engine's revision": info.revision,
            "dtype": next((dtype for dtype in DTYPES if dtype in info.revision), None),
            "voices": ", ".join(voice.id for voice in info.voices) or info.test_voice,
        },
        switches=switches(plan.options),
        load_s=load_s,
        load_before_bytes=None if memory is None else memory.before_bytes,
        load_after_bytes=None if memory is None else memory.after_bytes,
    )


def switches(options: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's options as a report may show them: a store's settings may hold its keys."""
    return {name: value for name, value in options.items() if name != "library_storage"}
