"""Speaking the segments of a check with an engine, so many at once, as a replica would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from serve_app.core.check import Take
from serve_app.engines.base import Chunk, Engine, SpeakTask
from serve_app.errors import ServeError

STEP_TIMEOUT_S = 600.0
"""Between two chunks, or before the first one; a first frame may compile for minutes."""

WARM_UP_S = 4.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A run.

    Args:
        takes: In the order of the tasks.
        wall_s: From the first start to the last end.
    """

    takes: tuple[Take, ...]
    wall_s: float


async def warm_up(
    engine: Engine, tasks: Sequence[SpeakTask], slots: int, *, whole: bool = False
) -> None:
    """Fill all slots once with short segments; what fails here fails again and is told then.

    Args:
        engine: The engine.
        tasks: Of the run.
        slots: At once.
        whole: Speak all of the run, so that every shape of a batch in it has come before.
    """
    short = [
        replace(task, lines=task.lines[:1], est_s=min(task.est_s, WARM_UP_S))
        for task in tasks[:slots]
    ]
    await speak_all(engine, tasks if whole else short, slots, clock=lambda: 0.0)


async def speak_all(
    engine: Engine,
    tasks: Sequence[SpeakTask],
    slots: int,
    *,
    clock: Callable[[], float],
    timeout_s: float = STEP_TIMEOUT_S,
) -> Spoken:
    """Speak *tasks*, *slots* of them at once.

    Args:
        engine: The engine; its slots are set.
        tasks: In order.
        slots: At once.
        clock: Monotonic seconds.
        timeout_s: Between two chunks.
    """
    engine.set_slots(slots)
    places = asyncio.Semaphore(slots)

    async def one(number: int, task: SpeakTask) -> Take:
        async with places:
            return await _take(engine, number, task, clock, timeout_s)

    begun_s = clock()
    takes = await asyncio.gather(*(one(at, task) for at, task in enumerate(tasks, start=1)))
    return Spoken(tuple(takes), clock() - begun_s)


async def _take(
    engine: Engine, number: int, task: SpeakTask, clock: Callable[[], float], timeout_s: float
) -> Take:
    begun_s = clock()
    pcm = bytearray()
    take = Take(number, b"", 0.0)
    try:
        async with aclosing(engine.speak(task)) as items:
            while True:
                async with asyncio.timeout(timeout_s):
                    item = await anext(items, None)
                if item is None:
                    break
                if isinstance(item, Chunk):
                    if not pcm:
                        take = replace(take, first_audio_s=clock() - begun_s)
                    pcm += item.pcm
                else:
                    cut_off = item.finish == "length"
                    tokens, frames = item.input_tokens, item.output_frames
                    take = replace(take, tokens=tokens, frames=frames, cut_off=cut_off)
    except TimeoutError:
        take = replace(take, error=f"nothing came for {timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a card does to a segment is reported
        named = f"{error.code}: {error}" if isinstance(error, ServeError) else repr(error)
        take = replace(take, error=named)
    return replace(take, pcm=bytes(pcm), wall_s=clock() - begun_s)
