"""Samples into a container, by FFmpeg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Protocol, TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.encode_tags import Chapter, Tags, clean

Picture: TypeAlias = "av.Packet[av.VideoStream]"
_MS: Final = Fraction(1, 1000)


class Sink(Protocol):
    """A file that can be written, and nothing else."""

    def write(self, data: bytes, /) -> int:
        """Take *data*; returns how many bytes that was."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """What FFmpeg needs to know for a format.

    Args:
        muxer: Its name.
        codec: Its name.
        muxer_options, codec_options: Options by name.
        bit_rate: Bits per second, or None for a lossless codec.
        tags_on_stream: The tags belong to the stream, not to the container.
        extra_tags: Said in every file of this format.
    """

    muxer: str
    codec: str
    muxer_options: Mapping[str, str] = field(default_factory=dict)
    codec_options: Mapping[str, str] = field(default_factory=dict)
    bit_rate: int | None = None
    tags_on_stream: bool = False
    extra_tags: Mapping[str, str] = field(default_factory=dict)


class AvWriter:
    """One encoder over one container.

    The header is written at once, if there is one. Not for two threads at once; errors leave it
    fit for :meth:`abort` only.

    Args:
        target: A path, where the container may seek, or a sink, where it can't.
        recipe: Which muxer and codec, and how.
        tags: What it says about itself.
        chapters: Its parts, in order.
        cover: A picture to go with it.

    Raises:
        OSError: The target can't be written.
    """

    def __init__(
        self,
        target: str | Sink,
        recipe: Recipe,
        tags: Tags,
        chapters: Sequence[Chapter] = (),
        cover: Picture | None = None,
    ) -> None:
        # Bit-exact leaves out versions and random serial numbers: the same samples, the same bytes.
        options = {"fflags": "+bitexact", **recipe.muxer_options}
        self._container = av.open(target, "w", format=recipe.muxer, options=options)
        self._open = True
        self._samples = 0
        try:
            self._stream = self._start(recipe, tags, chapters, cover)
        except BaseException:
            self.abort()
            raise

    def write(self, pcm: Pcm) -> None:
        """Encode the next samples, any number.

        Raises:
            OSError: The target is full.
        """
        if not len(pcm):
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._samples
        self._samples += len(pcm)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the container; harmless after :meth:`abort` or twice.

        Raises:
            OSError: The target is full.
        """
        if self._open:
            self._container.mux(self._stream.encode(None))
            self._open = False
            self._container.close()

    def abort(self) -> None:
        """Free everything; what was written is not a whole file. Harmless after :meth:`close`."""
        if self._open:
            self._open = False
            # Closing writes the end of the file, which a full disk refuses again.
            with suppress(av.FFmpegError):
                self._container.close()

    def _start(
        self, recipe: Recipe, tags: Tags, chapters: Sequence[Chapter], cover: Picture | None
    ) -> AudioStream:
        stream = self._container.add_stream(
            recipe.codec, rate=SAMPLE_RATE_HZ, options=dict(recipe.codec_options), layout="mono"
        )
        assert isinstance(stream, AudioStream)
        if recipe.bit_rate is not None:
            stream.bit_rate = recipe.bit_rate
        said = stream.metadata if recipe.tags_on_stream else self._container.metadata
        said.update(tags.fields() | dict(recipe.extra_tags))
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(chapter.start_s / _MS),
                    "end": round(chapter.end_s / _MS),
                    "time_base": _MS,
                    "metadata": {"title": clean(chapter.title)},
                }
                for number, chapter in enumerate(chapters)
            ]
        )
        if cover is not None:
            picture = self._container.add_stream_from_template(cover.stream)
            picture.disposition = av.stream.Disposition.attached_pic
            cover.stream = picture
        self._container.start_encoding()
        if cover is not None:
            self._container.mux(cover)
        return stream
