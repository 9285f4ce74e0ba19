"""How many segments a card can hold: arithmetic, nothing measured.

A slot is a rectangle of two rows (with and without the text) of keys and values. Encoding a voice
is the peak of a segment's start. What is left free covers what is not counted here: the work space
of the kernels and the fragments of the allocator. The constants are figures that others published
or that were computed from the model's shape; they were not measured on a card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

HEADROOM_BYTES: Final = 3 << 29
"""1.5 GiB."""

HEADROOM_SHARE: Final = 0.1
VOICE_BYTES_PER_S: Final = 47 << 20
"""Peak of encoding a second of a voice in float32; half of it in 16 bits."""

VOICE_S: Final = 30.0
"""The longest recording of a voice."""

SPEAKERS: Final = 4
FRAMES_PER_S: Final = 7.5
FRAMES_PER_TOKEN: Final = 1.9
"""Frames of audio to a token of English text; a published figure."""

TEMPLATE_TOKENS: Final = 100
"""Room for what stands in a prompt besides the text and the voices."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory depends on.

    Args:
        layers: Of the language model.
        kv_heads: Heads of keys and values in a layer.
        head_dim: Numbers in a head.
        number_bytes: Of the dtype.
    """

    layers: int
    kv_heads: int
    head_dim: int
    number_bytes: int

    @property
    def token_bytes(self) -> int:
        """Keys and values of a token in one row."""
        return self.layers * self.kv_heads * self.head_dim * 2 * self.number_bytes

    def slot_bytes(self, columns: int) -> int:
        """Both rows of a slot of so many columns (prompt and audio)."""
        return 2 * self.token_bytes * columns

    def voice_bytes(self, voice_s: float) -> int:
        """Peak of encoding a voice."""
        return round(VOICE_BYTES_PER_S * voice_s * self.number_bytes / 4)


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A model as a card's memory sees it.

    Args:
        name: For people.
        weights_bytes: Of the weights in the dtype of *shape*.
        shape: What the rest depends on.
        layers_bytes: Of the weights, those of the language model's layers, which int8 rounds.
    """

    name: str
    weights_bytes: int
    shape: ModelShape
    layers_bytes: int = 0

    @property
    def in_int8(self) -> ModelSize:
        """The same with the language model's layers in 8 bits."""
        kept = self.layers_bytes // self.shape.number_bytes
        return replace(self, weights_bytes=self.weights_bytes - self.layers_bytes + kept)

    def slots_on(self, free_bytes: int, total_bytes: int, columns: int) -> int:
        """Slots that fit on a card that does not hold the weights yet; 0 if none does."""
        left = free_bytes - self.weights_bytes
        return slots_that_fit(self.shape, left, total_bytes, columns, VOICE_S)

    def bytes_for(self, slots: int, total_bytes: int, columns: int) -> int:
        """Memory that must be free on a card of *total_bytes* for so many slots."""
        needed = self.weights_bytes + self.shape.voice_bytes(VOICE_S)
        return needed + slots * self.shape.slot_bytes(columns) + headroom_bytes(total_bytes)


PUBLISHED: Final = (
    ModelSize("VibeVoice 1.5B", 5_410_000_000, ModelShape(28, 2, 128, 2), 2_620_000_000),
    ModelSize("VibeVoice 7B", 18_690_000_000, ModelShape(28, 4, 128, 2), 13_050_000_000),
)
"""The models that were published, with 16-bit weights; their layers are those of Qwen 2.5."""


def segment_columns(audio_s: float) -> int:
    """Columns of a slot for a segment of so much audio, four voices of 30 s before it.

    Twice the frames are kept, which is the bound at which a segment is cut off.
    """
    frames = math.ceil(FRAMES_PER_S * audio_s)
    voices = math.ceil(SPEAKERS * VOICE_S * FRAMES_PER_S)
    text = math.ceil(frames / FRAMES_PER_TOKEN)
    return TEMPLATE_TOKENS + voices + text + 2 * frames + 30


def headroom_bytes(total_bytes: int) -> int:
    """What must stay free of a card of *total_bytes*."""
    return max(HEADROOM_BYTES, round(HEADROOM_SHARE * total_bytes))


def admits(free_bytes: int, total_bytes: int, needed_bytes: int) -> bool:
    """Whether a card with so much free may take so much more."""
    return free_bytes - needed_bytes >= headroom_bytes(total_bytes)


def slots_that_fit(
    shape: ModelShape, free_bytes: int, total_bytes: int, columns: int, voice_s: float
) -> int:
    """Slots of *columns* that fit beside the encoding of one voice; 0 if none does."""
    room = free_bytes - headroom_bytes(total_bytes) - shape.voice_bytes(voice_s)
    return max(0, room // shape.slot_bytes(columns))
