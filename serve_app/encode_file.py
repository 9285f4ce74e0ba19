"""Finished files: whole, with true lengths, chapters and a cover, or not there at all.

The samples come from an iterator and leave for a temporary file beside the wanted one, which is
moved into place when it is complete. What a stream can't do is done here: lengths in headers,
a table of contents, a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from serve_app.core.audio import Pcm
from serve_app.core.portions import portions
from serve_app.encode import AAC, MP3, OPUS
from serve_app.encode_av import AvWriter, Picture, Recipe
from serve_app.encode_cover import PARAM, cover_packet
from serve_app.encode_tags import Chapter, Tags
from serve_app.errors import InvalidInputError, UnknownFormatError


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of finished files.

    Args:
        name: As requests name it.
        media_type: MIME type.
        extension: Without the dot.
        recipe: How it is written.
        overshoot_db: How much higher than its samples its decoded signal may swing, by
            measurement on limited speech, rounded up.
        takes_chapters, takes_cover: What can be put into it.
    """

    name: str
    media_type: str
    extension: str
    recipe: Recipe
    overshoot_db: float = 0.0
    takes_chapters: bool = False
    takes_cover: bool = False


# With FFmpeg's ID3 2.4 a chapter of more than 127 bytes can't be read.
_MP3: Final = replace(MP3, muxer_options={"id3v2_version": "3"})
_M4B: Final = replace(
    AAC,
    muxer="mp4",
    # The table of contents in front: a player can start before it has the whole file.
    muxer_options={"movflags": "+faststart", "brand": "M4B "},
    # What players file under audiobooks.
    extra_tags={"media_type": "2"},
)

FILE_FORMATS: Final[Mapping[str, FileFormat]] = MappingProxyType(
    {
        file_format.name: file_format
        for file_format in (
            FileFormat(
                *("mp3", "audio/mpeg", "mp3", _MP3),
                overshoot_db=0.5,
                takes_chapters=True,
                takes_cover=True,
            ),
            FileFormat("opus", "audio/ogg", "opus", OPUS, overshoot_db=1.0, takes_chapters=True),
            FileFormat("aac", "audio/aac", "aac", AAC, overshoot_db=0.5),
            FileFormat("flac", "audio/flac", "flac", Recipe("flac", "flac"), takes_cover=True),
            # Files above 4 GiB become RF64.
            FileFormat("wav", "audio/wav", "wav", Recipe("wav", "pcm_s16le", {"rf64": "auto"})),
            FileFormat(
                *("m4b", "audio/mp4", "m4b", _M4B),
                overshoot_db=0.5,
                takes_chapters=True,
                takes_cover=True,
            ),
        )
    }
)
"""Formats by name."""


def file_format(name: str) -> FileFormat:
    """The format of that name.

    Raises:
        UnknownFormatError: There is none; the message says what there is.
    """
    found = FILE_FORMATS.get(name)
    if found is None:
        raise UnknownFormatError(
            f"Files are not written as {name!r}; use one of {', '.join(FILE_FORMATS)}.",
            "response_format",
        )
    return found


def write_file(
    path: Path,
    name: str,
    chunks: Iterable[Pcm],
    *,
    tags: Tags | None = None,
    chapters: Sequence[Chapter] = (),
    cover: bytes | None = None,
) -> None:
    """Write a whole file; for a worker thread.

    Until it is complete it stands beside *path* under the name :func:`part_of`; whatever goes
    wrong, *chunks* raising among it, neither is left behind, and an older file at *path* stays.

    Args:
        path: Where; an older file is replaced.
        name: Key of :data:`FILE_FORMATS`.
        chunks: The samples, in chunks of any size; the bytes don't depend on it. To cancel, let
            it raise.
        tags: What the file says about itself, beside the mark that it always carries.
        chapters: Its parts, in order; left out where the format has no place for them.
        cover: A JPEG or PNG file.

    Raises:
        UnknownFormatError: There is no such format.
        InvalidInputError: The cover can't be read, or not be put into this format.
        OSError: The file can't be written.
    """
    chosen = file_format(name)
    picture = None if cover is None else _picture(chosen, cover)
    part = part_of(path)
    try:
        writer = AvWriter(
            str(part),
            chosen.recipe,
            tags or Tags(),
            chapters if chosen.takes_chapters else (),
            picture,
        )
        try:
            for portion in portions(chunks):
                writer.write(portion)
            writer.close()
        finally:
            writer.abort()
        _keep(part)
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """Where a file stands while it is incomplete; found only after the process was killed."""
    return path.with_name(f"{path.name}.part")


def _picture(chosen: FileFormat, cover: bytes) -> Picture:
    if not chosen.takes_cover:
        able = ", ".join(name for name, other in FILE_FORMATS.items() if other.takes_cover)
        raise InvalidInputError(
            f"A {chosen.name} file has no place for a cover; leave it out or use one of {able}.",
            PARAM,
        )
    return cover_packet(cover)


def _keep(part: Path) -> None:
    """Have the system write it out, so that no empty file is moved into place before a crash."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
