"""An engine that takes a card's time without its work, for tests of scale and of failure.

Its audio says which segment and which moment it is (:mod:`serve_app.engines.simulated_code`), its
length follows the estimate, its pace is set, and it fails on demand. Unlike a real engine it reads
``tag`` and ``est_s``. It names itself simulated wherever it is shown.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

from serve_app.core.audio import SAMPLE_RATE_HZ, samples_of
from serve_app.engines.base import Chunk, EngineInfo, Line, SpeakTask, SpeechEnd, Voice
from serve_app.engines.checks import require_voices
from serve_app.engines.options import parse_options
from serve_app.engines.simulated_faults import FaultBook, FaultRule, draw
from serve_app.engines.simulated_sound import FRAME_SAMPLES, SimulatedSound
from serve_app.engines.slots import closed_error
from serve_app.engines.workers import SlotThreads
from serve_app.errors import EngineCrashedError, EngineMemoryError

ALGORITHM: Final = 1
"""Raised whenever the same task gives other samples."""

EXIT_CODE: Final = 70
"""What a process ends with that a fault of kind ``exit`` strikes."""

_TURN_SAMPLES: Final = 10 * SAMPLE_RATE_HZ  # others get a turn, where nothing has to be waited for


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """How the simulated card behaves.

    Args:
        slots: Segments at once; each has the full speed.
        first_chunk_s: From the start on a slot to the first chunk.
        real_time_factor: Further seconds for each second of audio.
        jitter: Both times vary by up to this share, 0..1, drawn from the task's key and seed.
        length_jitter: The audio's length varies by up to this share of the estimate, 0..1, drawn
            from the text.
        faults: What goes wrong.
        faults_dir: Directory in which faults are counted for several processes together; without
            one, each engine counts its own.

    Raises:
        ValueError: A number is out of its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    slots: int = 4
    first_chunk_s: float = 0.3
    real_time_factor: float = 0.1
    jitter: float = 0.0
    length_jitter: float = 0.0
    faults: tuple[FaultRule, ...] = ()
    faults_dir: str | None = None

    def __post_init__(self) -> None:
        shares = (self.jitter, self.length_jitter)
        if min(self.first_chunk_s, self.real_time_factor) < 0 or not all(
            0 <= s < 1 for s in shares
        ):
            raise ValueError(
                f"first_chunk_s {self.first_chunk_s} and real_time_factor {self.real_time_factor} "
                f"must be at least 0, jitter {self.jitter} and length_jitter {self.length_jitter} "
                "0 or more and below 1"
            )


class SimulatedEngine:
    """See :mod:`serve_app.engines.base` for the contract.

    Args:
        options: Behaviour.
        clock: Monotonic seconds.
        sleep: Waits for so many of them.

    Raises:
        ValueError: *options* asks for less than one slot.
    """

    def __init__(
        self,
        options: SimulatedOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._clock, self._sleep = clock, sleep
        self._threads = SlotThreads("simulated", options.slots)
        self._faults = FaultBook(options.faults, options.faults_dir, self._threads)
        self._scopes: set[asyncio.Timeout] = set()
        self._closed = False
        self._info = EngineInfo(
            name="simulated",
            model="simulated",
            revision=f"simulated-a{ALGORITHM}+length-jitter-{options.length_jitter}",
            voices=tuple(
                Voice(f"sim-{number}", f"Simulated {number}", ("en", "zh"))
                for number in range(1, 5)
            ),
            tokens_per_s=SAMPLE_RATE_HZ / FRAME_SAMPLES,
        )

    @property
    def info(self) -> EngineInfo:
        """Constant facts."""
        return self._info

    @property
    def slots(self) -> int:
        """Segments spoken at once."""
        return self._threads.slots.limit

    def set_slots(self, slots: int) -> None:
        """Change ``slots`` while running.

        Raises:
            ValueError: *slots* is below 1.
        """
        self._threads.slots.resize(slots)

    def check(self, lines: tuple[Line, ...]) -> None:
        """Refuse voices that are not there; any text will do.

        Raises:
            UnknownVoiceError: See there.
        """
        require_voices(lines, self._info.voices)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        """Speak one segment: the chunk that starts at second ``a`` of the audio leaves at
        ``first_chunk_s + real_time_factor * a``, the end with ``a`` the whole length.

        Raises:
            EngineCrashedError, EngineMemoryError: A fault struck, or the engine was closed.
            UnknownVoiceError: As :meth:`check`.
        """
        self.check(task.lines)
        await self._threads.slots.acquire()
        try:
            fault = await self._faults.strike(task)
            sound = SimulatedSound(task, self._options.length_jitter, fault)
            pace = _Pace(self._clock(), task, self._options)
            voices = {line.voice for line in task.lines}
            voice = voices.pop() if len(voices) == 1 else None
            step = max(1, samples_of(task.chunk_s))
            for start in range(0, sound.samples, step):
                stop = min(start + step, sound.samples)
                if fault and sound.fails_at < stop:
                    break
                if start % _TURN_SAMPLES < step:
                    await asyncio.sleep(0)
                await self._wait_until(pace.at(start))
                yield Chunk(sound.read(start, stop), voice)
            if fault and fault.kind != "bad_audio":
                await self._wait_until(pace.at(min(sound.fails_at, sound.samples)))
                await self._fail(fault, task)
            await self._wait_until(pace.at(sound.samples))
            yield sound.end
        finally:
            self._threads.slots.release()

    async def health(self) -> None:
        """Nothing in it can wear out; only a closed one is ill.

        Raises:
            EngineCrashedError: It is closed.
        """
        self._threads.check()

    async def close(self) -> None:
        """End all streams with an error; idempotent."""
        if not self._closed:
            self._closed = True
            now = asyncio.get_running_loop().time()
            for scope in self._scopes:
                scope.reschedule(now)
        await self._threads.close()

    async def _wait_until(self, deadline_s: float) -> None:
        delay_s = deadline_s - self._clock()
        if delay_s > 0:
            await self._unless_closed(self._sleep(delay_s))
        elif self._closed:
            raise closed_error()

    async def _unless_closed(self, wait: Awaitable[None]) -> None:
        """Await, and leave at once when the engine is closed."""
        try:
            async with asyncio.timeout(0 if self._closed else None) as scope:
                self._scopes.add(scope)
                await wait
        except TimeoutError as error:
            raise closed_error() from error
        finally:
            self._scopes.discard(scope)

    async def _fail(self, fault: FaultRule, task: SpeakTask) -> NoReturn:
        if fault.kind == "exit":
            os._exit(EXIT_CODE)
        if fault.kind == "oom":
            raise EngineMemoryError(f"simulated: out of memory at segment {task.tag}")
        if fault.kind == "hang":
            await self._unless_closed(asyncio.get_running_loop().create_future())
        raise EngineCrashedError(f"simulated: crash at segment {task.tag}")


class _Pace:
    """When each moment of a task's audio is due; counted from the start, so that nothing drifts."""

    def __init__(self, start_s: float, task: SpeakTask, options: SimulatedOptions) -> None:
        factor = 1 + options.jitter * (2 * draw(task, "pace") - 1)
        self._first_s = start_s + factor * options.first_chunk_s
        self._per_sample_s = factor * options.real_time_factor / SAMPLE_RATE_HZ

    def at(self, samples: int) -> float:
        """When *samples* have been spoken."""
        return self._first_s + samples * self._per_sample_s


def create(options: Mapping[str, Any]) -> SimulatedEngine:
    """An engine with these settings.

    Raises:
        ConfigError: An option is unknown or has a wrong value.
    """
    return SimulatedEngine(parse_options(SimulatedOptions, options))
