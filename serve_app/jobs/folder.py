"""A tree of files on any fsspec path (local, memory, S3, GCS, ...): whole files or none.

Every call goes to the store and blocks; time-outs are those of the backend, set by its options.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from serve_app.core.trail import trail
from serve_app.errors import ConfigError, NotReadyError

logger = logging.getLogger(__name__)

_TEMPORARY: Final = ".tmp"
_WHY: Final = {
    errno.ENOSPC: "it is full: make room, or take another store",
    errno.EDQUOT: "its quota is used up: make room, or take another store",
    errno.EROFS: "it is read-only: mount it for writing",
    errno.EACCES: "it refuses access: check its permissions",
    errno.EPERM: "it refuses access: check its permissions",
}
_RENAMING: Final = frozenset({"arrow_hdfs", "ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs"})
"""Backends that move a file in one step, and may keep half of one that was being written. All
others are taken for object stores, whose objects appear whole, and where to move is to copy and
then to delete: where only the deletion fails, the file is there and the call says that it is not.
"""
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


class Folder:
    """Files by their paths below a root; safe for many threads.

    Args:
        url: Path or URL of the root; made at the first write.
        options: Passed to the fsspec backend (endpoint, time-outs, keys).

    Attributes:
        url, options: As given, for another process that opens the same one.
        excludes: Whether :meth:`create` lets one of several callers win. The plain way of fsspec
            looks first and then writes, so that several may.

    Raises:
        ConfigError: fsspec knows no such protocol, or its backend isn't installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(url, **(options or {}))
        except (ValueError, ImportError) as error:
            raise ConfigError(f"the job store can't be opened: {error}") from error
        self._root = root.rstrip("/")
        self.url, self.options = url, dict(options or {})
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self.excludes = self._is_local or _excludes(type(self._fs))
        protocols = self._fs.protocol
        named = {protocols} if isinstance(protocols, str) else set(protocols)
        self._renames = self._is_local or not named.isdisjoint(_RENAMING)

    def files(self, path: str) -> dict[str, int]:
        """Size in bytes of each file directly in a folder, by name; empty if it is not there.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return {name: size for name, size in self._listed(path, "file") if not _is_temporary(name)}

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder, sorted; empty if it is not there.

        Raises:
            NotReadyError: The store can't be reached.
        """
        return sorted(name for name, _ in self._listed(path, "directory"))

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes of a file.

        Raises:
            FileNotFoundError: It is not there.
            NotReadyError: The store can't be reached.
        """
        with _reached():
            data: bytes = self._fs.cat_file(self._at(path), start=start, end=end)
            return data

    def write(self, path: str, data: bytes) -> None:
        """Put a file in place, whole or not at all, and on a disk before it appears.

        An object store does that by itself; on others it is written under another name first.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        target = self._at(path)
        folder, _, name = target.rpartition("/")
        if not self._renames:
            with _written():
                self._make(folder)
                self._put(target, data)
            return
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}{_TEMPORARY}"
        try:
            with _written():
                self._make(folder)
                self._put(temporary, data)
                self._move(temporary, target)
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    def create(self, path: str, data: bytes) -> bool:
        """Put a file in place unless there is one; returns whether it did.

        Of several callers one wins where the backend can tell, see :attr:`excludes`.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        target = self._at(path)
        with _written():
            self._make(target.rpartition("/")[0])
            try:
                if self._is_local:
                    with self._fs.open(target, "xb") as file:
                        file.write(data)
                else:
                    self._fs.pipe_file(target, data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, path: str) -> None:
        """Take a file away; one that is gone already is no error.

        Raises:
            NotReadyError: The store can't be reached.
        """
        with _reached(), suppress(FileNotFoundError):
            self._fs.rm_file(self._at(path))

    def remove_tree(self, path: str) -> None:
        """Take a folder away with all that is in it; one that is gone already is no error.

        Raises:
            NotReadyError: The store can't be reached.
        """
        with _reached(), suppress(FileNotFoundError):
            self._fs.rm(self._at(path), recursive=True)

    def sweep(self, path: str) -> None:
        """Remove what writers that died have left in a folder; nobody may be writing there.

        Raises:
            NotReadyError: The store can't be reached.
        """
        if not self._renames:
            return  # nothing is ever half written there
        for kind, remove in (("file", self.remove), ("directory", self.remove_tree)):
            for name, _ in self._listed(path, kind):
                if _is_temporary(name):
                    remove(f"{path}/{name}")

    @contextmanager
    def staging(self, path: str, name: str) -> Iterator[Path]:
        """A folder of this machine for a large file in the making; gone when the block ends.

        In a store on this machine it lies below *path*, so that :meth:`adopt` only renames.

        Args:
            path: Where the file will be.
            name: Of this folder, used once; whoever kills its process clears up by it.
        Raises:
            NotReadyError: The store can't be reached.
        """
        place = self._staged(path, name)
        with _reached():
            if self._is_local:
                self._make(self._at(path))
            place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            self.unstage(path, name)

    def unstage(self, path: str, name: str) -> None:
        """Remove what a process that was killed has left of :meth:`staging`, if anything."""
        shutil.rmtree(self._staged(path, name), ignore_errors=True)

    def adopt(self, file: Path, path: str) -> None:
        """Put a file of a staging folder in place, whole or not at all.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        with _reached():
            if self._is_local:
                with file.open("rb") as made:
                    os.fsync(made.fileno())
                self._move(str(file), self._at(path))
            else:
                self._fs.put_file(str(file), self._at(path))

    def blocks(self, path: str, start: int, stop: int, size_bytes: int) -> Iterator[bytes]:
        """Bytes ``start <= at < stop`` of a file, so many at a time.

        Who has begun reads the file to its end, also where it is taken away meanwhile and the
        store is a disk.

        Raises:
            FileNotFoundError: It is not there.
            NotReadyError: The store can't be reached.
        """
        with _reached(), self._fs.open(self._at(path), "rb") as file:
            file.seek(start)
            while start < stop:
                data: bytes = file.read(min(size_bytes, stop - start))
                if not data:
                    raise FileNotFoundError(path)
                start += len(data)
                yield data

    def _listed(self, path: str, kind: str) -> list[tuple[str, int]]:
        at = self._at(path)
        with _reached():
            self._fs.invalidate_cache(at)
            try:
                infos = self._fs.ls(at, detail=True)
            except FileNotFoundError:
                return []
        return [
            (info["name"].rstrip("/").rpartition("/")[2], int(info.get("size") or 0))
            for info in infos
            if info["type"] == kind
        ]

    def _make(self, folder: str) -> None:
        """A folder with those above it, which are on a disk before anything is in them."""
        if not self._is_local:
            self._fs.makedirs(folder, exist_ok=True)
            return
        place = Path(folder)
        new = [it for it in (place, *place.parents) if not it.exists()]
        place.mkdir(parents=True, exist_ok=True)
        for made in new:
            _sync(made.parent)

    def _move(self, path: str, target: str) -> None:
        if not self._is_local:
            self._fs.mv(path, target)
            return
        # The backend's own way copies over what is there where it can't rename.
        Path(path).replace(target)
        _sync(Path(target).parent)

    def _put(self, path: str, data: bytes) -> None:
        if not self._is_local:
            self._fs.pipe_file(path, data)
            return
        with self._fs.open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _staged(self, path: str, name: str) -> Path:
        if self._is_local:
            return Path(self._at(path)) / f".{name}{_TEMPORARY}"
        return Path(gettempdir()) / f"vibevoice-{name}"

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(_TEMPORARY)


def _excludes(kind: type[Any]) -> bool:
    """Whether a backend has a way of its own to create a file unless there is one."""
    plain = fsspec.AbstractFileSystem.pipe_file
    put = getattr(kind, "_pipe_file", kind.pipe_file)
    return put is not plain and "mode" in signature(put).parameters


def _sync(folder: Path) -> None:
    """Have the names in a folder on a disk, where its file system can tell of that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


@contextmanager
def _reached() -> Iterator[None]:
    """Tell a store that fails from a file that is missing; paths stay out of the message.

    Backends also raise errors of their client libraries, which have no common class.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        why = _WHY.get(error.errno or 0) or error.strerror or type(error).__name__
        raise NotReadyError(f"the job store failed: {why}") from error
    except Exception as error:
        logger.warning("the job store failed: %s", trail(error))
        raise NotReadyError(f"the job store failed: {type(error).__name__}") from error


@contextmanager
def _written() -> Iterator[None]:
    """The same where a file is made: what is missing then is the place for it."""
    try:
        with _reached():
            yield
    except FileNotFoundError:
        raise NotReadyError("the job store failed: its folder or bucket is not there") from None
