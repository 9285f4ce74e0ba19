"""Speech made faster or slower at the same pitch, by FFmpeg's ``atempo``.

It is applied to the finished signal, so that every engine has it and the segments stay the same.
``atempo`` overlaps stretches of 40 ms where they fit best (WSOLA); above 2 it would skip samples
and below 0.5 it refuses, so that more than one of them share a large change. Its result depends on
how its input is cut, so it is always given blocks of the same size.

Source: W. Verhelst, M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)
for high quality time-scale modification of speech", ICASSP 1993.
"""

from __future__ import annotations

from typing import Final

import av
import numpy as np
from av.filter import Graph

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm, silence

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0
_BLOCK_SAMPLES: Final = 1_200
_STEP: Final = 2.0
_FLUSH_BLOCKS: Final = 40
"""2 s, far more than the filters hold back."""


class Tempo:
    """One signal; what :meth:`push` and :meth:`close` return, joined, is ``1 / speed`` as long.

    Args:
        speed: 0.25..4; 2 is twice as fast.

    Raises:
        ValueError: *speed* is out of range.
    """

    def __init__(self, speed: float) -> None:
        if not MIN_SPEED <= speed <= MAX_SPEED:
            raise ValueError(f"speed {speed} is not within {MIN_SPEED}..{MAX_SPEED}")
        self._speed = speed
        self._graph = _graph(speed)
        self._waiting: Pcm = silence(0)
        self._samples_in = self._samples_pushed = self._samples_out = 0

    def push(self, pcm: Pcm) -> Pcm:
        """Take the next samples, any number; return those that are ready."""
        self._samples_in += len(pcm)
        self._waiting = np.concatenate((self._waiting, pcm))
        whole = len(self._waiting) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        blocks, self._waiting = self._waiting[:whole], self._waiting[whole:]
        return self._filtered(blocks)

    def close(self) -> Pcm:
        """Return the rest; once, and nothing may be pushed after it."""
        left = self._waiting
        # Silence behind the end drives the end out of the filters, and is then cut off.
        padding = silence(_BLOCK_SAMPLES - len(left) + _FLUSH_BLOCKS * _BLOCK_SAMPLES)
        wanted = round(self._samples_in / self._speed) - self._samples_out
        return self._filtered(np.concatenate((left, padding)))[:wanted]

    def _filtered(self, pcm: Pcm) -> Pcm:
        """What *pcm*, a number of whole blocks, brings out of the filters."""
        ready = [silence(0)]
        for block in pcm.reshape(-1, _BLOCK_SAMPLES):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block).reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate = SAMPLE_RATE_HZ
            frame.pts = self._samples_pushed
            self._samples_pushed += len(block)
            self._graph.push(frame)
            ready += self._pulled()
        out: Pcm = np.concatenate(ready)
        self._samples_out += len(out)
        return out

    def _pulled(self) -> list[Pcm]:
        frames: list[Pcm] = []
        while True:
            try:
                frame = self._graph.pull()
            except av.BlockingIOError:
                return frames
            assert isinstance(frame, av.AudioFrame)
            frames.append(frame.to_ndarray().reshape(-1).astype(np.int16, copy=False))


def _graph(speed: float) -> Graph:
    steps = 1
    while not 1 / _STEP <= speed ** (1 / steps) <= _STEP:
        steps += 1
    graph = Graph()
    nodes = [
        graph.add_abuffer(sample_rate=SAMPLE_RATE_HZ, format="s16", layout="mono"),
        *(graph.add("atempo", f"{speed ** (1 / steps):.9f}") for _ in range(steps)),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
