"""What a card has room for: asked before a segment joins.

Needed are the slots' keys and values as far as they have to grow, and the peak of encoding the
segment's longest new voice (:mod:`serve_app.core.vram`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from serve_app.core.vram import ModelShape, admits, slots_that_fit
from serve_app.engines.vibevoice_loop import Batch
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import Prompt
from serve_app.engines.vibevoice_shortage import is_memory
from serve_app.engines.vibevoice_voices import MAX_S
from serve_app.errors import ConfigError, EngineMemoryError

logger = logging.getLogger(__name__)

MemoryReading = Callable[[], tuple[int, int] | None]
"""Free and total bytes of the card, or None where there is nothing to admit by."""


class Admission:
    """Whether a segment may join a batch.

    Args:
        shape: What memory depends on.
        memory: What the card has left.
    """

    def __init__(self, shape: ModelShape, memory: MemoryReading) -> None:
        self._shape, self._memory = shape, memory

    def admit(self, batch: Batch, reader: Reader, prompt: Prompt, budget: int) -> int | None:
        """Find memory for one more segment.

        If there is not enough, the batch and the reader give back all that the running segments
        don't need.

        Args:
            batch: What it would join.
            reader: Who would read its prompt.
            prompt: Its prompt.
            budget: Tokens it may take.

        Returns:
            None if there is; else how many segments like the largest have room, at least 1.

        Raises:
            EngineMemoryError: The card would not have enough if it were empty.
        """
        columns, others = len(prompt.ids) + budget, len(batch.rows)
        voice_s = reader.new_voice_s(prompt)
        if self._fits(batch, batch.room(columns), voice_s):
            return None
        if not self._fits(batch, batch.need(others + 1, columns), voice_s):
            give_back(batch, reader)
            voice_s = reader.new_voice_s(prompt)  # all of them are new again
        if self._fits(batch, batch.need(others + 1, columns), voice_s):
            batch.fit(others + 1, columns)
            return None
        if not self._fits(batch, batch.alone(columns), voice_s):
            raise EngineMemoryError(
                f"a segment of {columns} tokens does not fit on the empty card; send less text"
            )
        slots = range(others, 1, -1)
        return next((n for n in slots if self._fits(batch, batch.need(n, columns), voice_s)), 1)

    def _fits(self, batch: Batch, wanted: tuple[int, int], new_voice_s: float) -> bool:
        slots, width = wanted
        had_slots, had_width = batch.reserved
        more_bytes = slots * self._shape.slot_bytes(width)
        more_bytes -= had_slots * self._shape.slot_bytes(had_width)
        more_bytes += self._shape.voice_bytes(new_voice_s)
        if more_bytes <= 0:
            return True
        memory = self._memory()
        return memory is None or admits(*memory, more_bytes)


def give_back(batch: Batch, reader: Reader) -> None:
    """Free what is only kept to be faster: recordings, spare slots, read prompts, torch's cache."""
    reader.forget()
    _empty_cache()
    try:
        batch.tighten()
    except Exception as error:
        if not is_memory(error):  # it grows new slots beside the old ones, a layer at a time
            raise
    _empty_cache()


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def slots_with_room(
    slots: int, columns: int, shape: ModelShape, memory: tuple[int, int] | None
) -> int:
    """*slots*, or as many as a card has room for beside the encoding of one voice.

    Args:
        slots: Wanted.
        columns: Tokens that each has room for.
        shape: What memory depends on.
        memory: Free and total bytes of the card, or None where there is nothing to fit into.

    Raises:
        ConfigError: It has none for a single one.
    """
    if memory is None:
        return slots
    fitting = min(slots, slots_that_fit(shape, *memory, columns, MAX_S))
    if fitting < 1:
        raise ConfigError(
            f"the card has no room for a slot of {columns} tokens beside the model; take a shorter "
            "static_cache_s, a smaller model or a larger card",
            "engine",
        )
    if fitting < slots:
        logger.warning("room for %d slots of %d tokens, not for %d", fitting, columns, slots)
    return fitting


def card_memory(device: torch.device, *, graphs: bool = False) -> MemoryReading:
    """The reading of a device; what torch's allocator holds unused counts as free.

    Args:
        device: Which.
        graphs: Whether frames are recorded: what recordings hold unused is theirs alone.
    """
    if device.type != "cuda":
        return lambda: None

    def reading() -> tuple[int, int]:
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if graphs:
            held -= _pooled_bytes(device)
        return free + held, total

    return reading


def _pooled_bytes(device: torch.device) -> int:
    """Unused memory of pools; some milliseconds, once for a segment that joins."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return sum(
        segment["total_size"] - segment["allocated_size"]
        for segment in torch.cuda.memory_snapshot(include_traces=False)  # type: ignore[no-untyped-call]
        if segment["device"] == index and tuple(segment["segment_pool_id"]) != (0, 0)
    )
