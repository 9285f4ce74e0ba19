"""VibeVoice: conversations of up to four voices, many segments at once on one card.

transformers' own model in a decoding loop of ours (:mod:`serve_app.engines.vibevoice_loop`), which
a thread of the engine's own runs. Audio leaves frame by frame (3200 samples, 7.5 a second).

**Same bytes.** A segment's noise comes from its seed, the voices are encoded without noise, and no
number depends on history. On a CPU the samples are the same bits whoever speaks beside. On a card
that was never measured; there, kernels may round by the size of the batch.

Loudness, pauses and edges are the model's; ``Line.pause_s`` is left to it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Final, Literal

import torch

from serve_app.core.audio import BYTES_PER_SAMPLE, bytes_from_pcm, samples_of
from serve_app.engines.base import Chunk, EngineInfo, Line, SpeakTask, SpeechEnd, Voice
from serve_app.engines.checks import require_voices
from serve_app.engines.options import parse_options
from serve_app.engines.slots import Slots, closed_error
from serve_app.engines.vibevoice_load import Checkpoint, LoadedModel, load
from serve_app.engines.vibevoice_loop import Batch, Row, probe
from serve_app.engines.vibevoice_order import Ended, Order
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from serve_app.engines.vibevoice_thread import LoopThread, MemoryReading
from serve_app.engines.vibevoice_voices import FileVoices, VoiceSource, checked
from serve_app.errors import ConfigError, InvalidInputError

ALGORITHM: Final = 1
"""Raised whenever this package gives other samples for the same task."""

FRAMES_PER_S: Final = 7.5
HEALTH_TIMEOUT_S: Final = 10.0
CLOSE_GRACE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class VibeVoiceOptions:
    """Settings of the VibeVoice engine.

    Args:
        model: A folder with a checkpoint, or a name on the hub.
        voices: Path of a recording (1-30 s) for each voice id, in default order.
        revision: Commit of a model on the hub.
        device: ``auto`` takes a CUDA card if there is one; else ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: Of the weights; ``auto`` is bfloat16 on a card and float32 on a CPU.
        slots: Segments spoken at once; lowered by the engine when memory is short.
        cfg_scale: Guidance of a task that names none.
        steps: Diffusion steps of a task that names none.
        threads: Of torch on the CPU; None leaves torch's own choice.

    Raises:
        ValueError: A number is out of its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str
    voices: dict[str, str] = field(default_factory=dict)
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    slots: int = 8
    cfg_scale: float = 1.3
    steps: int = 10
    threads: int | None = None

    def __post_init__(self) -> None:
        _require_sampling(self.cfg_scale, self.steps)
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads {self.threads} must be at least 1")


