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
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import Any, Final

import torch

from serve_app.core.audio import bytes_from_pcm
from serve_app.core.vram import FRAMES_PER_S, segment_columns
from serve_app.engines.base import Chunk, EngineInfo, Line, SpeakTask, SpeechEnd, Voice
from serve_app.engines.checks import require_voices
from serve_app.engines.options import parse_options
from serve_app.engines.slots import Slots, closed_error
from serve_app.engines.vibevoice_graphs import runner
from serve_app.engines.vibevoice_library import (
    TEST_VOICE,
    JoinedVoices,
    LibraryVoices,
    is_library_id,
)
from serve_app.engines.vibevoice_load import Checkpoint, LoadedModel, load
from serve_app.engines.vibevoice_loop import Batch, Row, probe
from serve_app.engines.vibevoice_memory import MemoryReading, card_memory, slots_with_room
from serve_app.engines.vibevoice_options import VibeVoiceOptions, require_sampling
from serve_app.engines.vibevoice_order import Ended, Order, Packer
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from serve_app.engines.vibevoice_thread import LoopThread, on_card
from serve_app.engines.vibevoice_voices import FileVoices, VoiceSource, content_of
from serve_app.errors import ConfigError, InvalidInputError
from serve_app.voices import VoiceLibrary

ALGORITHM: Final = 2
"""Raised whenever this package gives other samples for the same task."""

LANGUAGES: Final = ("en", "zh")
HEALTH_TIMEOUT_S: Final = 10.0
SHAPE_TIMEOUT_S: Final = 600.0
"""For a frame of a shape that has not come before, where shapes are compiled or recorded."""

CLOSE_GRACE_S: Final = 10.0


