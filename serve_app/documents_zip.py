"""A ZIP file from a stranger, read in memory with bounds; nothing is ever unpacked to disk."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Final
from urllib.parse import unquote

from serve_app.errors import InvalidInputError

MAX_ENTRIES: Final = 10_000
MAX_FILE_BYTES: Final = 8 * 2**20
MAX_TOTAL_BYTES: Final = 64 * 2**20

_ENTRY: Final = b"PK\x01\x02"
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1


class Archive:
    """Files by name.

    Args:
        name: Of the archive, for messages.
        data: All of it.

    Raises:
        InvalidInputError: It is no ZIP file, or has too many entries.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self._left = MAX_TOTAL_BYTES
        # Counted before the library makes an object of each; a header may lie about the number.
        if data.count(_ENTRY) > MAX_ENTRIES:
            raise self.broken(f"it has more than {MAX_ENTRIES} entries")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise self.broken(f"it is no ZIP file ({error})") from error
        self._infos = {info.filename: info for info in self._zip.infolist()}

    def __contains__(self, path: str) -> bool:
        return path in self._infos

    def read(self, path: str) -> bytes:
        """One file.

        Raises:
            InvalidInputError: It is missing, damaged, encrypted, or too large unpacked.
        """
        info = self._infos.get(path)
        if info is None:
            raise self.broken(f"it names {path[:200]!r}, which is not in it")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise self.broken(f"{path!r} in it is encrypted, or packed in a way EPUB does not know")
        limit = min(MAX_FILE_BYTES, self._left)
        try:
            with self._zip.open(info) as file:
                data = file.read(limit + 1)  # the size in the header may be a lie
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            raise self.broken(f"{path!r} in it is damaged ({error})") from error
        if len(data) > limit:
            raise self.broken(
                f"its text is too large unpacked: a file may have {MAX_FILE_BYTES} bytes, all of "
                f"it {MAX_TOTAL_BYTES}"
            )
        self._left -= len(data)
        return data

    def broken(self, why: str) -> InvalidInputError:
        """An error about this archive."""
        return InvalidInputError(
            f"{self.name!r} can't be read: {why}. Check the file, or send its text as .txt.", "file"
        )


def resolve(base: str, href: str) -> tuple[str, str]:
    """The path inside the archive that *href* in the file *base* means, and its fragment.

    A path that leaves the archive stays as it is written, and is therefore in no archive.
    """
    path, _, fragment = href.partition("#")
    target = posixpath.join(posixpath.dirname(base), unquote(path)) if path else base
    return posixpath.normpath(target), unquote(fragment)
