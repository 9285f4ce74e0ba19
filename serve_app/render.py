"""Pieces in, encoded bytes out: what a stream's worker threads do, and its loop if it is brief."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Final

from serve_app.core.audio import BYTES_PER_S, Pcm, pcm_from_bytes
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.encode import Encoder
from serve_app.engines.base import Chunk
from serve_app.pieces import Batch, Part, PartAudio, Piece
from serve_app.request_watch import RequestWatch
from serve_app.tempo import Tempo

_BRIEF_BYTES: Final = 3 * BYTES_PER_S
"""PCM that is stitched in a fraction of a millisecond: less than a thread costs its event loop."""


class Renderer:
    """Pieces in, encoded bytes out.

    :meth:`push` and :meth:`close` run in a worker thread, except for what :meth:`is_brief`.

    Args:
        gains_db: Fixed gain by voice.
        encoder: The stream's one encoder.
        final_pause_s: Pause that the script asks for at its end.
        speed: Of the whole signal, its pauses too; 0.25..4.
        light: The encoder only copies samples.
        watch: Told how long stitching and encoding take.
    """

    def __init__(
        self,
        gains_db: Mapping[str, float],
        encoder: Encoder,
        final_pause_s: float | None,
        speed: float = 1.0,
        *,
        light: bool = False,
        watch: RequestWatch | None = None,
    ) -> None:
        self._watch = watch or RequestWatch()
        self._stitcher = Stitcher(StitchRules(), gains_db)
        self._encoder, self._final_pause_s = encoder, final_pause_s
        self._tempo = None if speed == 1.0 else Tempo(speed)
        self._light = light and self._tempo is None
        self._samples_out = 0
        self._part: Part | None = None
        self._working = threading.Lock()
        self._aborted = False

    @property
    def samples_out(self) -> int:
        """Samples handed to the encoder so far."""
        return self._samples_out

    def is_brief(self, batch: Batch = ()) -> bool:
        """Whether *batch*, or without one the end of the stream, may stay in an event loop."""
        size_bytes = sum(len(piece.chunk.pcm) for piece in batch if isinstance(piece, PartAudio))
        return self._light and size_bytes <= _BRIEF_BYTES

    def push(self, batch: Batch) -> bytes:
        """Stitch and encode pieces; returns the bytes that are ready."""
        return self._exclusive(lambda: b"".join(map(self._push, _joined(batch))))

    def close(self) -> bytes:
        """Finish the stream; returns its last bytes."""
        return self._exclusive(self._close)

    def abort(self) -> None:
        """Free the encoder, at once or when the worker that still uses it is done."""
        self._aborted = True
        if self._working.acquire(blocking=False):
            try:
                self._encoder.abort()
            finally:
                self._working.release()

    def _exclusive(self, work: Callable[[], bytes]) -> bytes:
        # A cancelled stream leaves its worker running: the two must not free what the other uses.
        with self._working:
            try:
                return b"" if self._aborted else work()
            finally:
                if self._aborted:
                    self._encoder.abort()

    def _push(self, piece: Piece) -> bytes:
        if isinstance(piece, PartAudio):
            if piece.part is not self._part:
                self._stitcher.begin(piece.part.before, piece.part.pause_s)
                self._part = piece.part
            with self._watch.stitch.on():
                pcm = self._stitcher.feed(pcm_from_bytes(piece.chunk.pcm), piece.chunk.voice)
            return self._paced(pcm)
        self._part = None
        with self._watch.stitch.on():
            pcm = self._stitcher.end()
        return self._paced(pcm)

    def _close(self) -> bytes:
        last = self._paced(self._stitcher.finish(self._final_pause_s))
        if self._tempo is not None:
            last += self._encode(self._tempo.close())
        with self._watch.encode.on():
            return last + self._encoder.close()

    def _paced(self, pcm: Pcm) -> bytes:
        return self._encode(pcm if self._tempo is None else self._tempo.push(pcm))

    def _encode(self, pcm: Pcm) -> bytes:
        self._samples_out += len(pcm)
        if not len(pcm):
            return b""
        with self._watch.encode.on():
            return self._encoder.encode(pcm)


def _joined(batch: Batch) -> Iterator[Piece]:
    """The batch with neighbours of one voice made one: the stitcher costs by the chunk."""
    for (_, voice, spoken), group in groupby(batch, _voice_of):
        pieces = list(group)
        if spoken and len(pieces) > 1:
            pcm = b"".join(piece.chunk.pcm for piece in pieces if isinstance(piece, PartAudio))
            yield PartAudio(pieces[0].part, Chunk(pcm, voice))
        else:
            yield from pieces


def _voice_of(piece: Piece) -> tuple[int, str | None, bool]:
    if isinstance(piece, PartAudio):
        return id(piece.part), piece.chunk.voice, True
    return id(piece.part), None, False
