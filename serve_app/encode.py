"""PCM becomes the bytes of an audio file, while it is being spoken.

One encoder runs over a whole stream, so that there are no seams inside a file. It writes to a
sink that can't seek: what has left is never changed, lengths in headers stay unknown, and a
stream that ends early can be decoded up to where it ends. The bytes depend on the samples and the
tags only, not on how they were chunked. Each format that has a place for it says that its speech
was made by a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from serve_app.core.audio import Pcm, bytes_from_pcm
from serve_app.encode_av import AvWriter, Recipe
from serve_app.encode_tags import AI_MARK, Tags
from serve_app.errors import UnknownFormatError

__all__ = ["AI_MARK", "FORMATS", "AudioFormat", "AvEncoder", "Encoder", "Tags", "open_encoder"]


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
        carries_tags: False if it has no place for the mark; it then belongs beside the bytes.
        light: Its encoder does no more than copy samples.
    """

    name: str
    media_type: str
    extension: str
    start: Callable[[Tags], Encoder]
    carries_tags: bool = True
    light: bool = False


class PcmEncoder:
    """The samples themselves."""

    def encode(self, pcm: Pcm) -> bytes:
        """See :class:`Encoder`."""
        return bytes_from_pcm(pcm)

    def close(self) -> bytes:
        """See :class:`Encoder`."""
        return b""

    def abort(self) -> None:
        """See :class:`Encoder`."""


class _Sink:
    """The growing file that FFmpeg writes to; it can only be written."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes, /) -> int:
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
        tags: What the file says about itself.
    """

    def __init__(self, recipe: Recipe, tags: Tags) -> None:
        self._sink = _Sink()
        self._writer = AvWriter(self._sink, recipe, tags)

    def encode(self, pcm: Pcm) -> bytes:
        """See :class:`Encoder`."""
        self._writer.write(pcm)
        return self._sink.take()

    def close(self) -> bytes:
        """See :class:`Encoder`."""
        self._writer.close()
        return self._sink.take()

    def abort(self) -> None:
        """See :class:`Encoder`."""
        self._writer.abort()


# No Xing frame: its lengths could only be written by seeking back. Level 7 is 1.8 times as fast
# as the default at the same rate.
MP3: Final = Recipe(
    "mp3", "libmp3lame", {"write_xing": "0"}, {"compression_level": "7"}, bit_rate=96_000
)
# A page each 0.2 s instead of each second. Complexity 5 is 2 to 4 times as fast as 10.
OPUS: Final = Recipe(
    "ogg",
    "libopus",
    {"page_duration": "200000"},
    {"compression_level": "5"},
    bit_rate=48_000,
    tags_on_stream=True,
)
# The fast coder is twice as fast, and at this rate nearer to the original than the other.
AAC: Final = Recipe("adts", "aac", {"write_id3v2": "1"}, {"aac_coder": "fast"}, bit_rate=64_000)
# Without padding the header has 0.1 instead of 8 kB. The length in it stays unknown: libsndfile
# can't read such a file, FFmpeg, browsers and players can.
_FLAC: Final = Recipe("flac", "flac", {"metadata_header_padding": "0"})
# Both lengths in its header stay 0xFFFFFFFF, which readers take as "up to the end".
_WAV: Final = Recipe("wav", "pcm_s16le")

FORMATS: Final[Mapping[str, AudioFormat]] = MappingProxyType(
    {
        audio_format.name: audio_format
        for audio_format in (
            AudioFormat("mp3", "audio/mpeg", "mp3", partial(AvEncoder, MP3)),
            AudioFormat("opus", "audio/ogg", "opus", partial(AvEncoder, OPUS)),
            AudioFormat("aac", "audio/aac", "aac", partial(AvEncoder, AAC)),
            AudioFormat("flac", "audio/flac", "flac", partial(AvEncoder, _FLAC)),
            AudioFormat("wav", "audio/wav", "wav", partial(AvEncoder, _WAV), light=True),
            AudioFormat(
                "pcm",
                "audio/pcm",
                "pcm",
                lambda _tags: PcmEncoder(),
                carries_tags=False,
                light=True,
            ),
        )
    }
)
"""Formats by name. Raw PCM (24 kHz, mono, 16-bit little-endian) has no place for a mark."""


def open_encoder(name: str, tags: Tags | None = None) -> Encoder:
    """Start an encoder for one stream.

    Args:
        name: Key of :data:`FORMATS`.
        tags: What the file says about itself, beside the mark that it always carries.

    Raises:
        UnknownFormatError: *name* is not in :data:`FORMATS`; the message says what is.
    """
    audio_format = FORMATS.get(name)
    if audio_format is None:
        raise UnknownFormatError(
            f"Format {name!r} is not written here; use one of {', '.join(FORMATS)}.",
            "response_format",
        )
    return audio_format.start(tags or Tags())
