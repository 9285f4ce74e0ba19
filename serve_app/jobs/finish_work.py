"""The finished file of a job, made by a process of its own from what the store holds.

``python -m serve_app.jobs.finish_work`` reads one order from its standard input and answers on its
standard output, both JSON. So levelling and encoding take neither a runner's memory nor its
interpreter, run at a lower priority than what speaks, and can be stopped at any time: what is half
done lies in a staging folder, which whoever stops the process removes, or else the next runner.
"""

from __future__ import annotations

import math
import os
import sys
import time
import uuid
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from serve_app.core.audio import BYTES_PER_S, Pcm, bytes_from_pcm, duration_s, pcm_from_bytes
from serve_app.core.loudness import LoudnessRules
from serve_app.encode_file import file_format
from serve_app.encode_tags import Tags
from serve_app.errors import NotReadyError, ServeError
from serve_app.finish import finish_file
from serve_app.jobs.chapters import chapter_starts, file_chapters
from serve_app.jobs.folder import Folder
from serve_app.jobs.live import LiveJob
from serve_app.jobs.mix import Mixer
from serve_app.jobs.names import output_folder
from serve_app.jobs.records import FileRecord, Record
from serve_app.jobs.restore import load
from serve_app.jobs.store import JobStore
from serve_app.jobs.take_file import DamagedTakeError

_BLOCK_BYTES: Final = 10 * BYTES_PER_S
_NICENESS: Final = 10


class FinishOrder(Record):
    """Which file to make."""

    store: str
    store_options: dict[str, Any]
    job_id: str
    edition: int
    audio_format: str
    target_lufs: float
    """Integrated loudness of the file."""
    limit_s: float
    """Longest time it may take."""
    staging: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Name of the folder for what is half done."""

    @property
    def output(self) -> str:
        """Where the file will be in the store."""
        return output_folder(self.job_id)

    def clear(self) -> None:
        """Remove what a process that was killed has left half done; blocks."""
        Folder(self.store, self.store_options).unstage(self.output, self.staging)


class FinishAnswer(Record):
    """What became of it."""

    outcome: Literal["made", "damaged", "not_ready", "failed"]
    record: FileRecord | None = None
    damaged: tuple[int, int] | None = None
    """Segment and edition of a kept take that can't be read."""
    message: str = ""


class DamagedAtError(Exception):
    """A kept take can't be read; carries its segment and edition."""

    def __init__(self, number: int, edition: int) -> None:
        super().__init__(number, edition)
        self.at = (number, edition)


def answer(order: FinishOrder) -> FinishAnswer:
    """Make the file and say how it went; blocks."""
    try:
        return FinishAnswer(outcome="made", record=make_file(order))
    except DamagedAtError as error:
        return FinishAnswer(outcome="damaged", damaged=error.at)
    except NotReadyError as error:
        return FinishAnswer(outcome="not_ready", message=error.message)
    except ServeError as error:
        return FinishAnswer(outcome="failed", message=error.message)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return FinishAnswer(outcome="not_ready", message=f"the file could not be written: {why}")


def make_file(order: FinishOrder) -> FileRecord:
    """Mix, level and write one file, in bounded memory, into the store; blocks.

    Raises:
        DamagedAtError: A kept take can't be read.
        ServeError: The file can't be made, or the store can't be reached.
        OSError: This machine's disk failed.
    """
    folder = Folder(order.store, order.store_options)
    store = JobStore(folder, _no_epoch)
    live = load(store, order.job_id, "", time.time)
    chosen = file_format(order.audio_format)
    record = live.record
    cover = store.cover(order.job_id) if record.cover and chosen.takes_cover else None
    with folder.staging(order.output, order.staging) as place:
        signal, made = place / "signal", place / "file"
        samples = _write_signal(signal, live, store, order.edition)
        length_s = duration_s(samples)
        starts = chapter_starts(live, order.edition)
        finished = finish_file(
            made,
            chosen.name,
            partial(_read_signal, signal),
            rules=LoudnessRules(order.target_lufs),
            tags=Tags(record.title, tuple(record.voices)),
            chapters=file_chapters(starts, record.title, length_s),
            cover=cover,
        )
        digest = _digest(made)
        name = f"{order.edition:04d}.{digest}.{chosen.extension}"
        size_bytes = made.stat().st_size
        folder.adopt(made, f"{order.output}/{name}")
    return FileRecord(
        edition=order.edition,
        audio_format=chosen.name,
        name=name,
        media_type=chosen.media_type,
        size_bytes=size_bytes,
        digest=digest,
        audio_s=length_s,
        lufs=_finite(finished.after.integrated_lufs),
        true_peak_dbtp=_finite(finished.after.true_peak_dbtp),
    )


def mixed(live: LiveJob, store: JobStore, edition: int) -> Iterator[Pcm]:
    """The signal of an edition that is whole; blocks.

    Raises:
        DamagedAtError: A kept take can't be read.
        NotReadyError: The store can't be reached.
    """
    mixer = Mixer(live.gains_db, live.record.speed)
    for number, line in enumerate(live.job.lines):
        counted = line.edition_for(edition)
        planned = live.planned(number, counted)
        name = live.names.get((number, counted))
        if name is None:
            raise DamagedAtError(number, counted)
        try:
            take = store.take(live.id, name, planned.key)
        except DamagedTakeError:
            raise DamagedAtError(number, counted) from None
        yield from mixer.add(take, planned.segment)
    yield mixer.finish(live.final_pause_s)


def _write_signal(path: Path, live: LiveJob, store: JobStore, edition: int) -> int:
    """Mix once into a file, since levelling reads the signal several times; returns samples."""
    samples = 0
    with path.open("wb") as file:
        for pcm in mixed(live, store, edition):
            samples += len(pcm)
            file.write(bytes_from_pcm(pcm))
    return samples


def _read_signal(path: Path) -> Iterator[Pcm]:
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            yield pcm_from_bytes(data)


def _digest(path: Path) -> str:
    state = blake2b(digest_size=16)
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            state.update(data)
    return state.hexdigest()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _no_epoch() -> int:
    raise NotReadyError("this process owns no store")


def main() -> int:
    """Serve one order."""
    os.nice(_NICENESS)
    try:
        order = FinishOrder.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        sys.stderr.write(f"this is no order: {error}\n")
        return 2
    sys.stdout.write(answer(order).model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