class VibeVoiceEngine:
    """See :mod:`serve_app.engines.base` for the contract.

    Args:
        loaded: The model.
        voices: Recordings.
        slots: Segments spoken at once.
        cfg_scale: Guidance of a task that names none.
        steps: Diffusion steps of a task that names none.
        memory: What the card has left; None asks the model's device.

    Raises:
        ConfigError: A voice is no recording, or the model gives no finite audio.
        ValueError: *slots* is below 1.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        voices: VoiceSource,
        *,
        slots: int = 8,
        cfg_scale: float = 1.3,
        steps: int = 10,
        memory: MemoryReading | None = None,
    ) -> None:
        self._slots = Slots(slots)
        self._loaded = loaded
        self._cfg_scale, self._steps = cfg_scale, steps
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        recordings = sha256()
        for voice in voices.ids:
            recordings.update(voice.encode() + checked(voice, voices.samples(voice)).tobytes())
        self._info = EngineInfo(
            name="vibevoice",
            model=loaded.name,
            revision=f"{loaded.revision}+cfg-{cfg_scale}+steps-{steps}"
            f"+voices-{recordings.hexdigest()[:12]}+a{ALGORITHM}",
            voices=tuple(Voice(voice, voice, ("en", "zh")) for voice in voices.ids),
            tokens_per_s=FRAMES_PER_S,
        )
        reader = Reader(loaded, voices)
        with torch.inference_mode():
            spare = Batch(loaded, reader.begin())
            if not probe(spare, reader.begin):
                raise ConfigError(f"{loaded.name} gives samples that are no numbers", "engine")
            self._thread = LoopThread(
                Batch(loaded, reader.begin()),
                reader,
                spare=spare,
                shape=loaded.shape,
                context=loaded.context,
                memory=memory or _card_memory(loaded.device),
                lowered=self._lower,
            )

    @property
    def info(self) -> EngineInfo:
        """Constant facts."""
        return self._info

    @property
    def slots(self) -> int:
        """Segments spoken at once."""
        return self._slots.limit

    def set_slots(self, slots: int) -> None:
        """Change ``slots`` while running.

        Raises:
            ValueError: *slots* is below 1.
        """
        self._slots.resize(slots)

    def check(self, lines: tuple[Line, ...]) -> None:
        """Refuse voices that are not there, more than four speakers, and nothing to say.

        Raises:
            UnknownVoiceError, TooManySpeakersError, EmptyInputError: See there.
        """
        require_voices(lines, self._info.voices)
        turns_of(lines)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        """Speak one segment; reads the options ``cfg_scale`` and ``steps``.

        Raises:
            EngineError, BadAudioError: This attempt failed.
            InvalidInputError: As :meth:`check`, an option is out of its range, or the segment is
                longer than the model's context.
        """
        self.check(task.lines)
        row = self._row(task)
        await self._slots.acquire()
        try:
            self._loop = asyncio.get_running_loop()
            order = Order(turns_of(task.lines), row)
            self._thread.submit(order)
            try:
                packer = _Packer(task)
                while not isinstance(item := await self._next(order), Ended):
                    for chunk in packer.add(bytes_from_pcm(item)):
                        yield chunk
                for chunk in packer.rest():
                    yield chunk
                yield SpeechEnd(item.finish, item.tokens, item.frames)
            finally:
                self._thread.cancel(order)
                await _over(order)
        finally:
            self._slots.release()

    async def health(self) -> None:
        """Speak a frame between two frames of the batch.

        Raises:
            EngineError: It fails, takes over 10 s, or the engine is closed.
        """
        await self._thread.check(HEALTH_TIMEOUT_S)

    async def close(self) -> None:
        """Stop all work and the thread; idempotent."""
        self._closed = True
        self._slots.close()
        await self._thread.close(CLOSE_GRACE_S)

    async def _next(self, order: Order) -> Any:
        if self._closed:
            raise closed_error()
        item = await order.next()
        if self._closed:
            raise closed_error()
        return item

    def _row(self, task: SpeakTask) -> Row:
        options = dict(task.options)
        scale = options.get("cfg_scale", self._cfg_scale)
        steps = round(options.get("steps", self._steps))
        try:
            _require_sampling(scale, steps)
        except ValueError as error:
            raise InvalidInputError(str(error), "options") from error
        budget = 2 * math.ceil(FRAMES_PER_S * task.est_s) + 30
        return Row(budget, torch.Generator().manual_seed(task.seed), scale, steps)

    def _lower(self, slots: int) -> None:
        """Called by the thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there is nobody to hold back
                self._loop.call_soon_threadsafe(
                    lambda: self._slots.resize(min(slots, self._slots.limit))
                )


class _Packer:
    """Frames in, chunks of the size asked for out."""

    def __init__(self, task: SpeakTask) -> None:
        voices = {line.voice for line in task.lines}
        self._voice = voices.pop() if len(voices) == 1 else None
        self._size = max(1, samples_of(task.chunk_s)) * BYTES_PER_SAMPLE
        self._held = b""

    def add(self, pcm: bytes) -> list[Chunk]:
        self._held += pcm
        whole = len(self._held) // self._size * self._size
        ready, self._held = self._held[:whole], self._held[whole:]
        return [
            Chunk(ready[at : at + self._size], self._voice) for at in range(0, whole, self._size)
        ]

    def rest(self) -> list[Chunk]:
        return [Chunk(self._held, self._voice)] if self._held else []


async def _over(order: Order) -> None:
    """Wait until the thread has let go of a segment, the grace at most."""
    try:
        async with asyncio.timeout(CLOSE_GRACE_S):
            await order.over.wait()
    except TimeoutError:
        return


def _require_sampling(scale: float, steps: int) -> None:
    if not 0 <= scale <= 20 or not 1 <= steps <= 100:
        raise ValueError(f"cfg_scale {scale} must be 0..20 and steps {steps} 1..100")


def _card_memory(device: torch.device) -> MemoryReading:
    if device.type != "cuda":
        return lambda: None
    return lambda: torch.cuda.mem_get_info(device)


def create(options: Mapping[str, Any]) -> VibeVoiceEngine:
    """Load the model and its voices and speak a frame to warm up; seconds to minutes.

    Raises:
        ConfigError: An option is wrong, a voice is no recording, or the weights are missing; the
            message names the command that fetches them.
    """
    chosen = parse_options(VibeVoiceOptions, options)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    device = chosen.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype: str = chosen.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    voices = FileVoices(chosen.voices)
    loaded = load(Checkpoint(chosen.model, chosen.revision, device, dtype))
    return VibeVoiceEngine(
        loaded, voices, slots=chosen.slots, cfg_scale=chosen.cfg_scale, steps=chosen.steps
    )
