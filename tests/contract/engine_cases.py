"""The engines that the contract is held against, each with tasks that suit it.

Run as a program it speaks a case's tasks in a process of its own and prints their digests:
``python -m tests.contract.engine_cases piper``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from serve_app.engines.base import Chunk, Engine, Line, SpeakTask, SpeechEnd
from serve_app.engines.piper import PiperEngine, PiperOptions, PiperVoiceModel
from serve_app.engines.simulated import SimulatedEngine, SimulatedOptions


@dataclass(frozen=True, slots=True)
class Case:
    """One engine under the contract.

    Args:
        name: Shown in the test's id.
        make: A new engine with so many slots.
        short: Tasks of one or two seconds, each with a text of its own.
        long: A task with far more audio than a queue of chunks holds.
        unspeakable: Text it must refuse, or None if it speaks anything.
        needs: An optional package without which there is no such engine.
    """

    name: str
    make: Callable[[int], Engine]
    short: tuple[SpeakTask, ...]
    long: SpeakTask
    unspeakable: str | None
    needs: str | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything a stream gave."""

    chunks: tuple[Chunk, ...]
    ends: tuple[SpeechEnd, ...]
    last_is_end: bool

    @property
    def pcm(self) -> bytes:
        """The chunks joined."""
        return b"".join(chunk.pcm for chunk in self.chunks)


def speak(engine: Engine, task: SpeakTask) -> aclosing[AsyncGenerator[Chunk | SpeechEnd, None]]:
    """A stream that is closed when its block ends."""
    return aclosing(engine.speak(task))


async def listen(engine: Engine, task: SpeakTask) -> Heard:
    """Speak a whole task."""
    async with speak(engine, task) as items:
        heard = [item async for item in items]
    return Heard(
        tuple(item for item in heard if isinstance(item, Chunk)),
        tuple(item for item in heard if isinstance(item, SpeechEnd)),
        isinstance(heard[-1], SpeechEnd),
    )


@cache
def piper_model() -> PiperVoiceModel:
    """The one voice of this process; loading it takes longer than most tests."""
    return PiperVoiceModel()


def _piper(slots: int) -> PiperEngine:
    return PiperEngine(PiperOptions(slots=slots), piper_model())


def _simulated(slots: int) -> SimulatedEngine:
    return SimulatedEngine(
        SimulatedOptions(slots=slots, first_chunk_s=0.0, real_time_factor=0.0, length_jitter=0.2)
    )


def _vibevoice(slots: int) -> Engine:
    from tests.vibevoice_engine import tiny_engine

    return tiny_engine(slots)


def _tasks(voices: tuple[str, str]) -> tuple[SpeakTask, ...]:
    first, second = voices
    scripts = (
        (Line("Ada", first, "Good morning. Who are you?"),),
        (Line("Ada", first, "It rains."), Line("Ben", second, "Again!", pause_s=0.4)),
        (Line("Ben", second, "No - never mind."),),
    )
    return tuple(
        SpeakTask(key=f"short-{tag}", lines=lines, seed=11 + tag, est_s=1.9, tag=tag)
        for tag, lines in enumerate(scripts)
    )


def _long(voice: str) -> SpeakTask:
    text = "She told us once, as frightened as we were, that she was one of many. " * 6
    return SpeakTask("long", (Line("Ada", voice, text.strip()),), 5, 24.0, chunk_s=0.05, tag=9)


CASES = (
    Case("simulated", _simulated, _tasks(("sim-1", "sim-2")), _long("sim-1"), None),
    Case("piper", _piper, _tasks(("joe", "joe-deep")), _long("joe"), "Ni hao, 你好!"),
    Case("vibevoice", _vibevoice, _tasks(("v1", "v2")), _long("v1"), None, needs="torch"),
)


async def digests(case: Case) -> list[str]:
    """SHA-256 of each short task's audio, spoken last to first."""
    engine = case.make(1)
    try:
        heard = [await listen(engine, task) for task in reversed(case.short)]
    finally:
        await engine.close()
    return [sha256(item.pcm).hexdigest() for item in reversed(heard)]


def main(name: str) -> None:
    """Print a case's digests, one a line."""
    (case,) = (case for case in CASES if case.name == name)
    sys.stdout.write("\n".join(asyncio.run(digests(case))))


if __name__ == "__main__":
    main(sys.argv[1])
