"""What continuous batching brings: the loop here against ``generate`` of transformers.

A model of random weights, one thread, 64 segments of 10 to 40 frames, shuffled. ``generate``
runs without its text guidance, so both do the same arithmetic, and its static batches end each row
where it should end. Those that speak one at a time speak every fourth segment, which gives the same
rate. Everything speaks in turn, round by round; a ratio is the median of the rounds' ratios, with
the least and the greatest. Seconds are those of the CPU, all threads together, so that a busy
machine does not count.

Nothing here says what a real card does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from numpy.random import default_rng

from serve_app.core.vram import FRAMES_PER_S
from serve_app.engines.base import Line
from serve_app.engines.slots import Slots
from serve_app.engines.vibevoice_load import Checkpoint, LoadedModel, load
from serve_app.engines.vibevoice_loop import Batch, Row
from serve_app.engines.vibevoice_order import Ended, Order
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from serve_app.engines.vibevoice_thread import LoopThread
from tests.bench import vibevoice_memory
from tests.tiny_vibevoice import ArrayVoices, checkpoint
from tests.vibevoice_engine import as_transformers_has_it
from tests.vibevoice_reference import Scheduler, inputs, messages, without_text_guidance

SEGMENTS = 64
SHORTEST, LONGEST = 10, 40
STEPS = 10
ROUNDS = 3
MODELS = {"tiny (hidden 32, 2 layers)": (32, 2, 0.1), "hidden 256, 4 layers": (256, 4, 0.03)}
VOICES = ArrayVoices()


@dataclass(frozen=True, slots=True)
class Job:
    """A segment of so many frames."""

    lines: tuple[Line, ...]
    frames: int
    seed: int


def jobs() -> list[Job]:
    lengths = default_rng(4).integers(SHORTEST, LONGEST, endpoint=True, size=SEGMENTS)
    return [
        Job(
            (
                Line("Ada", "v1", f"This is segment number {at} of the script."),
                Line("Ben", "v2", "And this is what the other one has to say."),
            ),
            int(frames),
            seed=at,
        )
        for at, frames in enumerate(lengths)
    ]


def _ends(lengths: Sequence[int]) -> Callable[..., torch.Tensor]:
    """A stopping criterion that ends each row after its own number of tokens."""
    spoken = 0

    def ended(input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        nonlocal spoken
        spoken += 1
        return torch.tensor(lengths) <= spoken

    return ended


def generate(loaded: LoadedModel, todo: Sequence[Job], batch: int) -> float:
    """Audio seconds per second of transformers' own loop, in static batches as they come."""
    begun_s = time.process_time()
    heard = 0
    with torch.inference_mode(), without_text_guidance(loaded.model):
        for start in range(0, len(todo), batch):
            some = todo[start : start + batch]
            turns = [turns_of(job.lines) for job in some]
            prompt = inputs(
                loaded.processor,
                [
                    messages(
                        turn.lines,
                        {str(at): VOICES.voices[voice] for at, voice in enumerate(turn.voices)},
                    )
                    for turn in turns
                ],
            )
            lengths = [job.frames for job in some]
            audio = loaded.model.generate(
                **prompt,
                noise_scheduler=Scheduler(),
                num_diffusion_steps=STEPS,
                max_new_tokens=max(lengths),
                stopping_criteria=[_ends(lengths)],
                sample=False,
            )
            heard += sum(item.shape[-1] for item in audio)
    assert heard == 3200 * sum(job.frames for job in todo)
    return heard / 24_000 / (time.process_time() - begun_s)


def continuous(loaded: LoadedModel, todo: Sequence[Job], slots: int) -> float:
    """Audio seconds per second of the engine's thread with so many slots kept full."""

    async def speak_all() -> float:
        with torch.inference_mode():
            reader = Reader(loaded, VOICES)
            thread = LoopThread(
                Batch(loaded, reader.begin()),
                reader,
                spare=Batch(loaded, reader.begin()),
                loaded=loaded,
                memory=lambda: None,
                lowered=mock.Mock(),
            )
        places = Slots(slots)

        async def speak(job: Job) -> int:
            await places.acquire()
            row = Row(job.frames, torch.Generator().manual_seed(job.seed), 1.3, STEPS)
            order = Order(turns_of(job.lines), row)
            thread.submit(order)
            while not isinstance(item := await order.next(), Ended):
                assert item.size == 3200
            places.release()
            return item.frames

        begun_s = time.process_time()
        frames = await asyncio.gather(*(speak(job) for job in todo))
        spent_s = time.process_time() - begun_s
        await thread.close(10.0)
        assert list(frames) == [job.frames for job in todo]
        return sum(frames) / FRAMES_PER_S / spent_s

    return asyncio.run(speak_all())


def _compare(name: str, shape: tuple[int, int, float], rounds: int) -> Sequence[str]:
    folder = checkpoint(*shape, stop_after=10_000)
    loaded = load(Checkpoint(str(folder), None, "cpu", "float32"))
    stock = as_transformers_has_it(loaded, folder)
    todo = jobs()
    few = todo[::4]
    ways: dict[str, Callable[[], float]] = {
        "generate, one at a time": lambda: generate(stock, few, 1),
        "generate, static 8": lambda: generate(stock, todo, 8),
        "loop, 1 slot": lambda: continuous(loaded, few, 1),
        "loop, 8 slots": lambda: continuous(loaded, todo, 8),
        "loop, 16 slots": lambda: continuous(loaded, todo, 16),
    }
    ratios = {
        "8 slots / generate one at a time": ("loop, 8 slots", "generate, one at a time"),
        "8 slots / static 8": ("loop, 8 slots", "generate, static 8"),
        "16 slots / static 8": ("loop, 16 slots", "generate, static 8"),
        "time of 1 slot / generate": ("generate, one at a time", "loop, 1 slot"),
        "8 slots / 1 slot": ("loop, 8 slots", "loop, 1 slot"),
    }
    generate(stock, todo[:2], 1)
    speeds = [{way: run() for way, run in ways.items()} for _ in range(rounds)]
    median = {way: statistics.median(speed[way] for speed in speeds) for way in ways}
    return [
        f"{name}, {len(todo)} segments of {SHORTEST}-{LONGEST} frames, {rounds} rounds",
        *(f"  {way:26} {speed:7.1f} audio seconds per CPU second" for way, speed in median.items()),
        *(
            f"  {what:34} {_spread([speed[one] / speed[two] for speed in speeds])}"
            for what, (one, two) in ratios.items()
        ),
    ]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


def run(rounds: int = ROUNDS) -> Sequence[str]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = [line for name, shape in MODELS.items() for line in _compare(name, shape, rounds)]
        return [*figures, *vibevoice_memory.run()]
    finally:
        torch.set_num_threads(threads)