class VibeVoiceEngine:
    """See :mod:`serve_app.engines.base` for the contract.

    Args:
        loaded: The model.
        voices: Recordings that are there from the start.
        library: Those that come and go; None for none.
        slots: Segments spoken at once.
        cfg_scale: Guidance of a task that names none.
        steps: Diffusion steps of a task that names none.
        memory: What the card has left; None asks the model's device.
        cuda_graphs: Record the frames' work on a card and replay it.
        static_cache_s: Keep room in all slots for segments of so many seconds; None for no room.
        prefill_chunk: Tokens of a prompt read between two frames; None for the whole prompt.

    Raises:
        ConfigError: A voice is no recording, the model gives no finite audio, or there is no room
            for a single slot.
        ValueError: *slots* is below 1.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        voices: VoiceSource,
        *,
        library: LibraryVoices | None = None,
        slots: int = 8,
        cfg_scale: float = 1.3,
        steps: int = 10,
        memory: MemoryReading | None = None,
        cuda_graphs: bool = False,
        static_cache_s: float | None = None,
        prefill_chunk: int | None = None,
    ) -> None:
        memory = memory or card_memory(loaded.device, graphs=cuda_graphs)
        columns = None if static_cache_s is None else segment_columns(static_cache_s)
        if columns is not None:
            slots = slots_with_room(slots, columns, loaded.shape, memory())
        self._slots = Slots(slots)
        self._loaded, self._library = loaded, library
        self._cfg_scale, self._steps = cfg_scale, steps
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._info = EngineInfo(
            name="vibevoice",
            model=loaded.name,
            revision=f"{loaded.revision}+cfg-{cfg_scale}+steps-{steps}"
            f"+voices-{content_of(voices)}+a{ALGORITHM}"
            + (f"+prefill-{prefill_chunk}" if prefill_chunk else ""),
            voices=tuple(Voice(voice, voice, LANGUAGES) for voice in voices.ids),
            tokens_per_s=FRAMES_PER_S,
            library_languages=() if library is None else LANGUAGES,
            test_voice=None if voices.ids else TEST_VOICE,
            memory=loaded.memory,
        )
        reader = Reader(loaded, JoinedVoices(voices, library), piece=prefill_chunk)
        with torch.inference_mode(), on_card(loaded.device):
            spare = Batch(loaded, reader.begin())
            if not probe(spare, reader.begin):
                raise ConfigError(f"{loaded.name} gives samples that are no numbers", "engine")
            batch = Batch(loaded, reader.begin(), runner(loaded.device, cuda_graphs=cuda_graphs))
            if columns is not None:
                batch.reserve(slots, columns)
            self._thread = LoopThread(
                batch,
                reader,
                spare=spare,
                loaded=loaded,
                memory=memory,
                lowered=self._lower,
                patience_s=SHAPE_TIMEOUT_S if cuda_graphs or loaded.compiled else 0.0,
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
            UnknownVoiceError, TooManySpeakersError, EmptyInputError: See there. Whether the
                library has a voice turns out when it is spoken.
        """
        own = {voice.id for voice in self._info.voices} | {self._info.test_voice}
        foreign = [
            line
            for line in lines
            if line.voice not in own and not (self._library and is_library_id(line.voice))
        ]
        require_voices(foreign, self._info.voices)
        turns_of(lines)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        """Speak one segment; reads the options ``cfg_scale`` and ``steps``.

        Raises:
            EngineError, BadAudioError: This attempt failed.
            InvalidInputError: As :meth:`check`, an option is out of its range, the library has
                no such voice, or the segment is longer than the model's context.
            ServeError: The voice is damaged.
        """
        self.check(task.lines)
        row = self._row(task)
        async with (
            self._held({line.voice for line in task.lines}),
            aclosing(self._spoken(task, row)) as items,
        ):
            async for item in items:
                yield item

    async def _spoken(self, task: SpeakTask, row: Row) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        await self._slots.acquire()
        try:
            self._loop = asyncio.get_running_loop()
            order = Order(turns_of(task.lines), row)
            self._thread.submit(order)
            try:
                packer = Packer(task)
                while not isinstance(item := await self._next(order), Ended):
                    for chunk in packer.add(bytes_from_pcm(item)):
                        yield chunk
                for chunk in packer.rest():
                    yield chunk
                self._slots.succeeded()
                yield SpeechEnd(item.finish, item.tokens, item.frames)
            finally:
                self._thread.cancel(order)
                await order.gone(CLOSE_GRACE_S)
        finally:
            self._slots.release()

    async def health(self) -> None:
        """Speak a frame between two frames of the batch.

        Raises:
            EngineError: It fails, takes over 10 s (a frame that is compiled or recorded: ten
                minutes), or the engine is closed.
        """
        await self._thread.check(HEALTH_TIMEOUT_S)

    async def close(self) -> None:
        """Stop all work and the thread; idempotent."""
        self._closed = True
        if self._library is not None:
            self._library.close()
        self._slots.close()
        await self._thread.close(CLOSE_GRACE_S)

    def _held(self, voices: set[str]) -> AbstractAsyncContextManager[None]:
        """The recordings of *voices* in memory."""
        return nullcontext() if self._library is None else self._library.held(sorted(voices))

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
            require_sampling(scale, steps)
        except ValueError as error:
            raise InvalidInputError(str(error), "options") from error
        budget = 2 * math.ceil(FRAMES_PER_S * task.est_s) + 30
        return Row(budget, torch.Generator().manual_seed(task.seed), scale, steps)

    def _lower(self, slots: int) -> None:
        """Called by the thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there is nobody to hold back
                self._loop.call_soon_threadsafe(self._slots.lower, slots)


def create(options: Mapping[str, Any]) -> VibeVoiceEngine:
    """Load the model and its voices and compute a frame; seconds to minutes.

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
    library = None
    if chosen.library is not None:
        library = LibraryVoices(VoiceLibrary(chosen.library, options=chosen.library_storage))
    loaded = load(
        Checkpoint(
            *(chosen.model, chosen.revision, device, dtype),
            int8=chosen.int8,
            compiled=chosen.torch_compile,
        )
    )
    return VibeVoiceEngine(
        loaded,
        voices,
        library=library,
        slots=chosen.slots,
        cfg_scale=chosen.cfg_scale,
        steps=chosen.steps,
        cuda_graphs=chosen.cuda_graphs,
        static_cache_s=chosen.static_cache_s,
        prefill_chunk=chosen.prefill_chunk,
    )
