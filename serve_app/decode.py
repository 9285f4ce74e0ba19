"""Audio files as the one signal of this service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm


def decoded(path: Path) -> Iterator[Pcm]:
    """The samples of a file, as a listener's player makes them; what overshoots is clipped.

    Args:
        path: A file in any format that FFmpeg reads.

    Raises:
        OSError: It can't be opened.
        ValueError: It is not audio, or broken (FFmpeg's own error, a subclass).
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            for ready in resampler.resample(frame):
                yield _samples(ready)
        for ready in resampler.resample(None):
            yield _samples(ready)


def _samples(frame: av.AudioFrame) -> Pcm:
    pcm: Pcm = frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)
    return pcm
