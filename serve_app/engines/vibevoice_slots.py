"""Preallocated places for the state of running segments: keys and values, and convolutions.

A slot has two rows of keys and values: ``2 * slot`` hears the text, ``2 * slot + 1`` does not. Rows
are left-aligned, each at its own column, so there is no padding to mask but what lies behind a
row's own end. Running segments are always the first slots, a view; who leaves is replaced by the
last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

COLUMN_BUCKET: Final = 128
"""Lengths grow by this many columns: few shapes for graphs, and sums whose grouping on a CPU does
not depend on how long the neighbours are."""


def bucket(columns: int) -> int:
    """*columns* rounded up to whole buckets."""
    return -(-columns // COLUMN_BUCKET) * COLUMN_BUCKET


class KvSlots:
    """Keys and values of all layers.

    Args:
        layers: Of the language model.
        heads: Of keys and values.
        dim: Of a head.
        like: A tensor with the dtype and device wanted.
    """

    def __init__(self, layers: int, heads: int, dim: int, like: Tensor) -> None:
        self._like = like
        self._shape = (heads, dim)
        self.slots = 0
        self.columns = 0
        self.keys = [self._new(0, 0) for _ in range(layers)]
        self.values = [self._new(0, 0) for _ in range(layers)]

    def _new(self, slots: int, columns: int) -> Tensor:
        heads, dim = self._shape
        return self._like.new_zeros((2 * slots, heads, columns, dim))

    def resize(self, slots: int, columns: int) -> None:
        """Have so many slots and columns, keeping what is in them; layer by layer.

        Args:
            slots: How many.
            columns: How many, whole buckets.

        Raises:
            torch.OutOfMemoryError: There is no room; what is in the slots and columns of both sizes
                stays, and there are no others any more.
        """
        kept_slots, kept_columns = min(slots, self.slots), min(columns, self.columns)
        self.slots, self.columns = kept_slots, kept_columns
        for buffers in (self.keys, self.values):
            for layer, old in enumerate(buffers):
                if old.shape[::2] == (2 * slots, columns):
                    continue
                buffers[layer] = self._new(slots, columns)
                kept = old[: 2 * kept_slots, :, :kept_columns]
                buffers[layer][: 2 * kept_slots, :, :kept_columns] = kept
        self.slots, self.columns = slots, columns

    def put(self, row: int, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Fill a row's first columns, a tensor of shape ``(1, heads, columns, dim)`` a layer."""
        for buffers, given in ((self.keys, keys), (self.values, values)):
            for buffer, new in zip(buffers, given, strict=True):
                _fill(buffer[row : row + 1], new)

    def move(self, source: int, target: int, columns: int) -> None:
        """Copy a slot's first *columns*."""
        for buffer in (*self.keys, *self.values):
            moved = buffer[2 * source : 2 * source + 2, :, :columns]
            _fill(buffer[2 * target : 2 * target + 2], moved)

    def release(self) -> None:
        """Give all memory back."""
        self.slots = self.columns = 0
        for buffers in (self.keys, self.values):
            buffers[:] = [self._new(0, 0) for _ in buffers]


def _fill(rows: Tensor, columns: Tensor) -> None:
    """Write the first columns of some rows, and zeros behind them.

    A mask does not hide what the last guest left there if it is NaN, for 0 times NaN is NaN.
    """
    rows[:, :, : columns.shape[2]] = columns
    rows[:, :, columns.shape[2] :] = 0


class KvFrame:
    """One token for the first rows, in the shape in which transformers asks a cache.

    Args:
        slots: The buffers.
        places: Column of each row's new token, shape ``(rows,)``.
        length: Columns in use, a whole bucket.
    """

    is_compileable = False

    def __init__(self, slots: KvSlots, places: Tensor, length: int) -> None:
        self._slots, self._places, self._length = slots, places, length
        self._rows = torch.arange(places.shape[0], device=places.device)

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write a layer's new column, shape ``(rows, heads, 1, dim)``; give all that is seen."""
        both = []
        for buffers, new in ((self._slots.keys, keys), (self._slots.values, values)):
            buffer = buffers[layer_idx]
            buffer[self._rows, :, self._places] = new[:, :, 0]
            both.append(buffer[: new.shape[0], :, : self._length])
        return both[0], both[1]

    def get_seq_length(self, _layer_idx: int = 0) -> int:
        """Columns in use."""
        return self._length


class Past:
    """What the causal convolutions of a codec remember of each slot, in one tensor.

    A frame writes what it leaves behind beside what it has found: :meth:`commit` makes it count,
    and without it the frame can be done again.

    Args:
        like: A tensor with the dtype and device wanted.
    """

    def __init__(self, like: Tensor) -> None:
        self._now = self._next = like.new_zeros((0, 0))

    @property
    def slots(self) -> int:
        """Slots there are."""
        return self._now.shape[0]

    def layer(self, channels: int, columns: int) -> Callable[[Tensor, slice], Tensor]:
        """A place for one more convolution.

        Args:
            channels: That go in.
            columns: That the next frame needs.

        Returns:
            Called with a frame of some slots, shape ``(rows, channels, new)``: the frame behind
            what is remembered, shape ``(rows, channels, columns + new)``.
        """
        begin = self._now.shape[1]
        end = begin + channels * columns
        self._now = self._next = self._now.new_zeros((0, end))

        def behind(sound: Tensor, rows: slice) -> Tensor:
            shape = (sound.shape[0], channels, columns)
            padded = torch.cat((self._now[rows, begin:end].view(shape), sound), dim=-1)
            self._next[rows, begin:end].view(shape).copy_(padded[..., padded.shape[-1] - columns :])
            return padded

        return behind

    def ensure(self, slots: int) -> None:
        """Have room for so many slots, keeping what is there."""
        old = self._now
        if slots > old.shape[0]:
            self._next = old.new_zeros((slots, old.shape[1]))
            self._now = self._next.clone()
            self._now[: old.shape[0]] = old

    def commit(self, counts: Tensor) -> None:
        """Remember what the frame has seen.

        Args:
            counts: Whether it counts for each of the first slots, shape ``(slots,)``.
        """
        now, seen = (states[: counts.shape[0]] for states in (self._now, self._next))
        torch.where(counts[:, None], seen, now, out=now)

    def clear(self, slot: int) -> None:
        """Forget a slot."""
        self._now[slot] = 0

    def move(self, source: int, target: int) -> None:
        """Copy a slot."""
        self._now[target] = self._now[source]
