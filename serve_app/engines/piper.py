"""Piper: English speech on any CPU, from one voice and without a download.

Four speakers come from the one voice that is installed: each is resampled from a rate of its own,
which moves the pitch, and spoken at a pace of its own. Lines are spoken one by one, sentence by
sentence; a chunk leaves when its sentence is done.

**Same bytes.** All noise comes from the task's seed, the sentence's number in its task and its
phonemes; a run uses one thread. So the bytes depend neither on history nor on neighbours nor on
the process. They do depend on the versions in the revision and on the instruction set of the
CPU: where bytes are compared between machines, use machines of one kind.

**Cancel.** Closing a stream tells ONNX Runtime to give up between two nodes of the graph, which
takes some milliseconds; the slot is free when the thread is gone.

piper-tts is GPL-3.0-or-later, therefore an optional extra.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from platform import machine
from typing import Any, ClassVar, Final

import numpy as np

from serve_app.core.audio import samples_of
from serve_app.engines.base import Chunk, EngineInfo, Line, SpeakTask, SpeechEnd, Voice
from serve_app.engines.checks import require_voices
from serve_app.engines.options import parse_options
from serve_app.engines.piper_graph import with_noise_inputs
from serve_app.engines.piper_model import PiperModel, noise_key, run_options
from serve_app.engines.piper_phonemes import PiperPhonemes, voice_files
from serve_app.engines.piper_sound import RESAMPLER, Seam, chunks_of, resample
from serve_app.engines.piper_text import require_speakable
from serve_app.engines.workers import SlotThreads, StopSignal
from serve_app.errors import EngineCrashedError

ALGORITHM: Final = 1
"""Raised whenever this package gives other samples for the same task."""

HEALTH_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Speaker:
    """One of the voices made from the installed one.

    Args:
        voice: As clients see it.
        pitch: Played back so much faster than spoken; 1 is the installed voice.
        pace: Spoken so much slower than the installed voice.
    """

    voice: Voice
    pitch: float
    pace: float = 1.0


SPEAKERS: Final = (
    Speaker(Voice("joe", "Joe", ("en",), gain_db=0.9), pitch=1.0),
    Speaker(Voice("joe-light", "Joe, light", ("en",), gain_db=0.9), pitch=1.12, pace=0.97),
    Speaker(Voice("joe-deep", "Joe, deep", ("en",), gain_db=1.0), pitch=0.89, pace=1.04),
    Speaker(Voice("joe-easy", "Joe, unhurried", ("en",), gain_db=0.9), pitch=1.06, pace=1.06),
)
"""Neighbours in this order differ most; pitches farther from 1 cost words. Each gain brings four
minutes of a play to -23 dBFS, counted as :class:`serve_app.core.level.LevelRules` counts."""


@dataclass(frozen=True, slots=True)
class PiperOptions:
    """Settings of the piper engine.

    Args:
        slots: Segments spoken at once, one thread each; more than the cores helps nothing.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    slots: int = 1


class PiperVoiceModel:
    """What is loaded once and shared: phonemizer and session.

    Loading takes about 1.5 s and 180 MB; each slot takes up to 250 MB more once it has spoken.

    Raises:
        ConfigError: The installed voice is not one that this engine can make deterministic.
    """

    def __init__(self) -> None:
        model, settings = voice_files()
        self.fingerprint = sha256(model + settings).hexdigest()[:12]
        self.phonemes = PiperPhonemes(settings)
        self.model = PiperModel(
            with_noise_inputs(model),
            self.phonemes.noise_scale,
            self.phonemes.noise_width,
        )

    @property
    def revision(self) -> str:
        """All that decides about the samples."""
        return (
            f"piper-{self.phonemes.piper_version}+ort-{self.model.runtime_version}"
            f"+numpy-{np.__version__}+{RESAMPLER}+{machine()}"
            f"+voice-{self.fingerprint}+a{ALGORITHM}"
        )


class PiperEngine:
    """See :mod:`serve_app.engines.base` for the contract.

    Args:
        options: Settings.
        loaded: The voice; several engines of a process may share it.

    Raises:
        ValueError: *options* asks for less than one slot.
    """

    def __init__(self, options: PiperOptions, loaded: PiperVoiceModel) -> None:
        self._loaded = loaded
        self._threads = SlotThreads("piper", options.slots)
        self._speakers = {speaker.voice.id: speaker for speaker in SPEAKERS}
        self._info = EngineInfo(
            name="piper",
            model="en_US-joe-medium",
            revision=loaded.revision,
            voices=tuple(speaker.voice for speaker in SPEAKERS),
            tokens_per_s=loaded.phonemes.sample_rate_hz / loaded.phonemes.frame_samples,
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
        """Refuse voices that are not there and text that is not in Latin letters.

        Raises:
            UnsupportedTextError, UnknownVoiceError: See there.
        """
        require_voices(lines, self._info.voices)
        require_speakable(lines)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        """Speak one segment; options are those of other engines and have no effect here.

        A line without words (``"..."``) gives nothing; its pause is added to the next one.

        Raises:
            EngineError: This attempt failed.
            UnsupportedTextError, UnknownVoiceError: As :meth:`check`.
        """
        self.check(task.lines)
        async with aclosing(self._threads.stream(partial(self._utter, task))) as items:
            async for item in items:
                yield item

    async def health(self) -> None:
        """Speak half a word beside the slots and see that all threads obey.

        Raises:
            EngineError: A thread is stuck, the voice fails or takes over 10 s, or it is closed.
        """
        self._threads.check()
        await self._threads.run(self._probe, HEALTH_TIMEOUT_S)

    async def close(self) -> None:
        """Stop all work and threads; idempotent."""
        await self._threads.close()

    def _utter(self, task: SpeakTask, stop: StopSignal) -> Generator[Chunk | SpeechEnd, None, None]:
        run = run_options(stop)
        chunk_samples = max(1, samples_of(task.chunk_s))
        seam = Seam()
        tokens = frames = index = 0
        for line in task.lines:
            speaker = self._speakers[line.voice]
            seam.line(line.pause_s)
            for breath in self._loaded.phonemes.breaths(line.text):
                samples = self._loaded.model.run(
                    breath.ids,
                    length_scale=speaker.pitch * speaker.pace,
                    key=noise_key(task.seed, index, breath.ids),
                    options=run,
                )
                index += 1
                tokens += len(breath.ids)
                frames += samples.size // self._loaded.phonemes.frame_samples
                sound = resample(samples, self._loaded.phonemes.sample_rate_hz * speaker.pitch)
                yield from chunks_of(seam.join(sound, breath), chunk_samples, line.voice)
        yield SpeechEnd("stop", input_tokens=tokens, output_frames=frames)

    def _probe(self, stop: StopSignal) -> Generator[int, None, None]:
        for breath in self._loaded.phonemes.breaths("a"):
            samples = self._loaded.model.run(
                breath.ids, length_scale=1.0, key=0, options=run_options(stop)
            )
            if not np.isfinite(samples).all():
                raise EngineCrashedError("the voice gives samples that are not numbers")
            yield samples.size


def create(options: Mapping[str, Any]) -> PiperEngine:
    """An engine with the installed voice; takes about 1.5 s.

    Raises:
        ConfigError: An option is unknown or has a wrong value.
    """
    return PiperEngine(parse_options(PiperOptions, options), PiperVoiceModel())
