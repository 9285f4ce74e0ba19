"""Files of the store: whole or not there, and on a disk before they count."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest

from serve_app.errors import NotReadyError
from serve_app.jobs.folder import Folder


def all_files(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def test_a_rename_that_fails_leaves_the_old_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a/state", b"old")

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "rename", full)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NotReadyError, match="its quota is used up"):
        folder.write("a/state", b"newer")
    assert all_files(tmp_path) == {"a/state": b"old"}


@pytest.mark.parametrize("way", ["write", "adopt"])
def test_a_file_is_on_the_disk_before_its_name_and_its_new_folders_too(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().relative_to(tmp_path)
        done.append("the file" if (tmp_path / name).is_file() else str(name))
        real_sync(handle)

    def replace(old: str, new: str, **options: int) -> None:
        done.append("named")
        real_replace(old, new, **options)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    folder = Folder(str(tmp_path / "store"))
    if way == "write":
        folder.write("a/b", b"one")
        assert set(done[: done.index("the file")]) == {".", "store"}
    else:
        with folder.staging("a", "x") as place:
            (place / "made").write_bytes(b"one")
            folder.adopt(place / "made", "a/b")
    assert done[-3:] == ["the file", "named", "store/a"]
    assert all_files(tmp_path) == {"store/a/b": b"one"}


def test_an_object_is_written_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(f"memory://{uuid.uuid4().hex}")

    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "this key may not delete")

    for name in ("rm", "rm_file", "mv"):
        monkeypatch.setattr(folder._fs, name, refuse)
    folder.write("a/job.json", b"one")
    folder.write("a/job.json", b"two")
    assert folder.read("a/job.json") == b"two"
    assert folder._listed("a", "file") == [("job.json", 3)]


def test_a_bucket_that_is_not_there_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(f"memory://{uuid.uuid4().hex}")

    def missing(*_args: object, **_options: object) -> None:
        raise FileNotFoundError("the bucket does not exist")

    monkeypatch.setattr(folder._fs, "pipe_file", missing)
    with pytest.raises(NotReadyError, match="bucket is not there"):
        folder.write("a/b", b"one")
    with pytest.raises(NotReadyError, match="bucket is not there"):
        folder.create("a/b", b"one")
