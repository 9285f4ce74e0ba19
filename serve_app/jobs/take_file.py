"""The file of one kept take: a header, the samples as FLAC, and a checksum over both.

::

    "VVTAKE1\\n" | length of the header, 4 bytes | header, JSON | FLAC | BLAKE2b-128 of all before

FLAC, because speech becomes 0.41 of its size at 3,600 times real time on one core (16-bit
samples alone can be moved at disk speed, but fill the disk 2.4 times as fast). The samples are
encoded while they come, so that a segment being spoken holds its compressed size only.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import soundfile as sf
from pydantic import TypeAdapter, ValidationError

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.core.job_take import TakeInfo

MAGIC: Final = b"VVTAKE1\n"
_LENGTH: Final = struct.Struct(">I")
_DIGEST_BYTES: Final = 16
_LEVEL: Final = 0.625
"""FLAC's level 5 of 8: level 8 saves 2.5 % more and takes twice as long."""

_DECODER_ERRORS: Final = (sf.SoundFileError, RuntimeError, ValueError, TypeError, OSError)

Run = tuple[int, str | None]
"""So many samples in a row, and whose voice they are."""


class DamagedTakeError(Exception):
    """What is stored is not the take that was written: it counts as not spoken."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the samples.

    Args:
        info: What is known of the take.
        runs: Voices of the samples of each part, in order; as many lists as *info* has parts.
    """

    info: TakeInfo
    runs: tuple[tuple[Run, ...], ...]


@dataclass(frozen=True, slots=True)
class StoredTake:
    """A take read back and checked.

    Args:
        header: What is known of it.
        pcm: All its samples, part behind part, shape ``(n,)``.
    """

    header: Header
    pcm: Pcm


_HEADER: Final = TypeAdapter(Header)


class PcmPacker:
    """Encodes samples as they come; lossless. Every method blocks: call it from a thread."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._file = sf.SoundFile(
            self._stream,
            "w",
            SAMPLE_RATE_HZ,
            channels=1,
            subtype="PCM_16",
            format="FLAC",
            compression_level=_LEVEL,
        )

    def add(self, pcm: Pcm) -> None:
        """Append samples."""
        if len(pcm):
            self._file.write(pcm)

    def close(self) -> bytes:
        """End the file and return it; once more does nothing."""
        self._file.close()
        return self._stream.getvalue()


def unpack_pcm(flac: bytes) -> Pcm:
    """The samples of a packed file, shape ``(n,)``; blocks.

    Raises:
        DamagedTakeError: It is no such file.
    """
    try:
        with sf.SoundFile(io.BytesIO(flac)) as sound:
            pcm: Pcm = sound.read(dtype="int16")
    except _DECODER_ERRORS as error:
        raise DamagedTakeError("its samples can't be decoded") from error
    return pcm


def joined(flacs: tuple[bytes, ...]) -> bytes:
    """Several packed files as one; blocks."""
    if len(flacs) == 1:
        return flacs[0]
    packer = PcmPacker()
    for flac in flacs:
        packer.add(unpack_pcm(flac))
    return packer.close()


def write_take(header: Header, flac: bytes) -> bytes:
    """The file of a take."""
    head = _HEADER.dump_json(header)
    body = b"".join((MAGIC, _LENGTH.pack(len(head)), head, flac))
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def read_header(data: bytes) -> Header | int:
    """The header from a file's beginning, or the bytes that are needed to read it.

    Raises:
        DamagedTakeError: It is no take.
    """
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start or not data.startswith(MAGIC):
        raise DamagedTakeError("it has no header")
    end = start + _LENGTH.unpack(data[len(MAGIC) : start])[0]
    if len(data) < end:
        return int(end)
    try:
        return _HEADER.validate_json(data[start:end])
    except ValidationError as error:
        raise DamagedTakeError("its header can't be read") from error


def split_take(data: bytes, key: str) -> tuple[Header, bytes]:
    """Header and packed samples of a whole file.

    Raises:
        DamagedTakeError: It is not what was written, or was spoken for another key.
    """
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise DamagedTakeError("its checksum is wrong")
    header = read_header(body)
    if isinstance(header, int):
        raise DamagedTakeError("it is cut off")
    if header.info.key != key:
        raise DamagedTakeError("it belongs to another segment")
    start = len(MAGIC) + _LENGTH.size
    start += _LENGTH.unpack(body[len(MAGIC) : start])[0]
    return header, body[start:]


def read_take(data: bytes, key: str) -> StoredTake:
    """A take with its samples; blocks.

    Raises:
        DamagedTakeError: It is not what was written, or was spoken for another key.
    """
    header, flac = split_take(data, key)
    pcm = unpack_pcm(flac)
    if len(pcm) != sum(part.samples for part in header.info.parts):
        raise DamagedTakeError("its length is wrong")
    return StoredTake(header, pcm)
