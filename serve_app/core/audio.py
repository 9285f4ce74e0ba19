"""Samples: how they are counted, packed, framed as WAV and measured; no state, no input or output.

The one signal of this service is mono, 24 kHz, signed 16 bit. Levels are relative to a full scale
of 32768 (0 dBFS is a square wave of that height). Decisions about samples are taken in integers,
so that they are the same on every machine.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import BadAudioError

Pcm: TypeAlias = NDArray[np.int16]
"""Mono samples at 24 kHz, shape ``(n,)``."""

SAMPLE_RATE_HZ: Final = 24_000
BYTES_PER_SAMPLE: Final = 2
BYTES_PER_S: Final = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE
FULL_SCALE: Final = 32_768
FRAME_SAMPLES: Final = 120
"""5 ms: the grid on which sound and silence are told apart."""

SILENCE_DBFS: Final = -50.0
"""A frame with less power than this is silence, here and in every part that asks."""

_UNKNOWN_LENGTH: Final = 0xFFFF_FFFF


def samples_of(seconds: float) -> int:
    """Length in samples, rounded to the nearest one."""
    return round(seconds * SAMPLE_RATE_HZ)


def duration_s(samples: int) -> float:
    """Length of *samples* in seconds."""
    return samples / SAMPLE_RATE_HZ


def silence(samples: int) -> Pcm:
    """Digital silence, shape ``(samples,)``."""
    return np.zeros(samples, dtype=np.int16)


def pcm_from_bytes(data: bytes) -> Pcm:
    """Samples from little-endian bytes; read-only and without a copy where the machine allows.

    Raises:
        BadAudioError: *data* ends inside a sample.
    """
    if len(data) % BYTES_PER_SAMPLE:
        raise BadAudioError(
            f"{len(data)} bytes of 16-bit audio end inside a sample; send whole samples"
        )
    return np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False)


def bytes_from_pcm(pcm: Pcm) -> bytes:
    """Little-endian bytes of *pcm*, two a sample."""
    return pcm.astype("<i2", copy=False).tobytes()


def finite_to_pcm(samples: NDArray[np.floating]) -> Pcm:
    """Samples from floats: scaled by 32767, rounded half to even, clipped at full scale.

    Args:
        samples: Shape ``(n,)``, full scale -1..1.

    Raises:
        BadAudioError: A sample is NaN or infinite; the message names the first.
    """
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.argmin(finite))
        raise BadAudioError(
            f"{int((~finite).sum())} of {samples.size} samples are not finite numbers, "
            f"the first is {samples[first]} at {duration_s(first):.3f} s; speak the segment again"
        )
    limit = FULL_SCALE - 1
    pcm: Pcm = np.rint(np.clip(samples, -1.0, 1.0) * limit).astype(np.int16)
    return pcm


def power_limit(dbfs: float) -> int:
    """Mean square of samples at a level, as the integer that powers are compared with.

    At least 1, so that zeros are silence whatever the level.
    """
    return max(1, round(FULL_SCALE**2 * 10 ** (dbfs / 10)))


def energy(pcm: Pcm) -> int:
    """Sum of the squares of *pcm*, exact."""
    wide = pcm.astype(np.int64)
    return int(wide @ wide)


def frame_energies(pcm: Pcm) -> NDArray[np.int64]:
    """Sum of squares of each whole frame of 5 ms, exact; what is left of a frame is not counted.

    Returns:
        Shape ``(len(pcm) // 120,)``.
    """
    frames = pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    squares = frames.astype(np.int32)
    squares *= squares
    energies: NDArray[np.int64] = squares.sum(axis=1, dtype=np.int64)
    return energies


def wav_header(samples: int | None, comment: str = "") -> bytes:
    """Everything of a WAV file that stands before its samples.

    Args:
        samples: Length, or None for a stream whose length isn't known yet: both length fields
            then hold 0xFFFFFFFF, which readers take as "up to the end of the file".
        comment: Kept in a LIST/INFO chunk before the samples; ASCII.

    Raises:
        ValueError: *samples* is negative or does not fit into a WAV file (24 hours do).

    Source: Microsoft Multimedia Programming Interface 1.0 (RIFF, WAVE_FORMAT_PCM, ICMT).
    """
    info = b""
    if comment:
        text = comment.encode("ascii") + b"\0"
        text += b"\0" * (len(text) % 2)
        info = struct.pack("<4sI4s4sI", b"LIST", 12 + len(text), b"INFO", b"ICMT", len(text)) + text
    form = struct.pack(
        "<4sIHHIIHH",
        *(b"fmt ", 16, 1, 1, SAMPLE_RATE_HZ, BYTES_PER_S),
        *(BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE),
    )
    body = b"WAVE" + form + info
    if samples is None:
        riff_bytes = data_bytes = _UNKNOWN_LENGTH
    else:
        data_bytes = samples * BYTES_PER_SAMPLE
        riff_bytes = len(body) + 8 + data_bytes
        if samples < 0 or riff_bytes >= _UNKNOWN_LENGTH:
            raise ValueError(f"a WAV file can't hold {samples} samples; its limit is 4 GiB")
    riff = struct.pack("<4sI", b"RIFF", riff_bytes)
    return riff + body + struct.pack("<4sI", b"data", data_bytes)
