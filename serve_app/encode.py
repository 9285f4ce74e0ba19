"""PCM becomes the bytes of an audio file, while it is being spoken.

One encoder runs over a whole stream, so that there are no seams inside a file. It writes to a
sink that can't seek: what has left is never changed, lengths in headers stay unknown, and a
stream that ends early can be decoded up to where it ends. The bytes depend on the samples only,
not on how they were chunked. Each format that has a place for it says that its speech was made
by a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm, bytes_from_pcm, wav_header
from serve_app.errors import UnknownFormatError

AI_MARK: Final = "AI-generated speech (vibevoice-serve)"


class Encoder(Protocol):
    """One stream. Not for two threads at once; errors leave it fit for ``abort`` only."""

    def encode(self, pcm: Pcm) -> bytes:
        """Take the next samples, any number; return the bytes that are ready, maybe none."""
        ...

    def close(self) -> bytes:
        """Return the rest of the bytes; once, and nothing may be encoded after it."""
        ...

    def abort(self) -> None:
        """Free everything without the rest of the bytes; harmless after ``close`` or twice."""
        ...


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A format that is written here.

    Args:
        name: As requests name it.
        media_type: MIME type.
        extension: Of a file, without the dot.
        start: Opens an encoder.
    """

    name: str
    media_type: str
    extension: str
    start: Callable[[], Encoder]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What FFmpeg needs to know for a format.

    Args:
        muxer: Its name.
        codec: Its name.
        muxer_options, codec_options: Options by name.
        bit_rate: Bits per second, or None for a lossless codec.
    """

    muxer: str
    codec: str
    muxer_options: Mapping[str, str] = field(default_factory=dict)
    codec_options: Mapping[str, str] = field(default_factory=dict)
    bit_rate: int | None = None


class PcmEncoder:
    """The samples themselves behind a fixed header.

    Args:
        header: Sent before the first samples, or alone if there are none.
    """

    def __init__(self, header: bytes = b"") -> None:
        self._header = header

    def encode(self, pcm: Pcm) -> bytes:
        """See :class:`Encoder`."""
        return self._take_header() + bytes_from_pcm(pcm) if len(pcm) else b""

    def close(self) -> bytes:
        """See :class:`Encoder`."""
        return self._take_header()

    def abort(self) -> None:
        """See :class:`Encoder`."""

    def _take_header(self) -> bytes:
        header, self._header = self._header, b""
        return header


class _Sink:
    """The growing file that FFmpeg writes to; it can only be written."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        """Keep *data* until it is taken."""
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


class AvEncoder:
    """A stream encoded by FFmpeg.

    Args:
        recipe: Which muxer and codec, and how.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._sink = _Sink()
        # Bit-exact leaves out versions and random serial numbers: the same samples, the same bytes.
        options = {"fflags": "+bitexact", **recipe.muxer_options}
        self._container = av.open(self._sink, "w", format=recipe.muxer, options=options)
        self._container.metadata["comment"] = AI_MARK
        stream = self._container.add_stream(
            recipe.codec, rate=SAMPLE_RATE_HZ, options=dict(recipe.codec_options), layout="mono"
        )
        assert isinstance(stream, AudioStream)
        if recipe.bit_rate is not None:
            stream.bit_rate = recipe.bit_rate
        self._stream = stream
        self._samples = 0
        self._open = True

    def encode(self, pcm: Pcm) -> bytes:
        """See :class:`Encoder`."""
        if not len(pcm):
            return b""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._samples
        self._samples += len(pcm)
        self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def close(self) -> bytes:
        """See :class:`Encoder`."""
        if self._open:
            self._container.mux(self._stream.encode(None))
            self.abort()
        return self._sink.take()

    def abort(self) -> None:
        """See :class:`Encoder`."""
        if self._open:
            self._open = False
            self._container.close()


# No Xing frame: its lengths could only be written by seeking back. Level 7 is 1.8 times as fast
# as the default at the same rate.
_MP3: Final = Recipe(
    "mp3", "libmp3lame", {"write_xing": "0"}, {"compression_level": "7"}, bit_rate=96_000
)
# Without padding the header has 0.1 instead of 8 kB. The length in it stays unknown: libsndfile
# can't read such a file, FFmpeg, browsers and players can.
_FLAC: Final = Recipe("flac", "flac", {"metadata_header_padding": "0"})

FORMATS: Final[Mapping[str, AudioFormat]] = MappingProxyType(
    {
        audio_format.name: audio_format
        for audio_format in (
            AudioFormat("mp3", "audio/mpeg", "mp3", partial(AvEncoder, _MP3)),
            AudioFormat("flac", "audio/flac", "flac", partial(AvEncoder, _FLAC)),
            AudioFormat("wav", "audio/wav", "wav", lambda: PcmEncoder(wav_header(None, AI_MARK))),
            AudioFormat("pcm", "audio/pcm", "pcm", PcmEncoder),
        )
    }
)
"""Formats by name. Raw PCM (24 kHz, mono, 16-bit little-endian) has no place for a mark."""


def open_encoder(name: str) -> Encoder:
    """Start an encoder for one stream.

    Raises:
        UnknownFormatError: *name* is not in :data:`FORMATS`; the message says what is.
    """
    audio_format = FORMATS.get(name)
    if audio_format is None:
        raise UnknownFormatError(
            f"Format {name!r} is not written here; use one of {', '.join(FORMATS)}.",
            "response_format",
        )
    return audio_format.start()
