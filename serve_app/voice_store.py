"""A folder of small files on any fsspec path (local, memory, S3, GCS, ...).

Files appear whole: they are written under a temporary name and moved. Every call goes to the
store and blocks; time-outs are those of the backend, set by its options.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import fsspec

from serve_app.errors import ConfigError, NotReadyError

_STAMP_KEYS: Final = (
    *("size", "mtime", "created", "ino"),
    *("ETag", "etag", "LastModified", "last_modified", "updated", "generation"),
)
"""What backends tell of a file that changes when its content does."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What the store tells of a file.

    Args:
        size_bytes: Length.
        stamp: Differs when the content does, as far as the backend knows.
    """

    size_bytes: int
    stamp: tuple[str, ...]


class FolderStore:
    """Files of one folder by their names.

    Args:
        url: Path or URL of the folder; made at the first write.
        options: Passed to the fsspec backend (endpoint, time-outs, keys).

    Raises:
        ConfigError: fsspec knows no such protocol, or its backend isn't installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **(options or {}))
        except (ValueError, ImportError) as error:
            raise ConfigError(f"the voice folder can't be opened: {error}") from error

    def files(self) -> dict[str, StoredFile]:
        """All files, temporary ones too; empty if the folder is not there yet.

        Raises:
            NotReadyError: The store can't be reached.
        """
        with _reached():
            self._fs.invalidate_cache(self._root)
            try:
                infos = self._fs.ls(self._root, detail=True)
            except FileNotFoundError:
                return {}
            return {
                info["name"].rpartition("/")[2]: _stored_file(info)
                for info in infos
                if info["type"] == "file"
            }

    def file(self, name: str) -> StoredFile | None:
        """One file, or None.

        Raises:
            NotReadyError: The store can't be reached.
        """
        with _reached():
            self._fs.invalidate_cache(self._root)
            try:
                return _stored_file(self._fs.info(self._path(name)))
            except FileNotFoundError:
                return None

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Content of a file, its first *limit_bytes* at most.

        Raises:
            FileNotFoundError: It is not there.
            NotReadyError: The store can't be reached.
        """
        with _reached():
            data: bytes = self._fs.cat_file(self._path(name), start=0, end=limit_bytes)
            return data

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        temporary = self._path(f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            with _reached():
                self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(temporary, data)
                self._fs.mv(temporary, self._path(name))
        except BaseException as error:
            with suppress(OSError):
                self._fs.rm_file(temporary)
            if isinstance(error, FileNotFoundError):
                raise NotReadyError("the voice folder was removed while written to") from error
            raise

    def remove(self, name: str) -> None:
        """Take a file away; one that is gone already is no error.

        Raises:
            NotReadyError: The store can't be reached.
        """
        with _reached(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def _stored_file(info: Mapping[str, Any]) -> StoredFile:
    return StoredFile(int(info["size"]), tuple(str(info.get(key)) for key in _STAMP_KEYS))


@contextmanager
def _reached() -> Iterator[None]:
    """Tell a store that fails from a file that is missing; paths stay out of the message."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotReadyError(
            f"the voice store failed ({error.strerror or type(error).__name__}); try again"
        ) from error
