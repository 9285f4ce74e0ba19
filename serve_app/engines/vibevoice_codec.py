"""Latents to sound, and sound to what the language model understands of it, a frame at a time.

The codec of transformers, stage by stage. Where a stage sees one column a frame, its matrix
products have as many rows as the batch, and :data:`MIN_ROWS` of them are needed for the same bits;
everywhere else :data:`MIN_SOUNDS` do, and those stages are the ones that cost.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from serve_app.engines.vibevoice_slots import ConvSlots

MIN_ROWS: Final = 4
"""Rows from which on a matrix product on a CPU does not depend on their number."""

MIN_SOUNDS: Final = 2
"""The same for convolutions."""

SOUND_BLOCK: Final = 8
"""Rows that a CPU decodes at once: with more, the stages no longer fit into its caches."""


class FrameCodec:
    """Both halves with what they remember of each slot.

    Args:
        decoder: Of the acoustic tokenizer.
        encoder: The semantic tokenizer's.
    """

    def __init__(self, decoder: Any, encoder: Any) -> None:
        self._decoder, self._encoder = decoder, encoder
        self._said, self._heard = ConvSlots(decoder), ConvSlots(encoder)

    def ensure(self, slots: int) -> None:
        """Have room for so many slots."""
        self._said.ensure(slots)
        self._heard.ensure(slots)

    def clear(self, slot: int) -> None:
        """Forget a slot."""
        self._said.clear(slot)
        self._heard.clear(slot)

    def move(self, source: int, target: int) -> None:
        """Copy a slot."""
        self._said.move(source, target)
        self._heard.move(source, target)

    def commit(self) -> None:
        """Make the frame count; without it, it can be done again."""
        self._said.commit()
        self._heard.commit()

    def frame(self, latents: Tensor, slots: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Speak and listen.

        Args:
            latents: Shape ``(rows, latent)``, at least :data:`MIN_ROWS` of them.
            slots: Of each row; those behind *count* name a row again.
            count: Rows that matter.

        Returns:
            Sound, shape ``(count, 3200)``, and its meaning, shape ``(rows, semantic)``.
        """
        few = max(count, MIN_SOUNDS)
        said, heard = self._said.frame(slots), self._heard.frame(slots)
        begun = self._decoder.stem(latents[:, :, None], padding_cache=said)
        blocks = -(-few // SOUND_BLOCK) if latents.device.type == "cpu" else 1
        parts = []
        for rows in torch.arange(few, device=slots.device).tensor_split(blocks):
            said.rows = heard.rows = slots[rows]
            parts.append(self._block(begun[rows], said, heard))
        sound, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
        again = torch.arange(slots.shape[0], device=slots.device).clamp(max=few - 1)
        heard.rows = slots
        hidden = self._encoder.conv_layers[-1](hidden[again], padding_cache=heard)
        meaning = self._encoder.head(hidden, padding_cache=heard)
        return sound[:count, 0], meaning[:, :, 0]

    def _block(self, hidden: Tensor, said: ConvSlots, heard: ConvSlots) -> tuple[Tensor, Tensor]:
        """Sound of a few rows, and the encoder's state before its last stage."""
        for layer in self._decoder.conv_layers:
            hidden = layer(hidden, padding_cache=said)
        sound: Tensor = self._decoder.head(hidden, padding_cache=said)
        hidden = self._encoder.stem(sound, padding_cache=heard)
        for layer in self._encoder.conv_layers[:-1]:
            hidden = layer(hidden, padding_cache=heard)
        return sound, hidden
