"""Where a job's files lie in the store, and what their names tell; see ``store``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from serve_app.jobs.records import FileRecord

JOB_ID: Final = re.compile(r"job_[0-9a-f]{24}")
_TAKE: Final = re.compile(r"(\d{6})\.(\d{4})\.(\d{8})\.(\d{1,12})\.take")
_STATE: Final = re.compile(r"state\.(\d{8})\.json")


@dataclass(frozen=True, slots=True, order=True)
class TakeName:
    """The name of a take's file.

    Args:
        number, edition: Segment, and the edition that asked for the take.
        epoch: Of the runner that wrote it.
        size_bytes: Of the file.
    """

    number: int
    edition: int
    epoch: int
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.number:06d}.{self.edition:04d}.{self.epoch:08d}.{self.size_bytes}.take"


def whole_takes(sizes: Mapping[str, int]) -> list[TakeName]:
    """Takes whose files have the length that their names say; of equal ones the newest first.

    Args:
        sizes: Bytes by name.
    """
    names = []
    for name, size_bytes in sizes.items():
        match = _TAKE.fullmatch(name)
        if match is not None and int(match[4]) == size_bytes:
            names.append(TakeName(*map(int, match.groups())))
    return sorted(names, key=lambda take: (take.number, take.edition, -take.epoch))


def cut_takes(sizes: Mapping[str, int]) -> set[int]:
    """Segments of takes whose files have another length than their names say.

    Args:
        sizes: Bytes by name.
    """
    matches = {_TAKE.fullmatch(name): size_bytes for name, size_bytes in sizes.items()}
    return {int(it[1]) for it, size_bytes in matches.items() if it and int(it[4]) != size_bytes}


def state_epochs(names: Iterable[str]) -> list[int]:
    """Epochs of the states among some names, ascending."""
    matches = map(_STATE.fullmatch, names)
    return sorted(int(match[1]) for match in matches if match is not None)


def state_name(epoch: int) -> str:
    """What a runner writes down."""
    return f"state.{epoch:08d}.json"


def record_name(record: FileRecord) -> str:
    """The record of a finished file."""
    return f"{record.edition:04d}.{record.audio_format}.json"


def job_folder(job_id: str) -> str:
    """All of a job."""
    return f"jobs/{job_id}"


def takes_folder(job_id: str) -> str:
    """Its takes."""
    return f"{job_folder(job_id)}/takes"


def output_folder(job_id: str) -> str:
    """Its finished files."""
    return f"{job_folder(job_id)}/output"
