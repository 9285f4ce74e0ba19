"""Latents to sound, and sound to what the language model understands of it, a frame at a time.

The weights of transformers' codec in the layers of :mod:`serve_app.engines.vibevoice_stages`.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from serve_app.engines.vibevoice_slots import Past
from serve_app.engines.vibevoice_stages import Block, Convolution, Upsampling

SOUND_BLOCK: Final = 8
"""Rows that a CPU decodes at once: with more, the stages no longer fit into its caches."""

Stages = list[Block | Convolution | Upsampling]


class FrameCodec:
    """Both halves with what they remember of each slot.

    Args:
        decoder: Of the acoustic tokenizer.
        encoder: The semantic tokenizer's.
    """

    def __init__(self, decoder: Any, encoder: Any) -> None:
        self.past = Past(next(decoder.parameters()))
        past = self.past
        said: Stages = [Convolution(decoder.stem.conv, past), *_blocks(decoder.stem, past)]
        one_column = len(said) + 1
        for stage in decoder.conv_layers:
            said += [Upsampling(stage.convtr, past), *_blocks(stage, past)]
        said.append(Convolution(decoder.head, past))
        heard: Stages = []
        for stage in (encoder.stem, *encoder.conv_layers):
            last_begins = len(heard)
            heard += [Convolution(stage.conv, past), *_blocks(stage, past)]
        heard.append(Convolution(encoder.head, past))
        self._begin, self._say = said[:one_column], said[one_column:]
        self._hear, self._end = heard[:last_begins], heard[last_begins:]

    def frame(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Speak and listen; :meth:`Past.commit` makes it count.

        Args:
            latents: Of the first slots, shape ``(rows, latent)``, at least as many as
                :data:`~serve_app.engines.vibevoice_stages.MIN_ROWS`.
            count: Rows that matter.

        Returns:
            Sound, shape ``(count, 3200)``, and its meaning, shape ``(rows, semantic)``.
        """
        rows = latents.shape[0]
        begun = _through(self._begin, latents[:, :, None], slice(0, rows))
        size = SOUND_BLOCK if latents.device.type == "cpu" else count
        parts = [
            self._block(begun, slice(at, min(at + size, count))) for at in range(0, count, size)
        ]
        sound, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
        padded = functional.pad(hidden, (0, 0, 0, 0, 0, rows - count))
        meaning = _through(self._end, padded, slice(0, rows))
        return sound[:, 0], meaning[:, :, 0]

    def _block(self, begun: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Sound of a few rows, and the encoder's state before its last stage.

        Before and after it a frame is one column, and rows are multiplied together.
        """
        sound = _through(self._say, begun[rows], rows)
        return sound, _through(self._hear, sound, rows)


def _blocks(stage: Any, past: Past) -> Stages:
    return [Block(layer, past) for layer in stage.stage]


def _through(stages: Stages, sound: Tensor, rows: slice) -> Tensor:
    for stage in stages:
        sound = stage(sound, rows)
    return sound
