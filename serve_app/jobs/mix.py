"""From kept takes to the signal: stitched in order, in bounded memory, the same bytes every time.

The signal up to a segment depends on the takes up to it only. So the part spoken so far can be
heard while the rest is spoken, and whoever reads it later reads the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.core.segment import Segment
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.jobs.take_file import StoredTake
from serve_app.tempo import Tempo

_BLOCK_SAMPLES = 10 * SAMPLE_RATE_HZ


class Mixer:
    """Takes in, signal out; its memory is a few seconds of audio.

    Args:
        gains_db: Fixed gain by voice, as the job's plan has it.
        speed: Of the whole signal, its pauses too; 0.25..4.
    """

    def __init__(self, gains_db: Mapping[str, float], speed: float = 1.0) -> None:
        self._stitcher = Stitcher(StitchRules(), gains_db)
        self._tempo = None if speed == 1.0 else Tempo(speed)

    def add(self, take: StoredTake, segment: Segment) -> Iterator[Pcm]:
        """Append the take of a segment; yields the signal that is ready, in blocks. Blocks."""
        info = take.header.info.placed(segment.before, segment.pause_s)
        at = 0
        for part, runs in zip(info.parts, take.header.runs, strict=True):
            self._stitcher.begin(part.before, part.pause_s)
            for samples, voice in runs:
                for start in range(at, at + samples, _BLOCK_SAMPLES):
                    stop = min(start + _BLOCK_SAMPLES, at + samples)
                    yield self._paced(self._stitcher.feed(take.pcm[start:stop], voice))
                at += samples
            yield self._paced(self._stitcher.end())

    def finish(self, final_pause_s: float | None) -> Pcm:
        """End the signal."""
        rest = self._stitcher.finish(final_pause_s)
        if self._tempo is None:
            return rest
        return np.concatenate((self._tempo.push(rest), self._tempo.close()))

    def _paced(self, pcm: Pcm) -> Pcm:
        return pcm if self._tempo is None else self._tempo.push(pcm)
