"""The decoding loop over the model's parts: many segments, one frame at a time.

A frame is two halves, and each can be done again after it failed, with the same result:

* :meth:`Batch.sound` chooses a token for each row, samples and decodes the audio of those that
  speak, listens to it with the semantic encoder, and only then makes it count. Rows that have
  ended leave.
* :meth:`Batch.think` runs the language model once for all rows, with and without the text.

::

    join -> sound -> (audio leaves) -> think -> sound -> ...

**Independent rows.** Noise comes from a generator of the row's own. Rows that don't speak in a
frame are left out of the codec. The row without text hears what its neighbour with text hears; its
column only counts if the token was audio, and goes back to 0 where audio begins anew.

**The same bits.** The libraries multiply fewer than four rows in another order than four or more.
So there are never fewer: an idle slot or a row named again makes up the number, and on a CPU a
segment's samples don't depend on how many are spoken beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serve_app.engines.vibevoice_codec import MIN_ROWS, FrameCodec
from serve_app.engines.vibevoice_diffusion import LatentSampler
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_prefill import Prefill
from serve_app.engines.vibevoice_slots import KvFrame, KvSlots, bucket

Samples = NDArray[np.float32]


@dataclass(eq=False, slots=True)
class Row:
    """A segment in the batch.

    Args:
        budget: Tokens it may take.
        noise: Source of its noise.
        scale: Guidance.
        steps: Solver steps.
        column: Where its next token goes.
        blind_column: The same, without the text.
        spoken: Tokens so far.
        frames: Frames of audio so far.
        drawn: Noise of a frame that has not been made to count yet.
    """

    budget: int
    noise: torch.Generator
    scale: float
    steps: int
    column: int = 0
    blind_column: int = 0
    spoken: int = 0
    frames: int = 0
    drawn: Tensor | None = field(default=None)

    def draw(self, size: int) -> Tensor:
        """Noise of the frame, the same until it counts; float32 on the CPU."""
        if self.drawn is None:
            self.drawn = torch.randn(size, generator=self.noise)
        return self.drawn


@dataclass(frozen=True, slots=True)
class Sounded:
    """What a row gave in a frame.

    Args:
        row: Which.
        samples: Shape ``(3200,)``, or None.
        finish: Why it ended, or None.
    """

    row: Row
    samples: Samples | None
    finish: Literal["stop", "length"] | None


class Batch:
    """The running rows of one model on one device; for one thread, under ``inference_mode``.

    Args:
        loaded: The model.
        begin: The start without text.
    """

    def __init__(self, loaded: LoadedModel, begin: Prefill) -> None:
        self._loaded, self._begin = loaded, begin
        self._parts = loaded.model.model
        self._sampler = LatentSampler(self._parts.diffusion_head)
        shape = loaded.shape
        self._kv = KvSlots(shape.layers, shape.kv_heads, shape.head_dim, begin.hidden)
        self._codec = FrameCodec(
            self._parts.audio_tower.decoder, self._parts.semantic_tokenizer_encoder
        )
        self._hidden = begin.hidden.new_zeros((0, begin.hidden.shape[0]))
        self._heard = self._hidden
        self.rows: list[Row] = []

    def room(self, columns: int) -> tuple[int, int]:
        """Slots and columns there would be with one more segment of *columns*."""
        slots = max(len(self.rows) + 1, MIN_ROWS // 2, self._kv.slots)
        return slots, max(bucket(columns), self._kv.columns)

    @property
    def reserved(self) -> tuple[int, int]:
        """Slots and columns there are."""
        return self._kv.slots, self._kv.columns

    def join(self, row: Row, prefill: Prefill) -> None:
        """Take a segment in; it sounds in the next frame.

        Raises:
            torch.OutOfMemoryError: There is no room; nothing has changed for the others.
        """
        slot = len(self.rows)
        slots, columns = self.room(prefill.columns + row.budget)
        self._kv.ensure(slots, columns)
        self._codec.ensure(slots)
        self._codec.clear(slot)
        if self._hidden.shape[0] < 2 * slots:
            self._hidden, self._heard = (
                torch.cat((old, old.new_zeros((2 * slots - old.shape[0], old.shape[1]))))
                for old in (self._hidden, self._heard)
            )
        self._kv.put(2 * slot, prefill.kept.keys, prefill.kept.values)
        self._kv.put(2 * slot + 1, self._begin.kept.keys, self._begin.kept.values)
        self._hidden[2 * slot] = prefill.hidden
        self._hidden[2 * slot + 1] = self._begin.hidden
        row.column, row.blind_column = prefill.columns, 0
        self.rows.append(row)

    def leave(self, gone: Iterable[Row]) -> None:
        """Take rows out; the last ones take their slots."""
        for row in gone:
            if row not in self.rows:
                continue
            slot, last = self.rows.index(row), len(self.rows) - 1
            mover = self.rows.pop()
            if slot == last:
                continue
            self.rows[slot] = mover
            self._kv.move(last, slot, max(mover.column, mover.blind_column + 1))
            self._codec.move(last, slot)
            for states in (self._hidden, self._heard):
                states[2 * slot : 2 * slot + 2] = states[2 * last : 2 * last + 2]

    def release(self) -> None:
        """Give the memory of an empty batch back."""
        if not self.rows:
            self._kv.release()

    def sound(self) -> list[Sounded]:
        """One frame's audio, and who has ended with it; those have left."""
        if not self.rows:
            return []
        rules = self._loaded.rules
        scores = self._loaded.scores(self._hidden[: 2 * self._width()]).tolist()
        tokens = [rules.choose(scores[2 * slot], row.spoken) for slot, row in enumerate(self.rows)]
        speaking = [slot for slot, token in enumerate(tokens) if token == rules.audio]
        chosen = torch.tensor(tokens, device=self._hidden.device)
        heard = self._loaded.model.get_input_embeddings()(chosen)
        audio: dict[int, Samples] = {}
        if speaking:
            sounds, embeddings = self._speak(speaking)
            heard[speaking] = embeddings
            audio = dict(zip(speaking, sounds, strict=True))
        self._count(tokens, heard)
        given = [
            Sounded(row, audio.get(slot), self._finish(row, tokens[slot]))
            for slot, row in enumerate(self.rows)
        ]
        self.leave([item.row for item in given if item.finish])
        return given

    def think(self) -> None:
        """The language model's next state of all rows."""
        if not self.rows:
            return
        width = self._width()
        places = [0] * (2 * width)
        for slot, row in enumerate(self.rows):
            places[2 * slot : 2 * slot + 2] = row.column, row.blind_column
        length = bucket(max(places) + 1)
        columns = torch.tensor(places, device=self._hidden.device)
        seen = torch.arange(length, device=columns.device) <= columns[:, None]
        output = self._parts.language_model(
            inputs_embeds=self._heard[: 2 * width, None],
            attention_mask={"full_attention": seen[:, None, None]},
            position_ids=columns[:, None],
            past_key_values=KvFrame(self._kv, columns, length),
            use_cache=True,
        )
        self._hidden[: 2 * width] = output.last_hidden_state[:, 0]
        for row in self.rows:
            row.column += 1

    def _width(self) -> int:
        """Slots that are computed."""
        return max(len(self.rows), MIN_ROWS // 2)

    def _speak(self, slots: list[int]) -> tuple[Samples, Tensor]:
        """Audio of these slots, shape ``(n, 3200)``, and how the language model hears it."""
        padded = slots + slots[-1:] * (MIN_ROWS - len(slots))
        at = torch.tensor(padded, device=self._hidden.device)
        latents = self._latents(padded, at).to(self._hidden.dtype)
        parts = self._parts
        raw = latents / parts.latent_scaling_factor - parts.latent_bias_factor
        count = len(slots)
        audio, meaning = self._codec.frame(raw, at, count)
        heard = parts.multi_modal_projector(latents) + parts.semantic_connector(meaning)
        samples: Samples = audio.float().cpu().numpy()
        return samples, heard[:count]

    def _latents(self, slots: list[int], at: Tensor) -> Tensor:
        rows = [self.rows[slot] for slot in slots]
        size = self._loaded.model.config.audio_config.hidden_size
        noise = torch.stack([row.draw(size) for row in rows]).to(at.device)
        scale = torch.tensor([[row.scale] for row in rows], device=at.device)
        with_text, without = self._hidden[2 * at], self._hidden[2 * at + 1]
        latents = torch.empty_like(noise)
        for steps in sorted({row.steps for row in rows}):
            some = [place for place, row in enumerate(rows) if row.steps == steps]
            pick = some + some[-1:] * (MIN_ROWS - len(some))
            latents[pick] = self._sampler.sample(
                with_text[pick], without[pick], noise[pick], scale[pick], steps
            )
        return latents

    def _count(self, tokens: list[int], heard: Tensor) -> None:
        """Make the frame count; nothing here can fail for lack of memory but small copies."""
        rules = self._loaded.rules
        self._heard[: 2 * len(tokens)] = heard.repeat_interleave(2, dim=0)
        self._codec.commit()
        for row, token in zip(self.rows, tokens, strict=True):
            row.spoken += 1
            if token == rules.audio:
                row.drawn = None
                row.frames += 1
                row.blind_column += 1
            elif token == rules.audio_begin:
                row.blind_column = 0

    def _finish(self, row: Row, token: int) -> Literal["stop", "length"] | None:
        if token in self._loaded.rules.stops:
            return "stop"
        return "length" if row.spoken >= row.budget else None


def probe(batch: Batch, prefill: Callable[[], Prefill]) -> bool:
    """Whether a row of its own gives finite audio or ends; for a batch that is empty.

    Args:
        batch: Where.
        prefill: What to read.
    """
    row = Row(budget=2, noise=torch.Generator().manual_seed(0), scale=1.3, steps=2)
    batch.join(row, prefill())
    try:
        sounds = batch.sound()
        batch.think()
        return all(item.samples is None or np.isfinite(item.samples).all() for item in sounds)
    finally:
        batch.leave([row])
