"""Audio files in and out through libsndfile: uploads of any kind, and the FLAC that is kept.

All calls block. Three traps of libsndfile 1.2 decide how an upload is read:

* A truncated file reads short without an error; frames read are compared with those announced,
  and WAV and Ogg are checked by :mod:`serve_app.core.voice_bytes` before.
* An MP3 of variable rate without an index has its length guessed, and reading stops there; so the
  file must also have been read to its end.
* Reading an MP3 in blocks seeks between them, and lands elsewhere in the sound; so it is read in
  one call, bounded by the checks on rate, channels and length before.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.core.voice_audio import PARAM, check_samples
from serve_app.core.voice_bytes import (
    WAV_SLACK_BYTES,
    Container,
    container_of,
    foreign_name,
    ogg_is_cut,
    wav_missing_bytes,
)
from serve_app.errors import VoiceAudioError

MAX_UPLOAD_BYTES: Final = 10 * 1024 * 1024
MAX_UPLOAD_S: Final = 60.0
"""Length of an upload with the silence at its ends."""

MIN_RATE_HZ: Final = 8_000
MAX_RATE_HZ: Final = 96_000
MAX_CHANNELS: Final = 2

_SUBTYPES: Final = {
    "WAV": {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"},
    "WAVEX": {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"},
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "MP3": {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"},
    "OGG": {"VORBIS", "OPUS"},
}
_SLACK_FRAMES: Final = 2 * 1152
"""A constant rate without an index makes libsndfile announce up to two MPEG frames too many."""

_SLACK_BYTES: Final = 1024
"""Tags behind the sound."""

_DECODER_ERRORS: Final = (sf.SoundFileError, RuntimeError, ValueError, TypeError, OSError)


@dataclass(frozen=True, slots=True)
class Upload:
    """A decoded upload.

    Args:
        mono: Mean of its channels, shape ``(n,)``, full scale -1..1, finite.
        rate_hz: Sample rate.
        channels: Of the file.
        source: Container and coding, such as ``WAV PCM_16``.
    """

    mono: NDArray[np.float32]
    rate_hz: int
    channels: int
    source: str


def decode_upload(data: bytes) -> Upload:
    """Decode a WAV, FLAC, MP3 or Ogg (Vorbis, Opus) file that someone sent; blocks.

    Raises:
        VoiceAudioError: It is too large, of another kind, unreadable, cut off, too long, of an
            odd rate, of more than two channels, or holds samples that are no numbers.
    """
    container = _checked_container(data)
    stream = io.BytesIO(data)
    try:
        with sf.SoundFile(stream) as sound:
            _check_header(sound)
            announced, rate_hz = sound.frames, sound.samplerate
            source = f"{sound.format} {sound.subtype}"
            samples: NDArray[np.float32] = sound.read(dtype="float32", always_2d=True)
            unread = len(data) - stream.tell()
    except _DECODER_ERRORS as error:
        raise VoiceAudioError(
            f"the {container} file can't be decoded; export the recording again", PARAM
        ) from error
    missing_s = (announced - len(samples)) / rate_hz
    if announced - len(samples) > _SLACK_FRAMES:
        raise _cut_off(container, f"{missing_s:.2f} s are missing")
    if container == "MP3" and unread > _SLACK_BYTES:
        raise VoiceAudioError(
            f"the MP3 file doesn't tell its true length, and {unread} of its {len(data)} bytes "
            "can't be read; export the recording again as WAV or FLAC",
            PARAM,
        )
    check_samples(samples)
    return Upload(samples.mean(axis=1, dtype=np.float32), rate_hz, samples.shape[1], source)


def encode_flac(pcm: Pcm) -> bytes:
    """*pcm* as a FLAC file of 16 bits, 24 kHz, mono; lossless; blocks."""
    stream = io.BytesIO()
    sf.write(stream, pcm, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def decode_flac(data: bytes) -> Pcm:
    """Samples of a file that :func:`encode_flac` wrote, shape ``(n,)``; blocks.

    Raises:
        ValueError: It is no such file any more.
    """
    try:
        with sf.SoundFile(io.BytesIO(data)) as sound:
            kind = (sound.format, sound.subtype, sound.samplerate, sound.channels)
            if kind != ("FLAC", "PCM_16", SAMPLE_RATE_HZ, 1):
                raise ValueError(f"stored audio is {kind}, not FLAC of 16 bits, 24 kHz, mono")
            if sound.frames > MAX_UPLOAD_S * SAMPLE_RATE_HZ:
                raise ValueError(f"stored audio announces {sound.frames} frames")
            pcm: Pcm = sound.read(dtype="int16")
    except _DECODER_ERRORS as error:
        raise ValueError("stored audio is not the FLAC file that was written") from error
    return pcm


def _checked_container(data: bytes) -> Container:
    if len(data) > MAX_UPLOAD_BYTES:
        raise VoiceAudioError(
            f"the upload has {len(data)} bytes, the limit is {MAX_UPLOAD_BYTES}; "
            "send 1 to 30 s of speech",
            PARAM,
        )
    container = container_of(data)
    if container is None:
        found = foreign_name(data) or ("empty" if not data else "of an unknown kind")
        raise VoiceAudioError(f"the upload is {found}; send WAV, FLAC, MP3 or Ogg", PARAM)
    if container == "WAV" and (missing := wav_missing_bytes(data)) > WAV_SLACK_BYTES:
        raise _cut_off(container, f"{missing} bytes are missing")
    if container == "OGG" and ogg_is_cut(data):
        raise _cut_off(container, "its last page is missing")
    return container


def _check_header(sound: sf.SoundFile) -> None:
    rate_hz, channels, frames = sound.samplerate, sound.channels, sound.frames
    if sound.subtype not in _SUBTYPES.get(sound.format, ()):
        raise VoiceAudioError(
            f"audio coded as {sound.format} {sound.subtype} is not read here; "
            "send WAV, FLAC, MP3 or Ogg",
            PARAM,
        )
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise VoiceAudioError(
            f"the sample rate is {rate_hz} Hz, the limits are {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz",
            PARAM,
        )
    if channels > MAX_CHANNELS:
        raise VoiceAudioError(
            f"the file has {channels} channels, the limit is {MAX_CHANNELS}; send mono or stereo",
            PARAM,
        )
    if frames > MAX_UPLOAD_S * rate_hz:
        raise VoiceAudioError(
            f"the file is {frames / rate_hz:.0f} s long, the limit is {MAX_UPLOAD_S:g} s with and "
            "30 s without the silence at its ends; cut it",
            PARAM,
        )


def _cut_off(container: Container, detail: str) -> VoiceAudioError:
    return VoiceAudioError(f"the {container} file is cut off, {detail}; send it again", PARAM)
