"""What an engine is: the Protocol that piper, the simulated engine and VibeVoice share.

An engine owns one card (or a share of a CPU) and speaks up to ``slots`` segments at once. It is
an asynchronous object over work that is not: synthesis runs in threads of the engine's own, the
event loop only carries finished chunks. The rules that the contract test (tests/contract) holds:

* **Same task, same bytes.** The audio is a function of the task's utterances, seed and options
  and of the engine's ``revision``; never of the process, the history, the slots or the neighbours.
* **Chunking is only packaging.** Chunks of any ``chunk_s`` joined are the same bytes.
* **Cancel is closing.** ``aclose()`` on the stream (or cancelling the task that iterates it)
  frees the slot within one frame of the engine.
* **A stream ends with exactly one** :class:`SpeechEnd`, after at least zero :class:`Chunk`.
* **More callers than slots wait** inside ``speak``, first come, first served.
* Errors are those of :mod:`serve_app.errors`; after any of them the engine speaks the next task,
  unless ``health()`` raises, which asks for the whole replica to be replaced.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

SAMPLE_RATE_HZ = 24_000
"""Every engine delivers this rate, mono; engines with another resample."""


@dataclass(frozen=True, slots=True)
class Line:
    """One speaker's stretch inside a segment.

    Args:
        speaker: The name in the script.
        voice: Id of one of the engine's voices.
        text: Clean text without newlines.
        pause_s: Pause wanted before it inside the segment (0 for the first line); engines that
            speak lines one by one insert it, conversational models place their own.
    """

    speaker: str
    voice: str
    text: str
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeakTask:
    """One segment to speak, small enough to cross a process border.

    Args:
        key: The segment's content key; only for logs and spans, never a source of the audio.
        lines: What to say, in order; at least one.
        seed: Source of all noise, 0 <= seed < 2**63.
        est_s: Estimated seconds of audio; bounds the work, never the content. Only the simulated
            engine takes its length from it.
        chunk_s: Audio seconds a chunk may have; engines send shorter ones where something ends.
        options: Engine options by name (``cfg_scale``, ``steps``), part of the content key.
        tag: Position of the segment in its script, which the simulated engine encodes in its
            samples; real engines ignore it.
        attempt: From 1, counted over all reasons to speak it again; only for telemetry.
        waited_s: Seconds it waited for a place before it was sent; only for telemetry.
        failed_on: Replicas on which the takes just before this one failed, in order; only for the
            choice of another one.
    """

    key: str
    lines: tuple[Line, ...]
    seed: int
    est_s: float
    chunk_s: float = 0.2
    options: tuple[tuple[str, float], ...] = field(default=())
    tag: int = 0
    attempt: int = 1
    waited_s: float = 0.0
    failed_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a segment's audio.

    Args:
        pcm: Signed 16-bit little-endian samples, mono, 24 kHz.
        voice: Whose voice it is, or None where an engine can't tell inside a segment.
    """

    pcm: bytes
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """How a segment ended.

    Args:
        finish: ``stop`` when the engine reached the text's end; ``length`` when it was cut off by
            a bound, which callers treat as a bad segment.
        input_tokens: Tokens (or phonemes) the engine read.
        output_frames: Audio frames (the engine's own unit) it wrote.
    """

    finish: Literal["stop", "length"]
    input_tokens: int
    output_frames: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice an engine can speak with.

    Args:
        id: Stable name used in requests.
        name: For people.
        languages: BCP 47 primary tags it speaks.
        gain_db: Fixed gain that brings it to the common level, measured once for this voice;
            whoever joins segments applies it, engines don't.
    """

    id: str
    name: str
    languages: tuple[str, ...]
    gain_db: float = 0.0


@dataclass(frozen=True, slots=True)
class CardMemory:
    """What a card's memory was like around the loading of a model, all processes counted.

    Args:
        total_bytes: Of the card.
        before_bytes: Used before.
        after_bytes: Used after.
    """

    total_bytes: int
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is, constant while it lives.

    Args:
        name: ``piper``, ``simulated`` or ``vibevoice``.
        model: Model name as shown to clients.
        revision: Changes whenever the same task would give other samples.
        voices: In the order in which speakers of a script take them by default.
        tokens_per_s: Tokens (frames) per second of audio, for throughput in tokens.
        library_languages: Languages of the voice library's voices, where the engine speaks with
            each of them by its id without having listed it; empty if it speaks with none.
        test_voice: Voice of the test sentence; None takes the first of ``voices``.
        memory: Of its card around loading; None without a card.
    """

    name: str
    model: str
    revision: str
    voices: tuple[Voice, ...]
    tokens_per_s: float
    library_languages: tuple[str, ...] = ()
    test_voice: str | None = None
    memory: CardMemory | None = None


@runtime_checkable
class Engine(Protocol):
    """See the module docstring for the contract."""

    @property
    def info(self) -> EngineInfo:
        """Constant facts."""
        ...

    @property
    def slots(self) -> int:
        """Segments spoken at once right now; at least 1."""
        ...

    def set_slots(self, slots: int) -> None:
        """Change ``slots`` while running; running segments finish, later ones see the new number.

        Raises:
            ValueError: *slots* is below 1.
        """
        ...

    def check(self, lines: tuple[Line, ...]) -> None:
        """Refuse what can't be spoken before anything starts.

        Raises:
            UnsupportedTextError: The text is in a script this engine has no sounds for.
            UnknownVoiceError: A line names a voice it does not have.
        """
        ...

    def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        """Speak one segment; an asynchronous generator that owns a slot from start to close.

        Raises:
            EngineError: This attempt failed.
            UnsupportedTextError, UnknownVoiceError: As :meth:`check`.
        """
        ...

    async def health(self) -> None:
        """Return quickly if the engine works, touching what synthesis touches.

        Raises:
            EngineError: The engine is beyond repair; replace the replica.
        """
        ...

    async def close(self) -> None:
        """Stop all work and threads; idempotent."""
        ...
