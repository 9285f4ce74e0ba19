"""What the device does for a frame, in buffers that stay where they are.

Two bodies of fixed shapes, which CUDA graphs can record: :meth:`Device.sound` and
:meth:`Device.think`. Before each of them the host copies in what it alone knows (noise, settings
and places), and after the first one it copies out, once, what was chosen and what it sounds like.
That copy is the only time a frame waits for the device.

All first slots up to a width are computed, also those that don't speak in this frame and those
that are idle: what they give is not used, and what they would remember is not kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from serve_app.engines.vibevoice_codec import FrameCodec
from serve_app.engines.vibevoice_diffusion import LatentSampler
from serve_app.engines.vibevoice_graphs import Runner
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_prefill import Prefill
from serve_app.engines.vibevoice_slots import KvFrame, KvSlots, bucket
from serve_app.engines.vibevoice_stages import MIN_ROWS
from serve_app.engines.vibevoice_tokens import TokenChooser

MIN_SLOTS: Final = MIN_ROWS // 2
"""Slots whose rows, with and without the text, are enough for the same bits."""

SETTINGS: Final = 3
"""Columns beside a row's noise: its guidance, the tokens it has spoken, its solver steps."""


class Device:
    """State of all slots and the two halves of a frame; for one thread, under ``inference_mode``.

    Args:
        loaded: The model.
        begin: The start without text.
        runner: Runs the bodies.
    """

    def __init__(self, loaded: LoadedModel, begin: Prefill, runner: Runner) -> None:
        self._loaded, self._begin, self._runner = loaded, begin, runner
        self._parts = loaded.model.model
        self._legal = loaded.model.lm_head.weight[list(loaded.rules.legal)]
        self._chooser = TokenChooser(loaded.rules, begin.hidden.device)
        self._sampler = LatentSampler(self._parts.diffusion_head)
        self._codec = FrameCodec(
            self._parts.audio_tower.decoder, self._parts.semantic_tokenizer_encoder
        )
        self._latent: int = loaded.model.config.audio_config.hidden_size
        shape = loaded.shape
        self._kv = KvSlots(shape.layers, shape.kv_heads, shape.head_dim, begin.hidden)
        self._hidden = self._heard = begin.hidden.new_zeros((0, begin.hidden.shape[0]))
        self._place(0)

    def _place(self, slots: int) -> None:
        """Place for so many slots, keeping what they hold from one frame to the next."""
        device = self._hidden.device
        pinned = device.type == "cuda"
        more = 2 * slots - self._hidden.shape[0]
        hidden, heard = (
            functional.pad(states, (0, 0, 0, more)) for states in (self._hidden, self._heard)
        )
        speaking = torch.zeros(slots, dtype=torch.bool, device=device)
        told = torch.zeros((slots, self._latent + SETTINGS), pin_memory=pinned)
        places = torch.zeros(2 * slots, dtype=torch.long, pin_memory=pinned)
        given, given_places = (torch.zeros_like(each, device=device) for each in (told, places))
        # Only now, with memory for all of it: they must be of one size.
        self._hidden, self._heard, self._speaking = hidden, heard, speaking
        self._told, self._given = told, given
        self._told_places, self._places = places, given_places

    @property
    def reserved(self) -> tuple[int, int]:
        """Slots and columns there are."""
        return self._kv.slots, self._kv.columns

    @property
    def latent(self) -> int:
        """Numbers of noise a frame needs."""
        return self._latent

    def room(self, slots: int, columns: int) -> tuple[int, int]:
        """Slots and columns there would be if there had to be so many."""
        slots, columns = self.need(slots, columns)
        return max(slots, self._kv.slots), max(columns, self._kv.columns)

    def need(self, slots: int, columns: int) -> tuple[int, int]:
        """Slots and columns there must be for so much."""
        return self._runner.width(max(slots, MIN_SLOTS)), bucket(columns)

    def resize(self, slots: int, columns: int) -> None:
        """Have so many slots and columns, keeping what is in them.

        Raises:
            torch.OutOfMemoryError: There is no room; what is in the slots of both sizes stays.
        """
        if (slots, columns) == self.reserved:
            return
        self._runner.forget()
        self._codec.past.ensure(max(slots, MIN_ROWS))
        if 2 * slots > self._hidden.shape[0]:
            self._place(slots)
        self._kv.resize(slots, columns)

    def put(self, slot: int, prefill: Prefill) -> None:
        """Begin a segment in a slot."""
        self._codec.past.clear(slot)
        for row, start in ((2 * slot, prefill), (2 * slot + 1, self._begin)):
            self._kv.put(row, start.kept.keys, start.kept.values)
            self._hidden[row] = start.hidden

    def move(self, source: int, target: int, columns: int) -> None:
        """Copy a slot with its first *columns*."""
        self._kv.move(source, target, columns)
        self._codec.past.move(source, target)
        for states in (self._hidden, self._heard):
            states[2 * target : 2 * target + 2] = states[2 * source : 2 * source + 2]

    def forget(self) -> None:
        """Give the memory of what was recorded back."""
        self._runner.forget()

    def release(self) -> None:
        """Give the memory of empty slots back."""
        self._runner.forget()
        self._kv.release()

    def tell(self, slot: int, noise: Tensor, scale: float, spoken: int, steps: int) -> None:
        """Set what :meth:`sound` is to know of a slot.

        Args:
            slot: Which.
            noise: Standard normal, shape ``(latent,)``, on the CPU.
            scale: Guidance.
            spoken: Tokens so far.
            steps: Solver steps.
        """
        told = self._told[slot]
        told[: self._latent] = noise
        told[self._latent :] = torch.tensor((scale, spoken, steps))

    def sound(self, slots: int, steps: tuple[int, ...]) -> NDArray[np.float32]:
        """The next token of the first slots, and what it sounds like if it is audio.

        Nothing counts until :meth:`count`: it can be called again with the same result.

        Args:
            slots: How many.
            steps: Solver steps that occur, ascending.

        Returns:
            Shape ``(slots, 1 + 3200)``: the token, NaN where the scores are no numbers; then
            samples.
        """
        width = self._runner.width(slots)
        self._given.copy_(self._told, non_blocking=True)
        chosen = self._runner.run(("sound", width, steps), lambda: self._sound(width, steps))
        fetched: NDArray[np.float32] = chosen[:slots].to("cpu", copy=True).numpy()
        return fetched

    def count(self, slots: int) -> None:
        """Make what :meth:`sound` has done to the first slots count; needs no memory."""
        self._codec.past.commit(self._speaking[:slots])

    def think(self, places: list[int]) -> None:
        """The language model's next state of the first slots.

        Args:
            places: Column of the new token in the rows of each slot, with and without the text.
        """
        width = self._runner.width(max(len(places) // 2, MIN_SLOTS))
        length = bucket(max(places) + 1)
        self._told_places[: len(places)] = torch.tensor(places)
        self._told_places[len(places) :] = 0
        self._places.copy_(self._told_places, non_blocking=True)
        self._runner.run(("think", width, length), lambda: self._think(2 * width, length))

    def _sound(self, count: int, steps: tuple[int, ...]) -> Tensor:
        slots = max(count, MIN_SLOTS)
        given, hidden = self._given[:slots], self._hidden[: 2 * slots]
        scores = functional.linear(hidden, self._legal).float()
        tokens = self._chooser.choose(scores[::2], given[:, self._latent + 1])
        latents = self._latents(given, hidden, steps).to(hidden.dtype)
        latents = functional.pad(latents, (0, 0, 0, max(0, MIN_ROWS - slots)))
        parts = self._parts
        raw = latents / parts.latent_scaling_factor - parts.latent_bias_factor
        audio, meaning = self._codec.frame(raw, count)
        sounded = parts.multi_modal_projector(latents) + parts.semantic_connector(meaning)
        speaking = tokens == self._loaded.rules.audio
        read = self._loaded.model.get_input_embeddings()(tokens)
        heard = torch.where(speaking[:, None], sounded[:slots], read)
        self._heard[: 2 * slots].view(slots, 2, -1).copy_(heard[:, None])
        self._speaking[:slots] = speaking
        # The best of scores that are no numbers would be the first token, which ends the text.
        sane = scores[: 2 * count : 2].isfinite().all(dim=1, keepdim=True)
        told = torch.where(sane, tokens[:count, None].float(), torch.nan)
        return torch.cat((told, audio.float()), dim=1)

    def _latents(self, given: Tensor, hidden: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Shape ``(slots, latent)``; rows of other steps are sampled beside and chosen."""
        noise, scale = given[:, : self._latent], given[:, self._latent, None]
        with_text, without = hidden[::2], hidden[1::2]
        first, *others = (
            self._sampler.sample(with_text, without, noise, scale, count) for count in steps
        )
        for count, sampled in zip(steps[1:], others, strict=True):
            first = torch.where(given[:, self._latent + 2, None] == count, sampled, first)
        return first

    def _think(self, rows: int, length: int) -> Tensor:
        places = self._places[:rows]
        seen = torch.arange(length, device=places.device) <= places[:, None]
        output = self._parts.language_model(
            inputs_embeds=self._heard[:rows, None],
            attention_mask={"full_attention": seen[:, None, None]},
            position_ids=places[:, None],
            past_key_values=KvFrame(self._kv, places, length),
            use_cache=True,
        )
        self._hidden[:rows] = output.last_hidden_state[:, 0]
        return self._hidden
