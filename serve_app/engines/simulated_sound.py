"""What a simulated task sounds like, whole or spoilt."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ, bytes_from_pcm, samples_of, silence
from serve_app.engines.base import SpeakTask, SpeechEnd
from serve_app.engines.simulated_code import CELL_SAMPLES, MAX_CELLS, encode
from serve_app.engines.simulated_faults import FaultRule

FRAME_SAMPLES: Final = 3200
"""Audio comes in frames of 0.1333 s, 7.5 a second, as VibeVoice's does; behind the last whole cell
the last one is zeros."""

HEIGHT: Final = 2320
"""Of the samples: -23 dBFS, the level that every voice is brought to. The text and the seed move it
by 0.4 dB at most, so that another seed or another text gives other bytes."""

_CUT_SHARE: Final = 2 / 3
_CUT_SAMPLES: Final = 480
_CUT_FACTOR: Final = 5
_BLOCK_CELLS: Final = 400  # 2 s; a block fits a cache


class SimulatedSound:
    """A task's samples, made block by block.

    Args:
        task: What to encode.
        length_jitter: As in the options.
        fault: What strikes, or None.
    """

    def __init__(self, task: SpeakTask, length_jitter: float, fault: FaultRule | None) -> None:
        content = repr((task.lines, task.options)).encode()
        varied = 1 + length_jitter * (2 * _share(content) - 1)
        wanted = max(1, round(task.est_s * varied * SAMPLE_RATE_HZ / FRAME_SAMPLES))
        frames = min(wanted, MAX_CELLS * CELL_SAMPLES // FRAME_SAMPLES)
        self._task = task
        self._total = frames * FRAME_SAMPLES // CELL_SAMPLES
        self._height = HEIGHT + 4 * round(50 * (_share(content + b"%d" % task.seed) - 0.5))
        self._bad = fault.audio if fault and fault.kind == "bad_audio" else None
        self._whole = self.samples = frames * FRAME_SAMPLES
        if self._bad == "cut":
            self.samples = round(self.samples * _CUT_SHARE)
        self.fails_at = self.samples
        if fault and self._bad is None:
            self.fails_at = samples_of(fault.after_s)
        self.end = SpeechEnd(
            "stop" if frames == wanted else "length",
            input_tokens=sum(len(line.text.split()) for line in task.lines),
            output_frames=-(-self.samples // FRAME_SAMPLES),
        )
        self._block = b""
        self._block_start = 0

    def read(self, start: int, stop: int) -> bytes:
        """The samples ``start..stop`` as bytes; quickest in order."""
        offset = 2 * (start - self._block_start)
        if offset < 0 or offset + 2 * (stop - start) > len(self._block):
            self._make(start, stop)
            offset = 2 * (start - self._block_start)
        return self._block[offset : offset + 2 * (stop - start)]

    def _make(self, start: int, stop: int) -> None:
        first = start // CELL_SAMPLES
        last = min(self._total, max(first + _BLOCK_CELLS, -(-stop // CELL_SAMPLES)))
        first = min(first, last)
        self._block_start = first * CELL_SAMPLES
        pcm = encode(self._task.tag, first, last, self._total, self._height)
        if last == self._total:
            pcm = np.concatenate([pcm, silence(self._whole - last * CELL_SAMPLES)])
        if self._bad == "silence":
            pcm = np.zeros_like(pcm)
        elif self._bad == "cut":
            pcm[max(0, self.samples - _CUT_SAMPLES - self._block_start) :] *= _CUT_FACTOR
        self._block = bytes_from_pcm(pcm)


def _share(content: bytes) -> float:
    """A number in 0..1 that depends on *content* only."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") / 2**64
