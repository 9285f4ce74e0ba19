"""From an uploaded file to the samples of a voice; blocks for as long as decoding takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.core.voice_audio import VoiceRules, centred, voice_pcm
from serve_app.voice_file import Upload, decode_upload


@dataclass(frozen=True, slots=True)
class VoiceAudio:
    """A recording ready to be a voice.

    Args:
        pcm: Trimmed and at the common level, shape ``(n,)``.
        source: Container and coding of the upload, such as ``MP3 MPEG_LAYER_III``.
        source_rate_hz: Its sample rate.
        source_channels: Its channels.
    """

    pcm: Pcm
    source: str
    source_rate_hz: int
    source_channels: int


def voice_from_upload(data: bytes, rules: VoiceRules | None = None) -> VoiceAudio:
    """Decode, mix, centre, resample, level and trim an upload; blocks.

    Raises:
        VoiceAudioError: The upload can't become a voice; the message says why.
    """
    upload = decode_upload(data)
    pcm = voice_pcm(_at_24_khz(upload), rules)
    return VoiceAudio(pcm, upload.source, upload.rate_hz, upload.channels)


def _at_24_khz(upload: Upload) -> NDArray[np.float32]:
    mono = centred(upload.mono, upload.rate_hz)
    if upload.rate_hz == SAMPLE_RATE_HZ:
        return mono
    out: NDArray[np.float32] = soxr.resample(mono, upload.rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return out
