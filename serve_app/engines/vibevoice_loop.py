"""The decoding loop over the model's parts: many segments, one frame at a time.

A frame is two halves, and each can be done again after it failed, with the same result:

* :meth:`Batch.sound` chooses a token for each row, samples and decodes the audio of those that
  speak, listens to it with the semantic encoder, and only then makes it count. Rows that have
  ended leave.
* :meth:`Batch.think` runs the language model once for all rows, with and without the text.

::

    join -> sound -> (audio leaves) -> think -> sound -> ...

**Independent rows.** Noise comes from a generator of the row's own. What the codec makes of rows
that don't speak in a frame is not kept. The row without text hears what its neighbour with text
hears; its column only counts if the token was audio, and goes back to 0 where audio begins anew.

**The same bits.** The libraries multiply fewer than four rows in another order than four or more.
So there are never fewer: idle slots make up the number, and on a CPU a segment's samples don't
depend on how many are spoken beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serve_app.engines.vibevoice_frame import Device
from serve_app.engines.vibevoice_graphs import Direct, Runner
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_prefill import Prefill

Samples = NDArray[np.float32]
Finish = Literal["stop", "length"]


@dataclass(eq=False, slots=True)
class Row:
    """A segment in the batch.

    Args:
        budget: Tokens it may take.
        noise: Source of its noise.
        scale: Guidance.
        steps: Solver steps.
        columns: All it may take: its prompt and its budget.
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
    columns: int = 0
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
        samples: Shape ``(3200,)``, or None; NaN where the language model gave no numbers.
        finish: Why it ended, or None.
    """

    row: Row
    samples: Samples | None
    finish: Finish | None


class Batch:
    """The running rows of one model on one device; for one thread, under ``inference_mode``.

    Args:
        loaded: The model.
        begin: The start without text.
        runner: Runs the parts of a frame; None computes them as they come.
    """

    def __init__(self, loaded: LoadedModel, begin: Prefill, runner: Runner | None = None) -> None:
        self._rules = loaded.rules
        self._device = Device(loaded, begin, Direct() if runner is None else runner)
        self.rows: list[Row] = []

    def room(self, columns: int) -> tuple[int, int]:
        """Slots and columns there would be with one more segment of *columns*."""
        return self._device.room(len(self.rows) + 1, columns)

    def need(self, slots: int, columns: int) -> tuple[int, int]:
        """Slots and columns without which *slots* segments of up to *columns* can't be."""
        return self._device.need(slots, max([columns, *(row.columns for row in self.rows)]))

    def alone(self, columns: int) -> tuple[int, int]:
        """What a segment of *columns* needs that nobody is beside."""
        return self._device.need(1, columns)

    def fit(self, slots: int, columns: int) -> None:
        """Have what :meth:`need` says and no more.

        Raises:
            torch.OutOfMemoryError: There is no room; nothing has changed for the rows.
        """
        self._device.resize(*self.need(slots, columns))

    def tighten(self) -> None:
        """Give the memory back that the rows don't need.

        Raises:
            torch.OutOfMemoryError: As :meth:`fit`.
        """
        if self.rows:
            self._device.forget()
            self.fit(len(self.rows), 1)
        else:
            self._device.release()

    @property
    def reserved(self) -> tuple[int, int]:
        """Slots and columns there are."""
        return self._device.reserved

    def reserve(self, slots: int, columns: int) -> None:
        """Have room for so many segments of so many columns, until memory is short."""
        self._device.resize(*self._device.room(slots, columns))

    def join(self, row: Row, prefill: Prefill) -> None:
        """Take a segment in; it sounds in the next frame.

        Raises:
            torch.OutOfMemoryError: There is no room; nothing has changed for the others.
        """
        slot = len(self.rows)
        row.columns = prefill.columns + row.budget
        self._device.resize(*self._device.room(slot + 1, row.columns))
        self._device.put(slot, prefill)
        row.column, row.blind_column = prefill.columns, 0
        self.rows.append(row)

    def leave(self, gone: Iterable[Row]) -> None:
        """Take rows out; the last ones take their slots."""
        for row in gone:
            if row not in self.rows:
                continue
            slot, last = self.rows.index(row), len(self.rows) - 1
            mover = self.rows.pop()
            if slot != last:
                self.rows[slot] = mover
                self._device.move(last, slot, max(mover.column, mover.blind_column + 1))

    def sound(self) -> list[Sounded]:
        """One frame's audio, and who has ended with it; those have left."""
        if not self.rows:
            return []
        for slot, row in enumerate(self.rows):
            noise = row.draw(self._device.latent)
            self._device.tell(slot, noise, row.scale, row.spoken, row.steps)
        steps = tuple(sorted({row.steps for row in self.rows}))
        fetched = self._device.sound(len(self.rows), steps)
        self._device.count(len(self.rows))
        given = [self._sounded(row, values) for row, values in zip(self.rows, fetched, strict=True)]
        self.leave([item.row for item in given if item.finish])
        return given

    def think(self) -> None:
        """The language model's next state of all rows."""
        if not self.rows:
            return
        self._device.think([at for row in self.rows for at in (row.column, row.blind_column)])
        for row in self.rows:
            row.column += 1

    def _sounded(self, row: Row, values: Samples) -> Sounded:
        """Make a frame count for a row."""
        if np.isnan(values[0]):
            return Sounded(row, np.full_like(values[1:], np.nan), None)
        token = int(values[0])
        row.spoken += 1
        samples = None
        if token == self._rules.audio:
            row.drawn = None
            row.frames += 1
            row.blind_column += 1
            samples = values[1:]
        elif token == self._rules.audio_begin:
            row.blind_column = 0
        finish: Finish | None = "length" if row.spoken >= row.budget else None
        return Sounded(row, samples, "stop" if token in self._rules.stops else finish)


def probe(batch: Batch, prefill: Callable[[], Prefill]) -> bool:
    """Whether a row of its own gives two finite frames or ends; for a batch that is empty.

    Args:
        batch: Where.
        prefill: What to read.
    """
    row = Row(budget=2, noise=torch.Generator().manual_seed(0), scale=1.3, steps=2)
    batch.join(row, prefill())
    try:
        sounds = batch.sound()
        batch.think()
        sounds += batch.sound()  # what has been thought, too, must be finite
        return all(item.samples is None or np.isfinite(item.samples).all() for item in sounds)
    finally:
        batch.leave([row])
