"""Samples that say which segment and which moment they are, so that order and loss can be read.

Sound is a row of cells of 5 ms. A cell is a mark and 56 bits::

    ++++----  tag:16  left:3  cell:21  check:16        each bit two samples: 1 is +-, 0 is -+

*tag* is the segment's place in its script (modulo 2**16), *cell* counts from its start, *left* how
many cells follow (7 for more), *check* guards the rest. Four equal signs in a row occur in the
mark only, so a cell is found at any offset; bits are read by comparing two samples, so neither
gain nor a fade matters; each cell has as many highs as lows, so there is no DC. The last
cells are quieter, as the end of a word is.

It survives what lossless audio goes through here: trimming, fades, gain, silence in between. It
does not survive resampling or a lossy codec.

Source: bi-phase (Manchester) coding with a code violation as the mark, as in ISO 7811 and AES3.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import Pcm

CELL_SAMPLES: Final = 120
MAX_CELLS: Final = 1 << 21
"""Cells of the longest segment, almost three hours."""

QUIET_CELLS: Final = 4
"""Cells at the end that have a quarter of the height."""

EDGE_CELLS: Final = 2
"""Cells that trimming and fading may take from each end of a complete segment."""

_MARK: Final = np.array([1, 1, 1, 1, -1, -1, -1, -1], dtype=np.int16)
_BITS: Final = 56
_DATA: Final = np.arange(_MARK.size, CELL_SAMPLES)
_LEFT_MAX: Final = 7
_CHECK: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_BLOCK_SAMPLES: Final = 1 << 22


class DecodedCell(NamedTuple):
    """One cell that was found: its segment, its number in it, the position of its first sample."""

    tag: int
    cell: int
    position: int


class HeardSegment(NamedTuple):
    """An unbroken run of a segment's cells.

    Args:
        tag: Segment.
        first_cell, last_cell: Numbers of its first and last cell heard.
        complete: It begins with the segment's beginning and ends with its end, but for
            :data:`EDGE_CELLS`.
        start, stop: Positions in samples; *stop* is one behind the last.
    """

    tag: int
    first_cell: int
    last_cell: int
    complete: bool
    start: int
    stop: int


class _Cells(NamedTuple):
    """Cells in the order of their positions, as arrays of shape ``(n,)``, int64."""

    tag: NDArray[np.int64]
    left: NDArray[np.int64]
    cell: NDArray[np.int64]
    position: NDArray[np.int64]


def encode(tag: int, start: int, stop: int, total: int, height: int) -> Pcm:
    """The cells ``start..stop`` of a segment of *total* cells.

    Args:
        tag: The segment; modulo 2**16.
        start, stop: ``0 <= start <= stop <= total <= MAX_CELLS``.
        total: Cells of the whole segment.
        height: Sample value of the loud cells, 4..32764, a multiple of 4.

    Returns:
        Shape ``(120 * (stop - start),)``.
    """
    cells = np.arange(start, stop, dtype=np.uint64)
    left = np.minimum(np.uint64(total - 1) - cells, np.uint64(_LEFT_MAX))
    payload = (np.uint64(tag & 0xFFFF) << np.uint64(24)) | (left << np.uint64(21)) | cells
    words = (payload << np.uint64(16)) | _checksum(payload)
    octets = words.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 1:]
    out = np.empty((stop - start, CELL_SAMPLES), dtype=np.int16)
    out[:, : _MARK.size] = _MARK * height
    out[:, _MARK.size :] = (_OCTETS * height).take(octets, axis=0).reshape(-1, 2 * _BITS)
    out[max(0, total - QUIET_CELLS - start) :] //= 4
    return out.reshape(-1)


def decode(pcm: Pcm) -> list[DecodedCell]:
    """Every cell in *pcm*, at any offset, in order.

    Args:
        pcm: Shape ``(n,)``; may hold anything between the cells.
    """
    found = _find(pcm)
    columns = (found.tag.tolist(), found.cell.tolist(), found.position.tolist())
    return [DecodedCell(*row) for row in zip(*columns, strict=True)]


def segments_heard(pcm: Pcm) -> list[HeardSegment]:
    """The runs of cells in *pcm* in the order in which they are heard.

    A segment that is whole is one run with ``complete``; one with a gap, a repetition, or silence
    inside is several without.
    """
    found = _find(pcm)
    if found.tag.size == 0:
        return []
    breaks = (
        (np.diff(found.tag) != 0)
        | (np.diff(found.cell) != 1)
        | (np.diff(found.position) != CELL_SAMPLES)
    )
    starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    stops = np.concatenate((starts[1:], [found.tag.size])) - 1
    return [
        HeardSegment(
            tag=int(found.tag[first]),
            first_cell=int(found.cell[first]),
            last_cell=int(found.cell[last]),
            complete=bool(found.cell[first] <= EDGE_CELLS and found.left[last] <= EDGE_CELLS),
            start=int(found.position[first]),
            stop=int(found.position[last]) + CELL_SAMPLES,
        )
        for first, last in zip(starts.tolist(), stops.tolist(), strict=True)
    ]


def _octet_samples() -> NDArray[np.int16]:
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.int16)
    highs = 2 * bits - 1
    return np.stack([highs, -highs], axis=2).reshape(256, 16)


_OCTETS: Final = _octet_samples()


def _checksum(payload: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        mixed = (payload + np.uint64(1)) * _CHECK
    folded: NDArray[np.uint64] = (mixed ^ (mixed >> np.uint64(24))) >> np.uint64(48)
    return folded


def _find(pcm: Pcm) -> _Cells:
    """Search in blocks, so that memory is bounded by the block and what is found."""
    parts = [
        _find_in(pcm[start : start + _BLOCK_SAMPLES + CELL_SAMPLES - 1], start)
        for start in range(0, max(1, pcm.size), _BLOCK_SAMPLES)
    ]
    return _Cells(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _find_in(pcm: Pcm, offset: int) -> _Cells:
    marks = _marks(pcm)
    pairs = pcm[marks[:, None] + _DATA].reshape(-1, _BITS, 2)
    octets = np.packbits(pairs[:, :, 0] > pairs[:, :, 1], axis=1)
    padded = np.zeros((len(octets), 8), dtype=np.uint8)
    padded[:, 1:] = octets
    words = padded.view(">u8").reshape(-1).astype(np.uint64)
    payload = words >> np.uint64(16)
    good = (words & np.uint64(0xFFFF)) == _checksum(payload)
    payload, marks = payload[good].astype(np.int64), marks[good]
    return _Cells(
        payload >> 24, (payload >> 21) & _LEFT_MAX, payload & (MAX_CELLS - 1), marks + offset
    )


def _marks(pcm: Pcm) -> NDArray[np.int64]:
    """Where ``++++----`` stands with room for a cell; a faded sample may be 0, not at the turn."""
    room = pcm.size - CELL_SAMPLES + 1
    if room <= 0:
        return np.empty(0, dtype=np.int64)
    high, low = pcm >= 0, pcm <= 0
    high, low = high[:-1] & high[1:], low[:-1] & low[1:]
    high, low = high[:-2] & high[2:], low[:-2] & low[2:]
    turn = (pcm[3 : room + 3] > 0) & (pcm[4 : room + 4] < 0)
    return np.flatnonzero(high[:room] & low[4 : room + 4] & turn)
