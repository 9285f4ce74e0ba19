"""What the bytes of an audio file say before any decoder runs: its container, and if it was cut.

Decoders read a WAV or Ogg file that ends early as if it were complete. The containers themselves
say how long they should be, so that is read here. MP3 and FLAC carry a length that the decoder
can compare.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Container: TypeAlias = Literal["WAV", "FLAC", "MP3", "OGG"]

WAV_SLACK_BYTES: Final = 4096
"""Some writers count a few bytes too many; less than this is no loss that can be heard."""

_WAV_OPEN_END: Final = 0x7FFF_0000
"""Writers to a pipe put this or more as the length: up to the end of the file."""

_FOREIGN: Final = (
    (4, b"ftyp", "M4A or MP4"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"RF64", "RF64"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC"),
)


def container_of(data: bytes) -> Container | None:
    """Container by its first bytes; None for any other, whatever the file was called."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    if data[:4] == b"fLaC":
        return "FLAC"
    if data[:4] == b"OggS":
        return "OGG"
    if data[:3] == b"ID3" or _is_mpeg_frame(data):
        return "MP3"
    return None


def foreign_name(data: bytes) -> str | None:
    """Name of a known container that is not read here, for the message."""
    for offset, magic, name in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return name
    return None


def wav_missing_bytes(data: bytes) -> int:
    """Bytes of samples that a WAV file announces and does not have.

    Source: Microsoft Multimedia Programming Interface 1.0 (RIFF chunks are padded to even length).
    """
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return 0 if size >= _WAV_OPEN_END else max(0, at + 8 + size - len(data))
        at += 8 + size + size % 2
    return 0


def ogg_is_cut(data: bytes) -> bool:
    """Whether the last page of an Ogg file is incomplete or does not end its stream.

    Source: RFC 3533, section 6: header type 0x04 marks the last page; byte 26 counts the lengths
    that follow it.
    """
    page = data[data.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 0x04:
        return True
    lengths = page[27 : 27 + page[26]]
    return len(lengths) < page[26] or len(page) < 27 + len(lengths) + sum(lengths)


def _is_mpeg_frame(data: bytes) -> bool:
    # Eleven set bits, then a version, then a layer that is not 0 (0 is AAC in ADTS).
    return len(data) >= 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and bool(data[1] & 0x06)
